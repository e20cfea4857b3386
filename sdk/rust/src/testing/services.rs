//! What the host does for any plugin: files, the time of day, counters, log lines.

use std::collections::BTreeMap;

use super::Store;
use crate::log::Level;

/// The surroundings of a plugin under test, before it is configured. For more of them, see
/// [`super::Hooked`].
#[derive(Debug, Clone, Default)]
pub struct Services {
    pub(super) wall_ms: u64,
    pub(super) files: BTreeMap<String, Result<Vec<u8>, String>>,
    pub(super) lines: Vec<(Level, String)>,
    pub(super) has_backups: bool,
    pub(super) carries_streams: bool,
    counters: Vec<(String, u64)>,
    pub(super) routes: Option<Vec<String>>,
    upstreams: Option<Vec<String>>,
    bad_hashes: Vec<(String, String)>,
    pub(super) store: Store,
}

impl Services {
    /// No files, 1970, no names of routes and upstreams that are not there.
    pub fn new() -> Self {
        Services::default()
    }

    /// A file, by its path in the settings.
    pub fn file(mut self, path: &str, content: impl AsRef<[u8]>) -> Self {
        let content = content.as_ref().to_vec();
        self.files.insert(path.to_owned(), Ok(content));
        self
    }

    /// A file that cannot be read, and why.
    pub fn unreadable(mut self, path: &str, why: &str) -> Self {
        self.files.insert(path.to_owned(), Err(why.to_owned()));
        self
    }

    /// The time of day, in milliseconds since 1970-01-01 UTC.
    pub fn wall_ms(mut self, wall_ms: u64) -> Self {
        self.wall_ms = wall_ms;
        self
    }

    /// The only names of routes.
    pub fn routes(mut self, names: &[&str]) -> Self {
        self.routes = Some(names.iter().map(|&name| name.to_owned()).collect());
        self
    }

    /// The only names of upstreams.
    pub fn upstreams(mut self, names: &[&str]) -> Self {
        self.upstreams = Some(names.iter().map(|&name| name.to_owned()).collect());
        self
    }

    /// A hash by which no password can be verified, and why. By all others one can.
    pub fn bad_hash(mut self, hash: &str, why: &str) -> Self {
        self.bad_hashes.push((hash.to_owned(), why.to_owned()));
        self
    }

    /// What plugins share; else an empty store that nobody else has.
    pub fn store(mut self, store: &Store) -> Self {
        self.store = store.clone();
        self
    }

    /// The upstream has `backup` servers.
    pub fn backups(mut self) -> Self {
        self.has_backups = true;
        self
    }

    /// Connections of streams are carried, without HTTP.
    pub fn streams(mut self) -> Self {
        self.carries_streams = true;
        self
    }

    pub(super) fn knows_route(&self, name: &str) -> bool {
        is_among(self.routes.as_deref(), name)
    }

    pub(super) fn knows_upstream(&self, name: &str) -> bool {
        is_among(self.upstreams.as_deref(), name)
    }

    pub(super) fn what_is_wrong_with(&self, hash: &str) -> Option<String> {
        let bad = self.bad_hashes.iter().find(|(bad, _)| bad == hash);
        bad.map(|(_, why)| why.clone())
    }

    pub(super) fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        self.files.get(path).cloned().transpose()
    }

    pub(super) fn counter_named(&mut self, name: &str) -> u32 {
        let known = self.counters.iter().position(|(each, _)| each == name);
        let number = known.unwrap_or_else(|| {
            self.counters.push((name.to_owned(), 0));
            self.counters.len() - 1
        });
        u32::try_from(number).unwrap_or(u32::MAX)
    }

    pub(super) fn count(&mut self, counter: u32, value: u64) {
        if let Some((_, sum)) = self.counters.get_mut(counter as usize) {
            *sum += value;
        }
    }

    pub(super) fn counted(&self, name: &str) -> u64 {
        let counter = self.counters.iter().find(|(each, _)| each == name);
        counter.map_or(0, |(_, sum)| *sum)
    }
}

/// Whether a name is among those that the test has given, if it has given any.
fn is_among(names: Option<&[String]>, name: &str) -> bool {
    names.is_none_or(|names| names.iter().any(|each| each == name))
}
