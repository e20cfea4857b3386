//! Keeps a use of a plugin served by an instance: makes it, lets it go when it faults, and makes the
//! next one.
//!
//! The next instance comes after a pause that doubles while faults go on, and is made on a thread
//! of its own: a plugin that is broken costs its requests its answers, and the worker nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot::{self, error::TryRecvError};

use super::common::Sharing;
use super::component::Plugin;
use super::error::{ConfigureError, PluginFault};
use super::instance::Instance;
use super::untrusted::Untrusted;
use super::world::World;

/// The pause after the first fault, and the longest one.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// Microseconds between two ticks at the least.
const SHORTEST_TICK: u64 = 100_000;

/// The generation of the instance that takes over from another one.
pub(super) const FIRST: u64 = 1;

/// States that a slot has handed to a successor.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct HandedOver {
    /// How many.
    pub(super) times: u64,
    /// The instance that knew the last one.
    generation: u64,
}

impl HandedOver {
    /// Whether the last state has what was taken over from the one before.
    pub(super) fn has_all(&self) -> bool {
        self.generation == FIRST
    }

    /// Whether a successor knows what an instance of this generation (none: whichever there was)
    /// was asked when so many states had been handed over.
    pub(super) fn covers(&self, generation: Option<u64>, times: u64) -> bool {
        times < self.times && generation.is_none_or(|asked| asked == self.generation)
    }
}

/// All that it takes to make an instance that can serve.
pub(super) trait InstanceSpec: Send + Sync + Sized + 'static {
    type World: World;
    /// What an instance must not miss.
    type Report;
    /// What becomes of requests without an instance, for the log.
    const MEANWHILE: &'static str;
    /// The longest pause before the next instance.
    const LONGEST_PAUSE: Duration = LONGEST_PAUSE;

    fn plugin(&self) -> &Plugin;

    /// An instance that is ready to be called, and how many the plugin wants.
    ///
    /// # Errors
    /// [`ConfigureError`].
    fn make(&self) -> Result<Made<Self::World>, ConfigureError>;

    /// Tells an instance, if it is there.
    fn tell(slot: &mut InstanceSlot<Self>, report: &Self::Report);

    /// Whether this came after `other`, for the same instances.
    fn is_newer_than(&self, _other: &Self) -> bool {
        false
    }

    /// Tells an instance that was made for an older one what is different.
    ///
    /// # Errors
    /// What the plugin did instead.
    fn change(&self, _instance: &mut Instance<Self::World>) -> Result<(), PluginFault> {
        Ok(())
    }
}

/// The place of one instance.
pub(super) struct InstanceSlot<S: InstanceSpec> {
    spec: Arc<S>,
    state: SlotState<S::World>,
    /// Counts instances, so that a lease of an earlier one is told from the present one's.
    generation: u64,
    /// What came before is known to a successor as well.
    handed_over: HandedOver,
    /// Faults since an instance last lived for longer than the longest pause.
    faults: u32,
    /// What calls are charged for: see [`InstanceSlot::take_charge`].
    charge: Duration,
    /// When the instance is to be called next because time has passed, in microseconds of the
    /// workers' clock; none for never.
    tick_at: Option<u64>,
    /// A call that may wait is under way, or was given up.
    is_in_call: bool,
}

type Made<W> = (Box<Instance<W>>, Sharing);

enum SlotState<W: World> {
    /// Nobody has needed it yet.
    Unmade,
    Ready {
        instance: Box<Instance<W>>,
        since: Instant,
    },
    Pausing {
        until: Instant,
    },
    Making(oneshot::Receiver<Result<Made<W>, ConfigureError>>),
}

impl<S: InstanceSpec> InstanceSlot<S> {
    /// A slot whose instance is made when it is first needed.
    pub(super) fn new(spec: Arc<S>) -> InstanceSlot<S> {
        InstanceSlot {
            spec,
            state: SlotState::Unmade,
            generation: 0,
            handed_over: HandedOver::default(),
            faults: 0,
            charge: Duration::ZERO,
            tick_at: None,
            is_in_call: false,
        }
    }

    /// The time that calls are charged for since this was last asked; nothing, mostly.
    #[inline]
    pub(super) fn take_charge(&mut self) -> Duration {
        std::mem::take(&mut self.charge)
    }

    /// Puts an instance in its place.
    pub(super) fn take(&mut self, instance: Box<Instance<S::World>>) {
        self.generation += 1;
        self.tick_at = self.spec.plugin().ticks().then_some(0);
        self.state = SlotState::Ready {
            instance,
            since: Instant::now(),
        };
    }

    /// Makes the instance now, unless it was made before.
    pub(super) fn make(&mut self) {
        if let SlotState::Unmade = self.state {
            let made = self.spec.make();
            self.made(made);
        }
    }

    /// Follows `spec` if that is newer than what the slot has: the instance is told, and the next
    /// one is made from it.
    #[inline]
    pub(super) fn follow(&mut self, spec: &Arc<S>) {
        if !Arc::ptr_eq(&self.spec, spec) {
            self.change(spec);
        }
    }

    #[cold]
    fn change(&mut self, spec: &Arc<S>) {
        // Exchanges that began earlier ask with the one that they began with.
        if !spec.is_newer_than(&self.spec) {
            return;
        }
        self.spec = spec.clone();
        if let SlotState::Making(_) = &self.state {
            // It is being made for members that are not the present ones.
            self.make_in_background();
        }
        self.call_present("change", |instance| spec.change(instance));
    }

    /// Which instance it is that answers now.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// What was handed to a successor so far.
    pub(super) fn handed_over(&self) -> HandedOver {
        self.handed_over
    }

    /// Whether there is an instance.
    pub(super) fn is_ready(&self) -> bool {
        matches!(self.state, SlotState::Ready { .. })
    }

    /// Whether the next instance may not be made yet.
    pub(super) fn is_pausing(&self) -> bool {
        matches!(self.state, SlotState::Pausing { until } if Instant::now() < until)
    }

    /// Calls the instance, if there is one, or if it can be made at once. A fault is counted,
    /// logged and charged for, and costs the instance; then, or without an instance, there is no
    /// answer.
    #[inline]
    pub(super) fn call<R>(
        &mut self,
        name: &str,
        call: impl FnOnce(&mut Instance<S::World>) -> Result<R, PluginFault>,
    ) -> Option<R> {
        self.ready()?;
        self.call_present(name, call)
    }

    /// As [`call`](InstanceSlot::call), but only if there is an instance already.
    #[inline]
    pub(super) fn call_present<R>(
        &mut self,
        name: &str,
        call: impl FnOnce(&mut Instance<S::World>) -> Result<R, PluginFault>,
    ) -> Option<R> {
        let SlotState::Ready { instance, .. } = &mut self.state else {
            return None;
        };
        let answer = instance.hear_of_files().and_then(|()| call(instance));
        if let Some(charge) = instance.take_charge() {
            self.charge += charge;
        }
        match answer {
            Ok(answer) => Some(answer),
            Err(fault) => {
                self.faulted(name, &fault);
                None
            }
        }
    }

    /// As [`call`](InstanceSlot::call), of a call that may wait. Dropped before it is over, it leaves
    /// an instance that has to [go](InstanceSlot::leave_unfinished).
    pub(super) async fn call_waiting<R>(
        &mut self,
        name: &str,
        call: impl AsyncFnOnce(&mut Instance<S::World>) -> Result<R, PluginFault>,
    ) -> Option<R> {
        self.ready_in_time().await?;
        let SlotState::Ready { instance, .. } = &mut self.state else {
            return None;
        };
        if let Err(fault) = instance.hear_of_files() {
            self.faulted(name, &fault);
            return None;
        }
        self.is_in_call = true;
        let answer = call(instance).await;
        self.is_in_call = false;
        self.charge += instance.take_time_used();
        match answer {
            Ok(answer) => Some(answer),
            Err(fault) => {
                self.faulted(name, &fault);
                None
            }
        }
    }

    /// Lets the instance go, if it is in a call that was given up.
    pub(super) fn leave_unfinished(&mut self) {
        if std::mem::take(&mut self.is_in_call) {
            self.state = SlotState::Unmade;
        }
    }

    /// Lets the instance go, and has the next one made meanwhile.
    pub(super) fn make_another(&mut self) {
        self.make_in_background();
    }

    /// Lets the instance go once the slot is left, as after a call that was given up.
    pub(super) fn let_go_when_left(&mut self) {
        self.is_in_call = true;
    }

    /// Waits for an instance that can be had without a pause, or the shortest one, and is made on a
    /// thread of its own.
    async fn ready_in_time(&mut self) -> Option<()> {
        if self.spec.plugin().is_quarantined() {
            return None;
        }
        // The shortest pause is over sooner than anybody minds.
        if let SlotState::Pausing { until } = self.state
            && until.saturating_duration_since(Instant::now()) <= SHORTEST_PAUSE
        {
            tokio::time::sleep_until(until.into()).await;
        }
        match &self.state {
            SlotState::Unmade => self.make_in_background(),
            SlotState::Pausing { until } if Instant::now() >= *until => self.make_in_background(),
            _ => {}
        }
        if let SlotState::Making(made) = &mut self.state {
            match made.await {
                Ok(made) => self.made(made),
                Err(_) => _ = self.pause(),
            }
        }
        self.is_ready().then_some(())
    }

    /// As [`call_present`](InstanceSlot::call_present), but only if the instance is of that
    /// generation and the plugin not quarantined.
    pub(super) fn call_same<R>(
        &mut self,
        generation: u64,
        name: &str,
        call: impl FnOnce(&mut Instance<S::World>) -> Result<R, PluginFault>,
    ) -> Option<R> {
        let is_same = generation == self.generation && !self.spec.plugin().is_quarantined();
        is_same.then(|| self.call_present(name, call)).flatten()
    }

    /// Lets the instance go, and makes another one at once: one that knows nothing is better than
    /// none, and there is no reason to wait for it.
    pub(super) fn make_anew(&mut self) {
        self.state = SlotState::Unmade;
        self.make();
    }

    /// Lets the instance go, as after a fault: it could not be told something that it must not
    /// miss, so what it counts would be wrong.
    pub(super) fn missed_reports(&mut self) {
        if self.is_ready() {
            self.faulted("done", &PluginFault::untold());
        }
    }

    /// Calls the instance if its time has come. After a fault, sees to it that there is one again:
    /// there may be no traffic that would.
    pub(super) fn tick(&mut self, now_us: u64) {
        if let SlotState::Pausing { .. } | SlotState::Making(_) = self.state {
            self.ready();
        }
        if self.tick_at.is_none_or(|at| now_us < at) {
            return;
        }
        let next = self.call_present("tick", |instance| instance.tick(now_us));
        // After a fault the next instance has a time of its own.
        self.tick_at = next.flatten().map(|millis| {
            let micros = u64::from(millis).saturating_mul(1000);
            now_us.saturating_add(micros.max(SHORTEST_TICK))
        });
    }

    /// What the instance knows, if there is one and its plugin keeps it.
    pub(super) fn export_state(&mut self) -> Option<Vec<u8>> {
        let state = self.copy_state()?;
        self.handed_over.times += 1;
        self.handed_over.generation = self.generation;
        Some(state)
    }

    /// As [`export_state`](InstanceSlot::export_state), for an instance that is no successor.
    pub(super) fn copy_state(&mut self) -> Option<Vec<u8>> {
        self.call_present("export-state", Instance::export_state)?
    }

    /// Hands the instance what another one knew. What it does not take is lost, and the log says
    /// so. One that has taken it is of the [`FIRST`] generation.
    ///
    /// # Errors
    /// The fault that this cost the instance.
    pub(super) fn import_state(&mut self, state: Vec<u8>) -> Result<(), PluginFault> {
        let mut failed = None;
        let accepted = self.call_present("import-state", |instance| {
            let accepted = instance.import_state(state);
            accepted.inspect_err(|fault| failed = Some(fault.clone()))
        });
        if let Some(Err(reason)) = accepted {
            // It knows nothing of what the one before was asked.
            self.generation += 1;
            let reason = Untrusted::message(reason);
            let plugin = self.spec.plugin().name();
            tracing::warn!(
                plugin,
                "plugin `{plugin}` starts without the state of the instance before it: {reason}"
            );
        }
        match failed {
            None => Ok(()),
            Some(fault) => {
                self.make_anew();
                Err(fault)
            }
        }
    }

    #[inline]
    fn ready(&mut self) -> Option<&mut Instance<S::World>> {
        if self.spec.plugin().is_quarantined() {
            return None;
        }
        if !self.is_ready() {
            self.prepare();
        }
        match &mut self.state {
            SlotState::Ready { instance, .. } => Some(instance),
            _ => None,
        }
    }

    /// Takes the next step towards an instance. Never waits, but for the very first instance.
    #[cold]
    fn prepare(&mut self) {
        match &mut self.state {
            SlotState::Unmade => self.make(),
            SlotState::Pausing { until } if Instant::now() >= *until => self.make_in_background(),
            SlotState::Making(made) => match made.try_recv() {
                Ok(made) => self.made(made),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Closed) => {
                    self.pause();
                }
            },
            SlotState::Ready { .. } | SlotState::Pausing { .. } => {}
        }
    }

    fn make_in_background(&mut self) {
        let (sender, receiver) = oneshot::channel();
        let spec = self.spec.clone();
        let thread = std::thread::Builder::new().name("plugin-restart".into());
        match thread.spawn(move || sender.send(spec.make())) {
            Ok(_) => self.state = SlotState::Making(receiver),
            Err(error) => {
                let plugin = self.spec.plugin().name();
                tracing::warn!(
                    plugin,
                    "no thread to make a new instance of plugin `{plugin}`: {error}"
                );
                self.pause();
            }
        }
    }

    fn made(&mut self, made: Result<Made<S::World>, ConfigureError>) {
        match made {
            Ok((instance, _)) => self.take(instance),
            Err(error) => {
                if let ConfigureError::Faulted { fault, when, .. } = &error {
                    self.spec.plugin().note_fault(when, fault);
                }
                let pause = self.pause();
                tracing::warn!(
                    plugin = self.spec.plugin().name(),
                    "{error}; next try in {pause:?}"
                );
            }
        }
    }

    /// Counts and reports a fault, and lets the instance go.
    #[cold]
    pub(super) fn faulted(&mut self, call: &str, fault: &PluginFault) {
        if let SlotState::Ready { since, .. } = &self.state
            && since.elapsed() > LONGEST_PAUSE
        {
            self.faults = 0;
        }
        let pause = self.pause();
        let (plugin, kind) = (self.spec.plugin().name(), fault.kind.name());
        let version = self.spec.plugin().version();
        tracing::warn!(
            plugin,
            version,
            kind,
            "plugin `{plugin}` failed in `{call}`: {fault}; {}, next instance in {pause:?}",
            S::MEANWHILE
        );
        let when = format!("in `{call}`");
        self.spec.plugin().note_fault(&when, fault);
    }

    fn pause(&mut self) -> Duration {
        let pause = SHORTEST_PAUSE
            .saturating_mul(1 << self.faults.min(16))
            .min(S::LONGEST_PAUSE);
        self.faults = self.faults.saturating_add(1);
        self.state = SlotState::Pausing {
            until: Instant::now() + pause,
        };
        pause
    }
}
