//! Instances of a plugin whose calls wait, as one worker has them: each is in one call at the most, so
//! there are as many as calls are under way, within a bound.
//!
//! Nothing is shared between them, and any of them may get the next call.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::slot::{InstanceSlot, InstanceSpec};

/// How often instances that were not needed since are let go.
const TRIMMED: Duration = Duration::from_secs(10);

/// The instances.
pub(super) struct InstancePool<S: InstanceSpec> {
    spec: Arc<S>,
    /// The one that was used last is used next.
    idle: RefCell<Vec<InstanceSlot<S>>>,
    most: usize,
    permits: Semaphore,
    /// The fewest that were idle since they were last trimmed.
    least_idle: Cell<usize>,
    trimmed: Cell<Instant>,
}

/// An instance for one call.
pub(super) struct Taken<S: InstanceSpec> {
    pool: Rc<InstancePool<S>>,
    /// None once it is back.
    slot: Option<InstanceSlot<S>>,
}

impl<S: InstanceSpec> InstancePool<S> {
    pub(super) fn new(spec: &Arc<S>) -> Rc<InstancePool<S>> {
        let most = spec.plugin().inner().instances;
        Rc::new(InstancePool {
            spec: spec.clone(),
            idle: RefCell::default(),
            most,
            permits: Semaphore::new(most),
            least_idle: Cell::new(0),
            trimmed: Cell::new(Instant::now()),
        })
    }

    /// Whether it is for the same use of the same plugin.
    pub(super) fn is_for(&self, spec: &Arc<S>) -> bool {
        Arc::ptr_eq(&self.spec, spec)
    }

    /// The place of an instance; waits, first come first served, where all are in use. None where the
    /// pool is closed, which it never is.
    pub(super) async fn take(self: &Rc<Self>) -> Option<Taken<S>> {
        // It comes back with the slot.
        self.permits.acquire().await.ok()?.forget();
        let mut idle = self.idle.borrow_mut();
        // One that has failed is behind those that have not. Where all pause that there are, another
        // one is made as long as there may be more: a request that makes a plugin fail must not cost
        // others theirs.
        let in_use = self.most - self.permits.available_permits();
        let may_be_more = idle.len() + in_use <= self.most;
        let ready = idle.pop_if(|slot| !(slot.is_pausing() && may_be_more));
        self.least_idle.set(self.least_idle.get().min(idle.len()));
        let slot = ready.unwrap_or_else(|| InstanceSlot::new(self.spec.clone()));
        drop(idle);
        Some(Taken {
            pool: self.clone(),
            slot: Some(slot),
        })
    }

    /// Lets go of what was not needed for some time, but for one.
    pub(super) fn trim(&self) {
        if self.trimmed.get().elapsed() < TRIMMED {
            return;
        }
        self.trimmed.set(Instant::now());
        let mut idle = self.idle.borrow_mut();
        let unused = self.least_idle.get().min(idle.len().saturating_sub(1));
        idle.drain(..unused);
        self.least_idle.set(idle.len());
    }
}

impl<S: InstanceSpec> Taken<S> {
    pub(super) fn slot(&mut self) -> Option<&mut InstanceSlot<S>> {
        self.slot.as_mut()
    }
}

impl<S: InstanceSpec> Drop for Taken<S> {
    fn drop(&mut self) {
        if let Some(mut slot) = self.slot.take() {
            slot.leave_unfinished();
            let mut idle = self.pool.idle.borrow_mut();
            match slot.is_ready() {
                true => idle.push(slot),
                false => idle.insert(0, slot),
            }
            self.pool.permits.add_permits(1);
        }
    }
}
