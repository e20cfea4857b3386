//! What a version of a policy on trial is to a group of endpoints, and what of it a choice owes to whom.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::plugin::{Balancer, Ending, Picked, Picks, Trial, Version, WorkerBalancer};

/// The other version's policy for one group of endpoints.
pub(super) struct TrialGroup {
    pub(super) trial: Arc<Trial>,
    pub(super) balancer: Arc<Balancer>,
    pub(super) picks: Arc<Picks>,
}

/// One worker's way to the other version of a group's policy.
pub(super) struct WorkerTrial {
    pub(super) shared: Arc<TrialGroup>,
    pub(super) candidate: RefCell<WorkerBalancer>,
}

/// A policy's choice, and which version of it has chosen.
pub(super) struct Chosen {
    pub(super) picked: Picked,
    pub(super) in_trial: Option<Box<InTrial>>,
}

/// What is owed to the versions of a policy on trial.
pub(super) struct InTrial {
    pub(super) trial: Rc<WorkerTrial>,
    pub(super) version: Version,
    /// The shadow has picked the same.
    pub(super) beside: Option<Picked>,
}

impl Chosen {
    /// Whether somebody is to be told how the attempt ended.
    pub(super) fn is_observed(&self) -> bool {
        let beside = |in_trial: &InTrial| in_trial.beside.as_ref().is_some_and(Picked::is_observed);
        self.picked.is_observed() || self.in_trial.as_deref().is_some_and(beside)
    }

    /// The version that is tried has chosen.
    pub(super) fn is_candidates(&self) -> bool {
        let in_trial = self.in_trial.as_deref();
        in_trial.is_some_and(|in_trial| matches!(in_trial.version, Version::Candidate))
    }

    /// Counts how the attempt ended, where there is a trial. What tells of clients says nothing of a
    /// policy.
    pub(super) fn note_end(&self, ending: Ending, status: u16, header: Duration) {
        let Some(in_trial) = &self.in_trial else {
            return;
        };
        let is_error = match ending {
            Ending::Failed => true,
            Ending::Completed | Ending::PassedOver => status >= 500,
            Ending::Abandoned | Ending::Unused => return,
        };
        let took = (!header.is_zero()).then_some(header);
        let trial = &in_trial.trial.shared.trial;
        trial.note_end(in_trial.version, is_error, took);
    }
}
