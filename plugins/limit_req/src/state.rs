//! What an instance hands on to the next one: the buckets that are not empty, those in use last
//! before all others, as many as fit.
//!
//! Format 1: the seed of hashes, the time; then for each zone its name (empty where there is one),
//! its key as it is written, and for each bucket its key, its excess, and the milliseconds since
//! the last request; an empty key at the end.

use waypost_sdk::{StateReader, StateWriter};

use crate::bucket::{Bucket, MOST, REQUEST};
use crate::zone::Zone;

/// Bytes of all zones together. The host carries 1 MiB.
const MOST_STATE: usize = 900 << 10;

/// More than that comes from no version.
const MOST_EXCESS: u64 = (MOST + 1) * REQUEST as u64;

/// A state that was read.
pub(crate) struct Kept<'a> {
    pub(crate) now_ms: i64,
    seed: u64,
    zones: Vec<KeptZone<'a>>,
}

struct KeptZone<'a> {
    name: &'a str,
    key: &'a str,
    buckets: Vec<(&'a [u8], Bucket)>,
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
        for entry in zone.buckets.by_age() {
            let bucket = zone.buckets.value(entry);
            if bucket.is_forgotten(zone.rate, now_ms) {
                continue;
            }
            let key = zone.buckets.key(entry);
            if state.len() + key.len() > most {
                break;
            }
            state.bytes(&key);
            state.number(bucket.excess as u64);
            state.signed(now_ms - bucket.last_ms);
        }
        state.bytes(b"");
    }
    state.finish()
}

impl<'a> Kept<'a> {
    /// Reads a state to its end.
    pub(crate) fn read(state: &'a [u8]) -> Result<Self, String> {
        let mut state = StateReader::new(state);
        state.format(&[1])?;
        let (seed, now_ms) = (state.number()?, state.signed()?);
        let mut zones = Vec::new();
        while !state.is_empty() {
            let (name, key) = (state.text()?, state.text()?);
            let mut buckets = Vec::new();
            loop {
                let key = state.bytes()?;
                if key.is_empty() {
                    break;
                }
                let (excess, ago) = (state.number()?, state.signed()?);
                if excess > MOST_EXCESS {
                    return Err("the state holds an excess that cannot be".to_owned());
                }
                let last_ms = now_ms.saturating_sub(ago);
                buckets.push((
                    key,
                    Bucket {
                        excess: excess as i64,
                        last_ms: last_ms.clamp(i64::MIN / 2, i64::MAX / 2),
                    },
                ));
            }
            zones.push(KeptZone { name, key, buckets });
        }
        Ok(Kept {
            now_ms: now_ms.clamp(0, i64::MAX / 2),
            seed,
            zones,
        })
    }

    /// Fills zones that were kept under the same name with the same key. Rates may have changed, as
    /// in nginx.
    pub(crate) fn restore(&self, zones: &mut [Zone]) {
        for zone in 0..zones.len() {
            let name = name_of(zones, &zones[zone]);
            let same = |kept: &&KeptZone| kept.name == name && kept.key == zones[zone].key;
            let Some(kept) = self.zones.iter().find(same) else {
                continue;
            };
            let zone = &mut zones[zone];
            zone.buckets.seed(self.seed);
            for (key, bucket) in kept.buckets.iter().rev() {
                zone.insert(key, *bucket, self.now_ms);
            }
            zone.evicted = 0;
        }
    }
}
