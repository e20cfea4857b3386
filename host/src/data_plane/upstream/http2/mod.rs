//! Connections of HTTP/2 to endpoints, each shared by many exchanges of one worker and upstream.
//!
//! An exchange takes a slot on a connection that has room, else has another connection opened;
//! while one is being opened, others to the same endpoint wait for it instead of opening more.

mod connection; // one connection, and the slots on it
mod opening; // a new one

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::Notify;

use super::descriptor::Room;
use super::endpoint::EndpointId;
use crate::config::model;
pub(super) use connection::{Http2Connection, StreamSlot};
pub(super) use opening::OpeningGuard;

/// The connections of one upstream in one worker. Stays through changes of the upstream's
/// configuration.
pub(super) struct Http2Connections {
    endpoints: HashMap<EndpointId, EndpointConnections>,
    /// None where the endpoints are spoken to in HTTP/1.
    limits: Option<PoolLimits>,
}

#[derive(Default)]
struct EndpointConnections {
    connections: Vec<Rc<Http2Connection>>,
    /// A connection is being opened: wakes those that wait for it.
    opening: Option<Rc<Notify>>,
}

/// What the configuration says of them.
#[derive(Debug, Clone, Copy)]
struct PoolLimits {
    max_streams: usize,
    max_requests: u64,
    max_age: Duration,
    max_idle: usize,
    idle_timeout: Duration,
}

/// What an exchange finds when it asks for a slot.
pub(super) enum Lookup {
    Found(StreamSlot),
    /// A connection is being opened: ask again once that has ended.
    Wait(PendingConnection),
    /// It is for the caller to have one opened.
    Open(OpeningGuard),
}

pub(super) struct PendingConnection(Rc<Notify>);

impl PendingConnection {
    /// Returns once the connection can be used by others, or there is none.
    pub(super) async fn ended(self) {
        self.0.notified().await;
    }
}

impl Http2Connections {
    pub(super) fn new(
        config: &model::UpstreamConfig,
        endpoints: &[EndpointId],
    ) -> Http2Connections {
        let mut connections = Http2Connections {
            endpoints: HashMap::new(),
            limits: None,
        };
        connections.reconfigure(config, endpoints);
        connections
    }

    /// Goes on under another configuration of the upstream: leaves endpoints that it does not have.
    pub(super) fn reconfigure(&mut self, config: &model::UpstreamConfig, endpoints: &[EndpointId]) {
        self.limits = config.http2.as_ref().map(|http2| PoolLimits {
            max_streams: http2.max_concurrent_streams,
            max_requests: config.keepalive_requests,
            max_age: config.keepalive_time,
            max_idle: config.keepalive,
            idle_timeout: config.keepalive_timeout,
        });
        let kept = self.limits.is_some();
        self.endpoints
            .retain(|endpoint, _| kept && endpoints.contains(endpoint));
    }

    /// Finds a slot for an exchange with an endpoint.
    pub(super) fn find(connections: &Rc<RefCell<Http2Connections>>, id: EndpointId) -> Lookup {
        let mut all = connections.borrow_mut();
        let limits = all.limits;
        let endpoint = all.endpoints.entry(id).or_default();
        if let Some(limits) = &limits
            && let Some(slot) = endpoint.slot(limits)
        {
            return Lookup::Found(slot);
        }
        if let Some(opening) = &endpoint.opening {
            return Lookup::Wait(PendingConnection(opening.clone()));
        }
        let opening = Rc::new(Notify::new());
        endpoint.opening = Some(opening.clone());
        Lookup::Open(OpeningGuard::new(connections.clone(), id, opening))
    }

    /// Whether there is nothing that a sweep could close or forget.
    pub(super) fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
    }

    /// Closes what has been idle for too long, or is more than the configuration keeps, and forgets
    /// what has ended.
    pub(super) fn sweep(&mut self) {
        // An exchange of a configuration before may have opened one to endpoints that are spoken to
        // in HTTP/1 by now.
        let (timeout, kept) = self.limits.as_ref().map_or((Duration::ZERO, 0), |limits| {
            (limits.idle_timeout, limits.max_idle)
        });
        let mut idle = 0;
        self.endpoints.retain(|_, endpoint| {
            endpoint.connections.retain(|connection| {
                let over = connection.idle_for().is_some_and(|time| time > timeout);
                let stays = !connection.is_retired() && !over;
                idle += usize::from(stays && connection.idle_for().is_some());
                stays
            });
            !endpoint.connections.is_empty() || endpoint.opening.is_some()
        });
        for _ in kept..idle {
            self.take_longest_idle();
        }
    }

    /// Closes the connection on which nothing has been under way for the longest time.
    pub(super) fn close_idle(&mut self) -> Room {
        match self.take_longest_idle() {
            Some(connection) => connection.close(),
            None => Room::Missing,
        }
    }

    fn take_longest_idle(&mut self) -> Option<Rc<Http2Connection>> {
        let idle = self.endpoints.iter().flat_map(|(id, endpoint)| {
            let idle = endpoint.connections.iter().enumerate();
            idle.filter_map(|(at, connection)| Some((connection.idle_for()?, *id, at)))
        });
        let (_, id, at) = idle.max_by_key(|(time, ..)| *time)?;
        let endpoint = self.endpoints.get_mut(&id)?;
        Some(endpoint.connections.swap_remove(at))
    }

    /// Whether connections stay while nothing is under way on them.
    fn keeps_idle(&self) -> bool {
        self.limits.is_some_and(|limits| limits.max_idle > 0)
    }

    /// A connection to an endpoint can be used by others from now on.
    fn add(&mut self, id: EndpointId, connection: Rc<Http2Connection>) {
        let endpoint = self.endpoints.entry(id).or_default();
        endpoint.connections.push(connection);
    }

    /// No connection to an endpoint is being opened any more.
    fn opened(&mut self, id: EndpointId) {
        if let Some(endpoint) = self.endpoints.get_mut(&id) {
            endpoint.opening = None;
        }
    }
}

impl EndpointConnections {
    fn slot(&mut self, limits: &PoolLimits) -> Option<StreamSlot> {
        self.connections
            .retain(|connection| !connection.is_worn(limits.max_requests, limits.max_age));
        // The busiest connection that has room: the others may become idle and be closed.
        let with_room = self
            .connections
            .iter()
            .filter(|connection| connection.has_room(limits.max_streams));
        let busiest = with_room.max_by_key(|connection| connection.slots())?;
        StreamSlot::on(busiest, true)
    }
}
