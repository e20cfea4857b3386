//! A use of a plugin as one worker has it: with an instance of its own or with those that all
//! workers share, within the worker's budget, and never waiting for long.

use std::cell::{Cell, RefCell, RefMut};
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

/// Why an instance was not asked, or gave no answer, where nothing else keeps it from being called.
pub(super) const FAILED: &str = "its instance failed, and the next one is not there yet";
pub(super) const CALL_FAILED: &str = "its call failed";

/// A worker's way to one use of a plugin.
pub(super) struct WorkerRole<S: InstanceSpec> {
    /// `None`: the workers share them. Roles that [continue](Role::continuing) each other have the
    /// same slot: what began under one ends under another.
    own: Option<Rc<RefCell<InstanceSlot<S>>>>,
    account: Rc<Account>,
    /// How long this worker waits for a shared instance: all its requests wait with it.
    wait: Duration,
    unheard: Rc<Unheard<S>>,
}

/// Reports that shared instances have not had yet.
///
/// A report holds its exchange, and that the configuration that it began with, this included: what
/// waits here keeps itself alive. Once that configuration is served no longer, no call comes that
/// would deliver it, so the worker looks after it by itself: see [`deliver_late_reports`].
struct Unheard<S: InstanceSpec> {
    role: Role<S>,
    account: Rc<Account>,
    /// Each with its shard, in order.
    reports: RefCell<VecDeque<(usize, S::Report)>>,
    /// It is one of [`LATE`].
    is_late: Cell<bool>,
}

thread_local! {
    /// Those of this worker that were not empty when they were last looked at.
    static LATE: RefCell<Vec<Rc<dyn Late>>> = const { RefCell::new(Vec::new()) };
}

trait Late {
    /// Tells what the instances are free to hear; whether that was all.
    fn deliver(&self) -> bool;
}

/// Tells shared instances what they were too busy to hear, as far as they are not busy now. Called
/// by each worker from time to time.
pub fn deliver_late_reports() {
    for late in LATE.take() {
        if !late.deliver() {
            LATE.with_borrow_mut(|waiting| waiting.push(late));
        }
    }
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
        let account = Account::of(role.plugin());
        let unheard = Unheard {
            role: role.clone(),
            account: account.clone(),
            reports: RefCell::default(),
            is_late: Cell::new(false),
        };
        WorkerRole {
            own,
            account,
            wait: longest_wait,
            unheard: Rc::new(unheard),
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

    /// Begins with a copy of what the worker's own instance of `other`, a use of `of`, knows; that
    /// goes on.
    pub(super) fn copy(&mut self, role: &Role<S>, other: &mut WorkerRole<S>, of: &Role<S>) {
        if role.follows(of)
            && let (Some(mut own), Some(mut theirs)) = (self.own(), other.own())
            && let Some(state) = theirs.copy_state()
        {
            own.make();
            // A fault is counted and logged.
            let _ = own.import_state(state);
        }
    }

    /// What the worker's own instance knows, for an instance elsewhere; that goes on.
    pub(super) fn copy_state(&mut self) -> Option<Vec<u8>> {
        self.own()?.copy_state()
    }

    /// Begins with what an instance elsewhere knows.
    pub(super) fn begin_with(&mut self, state: Vec<u8>) {
        if let Some(mut own) = self.own() {
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
                unheard.deliver_to(shard, shared, &mut slot);
                ask(&mut slot)
            }
        }
    }

    /// Whether the budget of the worker's time is used up.
    pub(super) fn is_in_debt(&self) -> bool {
        self.account.is_in_debt()
    }

    /// Takes the time of a call that could wait off the budget.
    pub(super) fn pay(&self, charge: Duration) {
        self.account.pay(charge);
    }

    /// Why an instance of a shard was not asked a moment ago, or gave no answer.
    pub(super) fn why_unasked(&self, role: &Role<S>, shard: usize) -> &'static str {
        if let Some(why) = self.why_not_called(role) {
            return why;
        }
        let is_ready = match &self.own {
            Some(slot) => slot.borrow().is_ready(),
            None => {
                let shared = role.shared().get(shard);
                // One that is busy is there.
                let slot = shared.and_then(|shared| shared.slot.try_lock());
                slot.is_none_or(|slot| slot.is_ready())
            }
        };
        match is_ready {
            true => "its instance is busy",
            false => FAILED,
        }
    }

    /// Why no instance is called at all, if so.
    pub(super) fn why_not_called(&self, role: &Role<S>) -> Option<&'static str> {
        if self.account.was_in_debt() {
            return Some("its budget of the worker's time is used up");
        }
        let is_quarantined = role.plugin().is_quarantined();
        is_quarantined.then_some("its plugin is in quarantine")
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
            unheard.deliver_to(shard, shared, &mut slot);
            S::tell(&mut slot, &report);
            account.pay(slot.take_charge());
            return Some((report, slot.handed_over()));
        }
        unheard.push(shard, report);
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

    /// Delivers the reports that are still queued, before the worker drops this.
    pub(super) fn finish(&mut self) {
        let unheard = &self.unheard;
        while let Some(shard) = unheard.first() {
            let Some(shared) = unheard.role.shared().get(shard) else {
                return;
            };
            match lock(shared, &self.account, self.wait) {
                Some(mut slot) => unheard.deliver_to(shard, shared, &mut slot),
                None => return unheard.give_up(),
            }
        }
    }

    /// Calls the instances whose time has come, and makes those anew that have failed: whoever asks
    /// next shall find one. A shared one that is busy is called by the next worker that looks.
    pub(super) fn tick(&mut self, role: &Role<S>, now_us: u64) {
        let WorkerRole { own, account, .. } = self;
        let plugin = role.plugin();
        let has_reason = plugin.ticks() || plugin.has_faulted();
        if !has_reason || account.is_in_debt() {
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

impl<S: InstanceSpec> Unheard<S> {
    /// The shard of the report that waits for longest.
    fn first(&self) -> Option<usize> {
        self.reports.borrow().front().map(|(shard, _)| *shard)
    }

    fn push(self: &Rc<Self>, shard: usize, report: S::Report) {
        let count = {
            let mut reports = self.reports.borrow_mut();
            reports.push_back((shard, report));
            reports.len()
        };
        if count > UNHEARD {
            self.give_up();
        } else if !self.is_late.replace(true) {
            LATE.with_borrow_mut(|late| late.push(self.clone()));
        }
    }

    fn give_up(&self) {
        for (shard, _) in self.reports.take() {
            if let Some(shared) = self.role.shared().get(shard) {
                shared.note_missed();
            }
        }
    }

    /// Tells a shared instance what was queued for it, once it knows what that is about.
    #[inline]
    fn deliver_to(&self, shard: usize, shared: &SharedInstance<S>, slot: &mut InstanceSlot<S>) {
        slot.follow(&self.role.spec);
        if shared.take_missed() {
            slot.missed_reports();
        }
        if !self.reports.borrow().is_empty() {
            self.deliver_queued(shard, slot);
        }
    }

    #[cold]
    fn deliver_queued(&self, shard: usize, slot: &mut InstanceSlot<S>) {
        let reports = self.reports.take().into_iter();
        let (now, later) = reports.partition::<VecDeque<_>, _>(|(of, _)| *of == shard);
        self.reports.replace(later);
        for (_, report) in now {
            S::tell(slot, &report);
        }
    }
}

impl<S: InstanceSpec> Late for Unheard<S> {
    fn deliver(&self) -> bool {
        self.is_late.set(false);
        while let Some(shard) = self.first() {
            let Some(shared) = self.role.shared().get(shard) else {
                return true;
            };
            let Some(mut slot) = shared.slot.try_lock() else {
                self.is_late.set(true);
                return false;
            };
            self.deliver_to(shard, shared, &mut slot);
            self.account.pay(slot.take_charge());
        }
        true
    }
}
