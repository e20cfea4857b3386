//! Changes of plugins: other versions put in force, and taken back.

use std::time::Instant;

use super::loading::LoadError;
use super::operator::{ChangeRefused, ChangeResult, Changed, Operator};
use super::publish::Plan;
use super::uses;
use crate::plugin::{Hash, Plugin, PluginError};

impl Operator {
    /// Puts a version of a plugin in force that was loaded. `file`: the hash of its file, if that has
    /// it: it is not tried again until it changes.
    pub(super) async fn load(
        &mut self,
        name: &str,
        loaded: Result<Box<Plugin>, LoadError>,
        file: Option<Hash>,
        began: Instant,
    ) -> ChangeResult {
        // Its signature may be about to be replaced as well.
        let is_unsigned = matches!(loaded, Err(LoadError::Plugin(PluginError::Unsigned { .. })));
        let outcome = self.put_in_force(name, loaded, began).await;
        let is_overtaken = matches!(outcome, Err(ChangeRefused::Overtaken));
        if let Some(hash) = file.filter(|_| !is_overtaken && !is_unsigned) {
            self.republish(|published| published.registry.note_file(name, hash));
        }
        outcome
    }

    async fn put_in_force(
        &mut self,
        name: &str,
        loaded: Result<Box<Plugin>, LoadError>,
        began: Instant,
    ) -> ChangeResult {
        let present = self.published.load_full();
        let loaded = loaded.and_then(|plugin| {
            let comes_next = present.registry.comes_next(&plugin)?;
            Ok(comes_next.then_some(plugin))
        });
        let outcome = match loaded {
            Ok(Some(plugin)) => {
                let plan = Plan::of(&present);
                let plan = plan.with_registry(present.registry.with(*plugin));
                self.publish(present.snapshot.config.clone(), plan).await
            }
            Ok(None) => return Err(ChangeRefused::Overtaken),
            Err(LoadError::Unknown) => {
                return Err(ChangeRefused::Unknown(present.registry.unknown(name)));
            }
            Err(error @ LoadError::Stock) => {
                return Err(ChangeRefused::Conflict(format!(
                    "`{name}` cannot be loaded: {error}"
                )));
            }
            Err(error) => {
                let why = error.in_words(&present.snapshot.config);
                Err(ChangeRefused::Failed(why))
            }
        };
        match outcome {
            Ok(generation) => {
                let (version, hash) = match self.published.load().registry.get(name) {
                    Some(entry) => (entry.current.version(), entry.current.hash().to_string()),
                    None => Default::default(),
                };
                let took = began.elapsed();
                tracing::info!(
                    plugin = name,
                    version,
                    hash,
                    "plugin `{name}` version {version} serves ({took:.0?})"
                );
                Ok(Changed {
                    generation,
                    ..Changed::default()
                })
            }
            Err(mut refusal) => {
                if let ChangeRefused::Problems { summary, .. } = &mut refusal {
                    *summary =
                        format!("`{name}` does not serve with this configuration: {summary}");
                }
                tracing::error!(
                    plugin = name,
                    "plugin `{name}` not loaded, the version before goes on: {refusal}"
                );
                self.republish(|published| {
                    published.registry.note_error(name, &refusal.to_string())
                });
                Err(refusal)
            }
        }
    }

    /// Puts a plugin in force whose fallback served so far.
    pub(super) async fn compiled(
        &mut self,
        name: &str,
        read: Hash,
        loaded: Result<Box<Plugin>, PluginError>,
    ) -> ChangeResult {
        let present = self.published.load_full();
        self.compiling.ended(name);
        let outcome = match loaded {
            // What is still waited for is compiled behind this change.
            Ok(plugin) if !present.registry.waits_for(&plugin, read) => {
                tracing::info!(
                    plugin = name,
                    "plugin `{name}` was compiled, and is not waited for any more"
                );
                return Ok(Changed::default());
            }
            Ok(plugin) => {
                let plan = Plan::of(&present);
                let plan = plan.with_registry(present.registry.with(*plugin));
                self.publish(present.snapshot.config.clone(), plan).await
            }
            Err(error) => {
                let why = uses::in_words(&error, &present.snapshot.config);
                Err(ChangeRefused::Failed(why))
            }
        };
        match &outcome {
            Ok(_) => {
                tracing::info!(plugin = name, "plugin `{name}` version 1 serves");
                // Nobody has looked at its file meanwhile.
                let mut plugins = present.snapshot.config.plugins.iter();
                if plugins.any(|plugin| plugin.name == name && plugin.watch) {
                    self.preparations.load_file(name.to_owned());
                }
            }
            Err(refusal) => {
                tracing::error!(
                    plugin = name,
                    "plugin `{name}` cannot be used, its fallback serves: {refusal}"
                );
                self.republish(|published| published.registry.refuse(name, &refusal.to_string()));
            }
        }
        let generation = outcome?;
        Ok(Changed {
            generation,
            ..Changed::default()
        })
    }

    /// Has the file of a plugin loaded, if it holds something else now.
    pub(super) async fn file_changed(&mut self, name: String) -> ChangeResult {
        let snapshot = self.published.load().snapshot.clone();
        self.watcher
            .follow(&snapshot.config, snapshot.watched_files())
            .await;
        self.preparations.load_file(name);
        Ok(Changed::default())
    }

    pub(super) async fn roll_back(&mut self, name: &str) -> ChangeResult {
        let present = self.published.load_full();
        let Some(entry) = present.registry.get(name) else {
            return Err(ChangeRefused::Unknown(present.registry.unknown(name)));
        };
        let Some(registry) = present.registry.rolled_back(name) else {
            let why = match &entry.previous {
                Some(before) if before.is_quarantined() => "the version before is quarantined",
                Some(_) => {
                    "the version before was allowed something else than the configuration allows now: \
                     load its file again"
                }
                None => "there is no version before",
            };
            return Err(ChangeRefused::Conflict(format!(
                "`{name}` cannot be rolled back: {why}"
            )));
        };
        let config = present.snapshot.config.clone();
        let plan = Plan::of(&present).with_registry(registry);
        let generation = self.publish(config, plan).await?;
        let (from, to) = (
            entry.current.version(),
            entry.version_before().map_or(0, |plugin| plugin.version()),
        );
        tracing::warn!(
            plugin = name,
            "plugin `{name}` rolled back from version {from} to {to}"
        );
        Ok(Changed {
            generation,
            ..Changed::default()
        })
    }

    /// Returns to the version before where the present one is in quarantine. Where there is none,
    /// the fallback stays.
    pub(super) async fn leave_quarantine(&mut self) {
        let _ = self.end_trials().await; // each outcome is in the log
        let present = self.published.load_full();
        let quarantined = present
            .registry
            .entries()
            .filter(|(_, entry)| entry.current.is_quarantined());
        for (name, entry) in quarantined {
            if entry.version_before().is_none() {
                tracing::error!(
                    plugin = name,
                    "plugin `{name}` has no version to return to: its fallback serves, or `on_error` decides, \
                     until another one is loaded"
                );
            } else if let Err(refusal) = self.roll_back(name).await {
                tracing::error!(
                    plugin = name,
                    "plugin `{name}` cannot return to the version before, its fallback serves, or `on_error` \
                     decides: {refusal}"
                );
            }
        }
    }
}
