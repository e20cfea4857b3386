//! What every plugin has to do, whatever it decides. `docs/test-a-plugin.md` has it in words, for
//! other hosts.

mod settings; // whatever they are
mod policy; // choices
mod hook; // verdicts

use super::battery::BATTERY;
use super::subject::Subject;
use crate::plugin::{Kind, Plugin, PluginCounters};

/// What became of one requirement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Holds,
    /// Nothing that the contract asks for: to be looked at.
    Note,
    Fails,
}

/// One requirement, and what was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub requirement: &'static str,
    pub verdict: Verdict,
    pub seen: String,
}

impl Finding {
    fn holds(requirement: &'static str, seen: impl Into<String>) -> Finding {
        let (verdict, seen) = (Verdict::Holds, seen.into());
        Finding {
            requirement,
            verdict,
            seen,
        }
    }

    fn note(requirement: &'static str, seen: impl Into<String>) -> Finding {
        let (verdict, seen) = (Verdict::Note, seen.into());
        Finding {
            requirement,
            verdict,
            seen,
        }
    }

    fn fails(requirement: &'static str, seen: impl Into<String>) -> Finding {
        let (verdict, seen) = (Verdict::Fails, seen.into());
        Finding {
            requirement,
            verdict,
            seen,
        }
    }
}

/// Tries a plugin with this seed, and passes each finding on as it is made. Its settings have to be
/// those of a use that works.
pub fn conformance(subject: &Subject, seed: u64, mut found: impl FnMut(Finding)) {
    if !settings::are_taken(subject, &mut found) {
        return;
    }
    match subject.kind {
        Kind::Policy | Kind::Filter | Kind::Scorer => policy::findings(subject, seed, &mut found),
        Kind::Hook => hook::findings(subject, seed, &mut found),
    }
}

/// Counts the faults of a plugin from here on.
pub(super) struct Faults<'p> {
    plugin: &'p Plugin,
    before: PluginCounters,
}

impl Faults<'_> {
    pub(super) fn of(plugin: &Plugin) -> Faults<'_> {
        let before = plugin.stats();
        Faults { plugin, before }
    }

    /// In words; none where there were none.
    pub(super) fn seen(&self) -> Option<String> {
        let now = self.plugin.stats();
        let kinds = [
            ("traps", now.traps - self.before.traps),
            (
                "calls that ran past the deadline",
                now.deadlines - self.before.deadlines,
            ),
            (
                "calls that wanted too much memory",
                now.memory - self.before.memory,
            ),
            (
                "answers that are not allowed",
                now.answers - self.before.answers,
            ),
        ];
        let seen = kinds.iter().filter(|(_, number)| *number > 0);
        let seen: Vec<String> = seen
            .map(|(kind, number)| format!("{number} {kind}"))
            .collect();
        (!seen.is_empty()).then(|| seen.join(", "))
    }
}

/// As `10,000`.
fn thousands(number: u64) -> String {
    match (number / 1000, number % 1000) {
        (0, rest) => rest.to_string(),
        (thousands, rest) => format!("{thousands},{rest:03}"),
    }
}

const MEMORY: &str = "does not grow";

/// What its instances hold after some requests, and after more of them.
fn growth(plugin: &Plugin, mut ask: impl FnMut(u64)) -> Finding {
    let mut after = |requests: std::ops::Range<u64>| {
        requests.for_each(&mut ask);
        plugin.cost().memory_bytes >> 10
    };
    let growth = &BATTERY.growth;
    let (early, late) = (after(0..growth.early), after(growth.early..growth.late));
    let seen = format!(
        "{early} KiB after {} requests, {late} KiB after {}",
        thousands(growth.early),
        thousands(growth.late)
    );
    match late <= early + early * growth.more_percent / 100 {
        true => Finding::holds(MEMORY, seen),
        false => Finding::note(MEMORY, seen),
    }
}
