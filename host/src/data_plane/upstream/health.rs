//! How well an endpoint is, as far as checks of its health and its answers tell.
//!
//! Written by the thread that checks, and read by workers and the admin API: plain atomics, of
//! which a pick looks at one, and only of an endpoint that is a suspect (see
//! [`EndpointSet`](super::EndpointSet)).

use std::sync::Arc;
use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

use arc_swap::ArcSwapOption;

/// Why an endpoint is out of rotation, beside the failures that nginx counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// It failed its health check.
    Check,
    /// It answered worse than its peers, and was ejected.
    Outlier,
}

impl Unfit {
    fn bit(self) -> u32 {
        match self {
            Unfit::Check => 1,
            Unfit::Outlier => 2,
        }
    }
}

/// An endpoint's health. Moments are microseconds of the process's
/// [`Clock`](crate::data_plane::process::Clock); 0 for none.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// A bit for each reason to be out of rotation.
    unfit: AtomicU32,
    /// The moving share of attempts and probes that did not go well, of [`WHOLE`]: so that 0, with
    /// which it begins, needs no write as long as all goes well.
    ill: AtomicU32,
    /// Attempts since they were last [taken](Health::take_attempts), and below them how many of
    /// these failed: one number, so that counting is one addition.
    attempts: AtomicU64,
    check: Finding,
    outlier: Finding,
    last_probe: ArcSwapOption<ProbeReport>,
}

/// What is known of one reason to be out of rotation.
#[derive(Debug, Default)]
struct Finding {
    since: AtomicU64,
    /// When it is looked into again.
    next: AtomicU64,
    why: ArcSwapOption<String>,
}

/// What a probe came to.
#[derive(Debug)]
pub(crate) struct ProbeReport {
    /// When it ended.
    pub(crate) at: u64,
    pub(crate) took_us: u64,
    pub(crate) passed: bool,
    /// In words.
    pub(crate) outcome: String,
}

/// Of [`Health::ill`]: nothing has gone well of late.
const WHOLE: u32 = 1 << 20;
/// How much the newest attempt counts, as in the mean of latencies.
const NEWEST: u32 = 20;

impl Health {
    /// Takes what is known of another endpoint for its own.
    pub(super) fn begin_like(&self, other: &Health) {
        let Health {
            unfit,
            ill,
            attempts,
            check,
            outlier,
            last_probe,
        } = other;
        self.unfit.store(unfit.load(Acquire), Release);
        self.ill.store(ill.load(Relaxed), Relaxed);
        self.attempts.store(attempts.load(Relaxed), Relaxed);
        for (own, other) in [(&self.check, check), (&self.outlier, outlier)] {
            own.since.store(other.since.load(Relaxed), Relaxed);
            own.next.store(other.next.load(Relaxed), Relaxed);
            own.why.store(other.why.load_full());
        }
        self.last_probe.store(last_probe.load_full());
    }

    /// Whether something other than nginx's failures keeps it out of rotation.
    pub(crate) fn is_unfit(&self) -> bool {
        self.unfit.load(Acquire) != 0
    }

    pub(crate) fn is_unfit_for(&self, reason: Unfit) -> bool {
        self.unfit.load(Acquire) & reason.bit() != 0
    }

    /// It is out of rotation from `now` on. Whoever says so has its sets learn of it:
    /// [`Upstream::health_changed`](super::Upstream::health_changed).
    pub(crate) fn is_out(&self, reason: Unfit, now: u64, why: String) {
        let finding = self.finding(reason);
        finding.since.store(now, Relaxed);
        finding.why.store(Some(Arc::new(why)));
        // Behind what it tells: whoever sees the bit finds the reason.
        self.unfit.fetch_or(reason.bit(), Release);
    }

    /// It stays out, for what was found last.
    pub(crate) fn stays_out(&self, reason: Unfit, why: String) {
        self.finding(reason).why.store(Some(Arc::new(why)));
    }

    /// That reason does not keep it out any more; true if it did.
    pub(crate) fn is_back(&self, reason: Unfit, now: u64) -> bool {
        let finding = self.finding(reason);
        finding.since.store(now, Relaxed);
        let before = self.unfit.fetch_and(!reason.bit(), Release);
        finding.why.store(None);
        before & reason.bit() != 0
    }

    /// Since when a reason keeps it out, or does not any more; 0 if it never did.
    pub(crate) fn since(&self, reason: Unfit) -> u64 {
        self.finding(reason).since.load(Relaxed)
    }

    /// When a reason is looked into again.
    pub(crate) fn next(&self, reason: Unfit) -> u64 {
        self.finding(reason).next.load(Relaxed)
    }

    pub(crate) fn set_next(&self, reason: Unfit, next: u64) {
        self.finding(reason).next.store(next, Relaxed);
    }

    /// Why it is out of rotation.
    pub(crate) fn why(&self, reason: Unfit) -> Option<Arc<String>> {
        self.finding(reason).why.load_full()
    }

    pub(crate) fn last_probe(&self) -> Option<Arc<ProbeReport>> {
        self.last_probe.load_full()
    }

    /// `counts`: it tells of the endpoint; what is our own affair does not.
    pub(crate) fn note_probe(&self, report: ProbeReport, counts: bool) {
        if counts {
            self.note_end(report.passed);
        }
        self.last_probe.store(Some(Arc::new(report)));
    }

    /// Nobody probes it any more.
    pub(crate) fn forget_probes(&self) {
        self.last_probe.store(None);
    }

    /// An attempt, or a probe, went well or not.
    pub(crate) fn note_end(&self, well: bool) {
        // Loaded and stored apart: where two workers meet here, one sample is lost, which the mean
        // can bear.
        let ill = self.ill.load(Relaxed);
        if well && ill == 0 {
            return;
        }
        let ill = match well {
            true => ill - ill.div_ceil(NEWEST),
            false => ill + (WHOLE - ill).div_ceil(NEWEST),
        };
        self.ill.store(ill, Relaxed);
    }

    /// The moving share of attempts and probes that went well, in percent: an exponentially
    /// weighted mean with 5 % for the newest. 100 before the first.
    pub(crate) fn percent_well(&self) -> u32 {
        let well = u64::from(WHOLE - self.ill.load(Relaxed).min(WHOLE));
        ((well * 100 + u64::from(WHOLE / 2)) / u64::from(WHOLE)) as u32
    }

    /// Counts an attempt, for whoever looks for outliers.
    pub(super) fn count_attempt(&self, failed: bool) {
        let one = (1 << 32) | u64::from(failed);
        self.attempts.fetch_add(one, Relaxed);
    }

    /// Attempts that have ended since this was last asked, and how many of them failed.
    pub(crate) fn take_attempts(&self) -> (u32, u32) {
        let taken = self.attempts.swap(0, Relaxed);
        ((taken >> 32) as u32, taken as u32)
    }

    fn finding(&self, reason: Unfit) -> &Finding {
        match reason {
            Unfit::Check => &self.check,
            Unfit::Outlier => &self.outlier,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_that_went_well_moves_towards_what_happens() {
        let health = Health::default();
        assert_eq!(health.percent_well(), 100);
        health.note_end(true);
        assert_eq!(health.percent_well(), 100);
        health.note_end(false);
        assert_eq!(health.percent_well(), 95);
        let mut before = 95;
        for _ in 0..400 {
            health.note_end(false);
            assert!(health.percent_well() <= before);
            before = health.percent_well();
        }
        assert_eq!(health.percent_well(), 0);
        for _ in 0..400 {
            health.note_end(true);
        }
        assert_eq!(health.percent_well(), 100);
        assert_eq!(health.ill.load(Relaxed), 0, "what is well is not written");
    }

    #[test]
    fn each_reason_keeps_it_out_by_itself() {
        let health = Health::default();
        health.is_out(Unfit::Check, 5, "status 503".to_owned());
        health.is_out(Unfit::Outlier, 7, "errors".to_owned());
        assert!(health.is_unfit_for(Unfit::Check) && health.is_unfit_for(Unfit::Outlier));
        assert_eq!(
            health.why(Unfit::Check).as_deref().map(String::as_str),
            Some("status 503")
        );
        assert!(health.is_back(Unfit::Check, 9));
        assert!(!health.is_back(Unfit::Check, 9), "it is back already");
        assert!(health.is_unfit() && !health.is_unfit_for(Unfit::Check));
        assert_eq!(
            (health.since(Unfit::Check), health.since(Unfit::Outlier)),
            (9, 7)
        );
        assert!(health.is_back(Unfit::Outlier, 9) && !health.is_unfit());
    }

    #[test]
    fn attempts_are_counted_until_they_are_taken() {
        let health = Health::default();
        for number in 0..10 {
            health.count_attempt(number % 5 == 0);
        }
        assert_eq!(health.take_attempts(), (10, 2));
        assert_eq!(health.take_attempts(), (0, 0));
    }
}
