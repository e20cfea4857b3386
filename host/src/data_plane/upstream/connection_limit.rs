//! How many connections an upstream may have open, in all workers.
//!
//! Idle ones count as well: they make room for a connection to another endpoint, as far as they are
//! this worker's own. Beyond that, requests wait for their turn in a queue of its own, as they do
//! for an endpoint. None is kept idle while somebody waits.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::descriptor::{DESCRIPTOR_WAIT, Room};
use super::load::{Load, OpenConnection};
use super::overload::Overload;
use super::queue::{Line, WorkerQueue};

/// A worker's idle connections to an upstream.
pub(super) trait IdleConnections {
    /// Closes the oldest.
    fn close_idle(&self) -> Room;
}

/// The bound on the connections of an upstream.
pub(super) struct ConnectionLimit {
    load: Arc<Load>,
    /// None: they are counted and nothing more.
    bound: Option<Bound>,
}

/// Connections there may be, and what it takes to wait for one.
pub(super) struct Bound {
    pub(super) most: u32,
    pub(super) idle: Rc<dyn IdleConnections>,
    pub(super) queue: Rc<WorkerQueue>,
}

impl ConnectionLimit {
    pub(super) fn none(load: Arc<Load>) -> ConnectionLimit {
        ConnectionLimit { load, bound: None }
    }

    pub(super) fn of(load: Arc<Load>, bound: Bound) -> ConnectionLimit {
        ConnectionLimit {
            load,
            bound: Some(bound),
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
        let Some(Bound { most, idle, queue }) = &self.bound else {
            return Ok(self.load.opened());
        };
        let refused = || self.load.refused(Overload::Connections(*most));
        let nobody_waits = self.load.connecting.waiting() == 0;
        if nobody_waits {
            loop {
                if let Some(open) = self.load.open(*most) {
                    return Ok(open);
                }
                match idle.close_idle() {
                    Room::Made => {}
                    Room::Coming(closed) => {
                        // Nothing is ever sent: it ends.
                        let _ = closed.await;
                    }
                    Room::Missing => break,
                }
            }
        }
        let due = Instant::now() + within.min(DESCRIPTOR_WAIT);
        let place = queue.join(u32::MAX, Line::First).ok_or_else(refused)?;
        loop {
            let look = || self.load.connections() < *most as usize;
            place.turn(due, look).await.map_err(|_| refused())?;
            if let Some(open) = self.load.open(*most) {
                return Ok(open);
            }
        }
    }
}
