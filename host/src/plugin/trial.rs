//! A trial: a version of a plugin that is asked beside the one that serves, or decides for a share
//! of the clients, and what came of that so far.
//!
//! What is counted here is written by all workers, once for an exchange, and only while there is a
//! trial: nothing of it is met by an exchange whose plugins have none.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use twox_hash::XxHash64;

use super::component::Plugin;
use super::context::FleetView;
use super::untrusted::Untrusted;
use crate::config::model::{Manner, Percent, Rails, TrialTerms};

/// One version on trial.
pub struct Trial {
    candidate: Plugin,
    /// The version that it is compared with.
    serving: Plugin,
    terms: TrialTerms,
    since: SystemTime,
    sides: [Side; 2],
    agreed: AtomicU64,
    differed: AtomicU64,
    /// Of each group of endpoints that it is tried with.
    picks: Mutex<Vec<Weak<Picks>>>,
    /// Something was served with it.
    has_begun: AtomicBool,
    /// Why it cannot go on.
    broken: OnceLock<String>,
}

/// Which of the two versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    Serving = 0,
    Candidate = 1,
}

/// What came of the exchanges of one version: for a policy its attempts. In cache lines of its own.
#[derive(Default)]
#[repr(align(64))]
struct Side {
    exchanges: AtomicU64,
    errors: AtomicU64,
    timed: AtomicU64,
    micros: AtomicU64,
    /// Of times in [`TICK`]s: sixty seconds squared are 2^39 of them.
    squares: AtomicU64,
}

const TICK: u64 = 100;
/// A longer time is counted as this one.
const LONGEST: Duration = Duration::from_secs(60);

/// What one version came to.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SideFigures {
    pub exchanges: u64,
    pub errors: u64,
    /// How many times the mean is of.
    timed: f64,
    pub mean_us: f64,
    /// Of one time.
    deviation_us: f64,
    /// How far the busiest endpoint is above its fair share, of a policy: 1 for evenly spread.
    pub imbalance: Option<f64>,
}

/// How often either version has picked each endpoint of a group.
pub struct Picks {
    fleet: Arc<dyn FleetView>,
    counts: Box<[[AtomicU64; 2]]>,
}

/// One group of endpoints: by version, of how many picks, and the busiest endpoint's share of them
/// over its fair share, with its own picks.
struct Spread {
    picks: f64,
    peak: f64,
    busiest: f64,
}

impl Trial {
    /// Beside this version.
    pub fn new(candidate: Plugin, serving: Plugin, terms: TrialTerms) -> Trial {
        Trial {
            candidate,
            serving,
            terms,
            since: SystemTime::now(),
            sides: Default::default(),
            agreed: AtomicU64::new(0),
            differed: AtomicU64::new(0),
            picks: Mutex::default(),
            has_begun: AtomicBool::new(false),
            broken: OnceLock::new(),
        }
    }

    /// Whether something was served with it.
    pub fn has_begun(&self) -> bool {
        self.has_begun.load(Relaxed)
    }

    pub fn candidate(&self) -> &Plugin {
        &self.candidate
    }

    pub fn terms(&self) -> &TrialTerms {
        &self.terms
    }

    pub fn since(&self) -> SystemTime {
        self.since
    }

    /// The version that decides for this lot.
    #[inline]
    pub fn version_for(&self, lot: u32) -> Version {
        match self.terms.manner {
            Manner::Canary(share) if lot < share.0 => Version::Candidate,
            Manner::Canary(_) | Manner::Shadow => Version::Serving,
        }
    }

    pub fn is_shadow(&self) -> bool {
        self.terms.manner == Manner::Shadow
    }

    /// An exchange of a version has ended. `took`: until its answer, where there was one.
    pub fn note_end(&self, version: Version, is_error: bool, took: Option<Duration>) {
        let side = &self.sides[version as usize];
        side.exchanges.fetch_add(1, Relaxed);
        if is_error {
            side.errors.fetch_add(1, Relaxed);
        }
        if let Some(took) = took {
            let micros = took.min(LONGEST).as_micros() as u64;
            side.timed.fetch_add(1, Relaxed);
            side.micros.fetch_add(micros, Relaxed);
            let ticks = micros / TICK;
            side.squares.fetch_add(ticks * ticks, Relaxed);
        }
    }

    /// A shadow was asked about what the version that serves has decided.
    pub fn note_compared(&self, agrees: bool) {
        let counter = if agrees { &self.agreed } else { &self.differed };
        counter.fetch_add(1, Relaxed);
    }

    /// How often a shadow agreed and differed.
    pub fn compared(&self) -> (u64, u64) {
        (self.agreed.load(Relaxed), self.differed.load(Relaxed))
    }

    /// Counts the picks among these endpoints.
    pub fn picks(&self, fleet: Arc<dyn FleetView>) -> Arc<Picks> {
        let counts = (0..fleet.len()).map(|_| Default::default()).collect();
        let counted = Arc::new(Picks { fleet, counts });
        let mut picks = self.picks.lock();
        picks.retain(|picks| picks.strong_count() > 0);
        picks.push(Arc::downgrade(&counted));
        counted
    }

    /// It cannot be used under the configuration that is served now.
    pub fn note_broken(&self, why: String) {
        let _ = self.broken.set(why);
    }

    /// What a version came to so far.
    pub fn figures(&self, version: Version) -> SideFigures {
        let side = &self.sides[version as usize];
        let timed = side.timed.load(Relaxed) as f64;
        let of_timed = |sum: f64| if timed > 0.0 { sum / timed } else { 0.0 };
        let mean_us = of_timed(side.micros.load(Relaxed) as f64);
        let mean_ticks = mean_us / TICK as f64;
        let variance = of_timed(side.squares.load(Relaxed) as f64) - mean_ticks * mean_ticks;
        let spreads = self.spreads().into_iter();
        let imbalance = spreads.map(|spread| spread[version as usize].peak);
        SideFigures {
            exchanges: side.exchanges.load(Relaxed),
            errors: side.errors.load(Relaxed),
            timed,
            mean_us,
            deviation_us: variance.max(0.0).sqrt() * TICK as f64,
            imbalance: imbalance.reduce(f64::max).filter(|peak| *peak > 0.0),
        }
    }

    fn spreads(&self) -> Vec<[Spread; 2]> {
        let picks = self.picks.lock();
        let picks = picks.iter().filter_map(Weak::upgrade);
        picks.map(|picks| picks.spreads()).collect()
    }

    /// Faults of the candidate.
    pub fn faults(&self) -> u64 {
        let stats = self.candidate.stats();
        stats.traps + stats.deadlines + stats.memory + stats.answers
    }

    /// Why it is to end, if it is: in words, with both figures.
    pub fn why_over(&self) -> Option<String> {
        if let Some(why) = self.broken.get() {
            return Some(why.clone());
        }
        if self.candidate.is_quarantined() {
            return Some(format!("{} faults, and is quarantined", self.faults()));
        }
        let Manner::Canary(_) = self.terms.manner else {
            return None;
        };
        let (before, now) = (
            self.figures(Version::Serving),
            self.figures(Version::Candidate),
        );
        broken_rail(&self.terms.rails, &before, &now, self.faults())
            .or_else(|| self.unbalanced(&self.terms.rails))
    }

    /// The rail of imbalance: a peak that chance does not explain, of so many picks.
    fn unbalanced(&self, rails: &Rails) -> Option<String> {
        let limit = rails.imbalance?;
        self.spreads().into_iter().find_map(|[before, now]| {
            let is_known = now.picks >= f64::from(rails.after) && before.picks > 0.0;
            let expected = now.busiest / now.peak * before.peak;
            let is_above = now.peak > limit.ratio() * before.peak;
            let is_chance = now.busiest - expected <= 4.0 * expected.sqrt();
            (is_known && is_above && !is_chance).then(|| {
                format!(
                    "imbalance {:.2} of {} picks, and {:.2} of {} of the version before",
                    now.peak, now.picks, before.peak, before.picks
                )
            })
        })
    }

    /// For the log: `canary of 5%`, `shadow`.
    pub fn in_words(&self) -> String {
        match self.terms.manner {
            Manner::Canary(share) => format!("canary of {share}"),
            Manner::Shadow => "shadow".to_owned(),
        }
    }

    /// Notes in the plugin's history that it has begun.
    pub fn note_begun(&self) {
        use super::history::PluginEventKind::{Canary, Shadow};
        self.has_begun.store(true, Relaxed);
        let (kind, detail) = match self.terms.manner {
            Manner::Canary(share) => (
                Canary,
                format!("{share} beside version {}", self.serving.version()),
            ),
            Manner::Shadow => (Shadow, format!("beside version {}", self.serving.version())),
        };
        let history = self.candidate.history();
        history.note(self.candidate.version(), kind, Untrusted::message(detail));
    }
}

/// The first rail that a candidate has broken.
fn broken_rail(
    rails: &Rails,
    before: &SideFigures,
    now: &SideFigures,
    faults: u64,
) -> Option<String> {
    if now.exchanges < u64::from(rails.after) {
        return None;
    }
    let share = |part: u64, of: u64| part as f64 / (of.max(1)) as f64;
    if let Some(limit) = rails.faults
        && share(faults, now.exchanges) > limit.ratio()
    {
        return Some(format!(
            "{faults} faults in {} exchanges, more than {limit}",
            now.exchanges
        ));
    }
    let (erred, err_before) = (
        share(now.errors, now.exchanges),
        share(before.errors, before.exchanges),
    );
    let expected = err_before * now.exchanges as f64;
    if let Some(limit) = rails.errors
        && erred > err_before + limit.ratio()
        && erred > 2.0 * err_before
        && now.errors as f64 > expected + 3.0 * (expected + 1.0).sqrt()
    {
        return Some(format!(
            "errors {:.2}% of {} exchanges, and {:.2}% of {} of the version before",
            100.0 * erred,
            now.exchanges,
            100.0 * err_before,
            before.exchanges
        ));
    }
    let above = now.mean_us - before.mean_us;
    let by_chance = 3.0 * now.deviation_us / now.timed.max(1.0).sqrt();
    if let Some(limit) = rails.latency
        && before.timed > 0.0
        && now.mean_us > limit.ratio() * before.mean_us
        && above > 1000.0
        && above > by_chance
    {
        return Some(format!(
            "latency {:.1} ms on average, and {:.1} ms of the version before",
            now.mean_us / 1000.0,
            before.mean_us / 1000.0
        ));
    }
    None
}

impl Picks {
    /// A version has picked an endpoint.
    #[inline]
    pub fn note(&self, version: Version, index: u32) {
        if let Some(counts) = self.counts.get(index as usize) {
            counts[version as usize].fetch_add(1, Relaxed);
        }
    }

    fn spreads(&self) -> [Spread; 2] {
        let endpoints = self.fleet.endpoints();
        let counts = self
            .counts
            .iter()
            .map(|of| [of[0].load(Relaxed), of[1].load(Relaxed)]);
        // One that neither has picked was down.
        let picked = counts
            .zip(&endpoints)
            .filter(|(counts, _)| *counts != [0, 0]);
        let picked: Vec<([u64; 2], f64)> = picked
            .map(|(counts, endpoint)| (counts, f64::from(endpoint.weight.max(1))))
            .collect();
        let weights: f64 = picked.iter().map(|(_, weight)| weight).sum();
        [Version::Serving, Version::Candidate].map(|version| {
            let of = |counts: &[u64; 2]| counts[version as usize] as f64;
            let picks: f64 = picked.iter().map(|(counts, _)| of(counts)).sum();
            let peaks = picked.iter().map(|(counts, weight)| {
                (of(counts) / picks.max(1.0) / (weight / weights), of(counts))
            });
            let (peak, busiest) = peaks.fold(
                (0.0, 0.0),
                |most, peak| {
                    if peak.0 > most.0 { peak } else { most }
                },
            );
            Spread {
                picks,
                peak,
                busiest,
            }
        })
    }
}

/// The lot of a client, by which it is given to one of two versions: the same for all of its
/// exchanges, and below a share for as many clients as that says. One that has a small lot keeps its
/// version when the share grows.
pub fn lot_of_client(address: IpAddr) -> u32 {
    let hash = match address {
        IpAddr::V4(address) => XxHash64::oneshot(0, &address.octets()),
        IpAddr::V6(address) => XxHash64::oneshot(0, &address.octets()),
    };
    lot(hash)
}

/// The lot of what is random, or a hash.
pub fn lot(random: u64) -> u32 {
    u32::try_from(random % u64::from(Percent::ALL.0)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(exchanges: u64, errors: u64, mean_us: f64, deviation_us: f64) -> SideFigures {
        SideFigures {
            exchanges,
            errors,
            timed: exchanges as f64,
            mean_us,
            deviation_us,
            imbalance: None,
        }
    }

    #[test]
    fn a_rail_breaks_where_a_candidate_does_clearly_worse_and_not_by_chance() {
        let rails = Rails::default();
        let before = side(2000, 10, 5000.0, 2000.0); // half a percent of errors
        let over = |now: SideFigures, faults| broken_rail(&rails, &before, &now, faults);
        assert_eq!(over(side(1000, 5, 5000.0, 2000.0), 0), None);
        assert_eq!(over(side(99, 99, 1e6, 0.0), 99), None, "too few to tell");
        assert!(over(side(100, 0, 5000.0, 0.0), 1).is_some_and(|why| why.contains("faults")));
        assert_eq!(
            over(side(2000, 0, 5000.0, 0.0), 2),
            None,
            "not more than 0.1%"
        );
        let errors = over(side(100, 10, 5000.0, 0.0), 0);
        let words = "errors 10.00% of 100 exchanges, and 0.50% of 2000 of the version before";
        assert_eq!(errors.as_deref(), Some(words));
        assert_eq!(
            over(side(100, 1, 5000.0, 0.0), 0),
            None,
            "half a point above"
        );
        assert_eq!(
            over(side(100, 2, 5000.0, 0.0), 0),
            None,
            "which chance explains"
        );
        let none = side(400, 0, 5000.0, 2000.0);
        let now = side(105, 3, 5000.0, 0.0);
        let one = "one exchange has met three servers that are gone";
        assert_eq!(broken_rail(&rails, &none, &now, 0), None, "{one}");
        let slow = over(side(100, 0, 9000.0, 2000.0), 0);
        assert!(slow.is_some_and(|why| why.starts_with("latency 9.0 ms")));
        assert_eq!(
            over(side(100, 0, 9000.0, 50_000.0), 0),
            None,
            "a few took long"
        );
        assert_eq!(
            over(side(100, 0, 7400.0, 0.0), 0),
            None,
            "not half as much again"
        );
        let brief = side(2000, 0, 200.0, 10.0);
        let now = side(100, 0, 900.0, 10.0);
        assert_eq!(
            broken_rail(&rails, &brief, &now, 0),
            None,
            "less than a millisecond more"
        );
    }

    #[test]
    fn a_rail_that_is_off_holds_nothing() {
        let off = Rails {
            after: 1,
            faults: None,
            errors: None,
            latency: None,
            imbalance: None,
        };
        let (before, now) = (side(10, 0, 1.0, 0.0), side(10, 10, 1e6, 0.0));
        assert_eq!(broken_rail(&off, &before, &now, 10), None);
    }

    #[test]
    fn as_many_clients_have_a_lot_below_a_share_as_it_says() {
        let share: Percent = "5%".parse().unwrap_or(Percent::ALL);
        let clients = (0..20_000_u32).map(|client| IpAddr::from(client.to_be_bytes()));
        let below = clients
            .filter(|client| lot_of_client(*client) < share.0)
            .count();
        assert!((900..1100).contains(&below), "{below}");
    }
}
