//! The loaded plugins, by name: the version in force of each, and the one before it.
//!
//! Loading a version does not put it in force: the operator builds a snapshot with it first, and
//! tells the registry once that snapshot is served. What fails on the way leaves it as it was,
//! but for the reason, which is kept to be shown.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::loading::{LoadError, Loaded, LoadedAhead};
use super::registered::{RegisteredPlugin, WaitingPlugin, is_allowed};
use super::uses;
use crate::config::model::{self, Config, Fallback, PluginCache, TrialTerms};
use crate::config::problem::{Place, Problem, suggestion};
use crate::fault_injection;
use crate::plugin::{
    Compiler, Hash, Plugin, PluginError, PluginEventKind, PluginOptions, Runtime, SignedIn, Trial,
    Untrusted, default_cache_directory,
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

/// The names of the plugins that a configuration uses; some more than once.
fn used_plugins(config: &Config) -> impl Iterator<Item = &str> {
    let policies = config.upstreams.iter().map(|upstream| &upstream.policy);
    let of_policies = policies.flat_map(|policy| {
        let fallback = policy.fallback.as_ref().and_then(Fallback::policy);
        std::iter::once(&*policy.plugin).chain(fallback)
    });
    let fallbacks = config.plugins.iter();
    let fallbacks = fallbacks.filter_map(|plugin| plugin.fallback.policy());
    of_policies.chain(fallbacks).chain(without_fallback(config))
}

/// The names of the plugins in whose place no other one can serve: filters, scorers, hooks,
/// components.
fn without_fallback(config: &Config) -> impl Iterator<Item = &str> {
    let policies = config.upstreams.iter().map(|upstream| &upstream.policy);
    let narrowing = policies.flat_map(|policy| {
        let scorers = policy.scorers.iter().map(|scorer| &scorer.scorer);
        policy.filters.iter().chain(scorers)
    });
    let narrowing = narrowing.map(|part| &*part.plugin);
    let hooks = config.hooks.iter().map(|hook| &*hook.plugin);
    let components = config.components.iter().map(|component| &*component.plugin);
    narrowing.chain(hooks).chain(components)
}

/// The key that has signed what the file of a plugin holds, if one has to.
///
/// # Errors
/// It is not what the entry of the plugin trusts.
pub(super) fn signer_of_file<'a>(
    config: &'a model::PluginConfig,
    bytes: &[u8],
) -> Result<Option<&'a str>, PluginError> {
    let trust = &config.trust;
    let signature = trust.signature_of(&config.file);
    trust.signer(&config.name, bytes, SignedIn::File(&signature))
}

/// Whether the fallback of a plugin may serve while it is compiled.
fn may_wait(plugin: &model::PluginConfig, config: &Config) -> bool {
    plugin.starts_with_fallback && without_fallback(config).all(|name| name != plugin.name)
}

/// What there is of a plugin that a configuration has.
enum Found {
    Entry(Box<RegisteredPlugin>),
    Waiting(Box<WaitingPlugin>),
}

/// All plugins and their versions.
#[derive(Clone)]
pub(super) struct PluginRegistry {
    pub(super) runtime: Arc<Runtime>,
    entries: BTreeMap<String, RegisteredPlugin>,
    /// Those that are not compiled yet: their fallbacks serve.
    waiting: BTreeMap<String, WaitingPlugin>,
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
        PluginRegistry::empty(runtime).for_config(config, Loaded::default())
    }

    /// Without any plugin.
    pub(super) fn empty(runtime: Arc<Runtime>) -> PluginRegistry {
        PluginRegistry {
            runtime,
            entries: BTreeMap::new(),
            waiting: BTreeMap::new(),
        }
    }

    /// The registry that another configuration needs. Plugins whose file and entry have not changed
    /// stay as they are, those that were `loaded` ahead are not loaded again.
    ///
    /// # Errors
    /// A problem for each that cannot be loaded.
    pub(super) fn for_config(
        &self,
        config: &Config,
        loaded: Loaded,
    ) -> Result<PluginRegistry, Vec<Problem>> {
        match self.gather(config, true, loaded) {
            (registry, problems) if problems.is_empty() => Ok(registry),
            (_, problems) => Err(problems),
        }
    }

    /// As [`for_config`](PluginRegistry::for_config), without the plugins that cannot be loaded; a
    /// problem for each of those. With `fallbacks`, plugins whose entry says so are not waited for
    /// while they are compiled.
    pub(super) fn gather(
        &self,
        config: &Config,
        fallbacks: bool,
        mut loaded: Loaded,
    ) -> (PluginRegistry, Vec<Problem>) {
        let mut problems = Vec::new();
        let (mut entries, mut waiting) = (BTreeMap::new(), BTreeMap::new());
        for entry in &config.plugins {
            let may_wait = fallbacks && may_wait(entry, config);
            let mut place = &entry.place;
            let ahead = loaded.take(&entry.name);
            let ahead = ahead.unwrap_or_else(|| self.load_now(entry, may_wait));
            let candidate = loaded.take_candidate(&entry.name);
            let candidate = candidate.unwrap_or_else(|| self.load_candidate(entry, &ahead));
            let found = self
                .read_again(entry, may_wait, ahead)
                .and_then(|mut found| {
                    if let Found::Entry(known) = &mut found
                        && let Err(error) = known.try_candidate(entry, candidate)
                    {
                        place = entry.trial.as_ref().map_or(place, |trial| &trial.place);
                        return Err(error);
                    }
                    Ok(found)
                });
            match found {
                Ok(Found::Entry(known)) => drop(entries.insert(entry.name.clone(), *known)),
                Ok(Found::Waiting(plugin)) => drop(waiting.insert(entry.name.clone(), *plugin)),
                Err(error) => {
                    let number = self.next_number(&entry.name);
                    let history = self.runtime.history(&entry.name);
                    let reason = uses::in_words(&error, config);
                    let told = Untrusted::message(&reason);
                    history.note(number, PluginEventKind::Refused, told);
                    let mut problem = Problem::new(place, reason);
                    problem.hint = error.hint().map(str::to_owned);
                    problems.push(problem);
                }
            }
        }
        for name in used_plugins(config).chain([FALLBACK]) {
            let known = self
                .entries
                .get(name)
                .filter(|entry| entry.config.is_none());
            let entry = match known {
                Some(entry) => Some(entry.clone()),
                None => match self.runtime.stock(name) {
                    Ok(stock) => stock.map(|plugin| RegisteredPlugin::new(None, plugin)),
                    Err(error) => {
                        problems.push(Problem::new(&Place::default(), error.to_string()));
                        None
                    }
                },
            };
            if let Some(entry) = entry {
                entries.entry(name.to_owned()).or_insert(entry);
            }
        }
        let registry = PluginRegistry {
            runtime: self.runtime.clone(),
            entries,
            waiting,
        };
        (registry, problems)
    }

    /// The entry for a plugin of the configuration: as it is if neither the file nor what it is
    /// allowed has changed; or that of one that is compiled while its `fallback` serves, if that may be.
    fn read_again(
        &self,
        config: &model::PluginConfig,
        fallback: bool,
        ahead: LoadedAhead,
    ) -> Result<Found, PluginError> {
        let known = self.configured(&config.name);
        let (hash, plugin) = match (ahead, known) {
            (LoadedAhead::Unreadable(error), _) => return Err(error),
            (LoadedAhead::Component { hash, plugin }, _) => (hash, plugin?),
            (LoadedAhead::Same, Some(known)) => {
                let config = Some(config.clone());
                let entry = known.clone();
                return Ok(Found::Entry(Box::new(RegisteredPlugin { config, ..entry })));
            }
            (LoadedAhead::Same, None) => {
                let ahead = self.load_now(config, fallback);
                return self.read_again(config, fallback, ahead);
            }
        };
        let config = config.clone();
        Ok(match (plugin, known) {
            (Some(plugin), Some(known)) => {
                let mut entry = known.clone();
                entry.config = Some(config);
                entry.put(plugin);
                entry.file = Some(hash);
                Found::Entry(Box::new(entry))
            }
            (Some(plugin), None) => {
                Found::Entry(Box::new(RegisteredPlugin::new(Some(config), plugin)))
            }
            (None, _) => Found::Waiting(Box::new(WaitingPlugin {
                config,
                file: hash,
                is_refused: false,
            })),
        })
    }

    /// The plugin of the configuration's that is loaded by this name.
    fn configured(&self, name: &str) -> Option<&RegisteredPlugin> {
        self.entries
            .get(name)
            .filter(|entry| entry.config.is_some())
    }

    /// Loads what a plugin's file holds, unless it is loaded: as the next version. `fallback`: a new
    /// one that is not compiled yet is not waited for.
    fn load_now(&self, config: &model::PluginConfig, fallback: bool) -> LoadedAhead {
        let (name, known) = (&config.name, self.configured(&config.name));
        let bytes = match Runtime::read(name, &config.file, &config.compile) {
            Ok(bytes) => bytes,
            Err(error) => return LoadedAhead::Unreadable(error),
        };
        let (hash, options) = (Hash::of(&bytes), PluginOptions::from(config));
        if known.is_some_and(|known| known.file == Some(hash) && known.is_allowed(config)) {
            return LoadedAhead::Same;
        }
        fault_injection::waits("load");
        let number = self.next_number(name);
        let plugin = signer_of_file(config, &bytes).and_then(|signer| {
            let plugin = match fallback && known.is_none() {
                true => self.runtime.load_compiled(name, number, &bytes, &options)?,
                false => Some(self.runtime.load(name, number, &bytes, &options)?),
            };
            Ok(plugin.map(|plugin| plugin.signed_by(signer)))
        });
        LoadedAhead::Component { hash, plugin }
    }

    /// Whether what was loaded ahead comes next, for each plugin of a configuration: other versions
    /// may have come into force meanwhile. Only then [`for_config`](PluginRegistry::for_config) need
    /// not load anything.
    pub(super) fn awaits(&self, loaded: &Loaded, config: &Config) -> bool {
        config.plugins.iter().all(|entry| {
            if !self.awaits_candidate(loaded, entry) {
                return false;
            }
            let known = self.configured(&entry.name);
            match loaded.get(&entry.name) {
                Some(LoadedAhead::Same) => known.is_some_and(|known| known.is_allowed(entry)),
                Some(LoadedAhead::Component { plugin, .. }) => match plugin {
                    Ok(Some(plugin)) => plugin.version() == self.next_number(&entry.name),
                    Ok(None) => known.is_none(),
                    Err(_) => true, // the configuration is refused
                },
                Some(LoadedAhead::Unreadable(_)) => true,
                None => false,
            }
        })
    }

    /// Loads the plugins that a configuration has and this registry has not. Blocks, for as long as
    /// compilers take.
    pub(super) fn load_ahead(&self, config: &Config) -> Loaded {
        let mut loaded = Loaded::default();
        for entry in &config.plugins {
            let ahead = self.load_now(entry, may_wait(entry, config));
            let candidate = self.load_candidate(entry, &ahead);
            loaded.insert_candidate(&entry.name, candidate);
            loaded.insert(&entry.name, ahead);
        }
        loaded
    }

    /// A further version of a plugin, which its file holds, and the hash of that. None where that is
    /// what it held when it was last loaded, or where it cannot be read: it may be about to be replaced.
    /// Blocks, for as long as compilers take.
    pub(super) fn version_of_file(&self, name: &str) -> Option<(Result<Plugin, LoadError>, Hash)> {
        let (config, last) = match (self.entries.get(name), self.waiting.get(name)) {
            (Some(entry), _) => (entry.config.as_ref()?, entry.file),
            (None, Some(waiting)) if waiting.is_refused => (&waiting.config, None),
            // One that is being compiled comes by itself.
            _ => return None,
        };
        let bytes = Runtime::read(name, &config.file, &config.compile).ok()?;
        let hash = Hash::of(&bytes);
        let signature = config.trust.signature_of(&config.file);
        let signature = SignedIn::File(&signature);
        (last != Some(hash)).then(|| (self.next_version(name, &bytes, signature), hash))
    }

    /// A further version of a plugin. Blocks, for as long as compilers take.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub(super) fn next_version(
        &self,
        name: &str,
        bytes: &[u8],
        signature: SignedIn<'_>,
    ) -> Result<Plugin, LoadError> {
        fault_injection::waits("load");
        let config = self.entry_to_load(name)?;
        let signer = config.trust.signer(name, bytes, signature)?;
        let number = self.next_number(name);
        let options = PluginOptions::from(config);
        let plugin = self.runtime.load(name, number, bytes, &options)?;
        Ok(plugin.signed_by(signer))
    }

    /// The number of the version of a plugin that is loaded next.
    pub(super) fn next_number(&self, name: &str) -> u64 {
        let known = self.entries.get(name);
        known.map_or(1, |entry| entry.last_version + 1)
    }

    /// Whether a version that was loaded can come behind those that were loaded by now, and is allowed
    /// what the configuration allows it now.
    ///
    /// # Errors
    /// The configuration has it no longer.
    pub(super) fn comes_next(&self, plugin: &Plugin) -> Result<bool, LoadError> {
        let config = self.entry_to_load(plugin.name())?;
        let is_next = plugin.version() == self.next_number(plugin.name());
        Ok(is_next && is_allowed(plugin, config))
    }

    /// The entry of the configuration for a plugin of which another version is to be loaded.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn entry_to_load(&self, name: &str) -> Result<&model::PluginConfig, LoadError> {
        match (self.entries.get(name), self.waiting.get(name)) {
            (Some(entry), _) => entry.config.as_ref().ok_or(LoadError::Stock),
            (None, Some(waiting)) => Ok(&waiting.config),
            (None, None) => Err(LoadError::Unknown),
        }
    }

    /// What the configuration does not have, and what it has in its place.
    pub(super) fn unknown(&self, name: &str) -> String {
        let known = self.entries.iter();
        let known = known.filter(|(_, entry)| entry.config.is_some());
        let known = known.map(|(name, _)| name).chain(self.waiting.keys());
        let near = suggestion(name, known.map(String::as_str), "its plugins are");
        format!("plugin `{name}`; {near}")
    }

    /// A registry in which this version is in force.
    pub(super) fn with(&self, plugin: Plugin) -> PluginRegistry {
        let mut registry = self.clone();
        let name = plugin.name().to_owned();
        if let Some(entry) = registry.entries.get_mut(&name) {
            entry.put(plugin);
        } else if let Some(WaitingPlugin { config, file, .. }) = registry.waiting.remove(&name) {
            let mut entry = RegisteredPlugin::new(Some(config), plugin);
            entry.file = Some(file);
            registry.entries.insert(name, entry);
        }
        registry
    }

    /// Whether a plugin that was compiled is still waited for. `read`: the hash of its file when that
    /// began, as a configuration was read. Another version may serve by now, or another configuration
    /// have been read.
    pub(super) fn waits_for(&self, plugin: &Plugin, read: Hash) -> bool {
        let waiting = self.waiting.get(plugin.name());
        waiting.is_some_and(|waiting| waiting.file == read && is_allowed(plugin, &waiting.config))
    }

    /// The plugins that are to be compiled, each with the hash of its file when its configuration was
    /// read.
    pub(super) fn waited_for(&self) -> impl Iterator<Item = (&model::PluginConfig, Hash)> {
        let waited_for = self.waiting.values().filter(|waiting| !waiting.is_refused);
        waited_for.map(|waiting| (&waiting.config, waiting.file))
    }

    /// Those that are not compiled yet, or cannot be.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (&str, &WaitingPlugin)> {
        self.waiting
            .iter()
            .map(|(name, waiting)| (&**name, waiting))
    }

    /// A plugin that was waited for cannot be used.
    pub(super) fn refuse(&mut self, name: &str, reason: &str) {
        if let Some(waiting) = self.waiting.get_mut(name) {
            waiting.is_refused = true;
            let (history, reason) = (self.runtime.history(name), Untrusted::message(reason));
            history.note(1, PluginEventKind::Refused, reason);
        }
    }

    /// A registry in which the version before is in force again.
    pub(super) fn rolled_back(&self, name: &str) -> Option<PluginRegistry> {
        let mut registry = self.clone();
        let entry = registry.entries.get_mut(name)?;
        let before = entry.version_before()?.clone();
        entry.previous = Some(std::mem::replace(&mut entry.current, before));
        entry.rolled_back = true;
        entry.promoted_from = None;
        entry.on_trial = None;
        Some(registry)
    }

    /// A registry in which a version is tried.
    pub(super) fn with_trial(&self, plugin: Plugin, terms: TrialTerms) -> PluginRegistry {
        let mut registry = self.clone();
        if let Some(entry) = registry.entries.get_mut(plugin.name()) {
            entry.try_version(plugin, terms, false);
        }
        registry
    }

    /// A registry in which the version on trial serves; none where there is none.
    pub(super) fn promoted(&self, name: &str) -> Option<PluginRegistry> {
        let mut registry = self.clone();
        let entry = registry.entries.get_mut(name)?;
        let on_trial = entry.on_trial.take()?;
        let last_version = entry.last_version;
        entry.put(on_trial.trial.candidate().clone());
        entry.last_version = last_version;
        entry.promoted_from = Some(on_trial.trial.in_words());
        Some(registry)
    }

    /// A registry in which nothing is on trial for a plugin; none where there is nothing.
    pub(super) fn withdrawn(&self, name: &str, why: &str) -> Option<PluginRegistry> {
        let mut registry = self.clone();
        let entry = registry.entries.get_mut(name)?;
        let on_trial = entry.on_trial.take()?;
        let trial = on_trial.trial;
        entry.withdrawn = on_trial
            .of_config
            .then(|| (trial.candidate().hash(), *trial.terms()));
        entry.why_withdrawn = Some(why.to_owned());
        Some(registry)
    }

    /// What is on trial.
    pub(super) fn trials(&self) -> Vec<Arc<Trial>> {
        let on_trial = self
            .entries
            .values()
            .filter_map(|entry| entry.on_trial.as_ref());
        on_trial.map(|on_trial| on_trial.trial.clone()).collect()
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
            let history = entry.current.history();
            let reason = Untrusted::message(reason);
            history.note(entry.last_version, PluginEventKind::Refused, reason);
        }
    }

    /// Notes in the histories of plugins which versions serve now that did not `before`.
    pub(super) fn note_serving(&self, before: Option<&PluginRegistry>) {
        for (name, entry) in &self.entries {
            let served = before.and_then(|before| before.entries.get(name));
            if served.is_none_or(|served| !served.current.is(&entry.current)) {
                entry.note_serving();
            }
            entry.note_trials(served);
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
