//! What became of a load.

use serde::Serialize;

use super::{Fleet, Scenario};

/// Parts of the time that are told apart.
const WINDOWS: usize = 60;
/// No server yet.
const NONE: u16 = u16::MAX;

/// What became of all requests.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Simulated {
    pub requests: u64,
    /// Without an answer: refused, or cut off too often.
    pub failed: u64,
    pub retried: u64,
    pub servers: Vec<ServerResult>,
    /// The most requests that a server had for its weight, of those that were up all the time, in
    /// parts of their mean.
    pub imbalance: f64,
    /// Of the clients whose server was not the first one to be killed: how many of how many were
    /// sent elsewhere by their next request.
    pub moved: Option<(u64, u64)>,
    pub mean_us: f64,
    /// Half of all, 99 of 100, and all were answered by then.
    pub p50_us: u32,
    pub p99_us: u32,
    pub max_us: u32,
    pub windows: Vec<Window>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ServerResult {
    pub name: String,
    pub requests: u64,
    /// The longest time that it was up and got none.
    pub quiet_us: u64,
}

/// A part of the time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Window {
    pub from_us: u64,
    pub p99_us: u32,
    /// Of each server.
    pub requests: Vec<u32>,
}

/// Keeps count.
pub(super) struct Account {
    requests: u64,
    failed: u64,
    retried: u64,
    latencies: Vec<u32>,
    servers: Vec<Seen>,
    /// The server of each client, before the first one was killed and since.
    homes: Vec<(u16, u16)>,
    killed: Option<usize>,
    /// How long one window is, and what was seen in it.
    window_us: u64,
    windows: Vec<(Vec<u32>, Vec<u32>)>,
    until_us: u64,
}

#[derive(Clone, Default)]
struct Seen {
    requests: u64,
    last_us: u64,
    quiet_us: u64,
    is_down: bool,
    was_down: bool,
}

impl Account {
    pub(super) fn new(scenario: &Scenario) -> Account {
        let (servers, arrivals) = (scenario.servers.len(), &scenario.arrivals);
        let until_us = arrivals.duration_us();
        Account {
            requests: 0,
            failed: 0,
            retried: 0,
            latencies: Vec::with_capacity(arrivals.len()),
            servers: vec![Seen::default(); servers],
            homes: vec![(NONE, NONE); arrivals.clients()],
            killed: None,
            window_us: until_us / WINDOWS as u64 + 1,
            windows: vec![(Vec::new(), vec![0; servers]); WINDOWS],
            until_us,
        }
    }

    fn window(&mut self, at_us: u64) -> &mut (Vec<u32>, Vec<u32>) {
        let window = (at_us / self.window_us) as usize;
        &mut self.windows[window.min(WINDOWS - 1)]
    }

    pub(super) fn arrived(&mut self) {
        self.requests += 1;
    }

    pub(super) fn picked(&mut self, client: usize, server: usize, now_us: u64) {
        let seen = &mut self.servers[server];
        seen.requests += 1;
        seen.quiet_us = seen.quiet_us.max(now_us - seen.last_us.min(now_us));
        seen.last_us = now_us;
        let home = &mut self.homes[client];
        let number = u16::try_from(server).unwrap_or(NONE);
        match self.killed {
            None => home.0 = number,
            Some(_) if home.1 == NONE => home.1 = number,
            Some(_) => {}
        }
        self.window(now_us).1[server] += 1;
    }

    pub(super) fn completed(&mut self, now_us: u64, total_us: u32) {
        self.latencies.push(total_us);
        self.window(now_us).0.push(total_us);
    }

    pub(super) fn failed(&mut self) {
        self.failed += 1;
    }

    pub(super) fn retried(&mut self) {
        self.retried += 1;
    }

    pub(super) fn killed(&mut self, server: usize, now_us: u64) {
        self.killed.get_or_insert(server);
        let seen = &mut self.servers[server];
        seen.quiet_us = seen.quiet_us.max(now_us - seen.last_us.min(now_us));
        (seen.is_down, seen.was_down) = (true, true);
    }

    pub(super) fn back(&mut self, server: usize, now_us: u64) {
        let seen = &mut self.servers[server];
        (seen.is_down, seen.last_us) = (false, now_us);
    }

    pub(super) fn result(mut self, fleet: &Fleet) -> Simulated {
        self.latencies.sort_unstable();
        let quiet = |seen: &Seen| match seen.is_down {
            true => seen.quiet_us,
            false => seen
                .quiet_us
                .max(self.until_us.saturating_sub(seen.last_us)),
        };
        let servers = self.servers.iter().zip(fleet.servers());
        let servers = servers.map(|(seen, server)| ServerResult {
            name: server.name.clone(),
            requests: seen.requests,
            quiet_us: quiet(seen),
        });
        let by_weight = self.servers.iter().zip(fleet.servers());
        let by_weight = by_weight.filter(|(seen, _)| !seen.was_down);
        let by_weight =
            by_weight.map(|(seen, server)| seen.requests as f64 / f64::from(server.weight.max(1)));
        let by_weight: Vec<f64> = by_weight.collect();
        let mean = by_weight.iter().sum::<f64>() / by_weight.len().max(1) as f64;
        let most = by_weight.iter().copied().fold(0.0, f64::max);
        let sum: f64 = self.latencies.iter().map(|&us| f64::from(us)).sum();
        let window_us = self.window_us;
        let windows = self.windows.iter_mut().zip(0..);
        let windows = windows.map(|((latencies, requests), number)| {
            latencies.sort_unstable();
            Window {
                from_us: number * window_us,
                p99_us: percentile(latencies, 99),
                requests: std::mem::take(requests),
            }
        });
        Simulated {
            requests: self.requests,
            failed: self.failed,
            retried: self.retried,
            servers: servers.collect(),
            imbalance: if mean > 0.0 { most / mean } else { 1.0 },
            moved: self.killed.map(|killed| moved(&self.homes, killed)),
            mean_us: sum / self.latencies.len().max(1) as f64,
            p50_us: percentile(&self.latencies, 50),
            p99_us: percentile(&self.latencies, 99),
            max_us: self.latencies.last().copied().unwrap_or(0),
            windows: windows.collect(),
        }
    }
}

fn moved(homes: &[(u16, u16)], killed: usize) -> (u64, u64) {
    let others = homes.iter().filter(|(before, since)| {
        *before != NONE && *since != NONE && usize::from(*before) != killed
    });
    others.fold((0, 0), |(moved, of), (before, since)| {
        (moved + u64::from(before != since), of + 1)
    })
}

/// Of sorted numbers.
fn percentile(sorted: &[u32], percent: usize) -> u32 {
    let place = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(place).copied().unwrap_or(0)
}
