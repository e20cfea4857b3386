//! What is counted of hooks: each time that one was asked about a request or a session, by what it
//! has decided.

use super::cell::{Counter, PerWorker, add_all};

const VERDICTS: [&str; 4] = ["proceed", "answer", "reroute", "failed"];

/// A verdict, as a place among the names of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum HookVerdict {
    Proceed,
    Answer,
    Reroute,
    /// There was none.
    Failed,
}

/// The hooks of one name.
#[derive(Debug, Default)]
pub(crate) struct HookMetrics {
    cells: PerWorker<HookCells>,
}

/// Of one worker.
#[derive(Debug, Default)]
#[repr(align(128))]
struct HookCells([Counter; VERDICTS.len()]);

impl HookMetrics {
    pub(super) fn new(workers: usize) -> HookMetrics {
        HookMetrics {
            cells: PerWorker::new(workers),
        }
    }

    #[inline]
    pub(crate) fn decided(&self, worker: usize, verdict: HookVerdict) {
        if let Some(HookCells(verdicts)) = self.cells.of(worker) {
            verdicts[verdict as usize].increment();
        }
    }

    /// How often there was each verdict, by all workers.
    pub(crate) fn sums(&self) -> [(&'static str, u64); VERDICTS.len()] {
        let mut sums = [0; VERDICTS.len()];
        for HookCells(verdicts) in self.cells.written() {
            add_all(&mut sums, verdicts);
        }
        let mut counts = sums.into_iter();
        VERDICTS.map(|name| (name, counts.next().unwrap_or_default()))
    }
}
