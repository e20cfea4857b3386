//! A client's connection as an exchange sees it, and who is at its other end.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use super::incoming::Incoming;
use super::outgoing::Outgoing;
use super::tls::TlsFacts;
use crate::config::model;
use crate::data_plane::drain::{Gate, Place};
use crate::data_plane::exchange::Exchange;
use crate::data_plane::stream::{Alarm, Reader, Writer};
use crate::data_plane::worker::{ListenerId, Site, Worker};
use crate::http::head::{Known, Version};
use crate::tls::ServerTls;

/// Who is at the other end, written out once per connection.
pub(crate) struct Client {
    /// None for a unix socket.
    pub(crate) ip: Option<IpAddr>,
    pub(crate) port: Option<u16>,
    /// `unix:` for a unix socket, as nginx has it.
    pub(crate) address_text: Box<str>,
    pub(crate) local_address: Box<str>,
    pub(crate) local_port: Option<u16>,
    /// The connection's number, from 1, in this process.
    pub(crate) serial: u64,
    pub(crate) accepted: Instant,
    /// None where it speaks without.
    pub(crate) tls: Option<TlsFacts>,
}

impl Client {
    pub(crate) fn tcp(peer: SocketAddr, local: SocketAddr, serial: u64) -> Client {
        // An IPv4 client of an IPv6 socket is an IPv4 client.
        let (ip, local_ip) = (peer.ip().to_canonical(), local.ip().to_canonical());
        Client {
            ip: Some(ip),
            port: Some(peer.port()),
            address_text: ip.to_string().into(),
            local_address: local_ip.to_string().into(),
            local_port: Some(local.port()),
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
            local_address: "unix:".into(),
            local_port: None,
            serial,
            accepted: Instant::now(),
            tls: None,
        }
    }
}

/// A connection as an exchange uses it.
pub(crate) struct Session {
    pub(crate) worker: Rc<Worker>,
    /// The configuration in force; the same from a request's first byte to its log line.
    pub(crate) site: Rc<Site>,
    /// The listener it came in on, as an index into the configuration in force.
    pub(crate) listener: usize,
    gate: Rc<Gate>,
    pub(crate) client: Rc<Client>,
    pub(crate) incoming: Incoming,
    pub(crate) outgoing: Outgoing,
    pub(crate) alarm: Alarm,
    /// Requests so far, the one under way included.
    pub(crate) requests: u64,
    /// When the request under way, or the last one, began.
    pub(crate) began: Instant,
}

impl Session {
    /// A connection, or one stream of it, before its first request. None if its listener is in no configuration.
    pub(super) fn new(
        place: &Place,
        worker: Rc<Worker>,
        listener_id: ListenerId,
        client: Rc<Client>,
        reader: Reader,
        writer: Writer,
    ) -> Option<Session> {
        let site = place.site();
        let listener = site.place_of(listener_id)?;
        let send_timeout = site.snapshot.config.listeners[listener].send_timeout;
        Some(Session {
            site,
            listener,
            gate: place.gate().clone(),
            client,
            incoming: Incoming::new(reader),
            outgoing: Outgoing::new(writer, send_timeout),
            alarm: Alarm::default(),
            requests: 0,
            began: Instant::now(),
            worker,
        })
    }

    /// What its listener has of TLS by now.
    pub(crate) fn tls(&self) -> Option<&Arc<ServerTls>> {
        self.site.snapshot.tls[self.listener].as_ref()
    }

    pub(crate) fn limits(&self) -> &model::Listener {
        &self.site.snapshot.config.listeners[self.listener]
    }

    /// Whether another request may follow the one under way, as far as the proxy is concerned.
    pub(crate) fn may_keep_alive(&self) -> bool {
        let limits = self.limits();
        !limits.keepalive_timeout.is_zero()
            && self.requests < limits.keepalive_requests
            && self.began.saturating_duration_since(self.client.accepted) <= limits.keepalive_time
            && !self.gate().is_closing()
    }

    /// Takes the configuration in force for the next request, or the last one that had its listener.
    pub(super) fn enter_site(&mut self, place: &Place, listener_id: ListenerId) {
        let site = place.site();
        if Rc::ptr_eq(&site, &self.site) {
            return;
        }
        if let Some(listener) = site.place_of(listener_id) {
            (self.site, self.listener) = (site, listener);
            self.outgoing.send_timeout = self.limits().send_timeout;
        }
    }

    /// Tells whether the connection is to end.
    pub(crate) fn gate(&self) -> &Rc<Gate> {
        &self.gate
    }

    /// Invites the client to send its body, if that is what it waits for (RFC 9110 section 10.1.1).
    pub(crate) async fn continue_if_expected(&mut self, exchange: &Exchange) -> io::Result<()> {
        let expected = exchange.request.version() != Version::Http10
            && exchange
                .request
                .fields()
                .lists(Known::Expect, b"100-continue")
            && self.incoming.unread().is_empty();
        if expected {
            self.outgoing
                .write_interim(b"HTTP/1.1 100 Continue\r\n\r\n")
                .await?;
        }
        Ok(())
    }
}
