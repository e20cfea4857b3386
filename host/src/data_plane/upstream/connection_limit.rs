//! How many connections an upstream may have open, in all workers.
//!
//! Idle ones count as well: they make room for a connection to another endpoint, as far as they are
//! this worker's own. Others are waited for, like a [descriptor](super::descriptor).

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::descriptor::{DESCRIPTOR_PAUSE, DESCRIPTOR_WAIT, Room};
use super::load::{Load, OpenConnection};
use super::overload::Overload;

/// A worker's idle connections to an upstream.
pub(super) trait IdleConnections {
    /// Closes the oldest.
    fn close_idle(&self) -> Room;
}

/// The bound on the connections of an upstream.
pub(super) struct ConnectionLimit {
    load: Arc<Load>,
    /// None: they are counted and nothing more.
    bound: Option<(u32, Rc<dyn IdleConnections>)>,
}

impl ConnectionLimit {
    pub(super) fn none(load: Arc<Load>) -> ConnectionLimit {
        ConnectionLimit { load, bound: None }
    }

    pub(super) fn of(most: u32, idle: Rc<dyn IdleConnections>, load: Arc<Load>) -> ConnectionLimit {
        ConnectionLimit {
            load,
            bound: Some((most, idle)),
        }
    }

    /// Counts a connection, whatever the limit is.
    pub(super) fn count(&self) -> OpenConnection {
        self.load.opened()
    }

    /// Counts a connection that is about to be opened. Where there are too many, waits a moment for
    /// others to be closed, and no longer than `within`.
    ///
    /// # Errors
    /// [`Overload::Connections`]
    pub(super) async fn open(&self, within: Duration) -> Result<OpenConnection, Overload> {
        let Some((most, idle)) = &self.bound else {
            return Ok(self.load.opened());
        };
        let due = Instant::now() + within.min(DESCRIPTOR_WAIT);
        loop {
            if let Some(open) = self.load.open(*most) {
                return Ok(open);
            }
            match idle.close_idle() {
                Room::Made => continue,
                Room::Coming(closed) => {
                    // Nothing is ever sent: it ends.
                    let _ = closed.await;
                    continue;
                }
                Room::Missing => {}
            }
            if Instant::now() >= due {
                return Err(self.load.refused(Overload::Connections(*most)));
            }
            tokio::time::sleep(DESCRIPTOR_PAUSE).await;
        }
    }
}
