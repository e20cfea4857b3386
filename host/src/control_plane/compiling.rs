//! Compiles the plugins whose fallback serves meanwhile (`start = "fallback"`), off the control
//! plane's thread, and tells the operator of each.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;

use tokio::sync::mpsc::UnboundedSender;

use super::operator::{Change, ChangeRequest};
use super::plugins::{PluginRegistry, signer_of_file};
use crate::fault_injection;
use crate::plugin::{PluginError, PluginOptions, Runtime};

/// What is being compiled, by the names of the plugins.
pub(super) struct Compiling {
    changes: UnboundedSender<ChangeRequest>,
    names: HashSet<String>,
}

impl Compiling {
    /// `changes` hears of each plugin that is compiled, or cannot be.
    pub(super) fn new(changes: UnboundedSender<ChangeRequest>) -> Compiling {
        Compiling {
            changes,
            names: HashSet::new(),
        }
    }

    /// Starts to compile what a registry waits for, each on a thread of its own.
    pub(super) fn begin(&mut self, registry: &PluginRegistry) {
        for (config, read) in registry.waited_for() {
            let name = config.name.clone();
            if !self.names.insert(name.clone()) {
                continue;
            }
            let (runtime, config) = (registry.runtime.clone(), config.clone());
            let changes = self.changes.clone();
            let fallback = config.fallback.spelling();
            tracing::warn!(
                plugin = &*name,
                "plugin `{name}` is not compiled yet: `{fallback}` serves in its place"
            );
            let thread = thread::Builder::new().name("plugin-load".into());
            let spawned = thread.spawn(move || {
                let load = || {
                    fault_injection::waits("compiling");
                    fault_injection::panics("compile");
                    let options = PluginOptions::from(&config);
                    let bytes = Runtime::read(&config.name, &config.file, &config.compile)?;
                    let signer = signer_of_file(&config, &bytes)?;
                    let plugin = runtime.load(&config.name, 1, &bytes, &options)?;
                    Ok(Box::new(plugin.signed_by(signer)))
                };
                let loaded = catch_unwind(AssertUnwindSafe(load));
                let loaded = loaded.unwrap_or_else(|_| {
                    Err(PluginError::Engine {
                        reason: "compiling it ended in an internal error".to_owned(),
                    })
                });
                let name = config.name;
                // The receiver is there as long as the process is.
                let _ = changes.send((Change::Compiled { name, read, loaded }, None));
            });
            if let Err(error) = spawned {
                tracing::error!(
                    plugin = &*name,
                    "no thread to compile plugin `{name}`: {error}"
                );
                self.names.remove(&name);
            }
        }
    }

    /// It is over, for this one.
    pub(super) fn ended(&mut self, name: &str) {
        self.names.remove(name);
    }
}
