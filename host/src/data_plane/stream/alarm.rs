//! The clock that bounds each wait of a connection.
//!
//! A task waits by polling, and clippy (`host/clippy.toml`) lets no file poll but through an alarm,
//! or with the reason why something else bounds the wait.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::ptr;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::data_plane::turn;

/// A reusable timer for the waits of one connection.
///
/// Most waits end long before their limit, so the timer is only moved when it would ring too late;
/// when it rings too early it is wound again. A connection that answers a million requests hardly
/// ever touches the timer wheel, and asks the timer nothing as long as it is to wake the same task.
#[derive(Debug)]
pub(crate) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
    /// Whom the timer will wake, by where the data of their waker is; null for nobody. The timer holds
    /// that waker, so that no other one can have its data there.
    wakes: *const (),
}

impl Default for Alarm {
    fn default() -> Alarm {
        Alarm {
            sleep: None,
            wakes: ptr::null(),
        }
    }
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
            let due = *due.get_or_insert_with(|| (turn::now() + limit).into());
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
        let wakes = cx.waker().data();
        if !wakes.is_null() && self.wakes == wakes && sleep.deadline() <= due && !sleep.is_elapsed()
        {
            return Poll::Pending;
        }
        self.wakes = ptr::null();
        if sleep.deadline() > due {
            sleep.as_mut().reset(due);
        }
        loop {
            // A task that has had its turn is not noted by the timer: it is woken at once.
            let is_noted = tokio::task::coop::has_budget_remaining();
            if sleep.as_mut().poll(cx).is_pending() {
                self.wakes = if is_noted { wakes } else { ptr::null() };
                return Poll::Pending;
            }
            if sleep.deadline() >= due {
                return Poll::Ready(TimedOut);
            }
            sleep.as_mut().reset(due);
        }
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "a test that waits in vain is given up"
)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use tokio::task::coop;

    use super::*;

    const SOON: Duration = Duration::from_millis(20);
    const LATE: Duration = Duration::from_secs(3600);
    const LONG: Duration = Duration::from_secs(60);

    async fn rings(alarm: &mut Alarm, due: Instant) {
        let rung = poll_fn(|cx| alarm.poll_due(cx, due));
        let rung = tokio::time::timeout(LONG, rung).await;
        assert_eq!(rung.unwrap(), TimedOut);
        assert!(Instant::now() >= due, "too early");
        // At the end of the timeout it is asked once more, whoever was woken.
        assert!(due.elapsed() < LONG / 2, "nobody was woken");
    }

    #[tokio::test]
    async fn an_alarm_rings_however_often_it_was_asked_before() {
        let mut alarm = Alarm::default();
        for limits in [[SOON, SOON], [LATE, SOON], [SOON, SOON * 3]] {
            let begun = Instant::now();
            for _ in 0..5 {
                let early = poll_fn(|cx| Poll::Ready(alarm.poll_due(cx, begun + limits[0])));
                assert!(early.await.is_pending() || begun.elapsed() >= limits[0]);
            }
            rings(&mut alarm, begun + limits[1]).await;
        }
    }

    #[tokio::test]
    async fn a_task_that_has_had_its_turn_is_woken_all_the_same() {
        let mut alarm = Alarm::default();
        let due = Instant::now() + SOON;
        poll_fn(|cx| {
            while let Poll::Ready(turn) = coop::poll_proceed(cx) {
                turn.made_progress();
            }
            assert!(alarm.poll_due(cx, due).is_pending());
            Poll::Ready(())
        })
        .await;
        rings(&mut alarm, due).await;
    }

    #[tokio::test]
    async fn another_task_that_goes_on_with_an_alarm_is_woken() {
        let due = Instant::now() + SOON;
        let tasks = tokio::task::LocalSet::new();
        let first = tasks.spawn_local(async move {
            let mut alarm = Alarm::default();
            let asked = poll_fn(|cx| Poll::Ready(alarm.poll_due(cx, due).is_pending()));
            assert!(asked.await && !alarm.wakes.is_null());
            alarm
        });
        let mut alarm = tasks.run_until(first).await.unwrap();
        let other = tasks.spawn_local(async move { rings(&mut alarm, due).await });
        tasks.run_until(other).await.unwrap();
    }
}
