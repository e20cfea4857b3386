//! One connection of HTTP/2, the task that drives it, and the slots that exchanges have on it.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{Builder, SendRequest};
use tokio::sync::oneshot;

use super::super::descriptor::{Descriptor, Room};
use super::super::dial::Dialed;
use super::super::failure::{Failure, MAX_INTERIM};
use super::super::target::Target;
use crate::data_plane::stream::{Alarm, Meter, Metered, Stream, StreamError};

/// Response bytes that a stream may have sent us before they were passed on. A connection has room
/// for as much of each of its streams, or clients that do not read would stop those that do.
const STREAM_WINDOW: u32 = 256 << 10;
const MAX_WINDOW: u32 = i32::MAX as u32;
/// h2 adds a fixed cost to every buffered DATA frame. This budget is far above what streams of
/// messages need, and still stops an abuser.
const SMALL_FRAMES: usize = 64 << 20;
/// Bytes of one request body that wait for the endpoint's window.
const SEND_BUFFER: usize = 64 << 10;
/// Frames without content, and resets, that an endpoint may send at once. Endpoints are trusted
/// more than clients, so these limits are higher.
const MAX_CONTROL_FRAMES: u32 = 10_000;
const MAX_RESETS: u32 = 10_000;
/// Header blocks of one response: the interim ones that an exchange takes and one more, which makes
/// it give up, the response header, and the trailers.
const BLOCKS_PER_RESPONSE: u32 = MAX_INTERIM + 3;
/// How long a connection without further use may take to close: GOAWAY, then `close_notify`.
const GOODBYE: Duration = Duration::from_secs(1);

/// A connection.
pub(crate) struct Http2Connection {
    /// None once it is closing: h2 sends GOAWAY when the last of these is dropped.
    send: RefCell<Option<SendRequest<Bytes>>>,
    meter: Rc<Meter>,
    scheme: &'static str,
    opened: Instant,
    requests: Cell<u64>,
    slots: Cell<usize>,
    /// When its last exchange ended.
    idle_since: Cell<Instant>,
    /// It takes no further exchange: it has ended, is about to, or does not answer.
    retired: Cell<bool>,
    /// The endpoint's SETTINGS did not come in time.
    late: Cell<bool>,
    /// Whether it is kept while nothing is under way on it.
    kept: bool,
    descriptor: Weak<Descriptor>,
    /// Tells the driver that the connection has no further use (dropped), or to end it at once
    /// (sent).
    release: Cell<Option<oneshot::Sender<()>>>,
    /// Ends once the driver has ended and its descriptor is given back.
    closed: Cell<Option<oneshot::Receiver<()>>>,
}

/// The task that drives a connection; it answers with what went wrong.
pub(super) type Driver = tokio::task::JoinHandle<Result<(), h2::Error>>;

impl Http2Connection {
    /// Speaks HTTP/2 on a new connection. What the endpoint allows is not known before its SETTINGS
    /// have come. `kept`: whether it stays while nothing is under way on it.
    ///
    /// # Errors
    /// [`Failure::Http2`].
    pub(in super::super) async fn begin(
        dialed: Dialed,
        target: &Target,
        kept: bool,
    ) -> Result<(Rc<Http2Connection>, Driver), Failure> {
        let Dialed { stream, descriptor } = dialed;
        let (max_streams, max_header) = target.http2.as_ref().map_or((1, usize::MAX), |http2| {
            (http2.max_streams, http2.max_header)
        });
        let scheme = match &stream {
            Stream::Plain(_) => "http",
            Stream::Tls(_) => "https",
        };
        let streams = u32::try_from(max_streams).unwrap_or(MAX_WINDOW);
        let window = streams.saturating_mul(STREAM_WINDOW);
        let window = window.clamp(STREAM_WINDOW, MAX_WINDOW);
        let blocks = streams.saturating_mul(BLOCKS_PER_RESPONSE);
        let meter = Meter::of_endpoint(MAX_CONTROL_FRAMES, MAX_RESETS, blocks);
        let (send, connection) = Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(window)
            .data_frame_budget(SMALL_FRAMES)
            .max_send_buffer_size(SEND_BUFFER)
            .max_header_list_size(u32::try_from(max_header).unwrap_or(u32::MAX))
            .enable_push(false)
            .handshake(Metered::opened(stream, meter.clone()))
            .await
            .map_err(|error| Failure::Http2(StreamError::from(error)))?;
        let descriptor = Rc::new(descriptor);
        let (release, released) = oneshot::channel();
        let (open, closed) = oneshot::channel();
        let now = Instant::now();
        let begun = Rc::new(Http2Connection {
            send: RefCell::new(Some(send)),
            meter,
            scheme,
            opened: now,
            requests: Cell::new(0),
            slots: Cell::new(0),
            idle_since: Cell::new(now),
            retired: Cell::new(false),
            late: Cell::new(false),
            kept,
            descriptor: Rc::downgrade(&descriptor),
            release: Cell::new(Some(release)),
            closed: Cell::new(Some(closed)),
        });
        let driven = Rc::downgrade(&begun);
        let (meter, name) = (begun.meter.clone(), target.name.clone());
        let driver = tokio::task::spawn_local(async move {
            // Why it ended is told to each of its exchanges.
            let ended = drive(connection, &meter, released).await;
            drop(descriptor);
            drop::<oneshot::Sender<()>>(open);
            if meter.exceeded().is_some() {
                tracing::warn!(
                    "upstream sent too many frames that carry nothing, its connection is closed, upstream: \"{name}\""
                );
            }
            if let Some(connection) = driven.upgrade() {
                connection.retired.set(true);
            }
            meter.settle();
            ended
        });
        Ok((begun, driver))
    }

    /// Returns once the endpoint has said what it allows, or the connection has ended.
    pub(super) async fn settled(&self) {
        self.meter.settled().await;
    }

    /// The endpoint has not said in time what it allows: ends the connection, and what is on it.
    pub(super) fn give_up(&self) {
        self.late.set(true);
        self.retired.set(true);
        if let Some(release) = self.release.take() {
            // The driver may have ended by itself.
            let _ = release.send(());
        }
    }

    /// Whether it was given up.
    pub(super) fn was_late(&self) -> bool {
        self.late.get()
    }

    /// It takes no further exchange.
    pub(in super::super) fn is_retired(&self) -> bool {
        self.retired.get()
    }

    /// It takes no further exchange, or has reached the bound of its requests or its age.
    pub(super) fn is_worn(&self, max_requests: u64, max_age: Duration) -> bool {
        self.retired.get() || self.requests.get() >= max_requests || self.opened.elapsed() > max_age
    }

    /// Exchanges under way on it.
    pub(super) fn slots(&self) -> usize {
        self.slots.get()
    }

    /// How long nothing has been under way on it; none while something is.
    pub(super) fn idle_for(&self) -> Option<Duration> {
        (self.slots.get() == 0).then(|| self.idle_since.get().elapsed())
    }

    /// Whether the endpoint, and our configuration, allow another stream.
    pub(super) fn has_room(&self, max_streams: usize) -> bool {
        let send = self.send.borrow();
        let allowed = send
            .as_ref()
            .map_or(0, SendRequest::current_max_send_streams);
        self.slots.get() < max_streams.min(allowed)
    }

    /// Sends GOAWAY and closes, which takes a moment. No exchange may be under way on it.
    pub(super) fn close(&self) -> Room {
        self.retired.set(true);
        self.send.take();
        self.release.take();
        match self.closed.take() {
            Some(closed) => Room::Coming(closed),
            // It is closing already, for another one.
            None => Room::Made,
        }
    }

    /// Its last exchange has ended. Closed at once where it would not be used again, or where its
    /// descriptor may be missed in another worker, which cannot have it back.
    fn rests(&self) {
        self.idle_since.set(Instant::now());
        let descriptor = self.descriptor.upgrade();
        let scarce = descriptor.is_some_and(|descriptor| descriptor.is_scarce());
        if !self.kept || self.retired.get() || scarce {
            self.close();
        }
    }
}

/// Drives a connection to its end: its own, that of an endpoint which asks for too much, or that of
/// having no further use, since an endpoint that reads nothing would keep it open for ever.
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
    let driven = poll_fn(|cx| {
        let ended = Pin::new(&mut connection).poll(cx);
        if meter.exceeded().is_some() {
            return Poll::Ready(Ok(()));
        }
        if ended.is_ready() {
            return ended;
        }
        if due.is_none() && ready!(Pin::new(&mut released).poll(cx)).is_ok() {
            return Poll::Ready(Ok(()));
        }
        let due = *due.get_or_insert_with(|| tokio::time::Instant::now() + GOODBYE);
        alarm.poll_due(cx, due).map(|_| Ok(()))
    });
    driven.await
}

/// An exchange's place on a connection: one stream.
pub(crate) struct StreamSlot {
    connection: Rc<Http2Connection>,
    pub(crate) send: SendRequest<Bytes>,
    /// The connection had been used before.
    pub(crate) cached: bool,
}

impl StreamSlot {
    /// None where the connection is closing.
    pub(in super::super) fn on(
        connection: &Rc<Http2Connection>,
        cached: bool,
    ) -> Option<StreamSlot> {
        let send = connection.send.borrow().clone()?;
        connection.slots.set(connection.slots.get() + 1);
        connection.requests.set(connection.requests.get() + 1);
        connection.meter.asked(BLOCKS_PER_RESPONSE);
        Some(StreamSlot {
            send,
            connection: connection.clone(),
            cached,
        })
    }

    /// `https` over TLS, else `http`.
    pub(crate) fn scheme(&self) -> &'static str {
        self.connection.scheme
    }

    pub(crate) fn meter(&self) -> &Rc<Meter> {
        &self.connection.meter
    }

    /// The connection takes no further exchange.
    pub(crate) fn retire(&self) {
        self.connection.retired.set(true);
    }

    /// The connection was given up, because the endpoint never said what it allows.
    pub(crate) fn was_late(&self) -> bool {
        self.connection.was_late()
    }
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        let left = self.connection.slots.get() - 1;
        self.connection.slots.set(left);
        if left == 0 {
            self.connection.rests();
        }
    }
}
