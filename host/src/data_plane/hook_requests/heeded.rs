//! Work that is polled once it has asked for it, and not whenever something else in the same task has.
//!
//! A call of a plugin has a stack of its own: to go there and back for nothing costs more than all
//! else that a wake does.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::AcqRel};
use std::task::{Context, Poll, Wake, Waker};

/// Work with a waker of its own.
pub(super) struct Heeded<'a, F> {
    work: Pin<&'a mut F>,
    /// None before it is polled first.
    call: Option<(Arc<Call>, Waker)>,
}

/// What the work's waker is.
struct Call {
    has_come: AtomicBool,
    task: Waker,
}

impl<F> Heeded<'_, F> {
    pub(super) fn new(work: Pin<&mut F>) -> Heeded<'_, F> {
        Heeded { work, call: None }
    }
}

impl<F: Future> Future for Heeded<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        let of_another_task = |(call, _): &mut (Arc<Call>, _)| !call.task.will_wake(cx.waker());
        if this.call.as_mut().is_none_or(of_another_task) {
            let call = Arc::new(Call {
                has_come: AtomicBool::new(true),
                task: cx.waker().clone(),
            });
            let waker = call.clone().into();
            this.call = Some((call, waker));
        }
        match &this.call {
            Some((call, waker)) if call.has_come.swap(false, AcqRel) => {
                this.work.as_mut().poll(&mut Context::from_waker(waker))
            }
            _ => Poll::Pending,
        }
    }
}

impl Wake for Call {
    fn wake(self: Arc<Call>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Call>) {
        if !self.has_come.swap(true, AcqRel) {
            self.task.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Wakes>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "nothing is waited for")]
    fn work_is_polled_when_it_has_asked_for_it_and_when_another_task_takes_it_over() {
        let mut polls = 0;
        let mut asks: Option<Waker> = None;
        let work = pin!(poll_fn(|cx| -> Poll<()> {
            polls += 1;
            asks = Some(cx.waker().clone());
            Poll::Pending
        }));
        let mut work = Heeded::new(work);
        let wakes = [Arc::new(Wakes::default()), Arc::new(Wakes::default())];
        let wakers = wakes.clone().map(Waker::from);
        let mut poll = |waker: &Waker| {
            let pending = Pin::new(&mut work).poll(&mut Context::from_waker(waker));
            assert_eq!(pending, Poll::Pending);
        };
        (0..3).for_each(|_| poll(&wakers[0]));
        poll(&wakers[1]);
        poll(&wakers[1]);
        assert_eq!(polls, 2, "once for each task");
        let asks = asks.unwrap_or_else(|| Waker::noop().clone());
        asks.wake_by_ref();
        asks.wake();
        let woken = wakes.each_ref().map(|wakes| wakes.0.load(Relaxed));
        assert_eq!(woken, [0, 1], "the task that has it, once");
    }
}
