//! The files that a plugin's settings name: read and watched by the control plane, their content
//! kept for the instances.
//!
//! A plugin may read what the operator wrote in its settings, and nothing else. Files are read for
//! the first time while the plugin is configured, which no request waits for; an instance that is
//! made later gets what is kept.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;
use serde_json::Value;

use super::settings_texts::each_text;
use crate::config::reason;
use crate::file;

/// Bytes of one file.
const MOST: u64 = 16 << 20;

/// The content of a file; none where it does not exist.
type Content = Option<Arc<[u8]>>;

/// The files of one use of a plugin, for all of its instances.
pub struct PluginFiles {
    /// What relative paths are relative to.
    directory: PathBuf,
    /// The texts in the settings.
    named: BTreeSet<String>,
    known: Mutex<BTreeMap<Arc<str>, Known>>,
    /// Counts changes.
    generation: AtomicU64,
    /// The newest change that an instance has heard of.
    heard: AtomicU64,
}

#[derive(PartialEq, Eq)]
struct State {
    /// None where it does not exist or cannot be read, and where nobody has read it.
    content: Content,
    /// Also what cannot be read.
    is_there: bool,
}

impl State {
    /// Of what could be read, or does not exist.
    fn of(content: Content) -> State {
        State {
            is_there: content.is_some(),
            content,
        }
    }
}

struct Known {
    state: State,
    /// Its content was asked for, not only whether it is there.
    is_read: bool,
    /// The change that brought it.
    generation: u64,
}

impl PluginFiles {
    /// Those that these settings name.
    pub fn named_in<'a>(
        settings: impl Iterator<Item = &'a Value>,
        directory: &Path,
    ) -> Arc<PluginFiles> {
        let mut named = BTreeSet::new();
        for settings in settings {
            each_text(settings, &mut |text| _ = named.insert(text.to_owned()));
        }
        Arc::new(PluginFiles {
            directory: directory.to_owned(),
            named,
            known: Mutex::default(),
            generation: AtomicU64::new(0),
            heard: AtomicU64::new(0),
        })
    }

    /// See `files.read` in the WIT.
    pub(super) fn read(&self, path: &str) -> Result<Content, String> {
        if !self.named.contains(path) {
            return Err(format!("its settings do not name `{path}`"));
        }
        if let Some(known) = self.known.lock().get(path).filter(|known| known.is_read) {
            return Ok(known.state.content.clone());
        }
        let content = self.content(path)?;
        self.know(path, State::of(content.clone()), true);
        Ok(content)
    }

    /// See `files.is-there` in the WIT. `may_look`: at a path that is not known yet, which may take
    /// a while.
    pub(super) fn is_there(&self, path: &str, may_look: bool) -> bool {
        if let Some(known) = self.known.lock().get(path) {
            return known.state.is_there;
        }
        if !may_look || !self.named.contains(path) {
            return false;
        }
        let state = self.state(path, false);
        let is_there = state.is_there;
        self.know(path, state, false);
        is_there
    }

    fn know(&self, path: &str, state: State, is_read: bool) {
        let known = Known {
            state,
            is_read,
            generation: self.generation.load(Relaxed),
        };
        self.known.lock().insert(path.into(), known);
    }

    fn content(&self, path: &str) -> Result<Content, String> {
        match file::read_regular(&self.directory.join(path), MOST) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(reason(&error)),
        }
    }

    /// Those that were read, to be watched.
    pub fn paths(&self) -> Vec<PathBuf> {
        let known = self.known.lock();
        known
            .keys()
            .map(|path| self.directory.join(&**path))
            .collect()
    }

    /// Reads them again; true if one has changed. Blocks.
    pub fn refresh(&self) -> bool {
        let known = self.known.lock();
        let paths = known
            .iter()
            .map(|(path, known)| (path.clone(), known.is_read));
        let paths: Vec<(Arc<str>, bool)> = paths.collect();
        drop(known);
        let mut any = false;
        for (path, is_read) in paths {
            let state = self.state(&path, is_read);
            let mut known = self.known.lock();
            let changed = known.get_mut(&path).filter(|known| known.state != state);
            if let Some(known) = changed {
                known.state = state;
                known.generation = self.generation.fetch_add(1, Relaxed) + 1;
                any = true;
            }
        }
        any
    }

    /// What is at a path now.
    fn state(&self, path: &str, is_read: bool) -> State {
        if !is_read {
            return State {
                content: None,
                is_there: self.directory.join(path).metadata().is_ok(),
            };
        }
        match self.content(path) {
            Ok(content) => State::of(content),
            // What cannot be read has no content, and the plugin hears so.
            Err(error) => {
                tracing::warn!("cannot read `{path}`: {error}");
                State {
                    content: None,
                    is_there: true,
                }
            }
        }
    }

    /// Counts changes: another number than before tells that there was one.
    #[inline]
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Relaxed)
    }

    /// An instance hears of all changes up to that one: whether it is the first of all.
    pub(super) fn note_heard(&self, generation: u64) -> bool {
        self.heard.fetch_max(generation, Relaxed) < generation
    }

    /// What has changed since.
    pub(super) fn changed_since(&self, generation: u64) -> Vec<(Arc<str>, Content)> {
        let known = self.known.lock();
        let changed = known
            .iter()
            .filter(|(_, known)| known.generation > generation);
        changed
            .map(|(path, known)| (path.clone(), known.state.content.clone()))
            .collect()
    }
}
