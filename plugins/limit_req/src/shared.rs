//! A zone in the store: its buckets are the same for all workers, through reloads, and for all
//! machines that use one store.
//!
//! One step of the store looks at a bucket and counts the request in it, by nginx's arithmetic and
//! the store's clock, so a limit is as exact there as in one instance.

use waypost_sdk::store::{self, StoreError};
use waypost_sdk::{Settings, SettingsError, log};

use crate::bucket::REQUEST;
use crate::decision::{Decision, LONGEST_KEY, Limit};
use crate::zone::Zone;

/// Lines about a store that fails: one in so long a time.
const QUIET_US: u64 = 1_000_000;

/// How a zone is in the store.
pub(crate) struct Shared {
    /// Requests are rejected while the store fails.
    rejects: bool,
    /// When the log was last told that it fails.
    told_us: Option<u64>,
    /// The name of a bucket; kept so that no call allocates.
    name: Vec<u8>,
}

impl Shared {
    /// Reads what a declaration says; none where its zones are not in the store.
    pub(crate) fn read(settings: &mut Settings) -> Result<Option<Shared>, SettingsError> {
        const ERRORS: [(&str, bool); 2] = [("pass", false), ("reject", true)];
        let is_shared = settings.optional_flag("store")?.unwrap_or(false);
        let rejects = settings.choice("store_error", &ERRORS)?;
        if !is_shared {
            return match rejects {
                None => Ok(None),
                Some(_) => Err(settings.error(
                    "store_error",
                    "`store_error` is about a zone in the store: `store = true`",
                )),
            };
        }
        Ok(Some(Shared {
            rejects: rejects.unwrap_or(false),
            told_us: None,
            name: Vec::new(),
        }))
    }

    /// Decides about a request with this key.
    pub(crate) fn decide(
        &mut self,
        zone: &Zone,
        limit: Limit,
        key: &[u8],
        now_us: u64,
        too_long: impl Fn(&Zone, &[u8]),
    ) -> Decision {
        if key.is_empty() {
            return Decision::NotCounted;
        }
        self.name.clear();
        self.name.extend_from_slice(zone.name.as_bytes());
        self.name.push(b':');
        self.name.extend_from_slice(key);
        let filled = match key.len() > LONGEST_KEY {
            true => Err(StoreError::TooLarge),
            false => store::fill(
                &self.name,
                REQUEST as u64,
                zone.rate.per_second(),
                limit.burst as u64,
            ),
        };
        match filled {
            Ok(excess) => {
                let excess = i64::try_from(excess).unwrap_or(i64::MAX);
                let zone_index = limit.zone;
                if excess > limit.burst {
                    return Decision::Rejected {
                        excess,
                        zone: zone_index,
                    };
                }
                match zone.rate.delay_ms(excess, limit.undelayed) {
                    0 => Decision::Passed,
                    ms => Decision::Delayed {
                        ms,
                        excess,
                        zone: zone_index,
                    },
                }
            }
            Err(StoreError::TooLarge) => {
                too_long(zone, key);
                Decision::NotCounted
            }
            Err(error) => {
                self.tell(zone, error, now_us);
                Decision::Unknown {
                    rejects: self.rejects,
                }
            }
        }
    }

    fn tell(&mut self, zone: &Zone, error: StoreError, now_us: u64) {
        let is_told = |told: u64| now_us.saturating_sub(told) < QUIET_US;
        if self.told_us.is_some_and(is_told) {
            return;
        }
        self.told_us = Some(now_us);
        let what = match error {
            StoreError::Full => "is full",
            StoreError::WrongKind => "holds something else under its name",
            _ => "does not answer",
        };
        let then = match self.rejects {
            true => "rejected",
            false => "let pass uncounted",
        };
        let name = &zone.name;
        let line = format!("the store of zone \"{name}\" {what}: requests are {then}");
        log::error(&line);
    }
}

/// Refuses what a zone in the store cannot have.
pub(crate) fn check(
    settings: &Settings,
    zone: &Zone,
    is_named: bool,
    has_size: bool,
) -> Result<(), SettingsError> {
    if !is_named {
        return Err(settings.error(
            "zone",
            "a zone in the store needs a name, by which all that count in it find it: \
             `zone = \"NAME\"`",
        ));
    }
    if zone.name.contains(':') {
        let name = &zone.name;
        let wrong = format!("`{name}` cannot be a zone in the store: leave out the `:`");
        return Err(settings.error("zone", &wrong));
    }
    if has_size {
        return Err(settings.error(
            "size",
            "a zone in the store has the room that `[store] size` says: leave it out",
        ));
    }
    Ok(())
}
