//! What the process takes, once a second.

use std::time::{Duration, Instant};

use waypost_tests::Metrics;

use super::site::Site;

/// How long what is over may take to be seen: connections that linger, snapshots that are freed.
const SETTLES: Duration = Duration::from_secs(60);

/// Of one second.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) at: Duration,
    /// KiB.
    pub(crate) memory: u64,
    pub(crate) descriptors: usize,
    pub(crate) processor: Duration,
}

pub(crate) struct Watch {
    pub(crate) before: Seen,
    pub(crate) seen: Vec<Seen>,
}

/// What is left once the last client has gone.
pub(crate) struct After {
    pub(crate) descriptors: usize,
    /// Requests that are still counted as being answered, and attempts at servers.
    pub(crate) in_flight: f64,
    pub(crate) worker_restarts: u64,
    pub(crate) panics: u64,
    /// KiB.
    pub(crate) memory: u64,
}

impl Watch {
    pub(crate) fn before(site: &mut Site) -> Watch {
        Watch {
            before: seen(site, Duration::ZERO),
            seen: Vec::new(),
        }
    }

    pub(crate) fn look(&mut self, site: &mut Site, at: Duration) {
        self.seen.push(seen(site, at));
    }

    /// Looks at what is left, as soon as that is as before.
    pub(crate) async fn after(&self, site: &mut Site) -> After {
        let began = Instant::now();
        loop {
            let metrics = site.proxy.metrics().await;
            let left = in_flight(&metrics);
            let descriptors = site.proxy.descriptors();
            let is_as_before = left == 0.0 && descriptors <= self.before.descriptors + KEPT;
            if is_as_before || began.elapsed() > SETTLES {
                let status = site.proxy.shows("/status").await;
                return After {
                    descriptors,
                    in_flight: left,
                    worker_restarts: status["worker_restarts"].as_u64().unwrap_or(u64::MAX),
                    panics: status["panics"].as_u64().unwrap_or(u64::MAX),
                    memory: site.proxy.process().memory(),
                };
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The most memory within a part of the time, from and to a hundredth of it.
    pub(crate) fn most_memory(&self, from: usize, to: usize) -> u64 {
        let part = |percent: usize| self.seen.len() * percent / 100;
        let seen = &self.seen[part(from)..part(to)];
        seen.iter().map(|seen| seen.memory).max().unwrap_or(0)
    }

    pub(crate) fn most_descriptors(&self) -> usize {
        let all = self.seen.iter().map(|seen| seen.descriptors);
        all.max().unwrap_or(0)
    }

    /// Of one core, in the mean.
    pub(crate) fn processor_share(&self) -> f64 {
        let Some(last) = self.seen.last() else {
            return 0.0;
        };
        (last.processor - self.before.processor).as_secs_f64() / last.at.as_secs_f64()
    }
}

/// Connections to servers that are kept, by two workers: `keepalive` of three upstreams, what
/// checks keep, and HTTP/2.
pub(crate) const KEPT: usize = 2 * (64 + 64 + 8) + 8;

fn in_flight(metrics: &Metrics) -> f64 {
    metrics.value("waypost_requests_in_flight") + metrics.sum("waypost_upstream_requests_in_flight")
}

fn seen(site: &mut Site, at: Duration) -> Seen {
    Seen {
        at,
        descriptors: site.proxy.descriptors(),
        memory: site.proxy.process().memory(),
        processor: site.proxy.process().cpu_time(),
    }
}
