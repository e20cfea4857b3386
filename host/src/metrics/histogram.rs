//! How long things took, counted in buckets whose bounds the configuration says.

use std::sync::Arc;
use std::time::Duration;

use super::cell::Counter;
use crate::config::model::MAX_BUCKETS;

/// The upper bounds of buckets, in microseconds, ascending. The last bucket has none.
#[derive(Debug, Clone)]
pub(crate) struct Buckets(Arc<[u64]>);

impl Buckets {
    /// At most [`MAX_BUCKETS`] of these, which are ascending.
    pub(super) fn new(bounds: &[Duration]) -> Buckets {
        let bounds = bounds.iter().take(MAX_BUCKETS);
        Buckets(bounds.map(|bound| micros(*bound)).collect())
    }
}

impl Default for Buckets {
    fn default() -> Buckets {
        Buckets::new(&[])
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The cells of one worker: of a fixed size, in one block with what else is counted at the same
/// moment. The bucket without a bound stands apart.
#[derive(Debug, Default)]
pub(super) struct HistogramCells {
    counts: [Counter; MAX_BUCKETS],
    beyond: Counter,
    micros: Counter,
}

impl HistogramCells {
    /// Two stores: the sum, and the one bucket.
    #[inline]
    pub(super) fn observe(&self, buckets: &Buckets, took: Duration) {
        let took = micros(took);
        self.micros.add(took);
        let bucket = buckets.0.partition_point(|bound| *bound < took);
        let within = (bucket < buckets.0.len()).then(|| self.counts.get(bucket));
        within.flatten().unwrap_or(&self.beyond).increment();
    }
}

/// The sums over all workers.
#[derive(Debug, Clone)]
pub(crate) struct HistogramSum {
    buckets: Buckets,
    counts: [u64; MAX_BUCKETS],
    beyond: u64,
    micros: u64,
}

impl HistogramSum {
    pub(super) fn new(buckets: &Buckets) -> HistogramSum {
        HistogramSum {
            buckets: buckets.clone(),
            counts: [0; MAX_BUCKETS],
            beyond: 0,
            micros: 0,
        }
    }

    pub(super) fn add(&mut self, cells: &HistogramCells) {
        super::cell::add_all(&mut self.counts, &cells.counts);
        self.beyond += cells.beyond.get();
        self.micros += cells.micros.get();
    }

    /// The bound of each bucket in seconds, and how many took no longer.
    pub(super) fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> {
        let mut so_far = 0;
        let pairs = self.buckets.0.iter().zip(&self.counts);
        pairs.map(move |(bound, count)| {
            so_far += count;
            (*bound as f64 / 1e6, so_far)
        })
    }

    pub(super) fn count(&self) -> u64 {
        self.counts.iter().sum::<u64>() + self.beyond
    }

    /// In seconds.
    pub(super) fn sum(&self) -> f64 {
        self.micros as f64 / 1e6
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_in_the_first_bucket_that_has_it_and_those_above() {
        let buckets = Buckets::new(&[5, 10, 1000].map(Duration::from_millis));
        let cells = HistogramCells::default();
        for took in [0, 5_000, 5_001, 10_000, 999_999, 1_000_001] {
            cells.observe(&buckets, Duration::from_micros(took));
        }
        let mut sum = HistogramSum::new(&buckets);
        sum.add(&cells);
        let cumulative: Vec<_> = sum.cumulative().collect();
        assert_eq!(cumulative, [(0.005, 2), (0.01, 4), (1.0, 5)]);
        assert_eq!(sum.count(), 6);
        assert!((sum.sum() - 2.020_001).abs() < 1e-9, "{}", sum.sum());
    }

    #[test]
    fn without_buckets_all_is_counted_beyond() {
        let cells = HistogramCells::default();
        cells.observe(&Buckets::default(), Duration::from_secs(1));
        let mut sum = HistogramSum::new(&Buckets::default());
        sum.add(&cells);
        assert_eq!((sum.cumulative().count(), sum.count()), (0, 1));
    }
}
