//! `round_robin`: smooth weighted round robin, nginx's default (`ngx_http_upstream_round_robin.c`).
//!
//! One instance for the whole process: taking turns only works if everybody takes the same ones. All of the algorithm is the
//! SDK's [`SmoothWeighted`], which the other stock policies fall back to.

use waypost_sdk::{
    Endpoint, Failures, Pick, Policy, Scope, Settings, SettingsError, SmoothWeighted,
};

/// Endpoints take turns by weight.
pub struct RoundRobin {
    turns: SmoothWeighted,
}

impl Policy for RoundRobin {
    fn configure(settings: Settings) -> Result<Self, SettingsError> {
        settings.finish()?;
        Ok(RoundRobin {
            turns: SmoothWeighted::default(),
        })
    }

    fn scope(&self) -> Scope {
        Scope::Process
    }

    fn update(&mut self, endpoints: Vec<Endpoint>) {
        self.turns.update(&endpoints);
    }

    fn pick(&mut self, pick: &Pick) -> Option<usize> {
        self.turns.pick(pick.candidates())
    }
}

impl Failures for RoundRobin {
    fn failed(&mut self, index: usize) {
        self.turns.failed(index);
    }
}

waypost_sdk::export!(RoundRobin, failures);

#[cfg(test)]
mod tests;
