//! One of a balancer's two policies as one worker asks it: with an instance of its own or with the
//! one that all workers share, within the worker's budget, and never waiting for long.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use super::super::budget::Account;
use super::balancer::Role;
use super::slot::PolicySlot;
use super::{ExchangeContext, Outcome, Pick};

/// How long a worker waits for the shared instance at the most: all its requests wait with it.
pub(super) const LONGEST_WAIT: Duration = Duration::from_millis(20);
/// Reports that may wait for the shared instance. With more, the instance is dropped: see
/// [`WorkerRole::tell`].
const UNHEARD: usize = 1024;

/// A worker's way to one policy.
pub(super) struct WorkerRole {
    /// `None`: the workers share one.
    own: Option<PolicySlot>,
    account: Rc<Account>,
    /// Reports that the shared instance has not had yet, in order.
    unheard: VecDeque<Report>,
}

/// What an instance is told of an attempt.
pub(super) enum Report {
    /// It failed; reported whichever policy picked the endpoint.
    Failed(u32),
    /// It ended; for the instance that picked.
    Ended {
        generation: u64,
        exchange: Rc<dyn ExchangeContext>,
        lease: u64,
        index: u32,
        outcome: Outcome,
    },
}

impl Report {
    fn tell(&self, slot: &mut PolicySlot) {
        match self {
            Report::Failed(index) => slot.failed(*index),
            Report::Ended {
                generation,
                exchange,
                lease,
                index,
                outcome,
            } => slot.done(*generation, exchange, *lease, *index, outcome),
        }
    }
}

impl WorkerRole {
    /// On the worker's thread.
    pub(super) fn new(role: &Role) -> WorkerRole {
        WorkerRole {
            own: role.own(),
            account: Account::of(role.plugin()),
            unheard: VecDeque::new(),
        }
    }

    /// The worker's own instance, where it has one.
    pub(super) fn own(&mut self) -> Option<&mut PolicySlot> {
        self.own.as_mut()
    }

    /// Asks for an endpoint: its index, and the generation of the instance that answered. `None`
    /// without blame where the budget is used up, or the shared instance is busy for too long.
    #[inline]
    pub(super) fn ask(
        &mut self,
        role: &Role,
        exchange: &Rc<dyn ExchangeContext>,
        pick: &Pick,
        candidates: u64,
    ) -> Option<(u32, u64)> {
        let WorkerRole {
            own,
            account,
            unheard,
        } = self;
        if account.is_in_debt() {
            return None;
        }
        let ask = |slot: &mut PolicySlot| {
            let picked = slot.pick(exchange, pick, candidates);
            account.pay(slot.take_charge());
            Some((picked?, slot.generation()))
        };
        match (own, role.shared()) {
            (Some(slot), _) => ask(slot),
            (None, Some(shared)) => {
                let mut slot = lock(role, shared, account)?;
                deliver(unheard, role, &mut slot);
                ask(&mut slot)
            }
            (None, None) => None,
        }
    }

    /// Tells the policy something that it must not miss. A shared instance that is busy for too
    /// long is told later. If too many reports have piled up for it, they and the instance are
    /// dropped: its counts would be wrong.
    pub(super) fn tell(&mut self, role: &Role, report: Report) {
        let WorkerRole {
            own,
            account,
            unheard,
        } = self;
        match (own, role.shared()) {
            (Some(slot), _) => {
                report.tell(slot);
                account.pay(slot.take_charge());
            }
            (None, Some(shared)) => {
                unheard.push_back(report);
                if let Some(mut slot) = lock(role, shared, account) {
                    deliver(unheard, role, &mut slot);
                    account.pay(slot.take_charge());
                } else if unheard.len() > UNHEARD {
                    unheard.clear();
                    role.has_missed_endings.store(true, Relaxed);
                }
            }
            (None, None) => {}
        }
    }

    /// Delivers the reports that are still queued, before the worker drops this.
    pub(super) fn finish(&mut self, role: &Role) {
        if self.unheard.is_empty() {
            return;
        }
        match role
            .shared()
            .and_then(|shared| lock(role, shared, &self.account))
        {
            Some(mut slot) => deliver(&mut self.unheard, role, &mut slot),
            None => role.has_missed_endings.store(true, Relaxed),
        }
    }
}

/// The shared instance, unless it is busy for too long. The budget pays for waiting: the worker
/// stands still as it does in a call.
#[inline]
fn lock<'a>(
    role: &Role,
    shared: &'a Mutex<PolicySlot>,
    account: &Account,
) -> Option<MutexGuard<'a, PolicySlot>> {
    if let Some(slot) = shared.try_lock() {
        return Some(slot);
    }
    let began = Instant::now();
    let slot = shared.try_lock_for(role.wait);
    account.pay(began.elapsed());
    slot
}

fn deliver(unheard: &mut VecDeque<Report>, role: &Role, slot: &mut PolicySlot) {
    if role.has_missed_endings.load(Relaxed) && role.has_missed_endings.swap(false, Relaxed) {
        slot.missed_endings();
    }
    while let Some(report) = unheard.pop_front() {
        report.tell(slot);
    }
}
