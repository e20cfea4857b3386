//! The calls of a policy: see `balancer`, `failures`, `observer` and `keeper` in the WIT.

use std::rc::Rc;

use super::super::error::{ConfigureError, PluginFault};
use super::super::instance::Instance;
use super::super::untrusted::Untrusted;
use super::host_calls::AT_HAND;
use super::world::{Accepted, Policy, SettingsError};
use super::{EndpointView, ExchangeContext, InstanceScope, Outcome, Pick};

impl Instance<Policy> {
    /// `balancer.configure`.
    pub(in crate::plugin) fn configure(
        &mut self,
        settings: &str,
    ) -> Result<InstanceScope, ConfigureError> {
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
    pub(in crate::plugin) fn update(
        &mut self,
        generation: u64,
        endpoints: Vec<EndpointView>,
    ) -> Result<(), PluginFault> {
        let (function, deadline) = (self.functions.update, self.plugin.inner().setup_deadline);
        self.call(deadline, function, (generation, endpoints))?;
        self.note_memory();
        Ok(())
    }

    /// `balancer.pick`. The answer is the plugin's, unchecked.
    #[inline]
    pub(in crate::plugin) fn pick(
        &mut self,
        exchange: &Rc<dyn ExchangeContext>,
        pick: &Pick,
        candidates: u64,
    ) -> Result<u32, PluginFault> {
        let (function, deadline) = (self.functions.pick, self.plugin.inner().call_deadline);
        let now_us = self.state().begin_pick(pick.now_us);
        let params = (pick.lease, pick.attempt, now_us, pick.random, candidates);
        let timed = self.begin();
        let picked = AT_HAND
            .set(exchange, || self.call(deadline, function, params))
            .map(|(index,)| index);
        self.end(timed);
        picked
    }

    /// `failures.failed`, if the plugin exports it.
    pub(in crate::plugin) fn failed(&mut self, index: u32) -> Result<(), PluginFault> {
        let Some(function) = self.functions.failed else {
            return Ok(());
        };
        let timed = self.begin();
        let told = self.call(self.plugin.inner().call_deadline, function, (index,));
        self.end(timed);
        told
    }

    /// `observer.done`, if the plugin exports it.
    pub(in crate::plugin) fn done(
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
        let timed = self.begin();
        self.state().in_done = true;
        let ended = AT_HAND.set(exchange, || {
            self.call(deadline, function, (lease, index, *outcome))
        });
        self.state().in_done = false;
        self.end(timed);
        ended
    }

    /// `keeper.export-state`, if the plugin exports it and may keep anything.
    pub(in crate::plugin) fn export_state(&mut self) -> Result<Option<Vec<u8>>, PluginFault> {
        let limit = self.plugin.inner().options.limits.state;
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
    pub(in crate::plugin) fn import_state(
        &mut self,
        state: Vec<u8>,
    ) -> Result<Accepted, PluginFault> {
        let Some(function) = self.functions.import_state else {
            return Ok(Ok(()));
        };
        let deadline = self.plugin.inner().call_deadline;
        self.call(deadline, function, (state,))
            .map(|(answer,)| answer)
    }
}
