//! How much an upstream has to do, in all workers and through all configurations: what waits, what
//! is in progress, what was refused. It bounds all of that as the configuration in force says.

use std::net::IpAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, AtomicUsize};
use std::sync::{Arc, OnceLock};

use super::client_counts::{ClientCounts, ClientKey};
use super::overload::Overload;
use super::queue::Queue;
use crate::metrics::UpstreamMetrics;

/// The load of an upstream.
#[derive(Default)]
pub(crate) struct Load {
    pub(super) queue: Arc<Queue>,
    /// For a connection, where those are limited.
    pub(super) connecting: Arc<Queue>,
    /// Counted while a configuration limits them.
    requests: Apart<AtomicU32>,
    connections: Apart<AtomicUsize>,
    /// Where else it is counted what the upstream does.
    pub(super) metrics: Arc<UpstreamMetrics>,
    /// Made when a configuration first bounds what one client may have.
    in_progress: OnceLock<ClientCounts>,
    in_queue: OnceLock<ClientCounts>,
}

/// On cache lines of its own: all workers write it, while the rest is read for each request.
#[derive(Default)]
#[repr(align(128))]
struct Apart<T>(T);

/// The bounds on a request that is about to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Bounds {
    /// On requests in progress.
    pub(super) requests: Option<u32>,
    /// On those of one client.
    pub(super) client: Option<u32>,
}

/// What a request in progress was counted as, to be given back with [`Load::release`].
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Admitted {
    counted: bool,
    client: Option<ClientKey>,
}

impl Load {
    /// Of an upstream that counts there.
    pub(super) fn counted_in(metrics: Arc<UpstreamMetrics>) -> Arc<Load> {
        Arc::new(Load {
            metrics,
            ..Load::default()
        })
    }

    /// Takes the number of requests in progress from another upstream.
    pub(super) fn begin_like(&self, other: &Load) {
        let requests = other.requests.0.load(Relaxed);
        self.requests.0.store(requests, Relaxed);
    }

    /// Counts a request that is about to begin, as far as something bounds it. `client`: its
    /// address, asked for if need be.
    ///
    /// # Errors
    /// The bound that is reached.
    pub(super) fn admit(
        &self,
        bounds: &Bounds,
        client: impl FnOnce() -> Option<IpAddr>,
    ) -> Result<Admitted, Overload> {
        let mut admitted = Admitted::default();
        if let Some(most) = bounds.requests {
            // Counts first and looks afterwards, so that two workers cannot both have the last one.
            admitted.counted = true;
            if self.requests.0.fetch_add(1, Relaxed) >= most {
                self.release(admitted);
                return Err(self.refused(Overload::Requests(most)));
            }
        }
        if let Some(most) = bounds.client {
            let counts = self.in_progress.get_or_init(ClientCounts::new);
            let key = counts.key(client());
            if !counts.add(key, most) {
                self.release(admitted);
                return Err(self.refused(Overload::ClientRequests(most)));
            }
            admitted.client = Some(key);
        }
        Ok(admitted)
    }

    /// Ends what [`Load::admit`] has counted.
    pub(super) fn release(&self, admitted: Admitted) {
        if admitted.counted {
            self.requests.0.fetch_sub(1, Relaxed);
        }
        if let (Some(key), Some(counts)) = (admitted.client, self.in_progress.get()) {
            counts.remove(key);
        }
    }

    /// Counts a client among those in the queue, unless it has `most` of its places.
    ///
    /// # Errors
    /// [`Overload::ClientPlaces`]
    pub(super) fn queue_client(
        self: &Arc<Load>,
        address: Option<IpAddr>,
        most: u32,
    ) -> Result<QueuedClient, Overload> {
        let counts = self.in_queue.get_or_init(ClientCounts::new);
        let key = counts.key(address);
        match counts.add(key, most) {
            true => Ok(QueuedClient(self.clone(), key)),
            false => Err(self.refused(Overload::ClientPlaces(most))),
        }
    }

    /// Counts a connection, unless there are `most`.
    pub(super) fn open(self: &Arc<Load>, most: u32) -> Option<OpenConnection> {
        let before = self.connections.0.fetch_add(1, Relaxed);
        let opened = OpenConnection(self.clone());
        (before < most as usize).then_some(opened)
    }

    /// Counts a connection.
    pub(super) fn opened(self: &Arc<Load>) -> OpenConnection {
        self.connections.0.fetch_add(1, Relaxed);
        OpenConnection(self.clone())
    }

    /// Notes that a request was refused, and why.
    pub(super) fn refused(&self, why: Overload) -> Overload {
        self.metrics.refused(why.kind());
        why
    }

    /// Requests in the queue.
    pub(crate) fn waiting(&self) -> usize {
        self.queue.waiting()
    }

    /// Open connections, idle ones included.
    pub(crate) fn connections(&self) -> usize {
        self.connections.0.load(Relaxed)
    }

    /// An endpoint has, or may have, room: whoever waits for one looks again.
    pub(crate) fn room(&self) {
        self.queue.room();
    }
}

/// A connection that counts until it is dropped.
pub(crate) struct OpenConnection(Arc<Load>);

impl OpenConnection {
    /// See [`Load::refused`].
    pub(super) fn refused(&self, why: Overload) -> Overload {
        self.0.refused(why)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.connections.0.fetch_sub(1, Relaxed);
        self.0.connecting.room();
    }
}

/// A client in the queue, until it is dropped.
pub(super) struct QueuedClient(Arc<Load>, ClientKey);

impl Drop for QueuedClient {
    fn drop(&mut self) {
        if let Some(counts) = self.0.in_queue.get() {
            counts.remove(self.1);
        }
    }
}
