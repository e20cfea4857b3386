//! One decision over all zones that count a request (`ngx_http_limit_req_handler`).

use waypost_sdk::Entry;

use crate::zone::{Found, Zone};

/// Longer keys are not counted.
pub(crate) const LONGEST_KEY: usize = 65_535;

/// How a place uses a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limit {
    /// Which zone.
    pub(crate) zone: usize,
    /// The most excess, in thousandths of a request.
    pub(crate) burst: i64,
    /// So much of it is not delayed.
    pub(crate) undelayed: i64,
}

/// What is to become of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// No zone has a key for it.
    NotCounted,
    Passed,
    /// It has to wait; the zone that makes it wait longest, and the excess there.
    Delayed {
        ms: i64,
        excess: i64,
        zone: usize,
    },
    /// One zone has too much of an excess. It is counted in none.
    Rejected {
        excess: i64,
        zone: usize,
    },
    /// A key is too long for its zone.
    NoRoom {
        zone: usize,
    },
    /// The store does not tell.
    Unknown {
        rejects: bool,
    },
}

/// Decides over these zones, in order. `key` tells a zone's key, `too_long` hears of one that is
/// not counted. `found` is scratch space.
pub(crate) fn decide(
    zones: &mut [Zone],
    limits: &[Limit],
    now_ms: i64,
    found: &mut Vec<(Limit, Entry)>,
    key: impl Fn(&Zone) -> Vec<u8>,
    too_long: impl Fn(&Zone, &[u8]),
) -> Decision {
    found.clear();
    for limit in limits {
        let zone = &mut zones[limit.zone];
        let key = key(zone);
        if key.is_empty() {
            continue;
        }
        if key.len() > LONGEST_KEY {
            too_long(zone, &key);
            continue;
        }
        match zone.look_up(&key, limit.burst, now_ms) {
            Found::Within(entry) => found.push((*limit, entry)),
            Found::Over(excess) => {
                let zone = limit.zone;
                return Decision::Rejected { excess, zone };
            }
            Found::NoRoom => return Decision::NoRoom { zone: limit.zone },
        }
    }
    if found.is_empty() {
        return Decision::NotCounted;
    }
    count_all(zones, found, now_ms)
}

/// Counts it in all zones, and finds the longest delay: between equal ones that of the later zone
/// (`ngx_http_limit_req_account`).
fn count_all(zones: &mut [Zone], found: &[(Limit, Entry)], now_ms: i64) -> Decision {
    let (mut decision, mut longest) = (Decision::Passed, 0);
    for (limit, entry) in found.iter().rev() {
        let zone = &mut zones[limit.zone];
        let excess = zone.count(*entry, now_ms);
        let ms = zone.rate.delay_ms(excess, limit.undelayed);
        if ms > longest {
            let zone = limit.zone;
            longest = ms;
            decision = Decision::Delayed { ms, excess, zone };
        }
    }
    decision
}
