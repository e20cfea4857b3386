//! Plugins are loaded beside the operator: a component may take minutes to compile, and addresses
//! change meanwhile.

use std::collections::HashMap;
use std::time::Duration;

use super::blocking::{FILES, TookTooLong};
use super::candidates::Candidate;
use super::uses;
use crate::config::model::{self, Config};
use crate::plugin::{Hash, Plugin, PluginError};

/// What came of loading plugins that a configuration has, by their names.
#[derive(Default)]
pub(super) struct Loaded {
    plugins: HashMap<String, LoadedAhead>,
    candidates: HashMap<String, Candidate>,
}

/// What came of one of them. Its file is not read again: what it holds by now is another change.
pub(super) enum LoadedAhead {
    /// It is loaded already, with what its file holds.
    Same,
    /// The component of its file. No plugin where its fallback may serve until it is compiled.
    Component {
        hash: Hash,
        plugin: Result<Option<Plugin>, PluginError>,
    },
    /// Its file cannot be read.
    Unreadable(PluginError),
}

impl Loaded {
    pub(super) fn insert(&mut self, name: &str, ahead: LoadedAhead) {
        self.plugins.insert(name.to_owned(), ahead);
    }

    pub(super) fn get(&self, name: &str) -> Option<&LoadedAhead> {
        self.plugins.get(name)
    }

    pub(super) fn take(&mut self, name: &str) -> Option<LoadedAhead> {
        self.plugins.remove(name)
    }

    /// What came of the candidate of a plugin.
    pub(super) fn insert_candidate(&mut self, name: &str, candidate: Candidate) {
        self.candidates.insert(name.to_owned(), candidate);
    }

    pub(super) fn candidate(&self, name: &str) -> Option<&Candidate> {
        self.candidates.get(name)
    }

    pub(super) fn take_candidate(&mut self, name: &str) -> Option<Candidate> {
        self.candidates.remove(name)
    }
}

/// Why a version cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error("the configuration has no such plugin")]
    Unknown,
    #[error("it is a stock plugin, which is part of waypost: give yours another name")]
    Stock,
    #[error(transparent)]
    Plugin(#[from] PluginError),
    #[error(transparent)]
    Late(#[from] TookTooLong),
}

impl LoadError {
    /// What it says of a plugin under a configuration.
    pub(super) fn in_words(&self, config: &Config) -> String {
        match self {
            LoadError::Plugin(error) => uses::in_words(error, config),
            error => error.to_string(),
        }
    }
}

/// For loading plugins one after the other: reading them, and compiling within their bounds.
pub(super) fn loading_limit<'a>(
    plugins: impl IntoIterator<Item = &'a model::PluginConfig>,
) -> Duration {
    // The bound on compiling is on processor time, and a busy machine takes ten times as long.
    let compiling = plugins.into_iter().map(|plugin| {
        let files = 1 + u32::from(plugin.trial.is_some());
        11 * files * plugin.compile.time
    });
    FILES + compiling.sum::<Duration>()
}
