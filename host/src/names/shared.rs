//! What the thread knows, for all others to see.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::handed_on::{Seed, Seeds};
use super::known::NameState;
use super::resolution::{Located, Resolution, ServerAddresses};
use crate::config::model::ServerName;
use crate::metrics::Counter;

/// What the thread knows, for all others to see.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) names: Mutex<BTreeMap<ServerName, Seen>>,
    /// What the process before knew. Until the first configuration is served.
    pub(super) seeds: Mutex<Seeds>,
    pub(super) changed: Notify,
    pub(super) lookups: Lookups,
}

/// How many questions had which outcome. Written by the one thread that asks.
#[derive(Default)]
pub(super) struct Lookups {
    pub(super) found: Counter,
    pub(super) absent: Counter,
    pub(super) failed: Counter,
}

pub(super) struct Seen {
    pub(super) addresses: ServerAddresses,
    pub(super) state: NameState,
}

impl Shared {
    /// What a name was known to stand for before its task began anew, or by the process before: none
    /// if it is new.
    pub(super) fn located(&self, name: &ServerName) -> Option<Arc<[Located]>> {
        if let Some(seen) = self.names.lock().get(name) {
            return Some(seen.addresses.located.clone());
        }
        self.seeds.lock().get(&Seed::of(name)).cloned()
    }

    pub(super) fn has_addresses(&self, name: &ServerName) -> bool {
        let names = self.names.lock();
        names
            .get(name)
            .is_some_and(|seen| !seen.addresses.located.is_empty())
    }

    pub(super) fn resolution(&self) -> Resolution {
        let names = self.names.lock();
        let answered = names
            .iter()
            .map(|(name, seen)| (name.clone(), seen.addresses.clone()));
        Resolution(Arc::new(answered.collect()))
    }
}
