//! The right to have a connection to an upstream open: descriptors are bounded, and clients need
//! them too.
//!
//! Streams of HTTP/2 may need more of them than there are clients. A request that finds none left
//! fails with a 503; accepting, and requests under way, are not affected.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::client_connections::HeldByClient;
use super::failure::Failure;
use super::load::OpenConnection;
use super::overload::Overload;
use crate::data_plane::process::Process;

/// How long a request waits for a descriptor that no idle connection has, and how often it looks.
pub(super) const DESCRIPTOR_WAIT: Duration = Duration::from_secs(1);
const DESCRIPTOR_PAUSE: Duration = Duration::from_millis(5);

/// The right to have one connection to an upstream open; given back when dropped.
pub(crate) struct Descriptor {
    process: Arc<Process>,
    /// Of those of its upstream.
    _open: OpenConnection,
}

/// Where descriptors come from: the process counts them, and a worker's idle connections make room.
pub(crate) trait DescriptorSource {
    fn process(&self) -> &Arc<Process>;

    /// Closes one idle connection of this worker.
    fn make_room(&self) -> Room;

    /// Has a client that is idle close its connection, so that its descriptor can be used.
    fn evict_idle_client(&self);
}

/// Whether an idle connection makes room for another one.
pub(crate) enum Room {
    /// It is closed.
    Made,
    /// It sends GOAWAY first. The channel ends once its descriptor is given back, within a second.
    Coming(oneshot::Receiver<()>),
    /// None is idle.
    Missing,
}

impl Descriptor {
    /// Takes one. Where all are taken, one idle connection of this worker closes for it and is
    /// waited for; where none is idle, idle clients are asked to make room, and others may be done
    /// within a moment. The caller bounds the wait. Where few are left, a `client` that has its share
    /// of them waits as if there were none.
    ///
    /// # Errors
    /// [`Failure::TooManyConnections`], [`Overload::ClientConnections`]
    pub(super) async fn take(
        source: &dyn DescriptorSource,
        open: OpenConnection,
        client: Option<&HeldByClient>,
    ) -> Result<Descriptor, Failure> {
        let process = source.process();
        let mut due = None;
        loop {
            let share = process.client_share();
            let has_its_share = client.is_some_and(|client| {
                process.upstream_connections_are_scarce() && client.count() as usize >= share
            });
            if !has_its_share && process.take_upstream_connection() {
                client.inspect(|client| client.begins());
                return Ok(Descriptor {
                    process: process.clone(),
                    _open: open,
                });
            }
            match source.make_room() {
                Room::Made => continue,
                Room::Coming(closed) => {
                    // Nothing is ever sent: it ends.
                    let _ = closed.await;
                    continue;
                }
                Room::Missing => {}
            }
            let now = Instant::now();
            if now >= *due.get_or_insert(now + DESCRIPTOR_WAIT) {
                return Err(match has_its_share {
                    true => {
                        let share = u32::try_from(share).unwrap_or(u32::MAX);
                        open.refused(Overload::ClientConnections(share)).into()
                    }
                    false => Failure::TooManyConnections(process.upstream_connections()),
                });
            }
            source.evict_idle_client();
            tokio::time::sleep(DESCRIPTOR_PAUSE).await;
        }
    }

    /// So many are taken that none may be spent on an idle connection: another worker could not
    /// take it back.
    pub(super) fn is_scarce(&self) -> bool {
        self.process.upstream_connections_are_scarce()
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        self.process.give_upstream_connection();
    }
}
