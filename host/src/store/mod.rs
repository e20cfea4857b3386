//! What plugins share: counters and values that outlive instances, workers and configurations.
//!
//! Each plugin has entries of its own, by its name: [`PluginStore`]. They are in this process
//! ([`embedded`]) unless the configuration says where else.

mod bucket; // a leaky bucket, as arithmetic
mod key; // keys as they are kept
mod embedded; // entries in this process
mod shard; // ... and a part of them
mod remote; // entries elsewhere

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use parking_lot::Mutex;

pub use self::bucket::Pour;
pub use self::embedded::{Entries, Figures};
pub use self::remote::{Remote, RemoteFigures};
use crate::config::model::StoreConfig;
use crate::names::Names;

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
    /// Where they are, if not here.
    remote: Option<Arc<Remote>>,
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
    /// In this process, with so many bytes for each plugin.
    pub fn new(size: usize) -> Store {
        Store {
            epoch: Instant::now(),
            by_plugin: Mutex::new(Plugins {
                size,
                entries: HashMap::new(),
            }),
            remote: None,
        }
    }

    /// As a configuration has it. One that is elsewhere does not answer before it is
    /// [started](Store::start).
    pub fn of(config: &StoreConfig) -> Store {
        Store {
            remote: (config.remote.clone()).map(|settings| Arc::new(Remote::new(settings))),
            ..Store::new(usize::try_from(config.size).unwrap_or(usize::MAX))
        }
    }

    /// Begins to ask a store that is elsewhere.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(crate) fn start(&self, names: &Names) -> std::io::Result<()> {
        let remote = self.remote.as_ref();
        remote.map_or(Ok(()), |remote| remote.start(Some(names.clone())))
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
        if let Some(remote) = &self.remote {
            let name = format!("{}:{plugin}", remote.prefix());
            return PluginStore::Remote(RemoteEntries {
                remote: remote.clone(),
                name: name.into(),
            });
        }
        let mut plugins = self.by_plugin.lock();
        let size = plugins.size;
        let entries = plugins.entries.entry(plugin.to_owned());
        let entries = entries.or_insert_with(|| Arc::new(Entries::new(size)));
        PluginStore::Embedded(EmbeddedEntries {
            epoch: self.epoch,
            entries: entries.clone(),
        })
    }

    /// How a store that is elsewhere does.
    pub fn remote_figures(&self) -> Option<RemoteFigures> {
        self.remote.as_ref().map(|remote| remote.figures())
    }
}

/// The entries of one plugin, as its instances reach them.
#[derive(Clone)]
pub enum PluginStore {
    Embedded(EmbeddedEntries),
    Remote(RemoteEntries),
    Untold(UntoldEntries),
}

/// Entries of which nothing is told, and that stay as they are: it is noted that they were asked for.
#[derive(Clone)]
pub struct UntoldEntries {
    is_elsewhere: bool,
    was_asked: Arc<AtomicBool>,
}

impl UntoldEntries {
    pub fn note_asked(&self) {
        self.was_asked.store(true, Relaxed);
    }
}

/// Entries in this process, which are there at once.
#[derive(Clone)]
pub struct EmbeddedEntries {
    epoch: Instant,
    pub entries: Arc<Entries>,
}

/// Entries elsewhere, which are waited for.
#[derive(Clone)]
pub struct RemoteEntries {
    remote: Arc<Remote>,
    /// What all their names begin with.
    name: Arc<str>,
}

impl PluginStore {
    /// One that nothing else shares, as trials have: there is little in it.
    pub fn apart() -> PluginStore {
        Store::default().of_plugin("")
    }

    /// The same, of which nothing is told.
    pub fn untold(&self) -> PluginStore {
        PluginStore::Untold(UntoldEntries {
            is_elsewhere: self.is_elsewhere(),
            was_asked: Arc::default(),
        })
    }

    /// Whether what is not told was asked for.
    pub fn was_asked_in_vain(&self) -> bool {
        matches!(self, PluginStore::Untold(untold) if untold.was_asked.load(Relaxed))
    }

    /// Whether it is waited for.
    pub fn is_elsewhere(&self) -> bool {
        match self {
            PluginStore::Embedded(_) => false,
            PluginStore::Remote(_) => true,
            PluginStore::Untold(untold) => untold.is_elsewhere,
        }
    }

    /// What is in it; none where that is not known.
    pub fn figures(&self) -> Option<Figures> {
        match self {
            PluginStore::Embedded(store) => Some(store.entries.figures()),
            PluginStore::Remote(_) | PluginStore::Untold(_) => None,
        }
    }
}

impl EmbeddedEntries {
    /// Milliseconds by which entries expire.
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// Each as the contract has it.
impl RemoteEntries {
    pub async fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.remote.get(key::name(&self.name, key)?).await
    }

    pub async fn set(&self, key: &[u8], value: Vec<u8>, ttl_ms: u64) -> Result<(), StoreError> {
        check_value(&value)?;
        let name = key::name(&self.name, key)?;
        self.remote.set(name, value, ttl_ms).await
    }

    pub async fn add(&self, key: &[u8], amount: i64, ttl_ms: u64) -> Result<i64, StoreError> {
        let name = key::name(&self.name, key)?;
        self.remote.add(name, amount, ttl_ms).await
    }

    pub async fn compare_and_swap(
        &self,
        key: &[u8],
        expected: Option<Vec<u8>>,
        value: Vec<u8>,
        ttl_ms: u64,
    ) -> Result<bool, StoreError> {
        check_value(&value)?;
        if expected
            .as_ref()
            .is_some_and(|expected| expected.len() > LONGEST)
        {
            return Ok(false); // no value is like this
        }
        let name = key::name(&self.name, key)?;
        let swap = self.remote.compare_and_swap(name, expected, value, ttl_ms);
        swap.await
    }

    pub async fn delete(&self, key: &[u8]) -> Result<bool, StoreError> {
        self.remote.delete(key::name(&self.name, key)?).await
    }

    pub async fn fill(&self, key: &[u8], pour: Pour) -> Result<u64, StoreError> {
        self.remote.fill(key::name(&self.name, key)?, pour).await
    }
}

fn check_value(value: &[u8]) -> Result<(), StoreError> {
    match value.len() <= LONGEST {
        true => Ok(()),
        false => Err(StoreError::TooLarge),
    }
}
