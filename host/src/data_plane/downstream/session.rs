//! A client's connection: its peer, what it holds between requests, and what an exchange sees of
//! it.

use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::outgoing::Outgoing;
use super::tls::TlsFacts;
use crate::config::model;
use crate::data_plane::body::Incoming;
use crate::data_plane::drain::ListenerState;
use crate::data_plane::proxy_protocol::AddressPair;
use crate::data_plane::stream::{Alarm, Reader, Writer};
use crate::data_plane::worker::Worker;
use crate::data_plane::worker_config::WorkerConfig;
use crate::http::variable::Variable;
use crate::tls::ServerTls;

/// Who is at the other end, written out once per connection.
pub(crate) struct Client {
    /// None for a unix socket.
    pub(crate) ip: Option<IpAddr>,
    pub(crate) port: Option<u16>,
    /// `unix:` for a unix socket, as nginx has it.
    pub(crate) address_text: Box<str>,
    /// None for a unix socket.
    local: Option<Rc<LocalEnd>>,
    /// What its PROXY header said, and the peer that sent the header.
    pub(crate) proxy_header: Option<Box<ProxyHeader>>,
    /// The connection's number, from 1, in this process.
    pub(crate) serial: u64,
    pub(crate) accepted: Instant,
    /// None where it speaks without.
    pub(crate) tls: Option<Box<TlsFacts>>,
}

/// Our end of a connection: the same for all that come in at one address.
pub(crate) struct LocalEnd {
    address: SocketAddr,
    ip_text: Box<str>,
}

impl LocalEnd {
    /// An IPv4 address that an IPv6 socket has is one of IPv4.
    pub(crate) fn new(address: SocketAddr) -> Rc<LocalEnd> {
        let address = canonical(address);
        Rc::new(LocalEnd {
            address,
            ip_text: address.ip().to_string().into(),
        })
    }

    /// Whether it is at this address of a socket.
    pub(crate) fn is_at(&self, address: SocketAddr) -> bool {
        self.address == canonical(address)
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    (address.ip().to_canonical(), address.port()).into()
}

/// What a PROXY header said of a client.
pub(crate) struct ProxyHeader {
    pub(crate) addresses: AddressPair,
    /// Of the connection's peer.
    peer_text: Box<str>,
    peer_port: Option<u16>,
}

impl Client {
    pub(crate) fn tcp(peer: SocketAddr, local: Rc<LocalEnd>, serial: u64) -> Client {
        // An IPv4 client of an IPv6 socket is an IPv4 client.
        let ip = peer.ip().to_canonical();
        Client {
            ip: Some(ip),
            port: Some(peer.port()),
            address_text: ip.to_string().into(),
            local: Some(local),
            proxy_header: None,
            serial,
            accepted: Instant::now(),
            tls: None,
        }
    }

    pub(crate) fn unix(serial: u64) -> Client {
        Client {
            ip: None,
            port: None,
            address_text: "unix:".into(),
            local: None,
            proxy_header: None,
            serial,
            accepted: Instant::now(),
            tls: None,
        }
    }

    /// The same connection over TLS, of a client that is made up.
    pub(crate) fn over_tls(self, tls: &Arc<ServerTls>, server_name: Option<&str>) -> Client {
        Client {
            tls: Some(Box::new(TlsFacts::made_up(tls, server_name))),
            ..self
        }
    }

    /// The same connection, with what its PROXY header says; a peer that is `believed` speaks for
    /// the client that it names.
    pub(crate) fn with_proxy_header(self, addresses: AddressPair, believed: bool) -> Client {
        let (peer_text, peer_port) = (self.address_text.clone(), self.port);
        let mut client = Client {
            proxy_header: Some(Box::new(ProxyHeader {
                addresses,
                peer_text,
                peer_port,
            })),
            ..self
        };
        if believed {
            client.ip = Some(addresses.source.ip());
            client.port = Some(addresses.source.port());
            client.address_text = addresses.source.ip().to_string().into();
        }
        client
    }

    /// The port that it came in at; none for a unix socket.
    pub(crate) fn local_port(&self) -> Option<u16> {
        self.local.as_ref().map(|local| local.address.port())
    }

    /// Whether HTTP/2 was agreed upon while shaking hands.
    pub(crate) fn speaks_http2(&self) -> bool {
        let alpn = self.tls.as_ref().and_then(|tls| tls.alpn.as_deref());
        alpn == Some("h2")
    }

    /// The SHA-256 of its certificate, if it has shown a valid one.
    pub(crate) fn certificate_fingerprint(&self) -> Option<[u8; 32]> {
        self.tls.as_ref()?.valid_certificate_fingerprint()
    }

    /// The address of the connection's peer, even where a PROXY header names another client.
    pub(crate) fn peer_text(&self) -> &str {
        self.proxy_header
            .as_ref()
            .map_or(&self.address_text, |header| &header.peer_text)
    }

    /// The port of the connection's peer, even where a PROXY header names another client.
    pub(crate) fn peer_port(&self) -> Option<u16> {
        match &self.proxy_header {
            Some(header) => header.peer_port,
            None => self.port,
        }
    }

    /// Appends what is known of a connection, be it for requests or a session; false where it is
    /// not known.
    pub(crate) fn append(&self, variable: &Variable, out: &mut Vec<u8>) -> bool {
        let text = match variable {
            Variable::RemoteAddr => &*self.address_text,
            Variable::RealipRemoteAddr => self.peer_text(),
            Variable::ServerAddr => self.local.as_ref().map_or("unix:", |local| &local.ip_text),
            Variable::BinaryRemoteAddr => {
                append_binary(self.ip, out);
                return true;
            }
            variable => return self.append_number(variable, out),
        };
        out.extend_from_slice(text.as_bytes());
        true
    }

    fn append_number(&self, variable: &Variable, out: &mut Vec<u8>) -> bool {
        let port = match variable {
            Variable::RemotePort => self.port,
            Variable::RealipRemotePort => self.peer_port(),
            Variable::ServerPort => self.local_port(),
            Variable::Connection => {
                out.extend_from_slice(itoa::Buffer::new().format(self.serial).as_bytes());
                return true;
            }
            variable => {
                return self.append_proxy_header(variable, out) || self.append_tls(variable, out);
            }
        };
        port.inspect(|port| out.extend_from_slice(itoa::Buffer::new().format(*port).as_bytes()))
            .is_some()
    }

    fn append_tls(&self, variable: &Variable, out: &mut Vec<u8>) -> bool {
        let value = self.tls.as_ref().and_then(|tls| tls.value(variable));
        value
            .inspect(|value| out.extend_from_slice(value.as_bytes()))
            .is_some()
    }

    /// What the error log says of it: `, client: 192.0.2.7, server: 127.0.0.1:8080`.
    pub(crate) fn context(&self) -> String {
        let client = &self.address_text;
        match &self.local {
            Some(local) => format!(", client: {client}, server: {}", local.address),
            None => format!(", client: {client}, server: unix:"),
        }
    }

    /// Appends what its PROXY header said, as a variable; false where it said nothing.
    fn append_proxy_header(&self, variable: &Variable, out: &mut Vec<u8>) -> bool {
        let Some(ProxyHeader { addresses, .. }) = self.proxy_header.as_deref() else {
            return false;
        };
        // Writing to a vector cannot fail.
        let _ = match variable {
            Variable::ProxyProtocolAddr => write!(out, "{}", addresses.source.ip()),
            Variable::ProxyProtocolPort => write!(out, "{}", addresses.source.port()),
            Variable::ProxyProtocolServerAddr => write!(out, "{}", addresses.destination.ip()),
            Variable::ProxyProtocolServerPort => write!(out, "{}", addresses.destination.port()),
            _ => return false,
        };
        true
    }

    /// The client's end of its connection, `reported` in place of its address if that is known
    /// better, and ours.
    pub(crate) fn ends(&self, reported: Option<IpAddr>) -> Option<AddressPair> {
        let destination = match &self.local {
            Some(local) => local.address,
            // A unix socket's own end has no address, but the one before it has.
            None => self.proxy_header.as_ref()?.addresses.destination,
        };
        let source = match reported {
            // A port is never reported.
            Some(ip) if Some(ip) != self.ip => (ip, 0).into(),
            _ => (self.ip?, self.port?).into(),
        };
        Some(AddressPair {
            source,
            destination,
        })
    }
}

/// An address in 4 or 16 bytes, as `$binary_remote_addr` has it.
pub(crate) fn append_binary(ip: Option<IpAddr>, out: &mut Vec<u8>) {
    match ip {
        Some(IpAddr::V4(ip)) => out.extend_from_slice(&ip.octets()),
        Some(IpAddr::V6(ip)) => out.extend_from_slice(&ip.octets()),
        None => out.extend_from_slice(b"unix:"),
    }
}

/// A client's connection, or one stream of it, for as long as it lasts. It holds no configuration:
/// an idle connection would keep it, and the plugin instances of its upstreams, in memory.
pub(crate) struct ClientConnection {
    pub(crate) worker: Rc<Worker>,
    listener_state: Rc<ListenerState>,
    client: Rc<Client>,
    pub(crate) incoming: Incoming,
    pub(crate) outgoing: Outgoing,
    pub(crate) alarm: Alarm,
    /// Requests so far, the one under way included.
    pub(crate) requests: u64,
}

/// A client's connection as the exchange on it sees it.
pub(crate) struct Session<'c> {
    pub(crate) worker: &'c Rc<Worker>,
    /// The configuration in force; the same from a request's first byte to its log line.
    pub(crate) worker_config: Rc<WorkerConfig>,
    /// The listener it came in on, as an index into the configuration in force.
    pub(crate) listener: usize,
    listener_state: &'c Rc<ListenerState>,
    pub(crate) client: &'c Rc<Client>,
    pub(crate) incoming: &'c mut Incoming,
    pub(crate) outgoing: &'c mut Outgoing,
    pub(crate) alarm: &'c mut Alarm,
    /// Requests so far, this one included.
    pub(crate) requests: u64,
    /// When this one began.
    pub(crate) began: Instant,
}

impl ClientConnection {
    /// A connection before its first request.
    pub(crate) fn new(
        worker: Rc<Worker>,
        listener_state: Rc<ListenerState>,
        client: Rc<Client>,
        (reader, writer): (Reader, Writer),
    ) -> ClientConnection {
        ClientConnection {
            worker,
            listener_state,
            client,
            incoming: Incoming::new(reader),
            // Set as each request begins.
            outgoing: Outgoing::new(writer, Duration::ZERO),
            alarm: Alarm::default(),
            requests: 0,
        }
    }

    pub(crate) fn client(&self) -> &Rc<Client> {
        &self.client
    }

    /// How long it may take until the next request begins.
    pub(crate) fn wait_limit(&self) -> Duration {
        let worker_config = self.listener_state.worker_config();
        let listeners = &worker_config.snapshot.config.listeners;
        let limits = &listeners[self.listener_state.position()];
        match self.requests {
            0 => limits.client_header_timeout,
            _ => limits.keepalive_timeout,
        }
    }

    /// Between two reads of a request's body.
    pub(crate) fn body_timeout(&self) -> Duration {
        let worker_config = self.listener_state.worker_config();
        let listeners = &worker_config.snapshot.config.listeners;
        listeners[self.listener_state.position()].client_body_timeout
    }

    /// The connection for its next request, with the configuration in force, or the last one that
    /// had its listener.
    pub(crate) fn next_request(&mut self, began: Instant) -> Session<'_> {
        self.requests += 1;
        let worker_config = self.listener_state.worker_config();
        let listener = self.listener_state.position();
        self.outgoing.send_timeout = worker_config.snapshot.config.listeners[listener].send_timeout;
        Session {
            worker: &self.worker,
            worker_config,
            listener,
            listener_state: &self.listener_state,
            client: &self.client,
            incoming: &mut self.incoming,
            outgoing: &mut self.outgoing,
            alarm: &mut self.alarm,
            requests: self.requests,
            began,
        }
    }
}

impl Session<'_> {
    /// What its listener has of TLS by now.
    pub(crate) fn tls(&self) -> Option<&Arc<ServerTls>> {
        self.worker_config.snapshot.tls[self.listener].as_ref()
    }

    pub(crate) fn limits(&self) -> &model::ListenerConfig {
        &self.worker_config.snapshot.config.listeners[self.listener]
    }

    /// Whether another request may follow the one under way, as far as the proxy is concerned.
    pub(crate) fn may_keep_alive(&self) -> bool {
        let limits = self.limits();
        !limits.keepalive_timeout.is_zero()
            && self.requests < limits.keepalive_requests
            && self.began.saturating_duration_since(self.client.accepted) <= limits.keepalive_time
            && !self.listener_state.is_closing()
    }

    /// Tells whether the connection is to end.
    pub(crate) fn listener_state(&self) -> &Rc<ListenerState> {
        self.listener_state
    }
}
