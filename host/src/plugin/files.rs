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

struct Known {
    content: Content,
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
        settings.for_each(|settings| collect(settings, &mut named));
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
        if let Some(known) = self.known.lock().get(path) {
            return Ok(known.content.clone());
        }
        let content = self.content(path)?;
        let generation = self.generation.load(Relaxed);
        let known = Known {
            content: content.clone(),
            generation,
        };
        self.known.lock().insert(path.into(), known);
        Ok(content)
    }

    fn content(&self, path: &str) -> Result<Content, String> {
        match file::read_regular(&self.directory.join(path), MOST) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(format!("cannot read `{path}`: {}", reason(&error))),
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
        let paths: Vec<Arc<str>> = self.known.lock().keys().cloned().collect();
        let mut any = false;
        for path in paths {
            // What cannot be read is as good as gone, and the plugin hears so.
            let content = self.content(&path).unwrap_or_else(|error| {
                tracing::warn!("{error}");
                None
            });
            let mut known = self.known.lock();
            let changed = known
                .get_mut(&path)
                .filter(|known| known.content != content);
            if let Some(known) = changed {
                let generation = self.generation.fetch_add(1, Relaxed) + 1;
                *known = Known {
                    content,
                    generation,
                };
                any = true;
            }
        }
        any
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
            .map(|(path, known)| (path.clone(), known.content.clone()))
            .collect()
    }
}

fn collect(settings: &Value, named: &mut BTreeSet<String>) {
    match settings {
        Value::String(text) => drop(named.insert(text.clone())),
        Value::Array(items) => items.iter().for_each(|item| collect(item, named)),
        Value::Object(entries) => entries.values().for_each(|value| collect(value, named)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
