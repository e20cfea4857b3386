//! A use of a plugin as one worker has it: with an instance of its own or with those that all
//! workers share, within the worker's budget, and never waiting for long.

use std::cell::{RefCell, RefMut};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use parking_lot::MutexGuard;

use super::budget::Account;
use super::role::{Role, SharedInstance};
use super::slot::{HandedOver, InstanceSlot, InstanceSpec};

/// Reports that may wait for a shared instance. With more, the instance is dropped: see
/// [`WorkerRole::tell`].
pub(super) const UNHEARD: usize = 1024;

/// A worker's way to one use of a plugin.
pub(super) struct WorkerRole<S: InstanceSpec> {
    /// `None`: the workers share them. Roles that [continue](Role::continuing) each other have the
    /// same slot: what began under one ends under another.
    own: Option<Rc<RefCell<InstanceSlot<S>>>>,
    account: Rc<Account>,
    /// How long this worker waits for a shared instance: all its requests wait with it.
    wait: Duration,
    /// Reports that shared instances have not had yet, each with its shard, in order.
    unheard: VecDeque<(usize, S::Report)>,
}

impl<S: InstanceSpec> WorkerRole<S> {
    /// On the worker's thread.
    pub(super) fn new(role: &Role<S>, longest_wait: Duration) -> WorkerRole<S> {
        let own = role.own().map(|slot| Rc::new(RefCell::new(slot)));
        WorkerRole::with(own, role, longest_wait)
    }

    /// On the worker's thread, with the slot of `previous`: the worker's way to a role that `role`
    /// continues.
    pub(super) fn continuing(
        previous: &WorkerRole<S>,
        role: &Role<S>,
        longest_wait: Duration,
    ) -> WorkerRole<S> {
        WorkerRole::with(previous.own.clone(), role, longest_wait)
    }

    fn with(
        own: Option<Rc<RefCell<InstanceSlot<S>>>>,
        role: &Role<S>,
        longest_wait: Duration,
    ) -> WorkerRole<S> {
        WorkerRole {
            own,
            account: Account::of(role.plugin()),
            wait: longest_wait,
            unheard: VecDeque::new(),
        }
    }

    /// The worker's own instance, where it has one.
    pub(super) fn own(&mut self) -> Option<RefMut<'_, InstanceSlot<S>>> {
        self.own.as_deref().map(RefCell::borrow_mut)
    }

    /// Takes over what the worker's own instance of `previous`, a use of `before`, knows; one that
    /// lives on is told what is different.
    pub(super) fn take_over(
        &mut self,
        role: &Role<S>,
        previous: &mut WorkerRole<S>,
        before: &Role<S>,
    ) {
        if role.continues(before) {
            if let Some(own) = &self.own {
                let mut slot = own.borrow_mut();
                slot.follow(&role.spec);
                self.account.pay(slot.take_charge());
            }
        } else if role.follows(before)
            && let (Some(mut own), Some(mut theirs)) = (self.own(), previous.own())
            && let Some(state) = theirs.export_state()
        {
            own.make();
            // A fault is counted and logged.
            let _ = own.import_state(state);
        }
    }

    /// Asks an instance: its answer, and the generation of the instance that gave it. `None`
    /// without blame where the budget is used up, or the shared instance is busy for too long.
    #[inline]
    pub(super) fn ask<R>(
        &mut self,
        role: &Role<S>,
        shard: usize,
        ask: impl FnOnce(&mut InstanceSlot<S>) -> Option<R>,
    ) -> Option<(R, u64)> {
        let WorkerRole {
            own,
            account,
            unheard,
            wait,
        } = self;
        if account.is_in_debt() {
            return None;
        }
        let ask = |slot: &mut InstanceSlot<S>| {
            let answer = ask(slot);
            account.pay(slot.take_charge());
            Some((answer?, slot.generation()))
        };
        match own {
            Some(slot) => {
                let mut slot = slot.borrow_mut();
                slot.follow(&role.spec);
                ask(&mut slot)
            }
            None => {
                let shared = role.shared().get(shard)?;
                let mut slot = lock(shared, account, *wait)?;
                deliver(unheard, role, shard, shared, &mut slot);
                ask(&mut slot)
            }
        }
    }

    /// Tells an instance something that it must not miss. A shared instance that is busy for too
    /// long is told later: then the answer is `None`, else the report, and the slot's
    /// [`handed_over`](InstanceSlot::handed_over) so far. If too many reports have piled up, they and the
    /// instances that they are for are dropped: what these count would be wrong.
    pub(super) fn tell(
        &mut self,
        role: &Role<S>,
        shard: usize,
        report: S::Report,
    ) -> Option<(S::Report, HandedOver)> {
        let WorkerRole {
            own,
            account,
            unheard,
            wait,
        } = self;
        if let Some(slot) = own {
            let mut slot = slot.borrow_mut();
            slot.follow(&role.spec);
            S::tell(&mut slot, &report);
            account.pay(slot.take_charge());
            return Some((report, slot.handed_over()));
        }
        let shared = role.shared().get(shard)?;
        if let Some(mut slot) = lock(shared, account, *wait) {
            deliver(unheard, role, shard, shared, &mut slot);
            S::tell(&mut slot, &report);
            account.pay(slot.take_charge());
            return Some((report, slot.handed_over()));
        }
        unheard.push_back((shard, report));
        if unheard.len() > UNHEARD {
            self.give_up(role);
        }
        None
    }

    /// What the slot of a shard has handed to a successor; `None` where that cannot be told now.
    pub(super) fn handed_over(&self, role: &Role<S>, shard: usize) -> Option<HandedOver> {
        match &self.own {
            Some(slot) => Some(slot.borrow().handed_over()),
            None => {
                let shared = role.shared().get(shard)?;
                Some(lock(shared, &self.account, self.wait)?.handed_over())
            }
        }
    }

    /// Lets go of the instances of a shard: they have missed something.
    pub(super) fn note_missed(&mut self, role: &Role<S>, shard: usize) {
        match &self.own {
            Some(slot) => slot.borrow_mut().missed_reports(),
            None => {
                if let Some(shared) = role.shared().get(shard) {
                    shared.note_missed();
                }
            }
        }
    }

    fn give_up(&mut self, role: &Role<S>) {
        for (shard, _) in self.unheard.drain(..) {
            if let Some(shared) = role.shared().get(shard) {
                shared.note_missed();
            }
        }
    }

    /// Delivers the reports that are still queued, before the worker drops this.
    pub(super) fn finish(&mut self, role: &Role<S>) {
        while let Some(&(shard, _)) = self.unheard.front() {
            let Some(shared) = role.shared().get(shard) else {
                return;
            };
            match lock(shared, &self.account, self.wait) {
                Some(mut slot) => deliver(&mut self.unheard, role, shard, shared, &mut slot),
                None => return self.give_up(role),
            }
        }
    }

    /// Calls the instances whose time has come. A shared one that is busy is called by the next
    /// worker that looks.
    pub(super) fn tick(&mut self, role: &Role<S>, now_us: u64) {
        let WorkerRole { own, account, .. } = self;
        if !role.plugin().ticks() || account.is_in_debt() {
            return;
        }
        if let Some(slot) = own {
            let mut slot = slot.borrow_mut();
            slot.tick(now_us);
            account.pay(slot.take_charge());
        }
        for shared in role.shared() {
            if let Some(mut slot) = shared.slot.try_lock() {
                slot.tick(now_us);
                account.pay(slot.take_charge());
            }
        }
    }
}

/// A shared instance, unless it is busy for too long. The budget pays for waiting: the worker
/// stands still as it does in a call.
#[inline]
fn lock<'a, S: InstanceSpec>(
    shared: &'a SharedInstance<S>,
    account: &Account,
    wait: Duration,
) -> Option<MutexGuard<'a, InstanceSlot<S>>> {
    if let Some(slot) = shared.slot.try_lock() {
        return Some(slot);
    }
    let began = Instant::now();
    let slot = shared.slot.try_lock_for(wait);
    account.pay(began.elapsed());
    slot
}

/// Tells a shared instance what was queued for it, once it knows what that is about.
fn deliver<S: InstanceSpec>(
    unheard: &mut VecDeque<(usize, S::Report)>,
    role: &Role<S>,
    shard: usize,
    shared: &SharedInstance<S>,
    slot: &mut InstanceSlot<S>,
) {
    slot.follow(&role.spec);
    if shared.take_missed() {
        slot.missed_reports();
    }
    if unheard.is_empty() {
        return;
    }
    let (now, later) = std::mem::take(unheard)
        .into_iter()
        .partition::<VecDeque<_>, _>(|(of, _)| *of == shard);
    *unheard = later;
    for (_, report) in now {
        S::tell(slot, &report);
    }
}
