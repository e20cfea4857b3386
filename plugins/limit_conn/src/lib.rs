//! `limit_conn`: limits requests in progress by key, as nginx's module of that name does; of a
//! stream, its connections.
//!
//! Each stream of HTTP/2 is a request of its own. Keys are spread over instances by the host, so
//! that a key's count is exact over all workers.

mod settings;
mod counts;

use waypost_sdk::{
    About, Call, Describe, Hook, Keeper, OnEnd, OnRequest, Settings, SettingsError, Sharing,
    Summary, Verdict, log, metrics,
};

use counts::{Counted, Counts, Kept};
use settings::{Place, Said, Zone};

/// Longer keys are not counted.
const LONGEST_KEY: usize = 255;

/// What `$hook_limit_conn_status` is made of.
const STATUS: &str = "limit_conn_status";

/// Requests in progress, within a number.
pub struct LimitConn {
    zone: Zone,
    all: Said,
    places: Vec<Place>,
    counts: Counts,
    rejected: metrics::Counter,
    rejected_dry_run: metrics::Counter,
}

impl Hook for LimitConn {
    fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
        let zone = Zone::read(&mut settings)?;
        let all = Said::read(&mut settings)?;
        settings.finish()?;
        Ok(LimitConn {
            counts: Counts::with_room(zone.room),
            zone,
            all,
            places: Vec::new(),
            rejected: metrics::Counter::named("rejected"),
            rejected_dry_run: metrics::Counter::named("rejected_dry_run"),
        })
    }

    fn sharing(&self) -> Sharing {
        Sharing::PerKey(self.zone.key.clone())
    }

    fn attach(&mut self, _place: usize, mut settings: Settings) -> Result<(), SettingsError> {
        let said = Said::read(&mut settings)?;
        let place = said.place(self.all);
        let place = place.ok_or_else(|| settings.missing("connections"))?;
        settings.finish()?;
        self.places.push(place);
        Ok(())
    }
}

impl OnRequest for LimitConn {
    fn on_request(&mut self, call: &Call) -> Verdict {
        let key = call.exchange().key();
        if key.is_empty() {
            return Verdict::Proceed;
        }
        if key.len() > LONGEST_KEY {
            self.log_long_key(&key);
            return Verdict::Proceed;
        }
        self.counts.seed(call.random);
        let place = &self.places[call.place];
        match self.counts.count(call.exchange, &key, place.connections) {
            Counted::Within => {
                call.changes().set_attribute(STATUS, "PASSED");
                Verdict::Proceed
            }
            over => self.reject(call, place, over),
        }
    }
}

impl OnEnd for LimitConn {
    fn on_end(&mut self, call: &Call, _summary: &Summary) {
        self.counts.give_back(call.exchange);
    }
}

impl LimitConn {
    fn reject(&self, call: &Call, place: &Place, why: Counted) -> Verdict {
        let name = &self.zone.name;
        match why {
            Counted::NoRoom => log::exchange(
                log::Level::Error,
                &format!(
                    "could not allocate node in limit_conn_zone \"{name}\": give it a larger `size`"
                ),
            ),
            _ => {
                let dry_run = if place.dry_run { ", dry run," } else { "" };
                log::exchange(
                    place.log_level,
                    &format!("limiting connections{dry_run} by zone \"{name}\""),
                );
            }
        }
        if place.dry_run {
            self.rejected_dry_run.add(1);
            call.changes().set_attribute(STATUS, "REJECTED_DRY_RUN");
            return Verdict::Proceed;
        }
        self.rejected.add(1);
        call.changes().set_attribute(STATUS, "REJECTED");
        call.changes().answer(place.status, b"");
        Verdict::Answer
    }

    fn log_long_key(&self, key: &[u8]) {
        let start = String::from_utf8_lossy(&key[..key.len().min(100)]);
        log::exchange(
            log::Level::Error,
            &format!(
                "the value of the \"{}\" key is more than 255 bytes: \"{start}...\"",
                self.zone.key
            ),
        );
    }
}

impl Keeper for LimitConn {
    fn export_state(&self) -> Vec<u8> {
        self.counts.export(&self.zone.key)
    }

    fn import_state(&mut self, state: &[u8]) -> Result<(), String> {
        let kept = Kept::read(state)?;
        self.counts.restore(&kept, &self.zone.key);
        Ok(())
    }
}

impl Describe for LimitConn {
    fn describe() -> About {
        About {
            summary: "requests, or connections of a stream, in progress by key".to_owned(),
            settings: include_str!("settings.json").to_owned(),
            place_settings: include_str!("place.json").to_owned(),
            backups: true,
            streams: true,
        }
    }
}

waypost_sdk::export_hook!(LimitConn, on_request, on_end, keeper, describe);

#[cfg(test)]
mod tests;
