//! What happened to a plugin, to which version, when and why: kept when the version that it
//! happened to is gone.
//!
//! Of what happens again and again to one version there is one entry, which counts. So the number
//! of entries is bounded, and a version that fails with every request does not push out what was
//! before it.

use std::collections::VecDeque;
use std::time::SystemTime;

use parking_lot::Mutex;

use super::error::FaultKind;
use super::untrusted::Untrusted;

/// Entries that are kept; those that were added to last.
const ENTRIES: usize = 32;

/// The history of one plugin through all of its versions.
#[derive(Debug, Default)]
pub struct PluginHistory(Mutex<VecDeque<PluginEvent>>);

/// One kind of thing that happened to one version.
#[derive(Debug, Clone)]
pub struct PluginEvent {
    pub version: u64,
    pub kind: PluginEventKind,
    /// What happened, the last time that it did.
    pub detail: Untrusted,
    /// How often it happened.
    pub count: u64,
    pub first: SystemTime,
    pub last: SystemTime,
}

/// What can happen to a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PluginEventKind {
    /// It was put in force.
    Serves,
    /// It was on trial, and was put in force.
    Promoted,
    /// It could not be used.
    Refused,
    /// It failed in a call.
    Fault(FaultKind),
    /// It used up its budget.
    OverBudget,
    /// It failed too often.
    Quarantined,
    /// It was put in force again in place of a later one.
    RolledBack,
    /// It decides for a share of clients.
    Canary,
    /// It is asked as well.
    Shadow,
    /// Its trial has ended, and it does not serve.
    Withdrawn,
}

impl PluginEventKind {
    /// As the admin API spells it.
    pub fn name(self) -> &'static str {
        match self {
            PluginEventKind::Serves => "serves",
            PluginEventKind::Promoted => "promoted",
            PluginEventKind::Refused => "refused",
            PluginEventKind::Fault(kind) => kind.name(),
            PluginEventKind::OverBudget => "over budget",
            PluginEventKind::Quarantined => "quarantined",
            PluginEventKind::RolledBack => "rolled back",
            PluginEventKind::Canary => "canary",
            PluginEventKind::Shadow => "shadow",
            PluginEventKind::Withdrawn => "withdrawn",
        }
    }

    /// Whether it says that the version serves from then on.
    pub fn is_start(self) -> bool {
        matches!(
            self,
            PluginEventKind::Serves | PluginEventKind::Promoted | PluginEventKind::RolledBack
        )
    }

    /// Whether it says that something went wrong with the plugin.
    pub fn is_error(self) -> bool {
        match self {
            PluginEventKind::Refused | PluginEventKind::Fault(_) => true,
            PluginEventKind::Serves
            | PluginEventKind::Promoted
            | PluginEventKind::OverBudget
            | PluginEventKind::Quarantined
            | PluginEventKind::RolledBack
            | PluginEventKind::Canary
            | PluginEventKind::Shadow
            | PluginEventKind::Withdrawn => false,
        }
    }
}

impl PluginHistory {
    /// Adds what has just happened to a version.
    pub fn note(&self, version: u64, kind: PluginEventKind, detail: Untrusted) {
        let now = SystemTime::now();
        let mut events = self.0.lock();
        let known = events
            .iter()
            .position(|event| event.version == version && event.kind == kind);
        let (count, first) = match known.and_then(|at| events.remove(at)) {
            Some(event) => (event.count.saturating_add(1), event.first),
            None => (1, now),
        };
        events.push_back(PluginEvent {
            version,
            kind,
            detail,
            count,
            first,
            last: now,
        });
        if events.len() > ENTRIES {
            events.pop_front();
        }
    }

    /// All entries, the one that was added to last at the end.
    pub fn events(&self) -> Vec<PluginEvent> {
        self.0.lock().iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noted(notes: impl Iterator<Item = (u64, PluginEventKind)>) -> Vec<PluginEvent> {
        let history = PluginHistory::default();
        for (index, (version, kind)) in notes.enumerate() {
            history.note(version, kind, Untrusted::message(index));
        }
        history.events()
    }

    #[test]
    fn what_happens_to_a_version_again_is_counted() {
        let trap = PluginEventKind::Fault(FaultKind::Trap);
        let refused = PluginEventKind::Refused;
        let events = noted([(1, trap), (2, refused), (1, trap)].into_iter());
        let shown = |event: &PluginEvent| (event.version, event.kind, event.count);
        let shown: Vec<_> = events.iter().map(shown).collect();
        assert_eq!(shown, [(2, refused, 1), (1, trap, 2)]);
        assert_eq!(events[1].detail.as_str(), "2", "the newest detail");
        assert!(events[1].first <= events[1].last);
    }

    #[test]
    fn a_million_faults_and_a_thousand_versions_are_as_many_entries_as_are_kept() {
        let faults = (0..1_000_000).map(|_| (1, PluginEventKind::Fault(FaultKind::Answer)));
        assert_eq!(noted(faults).len(), 1);
        let versions = noted((0..1000).map(|version| (version, PluginEventKind::Serves)));
        assert_eq!(versions.len(), ENTRIES);
        assert_eq!(versions.last().map(|event| event.version), Some(999));
    }
}
