//! What is counted of upstreams and their endpoints: attempts, what came of them, why another one
//! was made.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::cell::{Counter, PerWorker, add_all};
use super::histogram::{Buckets, HistogramCells, HistogramSum};
use super::method::{STATUSES, status_class};

/// Why an attempt has failed, in the words that plugins get for it (`attempt.failure`).
pub(super) const REASONS: [&str; 8] = [
    "connect",
    "tls",
    "connect_timeout",
    "timeout",
    "reset",
    "protocol",
    "status",
    "other",
];
/// The bounds that refuse requests, by their names in the admin API.
pub(super) const LIMITS: [&str; 8] = [
    "queue_full",
    "queue_timeout",
    "requests",
    "connections",
    "client_requests",
    "client_places",
    "client_connections",
    "retry_budget",
];

/// A reason, as a place among [`REASONS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Reason {
    Connect,
    Tls,
    ConnectTimeout,
    Timeout,
    Reset,
    Protocol,
    Status,
    Other,
}

impl Reason {
    pub(crate) fn word(self) -> &'static str {
        REASONS[self as usize]
    }
}

/// An upstream, or all that have no room for figures of their own.
#[derive(Debug, Default)]
pub(crate) struct UpstreamMetrics {
    buckets: Buckets,
    cells: PerWorker<UpstreamCells>,
    /// Rare, and met where there is no worker at hand: additions of all.
    refused: [AtomicU64; LIMITS.len()],
    /// Where endpoints are counted that have no room for figures of their own.
    pub(super) other: Arc<EndpointMetrics>,
}

/// Of one worker.
#[derive(Debug, Default)]
#[repr(align(128))]
struct UpstreamCells {
    header: HistogramCells,
    opened: Counter,
    reused: Counter,
    sent: Counter,
    received: Counter,
    retries: [Counter; REASONS.len()],
    /// At this moment.
    idle: Counter,
}

impl UpstreamMetrics {
    pub(super) fn new(workers: usize, buckets: &Buckets) -> UpstreamMetrics {
        UpstreamMetrics {
            buckets: buckets.clone(),
            cells: PerWorker::new(workers),
            refused: Default::default(),
            other: Arc::new(EndpointMetrics::new(workers)),
        }
    }

    /// The header of a response has come, so long after its endpoint was chosen.
    #[inline]
    pub(crate) fn answered(&self, worker: usize, took: Duration) {
        if let Some(cells) = self.cells.of(worker) {
            cells.header.observe(&self.buckets, took);
        }
    }

    /// An attempt has a connection: one that was idle, or a new one.
    #[inline]
    pub(crate) fn connected(&self, worker: usize, reused: bool) {
        if let Some(cells) = self.cells.of(worker) {
            let counter = if reused { &cells.reused } else { &cells.opened };
            counter.increment();
        }
    }

    /// Bytes of a response that was passed on, and of its request.
    #[inline]
    pub(crate) fn carried(&self, worker: usize, sent: u64, received: u64) {
        if let Some(cells) = self.cells.of(worker) {
            cells.sent.add(sent);
            cells.received.add(received);
        }
    }

    /// Another endpoint is asked.
    pub(crate) fn retried(&self, worker: usize, why: Reason) {
        if let Some(cells) = self.cells.of(worker) {
            cells.retries[why as usize].increment();
        }
    }

    /// A bound has refused a request; `limit`: its place among the names of all.
    pub(crate) fn refused(&self, limit: usize) {
        if let Some(refused) = self.refused.get(limit) {
            refused.fetch_add(1, Relaxed);
        }
    }

    /// How often each bound has refused a request.
    pub(crate) fn refusals(&self) -> [(&'static str, u64); LIMITS.len()] {
        let mut refused = self.refused.iter();
        LIMITS.map(|name| (name, refused.next().map_or(0, |count| count.load(Relaxed))))
    }

    /// Whether an endpoint of it is counted by itself.
    pub(crate) fn tells_apart(&self, endpoint: &Arc<EndpointMetrics>) -> bool {
        !Arc::ptr_eq(&self.other, endpoint)
    }

    pub(crate) fn sums(&self) -> UpstreamSums {
        let mut sums = UpstreamSums {
            header: HistogramSum::new(&self.buckets),
            opened: 0,
            reused: 0,
            sent: 0,
            received: 0,
            retries: [0; REASONS.len()],
            idle: 0,
        };
        for cells in self.cells.written() {
            sums.header.add(&cells.header);
            sums.opened += cells.opened.get();
            sums.reused += cells.reused.get();
            sums.sent += cells.sent.get();
            sums.received += cells.received.get();
            add_all(&mut sums.retries, &cells.retries);
            sums.idle = sums.idle.wrapping_add(cells.idle.get());
        }
        sums
    }
}

/// The idle connections that one worker has to an upstream.
#[derive(Debug)]
pub(crate) struct PoolMetrics {
    upstream: Arc<UpstreamMetrics>,
    worker: usize,
}

impl PoolMetrics {
    pub(crate) fn new(upstream: Arc<UpstreamMetrics>, worker: usize) -> PoolMetrics {
        PoolMetrics { upstream, worker }
    }

    /// One more is idle.
    #[inline]
    pub(crate) fn kept(&self) {
        if let Some(cells) = self.upstream.cells.of(self.worker) {
            cells.idle.increment();
        }
    }

    /// So many are used again, or closed.
    #[inline]
    pub(crate) fn taken(&self, connections: usize) {
        if let Some(cells) = self.upstream.cells.of(self.worker) {
            cells.idle.subtract(connections as u64);
        }
    }
}

/// What was counted of an upstream, by all workers.
#[derive(Debug)]
pub(crate) struct UpstreamSums {
    pub(crate) header: HistogramSum,
    pub(crate) opened: u64,
    pub(crate) reused: u64,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// Connections that are idle at this moment.
    pub(crate) idle: u64,
    retries: [u64; REASONS.len()],
}

impl UpstreamSums {
    pub(crate) fn retries(&self) -> impl Iterator<Item = (&'static str, u64)> {
        by_name(&REASONS, &self.retries)
    }
}

/// An endpoint of an upstream.
#[derive(Debug, Default)]
pub(crate) struct EndpointMetrics {
    cells: PerWorker<EndpointCells>,
    /// Written by the one thread that probes.
    passed: Counter,
    failed: Counter,
}

/// Of one worker.
#[derive(Debug, Default)]
#[repr(align(128))]
struct EndpointCells {
    answers: [Counter; STATUSES.len()],
    unanswered: Counter,
    failures: [Counter; REASONS.len()],
    retries: [Counter; REASONS.len()],
}

impl EndpointMetrics {
    pub(super) fn new(workers: usize) -> EndpointMetrics {
        EndpointMetrics {
            cells: PerWorker::new(workers),
            ..EndpointMetrics::default()
        }
    }

    /// An attempt has ended. `status`: of the answer, 0 without one; `failure`: why it counts
    /// against the endpoint, if it does.
    #[inline]
    pub(crate) fn ended(&self, worker: usize, status: u16, failure: Option<Reason>) {
        let Some(cells) = self.cells.of(worker) else {
            return;
        };
        match status {
            0 => cells.unanswered.increment(),
            status => cells.answers[status_class(status)].increment(),
        }
        if let Some(why) = failure {
            cells.failures[why as usize].increment();
        }
    }

    /// Another endpoint is asked in its place.
    pub(crate) fn retried(&self, worker: usize, why: Reason) {
        if let Some(cells) = self.cells.of(worker) {
            cells.retries[why as usize].increment();
        }
    }

    /// A probe has ended. By the thread that probes.
    pub(crate) fn probed(&self, passed: bool) {
        let counter = if passed { &self.passed } else { &self.failed };
        counter.increment();
    }

    /// How many probes there were of each outcome.
    pub(crate) fn probes(&self) -> [(&'static str, u64); 2] {
        [("passed", self.passed.get()), ("failed", self.failed.get())]
    }

    pub(crate) fn sums(&self) -> EndpointSums {
        let mut sums = EndpointSums::default();
        for cells in self.cells.written() {
            add_all(&mut sums.answers, &cells.answers);
            sums.unanswered += cells.unanswered.get();
            add_all(&mut sums.failures, &cells.failures);
            add_all(&mut sums.retries, &cells.retries);
        }
        sums
    }
}

/// What was counted of an endpoint, by all workers.
#[derive(Debug, Default)]
pub(crate) struct EndpointSums {
    answers: [u64; STATUSES.len()],
    unanswered: u64,
    failures: [u64; REASONS.len()],
    retries: [u64; REASONS.len()],
}

impl EndpointSums {
    /// Attempts by the class of the answer's status; `none` without one.
    pub(crate) fn attempts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let none = (self.unanswered > 0).then_some(("none", self.unanswered));
        by_name(&STATUSES, &self.answers).chain(none)
    }

    pub(crate) fn failures(&self) -> impl Iterator<Item = (&'static str, u64)> {
        by_name(&REASONS, &self.failures)
    }

    /// Attempts in whose place another endpoint was asked, by why they failed.
    pub(crate) fn retries(&self) -> impl Iterator<Item = (&'static str, u64)> {
        by_name(&REASONS, &self.retries)
    }
}

/// What there is of each that there is any of.
fn by_name<'a>(
    names: &'static [&'static str],
    counts: &'a [u64],
) -> impl Iterator<Item = (&'static str, u64)> + 'a {
    let pairs = names.iter().copied().zip(counts.iter().copied());
    pairs.filter(|(_, count)| *count > 0)
}
