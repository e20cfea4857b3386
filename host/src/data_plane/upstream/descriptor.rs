//! How many connections to upstreams there may be, in all workers together: as many as descriptors
//! were set aside for them.
//!
//! Streams of HTTP/2 may need more of them than there are clients. Who finds none left is told so,
//! and nobody else notices: what accepting and serving need is not touched.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};

use crate::data_plane::worker::{Process, Worker};

/// The right to have one connection to an upstream open; given back when dropped.
pub(crate) struct Descriptor(Arc<Process>);

impl Descriptor {
    /// Takes one, be it that of an idle connection of this worker, which is closed for it.
    ///
    /// # Errors
    /// How many there are, all of which are in use.
    pub(super) fn take(worker: &Worker) -> Result<Descriptor, usize> {
        let process = &worker.process;
        loop {
            let bound = process.max_upstream_connections.load(Relaxed);
            let taken = process
                .upstream_connections
                .fetch_update(AcqRel, Relaxed, |open| (open < bound).then_some(open + 1));
            if taken.is_ok() {
                return Ok(Descriptor(process.clone()));
            }
            let worker_config = worker.worker_config();
            if !worker_config
                .upstreams
                .iter()
                .any(|upstream| upstream.close_idle())
            {
                return Err(bound);
            }
        }
    }

    /// So many are taken that none is to be had for an idle connection: another worker could not
    /// take it back.
    pub(super) fn is_scarce(&self) -> bool {
        let open = self.0.upstream_connections.load(Relaxed);
        open > self.0.max_upstream_connections.load(Relaxed) / 2
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        self.0.upstream_connections.fetch_sub(1, AcqRel);
    }
}
