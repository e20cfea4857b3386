//! What a plugin costs: how often it was called, how long that took, how much memory it holds, and
//! how often it failed.
//!
//! Every instance has statistics of its own that only it writes, so that workers do not contend for
//! a cache line; the thread that asks for those of a plugin adds them up. One call in 64 is timed:
//! the clock would cost more than most policies do.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::error::FaultKind;

/// A version's figures since it was loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PluginCounters {
    /// `pick`, `done` and `failed` together.
    pub calls: u64,
    pub traps: u64,
    pub deadlines: u64,
    pub memory: u64,
    pub answers: u64,
    /// Picks that were left to the fallback because the budget was used up.
    pub over_budget: u64,
}

/// What a version costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Of the calls that were timed, in nanoseconds; 0 until there was one. The 99th percentile is
    /// exact to 6 %.
    pub mean_ns: u64,
    pub p99_ns: u64,
    /// How many were timed, and what they took together.
    pub timed_calls: u64,
    pub timed_ns: u64,
    /// Instances that there are, and bytes of linear memory that they hold together.
    pub instances: u64,
    pub memory_bytes: u64,
    /// Hundredths of its time that the busiest worker spent on it in the last second that was
    /// measured; 0 if that is long ago.
    pub worker_percent: u64,
}

/// Adds up over all instances of one version of a plugin.
pub(super) struct PluginStats {
    live: Mutex<Vec<Arc<InstanceStats>>>,
    /// The statistics of instances that have been dropped.
    ended: Mutex<Histogram>,
    traps: AtomicU64,
    deadlines: AtomicU64,
    memory: AtomicU64,
    answers: AtomicU64,
    fault_budget: Mutex<FaultBudget>,
    quarantined: AtomicBool,
    budget: BudgetStats,
    own_counters: Mutex<OwnCounters>,
}

/// The counters that a plugin has of its own.
#[derive(Default)]
struct OwnCounters {
    /// Their numbers are their places.
    names: Vec<String>,
    /// What instances counted that have been dropped.
    ended: Vec<u64>,
}

/// What the budgets of a version with all workers came to. Times are milliseconds of [`millis`],
/// 0 for never.
#[derive(Default)]
struct BudgetStats {
    left_to_fallback: AtomicU64,
    in_debt_at: AtomicU64,
    debt_told_at: AtomicU64,
    percent: AtomicU64,
    percent_at: AtomicU64,
    percent_told_at: AtomicU64,
}

/// How long an event of a budget is news; the log tells of it again after a minute.
const NEWS: u64 = 10_000;
const UNTOLD: u64 = 60_000;

/// Milliseconds since the process first asked, and 1.
fn millis() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_millis()).map_or(u64::MAX, |millis| millis.saturating_add(1))
}

/// Whether something that was told at `at` is to be told now; then it is noted.
fn is_to_be_told(at: &AtomicU64) -> bool {
    let (told, now) = (at.load(Relaxed), millis());
    let is_due = told == 0 || now.saturating_sub(told) > UNTOLD;
    is_due && at.compare_exchange(told, now, Relaxed, Relaxed).is_ok()
}

fn is_news(at: &AtomicU64) -> bool {
    let at = at.load(Relaxed);
    at > 0 && millis().saturating_sub(at) <= NEWS
}

/// How many faults a plugin may have in how long a time. Looked at when there was one.
struct FaultBudget {
    max_faults: u32,
    window: Duration,
    since: Instant,
    faults: u32,
}

/// One call in this many is timed; a power of two.
const TIMED: u64 = 64;
/// 16 buckets for each power of two up to 2^34 ns, which is 17 s.
const BUCKETS: usize = 512;

/// Counters of its own that a plugin may have, and the number that stands for none.
const COUNTERS: usize = 64;
pub(super) const NO_COUNTER: u32 = u32::MAX;
/// Bytes of a counter's name.
const COUNTER_NAME: usize = 64;

/// One instance's figures. Written by the instance alone.
pub(super) struct InstanceStats {
    own_counters: [AtomicU64; COUNTERS],
    calls: AtomicU64,
    timed: AtomicU64,
    nanos: AtomicU64,
    memory_bytes: AtomicU64,
    buckets: [AtomicU32; BUCKETS],
}

struct Histogram {
    calls: u64,
    timed: u64,
    nanos: u64,
    buckets: [u64; BUCKETS],
}

impl PluginStats {
    /// `max_faults` within `window` put the version into quarantine; 0 never does.
    pub(super) fn new(max_faults: u32, window: Duration) -> PluginStats {
        PluginStats {
            live: Mutex::default(),
            ended: Mutex::new(Histogram::default()),
            traps: AtomicU64::new(0),
            deadlines: AtomicU64::new(0),
            memory: AtomicU64::new(0),
            answers: AtomicU64::new(0),
            fault_budget: Mutex::new(FaultBudget {
                max_faults,
                window,
                since: Instant::now(),
                faults: 0,
            }),
            quarantined: AtomicBool::new(false),
            budget: BudgetStats::default(),
            own_counters: Mutex::default(),
        }
    }

    /// A worker's budget is used up. True if the log is to tell.
    pub(super) fn note_debt(&self) -> bool {
        self.budget.in_debt_at.store(millis(), Relaxed);
        is_to_be_told(&self.budget.debt_told_at)
    }

    /// Whether a budget was used up a moment ago.
    pub(super) fn is_over_budget(&self) -> bool {
        is_news(&self.budget.in_debt_at)
    }

    /// A worker spent so many hundredths of a second on it. True if the log is to tell, should that
    /// be much.
    pub(super) fn note_share(&self, percent: u64, is_much: bool) -> bool {
        let budget = &self.budget;
        match is_news(&budget.percent_at) {
            true => _ = budget.percent.fetch_max(percent, Relaxed),
            false => budget.percent.store(percent, Relaxed),
        }
        budget.percent_at.store(millis(), Relaxed);
        is_much && is_to_be_told(&budget.percent_told_at)
    }

    pub(super) fn add_left_to_fallback(&self, picks: u64) {
        self.budget.left_to_fallback.fetch_add(picks, Relaxed);
    }

    /// Counts a fault. True if this is the one that was one too many.
    pub(super) fn fault(&self, kind: FaultKind) -> bool {
        let counter = match kind {
            FaultKind::Trap => &self.traps,
            FaultKind::Deadline => &self.deadlines,
            FaultKind::Memory => &self.memory,
            FaultKind::Answer => &self.answers,
        };
        counter.fetch_add(1, Relaxed);
        self.fault_budget.lock().is_over(Instant::now()) && !self.quarantined.swap(true, Relaxed)
    }

    pub(super) fn has_faulted(&self) -> bool {
        let counters = [&self.traps, &self.deadlines, &self.memory, &self.answers];
        counters.iter().any(|counter| counter.load(Relaxed) > 0)
    }

    #[inline]
    pub(super) fn is_quarantined(&self) -> bool {
        self.quarantined.load(Relaxed)
    }

    pub(super) fn cost(&self) -> Cost {
        let total = self.histogram();
        let live = self.live.lock();
        Cost {
            mean_ns: total.nanos.checked_div(total.timed).unwrap_or(0),
            p99_ns: total.percentile(99),
            timed_calls: total.timed,
            timed_ns: total.nanos,
            instances: live.len() as u64,
            memory_bytes: live
                .iter()
                .map(|instance| instance.memory_bytes.load(Relaxed))
                .sum(),
            worker_percent: match is_news(&self.budget.percent_at) {
                true => self.budget.percent.load(Relaxed),
                false => 0,
            },
        }
    }

    pub(super) fn counters(&self) -> PluginCounters {
        PluginCounters {
            calls: self.histogram().calls,
            traps: self.traps.load(Relaxed),
            deadlines: self.deadlines.load(Relaxed),
            memory: self.memory.load(Relaxed),
            answers: self.answers.load(Relaxed),
            over_budget: self.budget.left_to_fallback.load(Relaxed),
        }
    }

    /// What the plugin has counted itself, by name.
    pub(super) fn own_counters(&self) -> Vec<(String, u64)> {
        let live = self.live.lock();
        let own = self.own_counters.lock();
        let names = own.names.iter().enumerate();
        names
            .map(|(place, name)| {
                let ended = own.ended.get(place).copied().unwrap_or(0);
                let counts = live
                    .iter()
                    .map(|instance| instance.own_counters[place].load(Relaxed));
                (name.clone(), counts.fold(ended, u64::saturating_add))
            })
            .collect()
    }

    fn histogram(&self) -> Histogram {
        let mut total = Histogram::default();
        let live = {
            // Under the lock, so that an instance which ends meanwhile is counted once; and no
            // longer, because a worker that has to let an instance go waits for it.
            let live = self.live.lock();
            total.add(&self.ended.lock());
            live.clone()
        };
        for instance in &live {
            total.add(&instance.histogram());
        }
        total
    }
}

impl FaultBudget {
    fn is_over(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) > self.window {
            (self.since, self.faults) = (now, 0);
        }
        self.faults = self.faults.saturating_add(1);
        self.max_faults > 0 && self.faults >= self.max_faults
    }
}

/// One instance's part of its plugin's statistics.
pub(super) struct CallTimer {
    instance: Arc<InstanceStats>,
    plugin: Arc<PluginStats>,
}

impl CallTimer {
    pub(super) fn new(plugin: &Arc<PluginStats>) -> CallTimer {
        let instance = Arc::new(InstanceStats {
            own_counters: [const { AtomicU64::new(0) }; COUNTERS],
            calls: AtomicU64::new(0),
            timed: AtomicU64::new(0),
            nanos: AtomicU64::new(0),
            memory_bytes: AtomicU64::new(0),
            buckets: [const { AtomicU32::new(0) }; BUCKETS],
        });
        plugin.live.lock().push(instance.clone());
        CallTimer {
            instance,
            plugin: plugin.clone(),
        }
    }

    /// What the instance may count itself.
    pub(super) fn figures(&self) -> Figures {
        Figures {
            instance: self.instance.clone(),
            plugin: self.plugin.clone(),
        }
    }

    /// One more call begins; the moment, if it is to be timed. Plain additions: there is only one
    /// writer.
    #[inline]
    pub(super) fn begin(&self) -> Option<Instant> {
        let calls = self.instance.calls.load(Relaxed);
        self.instance.calls.store(calls + 1, Relaxed);
        calls.is_multiple_of(TIMED).then(Instant::now)
    }

    /// A call that was to be timed is over.
    pub(super) fn end(&self, began: Instant) {
        let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let InstanceStats {
            timed,
            nanos: sum,
            buckets,
            ..
        } = &*self.instance;
        timed.store(timed.load(Relaxed) + 1, Relaxed);
        sum.store(sum.load(Relaxed).saturating_add(nanos), Relaxed);
        let bucket = &buckets[bucket(nanos)];
        bucket.store(bucket.load(Relaxed).saturating_add(1), Relaxed);
    }

    /// The instance holds this much linear memory now.
    pub(super) fn note_memory(&self, bytes: usize) {
        self.instance.memory_bytes.store(bytes as u64, Relaxed);
    }
}

impl Drop for CallTimer {
    fn drop(&mut self) {
        let mut live = self.plugin.live.lock();
        live.retain(|instance| !Arc::ptr_eq(instance, &self.instance));
        self.plugin.ended.lock().add(&self.instance.histogram());
        let mut own = self.plugin.own_counters.lock();
        let counts = &self.instance.own_counters[..own.names.len()];
        own.ended.resize(counts.len(), 0);
        for (sum, count) in own.ended.iter_mut().zip(counts) {
            *sum = sum.saturating_add(count.load(Relaxed));
        }
    }
}

/// The counters of a plugin's own, as one instance counts: see `metrics` in the WIT.
pub(super) struct Figures {
    instance: Arc<InstanceStats>,
    plugin: Arc<PluginStats>,
}

impl Figures {
    /// The number of a counter; [`NO_COUNTER`] for a name that is none, and beyond the bound.
    pub(super) fn counter(&self, name: &str) -> u32 {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
        if name.is_empty() || name.len() > COUNTER_NAME || !name.bytes().all(allowed) {
            return NO_COUNTER;
        }
        let names = &mut self.plugin.own_counters.lock().names;
        let place = names.iter().position(|known| known == name);
        let place = match place {
            Some(place) => place,
            None if names.len() < COUNTERS => {
                names.push(name.to_owned());
                names.len() - 1
            }
            None => return NO_COUNTER,
        };
        u32::try_from(place).unwrap_or(NO_COUNTER)
    }

    /// A plain addition: there is only one writer.
    #[inline]
    pub(super) fn add(&self, counter: u32, value: u64) {
        if let Some(counter) = self.instance.own_counters.get(counter as usize) {
            counter.store(counter.load(Relaxed).saturating_add(value), Relaxed);
        }
    }
}

impl InstanceStats {
    fn histogram(&self) -> Histogram {
        Histogram {
            calls: self.calls.load(Relaxed),
            timed: self.timed.load(Relaxed),
            nanos: self.nanos.load(Relaxed),
            buckets: std::array::from_fn(|index| u64::from(self.buckets[index].load(Relaxed))),
        }
    }
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram {
            calls: 0,
            timed: 0,
            nanos: 0,
            buckets: [0; BUCKETS],
        }
    }
}

impl Histogram {
    fn add(&mut self, other: &Histogram) {
        self.calls += other.calls;
        self.timed += other.timed;
        self.nanos += other.nanos;
        for (sum, count) in self.buckets.iter_mut().zip(other.buckets) {
            *sum += count;
        }
    }

    /// The value that so many of a hundred timed calls did not exceed.
    fn percentile(&self, percent: u64) -> u64 {
        let wanted = (self.timed * percent).div_ceil(100);
        let mut seen = 0;
        let found = self.buckets.iter().position(|count| {
            seen += count;
            seen >= wanted && wanted > 0
        });
        found.map_or(0, ceiling)
    }
}

/// The bucket of a time: exact below 16 ns, then 16 for each power of two.
fn bucket(nanos: u64) -> usize {
    let Some(exponent) = nanos.max(1).ilog2().checked_sub(4) else {
        return nanos as usize;
    };
    let bucket = (exponent as usize + 1) * 16 + ((nanos >> exponent) & 15) as usize;
    bucket.min(BUCKETS - 1)
}

/// The longest time in a bucket.
fn ceiling(bucket: usize) -> u64 {
    match bucket / 16 {
        0 => bucket as u64,
        power => ((16 + bucket as u64 % 16 + 1) << (power - 1)) - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_lies_in_a_bucket_whose_ceiling_exceeds_it_by_a_sixteenth_at_most() {
        for nanos in (0..100_000).chain([1 << 20, (1 << 30) + 12_345]) {
            let ceiling = ceiling(bucket(nanos));
            assert!(ceiling >= nanos && ceiling - nanos <= nanos / 16, "{nanos}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn the_99th_percentile_leaves_one_call_in_a_hundred_out() {
        let plugin = Arc::new(PluginStats::new(0, Duration::ZERO));
        let calls = CallTimer::new(&plugin);
        let took = |nanos| Instant::now().checked_sub(Duration::from_nanos(nanos));
        for _ in 0..990 {
            took(1_000_000)
                .into_iter()
                .for_each(|began| calls.end(began));
        }
        for _ in 0..10 {
            took(1_000_000_000)
                .into_iter()
                .for_each(|began| calls.end(began));
        }
        let p99 = plugin.cost().p99_ns;
        assert!((1_000_000..500_000_000).contains(&p99), "{p99}");
        drop(calls);
        assert_eq!(plugin.cost().p99_ns, p99, "what has ended still counts");
    }

    #[test]
    fn faults_put_a_version_into_quarantine_only_if_they_come_within_the_window() {
        let start = Instant::now();
        let mut fault_budget = FaultBudget {
            max_faults: 3,
            window: Duration::from_secs(60),
            since: start,
            faults: 0,
        };
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut is_over = |seconds| fault_budget.is_over(at(seconds));
        assert_eq!([is_over(0), is_over(30)], [false, false]);
        assert_eq!([is_over(61), is_over(90)], [false, false], "a new window");
        assert!(is_over(121));
    }
}
