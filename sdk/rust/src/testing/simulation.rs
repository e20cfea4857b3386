//! Traffic in simulated time, to see what a policy does to latencies.
//!
//! Requests arrive at random, at a rate. A server works at some of them at once, in the order of
//! their arrival, and the others wait. The clock jumps from event to event, and all chance comes
//! from a seed: a run that is repeated gives the same figures, however busy the machine is.
//!
//! Known limits: a failed attempt is not tried elsewhere, and takes no server out of rotation.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use super::Upstream;
use super::host::ExchangeState;
use crate::{Done, Draws, Ending, Outcome, Policy};

/// The traffic of a simulation.
#[derive(Debug, Clone, Copy)]
pub struct Traffic {
    /// How many requests there are.
    pub requests: usize,
    /// How many of them arrive in a second, on average. Arrivals do not depend on each other.
    pub per_second: u32,
    /// How many of them a server works at, at once; at least 1. Others wait for their turn.
    pub parallel: usize,
    /// Of arrivals and service times.
    pub seed: u64,
}

/// What a server does with an attempt once it is its turn.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    /// How long it takes.
    pub takes_us: u64,
    /// Whether it fails in the end.
    pub fails: bool,
}

/// What became of a simulation's requests, in the order of their arrival.
#[derive(Debug, Clone, Default)]
pub struct Simulated(Vec<Served>);

#[derive(Debug, Clone, Copy)]
struct Served {
    index: usize,
    arrived_us: u64,
    latency_us: u64,
    failed: bool,
}

/// An attempt in progress.
struct Open {
    state: ExchangeState,
    lease: u64,
    served: Served,
}

impl<P: Policy> Upstream<P> {
    /// Runs this traffic through the policy. `serve` says what a server does with an attempt, given
    /// its index and the microseconds since the simulation began; `hear` tells the policy how an
    /// attempt ended: `Observer::done`, or nothing for a policy that does not observe.
    ///
    /// # Panics
    /// If the policy has no opinion, or answers an endpoint that is no candidate.
    pub fn simulate(
        &mut self,
        traffic: &Traffic,
        mut serve: impl FnMut(usize, u64, &mut Draws) -> Service,
        mut hear: impl FnMut(&mut P, &Done),
    ) -> Simulated {
        let began_us = self.now_us;
        let mut draws = Draws::from_seed(traffic.seed);
        // When each of a server's places is free again, the earliest first.
        let places = BinaryHeap::from(vec![Reverse(0); traffic.parallel]);
        let mut places = vec![places; self.count()];
        let mut loads = vec![0; self.count()];
        let tried = vec![false; self.count()];
        let mut open = BTreeMap::new();
        let mut served = Vec::with_capacity(traffic.requests);
        let mut arrives_us = 0.0;
        for number in 0..traffic.requests {
            arrives_us += until_next(traffic.per_second, &mut draws);
            let arrived_us = arrives_us as u64;
            self.end_until(arrived_us, began_us, &mut open, &mut loads, &mut hear);
            self.now_us = began_us + arrived_us;
            let mut state = ExchangeState::default();
            let Some(index) = self.ask(&mut state, &tried, 0) else {
                panic!("the policy has no opinion on request {number}");
            };
            let Some(Reverse(free_us)) = places[index].pop() else {
                panic!("`parallel` is 0: no server can work at anything");
            };
            let starts_us = free_us.max(arrived_us);
            let service = serve(index, starts_us, &mut draws);
            let ends_us = starts_us + service.takes_us;
            places[index].push(Reverse(ends_us));
            loads[index] += 1;
            self.in_flight(index, loads[index]);
            served.push(Served {
                index,
                arrived_us,
                latency_us: ends_us - arrived_us,
                failed: service.fails,
            });
            let attempt = Open {
                state,
                lease: self.last_lease(),
                served: served[number],
            };
            open.insert((ends_us, number), attempt);
        }
        self.end_until(u64::MAX, began_us, &mut open, &mut loads, &mut hear);
        Simulated(served)
    }

    /// Ends the attempts that are over at this time.
    fn end_until(
        &mut self,
        until_us: u64,
        began_us: u64,
        open: &mut BTreeMap<(u64, usize), Open>,
        loads: &mut [u32],
        hear: &mut impl FnMut(&mut P, &Done),
    ) {
        while let Some(first) = open.first_entry()
            && first.key().0 <= until_us
        {
            let ((ends_us, _), mut attempt) = first.remove_entry();
            let Served {
                index,
                latency_us,
                failed,
                ..
            } = attempt.served;
            self.now_us = began_us + ends_us;
            loads[index] -= 1;
            self.in_flight(index, loads[index]);
            let total_us = u32::try_from(latency_us).unwrap_or(u32::MAX);
            if !failed {
                self.answered(index, total_us);
            }
            let outcome = match failed {
                true => Outcome {
                    ending: Ending::Failed,
                    status: 0,
                    connect_us: 0,
                    header_us: 0,
                    total_us,
                },
                false => Outcome {
                    ending: Ending::Completed,
                    status: 200,
                    connect_us: 0,
                    header_us: total_us,
                    total_us,
                },
            };
            let ended = (attempt.lease, index, outcome);
            self.tell(&mut attempt.state, ended, |policy, done| hear(policy, done));
        }
    }
}

/// Microseconds until the next arrival: exponentially distributed, as of clients that know nothing
/// of each other.
fn until_next(per_second: u32, draws: &mut Draws) -> f64 {
    let chance = (draws.draw() >> 11) as f64 / (1u64 << 53) as f64;
    -(1.0 - chance).ln() * 1e6 / f64::from(per_second)
}

impl Simulated {
    /// Those that arrived in this time, in microseconds since the simulation began.
    pub fn between(&self, from_us: u64, until_us: u64) -> Simulated {
        let within = |served: &&Served| (from_us..until_us).contains(&served.arrived_us);
        Simulated(self.0.iter().filter(within).copied().collect())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The part of them that a server got: 0 to 1.
    pub fn share(&self, index: usize) -> f64 {
        self.part(|served| served.index == index)
    }

    /// The part of them that failed: 0 to 1.
    pub fn failures(&self) -> f64 {
        self.part(|served| served.failed)
    }

    /// Their mean latency in microseconds; 0 of none.
    pub fn mean_us(&self) -> f64 {
        let sum: u64 = self.0.iter().map(|served| served.latency_us).sum();
        sum as f64 / self.0.len().max(1) as f64
    }

    /// The latency in microseconds that so many per cent of them did not exceed; 0 of none.
    pub fn percentile_us(&self, percent: usize) -> u64 {
        let mut latencies: Vec<u64> = self.0.iter().map(|served| served.latency_us).collect();
        latencies.sort_unstable();
        let place = (latencies.len() * percent).div_ceil(100).max(1) - 1;
        latencies.get(place).copied().unwrap_or(0)
    }

    fn part(&self, of: impl Fn(&Served) -> bool) -> f64 {
        let count = self.0.iter().filter(|served| of(served)).count();
        count as f64 / self.0.len().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::{Service, Traffic};
    use crate::testing::Upstream;
    use crate::{Endpoint, Pick, Policy, Settings, SettingsError, Sharing};

    /// Sends everything to the first server.
    struct First;

    impl Policy for First {
        fn configure(_: Settings) -> Result<Self, SettingsError> {
            Ok(First)
        }
        fn sharing(&self) -> Sharing {
            Sharing::PerWorker
        }
        fn update(&mut self, _: Vec<Endpoint>) {}
        fn pick(&mut self, _: &Pick) -> Option<usize> {
            Some(0)
        }
    }

    /// A queue with one server that is busy half of the time (M/D/1): requests wait half a service
    /// time on average, `load / (2 * (1 - load))` of one.
    #[test]
    fn requests_wait_as_queueing_theory_says() {
        let traffic = Traffic {
            requests: 20_000,
            per_second: 50,
            parallel: 1,
            seed: 1,
        };
        let (mut heard, mut ends_us) = (0, 0);
        let mut upstream = Upstream::<First>::of("{}", 2);
        let serve = |_, now_us, _: &mut _| {
            assert!(now_us >= ends_us, "one at a time");
            ends_us = now_us + 10_000;
            Service {
                takes_us: 10_000,
                fails: false,
            }
        };
        let simulated = upstream.simulate(&traffic, serve, |_, _| heard += 1);
        assert_eq!((simulated.len(), heard), (20_000, 20_000));
        let mean = simulated.mean_us();
        assert!((14_500.0..15_500.0).contains(&mean), "{mean}");
        assert!(simulated.percentile_us(1) >= 10_000);
        assert_eq!((simulated.share(0), simulated.failures()), (1.0, 0.0));
        let half = simulated.between(0, 200_000_000).len();
        assert!(
            (9_500..10_500).contains(&half),
            "{half} in half of the time"
        );
    }
}
