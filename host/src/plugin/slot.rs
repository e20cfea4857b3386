//! Keeps a policy served by an instance: makes it, lets it go when it faults, and makes the next
//! one.
//!
//! The next instance comes after a pause that doubles while faults go on, and is made on a thread
//! of its own: a plugin that is broken costs its requests the fallback's choice, and the worker
//! nothing.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use super::component::Plugin;
use super::error::{ConfigureError, PluginFault};
use super::instance::Instance;
use super::untrusted::Untrusted;
use super::{ExchangeContext, FleetView, InstanceScope, Outcome, Pick, UpstreamTraits};

/// `balancer.pick` in the WIT: the choice is left to the fallback.
pub(super) const NO_OPINION: u32 = u32::MAX;
/// The pause after the first fault, and the longest one.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// All that it takes to make an instance that can serve.
pub(super) struct InstanceSpec {
    pub(super) plugin: Plugin,
    /// JSON.
    pub(super) settings: String,
    pub(super) fleet: Arc<dyn FleetView>,
    pub(super) upstream: UpstreamTraits,
    /// Which list of endpoints of the upstream this is: see `balancer.update` in the WIT.
    pub(super) generation: u64,
}

impl InstanceSpec {
    /// An instance with its settings and endpoints, and the scope it asks for.
    pub(super) fn make(&self) -> Result<(Box<Instance>, InstanceScope), ConfigureError> {
        let faulted = |fault| self.plugin.faulted(fault);
        let fleet = Some(self.fleet.clone());
        let mut instance = Instance::new(&self.plugin, fleet, self.upstream).map_err(faulted)?;
        let scope = instance.configure(&self.settings)?;
        instance
            .update(self.generation, self.fleet.endpoints())
            .map_err(faulted)?;
        Ok((Box::new(instance), scope))
    }
}

/// The place of one instance.
pub(super) struct InstanceSlot {
    recipe: Arc<InstanceSpec>,
    state: SlotState,
    /// Counts instances, so that a lease of an earlier one is told from the present one's.
    generation: u64,
    /// Faults since an instance last lived for longer than the longest pause.
    faults: u32,
    /// What calls are charged for: see [`InstanceSlot::take_charge`].
    charge: Duration,
}

enum SlotState {
    /// Nobody has needed it yet.
    Unmade,
    Ready {
        instance: Box<Instance>,
        since: Instant,
    },
    Pausing {
        until: Instant,
    },
    Making(Receiver<Result<(Box<Instance>, InstanceScope), ConfigureError>>),
}

impl InstanceSlot {
    /// A seat whose instance is made when it is first needed.
    pub(super) fn new(recipe: Arc<InstanceSpec>) -> InstanceSlot {
        InstanceSlot {
            recipe,
            state: SlotState::Unmade,
            generation: 0,
            faults: 0,
            charge: Duration::ZERO,
        }
    }

    /// The time that calls are charged for since this was last asked; nothing, mostly.
    #[inline]
    pub(super) fn take_charge(&mut self) -> Duration {
        std::mem::take(&mut self.charge)
    }

    /// Puts an instance in its place.
    pub(super) fn take(&mut self, instance: Box<Instance>) {
        self.generation += 1;
        self.state = SlotState::Ready {
            instance,
            since: Instant::now(),
        };
    }

    /// Makes the instance now, unless it was made before.
    pub(super) fn make(&mut self) {
        if let SlotState::Unmade = self.state {
            let made = self.recipe.make();
            self.made(made);
        }
    }

    /// Asks the policy. `None`: there is no instance at the moment, it has no opinion, or it
    /// faulted.
    #[inline]
    pub(super) fn pick(
        &mut self,
        exchange: &Rc<dyn ExchangeContext>,
        pick: &Pick,
        candidates: u64,
    ) -> Option<u32> {
        let instance = self.ready()?;
        let picked = instance.pick(exchange, pick, candidates);
        if let Some(charge) = instance.charge() {
            self.charge += charge;
        }
        match picked {
            Ok(NO_OPINION) => None,
            Ok(index) if is_candidate(exchange, index, candidates) => Some(index),
            Ok(index) => self.faulted("pick", &PluginFault::answer(index)),
            Err(fault) => self.faulted("pick", &fault),
        }
    }

    /// Tells the policy of a failed attempt, if it has an instance.
    pub(super) fn failed(&mut self, index: u32) {
        let SlotState::Ready { instance, .. } = &mut self.state else {
            return;
        };
        let heard = instance.failed(index);
        if let Some(charge) = instance.charge() {
            self.charge += charge;
        }
        if let Err(fault) = heard {
            self.faulted("failed", &fault);
        }
    }

    /// Tells the policy how an attempt ended, if the instance that picked it is still there.
    pub(super) fn done(
        &mut self,
        generation: u64,
        exchange: &Rc<dyn ExchangeContext>,
        lease: u64,
        index: u32,
        outcome: &Outcome,
    ) {
        let SlotState::Ready { instance, .. } = &mut self.state else {
            return;
        };
        if generation != self.generation {
            return;
        }
        let heard = instance.done(exchange, lease, index, outcome);
        if let Some(charge) = instance.charge() {
            self.charge += charge;
        }
        if let Err(fault) = heard {
            self.faulted("done", &fault);
        }
    }

    /// Lets the instance go: it could not be told how some attempts ended, and would count wrong.
    pub(super) fn missed_endings(&mut self) {
        if let SlotState::Ready { .. } = &self.state {
            self.faulted("done", &PluginFault::untold());
        }
    }

    /// What the instance knows, if there is one and its plugin keeps it.
    pub(super) fn export_state(&mut self) -> Option<Vec<u8>> {
        let SlotState::Ready { instance, .. } = &mut self.state else {
            return None;
        };
        match instance.export_state() {
            Ok(state) => state,
            Err(fault) => {
                self.faulted("export-state", &fault);
                None
            }
        }
    }

    /// Hands the instance what another one knew. What it does not take is lost, and the log says
    /// so.
    ///
    /// # Errors
    /// The fault that this cost the instance.
    pub(super) fn import_state(&mut self, state: Vec<u8>) -> Result<(), PluginFault> {
        let SlotState::Ready { instance, .. } = &mut self.state else {
            return Ok(());
        };
        match instance.import_state(state) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(reason)) => {
                let reason = Untrusted::message(reason);
                let plugin = self.recipe.plugin.name();
                tracing::warn!(
                    plugin,
                    "plugin `{plugin}` starts without the state of the instance before it: {reason}"
                );
                Ok(())
            }
            Err(fault) => {
                self.faulted("import-state", &fault);
                // One that knows nothing is better than the fallback, and there is no reason to
                // wait for it.
                self.state = SlotState::Unmade;
                self.make();
                Err(fault)
            }
        }
    }

    /// Which instance it is that answers now.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    #[inline]
    fn ready(&mut self) -> Option<&mut Instance> {
        if self.recipe.plugin.is_quarantined() {
            return None;
        }
        if !matches!(self.state, SlotState::Ready { .. }) {
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
        match &self.state {
            SlotState::Unmade => self.make(),
            SlotState::Pausing { until } if Instant::now() >= *until => self.make_in_background(),
            SlotState::Making(made) => match made.try_recv() {
                Ok(made) => self.made(made),
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => {
                    self.pause();
                }
            },
            SlotState::Ready { .. } | SlotState::Pausing { .. } => {}
        }
    }

    fn make_in_background(&mut self) {
        let (sender, receiver) = sync_channel(1);
        let recipe = self.recipe.clone();
        let thread = std::thread::Builder::new().name("plugin-restart".into());
        match thread.spawn(move || sender.send(recipe.make())) {
            Ok(_) => self.state = SlotState::Making(receiver),
            Err(error) => {
                let plugin = self.recipe.plugin.name();
                tracing::warn!(
                    plugin,
                    "no thread to make a new instance of plugin `{plugin}`: {error}"
                );
                self.pause();
            }
        }
    }

    fn made(&mut self, made: Result<(Box<Instance>, InstanceScope), ConfigureError>) {
        match made {
            Ok((instance, _)) => self.take(instance),
            Err(error) => {
                if let ConfigureError::Faulted { fault, when, .. } = &error {
                    self.recipe.plugin.note_fault(when, fault);
                }
                let pause = self.pause();
                tracing::warn!(
                    plugin = self.recipe.plugin.name(),
                    "{error}; next try in {pause:?}"
                );
            }
        }
    }

    /// Counts and reports a fault, and lets the instance go.
    #[cold]
    fn faulted(&mut self, call: &str, fault: &PluginFault) -> Option<u32> {
        if let SlotState::Ready { since, .. } = &self.state
            && since.elapsed() > LONGEST_PAUSE
        {
            self.faults = 0;
        }
        let pause = self.pause();
        let (plugin, kind) = (self.recipe.plugin.name(), fault.kind.name());
        let version = self.recipe.plugin.version();
        tracing::warn!(
            plugin,
            version,
            kind,
            "plugin `{plugin}` failed in `{call}`: {fault}; the fallback serves, next instance in {pause:?}"
        );
        let when = format!("in `{call}`");
        self.recipe.plugin.note_fault(&when, fault);
        None
    }

    fn pause(&mut self) -> Duration {
        let pause = SHORTEST_PAUSE
            .saturating_mul(1 << self.faults.min(16))
            .min(LONGEST_PAUSE);
        self.faults = self.faults.saturating_add(1);
        self.state = SlotState::Pausing {
            until: Instant::now() + pause,
        };
        pause
    }
}

/// Whether the bit of `index` is set among the candidates, of which `first` is word 0.
#[inline]
pub(super) fn is_candidate(exchange: &Rc<dyn ExchangeContext>, index: u32, first: u64) -> bool {
    let word = match index / 64 {
        0 => first,
        word => exchange.candidates(word),
    };
    word >> (index % 64) & 1 == 1
}
