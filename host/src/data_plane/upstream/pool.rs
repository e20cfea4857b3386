//! Idle upstream connections, kept per worker and upstream, with nginx's rules
//! (`ngx_http_upstream_keepalive_module.c`).
//!
//! Last in, first out, so that a quiet hour lets the oldest expire instead of keeping all of them
//! warm. Holds no connection that is in use and never dials. A connection that its peer closed is
//! noticed when it is taken, and at the next sweep.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::descriptor::Descriptor;
use super::dial::Dialed;
use super::endpoint::EndpointId;
use super::http2::StreamSlot;
use crate::config::model;
use crate::data_plane::stream::{Alarm, Http2Stream, Reader, Writer};

/// A connection to an endpoint.
pub(crate) struct Connection {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
    pub(crate) alarm: Alarm,
    opened: Instant,
    /// Requests sent on it, the one under way included.
    pub(crate) requests: u64,
    /// Of the connection that a stream of HTTP/2 is on.
    share: Option<StreamSlot>,
    /// Its own; a stream of HTTP/2 has none.
    descriptor: Option<Descriptor>,
}

impl Connection {
    pub(super) fn new(opened: Dialed) -> Connection {
        let (reader, writer) = opened.stream.split();
        Connection {
            descriptor: Some(opened.descriptor),
            ..Connection::of(reader, writer)
        }
    }

    fn of(reader: Reader, writer: Writer) -> Connection {
        Connection {
            reader,
            writer,
            alarm: Alarm::default(),
            opened: Instant::now(),
            requests: 0,
            share: None,
            descriptor: None,
        }
    }

    /// One stream of a connection of HTTP/2. It serves one exchange, and is not kept.
    pub(super) fn of_stream(stream: Rc<Http2Stream>, share: StreamSlot) -> Connection {
        Connection {
            share: Some(share),
            ..Connection::of(Reader::Http2(stream.clone()), Writer::Http2(stream))
        }
    }

    /// No further exchange is to use it.
    pub(super) fn retire(&self) {
        if let Some(share) = &self.share {
            share.retire();
        }
    }
}

/// The idle connections of one upstream in one worker. Stays through changes of the upstream's
/// configuration.
pub(crate) struct Pool {
    /// Most recently used last.
    idle: VecDeque<Idle>,
    capacity: usize,
    max_requests: u64,
    max_age: Duration,
    timeout: Duration,
    /// The upstream's endpoints, in ascending order.
    endpoints: Vec<EndpointId>,
}

struct Idle {
    endpoint: EndpointId,
    since: Instant,
    connection: Connection,
}

impl Pool {
    /// For an upstream that has these endpoints.
    pub(crate) fn new(config: &model::UpstreamConfig, endpoints: Vec<EndpointId>) -> Pool {
        let mut pool = Pool {
            idle: VecDeque::with_capacity(config.keepalive.min(1024)),
            capacity: 0,
            max_requests: 0,
            max_age: Duration::ZERO,
            timeout: Duration::ZERO,
            endpoints: Vec::new(),
        };
        pool.reconfigure(config, endpoints);
        pool
    }

    /// Goes on under another configuration of the upstream: closes connections to endpoints that it
    /// does not have.
    pub(crate) fn reconfigure(
        &mut self,
        config: &model::UpstreamConfig,
        mut endpoints: Vec<EndpointId>,
    ) {
        endpoints.sort_unstable();
        self.capacity = config.keepalive;
        self.max_requests = config.keepalive_requests;
        self.max_age = config.keepalive_time;
        self.timeout = config.keepalive_timeout;
        self.endpoints = endpoints;
        let endpoints = &self.endpoints;
        self.idle
            .retain(|idle| endpoints.binary_search(&idle.endpoint).is_ok());
        while self.idle.len() > self.capacity {
            self.idle.pop_front();
        }
    }

    /// The most recently used connection to an endpoint that is still alive.
    pub(crate) fn take(&mut self, endpoint: EndpointId, now: Instant) -> Option<Connection> {
        loop {
            let last = self
                .idle
                .iter()
                .rposition(|idle| idle.endpoint == endpoint)?;
            let idle = self.idle.remove(last)?;
            let fresh = now.saturating_duration_since(idle.since) <= self.timeout;
            if fresh && idle.connection.reader.is_silent() {
                return Some(idle.connection);
            }
        }
    }

    /// Keeps a connection whose exchange ended cleanly, unless it has served its time, or its
    /// endpoint is no more; the oldest makes room.
    pub(crate) fn put(&mut self, endpoint: EndpointId, connection: Connection, now: Instant) {
        let worn =
            connection.requests >= self.max_requests || now - connection.opened > self.max_age;
        let known = self.endpoints.binary_search(&endpoint).is_ok();
        let scarce = connection.descriptor.as_ref();
        let scarce = scarce.is_some_and(Descriptor::is_scarce);
        if self.capacity == 0 || worn || !known || scarce {
            return;
        }
        if self.idle.len() >= self.capacity {
            self.idle.pop_front();
        }
        self.idle.push_back(Idle {
            endpoint,
            since: now,
            connection,
        });
    }

    /// Closes the one that has been idle for the longest time; false where there is none.
    pub(crate) fn close_idle(&mut self) -> bool {
        self.idle.pop_front().is_some()
    }

    /// Whether a request may ask the endpoint to keep its connection.
    pub(crate) fn keeps_connections(&self) -> bool {
        self.capacity > 0
    }

    /// Closes what has been idle for too long, or was closed by its peer.
    pub(crate) fn sweep(&mut self) {
        let timeout = self.timeout;
        self.idle
            .retain(|idle| idle.since.elapsed() <= timeout && idle.connection.reader.is_silent());
    }
}
