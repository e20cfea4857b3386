//! How many requests are in progress for each key, and which.
//!
//! The end of a request comes with its number and without its key. What is remembered of each is
//! given back at its end, once, so that an end which comes twice, or of a request that another
//! instance has counted, changes nothing.

use std::collections::BTreeMap;

use waypost_sdk::{Entry, KeyTable, StateReader, StateWriter};

/// Requests of an instance that may be in progress: they take some 6 MiB.
const MOST_REQUESTS: usize = 1 << 18;

/// Bytes of state after which requests are left out. The host carries 1 MiB.
const MOST_STATE: usize = 900 << 10;

/// Requests in progress.
pub(crate) struct Counts {
    by_key: KeyTable<u32>,
    /// The keys that each request is counted for: the first, second... of its number. There is more
    /// than one where the request was changed between two places.
    requests: BTreeMap<(u64, u16), Entry>,
}

/// What a key's count says of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    /// It is counted.
    Within,
    /// There are as many others as may be.
    Over,
    /// It cannot be counted: the room is used up.
    NoRoom,
}

/// A state that was read: keys, each with its requests.
pub(crate) struct Kept<'a> {
    key: &'a str,
    seed: u64,
    keys: Vec<(&'a [u8], Vec<u64>)>,
}

impl Counts {
    /// Counts by keys that take so many bytes.
    pub(crate) fn with_room(bytes: usize) -> Self {
        Counts {
            by_key: KeyTable::with_room(bytes),
            requests: BTreeMap::new(),
        }
    }

    /// What hashes of keys depend on.
    pub(crate) fn seed(&mut self, seed: u64) {
        self.by_key.seed(seed);
    }

    /// Counts a request for a key, unless so many others are. One that is counted already, at
    /// another place, counts once.
    pub(crate) fn count(&mut self, request: u64, key: &[u8], most: u32) -> Counted {
        let entry = self.by_key.find(key);
        let (mut known, mut is_counted) = (0, false);
        for (_, other) in self.requests.range((request, 0)..=(request, u16::MAX)) {
            known += 1;
            is_counted |= Some(*other) == entry;
        }
        let count = entry.map_or(0, |entry| *self.by_key.value(entry));
        if count - u32::from(is_counted) >= most {
            return Counted::Over;
        }
        if is_counted {
            return Counted::Within;
        }
        if self.requests.len() == MOST_REQUESTS || known == u16::MAX {
            return Counted::NoRoom;
        }
        match entry.or_else(|| self.by_key.insert(key, 0)) {
            Some(entry) => {
                *self.by_key.value_mut(entry) += 1;
                self.requests.insert((request, known), entry);
                Counted::Within
            }
            None => Counted::NoRoom,
        }
    }

    /// A request has ended.
    pub(crate) fn give_back(&mut self, request: u64) {
        for number in 0..=u16::MAX {
            let Some(entry) = self.requests.remove(&(request, number)) else {
                return;
            };
            let count = self.by_key.value_mut(entry);
            *count -= 1;
            if *count == 0 {
                self.by_key.remove(entry);
            }
        }
    }

    /// Keys that have requests in progress.
    #[cfg(test)]
    pub(crate) fn keys(&self) -> usize {
        self.by_key.len()
    }

    /// Format 1: the key as it is written, the seed of hashes; then for each key its value, the
    /// number of its requests, and their numbers.
    pub(crate) fn export(&self, key: &str) -> Vec<u8> {
        let mut state = StateWriter::new(1);
        state.text(key);
        state.number(self.by_key.seed_in_use());
        let mut requests: BTreeMap<Entry, Vec<u64>> = BTreeMap::new();
        for ((request, _), entry) in &self.requests {
            requests.entry(*entry).or_default().push(*request);
        }
        for (entry, mut requests) in requests {
            let room = MOST_STATE.saturating_sub(state.len());
            requests.truncate(room / 10); // bytes that a number takes at most
            if requests.is_empty() {
                break;
            }
            state.bytes(&self.by_key.key(entry));
            state.number(requests.len() as u64);
            requests.iter().for_each(|request| state.number(*request));
        }
        state.finish()
    }

    /// Counts what was kept, if it was counted by the same key.
    pub(crate) fn restore(&mut self, kept: &Kept, key: &str) {
        if kept.key != key {
            return;
        }
        self.seed(kept.seed);
        for (key, requests) in &kept.keys {
            for request in requests {
                self.count(*request, key, u32::MAX);
            }
        }
    }
}

impl<'a> Kept<'a> {
    /// Reads a state to its end.
    pub(crate) fn read(state: &'a [u8]) -> Result<Self, String> {
        let mut state = StateReader::new(state);
        state.format(&[1])?;
        let (key, seed) = (state.text()?, state.number()?);
        let mut keys = Vec::new();
        while !state.is_empty() {
            let (value, number) = (state.bytes()?, state.number()?);
            let mut requests = Vec::new();
            for _ in 0..number {
                requests.push(state.number()?);
            }
            keys.push((value, requests));
        }
        Ok(Kept { key, seed, keys })
    }
}
