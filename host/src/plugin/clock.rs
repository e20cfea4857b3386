//! Stops calls that run on.
//!
//! A thread advances the engine's epoch every 4 milliseconds: more often would cost a busy worker
//! more than the plugins do. Every 20, while only such plugins are called as are neither charged nor
//! cut soon ([`Ticks`]): the thread's turns are a hundredth of what a busy worker takes. A call that
//! is under way when it does begins to be measured, in processor time of its thread: on a busy
//! machine a worker may well be away for longer than a deadline, and that must not count as the
//! plugin's fault. Calls that are over by then, which is all of them, cost no system call.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use wasmtime::{Engine, EngineWeak, UpdateDeadline};

use crate::fault_injection;

/// One tick of the clock, and the unit of deadlines.
pub(super) const TICK: Duration = Duration::from_millis(4);
/// Ticks between two that are coarse.
const COARSE: u32 = 5;
/// The least deadline of calls for which ticks may be coarse.
const LONG_DEADLINE: Duration = Duration::from_millis(50);
/// What a late tick counts for at the most, when time is charged by ticks.
const LONGEST_INTERVAL: Duration = Duration::from_millis(40);
/// Ticks after which a call is first looked at: the one under way, as looking costs next to
/// nothing.
pub(super) const FIRST_LOOK: u64 = 1;
/// The longest deadline. The clock stops after a longer silence only, so it never stops on a call
/// under way.
pub(super) const LONGEST_DEADLINE: Duration = Duration::from_secs(5);
/// Ticks after which the clock stops if no plugin was called meanwhile, and is coarse if none was that
/// has to be looked at often: twice the longest deadline.
pub(super) const PERIOD: u32 = 2_500;

/// How often a plugin's calls have to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ticks {
    /// Every 4 milliseconds.
    Fine,
    /// Every 20 at the latest.
    Coarse,
}

impl Ticks {
    /// Of calls that have this much time, and pay for it out of such a budget, in hundredths of a
    /// worker's time. As the stock plugins': what is charged to those is told, but never lacking.
    pub(super) fn of(deadline: Duration, budget: u32) -> Ticks {
        match deadline >= LONG_DEADLINE && budget >= 100 {
            true => Ticks::Coarse,
            false => Ticks::Fine,
        }
    }

    /// How many there are in a span of time at the least, rounded up.
    fn within(self, span: Duration) -> u64 {
        let interval = match self {
            Ticks::Fine => TICK,
            Ticks::Coarse => TICK * COARSE,
        };
        u64::try_from(span.as_nanos().div_ceil(interval.as_nanos())).unwrap_or(u64::MAX)
    }
}

/// Advances the engine's epoch, tick by tick, while plugins are called.
///
/// A thread of its own, because a worker that is stuck in a plugin cannot run a task that would
/// free it.
pub(super) struct EpochClock {
    shared: Arc<ClockState>,
    thread: Thread,
}

struct ClockState {
    /// Set by calls, cleared by the clock once in a period: mostly read, so workers share its cache
    /// line in peace.
    wanted: AtomicBool,
    /// Likewise, by calls that have to be looked at often.
    wanted_fine: AtomicBool,
    stop: AtomicBool,
    /// Nanoseconds between the last two ticks: more than asked for where the machine is busy.
    interval: AtomicU64,
}

impl EpochClock {
    pub(super) fn start(engine: &Engine, period: u32) -> std::io::Result<Arc<EpochClock>> {
        let shared = Arc::new(ClockState {
            wanted: AtomicBool::new(false),
            wanted_fine: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            interval: AtomicU64::new(nanos(TICK)),
        });
        let (state, engine) = (shared.clone(), engine.weak());
        let thread = thread::Builder::new()
            .name("plugin-clock".into())
            .spawn(move || {
                // Without the clock no deadline would hold. What it counts with begins anew.
                let tick = || tick(&state, &engine, period);
                while catch_unwind(AssertUnwindSafe(tick)).is_err() {}
            })?;
        Ok(Arc::new(EpochClock {
            shared,
            thread: thread.thread().clone(),
        }))
    }

    /// Sees to it that the clock runs, and as often as the call needs it. Before every call; a few
    /// instructions if it does.
    #[inline]
    pub(super) fn wake(&self, ticks: Ticks) {
        self.want(&self.shared.wanted);
        if ticks == Ticks::Fine {
            self.want(&self.shared.wanted_fine);
        }
    }

    #[inline]
    fn want(&self, wanted: &AtomicBool) {
        if !wanted.load(Relaxed) {
            wanted.store(true, Relaxed);
            self.thread.unpark();
        }
    }

    /// The time between the last two ticks.
    pub(super) fn interval(&self) -> Duration {
        Duration::from_nanos(self.shared.interval.load(Relaxed))
    }
}

impl Drop for EpochClock {
    fn drop(&mut self) {
        self.shared.stop.store(true, Relaxed);
        self.thread.unpark();
    }
}

impl ClockState {
    /// Waits until then; false where a call comes before that has to be looked at often.
    fn rest_until(&self, moment: Instant) -> bool {
        while !self.stop.load(Relaxed) {
            let left = moment.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            // Calls that begin wake it as well, once in a period.
            thread::park_timeout(left);
            if self.wanted_fine.load(Relaxed) {
                return false;
            }
        }
        true
    }
}

fn tick(state: &ClockState, engine: &EngineWeak, period: u32) {
    // In the period before, in which calls may have begun that are still under way.
    let mut was_fine = false;
    loop {
        let (mut last, mut passed) = (Instant::now(), 0);
        while passed < period {
            let is_fine = was_fine || state.wanted_fine.load(Relaxed);
            if is_fine {
                thread::sleep(TICK);
                passed += 1;
            } else if state.rest_until(last + TICK * COARSE) {
                passed += COARSE;
            } else {
                // Not at once, which would meet the very call that wants it.
                last = Instant::now();
                continue;
            }
            let now = Instant::now();
            let interval = (now - last).clamp(TICK, LONGEST_INTERVAL);
            state.interval.store(nanos(interval), Relaxed);
            last = now;
            fault_injection::panics("clock");
            match engine.upgrade() {
                Some(engine) if !state.stop.load(Relaxed) => engine.increment_epoch(),
                _ => return,
            }
        }
        was_fine = state.wanted_fine.swap(false, Relaxed);
        // A call that began just before this swap has the whole next period before the clock can
        // stop.
        if !state.wanted.swap(false, Relaxed) {
            while !state.wanted.load(Relaxed) && !state.stop.load(Relaxed) {
                thread::park();
            }
        }
    }
}

/// Measures the call under way in one store.
#[derive(Default)]
pub(super) struct Stopwatch {
    allowance: Duration,
    /// The thread's processor time at which the call has to be over; `None` until it is first
    /// looked at.
    ends: Option<Duration>,
    /// The time between two ticks when it was.
    interval: Duration,
}

impl Stopwatch {
    /// A call begins, and has this much time.
    #[inline]
    pub(super) fn start(&mut self, allowance: Duration) {
        *self = Stopwatch {
            allowance,
            ends: None,
            interval: TICK,
        };
    }

    /// What the call that is over is charged for, once: the time between two ticks for each tick
    /// that met it. `None` for a call that none met. On average, over many calls, that is what they
    /// took, and calls that are over between two ticks are not measured for it.
    #[inline]
    pub(super) fn take_charge(&mut self) -> Option<Duration> {
        let ends = self.ends.take()?;
        Some(self.charge_of_met(ends))
    }

    #[cold]
    fn charge_of_met(&self, ends: Duration) -> Duration {
        let met = ends.saturating_sub(self.allowance);
        let since = processor_time().saturating_sub(met);
        let ticks = since.as_nanos() / self.interval.as_nanos().max(1);
        let ticks = u32::try_from(ticks).unwrap_or(u32::MAX).saturating_add(1);
        self.interval.saturating_mul(ticks)
    }

    /// The ticks that the call was given are over: gives it as many as it has time left, if any.
    /// `interval`: the time between the last two ticks. The next ones may be as far apart as the call
    /// allows them to be.
    pub(super) fn look(&mut self, interval: Duration, next: Ticks) -> UpdateDeadline {
        let now = processor_time();
        if self.ends.is_none() {
            self.interval = interval;
        }
        let ends = *self.ends.get_or_insert(now + self.allowance);
        match ends.saturating_sub(now) {
            Duration::ZERO => UpdateDeadline::Interrupt,
            left => UpdateDeadline::Continue(next.within(left)),
        }
    }
}

/// Processor time that this thread has used.
pub(super) fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

pub(super) fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test reports by panicking")]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use wasmtime::{Instance, Module, Store, Trap};

    use super::super::engine_config::engine_config;
    use super::super::options::PluginOptions;
    use super::super::waiting;
    use super::*;

    /// Functions `loops` and `returns`, in a store of their own.
    fn call(engine: &Engine, name: &str, after: Duration) -> wasmtime::Result<()> {
        let text = r#"(module (func (export "loops") (loop (br 0))) (func (export "returns")))"#;
        let module = Module::new(engine, wat::parse_str(text).unwrap()).unwrap();
        let mut store = Store::new(engine, ());
        let instance = Instance::new(&mut store, &module, &[]).unwrap();
        let function = instance.get_typed_func::<(), ()>(&mut store, name).unwrap();
        store.set_epoch_deadline(2);
        thread::sleep(after);
        function.call(&mut store, ())
    }

    fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
        let until = Instant::now() + Duration::from_secs(30);
        while !holds() {
            assert!(Instant::now() < until, "waited in vain for {what}");
        }
    }

    #[test]
    fn the_clock_stops_when_nobody_calls_plugins_and_runs_again_for_the_next_call() {
        let engine = Engine::new(&engine_config()).unwrap();
        let clock = EpochClock::start(&engine, 5).unwrap();
        let interrupted = |after| call(&engine, "returns", after).is_err();
        // On a busy machine the clock's thread may come late, so each is tried again.
        eventually("a call that takes long to be interrupted", || {
            clock.wake(Ticks::Fine);
            interrupted(TICK * 4)
        });
        eventually("the clock to stop", || !interrupted(TICK * 20));

        // A machine that is busy for longer than the clock's period does not have it stop meanwhile.
        let is_over = AtomicBool::new(false);
        let looped = thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Relaxed) {
                    clock.wake(Ticks::Fine);
                    thread::sleep(TICK);
                }
            });
            let looped = call(&engine, "loops", Duration::ZERO);
            is_over.store(true, Relaxed);
            looped
        });
        assert_eq!(
            looped.unwrap_err().downcast::<Trap>().unwrap(),
            Trap::Interrupt
        );
    }

    #[test]
    fn the_clock_is_coarse_while_no_call_has_to_be_looked_at_often() {
        let engine = Engine::new(&engine_config()).unwrap();
        let clock = EpochClock::start(&engine, 50).unwrap();
        let is_coarse = || clock.interval() >= TICK * COARSE;
        let is_fine = || clock.interval() < TICK * 2;
        eventually("coarse ticks", || {
            clock.wake(Ticks::Coarse);
            is_coarse()
        });
        eventually("fine ticks", || {
            clock.wake(Ticks::Fine);
            is_fine()
        });
        eventually("coarse ticks again", || {
            clock.wake(Ticks::Coarse);
            is_coarse()
        });
        let (short, long) = (Duration::from_millis(49), Duration::from_millis(50));
        assert_eq!(Ticks::of(short, 100), Ticks::Fine);
        assert_eq!(Ticks::of(long, 99), Ticks::Fine);
        assert_eq!(Ticks::of(long, 100), Ticks::Coarse);
        // For the sake of which there are coarse ones.
        let stock = PluginOptions::stock();
        let deadline = stock.limits.deadline.unwrap();
        assert_eq!(Ticks::of(deadline, stock.budget_of(false)), Ticks::Coarse);
    }

    #[test]
    fn a_call_for_which_ticks_are_coarse_ends_in_time() {
        let mut watch = Stopwatch::default();
        watch.start(LONG_DEADLINE);
        // However close the last two ticks were.
        let looked = watch.look(TICK, Ticks::Coarse);
        assert!(matches!(looked, UpdateDeadline::Continue(3)));
    }

    #[test]
    fn the_clock_runs_again_when_a_call_goes_on_that_has_waited_for_long() {
        let engine = Engine::new(&engine_config()).unwrap();
        let clock = EpochClock::start(&engine, 5).unwrap();
        let watch = waiting::CallWatch::default();
        let waits = std::future::pending::<()>();
        let mut call = pin!(waiting::run(&watch, &clock, None, waits));
        let mut goes_on = || {
            let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_pending());
            clock.shared.wanted.load(Relaxed)
        };
        eventually("the clock to be wanted", &mut goes_on);
        let is_wanted = || clock.shared.wanted.load(Relaxed);
        eventually("the clock to be wanted no more", || !is_wanted());
        eventually("the clock to be wanted again", goes_on);
    }

    #[test]
    fn time_in_which_the_thread_did_not_run_does_not_count() {
        let mut watch = Stopwatch::default();
        watch.start(Duration::from_millis(5));
        assert!(watch.take_charge().is_none(), "no tick met it");
        assert!(matches!(
            watch.look(TICK, Ticks::Fine),
            UpdateDeadline::Continue(2)
        ));
        thread::sleep(Duration::from_millis(20));
        assert!(matches!(
            watch.look(TICK, Ticks::Fine),
            UpdateDeadline::Continue(1..=2)
        ));

        let until = processor_time() + Duration::from_millis(6);
        while processor_time() < until {}
        assert!(matches!(
            watch.look(TICK, Ticks::Fine),
            UpdateDeadline::Interrupt
        ));
        assert!(watch.take_charge() >= Some(2 * TICK));
        assert_eq!(watch.take_charge(), None, "it is charged once");
    }
}
