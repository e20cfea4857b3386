//! What an instance hands on to the next one: the buckets that are not empty, those in use last
//! before all others, as many as fit and as there is time for.
//!
//! Format 1: the seed of hashes, the time; then for each zone its name (empty where there is one),
//! its key as it is written, and for each bucket its key, its excess, and the milliseconds since
//! the last request; an empty key at the end.

use waypost_sdk::{StateReader, StateWriter};

use crate::bucket::{Bucket, MOST, REQUEST};
use crate::zone::Zone;

/// Bytes of all zones together. The host carries 1 MiB.
const MOST_STATE: usize = 900 << 10;

/// Entries of all zones together that are looked at. A plugin that was loaded from a file has 5
/// milliseconds for a call, and loses all if it runs past them; the stock one has ten times as many.
/// The instance that takes them over needs more of them than the one that hands them on: a hash for
/// each, and memory that was not used before.
const MOST_KEYS: usize = 20_000;

/// More than that comes from no version.
const MOST_EXCESS: u64 = (MOST + 1) * REQUEST as u64;

/// A state that was read.
pub(crate) struct Kept<'a> {
    /// As it was written, which buckets are told by.
    now_ms: i64,
    seed: u64,
    zones: Vec<KeptZone<'a>>,
}

struct KeptZone<'a> {
    name: &'a str,
    key: &'a str,
    /// What is left of the state from the first bucket on.
    buckets: StateReader<'a>,
}

/// The name that a zone has in a state.
fn name_of<'a>(zones: &'a [Zone], zone: &'a Zone) -> &'a str {
    match zones.len() {
        1 => "",
        _ => &zone.name,
    }
}

pub(crate) fn export(zones: &[Zone], now_ms: i64) -> Vec<u8> {
    let mut state = StateWriter::new(1);
    let seed = zones.first().map(|zone| zone.buckets.seed_in_use());
    state.number(seed.unwrap_or(0));
    state.signed(now_ms);
    for zone in zones {
        state.text(name_of(zones, zone));
        state.text(&zone.key);
        let most = state.len() + MOST_STATE / zones.len();
        for entry in zone.buckets.by_age().take(MOST_KEYS / zones.len()) {
            let bucket = zone.buckets.value(entry);
            if bucket.is_forgotten(zone.rate, now_ms) {
                continue;
            }
            let length = zone.buckets.key_len(entry);
            if state.len() + length > most {
                break;
            }
            state.bytes_by(length, |state| zone.buckets.append_key(entry, state));
            state.number(bucket.excess as u64);
            state.signed(now_ms - bucket.last_ms);
        }
        state.bytes(b"");
    }
    state.finish()
}

impl<'a> Kept<'a> {
    /// Reads a state to its end. What the buckets hold is looked at here, and taken only when all
    /// is known to be good.
    pub(crate) fn read(state: &'a [u8]) -> Result<Self, String> {
        let mut state = StateReader::new(state);
        state.format(&[1])?;
        let (seed, now_ms) = (state.number()?, state.signed()?);
        let mut zones = Vec::new();
        while !state.is_empty() {
            let (name, key, buckets) = (state.text()?, state.text()?, state.clone());
            while Written::next(&mut state)?.is_some() {}
            zones.push(KeptZone { name, key, buckets });
        }
        Ok(Kept {
            now_ms,
            seed,
            zones,
        })
    }

    /// The latest that was seen of the clock.
    pub(crate) fn now_ms(&self) -> i64 {
        self.now_ms.clamp(0, i64::MAX / 2)
    }

    /// Fills zones that were kept under the same name with the same key. Rates may have changed, as
    /// in nginx. Those in use last come first, and of what finds no room in a smaller zone none
    /// does.
    pub(crate) fn restore(&self, zones: &mut [Zone]) {
        for zone in 0..zones.len() {
            let name = name_of(zones, &zones[zone]);
            let same = |kept: &&KeptZone| kept.name == name && kept.key == zones[zone].key;
            let Some(kept) = self.zones.iter().find(same) else {
                continue;
            };
            let buckets = &mut zones[zone].buckets;
            buckets.seed(self.seed);
            let mut left = kept.buckets.clone();
            while let Ok(Some(written)) = Written::next(&mut left) {
                let last_ms = self.now_ms.saturating_sub(written.ago_ms);
                let bucket = Bucket {
                    excess: written.excess,
                    last_ms: last_ms.clamp(i64::MIN / 2, i64::MAX / 2),
                };
                buckets.insert_oldest(written.key, bucket);
            }
        }
    }
}

/// A bucket as it stands in a state.
struct Written<'a> {
    key: &'a [u8],
    excess: i64,
    /// Since its last request.
    ago_ms: i64,
}

impl<'a> Written<'a> {
    /// Reads the next one. None behind the last.
    fn next(state: &mut StateReader<'a>) -> Result<Option<Self>, String> {
        let key = state.bytes()?;
        if key.is_empty() {
            return Ok(None);
        }
        let (excess, ago_ms) = (state.number()?, state.signed()?);
        if excess > MOST_EXCESS {
            return Err("the state holds an excess that cannot be".to_owned());
        }
        let excess = excess as i64;
        Ok(Some(Written {
            key,
            excess,
            ago_ms,
        }))
    }
}
