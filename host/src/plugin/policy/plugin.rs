//! What is asked of a policy's plugin as a whole.

use serde_json::Value;

use super::super::component::Plugin;
use super::super::error::ConfigureError;
use super::super::instance::Instance;
use super::host_calls::PolicyState;
use super::world::PolicyExports;
use super::{InstanceScope, UpstreamTraits};

impl Plugin {
    /// `policy`, and which of `failures`, `observer` and `keeper` it exports besides.
    pub fn exports(&self) -> Vec<&'static str> {
        let exports = self.policy_exports();
        let optional = [
            ("failures", exports.failed.is_some()),
            ("observer", exports.done.is_some()),
            ("keeper", exports.export_state.is_some()),
        ];
        let there = optional.into_iter().filter(|(_, there)| *there);
        ["policy"]
            .into_iter()
            .chain(there.map(|(name, _)| name))
            .collect()
    }

    /// Whether it wants to hear of failed attempts (`failures` in the WIT).
    pub fn hears_failures(&self) -> bool {
        self.policy_exports().failed.is_some()
    }

    /// Whether it wants to hear how every attempt ended (`observer` in the WIT).
    pub fn hears_endings(&self) -> bool {
        self.policy_exports().done.is_some()
    }

    /// Whether what it knows can be carried over to another instance (`keeper` in the WIT).
    pub fn keeps_state(&self) -> bool {
        self.policy_exports().export_state.is_some()
    }

    /// Tries settings for an upstream on an instance of their own.
    ///
    /// # Errors
    /// [`ConfigureError`]: what is wrong with them, or that the plugin failed.
    pub fn configure(
        &self,
        settings: &Value,
        upstream: UpstreamTraits,
    ) -> Result<InstanceScope, ConfigureError> {
        let state = PolicyState::new(None, upstream);
        let instance = Instance::new(self, &self.inner().policy, state);
        let mut instance = instance.map_err(|fault| self.faulted(fault))?;
        instance.configure(&settings.to_string())
    }

    fn policy_exports(&self) -> &PolicyExports {
        &self.inner().policy.exports
    }
}
