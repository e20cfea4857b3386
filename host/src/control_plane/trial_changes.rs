//! Changes of what is on trial: a version tried, promoted, withdrawn; by command, or by itself.

use std::time::Instant;

use super::loading::LoadError;
use super::operator::{ChangeRefused, ChangeResult, Changed, Operator};
use super::plugins::PluginRegistry;
use super::publish::Plan;
use crate::config::model::TrialTerms;
use crate::plugin::Plugin;

impl Operator {
    /// Has a version tried that was loaded, in the place of another one if one is.
    pub(super) async fn try_version(
        &mut self,
        name: &str,
        loaded: Result<Box<Plugin>, LoadError>,
        terms: TrialTerms,
    ) -> ChangeResult {
        let present = self.published.load_full();
        let loaded = loaded.and_then(|plugin| {
            let comes_next = present.registry.comes_next(&plugin)?;
            Ok(comes_next.then_some(plugin))
        });
        let plugin = match loaded {
            Ok(Some(plugin)) => plugin,
            Ok(None) => return Err(ChangeRefused::Overtaken),
            Err(LoadError::Unknown) => {
                return Err(ChangeRefused::Unknown(present.registry.unknown(name)));
            }
            Err(error @ LoadError::Stock) => {
                let message = format!("`{name}` cannot be tried: {error}");
                return Err(ChangeRefused::Conflict(message));
            }
            Err(error) => {
                let why = error.in_words(&present.snapshot.config);
                return Err(self.not_tried(name, ChangeRefused::Failed(why)));
            }
        };
        let Some(entry) = present.registry.get(name) else {
            let message = format!("`{name}` is not compiled yet: there is nothing to compare with");
            return Err(ChangeRefused::Conflict(message));
        };
        if entry.current.hash() == plugin.hash() {
            let message = format!(
                "`{name}` has this very content already, so there is nothing to compare: load or roll back \
                 to the version that it is to be compared with"
            );
            return Err(ChangeRefused::Conflict(message));
        }
        let registry = present.registry.with_trial(*plugin, terms);
        match self.with_registry(registry).await {
            Err(refusal) => Err(self.not_tried(name, refusal)),
            tried => tried,
        }
    }

    /// Notes that a version cannot be tried.
    fn not_tried(&self, name: &str, refusal: ChangeRefused) -> ChangeRefused {
        tracing::error!(
            plugin = name,
            "plugin `{name}`: nothing new is tried: {refusal}"
        );
        self.republish(|published| published.registry.note_error(name, &refusal.to_string()));
        refusal
    }

    /// Puts the version on trial in force.
    pub(super) async fn promote(&mut self, name: &str) -> ChangeResult {
        let present = self.published.load_full();
        let registry = present.registry.promoted(name);
        let registry = registry.ok_or_else(|| nothing_tried(&present.registry, name))?;
        let began = Instant::now();
        let promoted = self.with_registry(registry).await;
        if promoted.is_ok()
            && let Some(entry) = self.published.load().registry.get(name)
        {
            let version = entry.current.version();
            let took = began.elapsed();
            tracing::info!(
                plugin = name,
                version,
                "plugin `{name}` version {version} promoted: it serves ({took:.0?})"
            );
        }
        promoted
    }

    /// Ends a trial.
    pub(super) async fn withdraw(&mut self, name: &str) -> ChangeResult {
        let present = self.published.load_full();
        let registry = present.registry.withdrawn(name, "by command");
        let registry = registry.ok_or_else(|| nothing_tried(&present.registry, name))?;
        self.with_registry(registry).await
    }

    /// Ends the trials that are over by themselves.
    pub(super) async fn end_trials(&mut self) -> ChangeResult {
        let trials = self.published.load().registry.trials();
        for trial in trials {
            let name = trial.candidate().name();
            let Some(why) = trial.why_over() else {
                continue;
            };
            let present = self.published.load_full();
            if let Some(registry) = present.registry.withdrawn(name, &why)
                && let Err(refusal) = self.with_registry(registry).await
            {
                tracing::error!(
                    plugin = name,
                    "plugin `{name}`: what is on trial cannot be withdrawn: {refusal}"
                );
            }
        }
        Ok(Changed::default())
    }

    /// Serves the same configuration with these versions.
    async fn with_registry(&mut self, registry: PluginRegistry) -> ChangeResult {
        let present = self.published.load_full();
        let plan = Plan::of(&present).with_registry(registry);
        let config = present.snapshot.config.clone();
        Ok(Changed {
            generation: self.publish(config, plan).await?,
            ..Changed::default()
        })
    }
}

fn nothing_tried(registry: &PluginRegistry, name: &str) -> ChangeRefused {
    match registry.entry_to_load(name) {
        Err(LoadError::Unknown) => ChangeRefused::Unknown(registry.unknown(name)),
        _ => ChangeRefused::Conflict(format!("nothing is on trial for `{name}`")),
    }
}
