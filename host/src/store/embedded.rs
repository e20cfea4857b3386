//! The entries of one plugin in this process.
//!
//! They are spread over shards by a hash that nobody outside can foresee, each behind a lock that is
//! held for a moment: what it takes to look at one entry. Two workers meet at one only by chance, as
//! they do at the instances of a plugin with a key.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use parking_lot::Mutex;

use super::bucket::Pour;
use super::key::kept;
use super::shard::{Shard, Value, cost, expiry};
use super::{LONGEST, StoreError};

/// A power of two.
const SHARDS: usize = 64;
/// What has expired is looked for in so many steps with each entry that is new, and in each shard
/// where there is no room.
const STEPS: usize = 2;
const STEPS_WHEN_FULL: usize = 64;

/// What a plugin's entries come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    pub entries: u64,
    pub bytes: u64,
    /// What had no room, since the start.
    pub refused: u64,
}

/// The entries of one plugin.
pub struct Entries {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    bytes: AtomicUsize,
    size: AtomicUsize,
    refused: AtomicU64,
}

impl Entries {
    pub(super) fn new(size: usize) -> Entries {
        Entries {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
            bytes: AtomicUsize::new(0),
            size: AtomicUsize::new(size),
            refused: AtomicU64::new(0),
        }
    }

    pub(super) fn set_size(&self, size: usize) {
        self.size.store(size, Relaxed);
    }

    /// What it comes to at this moment.
    pub fn figures(&self) -> Figures {
        let shards = self.shards.iter();
        Figures {
            entries: shards.map(|shard| shard.lock().len() as u64).sum(),
            bytes: self.bytes.load(Relaxed) as u64,
            refused: self.refused.load(Relaxed),
        }
    }

    /// Whether there is a value, which is appended.
    pub fn get(&self, now_ms: u64, key: &[u8], out: &mut Vec<u8>) -> Result<bool, StoreError> {
        let key = kept(key)?;
        let (hash, shard) = self.shard(&key);
        let mut shard = shard.lock();
        let found = shard.find(hash, &key, now_ms);
        Ok(found.is_some_and(|entry| {
            entry.value.append(out);
            true
        }))
    }

    pub fn set(
        &self,
        now_ms: u64,
        key: &[u8],
        value: &[u8],
        ttl_ms: u64,
    ) -> Result<(), StoreError> {
        self.change(now_ms, key, |_| {
            let value = Value::of(value)?;
            Ok(((), Some((value, expiry(now_ms, ttl_ms)))))
        })
    }

    /// The sum.
    pub fn add(
        &self,
        now_ms: u64,
        key: &[u8],
        amount: i64,
        ttl_ms: u64,
    ) -> Result<i64, StoreError> {
        let kept = kept(key)?;
        let (hash, shard) = self.shard(&kept);
        if let Some(entry) = shard.lock().find(hash, &kept, now_ms) {
            let counter = entry.value.as_counter().ok_or(StoreError::WrongKind)?;
            let sum = counter.checked_add(amount).ok_or(StoreError::WrongKind)?;
            if let Value::Counter(counter) = &mut entry.value {
                *counter = sum;
                return Ok(sum);
            }
        }
        self.change(now_ms, key, |present| {
            let Some((value, expires_ms)) = present else {
                let begun = (Value::Counter(amount), expiry(now_ms, ttl_ms));
                return Ok((amount, Some(begun)));
            };
            let counter = value.as_counter().ok_or(StoreError::WrongKind)?;
            let sum = counter.checked_add(amount).ok_or(StoreError::WrongKind)?;
            Ok((sum, Some((Value::Counter(sum), expires_ms))))
        })
    }

    /// Whether it did.
    pub fn compare_and_swap(
        &self,
        now_ms: u64,
        key: &[u8],
        expected: Option<&[u8]>,
        value: &[u8],
        ttl_ms: u64,
    ) -> Result<bool, StoreError> {
        self.change(now_ms, key, |present| {
            let value = Value::of(value)?;
            let is_as_expected = match (present, expected) {
                (None, None) => true,
                (Some((present, _)), Some(expected)) => present.is(expected),
                _ => false,
            };
            let swapped = is_as_expected.then(|| (value, expiry(now_ms, ttl_ms)));
            Ok((is_as_expected, swapped))
        })
    }

    /// Whether there was one.
    pub fn delete(&self, now_ms: u64, key: &[u8]) -> Result<bool, StoreError> {
        let key = kept(key)?;
        let (hash, shard) = self.shard(&key);
        let (was_there, freed) = shard.lock().remove(hash, &key, now_ms);
        self.bytes.fetch_sub(freed, Relaxed);
        Ok(was_there)
    }

    /// The level.
    pub fn fill(&self, now_ms: u64, key: &[u8], pour: Pour) -> Result<u64, StoreError> {
        self.change(now_ms, key, |present| {
            let bucket = match present {
                None => None,
                Some((Value::Bucket(bucket), _)) => Some(*bucket),
                Some(_) => return Err(StoreError::WrongKind),
            };
            let (level, filled) = pour.into(bucket, now_ms);
            let filled = filled.map(|bucket| {
                let ttl_ms = pour.lasts_ms(bucket.level).unwrap_or(0);
                (Value::Bucket(bucket), expiry(now_ms, ttl_ms))
            });
            Ok((level, filled))
        })
    }

    fn shard(&self, key: &[u8]) -> (u64, &Mutex<Shard>) {
        let hash = self.hasher.hash_one(key);
        // The table within uses the low bits and the highest.
        (hash, &self.shards[(hash >> 32) as usize % SHARDS])
    }

    /// Looks at what there is, with the time at which it expires, and puts what comes of it in its
    /// place.
    fn change<T>(
        &self,
        now_ms: u64,
        key: &[u8],
        mut decide: impl FnMut(Option<(&Value, u64)>) -> Result<(T, Option<(Value, u64)>), StoreError>,
    ) -> Result<T, StoreError> {
        let key = &*kept(key)?;
        let (hash, shard) = self.shard(key);
        let mut has_made_room = false;
        loop {
            let wanted = {
                let mut shard = shard.lock();
                let present = shard.find(hash, key, now_ms);
                let present = present.map(|entry| (&entry.value, entry.expires_ms()));
                let (answer, after) = decide(present)?;
                let Some((value, expires_ms)) = after else {
                    return Ok(answer);
                };
                let (before, after) = (shard.cost_of(hash, key), cost(key, &value));
                if after <= before || self.reserve(after - before) {
                    shard.put(hash, key, value, expires_ms);
                    let freed = match before {
                        0 => shard.sweep(now_ms, STEPS),
                        _ => before.saturating_sub(after),
                    };
                    self.bytes.fetch_sub(freed, Relaxed);
                    return Ok(answer);
                }
                after - before
            };
            // Others have their turn at this shard meanwhile, and what was decided is so again.
            if has_made_room || !self.make_room(now_ms, wanted) {
                self.refused.fetch_add(1, Relaxed);
                return Err(StoreError::Full);
            }
            has_made_room = true;
        }
    }

    /// Takes bytes, if there are so many.
    fn reserve(&self, bytes: usize) -> bool {
        let size = self.size.load(Relaxed);
        let more = |taken: usize| {
            let more = taken.checked_add(bytes)?;
            (more <= size).then_some(more)
        };
        self.bytes.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    /// Drops what has expired wherever it is. Whether there is room then.
    #[cold]
    fn make_room(&self, now_ms: u64, wanted: usize) -> bool {
        for shard in &self.shards {
            let freed = shard.lock().sweep(now_ms, STEPS_WHEN_FULL);
            let before = self.bytes.fetch_sub(freed, Relaxed);
            if (before - freed).saturating_add(wanted) <= self.size.load(Relaxed) {
                return true;
            }
        }
        false
    }
}

impl Value {
    fn of(bytes: &[u8]) -> Result<Value, StoreError> {
        match bytes.len() <= LONGEST {
            true => Ok(Value::Bytes(bytes.into())),
            false => Err(StoreError::TooLarge),
        }
    }

    /// As `get` shows it.
    fn append(&self, out: &mut Vec<u8>) {
        match self {
            Value::Bytes(bytes) => out.extend_from_slice(bytes),
            Value::Counter(number) => {
                out.extend_from_slice(itoa::Buffer::new().format(*number).as_bytes());
            }
            Value::Bucket(bucket) => {
                let mut number = itoa::Buffer::new();
                out.extend_from_slice(number.format(bucket.level).as_bytes());
                out.push(b' ');
                out.extend_from_slice(number.format(bucket.last_ms).as_bytes());
            }
        }
    }

    fn is(&self, expected: &[u8]) -> bool {
        match self {
            Value::Bytes(bytes) => **bytes == *expected,
            Value::Counter(_) | Value::Bucket(_) => {
                let mut shown = Vec::new();
                self.append(&mut shown);
                shown == expected
            }
        }
    }

    /// The number that it is, written as a number is and in no other way.
    fn as_counter(&self) -> Option<i64> {
        match self {
            Value::Counter(number) => Some(*number),
            Value::Bytes(bytes) => {
                let number: i64 = std::str::from_utf8(bytes).ok()?.parse().ok()?;
                let is_so_written = *itoa::Buffer::new().format(number).as_bytes() == **bytes;
                is_so_written.then_some(number)
            }
            Value::Bucket(_) => None,
        }
    }
}
