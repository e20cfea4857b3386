//! One instance of a plugin: a store of its own, and its calls prepared.
//!
//! A call that fails poisons the store, so a fault is the end of the instance: see [`super::slot`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::Store;
use wasmtime::component::{self, ComponentNamedList, Lift, Lower, TypedFunc};

use super::clock::FIRST_LOOK;
use super::component::Plugin;
use super::error::{PluginError, PluginFault};
use super::host_state::HostState;
use super::limits::InstanceLimits;
use super::stats::{CallTimer, PluginStats};
use super::untrusted::Untrusted;
use super::world::{FunctionFinder, Linked, World, WrongType};

/// Bytes that the plugin may hand to the host in one call, unless its state may be larger.
const HOSTCALL_BYTES: usize = 1 << 20;
/// Handles of host resources at a time; only the WASI has any.
const HANDLES: usize = 1024;

/// An instance; at most in one call at a time.
pub(super) struct Instance<W: World> {
    store: Store<HostState<W>>,
    pub(super) functions: W::Functions,
    pub(super) plugin: Plugin,
    calls: CallTimer,
}

impl<W: World> Instance<W> {
    /// A fresh instance, to be configured next.
    pub(super) fn new(
        plugin: &Plugin,
        linked: &Linked<W>,
        state: W::State,
    ) -> Result<Instance<W>, PluginFault> {
        let (mut store, instance) = instantiate(plugin, linked, state)?;
        let functions = find_functions(&mut store, &instance, linked);
        let functions = functions
            .map_err(|(_, error)| PluginFault::from_engine(&error, &plugin.inner().lines))?;
        let calls = CallTimer::new(&plugin.inner().stats);
        Ok(Instance {
            store,
            functions,
            plugin: plugin.clone(),
            calls,
        })
    }

    /// Instantiates a plugin that was just loaded, to see that it can be and that its exports have
    /// the right types.
    pub(super) fn check(plugin: &Plugin, linked: &Linked<W>) -> Result<(), PluginError> {
        let name = || plugin.name().to_owned();
        let started = instantiate(plugin, linked, W::State::default());
        let (mut store, instance) = started.map_err(|fault| PluginError::Start {
            plugin: name(),
            fault,
        })?;
        match find_functions(&mut store, &instance, linked) {
            Ok(_) => Ok(()),
            Err((export, error)) => Err(PluginError::Export {
                plugin: name(),
                export: format!("waypost:plugin/{export}"),
                reason: Untrusted::message(format_args!("{error:#}")),
            }),
        }
    }

    /// Excludes this instance from the statistics: it is made for a trial run.
    pub(super) fn exclude_from_statistics(&mut self) {
        self.calls = CallTimer::new(&Arc::new(PluginStats::new(0, Duration::ZERO)));
    }

    /// What the host keeps for it, by its world.
    #[inline]
    pub(super) fn state(&mut self) -> &mut W::State {
        &mut self.store.data_mut().world
    }

    /// What the last call is charged for, if it is: see [`Stopwatch::take_charge`].
    ///
    /// [`Stopwatch::take_charge`]: super::clock::Stopwatch::take_charge
    #[inline]
    pub(super) fn take_charge(&mut self) -> Option<Duration> {
        self.store.data_mut().watch.take_charge()
    }

    /// Counts a call of the data path that begins; the moment, if it is one of those that are
    /// timed.
    #[inline]
    pub(super) fn begin(&self) -> Option<Instant> {
        self.calls.begin()
    }

    /// Enters a call that is over into the statistics, if it is one of those that are timed.
    #[inline]
    pub(super) fn end(&self, timed: Option<Instant>) {
        if let Some(began) = timed {
            self.calls.end(began);
            self.note_memory();
        }
    }

    /// Enters the memory that it holds into the statistics.
    pub(super) fn note_memory(&self) {
        self.calls.note_memory(self.store.data().limits.memory());
    }

    /// A call, which has so much processor time.
    ///
    /// # Errors
    /// What the plugin did instead of answering. The instance cannot be called again.
    #[inline]
    pub(super) fn call<P, R>(
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

fn find_functions<W: World>(
    store: &mut Store<HostState<W>>,
    instance: &component::Instance,
    linked: &Linked<W>,
) -> Result<W::Functions, WrongType> {
    let mut finder = FunctionFinder { store, instance };
    W::functions(&mut finder, &linked.exports)
}

/// A store with its bounds, and the component in it. Runs the component's start code, if it has
/// any.
fn instantiate<W: World>(
    plugin: &Plugin,
    linked: &Linked<W>,
    state: W::State,
) -> Result<(Store<HostState<W>>, component::Instance), PluginFault> {
    let inner = plugin.inner();
    let limits = InstanceLimits::new(&inner.options.limits);
    let state = HostState::new(&inner.name, limits, state);
    let mut store = Store::new(linked.component.engine(), state);
    store.limiter(|state| &mut state.limits);
    // One more than the state may have, so that too large a state is told from a misbehaved call.
    let state = usize::try_from(inner.options.limits.state).unwrap_or(usize::MAX);
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
    let instance = linked.component.instantiate(&mut store);
    let instance = instance.map_err(|error| last_words(&mut store, plugin, &error))?;
    Ok((store, instance))
}

/// Reads what went wrong, after logging what the plugin said before it did.
#[cold]
fn last_words<W: World>(
    store: &mut Store<HostState<W>>,
    plugin: &Plugin,
    error: &wasmtime::Error,
) -> PluginFault {
    store.data_mut().flush();
    PluginFault::from_engine(error, &plugin.inner().lines)
}
