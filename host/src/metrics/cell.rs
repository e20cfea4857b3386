//! A number that one worker counts, and the cells of all workers.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A count that one thread writes and others read.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub(crate) fn add(&self, more: u64) {
        #[cfg(test)]
        STORES.set(STORES.get() + 1);
        // Nobody else writes it: no atomic addition is needed, which would cost 20 times as much.
        self.0
            .store(self.0.load(Relaxed).wrapping_add(more), Relaxed);
    }

    /// Of a count of what there is at this moment.
    #[inline]
    pub(crate) fn subtract(&self, less: u64) {
        self.add(less.wrapping_neg());
    }

    #[inline]
    pub(crate) fn increment(&self) {
        self.add(1);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Cells of one kind for each worker, made when the worker first counts in them: most of a large
/// configuration is never asked for by most workers.
#[derive(Debug, Default)]
pub(super) struct PerWorker<T>(Box<[OnceLock<Box<T>>]>);

impl<T: Default> PerWorker<T> {
    pub(super) fn new(workers: usize) -> PerWorker<T> {
        PerWorker((0..workers).map(|_| OnceLock::new()).collect())
    }

    /// Those of a worker, which alone may write them; none for a worker that is not there.
    #[inline]
    pub(super) fn of(&self, worker: usize) -> Option<&T> {
        let cells = self.0.get(worker)?;
        Some(cells.get_or_init(Box::default))
    }

    /// Those that were written so far.
    pub(super) fn written(&self) -> impl Iterator<Item = &T> {
        self.0
            .iter()
            .filter_map(|cells| cells.get().map(|cells| &**cells))
    }
}

/// Adds counters to their sums, one by one.
pub(super) fn add_all<const N: usize>(sums: &mut [u64; N], cells: &[Counter; N]) {
    for (sum, cell) in sums.iter_mut().zip(cells) {
        *sum += cell.get();
    }
}

#[cfg(test)]
thread_local! {
    static STORES: std::cell::Cell<u32> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{EndedRequest, PoolMetrics, Reason, Registry};
    use super::*;

    fn stores(work: impl FnOnce()) -> u32 {
        let before = STORES.get();
        work();
        STORES.get() - before
    }

    /// `docs/metrics.md` says so.
    #[test]
    fn a_request_takes_four_stores_here_and_eight_more_at_a_server() {
        let registry = Registry::new(&Default::default(), 1);
        let (route, upstream) = (registry.route("/"), registry.upstream("u", false));
        let endpoint = upstream.endpoint("a");
        let mut request = EndedRequest {
            method: b"GET",
            status: 200,
            took: Duration::from_millis(1),
            received: 0,
            sent: 5,
        };
        assert_eq!(stores(|| route.ended(0, &request)), 4);
        request.received = 1;
        assert_eq!(stores(|| route.ended(0, &request)), 5);
        let at_server = || {
            upstream.metrics.connected(0, true);
            upstream.metrics.answered(0, Duration::from_millis(1));
            upstream.metrics.carried(0, 3, 5);
            endpoint.ended(0, 200, None);
            // Out of the pool, and into it.
            let idle = PoolMetrics::new(upstream.metrics.clone(), 0);
            idle.taken(1);
            idle.kept();
        };
        assert_eq!(stores(at_server), 8);
        let again = || {
            endpoint.ended(0, 0, Some(Reason::Connect));
            upstream.metrics.retried(0, Reason::Connect);
            endpoint.retried(0, Reason::Connect);
        };
        assert_eq!(stores(again), 4);
    }
}
