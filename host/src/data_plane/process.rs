//! What all workers of the process share besides the configuration: bounds, counters, the clock.

use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::time::{Duration, Instant, SystemTime};

/// Bounds and counters that all workers share.
#[derive(Debug)]
pub(crate) struct Process {
    /// Downstream connections at most.
    pub(crate) max_connections: AtomicUsize,
    pub(crate) connections: AtomicUsize,
    /// Connections to upstreams at most, idle ones included.
    pub(crate) max_upstream_connections: AtomicUsize,
    pub(crate) upstream_connections: AtomicUsize,
    /// Connections accepted so far.
    pub(crate) accepted: AtomicU64,
    pub(crate) hostname: Box<str>,
    pub(crate) clock: Clock,
}

/// Connections at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConnectionBounds {
    pub(crate) downstream: usize,
    pub(crate) upstream: usize,
}

impl Process {
    pub(crate) fn new(bounds: ConnectionBounds, hostname: Box<str>) -> Process {
        Process {
            max_connections: AtomicUsize::new(bounds.downstream),
            connections: AtomicUsize::new(0),
            max_upstream_connections: AtomicUsize::new(bounds.upstream),
            upstream_connections: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
            hostname,
            clock: Clock::new(),
        }
    }
}

/// The clock of health accounting and of policies: monotonic, its seconds those of the wall clock
/// when the process started.
///
/// There is one for the process, which workers copy: moments that one worker notes in an
/// endpoint's accounting are compared by others, and a policy with `scope = process` is told the
/// time by all of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    started: Instant,
    at_start: Duration,
}

impl Clock {
    pub(crate) fn new() -> Clock {
        let at_start = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        Clock {
            started: Instant::now(),
            at_start,
        }
    }

    /// Whole seconds, as nginx counts failures.
    pub(crate) fn seconds(&self) -> u64 {
        self.seconds_at(Instant::now())
    }

    pub(crate) fn seconds_at(&self, moment: Instant) -> u64 {
        self.since_1970(moment).as_secs()
    }

    fn since_1970(&self, moment: Instant) -> Duration {
        self.at_start + moment.saturating_duration_since(self.started)
    }

    pub(crate) fn micros(&self, moment: Instant) -> u64 {
        self.since_1970(moment).as_micros() as u64
    }
}
