//! A number that one worker counts, and the cells of all workers.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A count that one thread writes and others read.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    #[inline]
    pub(crate) fn add(&self, more: u64) {
        // Nobody else writes it: no atomic addition is needed, which would cost 20 times as much.
        self.0
            .store(self.0.load(Relaxed).wrapping_add(more), Relaxed);
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
