//! `bounded_hash`: an endpoint by a key, unless it has more than its share to do already:
//! consistent hashing with bounded loads (Mirrokni, Thorup and Zadimoghaddam, 2016).
//!
//! Keys go where `hash` with `consistent = true` sends them, by the same ring. But no endpoint
//! takes more than `factor` times the mean of the requests in flight, for its weight: past it, the
//! key goes on to the next server on the ring, so that a key that everyone asks for has as many
//! servers as it needs. Nothing is remembered: the loads are the host's and count all workers, so
//! each worker has an instance. Those that choose at the same moment do not see each other's
//! choice; a bound can be exceeded by one request for each of them.

use waypost_sdk::{
    About, Candidates, Crc32, Describe, Endpoint, Failures, Pick, Policy, Ring, Schema, Settings,
    SettingsError, Sharing, SmoothWeighted, Template,
};

/// What an endpoint may have to do, to the mean, by default.
const FACTOR: f64 = 1.25;

/// The greatest `factor`: far beyond it, the bound is none.
const MOST_FACTOR: f64 = 100.0;

/// Up to so many endpoints are asked for their load one by one: a list costs an allocation.
const FEW: usize = 4;

/// Points of the ring that are looked at before the least loaded endpoint is taken instead. Of the
/// candidates, a fifth at least is below the bound that is 1.25 times the mean, so this is enough
/// unless nearly all servers are out.
const STEPS: u32 = 4096;

/// Requests by key, as far as loads allow.
pub struct BoundedHash {
    key: Template,
    factor: f64,
    ring: Ring,
    weights: Vec<u32>,
    /// For requests without a key, and for the addresses of one name.
    turns: SmoothWeighted,
}

impl Policy for BoundedHash {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        settings.refuse_backups()?;
        let key = settings
            .template("key")?
            .ok_or_else(|| settings.missing("key"))?;
        let factor = settings.decimal("factor")?.unwrap_or(FACTOR);
        if !(factor > 1.0 && factor <= MOST_FACTOR) {
            let bounds = format!("`factor` must be more than 1, and {MOST_FACTOR} at most");
            return Err(settings.error("factor", &bounds));
        }
        settings.finish()?;
        Ok(BoundedHash {
            key,
            factor,
            ring: Ring::default(),
            weights: Vec::new(),
            turns: SmoothWeighted::default(),
        })
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerWorker
    }

    fn update(&mut self, endpoints: Vec<Endpoint>) {
        self.turns.update(&endpoints);
        self.weights = endpoints.iter().map(|endpoint| endpoint.weight).collect();
        self.ring = Ring::new(&endpoints);
    }

    fn pick(&mut self, pick: &Pick) -> Option<usize> {
        let (fleet, candidates, count) = (pick.fleet(), pick.candidates(), self.weights.len());
        if count < 2 {
            return self.turns.pick(candidates);
        }
        let key = self.key.render(pick.request());
        if key.is_empty() {
            return self.turns.pick(candidates);
        }
        let place = self.ring.find(Crc32::of(&key));
        // An endpoint without requests is below its bound, whatever that is: the loads of all the
        // others need not be asked for.
        let idle = |index| candidates.contains(index) && fleet.in_flight(index) == 0;
        if let Some(index) = by_turns(&self.ring, &mut self.turns, place, idle) {
            return Some(index);
        }
        if count <= FEW {
            let mut loads = [0; FEW];
            for (index, load) in loads.iter_mut().enumerate().take(count) {
                *load = fleet.in_flight(index);
            }
            return self.choose(place, candidates, &loads[..count]);
        }
        self.choose(place, candidates, &fleet.all_in_flight())
    }
}

impl BoundedHash {
    /// The first server from this place of the ring on that has an endpoint below its bound.
    fn choose(&mut self, place: u32, candidates: &Candidates, loads: &[u32]) -> Option<usize> {
        let bound = self.bound_per_weight(candidates, loads);
        let weights = &self.weights;
        // A load is a whole number: it is below the bound rounded up exactly if it is below the
        // bound.
        let open = |index: usize| {
            candidates.contains(index)
                && f64::from(loads[index]) < bound * f64::from(weights[index])
        };
        (place..place.saturating_add(STEPS))
            .find_map(|place| by_turns(&self.ring, &mut self.turns, place, open))
            .or_else(|| self.least_loaded(candidates, loads))
    }

    /// `factor` times the mean of the requests in flight, this one included, per unit of weight.
    /// Only candidates count: what others have to do will not be shared out again. So at least one
    /// of them is below its bound: all bounds together are more than all the loads.
    fn bound_per_weight(&self, candidates: &Candidates, loads: &[u32]) -> f64 {
        let (mut requests, mut weight) = (1, 0);
        for index in candidates.iter() {
            requests += u64::from(loads[index]);
            weight += u64::from(self.weights[index]);
        }
        self.factor * requests as f64 / weight as f64
    }

    /// The candidate with the fewest requests in flight for its weight.
    #[cold]
    fn least_loaded(&self, candidates: &Candidates, loads: &[u32]) -> Option<usize> {
        let burden = |index: usize| f64::from(loads[index]) / f64::from(self.weights[index]);
        candidates
            .iter()
            .min_by(|&one, &other| burden(one).total_cmp(&burden(other)))
    }
}

/// The endpoint of the server at a place of the ring, if it has one that may be chosen. A server
/// name may stand for several endpoints: they take turns.
fn by_turns(
    ring: &Ring,
    turns: &mut SmoothWeighted,
    place: u32,
    may_be_chosen: impl Fn(usize) -> bool,
) -> Option<usize> {
    let mut round = turns.round();
    for &index in ring.endpoints_at(place) {
        if may_be_chosen(index) {
            round.join(index);
        }
    }
    round.finish()
}

impl Failures for BoundedHash {
    fn failed(&mut self, index: usize) {
        self.turns.failed(index);
    }
}

impl Describe for BoundedHash {
    fn describe() -> About {
        About::new("the server by a key, with a bound on its load")
            .no_backups()
            .settings(
                Schema::new()
                    .template(
                        "key",
                        "what is hashed; where it is empty, servers take turns",
                    )
                    .required()
                    .decimal(
                        "factor",
                        "most requests of a server, as a multiple of the mean; above 1",
                        1.0..=MOST_FACTOR,
                    ),
            )
    }
}

waypost_sdk::export!(BoundedHash, failures, describe);

#[cfg(test)]
mod tests;
