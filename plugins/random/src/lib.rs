//! `random`: a random endpoint by weight, or the better of two
//! (`ngx_http_upstream_random_module.c`).
//!
//! `two = true` or `two = "least_conn"` draws two different endpoints and takes the one with fewer
//! attempts in progress for its weight: on several proxies in front of the same servers that avoids
//! the herd that `least_conn` makes of them. `two = "least_time"` compares the expected time
//! instead, by the rules of nginx's `least_time`: the mean of an endpoint that is not chosen halves
//! with time, as otherwise one of two servers that was slow once would be avoided for ever.
//!
//! All draws derive from the one random number of the call, so that a run can be replayed. After 20
//! draws in vain the choice falls back to turns by weight. nginx counts those over an exchange,
//! this counts them for each attempt: only distributions can tell, and hardly.

use waypost_sdk::{
    About, Describe, Endpoint, Failures, Pick, Policy, Schema, Settings, SettingsError, Shares,
    Sharing, SmoothWeighted, Value,
};

/// Draws in vain before turns take over.
const TRIES: u32 = 20;

/// Chance by weight.
pub struct Random {
    contest: Option<Contest>,
    turns: SmoothWeighted,
    shares: Shares,
    choices: Vec<Choice>,
    /// Whether there was a pick.
    has_begun: bool,
}

/// When an endpoint was chosen, as nginx's `least_time` notes it. In seconds.
#[derive(Clone, Copy)]
struct Choice {
    /// Not earlier than `fail_timeout` before the last choice.
    checked: u64,
    fail_timeout: u64,
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
            choices: Vec::new(),
            has_begun: false,
        })
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerWorker
    }

    fn update(&mut self, endpoints: Vec<Endpoint>) {
        self.turns.update(&endpoints);
        self.shares = Shares::new(&endpoints);
        let choice = |endpoint: &Endpoint| Choice {
            checked: 0,
            fail_timeout: endpoint.fail_timeout(),
        };
        self.choices = endpoints.iter().map(choice).collect();
        self.has_begun = false;
    }

    fn pick(&mut self, pick: &Pick) -> Option<usize> {
        let drawn = match self.contest {
            _ if self.turns.len() < 2 => None,
            None => self.draw_one(pick),
            Some(Contest::LeastConn) => self.draw_two(pick, Contest::LeastConn),
            Some(Contest::LeastTime) => {
                self.note_beginning(pick);
                let drawn = self.draw_two(pick, Contest::LeastTime);
                if let Some(choice) = drawn.and_then(|index| self.choices.get_mut(index)) {
                    choice.note(seconds(pick));
                }
                drawn
            }
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
            let worse = self.burden(contest, pick, index, earlier)
                > self.burden(contest, pick, earlier, index);
            return Some(if worse { earlier } else { index });
        }
        None
    }

    /// An endpoint's burden, to be compared with `other`'s: multiplied by the other's weight rather
    /// than divided by its own.
    fn burden(&self, contest: Contest, pick: &Pick, index: usize, other: usize) -> u64 {
        let in_flight = u64::from(pick.fleet().in_flight(index));
        let burden = match contest {
            Contest::LeastConn => in_flight,
            Contest::LeastTime => {
                let latency_us = pick.fleet().latency_us(index);
                let recent_us = self.choices[index].recent(latency_us, seconds(pick));
                bucket(recent_us) * (1 + in_flight)
            }
        };
        burden * u64::from(self.turns.weights()[other])
    }

    /// The first pick: the time since the last choice counts from here.
    fn note_beginning(&mut self, pick: &Pick) {
        if !self.has_begun {
            self.has_begun = true;
            let checked = seconds(pick);
            self.choices
                .iter_mut()
                .for_each(|choice| choice.checked = checked);
        }
    }
}

impl Choice {
    /// What a latency says by now: half of it for every `fail_timeout` without a choice.
    fn recent(&self, latency_us: u32, now: u64) -> u32 {
        let quiet = now.saturating_sub(self.checked);
        if quiet <= self.fail_timeout {
            return latency_us;
        }
        let halvings = quiet / self.fail_timeout.saturating_add(1);
        let halvings = u32::try_from(halvings).unwrap_or(u32::MAX);
        latency_us.checked_shr(halvings).unwrap_or(0)
    }

    /// It is chosen.
    fn note(&mut self, now: u64) {
        if now.saturating_sub(self.checked) > self.fail_timeout {
            self.checked = now;
        }
    }
}

fn seconds(pick: &Pick) -> u64 {
    pick.now_us / 1_000_000
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

impl Describe for Random {
    fn describe() -> About {
        About::new("a random server by weight, or the better of two")
            .no_backups()
            .settings(Schema::new().flag_or_choice(
                "two",
                "the better of two random servers, and by what",
                &["least_conn", "least_time"],
            ))
    }
}

waypost_sdk::export!(Random, failures, describe);

#[cfg(test)]
mod tests;
