//! Connections of HTTP/2 to endpoints, each shared by many exchanges of one worker and upstream.
//!
//! An exchange takes a share of a connection that has room, else opens another connection; while
//! one is being opened, others to the same endpoint wait for it instead of opening more.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use tokio::sync::{Notify, oneshot};

use super::balance::Lease;
use super::dial::Dialed;
use super::endpoint::EndpointId;
use super::failure::Failure;
use crate::config::model;
use crate::data_plane::stream::{Alarm, Meter, Metered, Stream, StreamError};

/// Response bytes that a stream may have sent us before they were passed on. A connection has room
/// for as much of each of its streams, or clients that do not read would stop those that do.
const STREAM_WINDOW: u32 = 256 << 10;
const MAX_WINDOW: u32 = i32::MAX as u32;
/// Bytes beyond its own that h2 charges each small frame with, for as long as a slow client leaves
/// it unread: bounded for who means harm, and never reached by a stream of messages.
const SMALL_FRAMES: usize = 64 << 20;
/// Bytes of one request body that wait for the endpoint's window.
const SEND_BUFFER: usize = 64 << 10;
/// Frames without content, and resets, that an endpoint may send at once. It is less of a stranger
/// than a client.
const MAX_CONTROL_FRAMES: u32 = 10_000;
const MAX_RESETS: u32 = 10_000;
/// How long a connection that nobody needs any more may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// The connections of one upstream in one worker. Stays through changes of the upstream's
/// configuration.
pub(crate) struct Http2Connections {
    endpoints: HashMap<EndpointId, EndpointConnections>,
    terms: Option<PoolLimits>,
}

#[derive(Default)]
struct EndpointConnections {
    connections: Vec<Rc<Http2Connection>>,
    /// Of the exchange that opens a connection, for those that wait.
    opening: Option<Rc<Handshake>>,
}

/// What the configuration says of them.
#[derive(Debug, Clone)]
struct PoolLimits {
    max_streams: usize,
    max_requests: u64,
    max_age: Duration,
    idle: Duration,
}

/// A connection.
struct Http2Connection {
    send: SendRequest<Bytes>,
    meter: Rc<Meter>,
    scheme: &'static str,
    opened: Instant,
    requests: Cell<u64>,
    shares: Cell<usize>,
    /// When its last exchange ended.
    idle_since: Cell<Instant>,
    /// It takes no further exchange: it has ended, is about to, or does not answer.
    retired: Cell<bool>,
    /// Tells its driver when it is dropped: nobody needs it any more.
    _needed: oneshot::Sender<()>,
}

/// A connection that is being opened.
#[derive(Default)]
struct Handshake {
    ended: Notify,
}

/// An exchange's share of a connection.
pub(crate) struct StreamSlot {
    connection: Rc<Http2Connection>,
    pub(crate) send: SendRequest<Bytes>,
    /// Others were there before.
    pub(crate) cached: bool,
    /// `https` over TLS, else `http`.
    pub(crate) scheme: &'static str,
}

/// What an exchange finds when it asks for a share.
pub(super) enum Lookup {
    StreamSlot(StreamSlot),
    /// Somebody opens a connection: ask again once that has ended.
    Wait(PendingConnection),
    /// It is for the caller to open one.
    Open(OpeningGuard),
}

pub(super) struct PendingConnection(Rc<Handshake>);

/// The duty to open a connection; whoever waits is woken when it ends.
pub(super) struct OpeningGuard {
    connections: Rc<RefCell<Http2Connections>>,
    endpoint: EndpointId,
    opening: Rc<Handshake>,
}

impl PendingConnection {
    pub(super) async fn ended(self) {
        self.0.ended.notified().await;
    }
}

impl Http2Connections {
    pub(super) fn new(
        config: &model::UpstreamConfig,
        endpoints: &[EndpointId],
    ) -> Http2Connections {
        let mut connections = Http2Connections {
            endpoints: HashMap::new(),
            terms: None,
        };
        connections.reconfigure(config, endpoints);
        connections
    }

    /// Goes on under another configuration of the upstream: leaves endpoints that it does not have.
    pub(super) fn reconfigure(&mut self, config: &model::UpstreamConfig, endpoints: &[EndpointId]) {
        self.terms = config.http2.as_ref().map(|http2| PoolLimits {
            max_streams: http2.max_concurrent_streams,
            max_requests: config.keepalive_requests,
            max_age: config.keepalive_time,
            idle: config.keepalive_timeout,
        });
        let kept = self.terms.is_some();
        self.endpoints
            .retain(|endpoint, _| kept && endpoints.contains(endpoint));
    }

    /// Finds a share for an exchange with an endpoint.
    pub(super) fn find(connections: &Rc<RefCell<Http2Connections>>, id: EndpointId) -> Lookup {
        let mut all = connections.borrow_mut();
        let terms = all.terms.clone();
        let endpoint = all.endpoints.entry(id).or_default();
        if let Some(terms) = &terms
            && let Some(share) = endpoint.share(terms)
        {
            return Lookup::StreamSlot(share);
        }
        if let Some(opening) = &endpoint.opening {
            return Lookup::Wait(PendingConnection(opening.clone()));
        }
        let opening = Rc::new(Handshake::default());
        endpoint.opening = Some(opening.clone());
        Lookup::Open(OpeningGuard {
            connections: connections.clone(),
            endpoint: id,
            opening,
        })
    }

    /// Closes what has been idle for too long, and forgets what has ended.
    pub(super) fn sweep(&mut self) {
        // An exchange of a configuration before may have opened one to endpoints that are spoken to
        // in HTTP/1 by now.
        let limit = self
            .terms
            .as_ref()
            .map_or(Duration::ZERO, |terms| terms.idle);
        self.endpoints.retain(|_, endpoint| {
            endpoint.connections.retain(|connection| {
                let idle = connection.shares.get() == 0;
                let over = idle && connection.idle_since.get().elapsed() > limit;
                !connection.retired.get() && !over
            });
            !endpoint.connections.is_empty() || endpoint.opening.is_some()
        });
    }
}

impl Http2Connections {
    /// Closes a connection on which nothing is under way; false where there is none.
    pub(super) fn close_idle(&mut self) -> bool {
        self.endpoints.values_mut().any(|endpoint| {
            let idle = |connection: &Rc<Http2Connection>| connection.shares.get() == 0;
            let idle = endpoint.connections.iter().position(idle);
            idle.map(|at| endpoint.connections.swap_remove(at))
                .is_some()
        })
    }
}

impl EndpointConnections {
    fn share(&mut self, terms: &PoolLimits) -> Option<StreamSlot> {
        self.connections.retain(|connection| {
            let worn = connection.requests.get() >= terms.max_requests
                || connection.opened.elapsed() > terms.max_age;
            !worn && !connection.retired.get()
        });
        // The busiest that has room: the others may come to rest, and be closed.
        let room = |connection: &&Rc<Http2Connection>| {
            connection.shares.get()
                < terms
                    .max_streams
                    .min(connection.send.current_max_send_streams())
        };
        let connection = self
            .connections
            .iter()
            .filter(room)
            .max_by_key(|connection| connection.shares.get())?;
        Some(StreamSlot::on(connection, true))
    }
}

impl OpeningGuard {
    /// Speaks HTTP/2 on a new connection, and takes a share of it once the endpoint has said what
    /// it allows.
    ///
    /// # Errors
    /// [`Failure::Http2`] and [`Failure::Closed`]: it speaks something else.
    pub(super) async fn handshake(
        self,
        opened: Dialed,
        lease: &Lease,
    ) -> Result<StreamSlot, Failure> {
        let Dialed { stream, descriptor } = opened;
        let config = &lease.upstream().config;
        let meter = Meter::new(MAX_CONTROL_FRAMES, MAX_RESETS);
        let scheme = match &stream {
            Stream::Plain(_) => "http",
            Stream::Tls(_) => "https",
        };
        let streams = config
            .http2
            .as_ref()
            .map_or(1, |http2| http2.max_concurrent_streams);
        let window = u32::try_from(streams)
            .unwrap_or(MAX_WINDOW)
            .saturating_mul(STREAM_WINDOW);
        let window = window.clamp(STREAM_WINDOW, MAX_WINDOW);
        let metered = Metered::opened(stream, meter.clone());
        let (send, driver) = Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(window)
            .data_frame_budget(SMALL_FRAMES)
            .max_send_buffer_size(SEND_BUFFER)
            .max_header_list_size(u32::try_from(config.response_header_size).unwrap_or(u32::MAX))
            .enable_push(false)
            .handshake(metered)
            .await
            .map_err(|error| Failure::Http2(StreamError::from(error)))?;
        let now = Instant::now();
        let (needed, released) = oneshot::channel();
        let connection = Rc::new(Http2Connection {
            send,
            meter: meter.clone(),
            scheme,
            opened: now,
            requests: Cell::new(0),
            shares: Cell::new(0),
            idle_since: Cell::new(now),
            retired: Cell::new(false),
            _needed: needed,
        });
        let driven = Rc::downgrade(&connection);
        let (watched, name) = (meter.clone(), lease.endpoint().name.clone());
        let driver = tokio::task::spawn_local(async move {
            // Why it ended is told to each of its exchanges.
            let ended = drive(driver, &watched, released).await;
            drop(descriptor);
            if watched.exceeded().is_some() {
                tracing::warn!(
                    "upstream sent too many frames that carry nothing, its connection is closed, upstream: \"{name}\""
                );
            }
            if let Some(connection) = driven.upgrade() {
                connection.retired.set(true);
            }
            watched.settle();
            ended
        });
        // What the endpoint allows is in its first frame.
        meter.settled().await;
        if connection.retired.get() {
            return Err(match driver.await {
                Ok(Err(error)) => Failure::from(StreamError::from(error)),
                Ok(Ok(())) | Err(_) => Failure::Closed,
            });
        }
        let share = StreamSlot::on(&connection, false);
        let mut all = self.connections.borrow_mut();
        all.endpoints
            .entry(self.endpoint)
            .or_default()
            .connections
            .push(connection);
        Ok(share)
    }
}

/// Drives a connection to its end: its own, that of an endpoint which asks for too much, or that of
/// nobody's needing it, since an endpoint that reads nothing would keep it open for ever.
///
/// # Errors
/// What went wrong with it.
async fn drive(
    mut connection: h2::client::Connection<Metered, Bytes>,
    meter: &Meter,
    mut released: oneshot::Receiver<()>,
) -> Result<(), h2::Error> {
    let (mut alarm, mut due) = (Alarm::default(), None);
    #[allow(
        clippy::disallowed_methods,
        reason = "those who use it bound their waits; from then on the alarm does"
    )]
    poll_fn(|cx| {
        let ended = Pin::new(&mut connection).poll(cx);
        if meter.exceeded().is_some() {
            return Poll::Ready(Ok(()));
        }
        if ended.is_ready() {
            return ended;
        }
        if due.is_none() {
            // Nothing is ever sent: it is dropped.
            let _ = ready!(Pin::new(&mut released).poll(cx));
        }
        let due = *due.get_or_insert_with(|| tokio::time::Instant::now() + GOODBYE);
        alarm.poll_due(cx, due).map(|_| Ok(()))
    })
    .await
}

impl Drop for OpeningGuard {
    fn drop(&mut self) {
        if let Some(endpoint) = self
            .connections
            .borrow_mut()
            .endpoints
            .get_mut(&self.endpoint)
        {
            endpoint.opening = None;
        }
        self.opening.ended.notify_waiters();
    }
}

impl StreamSlot {
    fn on(connection: &Rc<Http2Connection>, cached: bool) -> StreamSlot {
        connection.shares.set(connection.shares.get() + 1);
        connection.requests.set(connection.requests.get() + 1);
        StreamSlot {
            send: connection.send.clone(),
            connection: connection.clone(),
            cached,
            scheme: connection.scheme,
        }
    }

    pub(super) fn meter(&self) -> &Rc<Meter> {
        &self.connection.meter
    }

    /// The connection takes no further exchange.
    pub(crate) fn retire(&self) {
        self.connection.retired.set(true);
    }
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        self.connection.shares.set(self.connection.shares.get() - 1);
        self.connection.idle_since.set(Instant::now());
    }
}
