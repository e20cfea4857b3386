//! Instances of a hook that waits, as one worker has them: each is in one call at the most, so there
//! are as many as calls are under way, within a bound.
//!
//! Nothing is shared between them, and any of them may get the next call.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::slot::{HookSlot, HookSpec};

/// How often instances that were not needed since are let go.
const TRIMMED: Duration = Duration::from_secs(10);

/// The instances.
pub(super) struct InstancePool {
    spec: Arc<HookSpec>,
    /// The one that was used last is used next.
    idle: RefCell<Vec<HookSlot>>,
    permits: Semaphore,
    /// The fewest that were idle since they were last trimmed.
    least_idle: Cell<usize>,
    trimmed: Cell<Instant>,
}

/// An instance for one call.
pub(super) struct Taken<'a> {
    pool: &'a InstancePool,
    /// None once it is back.
    slot: Option<HookSlot>,
    _permit: SemaphorePermit<'a>,
}

impl InstancePool {
    pub(super) fn new(spec: &Arc<HookSpec>) -> Rc<InstancePool> {
        let most = spec.plugin.inner().instances;
        Rc::new(InstancePool {
            spec: spec.clone(),
            idle: RefCell::default(),
            permits: Semaphore::new(most),
            least_idle: Cell::new(0),
            trimmed: Cell::new(Instant::now()),
        })
    }

    /// Whether it is for the same use of the same plugin.
    pub(super) fn is_for(&self, spec: &Arc<HookSpec>) -> bool {
        Arc::ptr_eq(&self.spec, spec)
    }

    /// The place of an instance; waits, first come first served, where all are in use. None where the
    /// pool is closed, which it never is.
    pub(super) async fn take(&self) -> Option<Taken<'_>> {
        let permit = self.permits.acquire().await.ok()?;
        // One that has failed is behind those that have not.
        let idle = self.idle.borrow_mut().pop();
        let left = self.idle.borrow().len();
        self.least_idle.set(self.least_idle.get().min(left));
        let slot = idle.unwrap_or_else(|| HookSlot::new(self.spec.clone()));
        Some(Taken {
            pool: self,
            slot: Some(slot),
            _permit: permit,
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

impl Taken<'_> {
    pub(super) fn slot(&mut self) -> Option<&mut HookSlot> {
        self.slot.as_mut()
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let Some(mut slot) = self.slot.take() {
            slot.leave_unfinished();
            let mut idle = self.pool.idle.borrow_mut();
            match slot.is_ready() {
                true => idle.push(slot),
                false => idle.insert(0, slot),
            }
        }
    }
}
