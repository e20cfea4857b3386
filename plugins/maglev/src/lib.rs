//! `maglev`: an endpoint by a key, out of the lookup table of Google's Maglev ([`table`]).
//!
//! Like `hash` with `consistent = true`, but the servers' shares are equal to one slot of the table
//! where a ring's differ by some ten percent, and a key is found in one step. The price: when a
//! server comes or goes for good, a few percent of the other servers' keys move as well. A server
//! that is only out of rotation keeps its slots, and no other key moves: its keys go to the owners
//! of the slots behind theirs. So do retries, which need no memory for it, as what was tried is no
//! candidate. Nothing here depends on other requests, so each worker has an instance.

mod table;

use waypost_sdk::{
    About, Candidates, Describe, Draws, Endpoint, Failures, Pick, Policy, Schema, Settings,
    SettingsError, Sharing, SmoothWeighted, Template, endpoint_hashes, hash64, log,
};

use table::{Table, is_prime};

/// What `table_size` is by default: the paper's for some hundred servers, and Envoy's.
const SLOTS: u32 = 65_537;

/// The largest prime number below 2^18. To fill a table takes time in proportion to it, some 40 ms
/// for this one: the time for a new instance is 100 ms.
const MOST_SLOTS: u32 = 262_139;

/// Slots whose owners are looked at for a key before a candidate is found without the table. Enough
/// unless nine of ten servers are out, or the table is too small to have slots of all.
const PROBES: usize = 64;

/// Slots that a server should have at least on average, so that shares are equal to one percent
/// (the paper's section 5.3).
const SLOTS_PER_SERVER: usize = 100;

/// Requests by key.
pub struct Maglev {
    key: Template,
    table_size: u32,
    table: Table,
    hashes: Vec<u64>,
    /// For requests without a key.
    turns: SmoothWeighted,
}

impl Policy for Maglev {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        settings.refuse_backups()?;
        let key = settings
            .template("key")?
            .ok_or_else(|| settings.missing("key"))?;
        let table_size = match settings.number("table_size")? {
            None => SLOTS,
            Some(size) => {
                checked_size(size).map_err(|message| settings.error("table_size", &message))?
            }
        };
        settings.finish()?;
        Ok(Maglev {
            key,
            table_size,
            table: Table::default(),
            hashes: Vec::new(),
            turns: SmoothWeighted::default(),
        })
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerWorker
    }

    fn update(&mut self, endpoints: Vec<Endpoint>) {
        let wanted = endpoints.len() * SLOTS_PER_SERVER;
        if wanted > self.table_size as usize {
            log::warn(&format!(
                "maglev: a `table_size` of {} gives {} servers uneven shares: take {wanted} or more",
                self.table_size,
                endpoints.len()
            ));
        }
        self.turns.update(&endpoints);
        self.hashes = endpoint_hashes(&endpoints);
        self.table = Table::new(&endpoints, &self.hashes, self.table_size);
    }

    fn pick(&mut self, pick: &Pick) -> Option<usize> {
        if self.turns.len() < 2 {
            return self.turns.pick(pick.candidates());
        }
        let key = self.key.render(pick.request());
        if key.is_empty() {
            return self.turns.pick(pick.candidates());
        }
        let hash = hash64(&key, 0);
        let candidates = pick.candidates();
        self.table
            .owners(self.table.slot(hash), PROBES)
            .find(|&owner| candidates.contains(owner))
            .or_else(|| self.highest(hash, candidates))
    }
}

impl Maglev {
    /// The candidate whose hash together with the key's is the highest (rendezvous hashing): looks
    /// at every one, but finds it however few there are, and moves no key that need not move.
    #[cold]
    fn highest(&self, hash: u64, candidates: &Candidates) -> Option<usize> {
        let together = |&index: &usize| Draws::from_seed(hash ^ self.hashes[index]).draw();
        candidates.iter().max_by_key(together)
    }
}

/// A size that a table can have.
fn checked_size(size: u64) -> Result<u32, String> {
    let number = u32::try_from(size)
        .ok()
        .filter(|size| (3..=MOST_SLOTS).contains(size));
    let Some(number) = number else {
        return Err(format!(
            "`table_size` must be a prime number from 3 to {MOST_SLOTS}"
        ));
    };
    if is_prime(number) {
        return Ok(number);
    }
    let next = (number..).find(|&next| is_prime(next)).unwrap_or(SLOTS);
    Err(format!(
        "`table_size` must be a prime number, such as {next}"
    ))
}

impl Failures for Maglev {
    fn failed(&mut self, index: usize) {
        self.turns.failed(index);
    }
}

impl Describe for Maglev {
    fn describe() -> About {
        About::new("the server by a key, with equal shares: the table of Google's Maglev")
            .no_backups()
            .settings(
                Schema::new()
                    .template(
                        "key",
                        "what is hashed; where it is empty, servers take turns",
                    )
                    .required()
                    .number(
                        "table_size",
                        "slots of the table; a prime number",
                        3..=u64::from(MOST_SLOTS),
                    ),
            )
    }
}

waypost_sdk::export!(Maglev, failures, describe);

#[cfg(test)]
mod tests;
