//! What an upstream does with load that does not fit.

use std::time::Duration;

/// Whatever bounds the load of an upstream as a whole. By default, nothing does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Overload {
    /// None: a request that finds all servers full fails at once.
    pub queue: Option<QueueConfig>,
    pub limits: UpstreamLimits,
    /// None: retries are not counted.
    pub retry_budget: Option<RetryBudgetConfig>,
}

/// Where requests wait for a server (nginx: `queue`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueConfig {
    /// Requests that wait at most, in all workers.
    pub size: u32,
    /// How long each waits at most, default 60 s.
    pub timeout: Duration,
}

/// What may be in progress at an upstream, in all workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpstreamLimits {
    /// Requests at its servers; 0 (default) is unlimited.
    pub requests: u32,
    /// Open connections, idle ones included; 0 (default) is unlimited.
    pub connections: u32,
    /// Percent of the requests in progress, and of the places in the queue, that one client address
    /// may have; 100 (default) is all of it.
    pub client_share: u32,
}

/// How many retries there may be, counted by each worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryBudgetConfig {
    /// Percent of the requests, default 20.
    pub ratio: u32,
    /// Per second in any case, default 10.
    pub min_per_second: u32,
}

impl Default for UpstreamLimits {
    fn default() -> UpstreamLimits {
        UpstreamLimits {
            requests: 0,
            connections: 0,
            client_share: 100,
        }
    }
}

impl UpstreamLimits {
    /// The part of a whole that one client may have: at least one, or it could do nothing.
    pub fn share_of(&self, whole: u32) -> u32 {
        let share = u64::from(whole) * u64::from(self.client_share) / 100;
        u32::try_from(share).unwrap_or(u32::MAX).max(1)
    }
}
