//! Whether all of it is within bounds, in words and figures.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use super::tally::{Met, Tally};
use super::watch::{After, KEPT, Watch};

/// What an answer may take: a server that hangs costs each attempt at it `read_timeout`, and the
/// load shares the machine with the proxy.
const LONGEST: Duration = Duration::from_secs(5);
/// How much more memory there may be in the last third than in the second: what is worked on varies.
const GROWTH: u64 = 16 << 10;

pub(crate) struct Verdict {
    /// By those who behave.
    pub(crate) met: Arc<Tally>,
    /// What happened to them: hostile clients, faults, commands.
    pub(crate) meanwhile: Arc<Tally>,
    pub(crate) watch: Watch,
    pub(crate) after: After,
    /// No client of ours has panicked.
    pub(crate) went_on: bool,
    pub(crate) span: Duration,
    pub(crate) seed: u64,
}

/// Something that has to be, and what was.
struct Bound {
    what: &'static str,
    allowed: String,
    was: String,
    is_kept: bool,
}

impl Verdict {
    fn bounds(&self) -> Vec<Bound> {
        let (met, meanwhile) = (self.met.all(), self.meanwhile.all());
        let failed: u64 = met
            .values()
            .chain(meanwhile.values())
            .map(Met::failed)
            .sum();
        let longest = met
            .values()
            .map(|met| met.longest)
            .max()
            .unwrap_or_default();
        let (middle, last) = (
            self.watch.most_memory(33, 66),
            self.watch.most_memory(66, 100),
        );
        let descriptors = self.watch.before.descriptors + KEPT;
        let bound = |what, allowed, was, is_kept| Bound {
            what,
            allowed,
            was,
            is_kept,
        };
        vec![
            bound(
                "requests and commands that failed",
                "0".to_owned(),
                failed.to_string(),
                failed == 0,
            ),
            bound(
                "the longest answer",
                format!("{LONGEST:?}"),
                format!("{longest:.0?}"),
                longest <= LONGEST,
            ),
            bound(
                "most memory in the last third",
                format!("{} MiB", (middle + middle / 10 + GROWTH) >> 10),
                format!("{} MiB, {} in the second", last >> 10, middle >> 10),
                last <= middle + middle / 10 + GROWTH,
            ),
            bound(
                "descriptors at the end",
                descriptors.to_string(),
                format!(
                    "{}, {} at the most meanwhile",
                    self.after.descriptors,
                    self.watch.most_descriptors()
                ),
                self.after.descriptors <= descriptors,
            ),
            bound(
                "requests under way at the end",
                "0".to_owned(),
                self.after.in_flight.to_string(),
                self.after.in_flight == 0.0,
            ),
            bound(
                "panics, workers that were replaced",
                "0, 0".to_owned(),
                format!("{}, {}", self.after.panics, self.after.worker_restarts),
                self.after.panics == 0 && self.after.worker_restarts == 0,
            ),
            bound(
                "clients that went on to the end",
                "all".to_owned(),
                if self.went_on { "all" } else { "some panicked" }.to_owned(),
                self.went_on,
            ),
        ]
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.bounds().iter().all(|bound| bound.is_kept)
    }

    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "{} minutes, seed {}, {:.0} % of a core, {} MiB at the end\n\n",
            self.span.as_secs() / 60,
            self.seed,
            self.watch.processor_share() * 100.0,
            self.after.memory >> 10,
        );
        for tally in [&self.met, &self.meanwhile] {
            tell(&mut text, tally);
        }
        text.push_str("| bound | allowed | was | |\n|---|---|---|---|\n");
        for bound in self.bounds() {
            let word = if bound.is_kept { "kept" } else { "BROKEN" };
            let _ = writeln!(
                text,
                "| {} | {} | {} | {word} |",
                bound.what, bound.allowed, bound.was
            );
        }
        text
    }

    /// Of each second.
    pub(crate) fn raw(&self) -> String {
        let mut raw = "seconds,memory_kib,descriptors,processor_seconds\n".to_owned();
        for seen in &self.watch.seen {
            let _ = writeln!(
                raw,
                "{:.1},{},{},{:.2}",
                seen.at.as_secs_f64(),
                seen.memory,
                seen.descriptors,
                seen.processor.as_secs_f64()
            );
        }
        raw
    }
}

/// What was counted, by kind, and each error.
fn tell(text: &mut String, tally: &Tally) {
    text.push_str("| what | times | failed | median | 99 % | 99.9 % | longest |\n");
    text.push_str("|---|---|---|---|---|---|---|\n");
    let all = tally.all();
    for (kind, met) in &all {
        let _ = writeln!(
            text,
            "| {kind} | {} | {} | {:.1?} | {:.1?} | {:.1?} | {:.1?} |",
            met.answered,
            met.failed(),
            met.permille(500),
            met.permille(990),
            met.permille(999),
            met.longest
        );
    }
    text.push('\n');
    for (kind, met) in &all {
        for (error, times) in &met.errors {
            let _ = writeln!(text, "{kind}: {times} times {error}\n");
        }
    }
}
