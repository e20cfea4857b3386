//! `limit_req`: limits requests by key to a rate, as nginx's module of that name does.
//!
//! The algorithm is nginx's leaky bucket to the millisecond ([`bucket`]), and so is the way in
//! which several zones decide together ([`decision`]). A zone alone has its keys spread over
//! instances; several zones that are decided at once need all of them in one place, and have one
//! instance. Either way a key's bucket is in one instance, so that limits are exact over all
//! workers. A zone in the store ([`shared`]) is the same for all machines that share one, and every
//! worker has an instance of its own.

mod settings;
mod bucket;
mod zone;
mod decision;
mod shared;
mod state;

use waypost_sdk::{
    About, Call, Describe, Entry, Hook, Keeper, OnRequest, Settings, SettingsError, Sharing,
    Verdict, log, metrics,
};

use decision::{Decision, Limit, decide};
use settings::{Place, Said, Zones};
use shared::Shared;
use zone::Zone;

/// What `$hook_limit_req_status` is made of.
const STATUS: &str = "limit_req_status";

/// The host delays no request for longer.
const LONGEST_DELAY_MS: i64 = 3_600_000;

/// Requests within a rate.
pub struct LimitReq {
    zones: Vec<Zone>,
    /// There is one zone, and it is in the store.
    shared: Option<Shared>,
    /// One zone, the key of which the host tells.
    one: bool,
    /// What the declaration says for all places.
    all: Said,
    places: Vec<Place>,
    /// The latest that was seen of the clock.
    now_ms: i64,
    /// Kept so that no call allocates.
    found: Vec<(Limit, Entry)>,
    counters: Counters,
}

/// What is counted for the operator.
struct Counters {
    delayed: metrics::Counter,
    rejected: metrics::Counter,
    delayed_dry_run: metrics::Counter,
    rejected_dry_run: metrics::Counter,
    evicted: metrics::Counter,
    store_errors: metrics::Counter,
}

impl Hook for LimitReq {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        let shared = Shared::read(&mut settings)?;
        let zones = settings::zones(&mut settings, shared.is_some())?;
        let (zones, one) = match zones {
            Zones::One(zone) => (vec![zone], true),
            Zones::Several(zones) => (zones, false),
        };
        let all = Said::read(&mut settings, one)?;
        settings.finish()?;
        Ok(LimitReq {
            zones,
            shared,
            one,
            all,
            places: Vec::new(),
            now_ms: 0,
            found: Vec::new(),
            counters: Counters {
                delayed: metrics::Counter::named("delayed"),
                rejected: metrics::Counter::named("rejected"),
                delayed_dry_run: metrics::Counter::named("delayed_dry_run"),
                rejected_dry_run: metrics::Counter::named("rejected_dry_run"),
                evicted: metrics::Counter::named("evicted"),
                store_errors: metrics::Counter::named("store_errors"),
            },
        })
    }

    fn sharing(&self) -> Sharing {
        match &self.zones[..] {
            _ if self.shared.is_some() => Sharing::PerWorker,
            [zone] if self.one => Sharing::PerKey(zone.key.clone()),
            _ => Sharing::PerProcess,
        }
    }

    fn attach(&mut self, _place: usize, mut settings: Settings) -> Result<(), SettingsError> {
        let limits = match self.one {
            true => Vec::new(),
            false => settings::limits(&mut settings, &self.zones)?,
        };
        let said = Said::read(&mut settings, self.one)?;
        settings.finish()?;
        let limits = match self.one {
            true => vec![said.limit(self.all)],
            false => limits,
        };
        self.places.push(said.place(self.all, limits));
        Ok(())
    }
}

impl OnRequest for LimitReq {
    fn on_request(&mut self, call: &Call) -> Verdict {
        if let Some(shared) = &mut self.shared {
            let (zone, limit) = (&self.zones[0], self.places[call.place].limits[0]);
            let key = zone.template.render(call.request());
            let decision = shared.decide(zone, limit, &key, call.now_us, log_long_key);
            return self.act(call, decision);
        }
        // nginx's clock has whole milliseconds.
        let now_ms = (call.now_us / 1000) as i64;
        self.now_ms = self.now_ms.max(now_ms);
        for zone in &mut self.zones {
            zone.buckets.seed(call.random);
        }
        let place = &self.places[call.place];
        let one = self.one;
        let decision = decide(
            &mut self.zones,
            &place.limits,
            now_ms,
            &mut self.found,
            |zone| match one {
                true => call.exchange().key(),
                false => zone.template.render(call.request()),
            },
            log_long_key,
        );
        self.count_evictions();
        self.act(call, decision)
    }
}

impl LimitReq {
    fn act(&self, call: &Call, decision: Decision) -> Verdict {
        let place = &self.places[call.place];
        let (dry, dry_run) = (place.dry_run, if place.dry_run { ", dry run" } else { "" });
        let counters = &self.counters;
        let status = match decision {
            Decision::NotCounted => return Verdict::Proceed,
            Decision::Unknown { rejects } => {
                counters.store_errors.add(1);
                if !rejects || dry {
                    return Verdict::Proceed;
                }
                return self.reject(call, place);
            }
            Decision::Passed => "PASSED",
            Decision::Delayed { ms, excess, zone } => {
                let (name, excess) = (&self.zones[zone].name, thousandths(excess));
                let line =
                    format!("delaying request{dry_run}, excess: {excess}, by zone \"{name}\"");
                log::exchange(place.log_levels.1, &line);
                if dry {
                    counters.delayed_dry_run.add(1);
                    "DELAYED_DRY_RUN"
                } else {
                    counters.delayed.add(1);
                    call.changes().delay(ms.min(LONGEST_DELAY_MS) as u64 * 1000);
                    "DELAYED"
                }
            }
            Decision::Rejected { zone, .. } | Decision::NoRoom { zone } => {
                self.log_rejection(place, decision, &self.zones[zone].name, dry_run);
                if dry {
                    counters.rejected_dry_run.add(1);
                    "REJECTED_DRY_RUN"
                } else {
                    return self.reject(call, place);
                }
            }
        };
        call.changes().set_attribute(STATUS, status);
        Verdict::Proceed
    }

    fn reject(&self, call: &Call, place: &Place) -> Verdict {
        self.counters.rejected.add(1);
        call.changes().answer(place.status, b"");
        call.changes().set_attribute(STATUS, "REJECTED");
        Verdict::Answer
    }

    fn log_rejection(&self, place: &Place, decision: Decision, name: &str, dry_run: &str) {
        match decision {
            Decision::Rejected { excess, .. } => {
                let excess = thousandths(excess);
                let line =
                    format!("limiting requests{dry_run}, excess: {excess} by zone \"{name}\"");
                log::exchange(place.log_levels.0, &line);
            }
            _ => log::exchange(
                log::Level::Error,
                &format!(
                    "could not allocate node in limit_req zone \"{name}\": the key is too long"
                ),
            ),
        }
    }

    fn count_evictions(&mut self) {
        for zone in &mut self.zones {
            if zone.evicted != 0 {
                self.counters.evicted.add(zone.evicted);
                zone.evicted = 0;
            }
        }
    }
}

/// As nginx writes an excess.
fn thousandths(excess: i64) -> String {
    format!("{}.{:03}", excess / 1000, excess % 1000)
}

fn log_long_key(zone: &Zone, key: &[u8]) {
    let start = String::from_utf8_lossy(&key[..key.len().min(100)]);
    log::exchange(
        log::Level::Error,
        &format!(
            "the value of the \"{}\" key is more than 65535 bytes: \"{start}...\"",
            zone.key
        ),
    );
}

impl Keeper for LimitReq {
    fn export_state(&self) -> Vec<u8> {
        state::export(&self.zones, self.now_ms)
    }

    fn import_state(&mut self, state: &[u8]) -> Result<(), String> {
        let kept = state::Kept::read(state)?;
        self.now_ms = self.now_ms.max(kept.now_ms());
        kept.restore(&mut self.zones);
        Ok(())
    }
}

impl Describe for LimitReq {
    fn describe() -> About {
        About {
            summary: "requests per second or minute by key".to_owned(),
            settings: include_str!("settings.json").to_owned(),
            place_settings: include_str!("place.json").to_owned(),
            backups: true,
            streams: false,
        }
    }
}

waypost_sdk::export_hook!(LimitReq, on_request, keeper, describe);

#[cfg(test)]
mod tests;
