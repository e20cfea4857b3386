//! `round_robin`: smooth weighted round robin, nginx's default (`ngx_http_upstream_round_robin.c`).
//!
//! One instance for the whole process: taking turns only works if all workers share one order. All
//! of the algorithm is the SDK's [`SmoothWeighted`], which the other stock policies fall back to.

use waypost_sdk::{
    About, Describe, Endpoint, Failures, Keeper, Pick, Policy, Settings, SettingsError, Sharing,
    SmoothWeighted,
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

    fn sharing(&self) -> Sharing {
        Sharing::PerProcess
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

impl Keeper for RoundRobin {
    fn export_state(&self) -> Vec<u8> {
        self.turns.export_state()
    }

    fn import_state(&mut self, state: &[u8]) -> Result<(), String> {
        self.turns.import_state(state)
    }
}

impl Describe for RoundRobin {
    fn describe() -> About {
        About::new("turns by weight, as nginx takes them")
    }
}

waypost_sdk::export!(RoundRobin, failures, keeper, describe);

#[cfg(test)]
mod tests;
