//! One instance of a policy: a store of its own, and its calls prepared.
//!
//! A call that fails poisons the store, so a fault is the end of the instance: see [`super::slot`].

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{ComponentNamedList, ComponentType, Lift, Lower, TypedFunc};
use wasmtime::{Store, component};

use super::clock::FIRST_LOOK;
use super::component::{Exports, Plugin};
use super::error::{ConfigureError, PluginError, PluginFault};
use super::host_calls::{AT_HAND, HostState};
use super::limits::InstanceLimits;
use super::stats::{CallTimer, PluginStats};
use super::untrusted::Untrusted;
use super::{
    EndpointView, ExchangeContext, FleetView, InstanceScope, Outcome, Pick, UpstreamTraits,
};

/// Bytes that the plugin may hand to the host in one call, unless its state may be larger.
const HOSTCALL_BYTES: usize = 1 << 20;
/// Handles of host resources at a time; only the WASI has any.
const HANDLES: usize = 1024;

/// A policy's instance; at most in one call at a time.
pub(super) struct Instance {
    store: Store<HostState>,
    functions: Functions,
    plugin: Plugin,
    calls: CallTimer,
    /// The time of its last pick, in microseconds.
    latest_us: u64,
}

/// What a policy exports, types checked.
struct Functions {
    configure: TypedFunc<(Arc<str>,), (Result<InstanceScope, SettingsError>,)>,
    update: TypedFunc<(u64, Vec<EndpointView>), ()>,
    pick: TypedFunc<(u64, u32, u64, u64, u64), (u32,)>,
    failed: Option<TypedFunc<(u32,), ()>>,
    done: Option<TypedFunc<(u64, u32, Outcome), ()>>,
    export_state: Option<TypedFunc<(), (Vec<u8>,)>>,
    import_state: Option<TypedFunc<(Vec<u8>,), (Accepted,)>>,
}

/// What `keeper.import-state` answers: why the state was not taken.
type Accepted = Result<(), String>;

/// `balancer.settings-error` in the WIT.
#[derive(ComponentType, Lift)]
#[component(record)]
struct SettingsError {
    key: String,
    message: String,
}

impl Instance {
    /// A fresh instance, to be configured next.
    pub(super) fn new(
        plugin: &Plugin,
        fleet: Option<Arc<dyn FleetView>>,
        upstream: UpstreamTraits,
    ) -> Result<Instance, PluginFault> {
        let (mut store, linked) = instantiate(plugin, fleet)?;
        store.data_mut().upstream = upstream;
        let functions = Functions::find(&mut store, &linked, &plugin.inner().exports);
        let functions = functions
            .map_err(|(_, error)| PluginFault::from_engine(&error, &plugin.inner().lines))?;
        let calls = CallTimer::new(&plugin.inner().tally);
        Ok(Instance {
            store,
            functions,
            plugin: plugin.clone(),
            calls,
            latest_us: 0,
        })
    }

    /// Instantiates a plugin that was just loaded, to see that it can be and that its exports have
    /// the right types.
    pub(super) fn check(plugin: &Plugin) -> Result<(), PluginError> {
        let name = || plugin.name().to_owned();
        let started = instantiate(plugin, None);
        let (mut store, linked) = started.map_err(|fault| PluginError::Start {
            plugin: name(),
            fault,
        })?;
        match Functions::find(&mut store, &linked, &plugin.inner().exports) {
            Ok(_) => Ok(()),
            Err((export, error)) => Err(PluginError::Export {
                plugin: name(),
                export: format!("waypost:plugin/{export}"),
                reason: Untrusted::message(format_args!("{error:#}")),
            }),
        }
    }

    /// Its calls do not count from now on: nobody asked for them.
    pub(super) fn leave_the_books(&mut self) {
        self.calls = CallTimer::new(&Arc::new(PluginStats::new(0, Duration::ZERO)));
    }

    /// `balancer.configure`.
    pub(super) fn configure(&mut self, settings: &str) -> Result<InstanceScope, ConfigureError> {
        let (function, deadline) = (self.functions.configure, self.plugin.inner().setup_deadline);
        match self.call(deadline, function, (settings.into(),)) {
            Ok((Ok(scope),)) => Ok(scope),
            Ok((Err(SettingsError { key, message }),)) => Err(ConfigureError::Refused {
                plugin: self.plugin.name().to_owned(),
                key: Untrusted::name(key),
                message: Untrusted::message(message),
            }),
            Err(fault) => Err(self.plugin.faulted(fault)),
        }
    }

    /// `balancer.update`.
    pub(super) fn update(
        &mut self,
        generation: u64,
        endpoints: Vec<EndpointView>,
    ) -> Result<(), PluginFault> {
        let (function, deadline) = (self.functions.update, self.plugin.inner().setup_deadline);
        self.call(deadline, function, (generation, endpoints))?;
        self.calls.note_memory(self.store.data().limits.memory());
        Ok(())
    }

    /// `balancer.pick`. The answer is the plugin's, unchecked.
    #[inline]
    pub(super) fn pick(
        &mut self,
        exchange: &Rc<dyn ExchangeContext>,
        pick: &Pick,
        candidates: u64,
    ) -> Result<u32, PluginFault> {
        let (function, deadline) = (self.functions.pick, self.plugin.inner().call_deadline);
        // A worker looks at the clock before it has its turn with an instance that all workers share.
        self.latest_us = self.latest_us.max(pick.now_us);
        let params = (
            pick.lease,
            pick.attempt,
            self.latest_us,
            pick.random,
            candidates,
        );
        let timed = self.calls.begin();
        self.store.data_mut().begin_pick();
        let picked = AT_HAND
            .set(exchange, || self.call(deadline, function, params))
            .map(|(index,)| index);
        self.end(timed);
        picked
    }

    /// `failures.failed`, if the plugin exports it.
    pub(super) fn failed(&mut self, index: u32) -> Result<(), PluginFault> {
        let Some(function) = self.functions.failed else {
            return Ok(());
        };
        let timed = self.calls.begin();
        let told = self.call(self.plugin.inner().call_deadline, function, (index,));
        self.end(timed);
        told
    }

    /// `observer.done`, if the plugin exports it.
    pub(super) fn done(
        &mut self,
        exchange: &Rc<dyn ExchangeContext>,
        lease: u64,
        index: u32,
        outcome: &Outcome,
    ) -> Result<(), PluginFault> {
        let Some(function) = self.functions.done else {
            return Ok(());
        };
        let deadline = self.plugin.inner().call_deadline;
        let timed = self.calls.begin();
        self.store.data_mut().in_done = true;
        let ended = AT_HAND.set(exchange, || {
            self.call(deadline, function, (lease, index, *outcome))
        });
        self.store.data_mut().in_done = false;
        self.end(timed);
        ended
    }

    /// `keeper.export-state`, if the plugin exports it and may keep anything.
    pub(super) fn export_state(&mut self) -> Result<Option<Vec<u8>>, PluginFault> {
        let limit = self.plugin.inner().terms.limits.state;
        let Some(function) = self.functions.export_state.filter(|_| limit > 0) else {
            return Ok(None);
        };
        let (state,) = self.call(self.plugin.inner().call_deadline, function, ())?;
        match state.len() as u64 <= limit {
            true => Ok(Some(state)),
            false => Err(PluginFault::state(state.len(), limit)),
        }
    }

    /// `keeper.import-state`, if the plugin exports it: its answer.
    pub(super) fn import_state(&mut self, state: Vec<u8>) -> Result<Accepted, PluginFault> {
        let Some(function) = self.functions.import_state else {
            return Ok(Ok(()));
        };
        let deadline = self.plugin.inner().call_deadline;
        self.call(deadline, function, (state,))
            .map(|(answer,)| answer)
    }

    /// What the last call is charged for, if it is: see [`Stopwatch::charge`].
    #[inline]
    pub(super) fn charge(&self) -> Option<Duration> {
        self.store.data().watch.charge()
    }

    /// Closes the books on a call, if it is one of those that are looked at.
    #[inline]
    fn end(&self, timed: Option<std::time::Instant>) {
        if let Some(began) = timed {
            self.calls.end(began);
            self.calls.note_memory(self.store.data().limits.memory());
        }
    }

    #[inline]
    fn call<P, R>(
        &mut self,
        deadline: Duration,
        function: TypedFunc<P, R>,
        params: P,
    ) -> Result<R, PluginFault>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        self.plugin.inner().clock.wake();
        self.store.data_mut().watch.start(deadline);
        self.store.set_epoch_deadline(FIRST_LOOK);
        function
            .call(&mut self.store, params)
            .map_err(|error| last_words(&mut self.store, &self.plugin, &error))
    }
}

impl Functions {
    /// The plugin's exports; an error comes with the name of the one that has the wrong type.
    fn find(
        store: &mut Store<HostState>,
        linked: &component::Instance,
        exports: &Exports,
    ) -> Result<Functions, (&'static str, wasmtime::Error)> {
        Ok(Functions {
            configure: typed("balancer.configure", store, linked, &exports.configure)?,
            update: typed("balancer.update", store, linked, &exports.update)?,
            pick: typed("balancer.pick", store, linked, &exports.pick)?,
            failed: optional("failures.failed", store, linked, &exports.failed)?,
            done: optional("observer.done", store, linked, &exports.done)?,
            export_state: optional("keeper.export-state", store, linked, &exports.export_state)?,
            import_state: optional("keeper.import-state", store, linked, &exports.import_state)?,
        })
    }
}

fn typed<P, R>(
    name: &'static str,
    store: &mut Store<HostState>,
    linked: &component::Instance,
    export: &component::ComponentExportIndex,
) -> Result<TypedFunc<P, R>, (&'static str, wasmtime::Error)>
where
    P: ComponentNamedList + Lower,
    R: ComponentNamedList + Lift,
{
    linked
        .get_typed_func(store, export)
        .map_err(|error| (name, error))
}

/// Like [`typed`], for an export that need not be there.
fn optional<P, R>(
    name: &'static str,
    store: &mut Store<HostState>,
    linked: &component::Instance,
    export: &Option<component::ComponentExportIndex>,
) -> Result<Option<TypedFunc<P, R>>, (&'static str, wasmtime::Error)>
where
    P: ComponentNamedList + Lower,
    R: ComponentNamedList + Lift,
{
    let export = export.as_ref();
    export
        .map(|export| typed(name, store, linked, export))
        .transpose()
}

/// A store with its bounds, and the component in it. Runs the component's start code, if it has
/// any.
fn instantiate(
    plugin: &Plugin,
    fleet: Option<Arc<dyn FleetView>>,
) -> Result<(Store<HostState>, component::Instance), PluginFault> {
    let inner = plugin.inner();
    let limits = InstanceLimits::new(&inner.terms.limits);
    let state = HostState::new(&inner.name, fleet, limits);
    let mut store = Store::new(inner.component.engine(), state);
    store.limiter(|state| &mut state.limits);
    // One more than the state may have, so that too large a state is told from a misbehaved call.
    let state = usize::try_from(inner.terms.limits.state).unwrap_or(usize::MAX);
    store.set_hostcall_fuel(HOSTCALL_BYTES.max(state).saturating_add(1));
    store.set_max_component_handles(HANDLES);
    let clock = inner.clock.clone();
    store.epoch_deadline_callback(move |mut store| {
        clock.wake(); // the clock must outlast a call that its thread takes very long over
        let interval = clock.interval();
        Ok(store.data_mut().watch.look(interval))
    });
    inner.clock.wake();
    store.data_mut().watch.start(inner.setup_deadline);
    store.set_epoch_deadline(FIRST_LOOK);
    let linked = inner.component.instantiate(&mut store);
    let linked = linked.map_err(|error| last_words(&mut store, plugin, &error))?;
    Ok((store, linked))
}

/// Reads what went wrong, after logging what the plugin said before it did.
#[cold]
fn last_words(
    store: &mut Store<HostState>,
    plugin: &Plugin,
    error: &wasmtime::Error,
) -> PluginFault {
    store.data_mut().flush();
    PluginFault::from_engine(error, &plugin.inner().lines)
}
