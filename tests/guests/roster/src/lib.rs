//! A policy that takes other endpoints in place, and tells with every response what it knows:
//! which instance it is, of how many changes and of how many ends it has heard, whether it has the
//! state of another instance, and the index that it picked. Takes turns in configuration order. In
//! the host's log it writes down its leases, as the guest `ledger` does; traps where a request asks
//! it to, or an endpoint has the weight 13, and takes its time where a request asks it to.

use waypost_sdk::{
    Done, Endpoint, Keeper, MemberChanges, Observer, Pick, Policy, Settings, SettingsError,
    Sharing, log,
};

/// The weight of an endpoint that it cannot take in place.
const UNLUCKY: u32 = 13;

struct Roster {
    per_worker: bool,
    /// Tells this instance from others.
    instance: Option<u64>,
    /// The indexes that it may pick, in configuration order.
    order: Vec<usize>,
    turn: usize,
    changes: u32,
    ends: u32,
    is_heir: bool,
}

impl Policy for Roster {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        let per_worker = settings.flag("per_worker")?;
        settings.finish()?;
        log::info("roster is configured");
        Ok(Roster {
            per_worker,
            instance: None,
            order: Vec::new(),
            turn: 0,
            changes: 0,
            ends: 0,
            is_heir: false,
        })
    }

    fn sharing(&self) -> Sharing {
        match self.per_worker {
            true => Sharing::PerWorker,
            false => Sharing::PerProcess,
        }
    }

    fn update(&mut self, endpoints: Vec<Endpoint>) {
        let there = |endpoint: &Endpoint| match endpoint.address.is_empty() {
            true => {
                assert!(endpoint.is_down(), "a hole is down");
                false
            }
            false => true,
        };
        let places = endpoints.iter().enumerate();
        let places = places.filter(|(_, endpoint)| there(endpoint));
        self.order = places.map(|(index, _)| index).collect();
    }

    fn pick(&mut self, pick: &Pick) -> Option<usize> {
        let instance = *self.instance.get_or_insert(pick.random);
        if pick.request().header("x-trap").is_some() {
            log::info(&format!("ledger {instance:x} traps"));
            panic!("as the request says");
        }
        dawdle(pick.request().header("x-dawdle"));
        let possible = |index: &&usize| pick.candidates().contains(**index);
        let count = self.order.iter().filter(possible).count();
        let index = match count {
            // A request that began under endpoints of which none are left.
            0 => pick.candidates().iter().next()?,
            _ => *self.order.iter().filter(possible).nth(self.turn % count)?,
        };
        self.turn += 1;
        for (name, value) in [
            ("X-Instance", instance),
            ("X-Index", index as u64),
            ("X-Changes", u64::from(self.changes)),
            ("X-Ends", u64::from(self.ends)),
            ("X-Heir", u64::from(self.is_heir)),
        ] {
            pick.add_response_header(name, format!("{value}").as_bytes());
        }
        log::info(&format!("ledger {instance:x} gives {}", pick.lease));
        Some(index)
    }
}

/// Takes its time: a header names how many million steps.
fn dawdle(header: Option<Vec<u8>>) {
    let steps = header.and_then(|text| String::from_utf8(text).ok()?.parse().ok());
    for step in 0..steps.unwrap_or(0_u32) * 1_000_000 {
        std::hint::black_box(step);
    }
}

impl MemberChanges for Roster {
    fn change(&mut self, endpoints: Vec<(usize, Endpoint)>) {
        let instance = self.instance.unwrap_or_default();
        if endpoints
            .iter()
            .any(|(_, endpoint)| endpoint.weight == UNLUCKY)
        {
            log::info(&format!("ledger {instance:x} traps"));
            panic!("as the weight says");
        }
        self.changes += 1;
        self.order = endpoints.iter().map(|(index, _)| *index).collect();
        let list = endpoints.iter();
        let list: Vec<String> = list
            .map(|(index, endpoint)| format!("{index}={}", endpoint.name()))
            .collect();
        log::info(&format!("roster has {}", list.join(" ")));
    }
}

impl Observer for Roster {
    fn done(&mut self, done: &Done) {
        self.ends += 1;
        let instance = self.instance.unwrap_or_default();
        let ending = done.outcome.ending;
        log::info(&format!(
            "ledger {instance:x} gets {} {ending:?}",
            done.lease
        ));
    }
}

impl Keeper for Roster {
    fn export_state(&self) -> Vec<u8> {
        b"turns".to_vec()
    }

    fn import_state(&mut self, _state: &[u8]) -> Result<(), String> {
        self.is_heir = true;
        Ok(())
    }
}

waypost_sdk::export!(Roster, observer, member_changes, keeper);
