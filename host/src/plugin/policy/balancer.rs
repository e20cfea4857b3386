//! A policy and all that goes with it over one fleet: the way from "which endpoint?" to an answer
//! that can be trusted.
//!
//! Filters and scorers narrow the candidates, then the policy is asked; the fallback answers where
//! the policy has no opinion or no instance, and the first candidate is taken where the fallback
//! has none either. A policy that refuses has answered: nothing is asked after it. Where there is
//! no fallback (`fallback = "refuse"`), a policy that cannot answer refuses.

use std::sync::Arc;

use serde_json::Value;

use super::super::component::Plugin;
use super::super::context::{ExchangeAtHand, FleetView, UpstreamTraits};
use super::super::error::ConfigureError;
use super::super::files::PluginFiles;
use super::super::role::Role;
use super::super::worker_role::WorkerRole;
use super::narrowing::{Narrowed, Narrowing, ScorerPart, WorkerNarrowing};
use super::rehearsal;
use super::slot::{Choice, EndpointSpec, PolicyReport, PolicySpec, REFUSAL_STATUS};
use super::{Outcome, Pick, PolicyContext};
use crate::http::variable::KnownNames;

/// A policy with its settings, and what goes with it, over one fleet. Shared by all workers.
pub struct Balancer {
    policy: Role<PolicySpec>,
    narrowing: Narrowing,
    /// None: where the policy cannot answer, the exchange is refused.
    fallback: Option<Role<PolicySpec>>,
    fleet: Arc<dyn FleetView>,
}

/// What a [`Balancer`] is made of.
pub struct BalancerParts<'a> {
    pub policy: Plugin,
    pub settings: &'a Value,
    /// With their settings, in order.
    pub filters: &'a [(Plugin, Value)],
    pub scorers: &'a [ScorerPart],
    /// None: where the policy cannot answer, the exchange is refused.
    pub fallback: Option<Plugin>,
}

impl Balancer {
    /// Configures all plugins (the fallback with no settings) and shows them the fleet. Makes
    /// instances ahead for the workers.
    ///
    /// # Errors
    /// [`ConfigureError`], of any of them.
    pub fn new(
        parts: BalancerParts<'_>,
        fleet: Arc<dyn FleetView>,
        context: &PolicyContext,
    ) -> Result<Balancer, ConfigureError> {
        Balancer::made(parts, fleet, context, |spec| {
            Role::new(spec, context.workers)
        })
    }

    /// As [`Balancer::new`], with the instances of the policy of `previous`, which are told of the
    /// endpoints before they serve with them (`member-changes` in the WIT). All that goes with the
    /// policy is made anew. An index that `fleet` has in common with the fleet of `previous` has
    /// the same meaning in both, or none in one of them.
    ///
    /// # Errors
    /// [`ConfigureError`], of the filters, the scorers and the fallback.
    pub fn continuing(
        previous: &Balancer,
        parts: BalancerParts<'_>,
        fleet: Arc<dyn FleetView>,
        context: &PolicyContext,
    ) -> Result<Balancer, ConfigureError> {
        Balancer::made(parts, fleet, context, |mut spec| {
            // What its instances have read.
            spec.0.files = previous.policy.spec.0.files.clone();
            Ok(Role::continuing(&previous.policy, spec))
        })
    }

    fn made(
        parts: BalancerParts<'_>,
        fleet: Arc<dyn FleetView>,
        context: &PolicyContext,
        role: impl FnOnce(PolicySpec) -> Result<Role<PolicySpec>, ConfigureError>,
    ) -> Result<Balancer, ConfigureError> {
        let BalancerParts {
            policy,
            settings,
            filters,
            scorers,
            fallback,
        } = parts;
        let spec = |plugin, settings: &Value, context: &PolicyContext| {
            PolicySpec(EndpointSpec::new(plugin, settings, &fleet, context))
        };
        // A fallback answers for a policy within one fleet: the other one is not its concern.
        let within_one_fleet = PolicyContext {
            traits: UpstreamTraits {
                has_backups: false,
                ..context.traits
            },
            ..context.clone()
        };
        // The fallback is seldom needed: its workers make theirs when it is.
        let fallback = fallback
            .map(|fallback| Role::new(spec(fallback, &no_settings(), &within_one_fleet), 1))
            .transpose()?;
        Ok(Balancer {
            policy: role(spec(policy, settings, context))?,
            narrowing: Narrowing::new(filters, scorers, &fleet, context)?,
            fallback,
            fleet,
        })
    }

    /// What the policy was configured for.
    pub fn traits(&self) -> UpstreamTraits {
        self.policy.spec.0.traits
    }

    /// The variables that its settings could name, beside nginx's own.
    pub fn variables(&self) -> &KnownNames {
        &self.policy.spec.0.variables
    }

    pub fn policy(&self) -> &Plugin {
        self.policy.plugin()
    }

    /// None: where the policy cannot answer, the exchange is refused.
    pub fn fallback(&self) -> Option<&Plugin> {
        self.fallback.as_ref().map(Role::plugin)
    }

    /// The files that settings name.
    pub fn files(&self) -> impl Iterator<Item = &Arc<PluginFiles>> {
        std::iter::once(&self.policy.spec.0.files).chain(self.narrowing.files())
    }

    /// All plugins.
    pub fn plugins(&self) -> impl Iterator<Item = &Plugin> {
        let policies = std::iter::once(self.policy()).chain(self.fallback());
        policies.chain(self.narrowing())
    }

    /// The plugins of the filters and scorers, in that order.
    pub fn narrowing(&self) -> impl Iterator<Item = &Plugin> {
        self.narrowing.plugins()
    }

    /// Whether the policy's instances are those of `previous`.
    pub fn continues(&self, previous: &Balancer) -> bool {
        self.policy.continues(&previous.policy)
    }

    /// Tells the instances of the policy that all workers share of the endpoints, if they served
    /// with others before. What each worker has for itself is told in
    /// [`WorkerBalancer::take_over`].
    pub fn tell_of_endpoints(&self) {
        self.policy.tell_shared();
    }

    /// The policy's shared instance is busy until this is dropped.
    #[cfg(test)]
    pub fn keep_busy(&self) -> impl Sized {
        self.policy.shared()[0].slot.lock()
    }

    /// Asks a further instance of the policy for an endpoint, as a request would, to see that it
    /// can answer.
    ///
    /// # Errors
    /// What it did instead.
    pub fn rehearse(&self) -> Result<(), ConfigureError> {
        rehearsal::rehearse(&self.policy.spec)
    }

    /// Takes over what the plugins of an earlier balancer of the same upstream know, where all
    /// workers share them. What each worker has for itself is taken over in [`Balancer::attach`].
    ///
    /// # Errors
    /// The policy failed at it; it has no instance for a moment.
    pub fn inherit(&self, previous: &Balancer) -> Result<(), ConfigureError> {
        let policy = self.policy.inherit(&previous.policy);
        let narrowing = self.narrowing.inherit(&previous.narrowing);
        let fallback = match (&self.fallback, &previous.fallback) {
            (Some(now), Some(before)) => now.inherit(before),
            _ => Ok(()),
        };
        fallback.and(narrowing).and(policy)
    }

    /// Whether each worker has an instance of the policy for itself.
    pub fn is_per_worker(&self) -> bool {
        self.policy.shared().is_empty()
    }

    /// Begins with a copy of what the plugins of another balancer of the same upstream know, where all
    /// workers share them. Those go on.
    ///
    /// # Errors
    /// The policy failed at it; it begins without.
    pub fn copy(&self, serving: &Balancer) -> Result<(), ConfigureError> {
        self.policy.copy(&serving.policy)
    }

    /// A worker's way to this balancer, with instances of its own where the plugins want that: of
    /// the policy the one of `previous`, if this [continues](Balancer::continues) that. What it
    /// knows otherwise is left for [`WorkerBalancer::take_over`]. Called on the worker's thread:
    /// the engine sets the thread up for calls.
    pub fn attach(self: &Arc<Self>, previous: Option<&WorkerBalancer>) -> WorkerBalancer {
        wasmtime::Engine::tls_eager_initialize();
        let worker_role = |role: &Role<PolicySpec>| WorkerRole::new(role, role.spec.0.wait());
        let continued = previous.filter(|previous| self.continues(&previous.balancer));
        let policy = match continued {
            Some(previous) => {
                let wait = self.policy.spec.0.wait();
                WorkerRole::continuing(&previous.policy, &self.policy, wait)
            }
            None => {
                let mut policy = worker_role(&self.policy);
                if let Some(mut slot) = policy.own() {
                    slot.make();
                }
                policy
            }
        };
        WorkerBalancer {
            fallback: self.fallback.as_ref().map(worker_role),
            narrowing: self.narrowing.attach(),
            policy,
            balancer: self.clone(),
            refusal: None,
        }
    }
}

fn no_settings() -> Value {
    Value::Object(Default::default())
}

/// One worker's way to a [`Balancer`]. Stays on its thread.
pub struct WorkerBalancer {
    balancer: Arc<Balancer>,
    policy: WorkerRole<PolicySpec>,
    fallback: Option<WorkerRole<PolicySpec>>,
    /// None where there are no filters and no scorers.
    narrowing: Option<Box<WorkerNarrowing>>,
    /// The status with which the last pick was refused.
    refusal: Option<u16>,
}

/// A policy's answer. If the policy observes endings, it is owed one call of
/// [`WorkerBalancer::done`], which takes the answer back: there is no list of answers that could
/// grow.
#[must_use = "a policy that observes is told how each of its picks ended"]
#[derive(Debug)]
pub struct Picked {
    /// The endpoint: a candidate.
    pub index: u32,
    pub by: ChosenBy,
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

/// Who has chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChosenBy {
    Policy,
    Fallback,
    /// It is the first candidate: neither had an answer.
    Nobody,
}

/// Which of the two policies answered, and which of its instances.
#[derive(Debug, Clone, Copy)]
enum Answerer {
    Policy(u64),
    Fallback(u64),
}

impl WorkerBalancer {
    /// Takes over what the policies of `previous` know, where each worker has its own; an instance
    /// that lives on is told of its endpoints.
    pub fn take_over(&mut self, previous: &mut WorkerBalancer) {
        let (now, before) = (&self.balancer, &previous.balancer);
        let theirs = &mut previous.policy;
        self.policy.take_over(&now.policy, theirs, &before.policy);
        if let (Some(now), Some(own), Some(before), Some(theirs)) = (
            &now.fallback,
            &mut self.fallback,
            &before.fallback,
            &mut previous.fallback,
        ) {
            own.take_over(now, theirs, before);
        }
        let narrowing = (&mut self.narrowing, &mut previous.narrowing);
        if let (Some(own), Some(theirs)) = narrowing {
            let balancers = (&self.balancer, &previous.balancer);
            own.take_over(&balancers.0.narrowing, theirs, &balancers.1.narrowing);
        }
    }

    /// What the worker's own instance of the policy knows, for one elsewhere; none where all workers
    /// share one, or where it keeps nothing.
    pub fn copy_state(&mut self) -> Option<Vec<u8>> {
        self.policy.copy_state()
    }

    /// Begins with what an instance elsewhere knows.
    pub fn begin_with(&mut self, state: Vec<u8>) {
        self.policy.begin_with(state);
    }

    /// What it is a worker's way to.
    pub fn balancer(&self) -> &Arc<Balancer> {
        &self.balancer
    }

    /// The status of the exchange, if the last [`pick`](WorkerBalancer::pick) was refused.
    pub fn refusal(&self) -> Option<u16> {
        self.refusal
    }

    /// The endpoint for an attempt: always a candidate. `None` only if there is none, or if the
    /// attempt is refused.
    pub fn pick(&mut self, exchange: &ExchangeAtHand, pick: &Pick) -> Option<Picked> {
        self.refusal = None;
        if self.narrowing.is_some() {
            exchange.narrow(None);
            self.first_candidate(exchange)?; // without one nothing is asked, and nothing refused
        }
        if let Some(narrowing) = &mut self.narrowing {
            let (all, endpoints) = (&self.balancer.narrowing, self.balancer.fleet.len());
            if narrowing.narrow(all, exchange, pick, endpoints) == Narrowed::Refused {
                self.refusal = Some(REFUSAL_STATUS);
                return None;
            }
        }
        let candidates = exchange.candidates(0);
        if candidates == 0 {
            self.first_candidate(exchange)?;
        }
        let Balancer {
            policy, fallback, ..
        } = &*self.balancer;
        let picked = |index, role: &Role<PolicySpec>, answerer| Picked {
            index,
            by: match answerer {
                Answerer::Policy(_) => ChosenBy::Policy,
                Answerer::Fallback(_) => ChosenBy::Fallback,
            },
            lease: pick.lease,
            observer: role.plugin().hears_endings().then_some(answerer),
        };
        let answer = self
            .policy
            .ask(policy, 0, |slot| slot.pick(exchange, pick, candidates));
        if let Some((choice, generation)) = answer {
            let answerer = Answerer::Policy(generation);
            return match choice {
                Choice::Endpoint(index) => Some(picked(index, policy, answerer)),
                Choice::Refused(status) => {
                    self.refusal = Some(status);
                    None
                }
            };
        }
        // A policy that failed may have added some before it did.
        exchange.forget_response_headers();
        let (Some(fallback), Some(own)) = (fallback, &mut self.fallback) else {
            self.refusal = Some(REFUSAL_STATUS);
            return None;
        };
        let answer = own.ask(fallback, 0, |slot| slot.pick(exchange, pick, candidates));
        if let Some((choice, generation)) = answer {
            let answerer = Answerer::Fallback(generation);
            return match choice {
                Choice::Endpoint(index) => Some(picked(index, fallback, answerer)),
                Choice::Refused(status) => {
                    self.refusal = Some(status);
                    None
                }
            };
        }
        self.first_candidate(exchange).map(|index| Picked {
            index,
            by: ChosenBy::Nobody,
            lease: pick.lease,
            observer: None,
        })
    }

    /// An attempt at this endpoint failed, in the sense of `max_fails`, whichever policy picked it.
    pub fn failed(&mut self, index: u32) {
        let Balancer {
            policy, fallback, ..
        } = &*self.balancer;
        let own = std::iter::once((policy, &mut self.policy));
        for (role, own) in own.chain(fallback.iter().zip(&mut self.fallback)) {
            if role.plugin().hears_failures() {
                own.tell(role, 0, PolicyReport::Failed(index));
            }
        }
    }

    /// The attempt ended, or the answer was not used: tells the instance that gave it, and no
    /// other.
    pub fn done(&mut self, exchange: &ExchangeAtHand, picked: Picked, outcome: &Outcome) {
        let Picked {
            index,
            lease,
            observer,
            ..
        } = picked;
        let Balancer {
            policy, fallback, ..
        } = &*self.balancer;
        let (role, own, generation) = match (observer, fallback, &mut self.fallback) {
            (Some(Answerer::Policy(generation)), ..) => (policy, &mut self.policy, generation),
            (Some(Answerer::Fallback(generation)), Some(fallback), Some(own)) => {
                (fallback, own, generation)
            }
            (None, ..) | (Some(Answerer::Fallback(_)), ..) => return,
        };
        own.tell(
            role,
            0,
            PolicyReport::Ended {
                generation,
                exchange: exchange.clone(),
                lease,
                index,
                outcome: *outcome,
            },
        );
    }

    /// Calls the plugins whose time has come (`ticker` in the WIT).
    pub fn tick(&mut self, now_us: u64) {
        let balancer = &*self.balancer;
        self.policy.tick(&balancer.policy, now_us);
        if let (Some(own), Some(fallback)) = (&mut self.fallback, &balancer.fallback) {
            own.tick(fallback, now_us);
        }
        if let Some(narrowing) = &mut self.narrowing {
            narrowing.tick(&balancer.narrowing, now_us);
        }
    }

    fn first_candidate(&self, exchange: &ExchangeAtHand) -> Option<u32> {
        let words = self.balancer.fleet.len().div_ceil(64);
        let (word, bits) = (0..words)
            .map(|word| (word, exchange.candidates(word)))
            .find(|(_, bits)| *bits != 0)?;
        Some(word * 64 + bits.trailing_zeros())
    }
}

impl Drop for WorkerBalancer {
    fn drop(&mut self) {
        self.policy.finish();
        if let Some(fallback) = &mut self.fallback {
            fallback.finish();
        }
    }
}
