//! What the requests and clients of each worker are doing, counted by the worker itself.
//!
//! Each worker has cells of its own, in a cache line that nobody else writes: counting is a load and
//! a store, with no lock and no atomic addition. Whoever wants the sums (`stub_status`) reads the
//! cells of all workers.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize};

/// The cells of one worker. Only its own thread counts in them.
#[derive(Debug, Default)]
#[repr(align(128))] // a cache line of its own, and the one that is fetched along with it
pub(crate) struct Standing {
    requests: AtomicU64,
    reading: AtomicUsize,
    writing: AtomicUsize,
    waiting: AtomicUsize,
}

/// What all requests and clients are doing, in nginx's words (`ngx_http_stub_status_module`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Standings {
    /// Requests so far, those under way and those that were refused included.
    pub(crate) requests: u64,
    /// Connections of which a request's header is being read.
    pub(crate) reading: usize,
    /// Requests that are answered at this moment, those of HTTP/2 one by one.
    pub(crate) writing: usize,
    /// Connections without a request: of clients that have not begun one, or may send another.
    pub(crate) waiting: usize,
}

/// One more in a cell, until it is dropped.
pub(crate) struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(cell: &'a AtomicUsize) -> Counted<'a> {
        cell.store(cell.load(Relaxed).wrapping_add(1), Relaxed);
        Counted(cell)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        less(self.0);
    }
}

fn less(cell: &AtomicUsize) {
    cell.store(cell.load(Relaxed).wrapping_sub(1), Relaxed);
}

impl Standing {
    /// Requests so far, as in [`Standings`].
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// Counts a header that is read.
    pub(crate) fn reads(&self) -> Counted<'_> {
        Counted::new(&self.reading)
    }

    /// Counts a connection without a request.
    pub(crate) fn waits(&self) -> Counted<'_> {
        Counted::new(&self.waiting)
    }

    /// As [`waits`](Self::waits), until [`waits_no_longer`](Self::waits_no_longer).
    pub(crate) fn begins_to_wait(&self) {
        std::mem::forget(self.waits());
    }

    pub(crate) fn waits_no_longer(&self) {
        less(&self.waiting);
    }

    /// Counts a request that is answered, until [`has_answered`](Self::has_answered).
    pub(crate) fn answers(&self) {
        self.requests
            .store(self.requests.load(Relaxed).wrapping_add(1), Relaxed);
        std::mem::forget(Counted::new(&self.writing));
    }

    pub(crate) fn has_answered(&self) {
        less(&self.writing);
    }
}

impl Standings {
    /// The sums over all workers. Their cells are read one after the other, while they count on.
    pub(crate) fn of(workers: &[Standing]) -> Standings {
        let mut sums = Standings::default();
        for worker in workers {
            sums.requests += worker.requests.load(Relaxed);
            sums.reading += worker.reading.load(Relaxed);
            sums.writing += worker.writing.load(Relaxed);
            sums.waiting += worker.waiting.load(Relaxed);
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_are_those_of_all_workers_and_what_has_ended_counts_no_longer() {
        let workers = [Standing::default(), Standing::default()];
        let reads = workers[0].reads();
        let _waits = workers[1].waits();
        workers[0].answers();
        workers[1].answers();
        workers[1].answers();
        workers[1].has_answered();
        let expected = Standings {
            requests: 3,
            reading: 1,
            writing: 2,
            waiting: 1,
        };
        assert_eq!(Standings::of(&workers), expected);
        drop(reads);
        assert_eq!(Standings::of(&workers).reading, 0);
    }
}
