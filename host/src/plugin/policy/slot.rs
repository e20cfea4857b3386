//! Instances of policies, filters and scorers in their slots: the calls whose faults cost the
//! instance, and no request.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use super::super::common::Sharing;
use super::super::component::Plugin;
use super::super::context::{ExchangeAtHand, FleetView, UpstreamTraits};
use super::super::error::{ConfigureError, PluginFault};
use super::super::files::PluginFiles;
use super::super::imports::Surroundings;
use super::super::instance::Instance;
use super::super::slot::{InstanceSlot, InstanceSpec};
use super::super::untrusted::Untrusted;
use super::instance::OfEndpoints;
use super::world::{Filter, Policy, Scorer};
use super::{Outcome, Pick, PolicyContext};
use crate::http::variable::KnownNames;

/// `balancer.pick` in the WIT: the choice is left to the fallback.
pub(super) const NO_OPINION: u32 = u32::MAX;
/// `pick`'s answer that refuses the attempt.
pub(super) const REFUSED: u32 = u32::MAX - 1;

/// What an exchange ends with that is refused, unless the policy says otherwise.
pub(super) const REFUSAL_STATUS: u16 = 503;

/// How long a worker waits for a shared instance at the most: all its requests wait with it.
const LONGEST_WAIT: Duration = Duration::from_millis(20);

/// All that it takes to make an instance of a plugin that gets endpoints.
pub(super) struct EndpointSpec {
    pub(super) plugin: Plugin,
    /// JSON.
    settings: String,
    pub(super) fleet: Arc<dyn FleetView>,
    pub(super) traits: UpstreamTraits,
    pub(super) variables: Arc<KnownNames>,
    upstream: Arc<str>,
    /// Which list of endpoints of the upstream this is: see `members.update` in the WIT.
    generation: u64,
    pub(super) files: Arc<PluginFiles>,
}

impl EndpointSpec {
    pub(super) fn new(
        plugin: Plugin,
        settings: &serde_json::Value,
        fleet: &Arc<dyn FleetView>,
        context: &PolicyContext,
    ) -> EndpointSpec {
        EndpointSpec {
            plugin,
            settings: settings.to_string(),
            fleet: fleet.clone(),
            traits: context.traits,
            variables: context.variables.clone(),
            upstream: context.upstream.as_str().into(),
            generation: context.generation,
            files: PluginFiles::named_in(std::iter::once(settings), &context.directory),
        }
    }

    /// An instance with its settings and endpoints.
    fn make<W: OfEndpoints>(&self) -> Result<(Box<Instance<W>>, Sharing), ConfigureError> {
        let surroundings = Surroundings {
            upstream: Some(self.upstream.clone()),
            fleet: Some(self.fleet.clone()),
            traits: self.traits,
            variables: self.variables.clone(),
            files: Some(self.files.clone()),
            ..Surroundings::default()
        };
        let mut instance = Instance::new(&self.plugin, surroundings)?;
        let sharing = configured(&mut instance, &self.settings)?;
        instance
            .update(self.generation, self.fleet.endpoints())
            .map_err(|fault| self.plugin.faulted(fault))?;
        Ok((Box::new(instance), sharing))
    }

    /// How long a worker waits for the shared instance.
    pub(super) fn wait(&self) -> Duration {
        self.plugin.inner().call_deadline.min(LONGEST_WAIT)
    }
}

/// Configures an instance of a plugin that gets endpoints, and so has no keys to tell instances
/// apart by.
pub(super) fn configured<W: OfEndpoints>(
    instance: &mut Instance<W>,
    settings: &str,
) -> Result<Sharing, ConfigureError> {
    match instance.configure(settings)? {
        Sharing::PerKey(_) => Err(ConfigureError::Refused {
            plugin: instance.plugin.name().to_owned(),
            key: Untrusted::default(),
            message: Untrusted::message("it wants an instance per key, which hooks alone can have"),
        }),
        sharing => Ok(sharing),
    }
}

/// What it takes to make an instance of a policy.
pub(super) struct PolicySpec(pub(super) EndpointSpec);
/// What it takes to make an instance of a filter.
pub(super) struct FilterSpec(pub(super) EndpointSpec);
/// What it takes to make an instance of a scorer.
pub(super) struct ScorerSpec(pub(super) EndpointSpec);

/// The place of a policy's instance.
pub(super) type PolicySlot = InstanceSlot<PolicySpec>;

/// What a policy is told of an attempt.
pub(super) enum PolicyReport {
    /// It failed; reported whichever policy picked the endpoint.
    Failed(u32),
    /// It ended; for the instance that picked.
    Ended {
        generation: u64,
        exchange: ExchangeAtHand,
        lease: u64,
        index: u32,
        outcome: Outcome,
    },
}

impl InstanceSpec for PolicySpec {
    type World = Policy;
    type Report = PolicyReport;
    const MEANWHILE: &'static str = "the fallback serves";

    fn plugin(&self) -> &Plugin {
        &self.0.plugin
    }

    fn make(&self) -> Result<(Box<Instance<Policy>>, Sharing), ConfigureError> {
        self.0.make()
    }

    fn tell(slot: &mut PolicySlot, report: &PolicyReport) {
        match report {
            PolicyReport::Failed(index) => {
                slot.call_present("failed", |instance| instance.failed(*index));
            }
            PolicyReport::Ended {
                generation,
                exchange,
                lease,
                index,
                outcome,
            } if *generation == slot.generation() => {
                let tell = |instance: &mut Instance<Policy>| {
                    instance.done(exchange, *lease, *index, outcome)
                };
                slot.call_present("done", tell);
            }
            PolicyReport::Ended { .. } => {} // the instance that picked is gone
        }
    }

    fn is_newer_than(&self, other: &PolicySpec) -> bool {
        // Of the same generation is only what was given up before anything was served with it.
        self.0.generation >= other.0.generation
    }

    fn change(&self, instance: &mut Instance<Policy>) -> Result<(), PluginFault> {
        instance.change(self.0.generation, &self.0.fleet)
    }
}

impl InstanceSpec for FilterSpec {
    type World = Filter;
    type Report = Infallible;
    const MEANWHILE: &'static str = "its requests are refused";

    fn plugin(&self) -> &Plugin {
        &self.0.plugin
    }

    fn make(&self) -> Result<(Box<Instance<Filter>>, Sharing), ConfigureError> {
        self.0.make()
    }

    fn tell(_: &mut InstanceSlot<FilterSpec>, report: &Infallible) {
        match *report {}
    }
}

impl InstanceSpec for ScorerSpec {
    type World = Scorer;
    type Report = Infallible;
    const MEANWHILE: &'static str = "it ranks nothing";

    fn plugin(&self) -> &Plugin {
        &self.0.plugin
    }

    fn make(&self) -> Result<(Box<Instance<Scorer>>, Sharing), ConfigureError> {
        self.0.make()
    }

    fn tell(_: &mut InstanceSlot<ScorerSpec>, report: &Infallible) {
        match *report {}
    }
}

/// What a policy says of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    /// A candidate.
    Endpoint(u32),
    /// None may be asked, and the exchange ends with this status.
    Refused(u16),
}

impl PolicySlot {
    /// Asks the policy. `None`: there is no instance at the moment, it has no opinion, or it
    /// faulted.
    #[inline]
    pub(super) fn pick(
        &mut self,
        exchange: &ExchangeAtHand,
        pick: &Pick,
        candidates: u64,
    ) -> Option<Choice> {
        let picked = self.call("pick", |instance| {
            let index = instance.pick(exchange, pick, candidates)?;
            match index {
                NO_OPINION => Ok(None),
                REFUSED => {
                    let status = instance.state().call.refusal_status;
                    Ok(Some(Choice::Refused(status.unwrap_or(REFUSAL_STATUS))))
                }
                index if is_allowed(exchange, index, candidates) => {
                    Ok(Some(Choice::Endpoint(index)))
                }
                index => Err(PluginFault::answer(index)),
            }
        });
        picked.flatten()
    }
}

/// Whether a policy may answer this.
#[inline]
pub(super) fn is_allowed(exchange: &ExchangeAtHand, answer: u32, first: u64) -> bool {
    matches!(answer, NO_OPINION | REFUSED) || is_candidate(exchange, answer, first)
}

/// Whether the bit of `index` is set among the candidates, of which `first` is word 0.
#[inline]
fn is_candidate(exchange: &ExchangeAtHand, index: u32, first: u64) -> bool {
    let word = match index / 64 {
        0 => first,
        word => exchange.candidates(word),
    };
    word >> (index % 64) & 1 == 1
}
