//! `subset`: each key has a few endpoints of the upstream to itself and no others, the least loaded
//! of which is chosen (shuffle sharding, as in "Workload isolation using shuffle-sharding" of the
//! Amazon Builders' Library).
//!
//! Two keys seldom have the same subset, so what breaks servers (a tenant whose requests crash
//! them, or take all of their time) takes others down only where their whole subsets coincide.
//! Therefore nothing outside of the subset is chosen when all of it is out: the exchange is
//! refused.
//!
//! Subsets come from rendezvous hashing (Thaler and Ravishankar, 1998): of all endpoints, those
//! whose hashes together with the key's are the highest. One that comes or goes changes one place
//! in the subsets that it belongs to, and no other subset. Nothing is remembered, so each worker
//! has an instance.

use std::cmp::Ordering;

use waypost_sdk::{
    About, Describe, Draws, Endpoint, Pick, Policy, Schema, Settings, SettingsError, Sharing,
    Template, endpoint_hashes, hash64, log,
};

/// The greatest `size`. A subset is sorted for each pick, and isolates little if it is large.
const MOST_ENDPOINTS: u64 = 64;

/// Up to so many endpoints are asked for their load one by one: a list costs an allocation.
const FEW: usize = 8;

/// Requests by key, each to a few endpoints.
pub struct Subset {
    key: Template,
    size: usize,
    hashes: Vec<u64>,
    weights: Vec<u32>,
    /// The subset of the key at hand, best first. Kept so that no pick allocates.
    members: Vec<Member>,
}

/// An endpoint of a subset.
#[derive(Clone, Copy)]
struct Member {
    score: u64,
    index: usize,
}

impl Policy for Subset {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        settings.refuse_backups()?;
        let key = settings
            .template("key")?
            .ok_or_else(|| settings.missing("key"))?;
        let size = settings
            .number("size")?
            .ok_or_else(|| settings.missing("size"))?;
        if !(1..=MOST_ENDPOINTS).contains(&size) {
            let bounds = format!("`size` must be from 1 to {MOST_ENDPOINTS}");
            return Err(settings.error("size", &bounds));
        }
        settings.finish()?;
        Ok(Subset {
            key,
            size: size as usize,
            hashes: Vec::new(),
            weights: Vec::new(),
            members: Vec::with_capacity(size as usize),
        })
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerWorker
    }

    fn update(&mut self, endpoints: Vec<Endpoint>) {
        if endpoints.len() <= self.size {
            log::warn(&format!(
                "subset: a `size` of {} gives every key all of {} servers: take a smaller one",
                self.size,
                endpoints.len()
            ));
        }
        self.hashes = endpoint_hashes(&endpoints);
        self.weights = endpoints.iter().map(|endpoint| endpoint.weight).collect();
    }

    fn pick(&mut self, pick: &Pick) -> Option<usize> {
        // Requests without a key have a subset as those of any key: leaving the key away must not
        // be a way to all servers.
        let key = self.key.render(pick.request());
        self.choose_members(hash64(&key, 0));
        self.least_loaded(pick).or_else(|| pick.refuse())
    }
}

impl Subset {
    /// Fills `members` with the subset of a key. Endpoints that are out belong to it, too: others
    /// must not step in for them.
    fn choose_members(&mut self, key: u64) {
        let Subset {
            size,
            hashes,
            members,
            ..
        } = self;
        members.clear();
        for (index, hash) in hashes.iter().enumerate() {
            let score = Draws::from_seed(key ^ hash).draw();
            if members.len() == *size {
                if members.last().is_some_and(|last| last.score >= score) {
                    continue;
                }
                members.pop();
            }
            let place = members.partition_point(|member| member.score >= score);
            members.insert(place, Member { score, index });
        }
    }

    /// The member with the fewest requests in flight for its weight; chance by weight decides
    /// between equals. `None` where no member is a candidate.
    fn least_loaded(&self, pick: &Pick) -> Option<usize> {
        let (candidates, fleet) = (pick.candidates(), pick.fleet());
        let open = self.members.iter().map(|member| member.index);
        let mut open = open.filter(|&index| candidates.contains(index)).peekable();
        let first = open.next()?;
        if open.peek().is_none() {
            return Some(first);
        }
        let all = match self.members.len() {
            0..=FEW => Vec::new(),
            _ => fleet.all_in_flight(),
        };
        let load = |index: usize| match all.get(index) {
            Some(&load) => load,
            None => fleet.in_flight(index),
        };
        let mut draws = pick.draws();
        let mut least = Least::begin(first, load(first), self.weights[first]);
        for index in open {
            least.join(index, load(index), self.weights[index], &mut draws);
        }
        Some(least.index)
    }
}

/// The least loaded endpoint of those that were looked at.
struct Least {
    index: usize,
    load: u64,
    weight: u64,
    /// The weights of all that are loaded as little.
    of_equals: u64,
}

impl Least {
    fn begin(index: usize, load: u32, weight: u32) -> Self {
        Least {
            index,
            load: load.into(),
            weight: weight.into(),
            of_equals: weight.into(),
        }
    }

    fn join(&mut self, index: usize, load: u32, weight: u32, draws: &mut Draws) {
        let (load, weight) = (u64::from(load), u64::from(weight));
        match (load * self.weight).cmp(&(self.load * weight)) {
            Ordering::Greater => {}
            Ordering::Less => {
                *self = Least {
                    index,
                    load,
                    weight,
                    of_equals: weight,
                };
            }
            Ordering::Equal => {
                self.of_equals += weight;
                if draws.below(self.of_equals) < weight {
                    (self.index, self.load, self.weight) = (index, load, weight);
                }
            }
        }
    }
}

impl Describe for Subset {
    fn describe() -> About {
        About::new("a few servers for each key, and no others: shuffle sharding")
            .no_backups()
            .settings(
                Schema::new()
                    .template("key", "what has servers of its own, such as a tenant")
                    .required()
                    .number("size", "servers of each key", 1..=MOST_ENDPOINTS)
                    .required(),
            )
    }
}

waypost_sdk::export!(Subset, describe);

#[cfg(test)]
mod tests;
