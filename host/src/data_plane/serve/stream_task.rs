//! One request of HTTP/2, in a task that is kept for the next one.
//!
//! The state of an exchange has several KiB: it need not be allocated, moved and freed for each
//! request, nor the timer that goes with it. A connection of HTTP/1 keeps both from one request to the
//! next. A task belongs to no connection: the next request of any gets the one that was done last,
//! whose state is still in the processor's caches.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use h2::Reason;

use crate::data_plane::downstream::ClientConnection;
use crate::data_plane::drain::ConnectionGuard;
use crate::data_plane::exchange::{self, Fault};
use crate::data_plane::stream::{Alarm, Http2Stream, Meter, in_turns};

/// Tasks of a worker that wait for a request, at most; about 6 KiB each.
const KEPT: usize = 64;

thread_local! {
    /// The tasks of this worker that wait for a request. The event loop owns them: those of one that
    /// has ended are gone.
    static WAITING: RefCell<Vec<Weak<Place>>> = const { RefCell::new(Vec::new()) };
}

/// The open streams of a connection.
#[derive(Default)]
pub(super) struct OpenStreams {
    number: Cell<usize>,
    /// Of the connection's task.
    waker: RefCell<Option<Waker>>,
}

impl OpenStreams {
    /// Has the caller's task woken once the last of them has ended. Ready where there is none.
    pub(super) fn poll_none(&self, cx: &Context<'_>) -> Poll<()> {
        if self.number.get() == 0 {
            return Poll::Ready(());
        }
        keep_waker(&self.waker, cx);
        Poll::Pending
    }
}

/// Whom to wake from now on; most often the one that is noted already.
fn keep_waker(noted: &RefCell<Option<Waker>>, cx: &Context<'_>) {
    match &mut *noted.borrow_mut() {
        Some(waker) => waker.clone_from(cx.waker()),
        none => *none = Some(cx.waker().clone()),
    }
}

/// One of them, and its hold on the connection.
pub(super) struct OpenStream {
    streams: Rc<OpenStreams>,
    _connection: Rc<ConnectionGuard>,
}

impl OpenStream {
    pub(super) fn new(streams: &Rc<OpenStreams>, connection: &Rc<ConnectionGuard>) -> OpenStream {
        streams.number.set(streams.number.get() + 1);
        OpenStream {
            streams: streams.clone(),
            _connection: connection.clone(),
        }
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.streams.number.set(self.streams.number.get() - 1);
        if self.streams.number.get() == 0
            && let Some(waker) = self.streams.waker.take()
        {
            waker.wake();
        }
    }
}

/// A request that its connection has accepted.
pub(super) struct Accepted {
    pub(super) request: http::request::Parts,
    pub(super) began: Instant,
    pub(super) stream: Rc<Http2Stream>,
    /// The stream, as an exchange sees a connection.
    pub(super) connection: ClientConnection,
    pub(super) meter: Rc<Meter>,
    pub(super) open: OpenStream,
}

/// Serves a request in a task of its own. It is made where the task finds it: it is large.
#[inline]
pub(super) fn begin(accepted: impl FnOnce() -> Accepted) {
    let waiting = WAITING.with_borrow_mut(|waiting| {
        // Whatever has ended with its event loop is passed over.
        std::iter::from_fn(|| waiting.pop()).find_map(|place| place.upgrade())
    });
    match waiting {
        Some(place) => {
            *place.given.borrow_mut() = Some(accepted());
            if let Some(waker) = &*place.waker.borrow() {
                waker.wake_by_ref();
            }
        }
        None => {
            let place = Rc::new(Place {
                given: RefCell::new(Some(accepted())),
                waker: RefCell::default(),
            });
            tokio::task::spawn_local(in_turns(serve(place)));
        }
    }
}

/// Where a task gets its requests.
struct Place {
    given: RefCell<Option<Accepted>>,
    /// Of the task, once it has waited.
    waker: RefCell<Option<Waker>>,
}

impl Place {
    fn is_given(&self) -> bool {
        self.given.borrow().is_some()
    }

    fn poll_given(&self, cx: &Context<'_>) -> Poll<Accepted> {
        if let Some(accepted) = self.given.take() {
            return Poll::Ready(accepted);
        }
        keep_waker(&self.waker, cx);
        Poll::Pending
    }

    /// Waits for the next request, unless enough others do.
    fn wait(self: &Rc<Self>) -> bool {
        WAITING.with_borrow_mut(|waiting| {
            let has_room = waiting.len() < KEPT;
            if has_room {
                waiting.push(Rc::downgrade(self));
            }
            has_room
        })
    }
}

/// Serves one request after the other.
async fn serve(place: Rc<Place>) {
    let mut alarm = Alarm::default();
    while place.is_given() || place.wait() {
        #[allow(
            clippy::disallowed_methods,
            reason = "it holds nothing of anybody, and waits as long as its worker has clients"
        )]
        let given = poll_fn(|cx| place.poll_given(cx));
        // Not a function of its own, which would hold all of it a second time.
        let Accepted {
            request,
            began,
            stream,
            mut connection,
            meter,
            open: _open,
        } = given.await;
        std::mem::swap(&mut connection.alarm, &mut alarm);
        let mut session = connection.next_request(began);
        let mut head = session.worker.take_request_head();
        let protocol = request.extensions.get::<h2::ext::Protocol>();
        let taken = head.take_http2(
            &request,
            protocol.map(h2::ext::Protocol::as_str),
            session.limits().max_headers,
        );
        drop(request);
        match taken {
            Ok(()) => {
                exchange::serve(&mut session, head, began).await;
            }
            Err(bad) => {
                exchange::reject(&mut session, head, began, Fault::BadHead(bad)).await;
            }
        }
        if stream.has_ended() {
            meter.answered();
        } else {
            // A reset takes away what the connection has not sent yet.
            tokio::task::yield_now().await;
            stream.reset(Reason::INTERNAL_ERROR);
        }
        // It is set for this task, which the next request finds it in.
        std::mem::swap(&mut connection.alarm, &mut alarm);
    }
}
