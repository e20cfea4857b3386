//! How a request is carried to a server: what an upstream says, and what a route says again.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use super::{NextConditions, NextUpstream, UpstreamConfig};

/// How one request is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProxyLimits {
    /// See the fields of the same names in [`UpstreamConfig`].
    pub connect_timeout: Duration,
    pub send_timeout: Duration,
    pub read_timeout: Duration,
    pub half_close_timeout: Duration,
    pub body_buffer_size: usize,
    pub next_upstream: NextUpstream,
}

/// What a route says for itself; none is as its upstream, or its listener, has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteLimits {
    pub connect_timeout: Option<Duration>,
    pub send_timeout: Option<Duration>,
    pub read_timeout: Option<Duration>,
    pub half_close_timeout: Option<Duration>,
    pub body_buffer_size: Option<usize>,
    pub next_conditions: Option<NextConditions>,
    pub next_tries: Option<u32>,
    pub next_timeout: Option<Duration>,
    /// Of the listener: between two reads of a request's body.
    pub client_body_timeout: Option<Duration>,
    /// Of the listener: between two writes to the client (`send_timeout` there).
    pub client_send_timeout: Option<Duration>,
}

impl RouteLimits {
    /// The same, in one place in memory for all routes that say nothing: thousands of them would
    /// each have the processor fetch what says so.
    pub fn shared(self) -> Arc<RouteLimits> {
        static NONE: LazyLock<Arc<RouteLimits>> = LazyLock::new(Arc::default);
        match self == **NONE {
            true => NONE.clone(),
            false => Arc::new(self),
        }
    }
}

impl ProxyLimits {
    /// Those of an upstream, as far as a route does not say otherwise.
    pub fn of(upstream: &UpstreamConfig, route: &RouteLimits) -> ProxyLimits {
        let next = &upstream.next_upstream;
        ProxyLimits {
            connect_timeout: route.connect_timeout.unwrap_or(upstream.connect_timeout),
            send_timeout: route.send_timeout.unwrap_or(upstream.send_timeout),
            read_timeout: route.read_timeout.unwrap_or(upstream.read_timeout),
            half_close_timeout: route
                .half_close_timeout
                .unwrap_or(upstream.half_close_timeout),
            body_buffer_size: route.body_buffer_size.unwrap_or(upstream.body_buffer_size),
            next_upstream: NextUpstream {
                conditions: route.next_conditions.unwrap_or(next.conditions),
                tries: route.next_tries.unwrap_or(next.tries),
                timeout: route.next_timeout.unwrap_or(next.timeout),
            },
        }
    }
}
