//! A policy that breaks the rules, in the way that its setting `mode` says. The specs run it to see that every request is
//! answered all the same.

use std::hint::black_box;

use waypost_sdk::{Endpoint, Pick, Policy, Scope, Settings, SettingsError};

enum Misbehaving {
    /// Never returns.
    Loops,
    /// Panics, which is a trap.
    Traps,
    /// Asks for more memory than it may have.
    Grows,
    /// Names an endpoint that does not exist.
    Lies,
    /// Has no opinion. Not a fault, but the fallback's turn as well.
    Abstains,
}

impl Policy for Misbehaving {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        let mode = settings
            .text("mode")?
            .ok_or_else(|| settings.missing("mode"))?;
        let unknown = settings.error("mode", "no such `mode`");
        settings.finish()?;
        match mode.as_str() {
            "loops" => Ok(Misbehaving::Loops),
            "traps" => Ok(Misbehaving::Traps),
            "grows" => Ok(Misbehaving::Grows),
            "lies" => Ok(Misbehaving::Lies),
            "abstains" => Ok(Misbehaving::Abstains),
            _ => Err(unknown),
        }
    }

    fn scope(&self) -> Scope {
        Scope::Worker
    }

    fn update(&mut self, _endpoints: Vec<Endpoint>) {}

    fn pick(&mut self, pick: &Pick) -> Option<usize> {
        match self {
            Misbehaving::Loops => loop {
                black_box(pick.now_us);
            },
            Misbehaving::Traps => panic!("as the mode says"),
            Misbehaving::Grows => {
                let mut hoard = Vec::new();
                loop {
                    hoard.push(vec![1_u8; 1 << 20]);
                    black_box(&hoard);
                }
            }
            Misbehaving::Lies => Some(1_000_000),
            Misbehaving::Abstains => None,
        }
    }
}

waypost_sdk::export!(Misbehaving);
