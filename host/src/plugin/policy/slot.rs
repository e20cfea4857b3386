//! The instance of a policy in its slot: the calls whose faults cost the instance, and no request.

use std::rc::Rc;
use std::sync::Arc;

use super::super::component::Plugin;
use super::super::error::{ConfigureError, PluginFault};
use super::super::instance::Instance;
use super::super::slot::{InstanceSlot, InstanceSpec};
use super::super::untrusted::Untrusted;
use super::host_calls::PolicyState;
use super::world::Policy;
use super::{ExchangeContext, FleetView, InstanceScope, Outcome, Pick, UpstreamTraits};

/// `balancer.pick` in the WIT: the choice is left to the fallback.
pub(super) const NO_OPINION: u32 = u32::MAX;
/// `pick`'s answer that refuses the attempt.
pub(super) const REFUSED: u32 = u32::MAX - 1;

/// All that it takes to make an instance of a policy.
pub(super) struct PolicySpec {
    pub(super) plugin: Plugin,
    /// JSON.
    pub(super) settings: String,
    pub(super) fleet: Arc<dyn FleetView>,
    pub(super) upstream: UpstreamTraits,
    /// Which list of endpoints of the upstream this is: see `balancer.update` in the WIT.
    pub(super) generation: u64,
}

/// The place of a policy's instance.
pub(super) type PolicySlot = InstanceSlot<PolicySpec>;

impl PolicySpec {
    /// An instance with its settings and endpoints, and the scope it asks for.
    pub(super) fn make_with_scope(
        &self,
    ) -> Result<(Box<Instance<Policy>>, InstanceScope), ConfigureError> {
        let faulted = |fault| self.plugin.faulted(fault);
        let state = PolicyState::new(Some(self.fleet.clone()), self.upstream);
        let linked = &self.plugin.inner().policy;
        let mut instance = Instance::new(&self.plugin, linked, state).map_err(faulted)?;
        let scope = instance.configure(&self.settings)?;
        instance
            .update(self.generation, self.fleet.endpoints())
            .map_err(faulted)?;
        Ok((Box::new(instance), scope))
    }
}

impl InstanceSpec for PolicySpec {
    type World = Policy;

    fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    fn make(&self) -> Result<Box<Instance<Policy>>, ConfigureError> {
        self.make_with_scope().map(|(instance, _)| instance)
    }
}

impl PolicySlot {
    /// Asks the policy: the answer is a candidate, or [`REFUSED`]. `None`: there is no instance at
    /// the moment, it has no opinion, or it faulted.
    #[inline]
    pub(super) fn pick(
        &mut self,
        exchange: &Rc<dyn ExchangeContext>,
        pick: &Pick,
        candidates: u64,
    ) -> Option<u32> {
        let picked = self.call("pick", |instance| {
            let index = instance.pick(exchange, pick, candidates)?;
            is_allowed(exchange, index, candidates)
                .then_some(index)
                .ok_or_else(|| PluginFault::answer(index))
        });
        picked.filter(|index| *index != NO_OPINION)
    }

    /// Tells the policy of a failed attempt, if it has an instance.
    pub(super) fn failed(&mut self, index: u32) {
        self.call_present("failed", |instance| instance.failed(index));
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
        if generation == self.generation() {
            let tell = |instance: &mut Instance<_>| instance.done(exchange, lease, index, outcome);
            self.call_present("done", tell);
        }
    }

    /// Drops the instance, as after a fault: it could not be told how some attempts ended, so its
    /// counts would be wrong.
    pub(super) fn missed_endings(&mut self) {
        if self.is_ready() {
            self.faulted("done", &PluginFault::untold());
        }
    }

    /// What the instance knows, if there is one and its plugin keeps it.
    pub(super) fn export_state(&mut self) -> Option<Vec<u8>> {
        self.call_present("export-state", Instance::export_state)?
    }

    /// Hands the instance what another one knew. What it does not take is lost, and the log says
    /// so.
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
            let reason = Untrusted::message(reason);
            let plugin = self.spec().plugin.name();
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
}

/// Whether a policy may answer this.
#[inline]
pub(super) fn is_allowed(exchange: &Rc<dyn ExchangeContext>, answer: u32, first: u64) -> bool {
    matches!(answer, NO_OPINION | REFUSED) || is_candidate(exchange, answer, first)
}

/// Whether the bit of `index` is set among the candidates, of which `first` is word 0.
#[inline]
fn is_candidate(exchange: &Rc<dyn ExchangeContext>, index: u32, first: u64) -> bool {
    let word = match index / 64 {
        0 => first,
        word => exchange.candidates(word),
    };
    word >> (index % 64) & 1 == 1
}
