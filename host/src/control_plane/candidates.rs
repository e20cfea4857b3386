//! Candidates of the configuration: versions that an entry has tried beside the one that serves.

use std::sync::Arc;

use super::loading::{Loaded, LoadedAhead};
use super::plugins::PluginRegistry;
use super::registered::{OnTrial, RegisteredPlugin, is_candidate_allowed};
use crate::config::model::{PluginConfig, TrialConfig, TrialTerms};
use crate::plugin::{Hash, Plugin, PluginError, PluginOptions, Runtime, SignedIn, Trial};

/// What came of looking for the candidate of an entry.
pub(super) enum Candidate {
    /// There is nothing to try: no table, a trial by command, or what was tried and has ended.
    None,
    /// It is on trial.
    Same,
    New(Result<Plugin, PluginError>),
    /// Its file cannot be read.
    Unreadable(PluginError),
}

impl PluginRegistry {
    /// Looks for the candidate of an entry, and loads it if it is new. `loaded`: what came of the
    /// plugin itself. Blocks, for as long as compilers take.
    pub(super) fn load_candidate(&self, config: &PluginConfig, loaded: &LoadedAhead) -> Candidate {
        let Some(table) = &config.trial else {
            return Candidate::None;
        };
        let known = self.get(&config.name);
        let known = known.filter(|known| known.config.is_some());
        if known.is_some_and(|known| known.is_tried_by_command(config)) {
            return Candidate::None;
        }
        let bytes = match Runtime::read(&config.name, &table.file, &config.compile) {
            Ok(bytes) => bytes,
            Err(error) => return Candidate::Unreadable(error),
        };
        let hash = Hash::of(&bytes);
        let serving = match loaded {
            LoadedAhead::Component { hash, .. } => Some(*hash),
            LoadedAhead::Same => known.map(|known| known.current.hash()),
            LoadedAhead::Unreadable(_) => None,
        };
        // It was promoted, or it was withdrawn and is what it was.
        let is_over = known.is_some_and(|known| known.withdrawn == Some((hash, table.terms)));
        if serving == Some(hash) || is_over {
            return Candidate::None;
        }
        let is_same = |on_trial: &OnTrial| {
            let candidate = on_trial.trial.candidate();
            candidate.hash() == hash && is_candidate_allowed(candidate, config, on_trial.of_config)
        };
        let on_trial = known.and_then(|known| known.on_trial.as_ref());
        if matches!(loaded, LoadedAhead::Same) && on_trial.is_some_and(is_same) {
            return Candidate::Same;
        }
        let number = self.number_of_candidate(&config.name, loaded);
        Candidate::New(self.loaded_candidate(config, table, number, &bytes))
    }

    fn loaded_candidate(
        &self,
        config: &PluginConfig,
        table: &TrialConfig,
        number: u64,
        bytes: &[u8],
    ) -> Result<Plugin, PluginError> {
        let name = &config.name;
        let trust = config.trust_of_candidate(table);
        let signature = trust.signature_of(&table.file);
        let signer = trust.signer(name, bytes, SignedIn::File(&signature))?;
        let options = PluginOptions::from(config);
        let plugin = self.runtime.load(name, number, bytes, &options)?;
        Ok(plugin.signed_by(signer))
    }

    /// The number of a version that is loaded behind what came of the plugin itself.
    fn number_of_candidate(&self, name: &str, loaded: &LoadedAhead) -> u64 {
        let is_loaded = matches!(
            loaded,
            LoadedAhead::Component {
                plugin: Ok(Some(_)),
                ..
            }
        );
        self.next_number(name) + u64::from(is_loaded)
    }

    /// Whether the candidates that were loaded ahead come next.
    pub(super) fn awaits_candidate(&self, loaded: &Loaded, config: &PluginConfig) -> bool {
        let name = &config.name;
        let Some(of_plugin) = loaded.get(name) else {
            return config.trial.is_none();
        };
        match loaded.candidate(name) {
            Some(Candidate::New(Ok(plugin))) => {
                plugin.version() == self.number_of_candidate(name, of_plugin)
            }
            Some(Candidate::Same) => {
                let known = self.get(name).and_then(|known| known.on_trial.as_ref());
                known.is_some()
            }
            Some(_) => true,
            None => config.trial.is_none(),
        }
    }
}

impl RegisteredPlugin {
    /// Whether a trial is under way that was begun by a command, and may go on under an entry.
    fn is_tried_by_command(&self, config: &PluginConfig) -> bool {
        let on_trial = self
            .on_trial
            .as_ref()
            .filter(|on_trial| !on_trial.of_config);
        on_trial
            .is_some_and(|on_trial| is_candidate_allowed(on_trial.trial.candidate(), config, false))
    }

    /// Has the candidate of its entry tried, and none that the entry does not have: but one that a
    /// command has begun goes on, as far as the entry allows it what it was allowed.
    ///
    /// # Errors
    /// The candidate cannot be loaded.
    pub(super) fn try_candidate(
        &mut self,
        config: &PluginConfig,
        found: Candidate,
    ) -> Result<(), PluginError> {
        if self.is_tried_by_command(config) {
            return Ok(());
        }
        let Some(TrialConfig { terms, .. }) = config.trial else {
            self.on_trial = None;
            return Ok(());
        };
        match found {
            Candidate::None => self.on_trial = None,
            Candidate::Unreadable(error) => return Err(error),
            Candidate::Same => {
                let on_trial = self.on_trial.take().map(|on_trial| on_trial.trial);
                self.on_trial = on_trial.map(|trial| match *trial.terms() == terms {
                    true => OnTrial {
                        trial,
                        of_config: true,
                    },
                    false => self.beside(trial.candidate().clone(), terms, true),
                });
            }
            Candidate::New(plugin) => self.try_version(plugin?, terms, true),
        }
        Ok(())
    }

    /// Has a further version tried.
    pub(super) fn try_version(&mut self, plugin: Plugin, terms: TrialTerms, of_config: bool) {
        self.last_version = plugin.version();
        (self.withdrawn, self.why_withdrawn) = (None, None);
        self.on_trial = Some(self.beside(plugin, terms, of_config));
    }

    fn beside(&self, candidate: Plugin, terms: TrialTerms, of_config: bool) -> OnTrial {
        OnTrial {
            trial: Arc::new(Trial::new(candidate, self.current.clone(), terms)),
            of_config,
        }
    }
}
