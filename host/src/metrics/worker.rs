//! What a worker counts that belongs to no route and no upstream.

use super::cell::{Counter, add_all};

/// Versions of TLS that a handshake may end with.
pub(super) const TLS_VERSIONS: [&str; 2] = ["1.2", "1.3"];

/// The cells of one worker. Only its own thread counts in them.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct WorkerCells {
    /// By the place of a kind among its names.
    faults: [Counter; MAX_FAULTS],
    /// By version, full ones before those that went on from a session.
    handshakes: [Counter; 2 * TLS_VERSIONS.len()],
    handshakes_failed: Counter,
    /// Clients that room had to be made for.
    crowded: Counter,
}

/// Kinds of faults at most.
pub(crate) const MAX_FAULTS: usize = 32;

impl WorkerCells {
    /// An exchange could not be carried through; `kind`: its place among the names of all.
    pub(crate) fn fault(&self, kind: usize) {
        if let Some(counter) = self.faults.get(kind) {
            counter.increment();
        }
    }

    /// A client's handshake has ended well.
    pub(crate) fn handshake(&self, is_tls13: bool, resumed: bool) {
        let at = usize::from(is_tls13) + TLS_VERSIONS.len() * usize::from(resumed);
        self.handshakes[at].increment();
    }

    pub(crate) fn handshake_failed(&self) {
        self.handshakes_failed.increment();
    }

    /// A client came while there were as many connections as there may be.
    pub(crate) fn crowded(&self) {
        self.crowded.increment();
    }
}

/// What all workers have counted.
#[derive(Debug)]
pub(crate) struct WorkerSums {
    pub(crate) faults: [u64; MAX_FAULTS],
    handshakes: [u64; 2 * TLS_VERSIONS.len()],
    pub(crate) handshakes_failed: u64,
    pub(crate) crowded: u64,
}

impl WorkerSums {
    pub(crate) fn of(workers: &[WorkerCells]) -> WorkerSums {
        let mut sums = WorkerSums {
            faults: [0; MAX_FAULTS],
            handshakes: Default::default(),
            handshakes_failed: 0,
            crowded: 0,
        };
        for worker in workers {
            add_all(&mut sums.faults, &worker.faults);
            add_all(&mut sums.handshakes, &worker.handshakes);
            sums.handshakes_failed += worker.handshakes_failed.get();
            sums.crowded += worker.crowded.get();
        }
        sums
    }

    /// Version, whether it went on from a session, and how many there were.
    pub(crate) fn handshakes(&self) -> impl Iterator<Item = (&'static str, bool, u64)> {
        let versions = [false, true].into_iter().flat_map(|resumed| {
            TLS_VERSIONS
                .into_iter()
                .map(move |version| (version, resumed))
        });
        let pairs = versions.zip(self.handshakes);
        pairs.map(|((version, resumed), count)| (version, resumed, count))
    }
}
