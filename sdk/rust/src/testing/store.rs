//! What plugins share, as a test has it: unbounded, and out of order when it says so.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::store::StoreError;

/// The entries of a plugin. A clone is the same store, which several plugins under test may have:
/// [`Services::store`](super::Services::store).
#[derive(Debug, Clone, Default)]
pub struct Store(Rc<RefCell<State>>);

#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<Vec<u8>, Entry>,
    now_ms: u64,
    error: Option<StoreError>,
    is_elsewhere: bool,
}

#[derive(Debug, Clone)]
struct Entry {
    value: Vec<u8>,
    expires_ms: u64,
    /// Of a bucket: its level, and when that was so.
    bucket: Option<(u64, u64)>,
}

impl Store {
    /// Empty.
    pub fn new() -> Self {
        Store::default()
    }

    /// An empty one in another process.
    pub fn elsewhere() -> Self {
        let store = Store::default();
        store.0.borrow_mut().is_elsewhere = true;
        store
    }

    pub(super) fn is_elsewhere(&self) -> bool {
        self.0.borrow().is_elsewhere
    }

    /// From now on each call fails so; none for no longer.
    pub fn fail(&self, error: impl Into<Option<StoreError>>) {
        self.0.borrow_mut().error = error.into();
    }

    /// How many entries have not expired.
    pub fn len(&self) -> usize {
        let state = self.0.borrow();
        let alive = |entry: &&Entry| entry.expires_ms > state.now_ms;
        state.entries.values().filter(alive).count()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The time of a call. It does not go back, whichever plugin is asked.
    pub(super) fn pass_until(&self, now_us: u64) {
        let mut state = self.0.borrow_mut();
        state.now_ms = state.now_ms.max(now_us / 1000);
    }

    /// Looks at what has not expired, and puts what comes of it in its place.
    fn change<T>(
        &self,
        key: &[u8],
        decide: impl FnOnce(Option<Entry>, u64) -> Result<(T, Option<Entry>), StoreError>,
    ) -> Result<T, StoreError> {
        let mut state = self.0.borrow_mut();
        if let Some(error) = state.error {
            return Err(error);
        }
        let now_ms = state.now_ms;
        state.entries.retain(|_, entry| entry.expires_ms > now_ms);
        let (answer, after) = decide(state.entries.get(key).cloned(), now_ms)?;
        match after {
            Some(entry) => drop(state.entries.insert(key.to_vec(), entry)),
            None => drop(state.entries.remove(key)),
        }
        Ok(answer)
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.change(key, |entry, _| {
            let value = entry.as_ref().map(|entry| entry.value.clone());
            Ok((value, entry))
        })
    }

    pub(super) fn set(&self, key: &[u8], value: &[u8], ttl_ms: u64) -> Result<(), StoreError> {
        self.change(key, |_, now| Ok(((), Some(Entry::of(value, now, ttl_ms)))))
    }

    pub(super) fn add(&self, key: &[u8], amount: i64, ttl_ms: u64) -> Result<i64, StoreError> {
        self.change(key, |entry, now| {
            let entry = entry.unwrap_or_else(|| Entry::of(b"0", now, ttl_ms));
            let number = std::str::from_utf8(&entry.value).ok();
            let number = number.and_then(|number| number.parse::<i64>().ok());
            let sum = number.and_then(|number| number.checked_add(amount));
            let sum = sum.ok_or(StoreError::WrongKind)?;
            let value = sum.to_string().into_bytes();
            Ok((sum, Some(Entry { value, ..entry })))
        })
    }

    pub(super) fn compare_and_swap(
        &self,
        key: &[u8],
        expected: Option<&[u8]>,
        value: &[u8],
        ttl_ms: u64,
    ) -> Result<bool, StoreError> {
        self.change(key, |entry, now| {
            let present = entry.as_ref().map(|entry| &*entry.value);
            Ok(match present == expected {
                true => (true, Some(Entry::of(value, now, ttl_ms))),
                false => (false, entry),
            })
        })
    }

    pub(super) fn delete(&self, key: &[u8]) -> Result<bool, StoreError> {
        self.change(key, |entry, _| Ok((entry.is_some(), None)))
    }

    pub(super) fn fill(
        &self,
        key: &[u8],
        amount: u64,
        leak: u64,
        capacity: u64,
    ) -> Result<u64, StoreError> {
        self.change(key, |entry, now| {
            let bucket = match &entry {
                Some(entry) => Some(entry.bucket.ok_or(StoreError::WrongKind)?),
                None => None,
            };
            let level = bucket.map_or(0, |(level, last_ms)| {
                (level + amount).saturating_sub(leak * (now - last_ms) / 1000)
            });
            if level > capacity {
                return Ok((level, entry));
            }
            let ttl_ms = match leak {
                0 => 0,
                _ => ((level + amount) * 1000).div_ceil(leak).max(1),
            };
            let bucket = Some((level, now));
            let filled = Entry::of(format!("{level} {now}").as_bytes(), now, ttl_ms);
            Ok((level, Some(Entry { bucket, ..filled })))
        })
    }
}

impl Entry {
    fn of(value: &[u8], now_ms: u64, ttl_ms: u64) -> Entry {
        Entry {
            value: value.to_vec(),
            expires_ms: match ttl_ms {
                0 => u64::MAX,
                ttl_ms => now_ms + ttl_ms,
            },
            bucket: None,
        }
    }
}
