//! One plugin of the configuration: the version in force and the one before it, or that it is not
//! compiled yet.

use std::sync::Arc;

use crate::config::model::{self, Manner, Percent, TrialTerms};
use crate::plugin::{Hash, Plugin, PluginEventKind, PluginOptions, Trial, Untrusted};

/// Whether a version was loaded with the options of an entry, and is what that trusts.
pub(super) fn is_allowed(plugin: &Plugin, config: &model::PluginConfig) -> bool {
    is_candidate_allowed(plugin, config, false)
        // What was a candidate may have been promoted.
        || is_candidate_allowed(plugin, config, true)
}

/// As [`is_allowed`], of a candidate: `of_config` has pins of its own.
pub(super) fn is_candidate_allowed(
    plugin: &Plugin,
    config: &model::PluginConfig,
    of_config: bool,
) -> bool {
    let is_trusted = match (&config.trial, of_config) {
        (Some(table), true) => config.trust_of_candidate(table).covers(plugin),
        (None, true) => false,
        (_, false) => config.trust.covers(plugin),
    };
    *plugin.options() == PluginOptions::from(config) && is_trusted
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
    /// Which trial the present version was put in force from, if from one: `canary of 5%`.
    pub(super) promoted_from: Option<String>,
    /// What the file of the configuration held when it was last loaded: a version that was loaded
    /// by hand stays in force until the file itself changes.
    pub(super) file: Option<Hash>,
    /// The number of the last load, whether it went well or not.
    pub(super) last_version: u64,
    pub(super) on_trial: Option<OnTrial>,
    /// The candidate of the configuration that was withdrawn: it is not tried again on these terms.
    pub(super) withdrawn: Option<(Hash, TrialTerms)>,
    /// Why the last trial has ended.
    pub(super) why_withdrawn: Option<String>,
}

/// A version that is tried.
#[derive(Clone)]
pub(super) struct OnTrial {
    pub(super) trial: Arc<Trial>,
    /// The configuration has begun it, and not a command.
    pub(super) of_config: bool,
}

impl RegisteredPlugin {
    pub(super) fn new(config: Option<model::PluginConfig>, current: Plugin) -> RegisteredPlugin {
        RegisteredPlugin {
            file: config.as_ref().map(|_| current.hash()),
            last_version: current.version(),
            config,
            current,
            previous: None,
            rolled_back: false,
            promoted_from: None,
            on_trial: None,
            withdrawn: None,
            why_withdrawn: None,
        }
    }

    /// `live`, `quarantined`, `over budget` or `rolled back`.
    pub(super) fn state(&self) -> &'static str {
        match self.rolled_back {
            _ if self.current.is_quarantined() => "quarantined",
            _ if self.current.is_over_budget() => "over budget",
            true => "rolled back",
            false => "live",
        }
    }

    /// Notes in its history that the present version serves.
    pub(super) fn note_serving(&self) {
        let hash = self.current.hash().to_string();
        let (kind, detail) = match (&self.promoted_from, self.rolled_back) {
            (Some(trial), _) => {
                let before = self.previous.as_ref().map_or(0, Plugin::version);
                let detail = format!("the {trial} serves in place of version {before}");
                (PluginEventKind::Promoted, detail)
            }
            (None, true) => (PluginEventKind::RolledBack, hash),
            (None, false) => (PluginEventKind::Serves, hash),
        };
        let detail = Untrusted::message(detail);
        (self.current.history()).note(self.current.version(), kind, detail);
    }

    /// Notes in its history and in the log which trial has begun, and which has ended, since what was
    /// served `before`.
    pub(super) fn note_trials(&self, before: Option<&RegisteredPlugin>) {
        let trial = |entry: &RegisteredPlugin| {
            let on_trial = entry.on_trial.as_ref();
            on_trial.map(|on_trial| on_trial.trial.clone())
        };
        let (before, now) = (before.and_then(trial), trial(self));
        let is_same = |(before, now): (&Arc<Trial>, &Arc<Trial>)| Arc::ptr_eq(before, now);
        if before.as_ref().zip(now.as_ref()).is_some_and(is_same) {
            return;
        }
        if let Some(ended) = before.filter(|before| !before.candidate().is(&self.current)) {
            let (candidate, words) = (ended.candidate(), ended.in_words());
            let (plugin, version) = (candidate.name(), candidate.version());
            let why = match (&self.why_withdrawn, &now) {
                (_, Some(_)) => "something else is tried",
                (Some(why), None) => why,
                (None, None) => "the plugin or its entry has changed",
            };
            let (kind, detail) = (PluginEventKind::Withdrawn, Untrusted::message(why));
            candidate.history().note(version, kind, detail);
            tracing::warn!(
                plugin,
                version,
                "plugin `{plugin}` version {version} withdrawn ({words}): {why}"
            );
        }
        if let Some(begun) = now {
            begun.note_begun();
            let (candidate, words) = (begun.candidate(), begun.in_words());
            let (plugin, version) = (candidate.name(), candidate.version());
            tracing::info!(
                plugin,
                version,
                "plugin `{plugin}` version {version} is tried: {words}"
            );
            if begun.terms().manner == Manner::Canary(Percent::ALL) {
                tracing::warn!(
                    plugin,
                    version,
                    "plugin `{plugin}`: a canary of 100% leaves no client to the version before, so there \
                     is nothing to compare with: of its rails, `faults` alone can end it"
                );
            }
        }
    }

    /// Whether it is allowed what this entry allows.
    pub(super) fn is_allowed(&self, config: &model::PluginConfig) -> bool {
        is_allowed(&self.current, config)
    }

    /// The version that a rollback would return to.
    pub(super) fn version_before(&self) -> Option<&Plugin> {
        let before = self.previous.as_ref()?;
        let config = self.config.as_ref();
        // What the configuration has taken away since does not come back with it.
        let is_allowed = config.is_none_or(|config| is_allowed(before, config));
        (is_allowed && !before.is_quarantined()).then_some(before)
    }

    /// Puts a further version in force.
    pub(super) fn put(&mut self, plugin: Plugin) {
        self.last_version = plugin.version();
        let before = std::mem::replace(&mut self.current, plugin);
        // The same content again is none to go back to, and leaves what there is to go back to.
        if before.hash() != self.current.hash() {
            self.previous = Some(before);
        }
        self.rolled_back = false;
        self.promoted_from = None;
        // It was compared with the version before.
        self.on_trial = None;
    }
}

/// A plugin that is not compiled yet.
#[derive(Clone)]
pub(super) struct WaitingPlugin {
    pub(super) config: model::PluginConfig,
    /// What its file held when the configuration was read.
    pub(super) file: Hash,
    /// It cannot be used: it waits for a reload, or for another version.
    pub(super) is_refused: bool,
}

impl WaitingPlugin {
    /// `compiling` or `refused`.
    pub(super) fn state(&self) -> &'static str {
        match self.is_refused {
            true => "refused",
            false => "compiling",
        }
    }
}
