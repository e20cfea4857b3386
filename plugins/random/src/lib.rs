//! `random`: a random endpoint by weight, or the better of two
//! (`ngx_http_upstream_random_module.c`).
//!
//! `two = true` or `two = "least_conn"` draws two different endpoints and takes the one with fewer
//! attempts in progress for its weight: on several proxies in front of the same servers that avoids
//! the herd that `least_conn` makes of them. `two = "least_time"` compares the expected time
//! instead. All draws derive from the one random number of the call, so that a run can be replayed.
//! After 20 draws in vain the choice falls back to turns by weight. nginx counts those over an
//! exchange, this counts them for each attempt: only distributions can tell, and hardly.

use waypost_sdk::{
    Endpoint, Failures, Fleet, Pick, Policy, Scope, Settings, SettingsError, Shares,
    SmoothWeighted, Value,
};

/// Draws in vain before turns take over.
const TRIES: u32 = 20;

/// Chance by weight.
pub struct Random {
    contest: Option<Contest>,
    turns: SmoothWeighted,
    shares: Shares,
}

/// What two endpoints are compared by.
#[derive(Clone, Copy)]
enum Contest {
    LeastConn,
    LeastTime,
}

impl Policy for Random {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        let contest = match settings.value("two") {
            None | Some(Value::Bool(false)) => None,
            Some(Value::Bool(true)) => Some(Contest::LeastConn),
            Some(Value::String(by)) if by == "least_conn" => Some(Contest::LeastConn),
            Some(Value::String(by)) if by == "least_time" => Some(Contest::LeastTime),
            Some(_) => {
                return Err(settings.error(
                    "two",
                    "`two` must be `true`, \"least_conn\" or \"least_time\"",
                ));
            }
        };
        settings.refuse_backups()?;
        settings.finish()?;
        Ok(Random {
            contest,
            turns: SmoothWeighted::default(),
            shares: Shares::default(),
        })
    }

    fn scope(&self) -> Scope {
        Scope::Worker
    }

    fn update(&mut self, endpoints: Vec<Endpoint>) {
        self.turns.update(&endpoints);
        self.shares = Shares::new(&endpoints);
    }

    fn pick(&mut self, pick: &Pick) -> Option<usize> {
        let drawn = match self.contest {
            _ if self.turns.len() < 2 => None,
            None => self.draw_one(pick),
            Some(contest) => self.draw_two(pick, contest),
        };
        drawn.or_else(|| self.turns.pick(pick.candidates()))
    }
}

impl Random {
    fn draw_one(&self, pick: &Pick) -> Option<usize> {
        let mut draws = pick.draws();
        (0..=TRIES)
            .filter_map(|_| self.shares.at(draws.below(self.shares.total())))
            .find(|&index| pick.candidates().contains(index))
    }

    /// The later of two, unless it is the worse one.
    fn draw_two(&self, pick: &Pick, contest: Contest) -> Option<usize> {
        let mut draws = pick.draws();
        let mut first = None;
        for _ in 0..=TRIES {
            let index = self.shares.at(draws.below(self.shares.total()))?;
            if first == Some(index) || !pick.candidates().contains(index) {
                continue;
            }
            let Some(earlier) = first else {
                first = Some(index);
                continue;
            };
            let worse = self.burden(contest, pick.fleet(), index, earlier)
                > self.burden(contest, pick.fleet(), earlier, index);
            return Some(if worse { earlier } else { index });
        }
        None
    }

    /// An endpoint's burden, to be compared with `other`'s: multiplied by the other's weight rather
    /// than divided by its own.
    fn burden(&self, contest: Contest, fleet: Fleet, index: usize, other: usize) -> u64 {
        let in_flight = u64::from(fleet.in_flight(index));
        let burden = match contest {
            Contest::LeastConn => in_flight,
            Contest::LeastTime => bucket(fleet.latency_us(index)) * (1 + in_flight),
        };
        burden * u64::from(self.turns.weights()[other])
    }
}

/// A latency in milliseconds as nginx's `least_time` counts it: in steps of 20, at most 5000, so
/// that small differences do not starve an equal server.
fn bucket(latency_us: u32) -> u64 {
    let millis = u64::from(latency_us / 1000);
    if millis > 5000 {
        5000
    } else {
        millis + 20 - millis % 20
    }
}

impl Failures for Random {
    fn failed(&mut self, index: usize) {
        self.turns.failed(index);
    }
}

waypost_sdk::export!(Random, failures);

#[cfg(test)]
mod tests;
