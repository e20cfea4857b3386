//! Waits of an exchange for something else than a server: for the end of a delay, for work on
//! another thread.
//!
//! A client that leaves meanwhile ends them, as while a server is connected to (nginx:
//! `ngx_http_test_reading`). What it has sent behind the head of its request, and nobody has read yet,
//! hides that: then it shows within a second.
//! The exchange counts as under way all the time: a worker that drains waits for it, and its
//! connection makes room for no other one. It holds no buffer: thousands may wait.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::fault::Fault;
use crate::data_plane::body::Incoming;
use crate::data_plane::downstream::Session;
use crate::data_plane::stream::TimedOut;

/// How often a socket is asked whether its client has left, where what was sent before hides it.
pub(super) const LOOK: Duration = Duration::from_secs(1);

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
        incoming,
        alarm,
        worker,
        ..
    } = session;
    incoming.release(&worker.buffers);
    let mut work = pin!(work);
    loop {
        let waited = alarm.poll_within(LOOK, |cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Ok(done)),
            Poll::Pending => poll_gone(incoming, cx).map(|()| Err(Fault::ClientGone)),
        });
        match waited.await {
            Ok(waited) => return waited,
            Err(TimedOut) if incoming.reader.is_hung_up() => return Err(Fault::ClientGone),
            Err(TimedOut) => {}
        }
    }
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
    loop {
        let due = until.min(Instant::now() + LOOK);
        let waited = alarm.poll_until(due, |cx| match poll(cx) {
            Poll::Ready(done) => Poll::Ready(Waited::Done(done)),
            Poll::Pending => poll_gone(incoming, cx).map(|()| Waited::ClientGone),
        });
        match waited.await {
            Ok(waited) => return waited,
            Err(TimedOut) if due == until => return Waited::TimedOut,
            Err(TimedOut) if incoming.reader.is_hung_up() => return Waited::ClientGone,
            Err(TimedOut) => {}
        }
    }
}

/// Ready when the client has left.
fn poll_gone(incoming: &Incoming, cx: &mut Context<'_>) -> Poll<()> {
    match incoming.unread() {
        [] => incoming.reader.poll_closed(cx),
        _ => Poll::Pending,
    }
}
