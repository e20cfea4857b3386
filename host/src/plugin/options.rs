//! What a plugin may do and use up: its entry in the configuration, less what concerns the file.

use std::time::Duration;

use crate::config::model::{self, CompileLimits, Grants, PluginLimits};

/// The options with which a plugin is loaded. Two loads of the same bytes with the same options are
/// the same plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PluginOptions {
    /// Bounds on each of its instances.
    pub limits: PluginLimits,
    /// Bounds on making machine code of it.
    pub compile: CompileLimits,
    pub grants: Grants,
    /// Faults within `fault_window` that put it into quarantine; 0 never.
    pub max_faults: Option<u32>,
    pub fault_window: Duration,
    /// Hundredths of a worker's time that it may take; 100 for all of it.
    pub budget: Option<u32>,
}

/// What holds where the entry says nothing; a handler that clients bring to fail is not to be gone
/// for others, and may be all that a process is there for.
const MAX_FAULTS: u32 = 10;
const BUDGET: u32 = 50;

impl PluginOptions {
    /// Those of the plugins that come with the host: an entry's defaults, but everything granted, no
    /// budget, time for the dearest call that a client can cause (a signature, a long path against
    /// many rules), and no quarantine: what clients send must not turn off a hook.
    pub fn stock() -> PluginOptions {
        PluginOptions {
            limits: PluginLimits {
                deadline: Some(Duration::from_millis(50)),
                // Their upstreams have timeouts.
                wait: Duration::from_secs(3600),
                ..PluginLimits::default()
            },
            compile: CompileLimits::default(),
            grants: Grants::ALL,
            max_faults: Some(0),
            fault_window: Duration::from_secs(60),
            budget: Some(100),
        }
    }

    /// Of a plugin that answers requests itself, or of another one.
    pub(super) fn max_faults_of(&self, is_handler: bool) -> u32 {
        self.max_faults
            .unwrap_or(if is_handler { 0 } else { MAX_FAULTS })
    }

    /// As [`max_faults_of`](PluginOptions::max_faults_of).
    pub(super) fn budget_of(&self, is_handler: bool) -> u32 {
        self.budget.unwrap_or(if is_handler { 100 } else { BUDGET })
    }
}

impl From<&model::PluginConfig> for PluginOptions {
    fn from(entry: &model::PluginConfig) -> PluginOptions {
        PluginOptions {
            limits: entry.limits,
            compile: entry.compile,
            grants: entry.grants,
            max_faults: entry.max_faults,
            fault_window: entry.fault_window,
            budget: entry.budget,
        }
    }
}
