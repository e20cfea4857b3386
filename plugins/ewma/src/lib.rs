//! `ewma`: of two random endpoints the one that costs less, which is its latency times the attempts
//! in progress there and one more ("peak EWMA", as in Finagle's `Balancers.p2cPeakEwma` and in
//! Linkerd; two choices: M. Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing").
//!
//! Endpoints are drawn by weight, and costs compared per weight, as in `random`. What an endpoint
//! costs is in [`latency`]. All draws derive from the one random number of the call, so that a run
//! can be replayed.
//!
//! Every worker has an instance of its own and learns from its own requests: no worker waits for
//! another one, and a slow endpoint is met once by each. The attempts in progress are those of all.

use std::time::Duration;

use latency::Latency;
use waypost_sdk::{
    About, Describe, Done, Ending, Endpoint, Keeper, MemberChanges, Observer, Outcome, Pick,
    Policy, Schema, Settings, SettingsError, Shares, Sharing, StateEntries, StateReader,
    StateWriter,
};

mod latency;

/// Draws for each of the two.
const TRIES: u32 = 20;

/// How long a latency is remembered, as Finagle and Linkerd have it.
const DECAY: Duration = Duration::from_secs(10);

/// The latency that a failure counts as: what nginx's `least_time` calls equally bad.
const PENALTY: Duration = Duration::from_secs(5);

/// The state's format: for each endpoint its address and what is known of its latency.
const FORMAT: u8 = 1;

/// Bytes of state after which no further endpoint is added; the others begin anew. The host
/// carries 1 MiB.
const MOST_STATE: usize = 900 << 10;

/// The cheaper of two.
pub struct Ewma {
    decay_us: f64,
    penalty_us: f64,
    shares: Shares,
    weights: Vec<u32>,
    latencies: Vec<Latency>,
    /// The address of each endpoint, to recognise it in a state.
    addresses: Vec<String>,
}

impl Policy for Ewma {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        let decay = settings.duration("decay")?.unwrap_or(DECAY);
        let penalty = settings.duration("penalty")?.unwrap_or(PENALTY);
        if decay.is_zero() {
            return Err(settings.error("decay", "`decay` must be longer than nothing"));
        }
        settings.refuse_streams("use `least_conn`")?;
        settings.finish()?;
        Ok(Ewma {
            decay_us: decay.as_secs_f64() * 1e6,
            penalty_us: penalty.as_secs_f64() * 1e6,
            shares: Shares::default(),
            weights: Vec::new(),
            latencies: Vec::new(),
            addresses: Vec::new(),
        })
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerWorker
    }

    fn update(&mut self, endpoints: Vec<Endpoint>) {
        // A place whose endpoint is gone has no address, and is not to be drawn.
        let weight = |endpoint: &Endpoint| match endpoint.address.is_empty() {
            true => 0,
            false => endpoint.weight,
        };
        self.weights = endpoints.iter().map(weight).collect();
        self.shares = Shares::of_weights(self.weights.iter().copied());
        self.latencies = vec![Latency::default(); endpoints.len()];
        self.addresses = endpoints.into_iter().map(|e| e.address).collect();
    }

    fn pick(&mut self, pick: &Pick) -> Option<usize> {
        // `done` brings no clock: the time of the pick plus the time that the attempt took is as
        // good.
        pick.set_memo(pick.now_us);
        let mut draws = pick.draws();
        let mut draw = |not: Option<usize>| {
            (0..TRIES)
                .filter_map(|_| self.shares.at(draws.below(self.shares.total())))
                .find(|&index| Some(index) != not && pick.candidates().contains(index))
        };
        let Some(first) = draw(None) else {
            // Next to none of them are candidates.
            let cheaper = |best, index| self.cheaper(pick, best, index);
            return pick.candidates().iter().reduce(cheaper);
        };
        // One that has nearly all of the weight, or is alone, is chosen without a comparison.
        match draw(Some(first)) {
            Some(second) => Some(self.cheaper(pick, first, second)),
            None => Some(first),
        }
    }
}

impl Ewma {
    /// The cheaper of the two for its weight; of equals, the second.
    fn cheaper(&self, pick: &Pick, first: usize, second: usize) -> usize {
        let cost = |index: usize| {
            let load = pick.fleet().in_flight(index);
            self.latencies[index].cost(load, pick.now_us, self.decay_us)
        };
        let weight = |index: usize| f64::from(self.weights[index]);
        match cost(first) * weight(second) < cost(second) * weight(first) {
            true => first,
            false => second,
        }
    }
}

impl MemberChanges for Ewma {
    fn change(&mut self, endpoints: Vec<(usize, Endpoint)>) {
        let indexes = endpoints.iter().map(|(index, _)| index + 1);
        // A request that began before may still be tried with an endpoint that is gone.
        let count = indexes.max().unwrap_or(0).max(self.weights.len());
        self.weights = vec![0; count];
        self.latencies.resize(count, Latency::default());
        let mut addresses = vec![String::new(); count];
        for (index, endpoint) in endpoints {
            self.weights[index] = endpoint.weight;
            addresses[index] = endpoint.address;
        }
        self.addresses = addresses;
        self.shares = Shares::of_weights(self.weights.iter().copied());
    }
}

impl Observer for Ewma {
    fn done(&mut self, done: &Done) {
        let Some(latency) = self.latencies.get_mut(done.index) else {
            return;
        };
        let Outcome {
            ending,
            header_us,
            total_us,
            ..
        } = done.outcome;
        let (header_us, total_us) = (f64::from(header_us), f64::from(total_us));
        let now_us = done.memo() + u64::from(done.outcome.total_us);
        match ending {
            // However soon it failed, and although slow ones may take longer than the penalty.
            Ending::Failed => latency.failed(total_us.max(self.penalty_us), now_us),
            _ if header_us > 0.0 => latency.measured(header_us, now_us, self.decay_us),
            // By a client that did not wait for the answer.
            Ending::Abandoned if done.response().status() == 0 => {
                latency.given_up(total_us, now_us);
            }
            Ending::Completed | Ending::Abandoned | Ending::PassedOver | Ending::Unused => {}
        }
    }
}

impl Keeper for Ewma {
    fn export_state(&self) -> Vec<u8> {
        let mut state = StateWriter::new(FORMAT);
        for (address, latency) in self.addresses.iter().zip(&self.latencies) {
            if state.len() > MOST_STATE {
                break;
            }
            if address.is_empty() {
                continue; // it is gone
            }
            state.text(address);
            latency.export(&mut state);
        }
        state.finish()
    }

    fn import_state(&mut self, state: &[u8]) -> Result<(), String> {
        let mut read = StateReader::new(state);
        read.format(&[FORMAT])?;
        let before = StateEntries::read(&mut read, Latency::import)?;
        before.restore(&self.addresses, &mut self.latencies);
        Ok(())
    }
}

impl Describe for Ewma {
    fn describe() -> About {
        About::new("of two random servers the one with the lower recent latency and load")
            .no_streams()
            .settings(
                Schema::new()
                    .duration(
                        "decay",
                        "after so long a measurement has 37 % of its weight",
                    )
                    .duration("penalty", "a failed attempt counts as at least so long"),
            )
    }
}

waypost_sdk::export!(Ewma, observer, member_changes, keeper, describe);

#[cfg(test)]
mod tests;
