//! A client's connection: one request after the other until either side has had enough.

use std::future::poll_fn;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::incoming::Incoming;
use super::outgoing::Outgoing;
use crate::config::model;
use crate::data_plane::drain::{ConnectionGuard, Gate, PARTING};
use crate::data_plane::exchange::{self, After, Exchange, Fault};
use crate::data_plane::proxy_protocol::Ends;
use crate::data_plane::stream::{Alarm, Reader, Writer};
use crate::data_plane::worker::{ListenerId, Site, Worker};
use crate::http::head::{BadHead, HeadEnd, Known, RequestHead, Version};
use crate::http::variable::Variable;

/// Who is at the other end, written out once per connection.
pub(crate) struct Client {
    /// None for a unix socket.
    pub(crate) ip: Option<IpAddr>,
    pub(crate) port: Option<u16>,
    /// `unix:` for a unix socket, as nginx has it.
    pub(crate) address_text: Box<str>,
    pub(crate) local_address: Box<str>,
    pub(crate) local_port: Option<u16>,
    /// None for a unix socket.
    local_ip: Option<IpAddr>,
    /// What its PROXY header said, and who said it.
    pub(crate) introduced: Option<Box<Introduction>>,
    /// The connection's number, from 1, in this process.
    pub(crate) serial: u64,
    pub(crate) accepted: Instant,
}

/// What a PROXY header said of a client.
pub(crate) struct Introduction {
    pub(crate) said: Ends,
    /// Of the connection's peer.
    peer_text: Box<str>,
    peer_port: Option<u16>,
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
            local_ip: Some(local_ip),
            introduced: None,
            serial,
            accepted: Instant::now(),
        }
    }

    pub(crate) fn unix(serial: u64) -> Client {
        Client {
            ip: None,
            port: None,
            address_text: "unix:".into(),
            local_address: "unix:".into(),
            local_port: None,
            local_ip: None,
            introduced: None,
            serial,
            accepted: Instant::now(),
        }
    }

    /// The same connection, with what its PROXY header says; a peer that is `believed` speaks for the client that it names.
    pub(crate) fn introduced_as(self, said: Ends, believed: bool) -> Client {
        let (peer_text, peer_port) = (self.address_text.clone(), self.port);
        let mut client = Client {
            introduced: Some(Box::new(Introduction {
                said,
                peer_text,
                peer_port,
            })),
            ..self
        };
        if believed {
            client.ip = Some(said.source.ip());
            client.port = Some(said.source.port());
            client.address_text = said.source.ip().to_string().into();
        }
        client
    }

    /// The address of the connection's peer, whoever it speaks for.
    pub(crate) fn peer_text(&self) -> &str {
        self.introduced
            .as_ref()
            .map_or(&self.address_text, |introduction| &introduction.peer_text)
    }

    /// The port of the connection's peer, whoever it speaks for.
    pub(crate) fn peer_port(&self) -> Option<u16> {
        match &self.introduced {
            Some(introduction) => introduction.peer_port,
            None => self.port,
        }
    }

    /// Appends what its PROXY header said, as a variable; false where it said nothing.
    pub(crate) fn append_introduction(&self, variable: &Variable, out: &mut Vec<u8>) -> bool {
        let Some(Introduction { said, .. }) = self.introduced.as_deref() else {
            return false;
        };
        // Writing to a vector cannot fail.
        let _ = match variable {
            Variable::ProxyProtocolAddr => write!(out, "{}", said.source.ip()),
            Variable::ProxyProtocolPort => write!(out, "{}", said.source.port()),
            Variable::ProxyProtocolServerAddr => write!(out, "{}", said.destination.ip()),
            Variable::ProxyProtocolServerPort => write!(out, "{}", said.destination.port()),
            _ => return false,
        };
        true
    }

    /// The client's end of its connection, `reported` in place of its address if that is known better, and ours.
    pub(crate) fn ends(&self, reported: Option<IpAddr>) -> Option<Ends> {
        let destination = match (self.local_ip, self.local_port, &self.introduced) {
            (Some(ip), Some(port), _) => (ip, port).into(),
            // A unix socket's own end has no address, but the one before it has.
            (_, _, introduction) => introduction.as_ref()?.said.destination,
        };
        let source = match reported {
            // Nobody reports a port.
            Some(ip) if Some(ip) != self.ip => (ip, 0).into(),
            _ => (self.ip?, self.port?).into(),
        };
        Some(Ends {
            source,
            destination,
        })
    }
}

/// A connection as an exchange uses it.
pub(crate) struct Session {
    pub(crate) worker: Rc<Worker>,
    /// The configuration in force; the same from a request's first byte to its log line.
    pub(crate) site: Rc<Site>,
    /// The listener it came in on, as an index into the configuration in force.
    pub(crate) listener: usize,
    guard: ConnectionGuard,
    pub(crate) client: Rc<Client>,
    pub(crate) incoming: Incoming,
    pub(crate) outgoing: Outgoing,
    pub(crate) alarm: Alarm,
    /// Requests so far, the one under way included.
    pub(crate) requests: u64,
    /// When the request under way, or the last one, began.
    pub(crate) began: Instant,
}

/// How long, and at what pace, a client may go on sending what nobody reads (nginx: `lingering_time`, `lingering_timeout`).
const LINGERING_TIME: Duration = Duration::from_secs(30);
const LINGERING_TIMEOUT: Duration = Duration::from_secs(5);
/// Empty lines before a request line, which some clients send behind a body (RFC 9112 section 2.2).
const MAX_EMPTY_LINES: usize = 2;

/// Serves a connection to its end.
pub(crate) async fn run(
    worker: Rc<Worker>,
    listener_id: ListenerId,
    client: Client,
    reader: Reader,
    writer: Writer,
    guard: ConnectionGuard,
) {
    let site = guard.place().site();
    let Some(listener) = site.place_of(listener_id) else {
        return;
    };
    let send_timeout = site.snapshot.config.listeners[listener].send_timeout;
    let mut session = Session {
        site,
        listener,
        client: Rc::new(client),
        incoming: Incoming::new(reader),
        outgoing: Outgoing::new(writer, send_timeout),
        alarm: Alarm::default(),
        requests: 0,
        began: Instant::now(),
        guard,
        worker,
    };
    loop {
        if !session.await_request().await {
            return;
        }
        session.requests += 1;
        let began = Instant::now();
        session.began = began;
        session.enter_site(listener_id);
        let mut head = session.worker.take_request_head();
        let after = match session.read_head(&mut head, began).await {
            Ok(true) => {
                // The exchange's state is large, and only there while it is under way: idle connections stay small.
                let (after, head) = Box::pin(exchange::serve(&mut session, head, began)).await;
                session.worker.give_request_head(head);
                after
            }
            Ok(false) => return,
            Err(fault) => Box::pin(exchange::reject(&mut session, head, began, fault)).await,
        };
        match after {
            After::KeepAlive => {}
            After::Close => return,
            After::Linger => return session.linger().await,
        }
    }
}

impl Session {
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
    fn enter_site(&mut self, listener_id: ListenerId) {
        let site = self.guard.place().site();
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
        self.guard.place().gate()
    }

    /// Waits for a request's first byte, without a buffer; false if none will come.
    async fn await_request(&mut self) -> bool {
        if !self.incoming.unread().is_empty() {
            return true;
        }
        self.incoming.release(&self.worker.buffers);
        let limit = match self.requests {
            0 => self.limits().client_header_timeout,
            _ => self.limits().keepalive_timeout,
        };
        // Nothing is under way on an idle connection: it need not go on, and holds on to no configuration. A fresh one is
        // still owed its first answer.
        let idle = self.requests > 0;
        if idle {
            self.site = self.worker.nowhere.clone();
        }
        let Session {
            incoming,
            alarm,
            guard,
            ..
        } = self;
        let reader = &incoming.reader;
        let awaited = poll_fn(|cx| match reader.poll_readable(cx) {
            Poll::Ready(readable) => Poll::Ready(Some(readable.is_ok())),
            Poll::Pending if idle => guard.place().poll_closing(cx).map(|()| None),
            Poll::Pending => Poll::Pending,
        });
        match alarm.within(limit, awaited).await {
            Ok(Some(readable)) => readable,
            Ok(None) => {
                let readable = poll_fn(|cx| reader.poll_readable(cx));
                let last = alarm.within(limit.min(PARTING), readable).await;
                last.is_ok_and(|readable| readable.is_ok())
            }
            Err(_) => false,
        }
    }

    /// Reads a request's head; false if the client closed before it began one.
    async fn read_head(&mut self, head: &mut RequestHead, began: Instant) -> Result<bool, Fault> {
        let site = self.site.clone();
        let limits = &site.snapshot.config.listeners[self.listener];
        let due = (began + limits.client_header_timeout).into();
        let (mut end, mut empty_lines) = (HeadEnd::default(), 0);
        loop {
            while self.incoming.unread().starts_with(b"\r\n") && empty_lines < MAX_EMPTY_LINES {
                self.incoming.consume(2);
                (end, empty_lines) = (HeadEnd::default(), empty_lines + 1);
            }
            let unread = self.incoming.unread();
            if let Some(length) = end.find(unread).map_err(Fault::BadHead)? {
                if length > limits.client_header_size {
                    return Err(too_large(unread, limits.client_header_size));
                }
                let parsed = head.parse(&unread[..length], limits.max_headers);
                self.incoming.consume(length);
                return parsed.map(|()| true).map_err(Fault::BadHead);
            }
            if unread.len() >= limits.client_header_size {
                return Err(too_large(unread, limits.client_header_size));
            }
            looks_like_http(unread)?;
            let begun = !unread.is_empty();
            let Session {
                incoming,
                alarm,
                worker,
                ..
            } = self;
            let more =
                poll_fn(|cx| incoming.poll_more(cx, limits.client_header_size, &worker.buffers));
            match alarm.until(due, more).await {
                Ok(Ok(0)) if !begun => return Ok(false),
                Ok(Ok(0)) => return Err(Fault::HeaderCutShort),
                Ok(Ok(_)) => {}
                Ok(Err(_)) => return Ok(false),
                Err(_) if begun => return Err(Fault::HeaderTimeout),
                Err(_) => return Ok(false),
            }
        }
    }

    /// Invites the client to send its body, if that is what it waits for (RFC 9110 section 10.1.1).
    pub(crate) async fn continue_if_expected(&mut self, exchange: &Exchange) -> io::Result<()> {
        let expected = exchange.request.version() == Version::Http11
            && exchange
                .request
                .fields()
                .lists(Known::Expect, b"100-continue")
            && self.incoming.unread().is_empty();
        if expected {
            self.outgoing
                .write_alone(b"HTTP/1.1 100 Continue\r\n\r\n", &[])
                .await?;
        }
        Ok(())
    }

    /// Closes in a way that lets the client read its answer: a reset, which unread bytes would bring about, may take it away.
    async fn linger(&mut self) {
        if poll_fn(|cx| self.outgoing.writer.poll_shutdown(cx))
            .await
            .is_err()
        {
            return;
        }
        let mut sink = self.worker.buffers.take_body();
        let end = tokio::time::Instant::now() + LINGERING_TIME;
        let Session {
            incoming, alarm, ..
        } = self;
        loop {
            let due = end.min(tokio::time::Instant::now() + LINGERING_TIMEOUT);
            sink.clear();
            match alarm
                .until(
                    due,
                    poll_fn(|cx| incoming.reader.poll_read(cx, &mut sink, usize::MAX)),
                )
                .await
            {
                Ok(Ok(1..)) => {}
                Ok(Ok(0) | Err(_)) | Err(_) => break,
            }
        }
        self.worker.buffers.give(sink);
    }
}

/// Refuses at the first byte what cannot become a request line, such as a TLS handshake, instead of waiting for its end.
fn looks_like_http(start: &[u8]) -> Result<(), Fault> {
    match start.first() {
        Some(byte) if !byte.is_ascii_graphic() => {
            Err(Fault::BadHead(BadHead::Malformed("request line")))
        }
        _ => Ok(()),
    }
}

fn too_large(unread: &[u8], bound: usize) -> Fault {
    // Its first line alone is as large as that?
    if memchr::memchr(b'\n', &unread[..bound.min(unread.len())]).is_none() {
        Fault::TargetTooLong
    } else {
        Fault::HeaderTooLarge
    }
}
