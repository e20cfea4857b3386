//! The clock that bounds each wait of a connection.
//!
//! A task waits by polling, and clippy (`host/clippy.toml`) lets no file poll but through an alarm,
//! or with the reason why something else bounds the wait.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// A reusable timer for the waits of one connection.
///
/// Most waits end long before their limit, so the timer is only moved when it would ring too late;
/// when it rings too early it is wound again. A connection that answers a million requests hardly
/// ever touches the timer wheel.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
}

/// A wait reached its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimedOut;

impl From<TimedOut> for io::Error {
    fn from(_: TimedOut) -> io::Error {
        io::ErrorKind::TimedOut.into()
    }
}

impl Alarm {
    /// Waits for `work`, but no longer than `limit` from now.
    ///
    /// # Errors
    /// [`TimedOut`]
    pub(crate) async fn within<T>(
        &mut self,
        limit: Duration,
        work: impl Future<Output = T>,
    ) -> Result<T, TimedOut> {
        let mut work = pin!(work);
        self.poll_within(limit, |cx| work.as_mut().poll(cx)).await
    }

    /// Polls until that is ready, but no longer than `limit` from now.
    ///
    /// # Errors
    /// [`TimedOut`]
    #[allow(clippy::disallowed_methods, reason = "this is what bounds all others")]
    pub(crate) async fn poll_within<T>(
        &mut self,
        limit: Duration,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Result<T, TimedOut> {
        // The clock is asked only if there is something to wait for.
        let mut due = None;
        poll_fn(|cx| {
            if let Poll::Ready(value) = poll(cx) {
                return Poll::Ready(Ok(value));
            }
            let due = *due.get_or_insert_with(|| Instant::now() + limit);
            self.poll_due(cx, due).map(Err)
        })
        .await
    }

    /// As [`Alarm::poll_within`], with the moment itself.
    ///
    /// # Errors
    /// [`TimedOut`]
    #[allow(clippy::disallowed_methods, reason = "this is what bounds all others")]
    pub(crate) async fn poll_until<T>(
        &mut self,
        due: Instant,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Result<T, TimedOut> {
        poll_fn(|cx| match poll(cx) {
            Poll::Ready(value) => Poll::Ready(Ok(value)),
            Poll::Pending => self.poll_due(cx, due).map(Err),
        })
        .await
    }

    /// Rings at `due`; several waits may share an alarm as long as one task polls them.
    pub(crate) fn poll_due(&mut self, cx: &mut Context<'_>, due: Instant) -> Poll<TimedOut> {
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if sleep.deadline() > due {
            sleep.as_mut().reset(due);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= due {
                return Poll::Ready(TimedOut);
            }
            sleep.as_mut().reset(due);
        }
    }
}
