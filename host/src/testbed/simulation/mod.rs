//! Many requests over servers that queue, fail and slow down, in a time that takes none: what a
//! policy would do with a load. Same scenario, same result.
//!
//! A server works on so many requests at a time; the others wait there, in order. How long a
//! request takes is drawn once for each, so that all policies have the same work.

mod fleet; // servers, their queues and what a policy sees of them
mod arrivals; // who asks when: made up, or of a log
mod result; // what is told of it

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::sync::Arc;

pub use self::arrivals::{Arrivals, TraceError};
use self::fleet::Fleet;
pub use self::fleet::SimulatedServer;
use self::result::Account;
pub use self::result::{ServerResult, Simulated, Window};
use super::request::MadeUp;
use super::subject::Subject;
use crate::plugin::{
    ConfigureError, Ending, ExchangeAtHand, Outcome, Pick, Picked, WorkerBalancer,
};

/// Attempts of one request at the most.
const ATTEMPTS: u32 = 3;
/// When time begins: policies take 0 for "never".
const BEGIN_US: u64 = 1_000_000;

/// What happens to whom.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Happening {
    /// It is down from here on, and what it works on fails.
    Killed,
    /// It is up again.
    Back,
    /// What it begins takes so many times as long.
    Slow(f64),
}

/// At which time, to which server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Happens {
    pub at_us: u64,
    pub server: usize,
    pub what: Happening,
}

/// A load, and what it meets.
pub struct Scenario {
    pub servers: Vec<SimulatedServer>,
    /// Requests that a server works on at a time.
    pub slots: usize,
    /// What a request takes on average, exponentially distributed.
    pub service_us: f64,
    pub arrivals: Arrivals,
    /// In the order of time.
    pub happenings: Vec<Happens>,
    pub seed: u64,
}

/// Has a plugin choose for all of the load. `done`: is told how many requests have come.
///
/// # Errors
/// It refuses its settings, or fails.
pub fn simulate(
    subject: &Subject,
    scenario: &Scenario,
    done: impl Fn(u64),
) -> Result<Simulated, ConfigureError> {
    let fleet = Arc::new(Fleet::new(&scenario.servers, scenario.slots));
    let balancer = subject.over_fleet(fleet.clone(), &subject.settings)?;
    let mut run = Run {
        worker: balancer.attach(None),
        account: Account::new(scenario),
        fleet,
        random: fastrand::Rng::with_seed(scenario.seed),
        lease: 0,
        attempts: Vec::new(),
        free: Vec::new(),
        ends: BinaryHeap::new(),
    };
    let (mut work, mut happenings) = (
        fastrand::Rng::with_seed(scenario.seed ^ 0x5eed),
        scenario.happenings.iter().peekable(),
    );
    for (number, (at_us, client)) in (0..).zip(scenario.arrivals.all()) {
        done(number);
        while let Some(next) = happenings.next_if(|next| next.at_us <= at_us) {
            run.until(next.at_us);
            run.happens(next);
        }
        run.until(at_us);
        // Between 0 and 1, without 0.
        let takes_us = -(1.0 - work.f64()).ln() * scenario.service_us;
        run.account.arrived();
        run.attempt(
            Attempt {
                client,
                request: scenario.arrivals.request(client),
                arrived_us: at_us,
                takes_us,
                number: 0,
                server: 0,
                picked: None,
            },
            at_us,
        );
    }
    for next in happenings {
        run.until(next.at_us);
        run.happens(next);
    }
    run.until(u64::MAX);
    Ok(run.account.result(&run.fleet))
}

/// A request at a server, or on its way to one.
struct Attempt {
    client: usize,
    request: Rc<MadeUp>,
    arrived_us: u64,
    takes_us: f64,
    number: u32,
    server: usize,
    picked: Option<Picked>,
}

struct Run {
    worker: WorkerBalancer,
    account: Account,
    fleet: Arc<Fleet>,
    random: fastrand::Rng,
    lease: u64,
    /// Those under way, and places that are free.
    attempts: Vec<Option<Attempt>>,
    free: Vec<usize>,
    /// When they end, with the lease that tells one from the next in its place.
    ends: BinaryHeap<Reverse<(u64, u64, usize)>>,
}

impl Run {
    /// Ends what ends up to a time.
    fn until(&mut self, now_us: u64) {
        while let Some(&Reverse((at_us, _, place))) = self.ends.peek()
            && at_us <= now_us
        {
            self.ends.pop();
            self.free.push(place);
            // One that was cut off has left before.
            if let Some(attempt) = self.attempts[place].take() {
                self.end(attempt, at_us, Ending::Completed);
            }
        }
    }

    fn attempt(&mut self, mut attempt: Attempt, now_us: u64) {
        self.lease += 1;
        let pick = Pick {
            lease: self.lease,
            attempt: attempt.number,
            now_us: BEGIN_US + now_us,
            random: self.random.u64(..),
        };
        self.worker.tick(pick.now_us);
        attempt.request.offer(self.fleet.candidates());
        let exchange: ExchangeAtHand = attempt.request.clone();
        let picked = match self.fleet.is_any_up() {
            true => self.worker.pick(&exchange, &pick),
            false => None,
        };
        let Some(picked) = picked else {
            self.account.failed();
            return;
        };
        attempt.server = picked.index as usize;
        attempt.picked = Some(picked);
        let ends_us = self.fleet.begin(attempt.server, now_us, attempt.takes_us);
        self.account.picked(attempt.client, attempt.server, now_us);
        let place = self.free.pop().unwrap_or_else(|| {
            self.attempts.push(None);
            self.attempts.len() - 1
        });
        self.attempts[place] = Some(attempt);
        self.ends.push(Reverse((ends_us, self.lease, place)));
    }

    fn end(&mut self, mut attempt: Attempt, now_us: u64, ending: Ending) {
        let total_us = now_us - attempt.arrived_us;
        let total = u32::try_from(total_us).unwrap_or(u32::MAX);
        let is_completed = ending == Ending::Completed;
        self.fleet
            .end(attempt.server, is_completed.then_some(total));
        if let Some(picked) = attempt.picked.take() {
            if !is_completed {
                self.worker.failed(picked.index);
            }
            let outcome = Outcome {
                ending,
                status: if is_completed { 200 } else { 0 },
                connect_us: 0,
                header_us: if is_completed { total } else { 0 },
                total_us: total,
            };
            let exchange: ExchangeAtHand = attempt.request.clone();
            self.worker.done(&exchange, picked, &outcome);
        }
        if is_completed {
            self.account.completed(now_us, total);
        } else if attempt.number + 1 < ATTEMPTS {
            attempt.number += 1;
            self.account.retried();
            self.attempt(attempt, now_us);
        } else {
            self.account.failed();
        }
    }

    fn happens(&mut self, happens: &Happens) {
        let Happens { at_us, server, .. } = *happens;
        match happens.what {
            Happening::Slow(factor) => self.fleet.slow(server, factor),
            Happening::Back => {
                self.fleet.back(server, at_us);
                self.account.back(server, at_us);
            }
            Happening::Killed => {
                self.fleet.kill(server);
                self.account.killed(server, at_us);
                let cut_off = |place: &usize| {
                    let attempt = self.attempts[*place].as_ref();
                    attempt.is_some_and(|attempt| attempt.server == server)
                };
                let places: Vec<usize> = (0..self.attempts.len()).filter(cut_off).collect();
                for place in places {
                    if let Some(attempt) = self.attempts[place].take() {
                        // Its place stays empty until it would have ended.
                        self.end(attempt, at_us, Ending::Failed);
                    }
                }
            }
        }
    }
}
