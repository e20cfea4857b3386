//! What the thread knows, for all others to see.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::handed_on::Seeds;
use super::known::NameState;
use super::resolution::{Located, Resolution, ServerAddresses};
use crate::config::model::ServerName;

/// What the thread knows, for all others to see.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) names: Mutex<BTreeMap<ServerName, Seen>>,
    /// What the process before knew. Until the first configuration is served.
    pub(super) seeds: Mutex<Seeds>,
    pub(super) changed: Notify,
}

pub(super) struct Seen {
    pub(super) addresses: ServerAddresses,
    pub(super) state: NameState,
}

impl Shared {
    /// What a name was known to stand for before its task began anew, or before it was to be asked
    /// of others: none if it is new.
    pub(super) fn located(&self, name: &ServerName) -> Option<Arc<[Located]>> {
        let names = self.names.lock();
        let same = names.get(name).or_else(|| {
            let mut others = names.iter();
            let same = others
                .find(|(other, _)| (&other.host, &other.lookup) == (&name.host, &name.lookup));
            same.map(|(_, seen)| seen)
        });
        if let Some(seen) = same {
            return Some(seen.addresses.located.clone());
        }
        let seeds = self.seeds.lock();
        seeds
            .get(&(name.host.clone(), name.lookup.clone()))
            .cloned()
    }

    pub(super) fn resolution(&self) -> Resolution {
        let names = self.names.lock();
        let answered = names
            .iter()
            .map(|(name, seen)| (name.clone(), seen.addresses.clone()));
        Resolution(Arc::new(answered.collect()))
    }
}
