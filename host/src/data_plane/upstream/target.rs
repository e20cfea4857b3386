//! What it takes to dial an endpoint: where it is, and how a connection to it begins.
//!
//! Nothing of a lease, an exchange or a worker: a connection belongs to the upstream, whatever it
//! is opened for, and may outlive the exchange that asked for it.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;

use super::connection_limit::ConnectionLimit;
use super::endpoint::Endpoint;
use super::failure::Failure;
use super::shared::Upstream;
use crate::config::model::Address;
use crate::data_plane::proxy_protocol::{self, AddressPair};
use crate::names::Doubt;
use crate::tls::ClientTls;

/// An endpoint to dial.
pub(crate) struct Target {
    pub(super) address: Address,
    /// As logs show it.
    pub(super) name: Box<str>,
    /// To be raised where it cannot be reached.
    pub(super) doubt: Option<Arc<Doubt>>,
    /// The PROXY header that goes first; empty where the upstream wants none.
    pub(super) proxy_header: Vec<u8>,
    /// None where it speaks without.
    pub(super) tls: Option<TlsTarget>,
    /// On the connections of its upstream.
    pub(super) limit: ConnectionLimit,
    /// For the connection and its handshake together.
    pub(super) connect_timeout: Duration,
    /// None where it speaks HTTP/1.
    pub(super) http2: Option<Http2Target>,
}

/// How TLS is spoken with an endpoint.
pub(super) struct TlsTarget {
    pub(super) tls: Arc<ClientTls>,
    pub(super) name: ServerName<'static>,
    /// Whether ALPN says which version of HTTP follows. What a stream carries is not for us to say
    /// (RFC 7301).
    pub(super) alpn: bool,
}

/// What an endpoint of HTTP/2 is told that it may send.
pub(super) struct Http2Target {
    pub(super) max_streams: usize,
    /// Bytes of a response header.
    pub(super) max_header: usize,
}

impl Target {
    /// The same, with another bound on the connection and its handshake.
    pub(super) fn within(self, connect_timeout: Duration) -> Target {
        Target {
            connect_timeout,
            ..self
        }
    }

    /// The same, with a bound on the connections of its upstream.
    pub(super) fn limited(self, limit: ConnectionLimit) -> Target {
        Target { limit, ..self }
    }

    /// A dial has failed: if whoever has the address now is why, its name may be elsewhere.
    pub(super) fn failed(&self, failure: &Failure) {
        if failure.is_of_endpoint()
            && let Some(doubt) = &self.doubt
        {
            doubt.raise();
        }
    }

    /// The endpoint as its upstream is configured. `ends` are the addresses that a PROXY header
    /// tells; none for a connection that speaks for no client.
    ///
    /// # Errors
    /// [`Failure::Handshake`]: the endpoint has no name to verify its certificate by.
    pub(crate) fn new(
        upstream: &Upstream,
        endpoint: &Endpoint,
        ends: Option<AddressPair>,
        alpn: bool,
    ) -> Result<Target, Failure> {
        let config = &upstream.config;
        let mut proxy_header = Vec::new();
        if let Some(version) = config.proxy_protocol {
            proxy_protocol::append(version, ends, &mut proxy_header);
        }
        let tls = match &upstream.tls {
            Some(tls) => Some(TlsTarget {
                tls: tls.clone(),
                name: tls
                    .server_name(&endpoint.server)
                    .map_err(Failure::Handshake)?,
                alpn,
            }),
            None => None,
        };
        Ok(Target {
            address: endpoint.address.clone(),
            name: endpoint.name.clone(),
            doubt: endpoint.doubt.clone(),
            proxy_header,
            tls,
            limit: ConnectionLimit::none(upstream.load.clone()),
            connect_timeout: config.connect_timeout,
            http2: config.http2.as_ref().map(|http2| Http2Target {
                max_streams: http2.max_concurrent_streams,
                max_header: config.response_header_size,
            }),
        })
    }
}
