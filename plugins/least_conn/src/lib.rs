//! `least_conn`: the endpoint with the fewest attempts in progress for its weight
//! (`ngx_http_upstream_least_conn_module.c`).
//!
//! Two passes. The first finds the least loaded; if several share that place, the second lets them, from the first of them on,
//! take turns by weight. One instance for the whole process, because of the turns: the loads are the host's and count all
//! workers either way.

use waypost_sdk::{
    Candidates, Endpoint, Failures, Pick, Policy, Scope, Settings, SettingsError, SmoothWeighted,
};

/// Up to so many endpoints are asked for one by one: a list costs an allocation.
const FEW: usize = 4;

/// The least loaded, by turns among equals.
pub struct LeastConn {
    turns: SmoothWeighted,
    /// Beside the turns, to be scanned without them.
    weights: Vec<u32>,
}

impl Policy for LeastConn {
    fn configure(settings: Settings) -> Result<Self, SettingsError> {
        settings.finish()?;
        Ok(LeastConn {
            turns: SmoothWeighted::default(),
            weights: Vec::new(),
        })
    }

    fn scope(&self) -> Scope {
        Scope::Process
    }

    fn update(&mut self, endpoints: Vec<Endpoint>) {
        self.turns.update(&endpoints);
        self.weights = endpoints.iter().map(|endpoint| endpoint.weight).collect();
    }

    fn pick(&mut self, pick: &Pick) -> Option<usize> {
        let count = self.weights.len();
        if count <= 1 {
            return self.turns.pick(pick.candidates());
        }
        if count <= FEW {
            let mut loads = [0; FEW];
            for (index, load) in loads.iter_mut().enumerate().take(count) {
                *load = pick.fleet().in_flight(index);
            }
            return self.choose(pick.candidates(), &loads[..count]);
        }
        self.choose(pick.candidates(), &pick.fleet().in_flight_all())
    }
}

impl LeastConn {
    fn choose(&mut self, candidates: &Candidates, loads: &[u32]) -> Option<usize> {
        let (best, ties) = self.least_loaded(candidates, loads)?;
        if ties {
            self.take_turns(candidates, loads, best)
        } else {
            Some(best)
        }
    }

    /// The first of the least loaded, and whether there are more.
    fn least_loaded(&self, candidates: &Candidates, loads: &[u32]) -> Option<(usize, bool)> {
        let (mut best, mut ties) = (None, false);
        let (mut best_load, mut best_weight) = (0, 0);
        for (word, (loads, weights)) in loads.chunks(64).zip(self.weights.chunks(64)).enumerate() {
            let bits = candidates.word(word);
            for (bit, (&load, &weight)) in loads.iter().zip(weights).enumerate() {
                if bits >> bit & 1 == 0 {
                    continue;
                }
                let (load, weight) = (u64::from(load), u64::from(weight));
                // load / weight against best_load / best_weight, without dividing.
                let (mine, theirs) = (load * best_weight, best_load * weight);
                if best.is_none() || mine < theirs {
                    (best, best_load, best_weight, ties) =
                        (Some(64 * word + bit), load, weight, false);
                } else if mine == theirs {
                    ties = true;
                }
            }
        }
        best.map(|best| (best, ties))
    }

    /// Turns among those as loaded as the leader; who leads may change on the way, and the comparison with it.
    fn take_turns(
        &mut self,
        candidates: &Candidates,
        loads: &[u32],
        first: usize,
    ) -> Option<usize> {
        let load_of = |index: usize| (u64::from(loads[index]), u64::from(self.weights[index]));
        let (mut best_load, mut best_weight) = load_of(first);
        let mut round = self.turns.round_led_by(first);
        for index in first..loads.len().min(self.weights.len()) {
            let (load, weight) = load_of(index);
            if load * best_weight == best_load * weight
                && candidates.contains(index)
                && round.join(index)
            {
                (best_load, best_weight) = (load, weight);
            }
        }
        round.finish()
    }
}

impl Failures for LeastConn {
    fn failed(&mut self, index: usize) {
        self.turns.failed(index);
    }
}

waypost_sdk::export!(LeastConn, failures);

#[cfg(test)]
mod tests;
