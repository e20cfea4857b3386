//! A policy that all workers share and that traps when the time of a call is before that of the
//! call before: for the spec about there being one clock.

use waypost_sdk::{Endpoint, Pick, Policy, Settings, SettingsError, Sharing};

struct Clock {
    now_us: u64,
    turn: usize,
}

impl Policy for Clock {
    fn configure(settings: Settings) -> Result<Self, SettingsError> {
        settings.finish()?;
        Ok(Clock { now_us: 0, turn: 0 })
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerProcess
    }

    fn update(&mut self, _endpoints: Vec<Endpoint>) {}

    fn pick(&mut self, pick: &Pick) -> Option<usize> {
        assert!(
            pick.now_us >= self.now_us,
            "the clock went back by {} us",
            self.now_us - pick.now_us
        );
        self.now_us = pick.now_us;
        self.turn += 1;
        let candidates = pick.candidates();
        let count = candidates.iter().count().max(1);
        candidates.iter().nth(self.turn % count)
    }
}

waypost_sdk::export!(Clock);
