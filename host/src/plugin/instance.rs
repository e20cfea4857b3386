//! One instance of a plugin: a store of its own, and its calls prepared.
//!
//! A call that fails poisons the store, so a fault is the end of the instance: see [`super::slot`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use wasmtime::Store;
use wasmtime::component::{self, ComponentNamedList, Lift, Lower, TypedFunc};

use super::clock::{FIRST_LOOK, Ticks};
use super::common::{About, Accepted, CommonFunctions, SettingsError, Sharing};
use super::component::Plugin;
use super::context::ExchangeAtHand;
use super::error::{ConfigureError, PluginError, PluginFault};
use super::host_state::HostState;
use super::imports::{Phase, Surroundings};
use super::limits::InstanceLimits;
use super::stats::{CallTimer, PluginStats};
use super::untrusted::Untrusted;
use super::waiting::{self, HookRequestSender};
use super::world::{Contract, FunctionFinder, World};
use crate::store::PluginStore;

/// Bytes that the plugin may hand to the host in one call, unless its state may be larger.
const HOSTCALL_BYTES: usize = 1 << 20;
/// As many if it is a hook for bodies: one, and what is said beside it.
const BODY_BYTES: usize = super::hook::MOST_AT_ONCE + (1 << 20);
/// As many if it may ask upstreams: a request's body, and as much again that is told to be too much.
const REQUEST_BYTES: usize = 4 << 20;
/// Handles of host resources at a time; only the WASI has any.
const HANDLES: usize = 1024;

/// An instance; at most in one call at a time.
pub(super) struct Instance<W: World> {
    store: Store<HostState>,
    common: CommonFunctions,
    pub(super) functions: W::Functions,
    pub(super) plugin: Plugin,
    calls: CallTimer,
    /// What it knows of its files: see [`PluginFiles::generation`].
    ///
    /// [`PluginFiles::generation`]: super::files::PluginFiles
    files_seen: u64,
    /// Of the last call that could wait.
    time_used: Duration,
}

impl<W: World> Instance<W> {
    /// A fresh instance, to be configured next.
    ///
    /// # Errors
    /// The plugin is of another kind, or failed.
    pub(super) fn new(
        plugin: &Plugin,
        surroundings: Surroundings,
    ) -> Result<Instance<W>, ConfigureError> {
        let exports = W::of(&plugin.inner().kinds).ok_or_else(|| W::is_missing(plugin))?;
        let files = surroundings.files.clone();
        let (mut store, instance) =
            instantiate(plugin, surroundings).map_err(|fault| plugin.faulted(fault))?;
        let mut finder = FunctionFinder {
            store: &mut store,
            instance: &instance,
        };
        let common = plugin.inner().common.functions(&mut finder);
        let functions = common.and_then(|common| Ok((common, W::functions(&mut finder, exports)?)));
        let (common, functions) = functions.map_err(|(_, error)| {
            plugin.faulted(PluginFault::from_engine(&error, &plugin.inner().lines))
        })?;
        let calls = CallTimer::new(&plugin.inner().stats);
        store.data_mut().figures = Some(calls.figures());
        store.data_mut().store = plugin.inner().store.clone();
        Ok(Instance {
            store,
            common,
            functions,
            plugin: plugin.clone(),
            calls,
            files_seen: files.map_or(0, |files| files.generation()),
            time_used: Duration::ZERO,
        })
    }

    /// Instantiates a plugin that was just loaded, to see that its exports of this kind have the
    /// right types.
    ///
    /// # Errors
    /// It cannot be instantiated, or one has another type.
    pub(super) fn check(plugin: &Plugin) -> Result<(), PluginError> {
        let Some(exports) = W::of(&plugin.inner().kinds) else {
            return Ok(());
        };
        let name = || plugin.name().to_owned();
        let started = instantiate(plugin, Surroundings::default());
        let (mut store, instance) = started.map_err(|fault| PluginError::Start {
            plugin: name(),
            fault,
        })?;
        let mut finder = FunctionFinder {
            store: &mut store,
            instance: &instance,
        };
        let common = plugin.inner().common.functions(&mut finder);
        match common.and_then(|_| W::functions(&mut finder, exports)) {
            Ok(_) => Ok(()),
            Err((export, error)) => Err(PluginError::Export {
                plugin: name(),
                export: match export.starts_with("wasi:") {
                    true => export.to_owned(),
                    false => format!("waypost:plugin/{export}"),
                },
                reason: Untrusted::message(format_args!("{error:#}")),
            }),
        }
    }

    /// The plugin's refusal of settings.
    pub(super) fn refused(&self, error: SettingsError) -> ConfigureError {
        ConfigureError::Refused {
            plugin: self.plugin.name().to_owned(),
            key: Untrusted::name(error.key),
            message: Untrusted::message(error.message),
        }
    }

    /// `keeper.export-state`, if the plugin exports it and may keep anything.
    pub(super) fn export_state(&mut self) -> Result<Option<Vec<u8>>, PluginFault> {
        let limit = self.plugin.inner().options.limits.state;
        let Some(function) = self.common.export_state.filter(|_| limit > 0) else {
            return Ok(None);
        };
        self.store.data_mut().call.begin(Phase::Other);
        let (state,) = self.call(self.plugin.inner().call_deadline, function, ())?;
        match state.len() as u64 <= limit {
            true => Ok(Some(state)),
            false => Err(PluginFault::state(state.len(), limit)),
        }
    }

    /// `keeper.import-state`, if the plugin exports it: its answer.
    pub(super) fn import_state(&mut self, state: Vec<u8>) -> Result<Accepted, PluginFault> {
        let Some(function) = self.common.import_state else {
            return Ok(Ok(()));
        };
        let deadline = self.plugin.inner().call_deadline;
        self.store.data_mut().call.begin(Phase::Other);
        self.call(deadline, function, (state,))
            .map(|(answer,)| answer)
    }

    /// `ticker.tick`: milliseconds until the next one, none for never.
    pub(super) fn tick(&mut self, now_us: u64) -> Result<Option<u32>, PluginFault> {
        let Some(function) = self.common.tick else {
            return Ok(None);
        };
        let now_us = self.store.data_mut().now_us(now_us);
        self.store.data_mut().call.begin(Phase::Other);
        let deadline = self.plugin.inner().call_deadline;
        let (millis,) = self.call(deadline, function, (now_us,))?;
        Ok((millis > 0).then_some(millis))
    }

    /// `file-changes.changed`, for every file that has changed since the instance heard last.
    #[inline]
    pub(super) fn hear_of_files(&mut self) -> Result<(), PluginFault> {
        let files = self.store.data().surroundings.files.as_ref();
        match files {
            Some(files) if files.generation() != self.files_seen => self.hear_of_changed_files(),
            _ => Ok(()),
        }
    }

    #[cold]
    fn hear_of_changed_files(&mut self) -> Result<(), PluginFault> {
        let Some(files) = self.store.data().surroundings.files.clone() else {
            return Ok(());
        };
        let generation = files.generation();
        if let Some(function) = self.common.changed {
            let deadline = self.plugin.inner().setup_deadline;
            // What all of them have to say of a file is logged once.
            self.store.data_mut().log.is_quiet = !files.note_heard(generation);
            for (path, content) in files.changed_since(self.files_seen) {
                // No set-up in which it might read files: this is a worker's thread.
                self.store.data_mut().call.begin(Phase::Other);
                self.call(deadline, function, (path, content))?;
            }
            self.store.data_mut().log.is_quiet = false;
        }
        self.files_seen = generation;
        Ok(())
    }

    /// A call that sets the instance up: it may take its time, and read files.
    pub(super) fn set_up<P, R>(
        &mut self,
        function: TypedFunc<P, R>,
        params: P,
    ) -> Result<R, PluginFault>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift + 'static,
    {
        self.store.data_mut().call.begin(Phase::Setup);
        let answer = self.call(self.plugin.inner().setup_deadline, function, params);
        self.store.data_mut().call.begin(Phase::Other);
        answer
    }

    /// Excludes this instance from the statistics and from what others share: it is made for a trial
    /// run.
    pub(super) fn set_apart(&mut self) {
        self.calls = CallTimer::new(&Arc::new(PluginStats::new(0, Duration::ZERO)));
        let state = self.store.data_mut();
        state.figures = Some(self.calls.figures());
        state.store = state.store.as_ref().map(|_| PluginStore::apart());
    }

    /// What went wrong, after what it had to say.
    #[cold]
    pub(super) fn fault(&mut self, error: &wasmtime::Error) -> PluginFault {
        last_words(&mut self.store, &self.plugin, error)
    }

    /// What the host keeps for it.
    #[inline]
    pub(super) fn state(&mut self) -> &mut HostState {
        self.store.data_mut()
    }

    /// What the last call is charged for, if it is: see [`Stopwatch::take_charge`].
    ///
    /// [`Stopwatch::take_charge`]: super::clock::Stopwatch::take_charge
    #[inline]
    pub(super) fn take_charge(&mut self) -> Option<Duration> {
        self.store.data_mut().watch.take_charge()
    }

    /// The processor time of the last call that could wait, once.
    pub(super) fn take_time_used(&mut self) -> Duration {
        std::mem::take(&mut self.time_used)
    }

    /// Counts a call of the data path that begins; the moment, if it is one of those that are
    /// timed.
    #[inline]
    pub(super) fn begin(&self) -> Option<Instant> {
        self.calls.begin()
    }

    /// Counts a call of the data path that is not timed.
    pub(super) fn count(&self) {
        let _ = self.calls.begin();
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
        R: ComponentNamedList + Lift + 'static,
    {
        let inner = self.plugin.inner();
        inner.clock.wake(inner.ticks);
        self.store.data_mut().watch.start(deadline);
        self.store.set_epoch_deadline(FIRST_LOOK);
        let called = match self.plugin.waits() {
            false => function.call(&mut self.store, params),
            true => waiting::at_once(function.call_async(&mut self.store, params)),
        };
        called.map_err(|error| last_words(&mut self.store, &self.plugin, &error))
    }

    /// A call that may wait, and has so much processor time; about an exchange, if there is one at
    /// hand. What it asks of upstreams goes to `requests`. Dropped before it is over, it leaves an
    /// instance that cannot be called again.
    ///
    /// # Errors
    /// As [`call`](Instance::call).
    pub(super) async fn call_waiting<P, R>(
        &mut self,
        exchange: Option<&ExchangeAtHand>,
        deadline: Duration,
        requests: HookRequestSender,
        function: TypedFunc<P, R>,
        params: P,
    ) -> Result<R, PluginFault>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift + 'static,
    {
        self.plugin.inner().clock.wake(Ticks::Fine);
        let state = self.store.data_mut();
        state.waiting().port.open(requests);
        let watch = state.call_watch.clone();
        watch.begin(deadline);
        self.store.set_epoch_deadline(FIRST_LOOK);
        let call = function.call_async(&mut self.store, params);
        let clock = &self.plugin.inner().clock;
        let called = waiting::run(&watch, clock, exchange, call).await;
        self.time_used = watch.end();
        self.state().waiting().port.close();
        called.map_err(|error| last_words(&mut self.store, &self.plugin, &error))
    }
}

impl<W: Contract> Instance<W> {
    /// `plugin.configure`.
    ///
    /// # Errors
    /// [`ConfigureError`]: the plugin's refusal, or its failure.
    pub(super) fn configure(&mut self, settings: &str) -> Result<Sharing, ConfigureError> {
        let Some(function) = self.common.configure else {
            return Err(W::is_missing(&self.plugin));
        };
        match self.set_up(function, (W::KIND, settings.into())) {
            Ok((Ok(sharing),)) => Ok(sharing),
            Ok((Err(error),)) => Err(self.refused(error)),
            Err(fault) => Err(self.plugin.faulted(fault)),
        }
    }

    /// `description.describe`; nothing from a plugin that does not export it.
    pub(super) fn describe(&mut self) -> Result<About, PluginFault> {
        let Some(function) = self.common.describe else {
            return Ok(About::default());
        };
        self.set_up(function, (W::KIND,)).map(|(about,)| about)
    }
}

/// A store with its bounds, and the component in it. Runs the component's start code, if it has
/// any.
fn instantiate(
    plugin: &Plugin,
    surroundings: Surroundings,
) -> Result<(Store<HostState>, component::Instance), PluginFault> {
    let inner = plugin.inner();
    let limits = InstanceLimits::new(&inner.options.limits, inner.memory_limit);
    let state = HostState::new(&inner.name, limits, surroundings);
    let mut store = Store::new(inner.component.engine(), state);
    store.limiter(|state| &mut state.limits);
    // One more than the state may have, so that too large a state is told from a misbehaved call.
    let state = usize::try_from(inner.options.limits.state).unwrap_or(usize::MAX);
    let hook = inner.kinds.hook.as_ref();
    let bodies = hook.is_some_and(|exports| exports.bodies() != [false; 2]);
    let bytes = match (bodies, inner.asks_upstreams) {
        (true, _) => BODY_BYTES,
        (false, true) => REQUEST_BYTES,
        (false, false) => HOSTCALL_BYTES,
    };
    store.set_hostcall_fuel(bytes.max(state).saturating_add(1));
    store.set_max_component_handles(HANDLES);
    let (clock, ticks) = (inner.clock.clone(), inner.ticks);
    store.epoch_deadline_callback(move |mut store| {
        clock.wake(ticks); // the clock must outlast a call that its thread takes very long over
        let interval = clock.interval();
        let state = store.data_mut();
        let waits = state.call_watch.look();
        Ok(waits.unwrap_or_else(|| state.watch.look(interval, ticks)))
    });
    inner.clock.wake(ticks);
    store.data_mut().watch.start(inner.setup_deadline);
    store.set_epoch_deadline(FIRST_LOOK);
    let instance = match plugin.waits() {
        false => inner.component.instantiate(&mut store),
        true => waiting::at_once(inner.component.instantiate_async(&mut store)),
    };
    let instance = instance.map_err(|error| last_words(&mut store, plugin, &error))?;
    Ok((store, instance))
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
