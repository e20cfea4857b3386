//! What is counted for those who watch.

use std::time::Duration;

/// Bounds of buckets at most: cells have a fixed size.
pub const MAX_BUCKETS: usize = 24;

/// `[metrics]`. Fixed while the process lives: what was counted in some buckets cannot be told in
/// others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsConfig {
    /// Upper bounds of the buckets of histograms, ascending. Default: 5 ms to 10 s.
    pub buckets: Vec<Duration>,
    /// Endpoints with figures of their own at most, default 1000.
    pub endpoints: usize,
    /// Upstreams that requests name with figures of their own at most, default 100.
    pub named_upstreams: usize,
}

/// As a file without the table has it.
#[cfg(test)]
impl Default for MetricsConfig {
    fn default() -> MetricsConfig {
        let buckets = [5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000];
        MetricsConfig {
            buckets: buckets.map(Duration::from_millis).into(),
            endpoints: 1000,
            named_upstreams: 100,
        }
    }
}
