//! The right to have a connection to an upstream open: descriptors are bounded, and clients need
//! them too.
//!
//! Streams of HTTP/2 may need more of them than there are clients. A request that finds none left
//! is told so, and no other notices: what accepting and serving need is not touched.

use std::sync::Arc;

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
            if process.take_upstream_connection() {
                return Ok(Descriptor(process.clone()));
            }
            if !make_room() {
                return Err(process.upstream_connections());
            }
        }
    }

    /// So many are taken that none is to be had for an idle connection: another worker could not
    /// take it back.
    pub(super) fn is_scarce(&self) -> bool {
        self.0.upstream_connections_are_scarce()
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        self.0.give_upstream_connection();
    }
}
