//! A plugin: compiled code, held against the contract before anything depends on it, and the
//! options that it was loaded with.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Notify;
use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wasmtime::Engine;
use wasmtime::component::{Component, InstancePre, Linker};

use super::clock::{EpochClock, LONGEST_DEADLINE, Ticks};
use super::common::{About, CommonExports};
use super::debug_lines::DebugLines;
use super::error::{ConfigureError, PluginError, PluginFault};
use super::handler::{Handler, HandlerExports};
use super::hash::Hash;
use super::history::{PluginEventKind, PluginHistory};
use super::hook::{Hook, HookExports};
use super::host_state::HostState;
use super::imports::{self, Surroundings};
use super::instance::Instance;
use super::interfaces;
use super::options::PluginOptions;
use super::policy::{Filter, FilterExports, Policy, PolicyExports, Scorer, ScorerExports};
use super::stats::{Cost, PluginCounters, PluginStats};
use super::stubs;
use super::untrusted::Untrusted;
use super::waiting;
use super::wasi;
use super::world::{COMPONENT, Contract, Exporter, Kind, World};
use crate::store::{Figures, PluginStore, Store};

/// Time for `configure` and `update` on top of a call's deadline: they parse and allocate, and hold
/// up no request.
const SETUP: Duration = Duration::from_millis(100);
/// Time of a handler for each part of its answer: it gives others their turn meanwhile.
const HANDLER_DEADLINE: Duration = Duration::from_secs(1);

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
    pub(super) lines: Arc<DebugLines>,
    pub(super) component: InstancePre<HostState>,
    pub(super) common: CommonExports,
    pub(super) kinds: Kinds,
    /// The key that has signed it, where one had to.
    signer: OnceLock<String>,
    /// What it says of itself, as the first of its kinds.
    about: OnceLock<About>,
    /// Whether it may wait, on a stack of its own: see [`waiting`].
    pub(super) waits: bool,
    /// Whether that is for upstreams.
    pub(super) asks_upstreams: bool,
    /// Bytes of memory that each instance may have.
    pub(super) memory_limit: u64,
    /// Of one that waits: how many each worker may have, and how long a call may take.
    pub(super) instances: usize,
    pub(super) longest_wait: Duration,
    /// Percent of a worker's time.
    pub(super) budget: u32,
    /// Processor time for a call in the data path, for each part of an answer of a handler, and for
    /// a call that sets up.
    pub(super) call_deadline: Duration,
    pub(super) handler_deadline: Duration,
    pub(super) setup_deadline: Duration,
    pub(super) clock: Arc<EpochClock>,
    /// How often calls have to be looked at that do not wait.
    pub(super) ticks: Ticks,
    pub(super) stats: Arc<PluginStats>,
    /// What all versions share; none for one that does not ask for it.
    pub(super) store: Option<PluginStore>,
    /// Of all versions of the plugin.
    pub(super) history: Arc<PluginHistory>,
    /// Rung when a plugin is put into quarantine.
    pub(super) alarm: Arc<Notify>,
}

/// The kinds that a plugin is of: where its functions are.
#[derive(Clone)]
pub(super) struct Kinds {
    pub(super) policy: Option<PolicyExports>,
    pub(super) filter: Option<FilterExports>,
    pub(super) scorer: Option<ScorerExports>,
    pub(super) hook: Option<HookExports>,
    /// It answers requests itself.
    pub(super) handler: Option<HandlerExports>,
}

impl Kinds {
    fn of(component: &Exporter<'_>) -> Result<Kinds, PluginError> {
        let kinds = Kinds {
            policy: Policy::exports(component)?,
            filter: Filter::exports(component)?,
            scorer: Scorer::exports(component)?,
            hook: Hook::exports(component)?,
            handler: Handler::exports(component)?,
        };
        if kinds.all().next().is_none() && kinds.handler.is_none() {
            return Err(PluginError::NoKind {
                plugin: component.plugin.to_owned(),
            });
        }
        Ok(kinds)
    }

    fn all(&self) -> impl Iterator<Item = Kind> {
        let all = [
            (Kind::Policy, self.policy.is_some()),
            (Kind::Filter, self.filter.is_some()),
            (Kind::Scorer, self.scorer.is_some()),
            (Kind::Hook, self.hook.is_some()),
        ];
        all.into_iter().filter(|(_, is)| *is).map(|(kind, _)| kind)
    }

    fn uses(&self) -> Vec<&'static str> {
        let handler = self.handler.as_ref().map(|_| COMPONENT);
        self.all().map(Kind::name).chain(handler).collect()
    }
}

/// What plugins are linked to: a linker for each sort of them, made when the first one comes. Those of
/// calls that wait have some hundred functions, which few processes need.
pub(super) struct Linkers {
    engine: Engine,
    /// Those whose calls return without waiting.
    at_once: OnceLock<Linker<HostState>>,
    /// Those that wait for the store alone.
    storing: OnceLock<Linker<HostState>>,
    /// Those that may wait for upstreams.
    waiting: OnceLock<Linker<HostState>>,
}

impl Linkers {
    pub(super) fn new(engine: &Engine) -> Linkers {
        Linkers {
            engine: engine.clone(),
            at_once: OnceLock::new(),
            storing: OnceLock::new(),
            waiting: OnceLock::new(),
        }
    }

    /// The one for plugins that may ask upstreams, or the store and wait for its answers.
    ///
    /// # Errors
    /// The engine takes it not.
    fn linker(&self, upstreams: bool, store: bool) -> wasmtime::Result<&Linker<HostState>> {
        let linker = match (upstreams, store) {
            (true, _) => &self.waiting,
            (false, true) => &self.storing,
            (false, false) => &self.at_once,
        };
        if let Some(linker) = linker.get() {
            return Ok(linker);
        }
        let mut made = Linker::new(&self.engine);
        imports::add_to(&mut made, upstreams || store)?;
        match upstreams {
            true => waiting::add_to(&mut made)?,
            false => wasi::add_to(&mut made)?,
        }
        // Another thread may have made one meanwhile.
        Ok(linker.get_or_init(|| made))
    }
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
    /// Bytes that its file has.
    pub(super) file_size: usize,
    pub(super) history: Arc<PluginHistory>,
    /// What plugins share, each its own part.
    pub(super) store: &'a Store,
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

    /// The same, signed by this key.
    #[must_use]
    pub fn signed_by(self, key: Option<&str>) -> Plugin {
        if let Some(key) = key {
            self.0.signer.get_or_init(|| key.to_owned());
        }
        self
    }

    /// The key that has signed it, where one had to.
    pub fn signer(&self) -> Option<&String> {
        self.0.signer.get()
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

    /// The same code, of which nothing counts: not its calls, and not its faults. It is told nothing of
    /// the store, and changes nothing there.
    #[must_use]
    pub fn apart(&self) -> Plugin {
        let Inner {
            name,
            version,
            hash,
            options,
            imports,
            lines,
            component,
            common,
            kinds,
            signer,
            about,
            waits,
            asks_upstreams,
            memory_limit,
            instances,
            longest_wait,
            budget,
            call_deadline,
            handler_deadline,
            setup_deadline,
            clock,
            ticks,
            stats: _,
            store,
            history: _,
            alarm: _,
        } = &*self.0;
        let is_handler = self.is_handler();
        Plugin(Arc::new(Inner {
            name: name.clone(),
            version: *version,
            hash: *hash,
            options: *options,
            imports: imports.clone(),
            lines: lines.clone(),
            component: component.clone(),
            common: common.clone(),
            kinds: kinds.clone(),
            signer: signer.clone(),
            about: about.clone(),
            waits: *waits,
            asks_upstreams: *asks_upstreams,
            memory_limit: *memory_limit,
            instances: *instances,
            longest_wait: *longest_wait,
            budget: *budget,
            call_deadline: *call_deadline,
            handler_deadline: *handler_deadline,
            setup_deadline: *setup_deadline,
            clock: clock.clone(),
            ticks: *ticks,
            stats: Arc::new(PluginStats::new(
                options.max_faults_of(is_handler),
                options.fault_window,
            )),
            store: store.as_ref().map(PluginStore::untold),
            history: Arc::default(),
            alarm: Arc::default(),
        }))
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

    /// The kinds it is of, and which of the optional interfaces it exports besides.
    pub fn interfaces(&self) -> Vec<&'static str> {
        let Inner { kinds, common, .. } = &*self.0;
        let policy = |there: fn(&PolicyExports) -> bool| kinds.policy.as_ref().is_some_and(there);
        let hook = |there: fn(&HookExports) -> bool| kinds.hook.as_ref().is_some_and(there);
        let optional = [
            ("incoming-handler", kinds.handler.is_some()),
            ("on-request", hook(|hook| hook.on_request.is_some())),
            ("on-check", hook(|hook| hook.on_check.is_some())),
            ("on-response", hook(|hook| hook.on_response.is_some())),
            (
                "on-request-body",
                hook(|hook| hook.on_request_body.is_some()),
            ),
            (
                "on-response-body",
                hook(|hook| hook.on_response_body.is_some()),
            ),
            ("on-end", hook(|hook| hook.on_end.is_some())),
            ("member-changes", policy(|policy| policy.change.is_some())),
            ("failures", policy(|policy| policy.failed.is_some())),
            ("observer", policy(|policy| policy.done.is_some())),
            ("keeper", common.export_state.is_some()),
            ("ticker", common.tick.is_some()),
            ("file-changes", common.changed.is_some()),
        ];
        let there = optional.into_iter().filter(|(_, there)| *there);
        let kinds = self.kinds().map(Kind::name);
        kinds.chain(there.map(|(name, _)| name)).collect()
    }

    /// Whether it answers requests itself.
    pub fn is_handler(&self) -> bool {
        self.0.kinds.handler.is_some()
    }

    /// Percent of each worker's time that its calls may take.
    pub fn budget(&self) -> u32 {
        self.0.budget
    }

    /// What kinds of our contract it is of.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> {
        self.0.kinds.all()
    }

    /// What it can be used as, by name: its kinds, and `component` where it answers requests itself.
    pub fn uses(&self) -> Vec<&'static str> {
        self.0.kinds.uses()
    }

    /// Whether what it knows can be carried over to another instance (`keeper` in the WIT).
    pub fn keeps_state(&self) -> bool {
        self.0.common.export_state.is_some()
    }

    /// Whether it wants to be called from time to time (`ticker` in the WIT).
    pub fn ticks(&self) -> bool {
        self.0.common.tick.is_some()
    }

    /// Whether a call of it has failed.
    pub(super) fn has_faulted(&self) -> bool {
        self.0.stats.has_faulted()
    }

    /// Whether calls about requests may wait, for upstreams or the store.
    pub fn waits(&self) -> bool {
        self.0.waits
    }

    /// Whether it keeps something in the store.
    pub fn stores(&self) -> bool {
        self.0.store.is_some()
    }

    /// Whether it, being [apart](Plugin::apart), has asked for what is in the store.
    pub fn lacked_store(&self) -> bool {
        let store = self.0.store.as_ref();
        store.is_some_and(PluginStore::was_asked_in_vain)
    }

    /// What it counts itself, by name.
    pub fn own_counters(&self) -> Vec<(String, u64)> {
        self.0.stats.own_counters()
    }

    /// What all versions of it keep in the store; none where it does not ask for it, or where that is
    /// not known.
    pub fn stored(&self) -> Option<Figures> {
        self.0.store.as_ref().and_then(PluginStore::figures)
    }

    /// What it says of itself (`description` in the WIT); nothing where it does not, or fails.
    pub fn about(&self) -> &About {
        self.0.about.get_or_init(|| {
            let described = match self.kinds().next() {
                Some(Kind::Policy) => self.described::<Policy>(),
                Some(Kind::Filter) => self.described::<Filter>(),
                Some(Kind::Scorer) => self.described::<Scorer>(),
                Some(Kind::Hook) | None => self.described::<Hook>(),
            };
            described.unwrap_or_else(|error| {
                tracing::warn!(plugin = self.name(), "{error}");
                About::default()
            })
        })
    }

    fn described<W: Contract>(&self) -> Result<About, ConfigureError> {
        if self.0.common.describe.is_none() {
            return Ok(About::default());
        }
        let mut instance = Instance::<W>::new(self, Surroundings::default())?;
        instance.set_apart();
        instance.describe().map_err(|fault| self.faulted(fault))
    }

    /// Links a component to the host, and makes instances once to see that its exports have the
    /// right types.
    pub(super) fn link(
        linkers: &Linkers,
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
        let exporter = Exporter {
            plugin: name,
            component: &component,
        };
        let is_granted = interfaces::check_imports(name, &imports, &options.grants);
        is_granted.map_err(|mut error| {
            if let (PluginError::Grant { uses, .. }, Ok(kinds)) = (&mut error, Kinds::of(&exporter))
            {
                *uses = kinds.uses();
            }
            error
        })?;
        let imports_store = |import: &String| interfaces::split(import).0 == interfaces::STORE;
        let stores = imports.iter().any(imports_store);
        let store = stores.then(|| identity.store.of_plugin(name));
        let asks_upstreams = options.grants.http && waiting::is_waiting(&imports);
        // Hooks alone can wait.
        let is_elsewhere = store.as_ref().is_some_and(PluginStore::is_elsewhere);
        let is_hook = Hook::exports(&exporter).is_ok_and(|hook| hook.is_some());
        let waits_for_store = is_elsewhere && is_hook;
        let is_handler = Handler::exports(&exporter).is_ok_and(|handler| handler.is_some());
        let has_http = asks_upstreams || is_handler;
        let linked = linkers
            .linker(has_http, waits_for_store)
            .and_then(|linker| {
                let stubbed = stubs::with_stubs(linker, &component, has_http)?;
                stubbed
                    .as_ref()
                    .unwrap_or(linker)
                    .instantiate_pre(&component)
            });
        let linked = linked.map_err(|error| PluginError::Link {
            plugin: name.into(),
            reason: Untrusted::message(format_args!("{error:#}")),
        })?;
        let kinds = Kinds::of(&exporter)?;
        let has_kind = kinds.all().next().is_some();
        let deadline = options.limits.deadline_of(identity.file_size);
        let plugin = Plugin(Arc::new(Inner {
            name: name.into(),
            version: identity.version,
            hash: identity.hash,
            options: *options,
            imports: imports.iter().map(Untrusted::name).collect(),
            lines: Arc::new(lines),
            component: linked,
            common: CommonExports::of(&exporter, has_kind)?,
            kinds,
            signer: OnceLock::new(),
            about: OnceLock::new(),
            waits: has_http || waits_for_store,
            asks_upstreams,
            memory_limit: options.limits.memory_of(identity.file_size),
            instances: options.limits.instances_of(identity.file_size),
            longest_wait: options.limits.wait,
            budget: options.budget_of(is_handler),
            call_deadline: deadline.min(LONGEST_DEADLINE),
            handler_deadline: (options.limits.deadline)
                .unwrap_or(HANDLER_DEADLINE)
                .min(LONGEST_DEADLINE),
            setup_deadline: deadline.saturating_add(SETUP).min(LONGEST_DEADLINE),
            clock: clock.clone(),
            ticks: Ticks::of(deadline, options.budget_of(is_handler)),
            stats: Arc::new(PluginStats::new(
                options.max_faults_of(is_handler),
                options.fault_window,
            )),
            store,
            history: identity.history.clone(),
            alarm: alarm.clone(),
        }));
        Instance::<Policy>::check(&plugin)?;
        Instance::<Filter>::check(&plugin)?;
        Instance::<Scorer>::check(&plugin)?;
        Instance::<Hook>::check(&plugin)?;
        Instance::<Handler>::check(&plugin)?;
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

/// A component as it is, or made of a core module that carries its component type. Where that imports
/// WASI preview 1, an adapter to the [WASI](super::wasi) that there is comes with it.
pub(super) fn encode(bytes: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    if !is_core_module(bytes) {
        return Ok(bytes.into());
    }
    let encoded = wit_component::ComponentEncoder::default()
        .validate(true)
        .module(bytes)
        .and_then(|encoder| {
            encoder.adapter(
                WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME,
                WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
            )
        })
        .and_then(|mut encoder| encoder.encode());
    encoded
        .map(Cow::Owned)
        .map_err(|error| format!("{error:#}"))
}

/// A preamble of version 1 and layer 0: WebAssembly core specification, binary format of modules.
fn is_core_module(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\0asm\x01\0\0\0")
}
