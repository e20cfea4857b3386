//! `hash`: an endpoint by a key of your choice, so that a URL, a user or a tenant stays on its
//! server (`ngx_http_upstream_hash_module.c`).
//!
//! Plain, compatible with Cache::Memcached: quick and even, but nearly every key moves when a
//! server comes or goes. With `consistent = true` a [`Ring`], compatible with
//! Cache::Memcached::Fast: only the keys of that server move. An empty key, and a key whose
//! endpoints were no candidates 20 times over, fall back to turns by weight. Nothing here depends
//! on other requests, so each worker has an instance; the exchange keeps where a retry goes on.

use waypost_sdk::{
    About, Crc32, Describe, Endpoint, Failures, Pick, Policy, Ring, Schema, Settings,
    SettingsError, Shares, Sharing, SmoothWeighted, Template,
};

/// Endpoints that were no candidates, per exchange, before turns take over.
const TRIES: u64 = 20;

/// Requests by key.
pub struct Hash {
    key: Template,
    turns: SmoothWeighted,
    table: Table,
}

/// What a key is looked up in.
enum Table {
    Plain(Shares),
    Consistent(Ring),
}

/// Where the exchange stands: the hash of the last evaluation (plain) or the ring's point
/// (consistent), how often the key was hashed, and the tries. Starts at all zeros, which is also
/// the memo of an exchange that was not hashed yet.
#[derive(Clone, Copy, Default)]
struct Walk {
    hash: u32,
    rehash: u16,
    tries: u64,
}

impl Walk {
    fn recall(pick: &Pick) -> Self {
        let memo = pick.memo();
        Walk {
            hash: memo as u32,
            rehash: (memo >> 32) as u16,
            tries: memo >> 48,
        }
    }

    fn keep(self, pick: &Pick) {
        pick.set_memo(self.tries << 48 | u64::from(self.rehash) << 32 | u64::from(self.hash));
    }
}

impl Policy for Hash {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        settings.refuse_backups()?;
        let key = settings
            .template("key")?
            .ok_or_else(|| settings.missing("key"))?;
        let consistent = settings.flag("consistent")?;
        settings.finish()?;
        let table = if consistent {
            Table::Consistent(Ring::default())
        } else {
            Table::Plain(Shares::default())
        };
        Ok(Hash {
            key,
            turns: SmoothWeighted::default(),
            table,
        })
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerWorker
    }

    fn update(&mut self, endpoints: Vec<Endpoint>) {
        self.turns.update(&endpoints);
        match &mut self.table {
            Table::Plain(shares) => *shares = Shares::new(&endpoints),
            Table::Consistent(ring) => *ring = Ring::new(&endpoints),
        }
    }

    fn pick(&mut self, pick: &Pick) -> Option<usize> {
        if self.turns.len() < 2 {
            return self.turns.pick(pick.candidates());
        }
        let key = self.key.render(pick.request());
        let first = pick.attempt == 0;
        let mut walk = if first {
            Walk::default()
        } else {
            Walk::recall(pick)
        };
        let choice = if key.is_empty() || walk.tries > TRIES {
            None
        } else {
            match &self.table {
                Table::Plain(shares) => plain(shares, &key, &mut walk, pick),
                Table::Consistent(ring) => consistent(ring, &mut self.turns, &key, &mut walk, pick),
            }
        };
        walk.keep(pick);
        choice.or_else(|| self.turns.pick(pick.candidates()))
    }
}

/// `((crc32([REHASH] KEY) >> 16) & 0x7fff) + PREVIOUS`, REHASH left out the first time, until a
/// candidate's share is hit.
fn plain(shares: &Shares, key: &[u8], walk: &mut Walk, pick: &Pick) -> Option<usize> {
    while walk.tries <= TRIES {
        let mut crc = Crc32::default();
        if walk.rehash > 0 {
            crc.add(walk.rehash.to_string().as_bytes());
        }
        crc.add(key);
        walk.hash = walk.hash.wrapping_add(crc.value() >> 16 & 0x7fff);
        walk.rehash += 1;
        let index = shares.at(u64::from(walk.hash) % shares.total())?;
        if pick.candidates().contains(index) {
            return Some(index);
        }
        walk.tries += 1;
    }
    None
}

/// The key's point on the ring, then the next ones, until one's server has a candidate. A server
/// name may stand for several endpoints: they take turns.
fn consistent(
    ring: &Ring,
    turns: &mut SmoothWeighted,
    key: &[u8],
    walk: &mut Walk,
    pick: &Pick,
) -> Option<usize> {
    if walk.rehash == 0 {
        walk.hash = ring.find(Crc32::of(key));
        walk.rehash = 1;
    }
    while walk.tries <= TRIES {
        let mut round = turns.round();
        for &index in ring.endpoints_at(walk.hash) {
            if pick.candidates().contains(index) {
                round.join(index);
            }
        }
        if let Some(index) = round.finish() {
            return Some(index);
        }
        walk.hash += 1;
        walk.tries += 1;
    }
    None
}

impl Failures for Hash {
    fn failed(&mut self, index: usize) {
        self.turns.failed(index);
    }
}

impl Describe for Hash {
    fn describe() -> About {
        About::new("the server by a key, plain or on a ring")
            .no_backups()
            .settings(
                Schema::new()
                    .template(
                        "key",
                        "what is hashed; where it is empty, servers take turns",
                    )
                    .required()
                    .flag(
                        "consistent",
                        "a ring: only the keys of a server that comes or goes move",
                    ),
            )
    }
}

waypost_sdk::export!(Hash, failures, describe);

#[cfg(test)]
mod tests;
