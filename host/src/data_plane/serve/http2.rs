//! HTTP/2 from a client: many requests at once on one connection, each in a task of its own.
//!
//! h2 speaks the protocol and bounds what a connection may make us keep; [`Meter`] bounds what it
//! may make us do. Each stream becomes a [`Session`] of its own, so that an exchange need not know
//! which version carries it.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{self, SendResponse};
use h2::{Reason, RecvStream};
use tokio::time::Instant;

use super::stream_task::{self, Accepted, OpenStream, OpenStreams};
use crate::config::model;
use crate::data_plane::downstream::{Client, ClientConnection};
use crate::data_plane::drain::{ConnectionGuard, PARTING};
use crate::data_plane::stream::{Alarm, Http2Stream, Meter, Metered, Reader, Stream, Writer};
use crate::data_plane::turn;
use crate::data_plane::worker::Worker;

/// Body bytes that a stream, and all streams of a connection, may have sent us before they were
/// passed on.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Body bytes of one response that wait for the client's window.
const SEND_BUFFER: usize = 64 << 10;

type Request = (http::Request<RecvStream>, SendResponse<Bytes>);

/// A connection that speaks HTTP/2.
struct Http2Driver {
    connection: server::Connection<Metered, Bytes>,
    meter: Rc<Meter>,
    worker: Rc<Worker>,
    client: Rc<Client>,
    /// Its streams have it too: the connection has not ended before they have.
    guard: Rc<ConnectionGuard>,
    streams: Rc<OpenStreams>,
    requests: u64,
    connection_limits: ConnectionLimits,
    alarm: Alarm,
    /// Some stream was open a moment ago.
    busy: bool,
    /// When it is over unless a request comes; counts while no stream is open.
    due: Instant,
    /// No further request is wanted.
    closing: bool,
}

/// What the listener said when the connection began. An idle connection keeps no configuration.
struct ConnectionLimits {
    keepalive_timeout: Duration,
    keepalive_requests: u64,
    keepalive_time: Duration,
}

#[allow(
    clippy::large_enum_variant,
    reason = "it is passed from one function to the next, and most are requests"
)]
enum StreamEvent {
    Request(Request),
    /// The connection is to end in good order.
    Close,
    /// It is over, which the client is to be told.
    Over,
    Gone,
}

/// Serves a connection of which `first` was read already, from its preface to its end.
pub(super) async fn run(
    worker: Rc<Worker>,
    client: Rc<Client>,
    stream: Stream,
    first: Vec<u8>,
    guard: ConnectionGuard,
) {
    let opening = {
        let worker_config = guard.listener().worker_config();
        let limits = &worker_config.snapshot.config.listeners[guard.listener().position()];
        let Some(http2) = &limits.http2 else {
            return;
        };
        let meter = Meter::new(http2.max_control_frames, http2.max_resets);
        let connection_limits = ConnectionLimits {
            keepalive_timeout: limits.keepalive_timeout,
            keepalive_requests: limits.keepalive_requests,
            keepalive_time: limits.keepalive_time,
        };
        let handshake =
            settings(limits, http2).handshake(Metered::accepted(stream, first, meter.clone()));
        (
            handshake,
            meter,
            connection_limits,
            limits.client_header_timeout,
        )
    };
    let (handshake, meter, connection_limits, header_timeout) = opening;
    let mut alarm = Alarm::default();
    let handshake = guard.unless_evicted(handshake);
    let connection = match alarm.within(header_timeout, handshake).await {
        Ok(Some(Ok(connection))) => connection,
        Ok(None) => return,
        Ok(Some(Err(error))) => {
            tracing::info!(
                "client sent invalid HTTP/2 ({error}), client: {}",
                client.address_text
            );
            return;
        }
        Err(_) => return,
    };
    let http2 = Http2Driver {
        connection,
        meter,
        worker,
        client,
        guard: Rc::new(guard),
        streams: Rc::default(),
        requests: 0,
        connection_limits,
        alarm,
        busy: false,
        due: Instant::now() + header_timeout,
        closing: false,
    };
    http2.serve().await;
}

fn settings(limits: &model::ListenerConfig, http2: &model::Http2Config) -> server::Builder {
    let mut settings = server::Builder::new();
    settings
        .max_concurrent_streams(http2.max_concurrent_streams)
        .max_header_list_size(u32::try_from(limits.client_header_size).unwrap_or(u32::MAX))
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        // Small frames are charged with what it takes to keep them: a sender of messages is no
        // attacker.
        .data_frame_budget(2 * CONNECTION_WINDOW as usize)
        .max_send_buffer_size(SEND_BUFFER)
        .enable_connect_protocol();
    settings
}

impl Http2Driver {
    async fn serve(mut self) {
        loop {
            #[allow(
                clippy::disallowed_methods,
                reason = "each stream bounds its own waits; without one, the alarm does"
            )]
            let event = poll_fn(|cx| self.poll_event(cx));
            match event.await {
                StreamEvent::Request((request, respond)) => self.begin(request, respond),
                StreamEvent::Close => {
                    self.closing = true;
                    self.due = Instant::now() + PARTING;
                    self.connection.graceful_shutdown();
                }
                StreamEvent::Over => break,
                StreamEvent::Gone => return,
            }
        }
        let reason = match self.meter.exceeded() {
            Some(exceeded) => {
                let client = &self.client.address_text;
                tracing::info!("client sent {exceeded}, client: {client}");
                Reason::ENHANCE_YOUR_CALM
            }
            None => Reason::NO_ERROR,
        };
        self.connection.abrupt_shutdown(reason);
        let closed = self
            .alarm
            .poll_within(PARTING, |cx| self.connection.poll_closed(cx));
        // A client that does not read it need not be told.
        let _ = closed.await;
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<StreamEvent> {
        let accepted = self.connection.poll_accept(cx);
        if self.meter.exceeded().is_some() {
            return Poll::Ready(StreamEvent::Over);
        }
        match accepted {
            Poll::Ready(Some(Ok(request))) => return Poll::Ready(StreamEvent::Request(request)),
            Poll::Ready(Some(Err(error))) => {
                if !error.is_io() {
                    let client = &self.client.address_text;
                    tracing::info!("client sent invalid HTTP/2 ({error}), client: {client}");
                }
                return Poll::Ready(StreamEvent::Gone);
            }
            Poll::Ready(None) => return Poll::Ready(StreamEvent::Gone),
            Poll::Pending => {}
        }
        if !self.closing && self.guard.slot().poll_closing(cx).is_ready() {
            return Poll::Ready(StreamEvent::Close);
        }
        if self.streams.poll_none(cx).is_pending() {
            self.busy = true;
            return Poll::Pending;
        }
        if self.guard.slot().poll_evicted(cx).is_ready() {
            return Poll::Ready(StreamEvent::Over);
        }
        if std::mem::take(&mut self.busy) {
            self.guard.is_idle();
            let idle = match self.closing {
                true => PARTING,
                false => self.connection_limits.keepalive_timeout,
            };
            self.due = Instant::now() + idle;
        }
        self.guard.set_waiting(true);
        self.alarm
            .poll_due(cx, self.due)
            .map(|_| match self.closing {
                true => StreamEvent::Over,
                false => StreamEvent::Close,
            })
    }

    /// Serves a request in a task of its own.
    fn begin(&mut self, request: http::Request<RecvStream>, respond: SendResponse<Bytes>) {
        let began = turn::now();
        self.guard.is_busy();
        self.guard.set_waiting(false);
        let requests_before = self.requests;
        self.requests += 1;
        let worn = self.requests >= self.connection_limits.keepalive_requests
            || began.saturating_duration_since(self.client.accepted)
                > self.connection_limits.keepalive_time;
        if worn && !self.closing {
            self.closing = true;
            self.connection.graceful_shutdown();
        }
        let (request, body) = request.into_parts();
        let stream = Rc::new(Http2Stream::accepted(body, respond, self.meter.clone()));
        let mut connection = ClientConnection::new(
            self.worker.clone(),
            self.guard.listener().clone(),
            self.client.clone(),
            (Reader::Http2(stream.clone()), Writer::Http2(stream.clone())),
        );
        connection.requests = requests_before;
        stream_task::begin(|| Accepted {
            request,
            began,
            stream,
            connection,
            meter: self.meter.clone(),
            open: OpenStream::new(&self.streams, &self.guard),
        });
    }
}
