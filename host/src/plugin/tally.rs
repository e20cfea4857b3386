//! What a plugin costs: how often it was called, and how often it failed.
//!
//! Every instance counts its calls in a cell that only it writes, so that workers do not fight for a cache line; the
//! cells are added up by whoever asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use super::error::FaultKind;

/// A plugin's figures since it was loaded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// `pick`, `done` and `failed` together.
    pub calls: u64,
    pub traps: u64,
    pub deadlines: u64,
    pub memory: u64,
    pub answers: u64,
}

/// Adds up over all instances of a plugin.
#[derive(Default)]
pub(super) struct Tally {
    ended: AtomicU64,
    live: Mutex<Vec<Arc<AtomicU64>>>,
    traps: AtomicU64,
    deadlines: AtomicU64,
    memory: AtomicU64,
    answers: AtomicU64,
}

impl Tally {
    pub(super) fn fault(&self, kind: FaultKind) {
        let counter = match kind {
            FaultKind::Trap => &self.traps,
            FaultKind::Deadline => &self.deadlines,
            FaultKind::Memory => &self.memory,
            FaultKind::Answer => &self.answers,
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(super) fn figures(&self) -> Figures {
        // Under the lock, so that an instance which ends meanwhile is counted once.
        let live = self.live.lock();
        let calls =
            live.iter().map(|calls| calls.load(Relaxed)).sum::<u64>() + self.ended.load(Relaxed);
        Figures {
            calls,
            traps: self.traps.load(Relaxed),
            deadlines: self.deadlines.load(Relaxed),
            memory: self.memory.load(Relaxed),
            answers: self.answers.load(Relaxed),
        }
    }
}

/// One instance's own count.
pub(super) struct Calls {
    count: Arc<AtomicU64>,
    tally: Arc<Tally>,
}

impl Calls {
    pub(super) fn new(tally: &Arc<Tally>) -> Calls {
        let count = Arc::new(AtomicU64::new(0));
        tally.live.lock().push(count.clone());
        Calls {
            count,
            tally: tally.clone(),
        }
    }

    /// One more. A plain addition: there is only one writer.
    pub(super) fn add(&self) {
        self.count.store(self.count.load(Relaxed) + 1, Relaxed);
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        let mut live = self.tally.live.lock();
        live.retain(|count| !Arc::ptr_eq(count, &self.count));
        self.tally
            .ended
            .fetch_add(self.count.load(Relaxed), Relaxed);
    }
}
