//! `load_score`: a scorer that prefers endpoints which answer soon and have little to do.
//!
//! A candidate's latency, and its attempts in progress for its weight, are each compared with the
//! lowest among the candidates: that one has all of the points, one of twice as much has half of
//! them. The score is the weighted mean of both, in steps: candidates within a step are equal, and
//! the policy behind this scorer chooses among them. Without steps the best one alone would be
//! left, and all workers would rush to it.
//!
//! The host's mean latency of an endpoint only moves when it answers: one that was slow would never
//! be asked again. Therefore a mean that has not moved for longer than `fail_timeout` halves, and
//! halves again, as with nginx's `least_time`. Such an endpoint is tried by one request at a time,
//! and so is one that has never answered: it counts as the quickest.

use waypost_sdk::{
    About, Choice, Describe, Endpoint, Schema, Scorer, Settings, SettingsError, Sharing,
};

/// Points that a score has at most: candidates within 5 % of the best are as good as it is.
const STEPS: f64 = 20.0;
/// Greatest value of a setting: beyond it the other one would say nothing.
const MOST: f64 = 1000.0;

/// Points by latency and load.
pub struct LoadScore {
    /// What latency, and attempts in progress, contribute: both together are 1.
    latency: f64,
    in_flight: f64,
    endpoints: Vec<Known>,
}

/// What is known of an endpoint.
struct Known {
    weight: f64,
    fail_timeout_us: u64,
    /// The mean as it was last seen, and when it had moved.
    latency_us: u32,
    moved_us: u64,
}

impl Scorer for LoadScore {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        let mut part = |key| {
            let part = settings.decimal(key)?.unwrap_or(1.0);
            match (0.0..=MOST).contains(&part) {
                true => Ok(part),
                false => Err(settings.error(key, &format!("`{key}` must be from 0 to {MOST}"))),
            }
        };
        let (latency, in_flight) = (part("latency")?, part("in_flight")?);
        if latency + in_flight == 0.0 {
            return Err(settings.error("", "`latency` and `in_flight` must not both be 0"));
        }
        settings.finish()?;
        Ok(LoadScore {
            latency: latency / (latency + in_flight),
            in_flight: in_flight / (latency + in_flight),
            endpoints: Vec::new(),
        })
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerWorker
    }

    fn update(&mut self, endpoints: Vec<Endpoint>) {
        let known = |endpoint: &Endpoint| Known {
            weight: f64::from(endpoint.weight),
            fail_timeout_us: endpoint.fail_timeout().saturating_mul(1_000_000),
            latency_us: 0,
            moved_us: 0,
        };
        self.endpoints = endpoints.iter().map(known).collect();
    }

    fn score(&mut self, choice: &Choice) -> Vec<u16> {
        let (fleet, count) = (choice.fleet(), self.endpoints.len());
        let words: Vec<u64> = (0..count.div_ceil(64))
            .map(|word| fleet.candidates(word))
            .collect();
        let is_candidate = |&index: &usize| words[index / 64] >> (index % 64) & 1 == 1;
        let candidates: Vec<usize> = (0..count).filter(is_candidate).collect();
        let in_flight = fleet.all_in_flight();
        let mut points = vec![0.0; count];
        if self.latency > 0.0 {
            let times = self.times(&fleet.all_latency_us(), &in_flight, choice.now_us);
            add(&mut points, self.latency, &candidates, &times);
        }
        if self.in_flight > 0.0 {
            let known = in_flight.iter().zip(&self.endpoints);
            let loads = known.map(|(&load, known)| (f64::from(load) + 1.0) / known.weight);
            let loads: Vec<f64> = loads.collect();
            add(&mut points, self.in_flight, &candidates, &loads);
        }
        points.into_iter().map(score).collect()
    }
}

impl LoadScore {
    /// The time to expect of each endpoint, in microseconds; 0 for one that has to be tried.
    fn times(&mut self, latencies_us: &[u32], in_flight: &[u32], now_us: u64) -> Vec<f64> {
        let slowest_us = latencies_us.iter().copied().max().unwrap_or(0);
        let seen = latencies_us.iter().zip(in_flight);
        let seen = seen.zip(&mut self.endpoints);
        let time = |((&latency_us, &in_flight), known): ((&u32, &u32), &mut Known)| {
            f64::from(match (known.expect(latency_us, now_us), in_flight) {
                (expected_us, 0) => expected_us,
                // It is being tried.
                _ if latency_us == 0 => slowest_us,
                _ => latency_us,
            })
        };
        seen.map(time).collect()
    }
}

impl Known {
    /// What a mean says by now: half of it for every `fail_timeout` that it did not move in.
    fn expect(&mut self, latency_us: u32, now_us: u64) -> u32 {
        if latency_us != self.latency_us {
            self.latency_us = latency_us;
            self.moved_us = now_us;
        }
        let quiet_us = now_us.saturating_sub(self.moved_us);
        if quiet_us <= self.fail_timeout_us {
            return latency_us;
        }
        let halvings = quiet_us / (self.fail_timeout_us.saturating_add(1_000_000));
        let halvings = u32::try_from(halvings).unwrap_or(u32::MAX);
        latency_us.checked_shr(halvings).unwrap_or(0)
    }
}

/// Adds a part of the points: all of it for the candidate with the lowest cost, and for one without
/// any; half of it for twice the cost.
fn add(points: &mut [f64], part: f64, candidates: &[usize], costs: &[f64]) {
    let cost = |&index: &usize| costs.get(index).copied().unwrap_or(0.0);
    let known = candidates.iter().map(cost).filter(|&cost| cost > 0.0);
    let least = known.fold(f64::INFINITY, f64::min);
    for index in candidates {
        points[*index] += match cost(index) {
            0.0 => part,
            cost => part * least / cost,
        };
    }
}

/// From points of 0 to 1.
fn score(points: f64) -> u16 {
    // Casts from floats are bounded by the type.
    ((points * STEPS).round() * f64::from(u16::MAX) / STEPS) as u16
}

impl Describe for LoadScore {
    fn describe() -> About {
        About::new("prefers servers that answer soon and have little to do").settings(
            Schema::new()
                .decimal(
                    "latency",
                    "what the mean latency contributes; 1",
                    0.0..=MOST,
                )
                .decimal(
                    "in_flight",
                    "what requests in progress contribute; 1",
                    0.0..=MOST,
                ),
        )
    }
}

waypost_sdk::export_scorer!(LoadScore, describe);

#[cfg(test)]
mod tests;
