//! A configuration as one worker uses it: the snapshot that all share, and what the worker has of
//! its own for each upstream.

pub(crate) mod router; // host and path -> route
mod snapshot; // the immutable part

use std::collections::HashMap;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::upstream::WorkerUpstream;

pub(crate) use router::Router;
pub(crate) use snapshot::{ListenerId, OpenLog, Snapshot};

/// A snapshot as one worker uses it.
pub(crate) struct WorkerConfig {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) upstreams: Vec<Rc<WorkerUpstream>>,
    pub(crate) upstream_names: Vec<Rc<str>>,
    /// The host of each route, as the file has it.
    pub(crate) route_names: Vec<Rc<str>>,
}

impl WorkerConfig {
    /// Goes on where `previous` is: upstreams that stay as they are keep everything, those that
    /// change what they can.
    ///
    /// Yields to the event loop before each upstream that is new or has changed: there may be
    /// thousands, and requests are served meanwhile.
    pub(crate) async fn new(
        snapshot: Arc<Snapshot>,
        previous: Option<&WorkerConfig>,
    ) -> WorkerConfig {
        let config = &snapshot.config;
        let known = previous.map_or(&[][..], |previous| &previous.upstreams);
        let known: HashMap<&str, _> = known
            .iter()
            .map(|upstream| (upstream.name(), upstream))
            .collect();
        let mut upstreams = Vec::with_capacity(snapshot.upstreams.len());
        for shared in &snapshot.upstreams {
            let known = known.get(&*shared.config.name).copied().cloned();
            upstreams.push(match known {
                Some(same) if Arc::ptr_eq(&same.shared, shared) => same,
                changed => {
                    tokio::task::yield_now().await;
                    Rc::new(WorkerUpstream::attach(shared.clone(), changed))
                }
            });
        }
        let upstream_names = config.upstreams.iter();
        let route_names = config.routes.iter();
        WorkerConfig {
            upstreams,
            upstream_names: upstream_names
                .map(|named| named.name.as_str().into())
                .collect(),
            route_names: route_names
                .map(|route| route.host.spelling().into())
                .collect(),
            snapshot,
        }
    }

    /// Whether the client address that a peer reports is believed.
    pub(crate) fn trusts(&self, peer: Option<IpAddr>) -> bool {
        self.snapshot.config.server.trusted_proxies.trust(peer)
    }

    /// The index among the configuration's streams of what is at a
    /// [position](Snapshot::position), if it is a stream.
    pub(crate) fn stream_at(&self, position: usize) -> Option<usize> {
        position.checked_sub(self.snapshot.config.listeners.len())
    }

    /// The log of an exchange on a listener that took a route, if it got that far.
    pub(crate) fn log(&self, listener: usize, route: Option<usize>) -> Option<&OpenLog> {
        match route.and_then(|route| self.snapshot.route_logs[route].as_ref()) {
            Some(log) => log.as_ref(),
            None => self.snapshot.listener_logs[listener].as_ref(),
        }
    }
}
