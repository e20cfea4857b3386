//! The plugins at hand, by name: the version in force of each, and the one before it.
//!
//! Loading a version does not put it in force: the operator builds a snapshot with it first, and
//! tells the registry once that snapshot is served. What fails on the way leaves it as it was,
//! but for the reason, which is kept to be shown.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::blocking::{FILES, TookTooLong};
use crate::config::model::{self, Config, PluginCache};
use crate::config::problem::Problem;
use crate::plugin::{
    Compiler, Hash, Plugin, PluginError, PluginOptions, Runtime, default_cache_directory,
};

/// Compiles plugins in processes of their own, and keeps the code where a configuration says.
///
/// # Errors
/// Where the system does not tell which program this is.
pub(super) fn compiler(config: &Config) -> std::io::Result<Compiler> {
    Compiler::child_process(match &config.server.plugin_cache {
        PluginCache::Default => default_cache_directory(),
        PluginCache::Directory(directory) => Some(directory.clone()),
        PluginCache::Off => None,
    })
}

/// The policy that answers where another one fails, unless a plugin's entry says otherwise.
pub(super) const FALLBACK: &str = "round_robin";

/// The version of each plugin that a snapshot is built with, by name.
pub(super) type Selection = HashMap<String, Plugin>;

/// All plugins and their versions.
#[derive(Clone)]
pub(super) struct PluginRegistry {
    pub(super) runtime: Arc<Runtime>,
    entries: BTreeMap<String, RegisteredPlugin>,
}

/// One plugin.
#[derive(Clone)]
pub(super) struct RegisteredPlugin {
    /// `None` for a stock plugin.
    pub(super) config: Option<model::PluginConfig>,
    pub(super) current: Plugin,
    /// The version that was in force before, for a rollback.
    pub(super) previous: Option<Plugin>,
    pub(super) rolled_back: bool,
    pub(super) last_error: Option<String>,
    /// What the file of the configuration held when it was last loaded: a version that was loaded
    /// by hand stays in force until the file itself changes.
    file: Option<Hash>,
    /// The number of the last load, whether it went well or not.
    last_version: u64,
}

impl RegisteredPlugin {
    fn new(config: Option<model::PluginConfig>, current: Plugin) -> RegisteredPlugin {
        RegisteredPlugin {
            file: config.as_ref().map(|_| current.hash()),
            last_version: current.version(),
            config,
            current,
            previous: None,
            rolled_back: false,
            last_error: None,
        }
    }

    /// `live`, `quarantined` or `rolled back`.
    pub(super) fn state(&self) -> &'static str {
        match (self.current.is_quarantined(), self.rolled_back) {
            (true, _) => "quarantined",
            (false, true) => "rolled back",
            (false, false) => "live",
        }
    }

    /// The version that a rollback would return to.
    pub(super) fn version_before(&self) -> Option<&Plugin> {
        self.previous
            .as_ref()
            .filter(|plugin| !plugin.is_quarantined())
    }
}

impl PluginRegistry {
    /// The plugins that a configuration uses, read from their files.
    ///
    /// # Errors
    /// A problem for each that cannot be loaded.
    pub(super) fn new(
        runtime: Arc<Runtime>,
        config: &Config,
    ) -> Result<PluginRegistry, Vec<Problem>> {
        let registry = PluginRegistry {
            runtime,
            entries: BTreeMap::new(),
        };
        registry.for_config(config)
    }

    /// The registry that another configuration needs. Plugins whose file and entry have not changed
    /// stay as they are.
    ///
    /// # Errors
    /// A problem for each that cannot be loaded.
    pub(super) fn for_config(&self, config: &Config) -> Result<PluginRegistry, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut entries = BTreeMap::new();
        for entry in &config.plugins {
            match self.read_again(entry) {
                Ok(known) => drop(entries.insert(entry.name.clone(), known)),
                Err(error) => problems.push(Problem::new(&entry.place, error.to_string())),
            }
        }
        let policies = config
            .upstreams
            .iter()
            .map(|upstream| &*upstream.policy.plugin);
        let fallbacks = config.plugins.iter().map(|plugin| &*plugin.fallback);
        for name in policies.chain(fallbacks).chain([FALLBACK]) {
            let known = self
                .entries
                .get(name)
                .filter(|entry| entry.config.is_none());
            let stock = || {
                self.runtime
                    .stock(name)
                    .map(|plugin| RegisteredPlugin::new(None, plugin))
            };
            if let Some(entry) = known.cloned().or_else(stock) {
                entries.entry(name.to_owned()).or_insert(entry);
            }
        }
        match problems.is_empty() {
            true => Ok(PluginRegistry {
                runtime: self.runtime.clone(),
                entries,
            }),
            false => Err(problems),
        }
    }

    /// The entry for a plugin of the configuration: as it is if neither the file nor what it is
    /// allowed has changed.
    fn read_again(&self, config: &model::PluginConfig) -> Result<RegisteredPlugin, PluginError> {
        let terms = PluginOptions::from(config);
        let bytes = Runtime::read(&config.name, &config.file, &config.compile)?;
        let hash = Hash::of(&bytes);
        let known = self.entries.get(&config.name);
        let Some(known) = known.filter(|entry| entry.config.is_some()) else {
            let plugin = self.runtime.load(&config.name, 1, &bytes, &terms)?;
            return Ok(RegisteredPlugin::new(Some(config.clone()), plugin));
        };
        let mut entry = known.clone();
        entry.config = Some(config.clone());
        if known.file == Some(hash) && *known.current.terms() == terms {
            return Ok(entry);
        }
        let number = known.last_version + 1;
        let plugin = self.runtime.load(&config.name, number, &bytes, &terms)?;
        entry.put(plugin);
        entry.file = Some(hash);
        Ok(entry)
    }

    /// The hash of what the file of a plugin holds, if that is something else than when it was last
    /// loaded. None where it cannot be read: it may be about to be replaced. Blocks.
    pub(super) fn changed_file(&self, name: &str) -> Option<Hash> {
        let entry = self.entries.get(name)?;
        let config = entry.config.as_ref()?;
        let bytes = Runtime::read(name, &config.file, &config.compile).ok()?;
        Some(Hash::of(&bytes)).filter(|hash| entry.file != Some(*hash))
    }

    /// A registry in which a further version of a plugin is in force: `bytes`, or what its file
    /// holds.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(super) fn with_version(
        &self,
        name: &str,
        bytes: Option<&[u8]>,
    ) -> Result<PluginRegistry, LoadError> {
        let entry = self.entries.get(name).ok_or(LoadError::Unknown)?;
        let config = entry.config.as_ref().ok_or(LoadError::Stock)?;
        let from_file;
        let bytes = match bytes {
            Some(bytes) => bytes,
            None => {
                from_file = Runtime::read(name, &config.file, &config.compile)?;
                &from_file
            }
        };
        let number = entry.last_version + 1;
        let plugin = self
            .runtime
            .load(name, number, bytes, &PluginOptions::from(config))?;
        let mut registry = self.clone();
        if let Some(entry) = registry.entries.get_mut(name) {
            entry.put(plugin);
        }
        Ok(registry)
    }

    /// A registry in which the version before is in force again.
    pub(super) fn rolled_back(&self, name: &str) -> Option<PluginRegistry> {
        let mut registry = self.clone();
        let entry = registry.entries.get_mut(name)?;
        let before = entry.version_before()?.clone();
        entry.previous = Some(std::mem::replace(&mut entry.current, before));
        entry.rolled_back = true;
        Some(registry)
    }

    /// Remembers that the file of a plugin was looked at, whatever came of it: it is not tried
    /// again until it changes.
    pub(super) fn note_file(&mut self, name: &str, hash: Hash) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.file = Some(hash);
        }
    }

    /// Keeps the reason why a version did not come into force.
    pub(super) fn note_error(&mut self, name: &str, reason: &str) {
        if let Some(entry) = self.entries.get_mut(name) {
            entry.last_version += 1;
            entry.last_error = Some(reason.to_owned());
        }
    }

    pub(super) fn selection(&self) -> Selection {
        let entries = self.entries.iter();
        entries
            .map(|(name, entry)| (name.clone(), entry.current.clone()))
            .collect()
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, &RegisteredPlugin)> {
        self.entries.iter().map(|(name, entry)| (&**name, entry))
    }

    pub(super) fn get(&self, name: &str) -> Option<&RegisteredPlugin> {
        self.entries.get(name)
    }
}

impl RegisteredPlugin {
    fn put(&mut self, plugin: Plugin) {
        self.last_version = plugin.version();
        self.previous = Some(std::mem::replace(&mut self.current, plugin));
        (self.rolled_back, self.last_error) = (false, None);
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

/// For loading plugins one after the other: reading them, and compiling within their bounds.
pub(super) fn loading_limit<'a>(
    plugins: impl IntoIterator<Item = &'a model::PluginConfig>,
) -> Duration {
    // The bound on compiling is on processor time, and a busy machine takes ten times as long.
    let compiling = plugins.into_iter().map(|plugin| 11 * plugin.compile.time);
    FILES + compiling.sum::<Duration>()
}
