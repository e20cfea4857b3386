//! What is counted of the sessions of a `[[stream]]`.

use std::time::Duration;

use super::cell::{Counter, PerWorker};
use super::histogram::{Buckets, HistogramCells, HistogramSum};
use super::method::{STATUSES, status_class};

/// The sessions of one stream.
#[derive(Debug, Default)]
pub(crate) struct StreamMetrics {
    buckets: Buckets,
    cells: PerWorker<StreamCells>,
}

/// Of one worker.
#[derive(Debug, Default)]
#[repr(align(128))]
struct StreamCells {
    began: Counter,
    sessions: [Counter; STATUSES.len()],
    received: Counter,
    sent: Counter,
    duration: HistogramCells,
}

impl StreamMetrics {
    pub(super) fn new(workers: usize, buckets: &Buckets) -> StreamMetrics {
        StreamMetrics {
            buckets: buckets.clone(),
            cells: PerWorker::new(workers),
        }
    }

    pub(crate) fn began(&self, worker: usize) {
        if let Some(cells) = self.cells.of(worker) {
            cells.began.increment();
        }
    }

    /// `status`: in nginx's words for the end of a session.
    pub(crate) fn ended(
        &self,
        worker: usize,
        status: u16,
        took: Duration,
        (received, sent): (u64, u64),
    ) {
        let Some(cells) = self.cells.of(worker) else {
            return;
        };
        cells.sessions[status_class(status)].increment();
        cells.received.add(received);
        cells.sent.add(sent);
        cells.duration.observe(&self.buckets, took);
    }

    pub(crate) fn sums(&self) -> StreamSums {
        let mut sums = StreamSums {
            in_progress: 0,
            sessions: [0; STATUSES.len()],
            received: 0,
            sent: 0,
            duration: HistogramSum::new(&self.buckets),
        };
        let mut began = 0;
        for cells in self.cells.written() {
            began += cells.began.get();
            super::cell::add_all(&mut sums.sessions, &cells.sessions);
            sums.received += cells.received.get();
            sums.sent += cells.sent.get();
            sums.duration.add(&cells.duration);
        }
        // Read later than it was begun, one may seem to have ended first.
        sums.in_progress = began.saturating_sub(sums.sessions.iter().sum());
        sums
    }
}

/// What was counted of a stream, by all workers.
#[derive(Debug)]
pub(crate) struct StreamSums {
    pub(crate) in_progress: u64,
    sessions: [u64; STATUSES.len()],
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) duration: HistogramSum,
}

impl StreamSums {
    /// Class of status, and how many sessions ended with it, if any did.
    pub(crate) fn sessions(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let by_status = STATUSES.into_iter().zip(self.sessions);
        by_status.filter(|(_, count)| *count > 0)
    }
}
