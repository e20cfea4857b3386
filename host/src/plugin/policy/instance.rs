//! The calls of policies, filters and scorers: see `endpoints` in the WIT.

use std::sync::Arc;

use super::super::context::{EndpointView, ExchangeAtHand, FleetView};
use super::super::error::PluginFault;
use super::super::imports::{AT_HAND, Phase};
use super::super::instance::Instance;
use super::super::world::Contract;
use super::world::{Filter, Policy, Scorer, Update};
use super::{Outcome, Pick};

/// A world whose plugins get endpoints.
pub(in crate::plugin) trait OfEndpoints: Contract {
    fn update(functions: &Self::Functions) -> Update;
}

impl OfEndpoints for Policy {
    fn update(functions: &Self::Functions) -> Update {
        functions.update
    }
}

impl OfEndpoints for Filter {
    fn update(functions: &Self::Functions) -> Update {
        functions.update
    }
}

impl OfEndpoints for Scorer {
    fn update(functions: &Self::Functions) -> Update {
        functions.update
    }
}

impl<W: OfEndpoints> Instance<W> {
    /// `members.update`.
    pub(in crate::plugin) fn update(
        &mut self,
        generation: u64,
        endpoints: Vec<EndpointView>,
    ) -> Result<(), PluginFault> {
        let function = W::update(&self.functions);
        self.set_up(function, (generation, endpoints))?;
        self.note_memory();
        Ok(())
    }
}

impl Instance<Policy> {
    /// `balancer.pick`. The answer is the plugin's, unchecked.
    #[inline]
    pub(in crate::plugin) fn pick(
        &mut self,
        exchange: &ExchangeAtHand,
        pick: &Pick,
        candidates: u64,
    ) -> Result<u32, PluginFault> {
        let (function, deadline) = (self.functions.pick, self.plugin.inner().call_deadline);
        let now_us = self.state().now_us(pick.now_us);
        self.state().call.begin(Phase::Choice);
        let params = (pick.lease, pick.attempt, now_us, pick.random, candidates);
        let timed = self.begin();
        let picked = AT_HAND
            .set(exchange, || self.call(deadline, function, params))
            .map(|(index,)| index);
        self.end(timed);
        picked
    }

    /// `member-changes.change`: from here on, `fleet` is what it asks about.
    pub(super) fn change(
        &mut self,
        generation: u64,
        fleet: &Arc<dyn FleetView>,
    ) -> Result<(), PluginFault> {
        self.state().surroundings.fleet = Some(fleet.clone());
        let Some(function) = self.functions.change else {
            return Ok(());
        };
        self.state().call.begin(Phase::Other);
        let deadline = self.plugin.inner().call_deadline;
        self.call(deadline, function, (generation, fleet.members()))?;
        self.note_memory();
        Ok(())
    }

    /// `failures.failed`, if the plugin exports it.
    pub(in crate::plugin) fn failed(&mut self, index: u32) -> Result<(), PluginFault> {
        let Some(function) = self.functions.failed else {
            return Ok(());
        };
        self.state().call.begin(Phase::Other);
        let timed = self.begin();
        let told = self.call(self.plugin.inner().call_deadline, function, (index,));
        self.end(timed);
        told
    }

    /// `observer.done`, if the plugin exports it.
    pub(in crate::plugin) fn done(
        &mut self,
        exchange: &ExchangeAtHand,
        lease: u64,
        index: u32,
        outcome: &Outcome,
    ) -> Result<(), PluginFault> {
        let Some(function) = self.functions.done else {
            return Ok(());
        };
        let deadline = self.plugin.inner().call_deadline;
        let timed = self.begin();
        self.state().call.begin(Phase::Done);
        let ended = AT_HAND.set(exchange, || {
            self.call(deadline, function, (lease, index, *outcome))
        });
        self.state().call.begin(Phase::Other);
        self.end(timed);
        ended
    }
}

impl Instance<Filter> {
    /// `filter.narrow`, of one word.
    pub(super) fn narrow(
        &mut self,
        exchange: &ExchangeAtHand,
        word: u32,
        candidates: u64,
        pick: &Pick,
    ) -> Result<u64, PluginFault> {
        let (function, deadline) = (self.functions.narrow, self.plugin.inner().call_deadline);
        let now_us = self.state().now_us(pick.now_us);
        self.state().call.begin(Phase::Choice);
        let params = (word, candidates, pick.attempt, now_us, pick.random);
        let timed = self.begin();
        let answer = AT_HAND.set(exchange, || self.call(deadline, function, params));
        self.end(timed);
        answer.map(|(stay,)| stay & candidates)
    }

    /// `filter.may-be-ignored`.
    pub(super) fn may_be_ignored(
        &mut self,
        exchange: &ExchangeAtHand,
    ) -> Result<bool, PluginFault> {
        let function = self.functions.may_be_ignored;
        let deadline = self.plugin.inner().call_deadline;
        let answer = AT_HAND.set(exchange, || self.call(deadline, function, ()));
        answer.map(|(may,)| may)
    }
}

impl Instance<Scorer> {
    /// `scorer.score`.
    pub(super) fn score(
        &mut self,
        exchange: &ExchangeAtHand,
        pick: &Pick,
    ) -> Result<Vec<u16>, PluginFault> {
        let (function, deadline) = (self.functions.score, self.plugin.inner().call_deadline);
        let now_us = self.state().now_us(pick.now_us);
        self.state().call.begin(Phase::Choice);
        let params = (pick.attempt, now_us, pick.random);
        let timed = self.begin();
        let answer = AT_HAND.set(exchange, || self.call(deadline, function, params));
        self.end(timed);
        answer.map(|(scores,)| scores)
    }
}
