//! A call that may be left and come back to, and one that may not.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use wasmtime::UpdateDeadline;

use super::super::clock::{EpochClock, FIRST_LOOK, TICK, Ticks, nanos, processor_time};
use super::super::context::ExchangeAtHand;
use super::super::imports::AT_HAND;

/// Measures the processor time of a call that is left and come back to: its parts together.
///
/// From the first tick of the clock on that meets it. What was before counts as one tick, and nothing
/// where none does, as for calls that return without waiting: the parts of most calls are over in a
/// few microseconds, and asking for a thread's time is a system call. On average, over many calls, that
/// is what they took.
///
/// Beside the store and not in it, which the call under way holds.
#[derive(Clone, Default)]
pub(in crate::plugin) struct CallWatch(Arc<Measured>);

/// In nanoseconds.
#[derive(Default)]
struct Measured {
    is_running: AtomicBool,
    /// A tick has met it.
    is_met: AtomicBool,
    allowance: AtomicU64,
    /// In the parts that are over.
    used: AtomicU64,
    /// The thread's processor time when the part at hand began to be measured.
    since: AtomicU64,
}

impl CallWatch {
    /// The call at hand has got on, and has its time anew.
    pub(in crate::plugin) fn renew(&self) {
        self.0.used.store(0, Relaxed);
    }

    /// A call begins, and has this much time.
    pub(in crate::plugin) fn begin(&self, allowance: Duration) {
        self.0.allowance.store(nanos(allowance), Relaxed);
        self.0.used.store(0, Relaxed);
        self.0.is_met.store(false, Relaxed);
        self.0.is_running.store(true, Relaxed);
    }

    /// The call is over: what it has used.
    pub(in crate::plugin) fn end(&self) -> Duration {
        self.0.is_running.store(false, Relaxed);
        Duration::from_nanos(self.0.used.load(Relaxed))
    }

    /// Whether a call that may wait is under way.
    pub(in crate::plugin) fn is_under_way(&self) -> bool {
        self.0.is_running.load(Relaxed)
    }

    fn resume(&self) {
        if self.0.is_met.load(Relaxed) {
            self.0.since.store(nanos(processor_time()), Relaxed);
        }
    }

    fn pause(&self) {
        if self.0.is_met.load(Relaxed) {
            self.0.used.store(self.used(), Relaxed);
        }
    }

    /// Until now.
    fn used(&self) -> u64 {
        let at_hand = nanos(processor_time()).saturating_sub(self.0.since.load(Relaxed));
        self.0.used.load(Relaxed).saturating_add(at_hand)
    }

    /// A tick of the clock has met the call: the event loop has a turn, or its time is over. None
    /// where no such call is under way.
    pub(in crate::plugin) fn look(&self) -> Option<UpdateDeadline> {
        if !self.0.is_running.load(Relaxed) {
            return None;
        }
        if !self.0.is_met.swap(true, Relaxed) {
            self.0.used.store(nanos(TICK), Relaxed);
            self.0.since.store(nanos(processor_time()), Relaxed);
            return Some(UpdateDeadline::Yield(FIRST_LOOK));
        }
        Some(match self.used() < self.0.allowance.load(Relaxed) {
            true => UpdateDeadline::Yield(FIRST_LOOK),
            false => UpdateDeadline::Interrupt,
        })
    }
}

/// Runs a call. The exchange that it is about, if there is one, is at hand whenever the call goes on.
///
/// The clock, which may have stopped while the call waited, runs by then: without it nothing would
/// stop what goes on for ever.
pub(in crate::plugin) async fn run<T>(
    watch: &CallWatch,
    clock: &EpochClock,
    exchange: Option<&ExchangeAtHand>,
    call: impl Future<Output = T>,
) -> T {
    let mut call = pin!(call);
    #[allow(
        clippy::disallowed_methods,
        reason = "who asks gives the call up when its time is over"
    )]
    poll_fn(|cx| {
        clock.wake(Ticks::Fine);
        watch.resume();
        let polled = match exchange {
            Some(exchange) => AT_HAND.set(exchange, || call.as_mut().poll(cx)),
            None => call.as_mut().poll(cx),
        };
        watch.pause();
        polled
    })
    .await
}

/// An event loop that nobody runs, for calls outside of one: what they wait for never comes.
static STANDSTILL: LazyLock<std::io::Result<Runtime>> =
    LazyLock::new(|| Builder::new_current_thread().enable_time().build());

/// Runs a call that must not wait.
///
/// # Errors
/// Those of the call, or that it waits.
pub(in crate::plugin) fn at_once<T>(
    call: impl Future<Output = wasmtime::Result<T>>,
) -> wasmtime::Result<T> {
    // A timer that is waited for asks for an event loop.
    let _within = match (Handle::try_current(), &*STANDSTILL) {
        (Err(_), Ok(standstill)) => Some(standstill.enter()),
        _ => None,
    };
    let mut call = pin!(call);
    match call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => Err(wasmtime::format_err!(
            "waited, which a hook may do in `on-request`, `on-check` and calls about the whole body of a \
             request only"
        )),
    }
}
