//! Waits of an exchange for something else than a server: for the end of a delay, for work on
//! another thread.
//!
//! A client that leaves meanwhile ends them, as while a server is connected to (nginx:
//! `ngx_http_test_reading`). One that has sent something behind its request is taken to be there.
//! The exchange counts as under way all the time: a worker that drains waits for it, and its
//! connection makes room for no other one. It holds no buffer: thousands may wait.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};

use tokio::time::Instant;

use super::fault::Fault;
use crate::data_plane::body::Incoming;
use crate::data_plane::downstream::Session;

/// Waits until then.
///
/// # Errors
/// [`Fault::ClientGone`]
pub(super) async fn pause(session: &mut Session<'_>, until: Instant) -> Result<(), Fault> {
    let nothing = |_: &mut Context<'_>| Poll::<Infallible>::Pending;
    match watched_until(session, until, nothing).await {
        Waited::Done(never) => match never {},
        Waited::TimedOut => Ok(()),
        Waited::ClientGone => Err(Fault::ClientGone),
    }
}

/// Waits for work that bounds itself.
///
/// # Errors
/// [`Fault::ClientGone`]; the work is dropped then.
pub(super) async fn watched<T>(
    session: &mut Session<'_>,
    work: impl Future<Output = T>,
) -> Result<T, Fault> {
    let Session {
        incoming, worker, ..
    } = session;
    incoming.release(&worker.buffers);
    let mut work = pin!(work);
    #[allow(clippy::disallowed_methods, reason = "the work bounds itself")]
    let waited = poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(done) => Poll::Ready(Ok(done)),
        Poll::Pending => poll_gone(incoming, cx).map(|()| Err(Fault::ClientGone)),
    });
    waited.await
}

/// What a wait has come to.
pub(super) enum Waited<T> {
    Done(T),
    TimedOut,
    ClientGone,
}

/// Waits for what somebody else does, until then.
pub(super) async fn watched_until<T>(
    session: &mut Session<'_>,
    until: Instant,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
) -> Waited<T> {
    let Session {
        incoming,
        alarm,
        worker,
        ..
    } = session;
    incoming.release(&worker.buffers);
    let waited = alarm.poll_until(until, |cx| match poll(cx) {
        Poll::Ready(done) => Poll::Ready(Waited::Done(done)),
        Poll::Pending => poll_gone(incoming, cx).map(|()| Waited::ClientGone),
    });
    waited.await.unwrap_or(Waited::TimedOut)
}

/// Ready when the client has left.
fn poll_gone(incoming: &Incoming, cx: &mut Context<'_>) -> Poll<()> {
    match incoming.unread() {
        [] => incoming.reader.poll_closed(cx),
        _ => Poll::Pending,
    }
}
