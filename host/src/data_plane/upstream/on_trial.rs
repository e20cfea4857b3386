//! A version of a policy on trial: it picks for a share of the clients of an upstream, or is asked
//! beside the version that does. The version that picked hears of everything that follows.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use super::balanceable::Balanceable;
use super::endpoint_set::EndpointSet;
use super::group::WorkerGroup;
use super::shared::Upstream;
use super::trial::{Chosen, InTrial, TrialGroup, WorkerTrial};
use crate::plugin::{
    Balancer, Beside, ConfigureError, Ending, ExchangeAtHand, FleetView, Outcome, Pick, Picked,
    Plugin, PluginFiles, Trial, Version, WorkerBalancer,
};

/// What is on trial in an upstream, as all workers share it.
pub(crate) struct UpstreamTrial {
    pub(crate) trial: Arc<Trial>,
    primary: Arc<TrialGroup>,
    backup: Option<Arc<TrialGroup>>,
}

impl UpstreamTrial {
    /// Has `balance` configure the other version for each group of an upstream, given what it was in
    /// `previous`, the same trial under the configuration before, if its instances may live on. It
    /// begins with what that knows, and at first with what the version that serves knows.
    ///
    /// # Errors
    /// What the other version has against it.
    pub(crate) fn new(
        trial: &Arc<Trial>,
        upstream: &Upstream,
        previous: Option<&UpstreamTrial>,
        mut balance: impl FnMut(Arc<EndpointSet>) -> Result<Balancer, ConfigureError>,
    ) -> Result<UpstreamTrial, ConfigureError> {
        let mut group = |of: &super::group::Group, before: Option<&Arc<TrialGroup>>| {
            let balancer = balance(of.endpoints.clone())?;
            if before.is_none() {
                balancer.rehearse()?;
            }
            balancer.inherit(before.map_or(&of.balancer, |before| &before.balancer))?;
            Ok::<_, ConfigureError>(Arc::new(TrialGroup {
                trial: trial.clone(),
                balancer: Arc::new(balancer),
                picks: trial.picks(of.endpoints.clone() as Arc<dyn FleetView>),
            }))
        };
        let primary = group(
            &upstream.primary,
            previous.map(|previous| &previous.primary),
        )?;
        let backup = upstream.backup.as_ref().map(|backup| {
            let before = previous.and_then(|previous| previous.backup.as_ref());
            group(backup, before)
        });
        Ok(UpstreamTrial {
            trial: trial.clone(),
            primary,
            backup: backup.transpose()?,
        })
    }

    fn group(&self, backup: bool) -> Option<&Arc<TrialGroup>> {
        match backup {
            false => Some(&self.primary),
            true => self.backup.as_ref(),
        }
    }

    /// Whether one of its plugins wants to be called from time to time.
    pub(crate) fn ticks(&self) -> bool {
        self.primary.balancer.plugins().any(Plugin::ticks)
    }

    /// The files that settings name.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Arc<PluginFiles>> {
        let groups = std::iter::once(&self.primary).chain(&self.backup);
        groups.flat_map(|group| group.balancer.files())
    }
}

impl WorkerTrial {
    /// Asks the version whose turn it is, and a shadow beside it. `narrow`: has the candidates be what
    /// they were before the first of them was asked.
    fn pick(
        self: &Rc<Self>,
        serving: &RefCell<WorkerBalancer>,
        exchange: &Rc<dyn Balanceable>,
        pick: &Pick,
        narrow: &dyn Fn(),
    ) -> Result<Option<Chosen>, u16> {
        let trial = &self.shared.trial;
        let version = trial.version_for(exchange.lot());
        let at_hand = exchange.clone() as ExchangeAtHand;
        let asked = match version {
            Version::Serving => serving,
            Version::Candidate => &self.candidate,
        };
        let (picked, refusal) = {
            let mut asked = asked.borrow_mut();
            (asked.pick(&at_hand, pick), asked.refusal())
        };
        let beside = trial.is_shadow().then(|| {
            narrow();
            let balance = exchange.balance();
            let beside = Beside::new(&at_hand, balance.memo_beside.get());
            let mut candidate = self.candidate.borrow_mut();
            let at_hand = beside.clone() as ExchangeAtHand;
            let other = candidate.pick(&at_hand, pick);
            balance.memo_beside.set(beside.kept());
            let index = |picked: &Option<Picked>| picked.as_ref().map(|picked| picked.index);
            let agrees = index(&picked) == index(&other) && refusal == candidate.refusal();
            trial.note_compared(agrees);
            if let Some(other) = &other {
                self.shared.picks.note(Version::Candidate, other.index);
            }
            match agrees {
                true => other,
                false => {
                    if let Some(other) = other {
                        candidate.done(&at_hand, other, &UNUSED);
                    }
                    None
                }
            }
        });
        let Some(picked) = picked else {
            if let Some(status) = refusal {
                trial.note_end(version, status >= 500, None);
                return Err(status);
            }
            return Ok(None);
        };
        self.shared.picks.note(version, picked.index);
        let in_trial = InTrial {
            trial: self.clone(),
            version,
            beside: beside.flatten(),
        };
        Ok(Some(Chosen {
            picked,
            in_trial: Some(Box::new(in_trial)),
        }))
    }
}

/// A pick with which nothing was done.
pub(super) const UNUSED: Outcome = Outcome {
    ending: Ending::Unused,
    status: 0,
    connect_us: 0,
    header_us: 0,
    total_us: 0,
};

impl WorkerGroup {
    /// Has the policy pick; none where there is no candidate. `narrow`: see [`WorkerTrial::pick`].
    ///
    /// # Errors
    /// The status with which it refuses.
    pub(super) fn pick(
        &self,
        exchange: &Rc<dyn Balanceable>,
        at_hand: &ExchangeAtHand,
        pick: &Pick,
        narrow: &dyn Fn(),
    ) -> Result<Option<Chosen>, u16> {
        let trial = self.trial.borrow().clone();
        if let Some(trial) = trial {
            return trial.pick(&self.balancer, exchange, pick, narrow);
        }
        let mut balancer = self.balancer.borrow_mut();
        match (balancer.pick(at_hand, pick), balancer.refusal()) {
            (Some(picked), _) => Ok(Some(Chosen {
                picked,
                in_trial: None,
            })),
            (None, Some(status)) => Err(status),
            (None, None) => Ok(None),
        }
    }

    /// An attempt at this endpoint failed, whichever version has picked it.
    pub(super) fn failed(&self, index: u32) {
        self.balancer.borrow_mut().failed(index);
        if let Some(trial) = &*self.trial.borrow() {
            trial.candidate.borrow_mut().failed(index);
        }
    }

    /// Tells the version that picked how the attempt ended, and the shadow if it has picked the same.
    pub(super) fn done(&self, exchange: &Rc<dyn Balanceable>, chosen: Chosen, outcome: &Outcome) {
        let at_hand = exchange.clone() as ExchangeAtHand;
        let Chosen { picked, in_trial } = chosen;
        let Some(in_trial) = in_trial else {
            return self.balancer.borrow_mut().done(&at_hand, picked, outcome);
        };
        let candidate = &in_trial.trial.candidate;
        if let Some(own) = in_trial.beside {
            let beside = Beside::new(&at_hand, exchange.balance().memo_beside.get());
            let at_hand = beside as ExchangeAtHand;
            candidate.borrow_mut().done(&at_hand, own, outcome);
        }
        let asked = match in_trial.version {
            Version::Serving => &self.balancer,
            Version::Candidate => candidate,
        };
        asked.borrow_mut().done(&at_hand, picked, outcome);
    }

    /// Tells the policy that its pick was not used: another worker took the endpoint's last free
    /// connection, or its one probe, in the meantime.
    pub(super) fn unused(&self, exchange: &Rc<dyn Balanceable>, chosen: Chosen) {
        self.done(exchange, chosen, &UNUSED);
    }

    /// Calls its plugins whose time has come.
    pub(super) fn tick(&self, now_us: u64) {
        self.balancer.borrow_mut().tick(now_us);
        if let Some(trial) = &*self.trial.borrow() {
            trial.candidate.borrow_mut().tick(now_us);
        }
    }

    /// From here on this is on trial, or nothing is. `previous`: the group under the configuration
    /// before, whose instances of the same trial know something.
    pub(super) fn put_on_trial(
        &self,
        shared: Option<(&UpstreamTrial, bool)>,
        previous: Option<&WorkerGroup>,
    ) {
        let shared = shared.and_then(|(trial, is_backup)| trial.group(is_backup));
        let Some(shared) = shared else {
            self.trial.replace(None);
            return;
        };
        let present = self.trial.borrow().clone();
        let is_same = |present: &Rc<WorkerTrial>| Arc::ptr_eq(&present.shared, shared);
        if present.as_ref().is_some_and(is_same) {
            return;
        }
        let before = previous.and_then(|previous| previous.trial.borrow().clone());
        let before = before.or(present);
        let before = before.filter(|before| Arc::ptr_eq(&before.shared.trial, &shared.trial));
        let mut candidate = shared.balancer.attach(None);
        match before {
            Some(before) => candidate.take_over(&mut before.candidate.borrow_mut()),
            None => candidate.take_over(&mut self.balancer.borrow_mut()),
        }
        self.trial.replace(Some(Rc::new(WorkerTrial {
            shared: shared.clone(),
            candidate: RefCell::new(candidate),
        })));
    }
}
