//! A policy that writes down, in the host's log, every lease that it gives out and every one that
//! it gets back: for the spec that holds the one against the other. Takes turns, so that there is
//! state to lose; traps where a request asks it to.

use waypost_sdk::{
    Done, Endpoint, Keeper, Observer, Pick, Policy, Settings, SettingsError, Sharing, log,
};

struct Ledger {
    /// Tells this instance from others in the log.
    instance: Option<u64>,
    turn: usize,
}

impl Policy for Ledger {
    fn configure(settings: Settings) -> Result<Self, SettingsError> {
        settings.finish()?;
        Ok(Ledger {
            instance: None,
            turn: 0,
        })
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerProcess
    }

    fn update(&mut self, _endpoints: Vec<Endpoint>) {}

    fn pick(&mut self, pick: &Pick) -> Option<usize> {
        let instance = *self.instance.get_or_insert(pick.random);
        if pick.request().header("x-trap").is_some() {
            log::info(&format!("ledger {instance:x} traps"));
            panic!("as the request says");
        }
        dawdle(pick.request().header("x-dawdle"));
        let count = pick.candidates().iter().count().max(1);
        let index = pick.candidates().iter().nth(self.turn % count)?;
        self.turn += 1;
        log::info(&format!("ledger {instance:x} gives {}", pick.lease));
        Some(index)
    }
}

/// Takes its time, so that other workers come to a decision meanwhile: a header names how many
/// million steps.
fn dawdle(header: Option<Vec<u8>>) {
    let steps = header.and_then(|text| String::from_utf8(text).ok()?.parse().ok());
    for step in 0..steps.unwrap_or(0_u32) * 1_000_000 {
        std::hint::black_box(step);
    }
}

impl Observer for Ledger {
    fn done(&mut self, done: &Done) {
        let instance = self.instance.unwrap_or_default();
        let ending = done.outcome.ending;
        log::info(&format!(
            "ledger {instance:x} gets {} {ending:?}",
            done.lease
        ));
    }
}

impl Keeper for Ledger {
    fn export_state(&self) -> Vec<u8> {
        self.turn.to_le_bytes().to_vec()
    }

    fn import_state(&mut self, state: &[u8]) -> Result<(), String> {
        let state = state.try_into().map_err(|_| "not a turn")?;
        self.turn = usize::from_le_bytes(state);
        Ok(())
    }
}

waypost_sdk::export!(Ledger, observer, keeper);
