//! From bytes to a plugin: encoded, compiled, and held against the contract before anything depends on it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use wasmtime::Engine;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, ComponentExportIndex, InstancePre, Linker};

use crate::config::model::PluginLimits;

use super::Scope;
use super::clock::{Clock, LONGEST_DEADLINE};
use super::error::{ConfigureError, Fault, FaultKind, PluginError};
use super::host_calls::HostState;
use super::instance::Instance;
use super::tally::{Cost, Figures, Tally};

/// What a policy may import, in words.
pub(super) const IMPORTS: &str = "`waypost:plugin` 0.1 (fleet, request, exchange, response, log) and \
                                  `wasi` 0.2 (io, cli, clocks, random)";

/// Interfaces that a component may import, without their versions.
const ALLOWED: &[&str] = &[
    "waypost:plugin/fleet",
    "waypost:plugin/request",
    "waypost:plugin/exchange",
    "waypost:plugin/response",
    "waypost:plugin/log",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/stderr",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:cli/terminal-stderr",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:random/random",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
];

/// Time for `configure` and `update` on top of a call's deadline: they parse and allocate, and hold up no request.
const SETUP: Duration = Duration::from_millis(100);

/// A policy that is loaded and ready to be instantiated. Cheap to clone.
#[derive(Clone)]
pub struct Plugin(Arc<Inner>);

/// What instances share.
pub(super) struct Inner {
    pub(super) name: Arc<str>,
    pub(super) component: InstancePre<HostState>,
    pub(super) exports: Exports,
    pub(super) limits: PluginLimits,
    version: u64,
    hash: super::Hash,
    terms: super::Terms,
    /// Processor time for a call in the data path, and for one that sets up.
    pub(super) call_deadline: Duration,
    pub(super) setup_deadline: Duration,
    pub(super) clock: Arc<Clock>,
    pub(super) tally: Arc<Tally>,
    /// Rung when a plugin is put into quarantine.
    pub(super) alarm: Arc<Notify>,
}

/// Where the component keeps its functions.
pub(super) struct Exports {
    pub(super) configure: ComponentExportIndex,
    pub(super) update: ComponentExportIndex,
    pub(super) pick: ComponentExportIndex,
    pub(super) failed: Option<ComponentExportIndex>,
    pub(super) done: Option<ComponentExportIndex>,
    pub(super) export_state: Option<ComponentExportIndex>,
    pub(super) import_state: Option<ComponentExportIndex>,
}

impl Plugin {
    /// As the configuration spells it.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Which load of this name it is, from 1.
    pub fn version(&self) -> u64 {
        self.0.version
    }
    pub fn hash(&self) -> &super::Hash {
        &self.0.hash
    }
    pub fn terms(&self) -> &super::Terms {
        &self.0.terms
    }
    pub fn imports(&self) -> &[String] {
        &[]
    }
    pub fn exports(&self) -> Vec<&'static str> {
        vec!["policy"]
    }

    /// Whether it wants to hear of failed attempts (`failures` in the WIT).
    pub fn hears_failures(&self) -> bool {
        self.0.exports.failed.is_some()
    }

    /// Whether it wants to hear how every attempt ended (`observer` in the WIT).
    pub fn hears_endings(&self) -> bool {
        self.0.exports.done.is_some()
    }

    /// Whether it is this very version.
    pub fn is(&self, other: &Plugin) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// What it has cost so far.
    pub fn figures(&self) -> Figures {
        self.0.tally.figures()
    }

    /// What its calls take and its instances hold.
    pub fn cost(&self) -> Cost {
        self.0.tally.cost()
    }

    /// Whether it has failed so often that it is not called any more.
    pub fn is_quarantined(&self) -> bool {
        self.0.tally.is_quarantined()
    }

    /// Whether what it knows can be carried over to another instance (`keeper` in the WIT).
    pub fn keeps_state(&self) -> bool {
        self.0.exports.export_state.is_some()
    }

    /// Tries settings on an instance of their own, as `waypost check` does.
    pub fn configure(&self, settings: &serde_json::Value) -> Result<Scope, ConfigureError> {
        let mut instance = Instance::new(self, None).map_err(|fault| self.faulted(fault))?;
        instance.configure(&settings.to_string())
    }

    /// Links a component to the host, and makes an instance once to see that its exports have the right types.
    pub(super) fn link(
        linker: &Linker<HostState>,
        clock: &Arc<Clock>,
        alarm: &Arc<Notify>,
        name: &str,
        version: u64,
        hash: super::Hash,
        component: &Component,
        terms: super::Terms,
    ) -> Result<Plugin, PluginError> {
        let limits = terms.limits;
        check_imports(name, component)?;
        let linked = linker.instantiate_pre(component);
        let linked = linked.map_err(|error| PluginError::Link {
            plugin: name.into(),
            reason: format!("{error:#}"),
        })?;
        let exports = Exports::find(name, component)?;
        let plugin = Plugin(Arc::new(Inner {
            name: name.into(),
            version,
            hash,
            terms,
            component: linked,
            exports,
            limits,
            call_deadline: limits.deadline.min(LONGEST_DEADLINE),
            setup_deadline: limits.deadline.saturating_add(SETUP).min(LONGEST_DEADLINE),
            clock: clock.clone(),
            alarm: alarm.clone(),
            tally: Arc::new(Tally::new(terms.max_faults, terms.fault_window)),
        }));
        Instance::check(&plugin)?;
        Ok(plugin)
    }

    /// Counts a fault, and raises the alarm if it was one too many.
    #[cold]
    pub(super) fn count_fault(&self, kind: FaultKind) {
        if self.0.tally.fault(kind) {
            let (name, version) = (self.name(), self.version());
            tracing::error!(
                plugin = name,
                version,
                "plugin `{name}` version {version} has failed too often and is quarantined: it is not asked any more"
            );
            self.0.alarm.notify_one();
        }
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.0
    }

    pub(super) fn faulted(&self, fault: Fault) -> ConfigureError {
        ConfigureError::Faulted {
            plugin: self.name().to_owned(),
            when: "while it was configured",
            fault,
        }
    }
}

/// Makes a component of `bytes` if they are a core module, and compiles it.
pub(super) fn compile(engine: &Engine, name: &str, bytes: &[u8]) -> Result<Component, PluginError> {
    let encoded;
    let bytes = match is_core_module(bytes) {
        true => {
            encoded = wit_component::ComponentEncoder::default()
                .validate(true)
                .module(bytes)
                .and_then(|mut encoder| encoder.encode())
                .map_err(|error| PluginError::Encode {
                    plugin: name.to_owned(),
                    reason: format!("{error:#}"),
                })?;
            &encoded
        }
        false => bytes,
    };
    Component::from_binary(engine, bytes).map_err(|error| PluginError::Compile {
        plugin: name.to_owned(),
        reason: format!("{error:#}"),
    })
}

/// A preamble of version 1 and layer 0: WebAssembly core specification, binary format of modules.
fn is_core_module(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\0asm\x01\0\0\0")
}

fn check_imports(name: &str, component: &Component) -> Result<(), PluginError> {
    for (import, _) in component.component_type().imports(component.engine()) {
        let interface = import.split('@').next().unwrap_or(import);
        if !ALLOWED.contains(&interface) {
            return Err(PluginError::Import {
                plugin: name.to_owned(),
                import: import.to_owned(),
            });
        }
    }
    Ok(())
}

impl Exports {
    fn find(name: &str, component: &Component) -> Result<Exports, PluginError> {
        let find = |interface: &str, function: &str| {
            let (_, interface) =
                component.get_export(None, format!("waypost:plugin/{interface}@0.1.0"))?;
            match component.get_export(Some(&interface), function)? {
                (ComponentItem::ComponentFunc(_), index) => Some(index),
                _ => None,
            }
        };
        let must = |function: &str| {
            find("balancer", function).ok_or_else(|| PluginError::Export {
                plugin: name.to_owned(),
                export: format!("waypost:plugin/balancer.{function}"),
                reason: "it is missing".to_owned(),
            })
        };
        Ok(Exports {
            configure: must("configure")?,
            update: must("update")?,
            pick: must("pick")?,
            failed: find("failures", "failed"),
            done: find("observer", "done"),
            export_state: find("keeper", "export-state"),
            import_state: find("keeper", "import-state"),
        })
    }
}
