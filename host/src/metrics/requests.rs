//! What is counted of the requests of a route, once each of them has ended.

use std::time::Duration;

use super::cell::{Counter, PerWorker, add_all};
use super::histogram::{Buckets, HistogramCells, HistogramSum};
use super::method::{METHODS, STATUSES, method_class, status_class};

/// What has come of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EndedRequest<'a> {
    /// As the client has sent it.
    pub(crate) method: &'a [u8],
    pub(crate) status: u16,
    pub(crate) took: Duration,
    /// Bytes of its body.
    pub(crate) received: u64,
    /// Bytes of the response, its header included.
    pub(crate) sent: u64,
}

/// The requests of the routes of one name.
#[derive(Debug, Default)]
pub(crate) struct RouteMetrics {
    buckets: Buckets,
    cells: PerWorker<RouteCells>,
}

/// Of one worker.
#[derive(Debug, Default)]
#[repr(align(128))] // cache lines of its own, and the one that is fetched along with each
struct RouteCells {
    requests: [[Counter; STATUSES.len()]; METHODS.len()],
    received: Counter,
    sent: Counter,
    duration: HistogramCells,
}

impl RouteMetrics {
    pub(super) fn new(workers: usize, buckets: &Buckets) -> RouteMetrics {
        RouteMetrics {
            buckets: buckets.clone(),
            cells: PerWorker::new(workers),
        }
    }

    /// Five stores at most. By this worker.
    #[inline]
    pub(crate) fn ended(&self, worker: usize, request: &EndedRequest<'_>) {
        let Some(cells) = self.cells.of(worker) else {
            return;
        };
        let (method, status) = (method_class(request.method), status_class(request.status));
        cells.requests[method][status].increment();
        cells.duration.observe(&self.buckets, request.took);
        cells.sent.add(request.sent);
        if request.received > 0 {
            cells.received.add(request.received);
        }
    }

    /// The sums over all workers.
    pub(crate) fn sums(&self) -> RouteSums {
        let mut sums = RouteSums {
            requests: Default::default(),
            received: 0,
            sent: 0,
            duration: HistogramSum::new(&self.buckets),
        };
        for cells in self.cells.written() {
            for (sums, cells) in sums.requests.iter_mut().zip(&cells.requests) {
                add_all(sums, cells);
            }
            sums.received += cells.received.get();
            sums.sent += cells.sent.get();
            sums.duration.add(&cells.duration);
        }
        sums
    }
}

/// What was counted of a route, by all workers.
#[derive(Debug)]
pub(crate) struct RouteSums {
    requests: [[u64; STATUSES.len()]; METHODS.len()],
    pub(crate) received: u64,
    pub(crate) sent: u64,
    pub(crate) duration: HistogramSum,
}

impl RouteSums {
    /// Class of method, class of status, and how many requests had both, if any had.
    pub(crate) fn requests(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let by_method = METHODS.into_iter().zip(&self.requests);
        let each = by_method.flat_map(|(method, counts)| {
            let by_status = STATUSES.into_iter().zip(counts);
            by_status.map(move |(status, count)| (method, status, *count))
        });
        each.filter(|(_, _, count)| *count > 0)
    }
}
