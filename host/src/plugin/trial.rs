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
use super::rails::{SideFigures, broken_rail};
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
