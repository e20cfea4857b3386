//! A policy and its fallback over one fleet: the way from "which endpoint?" to an answer that can
//! be trusted.
//!
//! The policy is asked first; the fallback answers where the policy has no opinion or no instance,
//! and the first candidate is taken where the fallback has none either. A policy that refuses has
//! answered: nothing is asked after it.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;

use super::super::component::Plugin;
use super::super::error::ConfigureError;
use super::super::slot::InstanceSpec;
use super::rehearsal;
use super::slot::{PolicySlot, PolicySpec, REFUSED};
use super::worker_role::{LONGEST_WAIT, Report, WorkerRole};
use super::{
    ExchangeContext, FleetView, InstanceScope, Outcome, Pick, PolicyContext, UpstreamTraits,
};

/// A policy with its settings, and its fallback, over one fleet. Shared by all workers.
pub struct Balancer {
    policy: Role,
    fallback: Role,
    fleet: Arc<dyn FleetView>,
}

/// One of the two policies.
pub(super) struct Role {
    spec: Arc<PolicySpec>,
    instances: Instances,
    /// How long a worker waits for the shared instance.
    pub(super) wait: Duration,
    /// The shared instance could not be told how some attempts ended.
    pub(super) has_missed_endings: AtomicBool,
}

enum Instances {
    /// The one that all workers share. A holder is in one call at the most, which ends at its
    /// deadline.
    Shared(Mutex<PolicySlot>),
    /// Each in a slot of its own; made ahead for workers that have not fetched theirs yet.
    OnePerWorker(Mutex<Vec<PolicySlot>>),
}

impl Role {
    /// Makes an instance to learn whether the settings are right and what scope the policy asks
    /// for, and for a policy that wants one per worker as many more as there are workers: so that
    /// they need not wait for them.
    fn new(spec: PolicySpec, ahead: usize) -> Result<Role, ConfigureError> {
        let spec = Arc::new(spec);
        let (instance, scope) = spec.make_with_scope()?;
        let in_slot = |instance| {
            let mut slot = PolicySlot::new(spec.clone());
            slot.take(instance);
            slot
        };
        let instances = match scope {
            InstanceScope::Process => Instances::Shared(Mutex::new(in_slot(instance))),
            InstanceScope::Worker => {
                let mut made = vec![in_slot(instance)];
                while made.len() < ahead {
                    made.push(in_slot(spec.make()?));
                }
                Instances::OnePerWorker(Mutex::new(made))
            }
        };
        let wait = spec
            .plugin
            .inner()
            .options
            .limits
            .deadline
            .min(LONGEST_WAIT);
        Ok(Role {
            spec,
            instances,
            wait,
            has_missed_endings: AtomicBool::new(false),
        })
    }

    /// A worker's own slot, where the policy does not share one instance.
    pub(super) fn own(&self) -> Option<PolicySlot> {
        let Instances::OnePerWorker(ahead) = &self.instances else {
            return None;
        };
        let ready = ahead.lock().pop();
        Some(ready.unwrap_or_else(|| PolicySlot::new(self.spec.clone())))
    }

    pub(super) fn plugin(&self) -> &Plugin {
        &self.spec.plugin
    }

    pub(super) fn shared(&self) -> Option<&Mutex<PolicySlot>> {
        match &self.instances {
            Instances::Shared(slot) => Some(slot),
            Instances::OnePerWorker(_) => None,
        }
    }

    /// Whether what an instance of `previous` knows may mean something to one of this.
    fn follows(&self, previous: &Role) -> bool {
        let (now, before) = (&self.spec.plugin, &previous.spec.plugin);
        now.name() == before.name() && now.keeps_state() && before.keeps_state()
    }

    /// Takes over what the shared instance of `previous` knows.
    fn inherit(&self, previous: &Role) -> Result<(), ConfigureError> {
        let (Some(now), Some(before)) = (self.shared(), previous.shared()) else {
            return Ok(());
        };
        if !self.follows(previous) {
            return Ok(());
        }
        let state = before.lock().export_state();
        let taken = state.map_or(Ok(()), |state| now.lock().import_state(state));
        taken.map_err(|fault| ConfigureError::Faulted {
            plugin: self.spec.plugin.name().to_owned(),
            when: "in `import-state`",
            fault,
        })
    }
}

impl Balancer {
    /// Configures both policies (the fallback with no settings) and shows them the fleet. Makes
    /// instances ahead for the workers.
    ///
    /// # Errors
    /// [`ConfigureError`], of either policy.
    pub fn new(
        policy: Plugin,
        settings: &Value,
        fallback: Plugin,
        fleet: Arc<dyn FleetView>,
        context: PolicyContext,
    ) -> Result<Balancer, ConfigureError> {
        let PolicyContext {
            upstream,
            generation,
            workers,
        } = context;
        let spec = |plugin, settings: &Value, upstream| PolicySpec {
            plugin,
            settings: settings.to_string(),
            fleet: fleet.clone(),
            upstream,
            generation,
        };
        // A fallback answers for a policy within one fleet: the other one is not its concern.
        let within_one_fleet = UpstreamTraits {
            has_backups: false,
            ..upstream
        };
        // The fallback is seldom needed: its workers make theirs when it is.
        Ok(Balancer {
            policy: Role::new(spec(policy, settings, upstream), workers)?,
            fallback: Role::new(spec(fallback, &no_settings(), within_one_fleet), 1)?,
            fleet,
        })
    }

    /// What the policy was configured for.
    pub fn upstream(&self) -> UpstreamTraits {
        self.policy.spec.upstream
    }

    pub fn policy(&self) -> &Plugin {
        &self.policy.spec.plugin
    }

    pub fn fallback(&self) -> &Plugin {
        &self.fallback.spec.plugin
    }

    /// Asks a further instance of the policy for an endpoint, as a request would, to see that it
    /// can answer.
    ///
    /// # Errors
    /// What it did instead.
    pub fn rehearse(&self) -> Result<(), ConfigureError> {
        rehearsal::rehearse(&self.policy.spec)
    }

    /// Takes over what the policies of an earlier balancer of the same upstream know, where all
    /// workers share them. What each worker has for itself is taken over in [`Balancer::attach`].
    ///
    /// # Errors
    /// The policy failed at it; it has no instance for a moment.
    pub fn inherit(&self, previous: &Balancer) -> Result<(), ConfigureError> {
        let policy = self.policy.inherit(&previous.policy);
        self.fallback.inherit(&previous.fallback).and(policy)
    }

    /// A worker's way to this balancer, with instances of its own where the policies want that;
    /// they take over what those of `previous` know. Called on the worker's thread: the engine sets
    /// the thread up for calls.
    pub fn attach(self: &Arc<Self>, previous: Option<&mut WorkerBalancer>) -> WorkerBalancer {
        wasmtime::Engine::tls_eager_initialize();
        let mut policy = WorkerRole::new(&self.policy);
        if let Some(slot) = policy.own() {
            slot.make();
        }
        let mut worker = WorkerBalancer {
            fallback: WorkerRole::new(&self.fallback),
            policy,
            balancer: self.clone(),
            has_refused: false,
        };
        if let Some(previous) = previous {
            worker.take_over(previous);
        }
        worker
    }
}

fn no_settings() -> Value {
    Value::Object(Default::default())
}

/// One worker's way to a [`Balancer`]. Stays on its thread.
pub struct WorkerBalancer {
    balancer: Arc<Balancer>,
    policy: WorkerRole,
    fallback: WorkerRole,
    has_refused: bool,
}

/// A policy's answer. If the policy observes endings, it is owed one call of
/// [`WorkerBalancer::done`], which takes the answer back: there is no list of answers that could
/// grow.
#[must_use = "a policy that observes is told how each of its picks ended"]
#[derive(Debug)]
pub struct Picked {
    /// The endpoint: a candidate.
    pub index: u32,
    lease: u64,
    /// None where the answer came from no policy, or from one that does not observe.
    observer: Option<Answerer>,
}

impl Picked {
    /// Whether [`WorkerBalancer::done`] has an instance to tell.
    pub fn is_observed(&self) -> bool {
        self.observer.is_some()
    }
}

/// Which of the two policies answered, and which of its instances.
#[derive(Debug, Clone, Copy)]
enum Answerer {
    Policy(u64),
    Fallback(u64),
}

impl WorkerBalancer {
    /// Takes over what the policies of `previous` know, where each worker has its own.
    pub fn take_over(&mut self, previous: &mut WorkerBalancer) {
        let (now, before) = (&self.balancer, &previous.balancer);
        for (follows, own, theirs) in [
            (
                now.policy.follows(&before.policy),
                &mut self.policy,
                &mut previous.policy,
            ),
            (
                now.fallback.follows(&before.fallback),
                &mut self.fallback,
                &mut previous.fallback,
            ),
        ] {
            if follows
                && let (Some(own), Some(theirs)) = (own.own(), theirs.own())
                && let Some(state) = theirs.export_state()
            {
                own.make();
                // A fault is counted and logged; the fallback serves until the next instance is
                // there.
                let _ = own.import_state(state);
            }
        }
    }

    /// Whether the last [`pick`](WorkerBalancer::pick) was refused.
    pub fn has_refused(&self) -> bool {
        self.has_refused
    }

    /// The endpoint for an attempt: always a candidate. `None` only if there is none, or if the
    /// policy refuses the attempt.
    pub fn pick(&mut self, exchange: &Rc<dyn ExchangeContext>, pick: &Pick) -> Option<Picked> {
        self.has_refused = false;
        let candidates = exchange.candidates(0);
        if candidates == 0 {
            self.first_candidate(exchange)?;
        }
        let Balancer {
            policy, fallback, ..
        } = &*self.balancer;
        let picked = |index, role: &Role, answerer| Picked {
            index,
            lease: pick.lease,
            observer: role.spec.plugin.hears_endings().then_some(answerer),
        };
        if let Some((index, generation)) = self.policy.ask(policy, exchange, pick, candidates) {
            self.has_refused = index == REFUSED;
            let answerer = Answerer::Policy(generation);
            return (!self.has_refused).then(|| picked(index, policy, answerer));
        }
        // A policy that failed may have added some before it did.
        exchange.forget_response_headers();
        if let Some((index, generation)) = self.fallback.ask(fallback, exchange, pick, candidates) {
            self.has_refused = index == REFUSED;
            let answerer = Answerer::Fallback(generation);
            return (!self.has_refused).then(|| picked(index, fallback, answerer));
        }
        self.first_candidate(exchange).map(|index| Picked {
            index,
            lease: pick.lease,
            observer: None,
        })
    }

    /// An attempt at this endpoint failed, in the sense of `max_fails`, whichever policy picked it.
    pub fn failed(&mut self, index: u32) {
        let Balancer {
            policy, fallback, ..
        } = &*self.balancer;
        for (role, own) in [(policy, &mut self.policy), (fallback, &mut self.fallback)] {
            if role.spec.plugin.hears_failures() {
                own.tell(role, Report::Failed(index));
            }
        }
    }

    /// The attempt ended, or the answer was not used: tells the instance that gave it, and no
    /// other.
    pub fn done(&mut self, exchange: &Rc<dyn ExchangeContext>, picked: Picked, outcome: &Outcome) {
        let Picked {
            index,
            lease,
            observer,
        } = picked;
        let Balancer {
            policy, fallback, ..
        } = &*self.balancer;
        let (role, own, generation) = match observer {
            Some(Answerer::Policy(generation)) => (policy, &mut self.policy, generation),
            Some(Answerer::Fallback(generation)) => (fallback, &mut self.fallback, generation),
            None => return,
        };
        own.tell(
            role,
            Report::Ended {
                generation,
                exchange: exchange.clone(),
                lease,
                index,
                outcome: *outcome,
            },
        );
    }

    #[cold]
    fn first_candidate(&self, exchange: &Rc<dyn ExchangeContext>) -> Option<u32> {
        let words = self.balancer.fleet.len().div_ceil(64);
        let (word, bits) = (0..words)
            .map(|word| (word, exchange.candidates(word)))
            .find(|(_, bits)| *bits != 0)?;
        Some(word * 64 + bits.trailing_zeros())
    }
}

impl Drop for WorkerBalancer {
    fn drop(&mut self) {
        self.policy.finish(&self.balancer.policy);
        self.fallback.finish(&self.balancer.fallback);
    }
}
