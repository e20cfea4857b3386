//! What plugins share: counters and values that outlive instances, workers and configurations.
//!
//! Each plugin has entries of its own, by its name: [`PluginStore`]. They are in this process
//! ([`embedded`]) unless the configuration says where else.

mod bucket; // a leaky bucket, as arithmetic
mod embedded; // entries in this process
mod shard; // ... and a part of them

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

pub use self::bucket::Pour;
pub use self::embedded::{Entries, Figures};

/// Bytes of a key that is kept as it is; longer ones are kept by their hash.
const PLAIN_KEY: usize = 256;
/// Bytes of a key, and of a value.
const LONGEST: usize = 64 << 10;

/// Why nothing was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    #[error("there is no room")]
    Full,
    #[error("the store does not answer")]
    Unavailable,
    #[error("the key or the value is too large")]
    TooLarge,
    #[error("the entry is of another kind")]
    WrongKind,
}

/// The entries of all plugins. One for the process.
pub struct Store {
    /// Where the clock of this process stands at 0.
    epoch: Instant,
    by_plugin: Mutex<Plugins>,
}

struct Plugins {
    /// Bytes that each may have.
    size: usize,
    entries: HashMap<String, Arc<Entries>>,
}

impl Default for Store {
    fn default() -> Store {
        Store::new(DEFAULT_SIZE)
    }
}

/// As the configuration's default.
const DEFAULT_SIZE: usize = 32 << 20;

impl Store {
    /// With so many bytes for each plugin.
    pub fn new(size: usize) -> Store {
        Store {
            epoch: Instant::now(),
            by_plugin: Mutex::new(Plugins {
                size,
                entries: HashMap::new(),
            }),
        }
    }

    /// The bytes that each plugin may have from now on. Nothing is dropped where it has more.
    pub fn set_size(&self, size: usize) {
        let mut plugins = self.by_plugin.lock();
        plugins.size = size;
        for entries in plugins.entries.values() {
            entries.set_size(size);
        }
    }

    /// The part of a plugin, by its name.
    pub fn of_plugin(&self, plugin: &str) -> PluginStore {
        let mut plugins = self.by_plugin.lock();
        let size = plugins.size;
        let entries = plugins.entries.entry(plugin.to_owned());
        PluginStore {
            epoch: self.epoch,
            entries: entries
                .or_insert_with(|| Arc::new(Entries::new(size)))
                .clone(),
        }
    }

    /// What is in it, by plugin, in the order of their names.
    pub fn figures(&self) -> Vec<(String, Figures)> {
        let plugins = self.by_plugin.lock();
        let each = plugins.entries.iter();
        let mut all: Vec<_> = each
            .map(|(name, entries)| (name.clone(), entries.figures()))
            .collect();
        all.sort_unstable_by(|one, other| one.0.cmp(&other.0));
        all
    }
}

/// The entries of one plugin, as its instances reach them.
#[derive(Clone)]
pub struct PluginStore {
    epoch: Instant,
    pub entries: Arc<Entries>,
}

impl PluginStore {
    /// One that nothing else shares, as trials have: there is little in them.
    pub fn apart() -> PluginStore {
        Store::default().of_plugin("")
    }

    /// Milliseconds by which entries expire.
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
