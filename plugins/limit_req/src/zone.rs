//! A zone: the buckets of one key at one rate, within a bound on their memory.

use waypost_sdk::{Entry, KeyTable, Template};

use crate::bucket::{Bucket, Rate};

/// Buckets by key.
pub(crate) struct Zone {
    /// What log lines call it.
    pub(crate) name: String,
    /// The key as it is written.
    pub(crate) key: String,
    pub(crate) template: Template,
    pub(crate) rate: Rate,
    pub(crate) buckets: KeyTable<Bucket>,
    /// Buckets that had to make room although they were not empty.
    pub(crate) evicted: u64,
}

/// What a zone has to say of one more request.
pub(crate) enum Found {
    /// It is within the burst, and may be counted in this bucket.
    Within(Entry),
    /// It is not; the excess that it would make.
    Over(i64),
    /// The key is longer than all of the zone.
    NoRoom,
}

impl Zone {
    /// Looks a key up, which becomes the one that was used last, and counts nothing
    /// (`ngx_http_limit_req_lookup`).
    pub(crate) fn look_up(&mut self, key: &[u8], burst: i64, now_ms: i64) -> Found {
        if let Some(entry) = self.buckets.find(key) {
            let excess = self.buckets.value(entry).with_one_more(self.rate, now_ms);
            return match excess > burst {
                true => Found::Over(excess),
                false => Found::Within(entry),
            };
        }
        self.drop_stale(now_ms);
        match self.insert(key, Bucket::default(), now_ms) {
            Some(entry) => Found::Within(entry),
            None => Found::NoRoom,
        }
    }

    /// Counts the request in a bucket that was looked up, and answers the excess.
    pub(crate) fn count(&mut self, entry: Entry, now_ms: i64) -> i64 {
        self.buckets.value_mut(entry).count(self.rate, now_ms)
    }

    /// Adds a bucket. Those that were not used for the longest time make room.
    pub(crate) fn insert(&mut self, key: &[u8], bucket: Bucket, now_ms: i64) -> Option<Entry> {
        while !self.buckets.has_room(key) {
            let oldest = self.buckets.oldest()?;
            if !self.buckets.value(oldest).is_forgotten(self.rate, now_ms) {
                self.evicted += 1;
            }
            self.buckets.remove(oldest);
            self.drop_stale(now_ms);
        }
        self.buckets.insert(key, bucket)
    }

    /// Up to two, as in nginx: each new key takes away more than it adds while there is something
    /// to take.
    fn drop_stale(&mut self, now_ms: i64) {
        for _ in 0..2 {
            let Some(oldest) = self.buckets.oldest() else {
                return;
            };
            if !self.buckets.value(oldest).is_stale(self.rate, now_ms) {
                return;
            }
            self.buckets.remove(oldest);
        }
    }
}
