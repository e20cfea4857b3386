//! How many connections to upstreams there may be, in all workers together: as many as descriptors
//! were set aside for them.
//!
//! Streams of HTTP/2 may need more of them than there are clients. Who finds none left is told so,
//! and nobody else notices: what accepting and serving need is not touched.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};

use crate::data_plane::process::Process;

/// The right to have one connection to an upstream open; given back when dropped.
pub(crate) struct Descriptor(Arc<Process>);

impl Descriptor {
    /// Takes one. Where all are in use, `make_room` is called until it closes no further idle
    /// connection.
    ///
    /// # Errors
    /// How many there are, all of which are in use.
    pub(super) fn take(
        process: &Arc<Process>,
        make_room: impl Fn() -> bool,
    ) -> Result<Descriptor, usize> {
        loop {
            let bound = process.max_upstream_connections.load(Relaxed);
            let taken = process
                .upstream_connections
                .fetch_update(AcqRel, Relaxed, |open| (open < bound).then_some(open + 1));
            if taken.is_ok() {
                return Ok(Descriptor(process.clone()));
            }
            if !make_room() {
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
