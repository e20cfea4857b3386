//! Idle upstream connections, kept per worker and upstream, with nginx's rules
//! (`ngx_http_upstream_keepalive_module.c`).
//!
//! Last in, first out, so that a quiet hour lets the oldest expire instead of keeping all of them
//! warm. Holds no connection that is in use and never dials. A connection that its peer closed is
//! noticed when it is taken, and at the next sweep.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use slab::Slab;

use super::descriptor::Descriptor;
use super::dial::Dialed;
use super::endpoint::EndpointId;
use super::http2::StreamSlot;
use crate::config::model;
use crate::data_plane::stream::{Alarm, Http2Stream, Reader, Writer};
use crate::metrics::PoolMetrics;

/// A connection to an endpoint. It stays in its box on its way from the pool through an exchange and
/// back: each time that it changes hands it would be copied.
pub(crate) struct Connection {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
    pub(crate) alarm: Alarm,
    opened: Instant,
    /// Requests sent on it, the one under way included.
    pub(crate) requests: u64,
    /// Of the connection that a stream of HTTP/2 is on.
    slot: Option<StreamSlot>,
    /// Its own; a stream of HTTP/2 has none.
    descriptor: Option<Descriptor>,
}

impl Connection {
    pub(super) fn new(opened: Dialed) -> Box<Connection> {
        let (reader, writer) = opened.stream.split();
        Box::new(Connection {
            descriptor: Some(opened.descriptor),
            ..Connection::of(reader, writer)
        })
    }

    fn of(reader: Reader, writer: Writer) -> Connection {
        Connection {
            reader,
            writer,
            alarm: Alarm::default(),
            opened: Instant::now(),
            requests: 0,
            slot: None,
            descriptor: None,
        }
    }

    /// One stream of a connection of HTTP/2. It serves one exchange, and is not kept.
    pub(super) fn of_stream(stream: Rc<Http2Stream>, slot: StreamSlot) -> Box<Connection> {
        Box::new(Connection {
            slot: Some(slot),
            ..Connection::of(Reader::Http2(stream.clone()), Writer::Http2(stream))
        })
    }

    /// No further exchange is to use it.
    pub(super) fn retire(&self) {
        if let Some(slot) = &self.slot {
            slot.retire();
        }
    }

    /// Its descriptor is one of so many that are in use that it should not stay open while it is
    /// idle.
    pub(super) fn is_scarce(&self) -> bool {
        self.descriptor.as_ref().is_some_and(Descriptor::is_scarce)
    }

    /// The connection that its stream is on was given up, because the endpoint never said what it
    /// allows.
    pub(super) fn was_late(&self) -> bool {
        self.slot.as_ref().is_some_and(StreamSlot::was_late)
    }
}

/// The idle connections of one upstream in one worker. Stays through changes of the upstream's
/// configuration.
///
/// A stack for each endpoint, so that a request looks at no other endpoint's connections, and a
/// list of all of them by age, so that the oldest is at hand when one has to go.
pub(crate) struct Pool {
    idle: Slab<IdleConnection>,
    /// Where it is counted how many those are.
    metrics: PoolMetrics,
    /// The ends of the list by age.
    oldest: Option<usize>,
    newest: Option<usize>,
    /// The upstream's endpoints, in ascending order.
    stacks: Vec<EndpointStack>,
    /// Dials that go on although their client has left: see [`Pool::begin_dial`].
    dials: Vec<EndpointId>,
    capacity: usize,
    max_requests: u64,
    max_age: Duration,
    timeout: Duration,
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.metrics.taken(self.idle.len());
    }
}

/// Where an endpoint's connections are in `Pool::idle`, most recently used last.
struct EndpointStack {
    endpoint: EndpointId,
    places: VecDeque<usize>,
}

struct IdleConnection {
    endpoint: EndpointId,
    since: Instant,
    connection: Box<Connection>,
    /// Its neighbours in the list by age.
    older: Option<usize>,
    newer: Option<usize>,
}

impl Pool {
    /// For an upstream that has these endpoints.
    pub(crate) fn new(
        config: &model::UpstreamConfig,
        endpoints: Vec<EndpointId>,
        metrics: PoolMetrics,
    ) -> Pool {
        let mut pool = Pool {
            idle: Slab::new(),
            metrics,
            oldest: None,
            newest: None,
            stacks: Vec::new(),
            dials: Vec::new(),
            capacity: 0,
            max_requests: 0,
            max_age: Duration::ZERO,
            timeout: Duration::ZERO,
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
        endpoints.dedup();
        self.capacity = config.keepalive;
        self.max_requests = config.keepalive_requests;
        self.max_age = config.keepalive_time;
        self.timeout = config.keepalive_timeout;
        let known = |endpoint| endpoints.binary_search(&endpoint).is_ok();
        self.close_where(|idle| !known(idle.endpoint));
        let mut before = std::mem::take(&mut self.stacks);
        let stack = |endpoint| {
            let at = before.binary_search_by_key(&endpoint, |stack| stack.endpoint);
            let places = at.map(|at| std::mem::take(&mut before[at].places));
            EndpointStack {
                endpoint,
                places: places.unwrap_or_default(),
            }
        };
        self.stacks = endpoints.into_iter().map(stack).collect();
        while self.idle.len() > self.capacity {
            self.close_idle();
        }
    }

    /// The most recently used connection to an endpoint that is still alive.
    pub(crate) fn take(&mut self, endpoint: EndpointId, now: Instant) -> Option<Box<Connection>> {
        loop {
            let place = self.stack(endpoint)?.places.pop_back()?;
            let idle = self.unlink(place);
            let fresh = now.saturating_duration_since(idle.since) <= self.timeout;
            if fresh && idle.connection.reader.is_silent() {
                return Some(idle.connection);
            }
        }
    }

    /// Keeps a connection whose exchange ended cleanly, unless it has reached the bound of its
    /// requests or its age, or the upstream no longer has its endpoint. Where the pool is full, the
    /// oldest connection is closed.
    pub(crate) fn put(&mut self, endpoint: EndpointId, connection: Box<Connection>, now: Instant) {
        // One whose endpoint has answered before it had all of the request is of no use.
        let worn = connection.requests >= self.max_requests
            || now - connection.opened > self.max_age
            || connection.writer.is_stuck();
        if self.capacity == 0 || worn || connection.is_scarce() || self.stack(endpoint).is_none() {
            return;
        }
        if self.idle.len() >= self.capacity {
            self.close_idle();
        }
        self.metrics.kept();
        let place = self.idle.insert(IdleConnection {
            endpoint,
            since: now,
            connection,
            older: self.newest,
            newer: None,
        });
        match self.newest.replace(place) {
            Some(before) => self.idle[before].newer = Some(place),
            None => self.oldest = Some(place),
        }
        if let Some(stack) = self.stack(endpoint) {
            stack.places.push_back(place);
        }
    }

    /// Closes the one that has been idle for the longest time; false where there is none.
    pub(crate) fn close_idle(&mut self) -> bool {
        let Some(place) = self.oldest else {
            return false;
        };
        self.close(place);
        true
    }

    /// Whether a request may ask the endpoint to keep its connection.
    pub(crate) fn keeps_connections(&self) -> bool {
        self.capacity > 0
    }

    /// Whether it holds no connection.
    pub(super) fn is_empty(&self) -> bool {
        self.idle.is_empty()
    }

    /// Closes what has been idle for too long, or was closed by its peer.
    pub(crate) fn sweep(&mut self) {
        let timeout = self.timeout;
        self.close_where(|idle| {
            idle.since.elapsed() > timeout || !idle.connection.reader.is_silent()
        });
    }

    /// Whether a dial may go on for the pool's sake, its client having left: one for each endpoint,
    /// or clients that leave could have any number of them. It is over with [`Pool::end_dial`].
    pub(crate) fn begin_dial(&mut self, endpoint: EndpointId) -> bool {
        let wanted = self.keeps_connections()
            && !self.dials.contains(&endpoint)
            && self
                .stack(endpoint)
                .is_some_and(|stack| stack.places.is_empty());
        if wanted {
            self.dials.push(endpoint);
        }
        wanted
    }

    pub(crate) fn end_dial(&mut self, endpoint: EndpointId) {
        self.dials.retain(|dialed| *dialed != endpoint);
    }

    fn close_where(&mut self, over: impl Fn(&IdleConnection) -> bool) {
        let places = self.idle.iter().filter(|(_, idle)| over(idle));
        let places: Vec<usize> = places.map(|(place, _)| place).collect();
        for place in places {
            self.close(place);
        }
    }

    fn close(&mut self, place: usize) {
        let endpoint = self.idle[place].endpoint;
        if let Some(stack) = self.stack(endpoint) {
            // The oldest of all is the oldest of its endpoint: it stands in front.
            if let Some(at) = stack.places.iter().position(|other| *other == place) {
                stack.places.remove(at);
            }
        }
        self.unlink(place);
    }

    /// Takes a connection out of the list by age.
    fn unlink(&mut self, place: usize) -> IdleConnection {
        self.metrics.taken(1);
        let idle = self.idle.remove(place);
        match idle.older {
            Some(older) => self.idle[older].newer = idle.newer,
            None => self.oldest = idle.newer,
        }
        match idle.newer {
            Some(newer) => self.idle[newer].older = idle.older,
            None => self.newest = idle.older,
        }
        idle
    }

    fn stack(&mut self, endpoint: EndpointId) -> Option<&mut EndpointStack> {
        let stacks = &mut self.stacks;
        let at = stacks.binary_search_by_key(&endpoint, |stack| stack.endpoint);
        at.ok().map(|at| &mut stacks[at])
    }
}
