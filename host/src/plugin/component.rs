//! A plugin: compiled code, held against the contract before anything depends on it, and the
//! options that it was loaded with.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use wasmtime::component::{Component, Linker};

use super::clock::{EpochClock, LONGEST_DEADLINE};
use super::debug_lines::DebugLines;
use super::error::{ConfigureError, PluginError, PluginFault};
use super::hash::Hash;
use super::history::{PluginEventKind, PluginHistory};
use super::host_state::HostState;
use super::instance::Instance;
use super::interfaces;
use super::options::PluginOptions;
use super::policy::Policy;
use super::stats::{Cost, PluginCounters, PluginStats};
use super::untrusted::Untrusted;
use super::world::Linked;

/// Time for `configure` and `update` on top of a call's deadline: they parse and allocate, and hold
/// up no request.
const SETUP: Duration = Duration::from_millis(100);

/// A plugin that is loaded and ready to be instantiated. Cheap to clone.
#[derive(Clone)]
pub struct Plugin(Arc<Inner>);

/// What instances share.
pub(super) struct Inner {
    pub(super) name: Arc<str>,
    pub(super) version: u64,
    pub(super) hash: Hash,
    pub(super) options: PluginOptions,
    pub(super) imports: Vec<Untrusted>,
    pub(super) lines: DebugLines,
    pub(super) policy: Linked<Policy>,
    /// Processor time for a call in the data path, and for one that sets up.
    pub(super) call_deadline: Duration,
    pub(super) setup_deadline: Duration,
    pub(super) clock: Arc<EpochClock>,
    pub(super) stats: Arc<PluginStats>,
    /// Of all versions of the plugin.
    pub(super) history: Arc<PluginHistory>,
    /// Rung when a plugin is put into quarantine.
    pub(super) alarm: Arc<Notify>,
}

/// What compiling makes of a plugin.
pub(super) struct Code {
    pub(super) component: Component,
    pub(super) lines: DebugLines,
}

/// What tells a plugin from others.
pub(super) struct Identity<'a> {
    pub(super) name: &'a str,
    pub(super) version: u64,
    pub(super) hash: Hash,
    pub(super) history: Arc<PluginHistory>,
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "plugin `{}` version {}", self.name(), self.version())
    }
}

impl Plugin {
    /// As the configuration spells it.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Counts the versions of the plugin of this name, from 1; stock plugins stay at 1.
    pub fn version(&self) -> u64 {
        self.0.version
    }

    /// Of its file; of the component that the build made, for a stock plugin.
    pub fn hash(&self) -> Hash {
        self.0.hash
    }

    /// The interfaces that it imports, with their versions.
    pub fn imports(&self) -> &[Untrusted] {
        &self.0.imports
    }

    /// What it was loaded on.
    pub fn options(&self) -> &PluginOptions {
        &self.0.options
    }

    /// Whether it is this very version.
    pub fn is(&self, other: &Plugin) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// What it has done so far.
    pub fn stats(&self) -> PluginCounters {
        self.0.stats.counters()
    }

    /// What its calls take and its instances hold.
    pub fn cost(&self) -> Cost {
        self.0.stats.cost()
    }

    /// Whether a worker's budget for it was used up a moment ago.
    pub fn is_over_budget(&self) -> bool {
        self.0.stats.is_over_budget()
    }

    /// What happened to it and to the versions before.
    pub fn history(&self) -> &Arc<PluginHistory> {
        &self.0.history
    }

    /// Whether it has failed so often that it is not called any more.
    pub fn is_quarantined(&self) -> bool {
        self.0.stats.is_quarantined()
    }

    /// Links a component to the host, and makes an instance once to see that its exports have the
    /// right types.
    pub(super) fn link(
        linker: &Linker<HostState<Policy>>,
        clock: &Arc<EpochClock>,
        alarm: &Arc<Notify>,
        identity: &Identity<'_>,
        Code { component, lines }: Code,
        options: &PluginOptions,
    ) -> Result<Plugin, PluginError> {
        let name = identity.name;
        let imports = component.component_type();
        let imports = imports.imports(component.engine());
        let imports: Vec<String> = imports.map(|(import, _)| import.to_owned()).collect();
        interfaces::check_imports(name, &imports, &options.grants)?;
        let policy = Linked::new(name, linker, &component)?;
        let deadline = options.limits.deadline;
        let plugin = Plugin(Arc::new(Inner {
            name: name.into(),
            version: identity.version,
            hash: identity.hash,
            options: *options,
            imports: imports.iter().map(Untrusted::name).collect(),
            lines,
            policy,
            call_deadline: deadline.min(LONGEST_DEADLINE),
            setup_deadline: deadline.saturating_add(SETUP).min(LONGEST_DEADLINE),
            clock: clock.clone(),
            stats: Arc::new(PluginStats::new(options.max_faults, options.fault_window)),
            history: identity.history.clone(),
            alarm: alarm.clone(),
        }));
        Instance::check(&plugin, &plugin.0.policy)?;
        Ok(plugin)
    }

    /// Counts a fault that happened `when`, and raises the alarm if it was one too many.
    #[cold]
    pub(super) fn note_fault(&self, when: &str, fault: &PluginFault) {
        let (name, version) = (self.name(), self.version());
        let detail = Untrusted::message(format_args!("failed {when}: {fault}"));
        let note = |kind, detail| self.0.history.note(version, kind, detail);
        note(PluginEventKind::Fault(fault.kind), detail);
        if self.0.stats.fault(fault.kind) {
            let why = "has failed too often and is quarantined: it is not asked any more";
            note(PluginEventKind::Quarantined, Untrusted::message(why));
            tracing::error!(
                plugin = name,
                version,
                "plugin `{name}` version {version} {why}"
            );
            self.0.alarm.notify_one();
        }
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.0
    }

    pub(super) fn faulted(&self, fault: PluginFault) -> ConfigureError {
        ConfigureError::Faulted {
            plugin: self.name().to_owned(),
            when: "while it was configured",
            fault,
        }
    }
}

/// A component as it is, or made of a core module that carries its component type.
pub(super) fn encode(bytes: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    if !is_core_module(bytes) {
        return Ok(bytes.into());
    }
    let encoded = wit_component::ComponentEncoder::default()
        .validate(true)
        .module(bytes)
        .and_then(|mut encoder| encoder.encode());
    encoded
        .map(Cow::Owned)
        .map_err(|error| format!("{error:#}"))
}

/// A preamble of version 1 and layer 0: WebAssembly core specification, binary format of modules.
fn is_core_module(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\0asm\x01\0\0\0")
}
