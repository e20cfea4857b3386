//! A part of a plugin's entries, behind one lock.
//!
//! Entries are in places of a slab; a table finds them by their keys' hashes, and a queue by when
//! they may have expired. An entry that is renewed stays where it is in the queue, and is put
//! further back when its turn comes: renewing costs nothing.

use std::collections::BTreeSet;

use hashbrown::HashTable;
use slab::Slab;
use smallvec::SmallVec;

use super::bucket::Bucket;

/// What an entry takes beside its key and its value: its place, its hash, its turn in the queue, and
/// what the allocator adds.
const OVERHEAD: usize = 160;

/// `expires_ms` of what does not expire.
const NEVER: u64 = u64::MAX;

pub(super) enum Value {
    Bytes(Box<[u8]>),
    Counter(i64),
    Bucket(Bucket),
}

pub(super) struct Entry {
    /// Short ones beside the rest, where the processor has them already.
    key: SmallVec<[u8; 32]>,
    hash: u64,
    pub(super) value: Value,
    expires_ms: u64,
    /// Where it is in the queue: not behind `expires_ms`.
    queued_ms: u64,
}

impl Entry {
    pub(super) fn expires_ms(&self) -> u64 {
        self.expires_ms
    }
}

#[derive(Default)]
pub(super) struct Shard {
    entries: Slab<Entry>,
    /// Places in `entries`.
    table: HashTable<usize>,
    queue: BTreeSet<(u64, usize)>,
}

/// When something that is kept from now on expires; 0 for never.
pub(super) fn expiry(now_ms: u64, ttl_ms: u64) -> u64 {
    match ttl_ms {
        0 => NEVER,
        ttl_ms => now_ms.saturating_add(ttl_ms).min(NEVER - 1),
    }
}

/// The bytes that an entry counts for.
pub(super) fn cost(key: &[u8], value: &Value) -> usize {
    let value = match value {
        Value::Bytes(bytes) => bytes.len(),
        Value::Counter(_) | Value::Bucket(_) => 0,
    };
    OVERHEAD + key.len() + value
}

impl Shard {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    fn place(&self, hash: u64, key: &[u8]) -> Option<usize> {
        let is_it = |place: &usize| *self.entries[*place].key == *key;
        self.table.find(hash, is_it).copied()
    }

    /// An entry that has not expired.
    pub(super) fn find(&mut self, hash: u64, key: &[u8], now_ms: u64) -> Option<&mut Entry> {
        let place = self.place(hash, key)?;
        let entry = &mut self.entries[place];
        (entry.expires_ms > now_ms).then_some(entry)
    }

    /// The bytes that an entry of this key counts for, expired or not; 0 where there is none.
    pub(super) fn cost_of(&self, hash: u64, key: &[u8]) -> usize {
        let place = self.place(hash, key);
        place.map_or(0, |place| {
            let entry = &self.entries[place];
            cost(&entry.key, &entry.value)
        })
    }

    /// Puts an entry there, in place of one with this key.
    pub(super) fn put(&mut self, hash: u64, key: &[u8], value: Value, expires_ms: u64) {
        if let Some(place) = self.place(hash, key) {
            let entry = &mut self.entries[place];
            entry.value = value;
            entry.expires_ms = expires_ms;
            // Never behind: it would be found too late.
            if expires_ms < entry.queued_ms {
                self.queue_again(place);
            }
            return;
        }
        let place = self.entries.insert(Entry {
            key: SmallVec::from_slice(key),
            hash,
            value,
            expires_ms,
            queued_ms: expires_ms,
        });
        let Shard { entries, table, .. } = self;
        table.insert_unique(hash, place, |place| entries[*place].hash);
        self.queue.insert((expires_ms, place));
    }

    fn queue_again(&mut self, place: usize) {
        let entry = &mut self.entries[place];
        self.queue.remove(&(entry.queued_ms, place));
        entry.queued_ms = entry.expires_ms;
        self.queue.insert((entry.queued_ms, place));
    }

    /// Drops an entry: whether it was there and had not expired, and the bytes that it counted for.
    pub(super) fn remove(&mut self, hash: u64, key: &[u8], now_ms: u64) -> (bool, usize) {
        let Some(place) = self.place(hash, key) else {
            return (false, 0);
        };
        let was_alive = self.entries[place].expires_ms > now_ms;
        (was_alive, self.drop_place(place))
    }

    fn drop_place(&mut self, place: usize) -> usize {
        let entry = self.entries.remove(place);
        self.queue.remove(&(entry.queued_ms, place));
        let found = self.table.find_entry(entry.hash, |other| *other == place);
        if let Ok(found) = found {
            found.remove();
        }
        cost(&entry.key, &entry.value)
    }

    /// Drops what has expired, in so many steps at most; the bytes that it counted for.
    pub(super) fn sweep(&mut self, now_ms: u64, steps: usize) -> usize {
        let mut freed = 0;
        for _ in 0..steps {
            let Some(&(queued_ms, place)) = self.queue.first() else {
                break;
            };
            if queued_ms > now_ms {
                break;
            }
            match self.entries[place].expires_ms > now_ms {
                true => self.queue_again(place),
                false => freed += self.drop_place(place),
            }
        }
        freed
    }
}
