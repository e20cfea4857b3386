//! Counters of a plugin's own, shown with the host's figures for it.

use crate::host::metrics;

/// A counter. All instances and uses of a plugin count together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counter(u32);

impl Counter {
    /// The counter of this name: `a-z`, `0-9` and `_`, 64 bytes at most. In `configure` or `attach`
    /// only. A plugin has 64 of them; one beyond counts nothing.
    pub fn named(name: &str) -> Self {
        Counter(metrics::counter(name))
    }

    /// Counts so many.
    pub fn add(self, value: u64) {
        metrics::add(self.0, value);
    }
}
