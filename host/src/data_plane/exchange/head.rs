//! The one writer of response heads.
//!
//! Whatever the client is answered with (a server's response, one of our own, a change of
//! protocols), its head is written here, so that what every head has is in each of them.

use std::rc::Rc;

use super::configured::Configured;
use super::cookies;
use super::fault::reason;
use super::handed_on;
use super::hooks;
use super::redirect;
use super::request::{Listed, line, write_changes};
use super::state::Exchange;
use crate::config::model::{Action, Route};
use crate::data_plane::body::Coding;
use crate::data_plane::worker_config::WorkerConfig;
use crate::http::head::{
    Field, FieldChanges, FieldName, ResponseHead, Version, append_line, list_members,
};
use crate::http::{clock, headers, websocket};

/// A response head on its way to the client.
pub(super) struct ClientHead<'a> {
    pub(super) status: u16,
    pub(super) source: HeadSource<'a>,
    pub(super) kind: HeadKind,
    /// The route that the exchange took, if it got that far.
    pub(super) route: Option<&'a Route>,
}

/// Where a head's own fields come from.
pub(super) enum HeadSource<'a> {
    /// An upstream's response.
    Upstream(&'a ResponseHead),
    /// Names and values; a field without a value is left out.
    Ours(&'a [(&'a str, &'a [u8])]),
}

/// What a head begins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum HeadKind {
    /// A final response.
    Final {
        coding: Coding,
        /// The upstream's `Content-Length` holds for what the client gets.
        keeps_length: bool,
        /// The connection stays for another request.
        keep: bool,
    },
    /// A tunnel (RFC 9110 section 7.8, RFC 8441).
    Switching,
    /// Nothing yet (1xx): more heads follow.
    Interim,
}

/// The route that an exchange took, if it got that far.
pub(super) fn route_of<'a>(
    worker_config: &'a WorkerConfig,
    exchange: &Exchange,
) -> Option<&'a Route> {
    let routes = &worker_config.snapshot.config.routes;
    exchange.stats.route.get().map(|route| &routes[route])
}

const HSTS: &[u8] = b"Strict-Transport-Security";

impl<'a> ClientHead<'a> {
    /// An upstream's answer to a request for another protocol. HTTP/1.1 says 101 and the protocol's
    /// name, HTTP/2 says 200 (RFC 8441 section 5).
    pub(super) fn switching(
        exchange: &Exchange,
        head: &'a ResponseHead,
        route: &'a Route,
    ) -> ClientHead<'a> {
        ClientHead {
            status: match exchange.request.version() {
                Version::Http2 => 200,
                Version::Http10 | Version::Http11 => 101,
            },
            source: HeadSource::Upstream(head),
            kind: HeadKind::Switching,
            route: Some(route),
        }
    }

    /// Appends the head, as the client's version has it.
    pub(super) fn write(&self, exchange: &Rc<Exchange>, out: &mut Vec<u8>) {
        if self.kind != HeadKind::Interim {
            exchange.begin_head();
            if exchange.hooked.sees_response() {
                self.show_to_hooks(exchange);
            }
            hooks::on_response(exchange);
        }
        let by_hooks = exchange.response_changes.borrow();
        let changes = HeadChanges {
            configured: Configured::of(exchange, self.route, self.status),
            hooks: &by_hooks,
        };
        let may_replace = self.kind != HeadKind::Interim && !changes.is_empty();
        let replaced = |name: &[u8]| may_replace && changes.replace(name);
        let instead = exchange.status_instead.get();
        let instead = instead.filter(|_| matches!(self.kind, HeadKind::Final { .. }));
        if let Some(status) = instead {
            exchange.stats.status.set(status);
        }
        self.write_status(instead.unwrap_or(self.status), out);
        let (mut dated, mut upgrade) = (false, self.kind == HeadKind::Switching);
        match self.source {
            HeadSource::Upstream(head) => {
                let listed = Listed::of(head.fields());
                for field in head.fields().iter() {
                    if self.passes(&field, exchange, &listed) && !replaced(field.name) {
                        dated |= field.known == FieldName::Date;
                        upgrade |= field.known == FieldName::Upgrade;
                        match self.rewritten(exchange, &field) {
                            Some(value) => append_line(field.name, &value, out),
                            None => field.append_line(out),
                        }
                    }
                }
            }
            HeadSource::Ours(lines) => {
                for (name, value) in lines {
                    if !value.is_empty() && headers::is_value(value) && !replaced(name.as_bytes()) {
                        line(name, value, out);
                    }
                }
            }
        }
        if self.kind != HeadKind::Interim {
            if !dated && !replaced(b"Date") {
                write_date(out);
            }
            self.write_framing(exchange, upgrade, out);
            if let Some(hsts) = exchange.hsts()
                && !changes.concern(HSTS)
            {
                append_line(HSTS, hsts.as_bytes(), out);
            }
            self.write_kept(exchange, replaced, out);
            changes.write_hooks(&exchange.balance.response_headers(), out);
            write_changes(exchange, changes.configured.iter(), out);
            if let Some(value) = changes.configured.cache_control() {
                line("Cache-Control", value.as_bytes(), out);
            }
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Has hooks see the fields of an answer of our own; those of a server's they see anyway.
    fn show_to_hooks(&self, exchange: &Exchange) {
        let mut own = exchange.own_head.borrow_mut();
        own.clear();
        if let HeadSource::Ours(lines) = self.source {
            for (name, value) in lines.iter().filter(|(_, value)| !value.is_empty()) {
                line(name, value, &mut own);
            }
        }
    }

    /// What a field says instead, where the server speaks of itself: where it sends the client, and
    /// for what its cookies are.
    fn rewritten(&self, exchange: &Exchange, field: &Field<'_>) -> Option<Vec<u8>> {
        match &self.route?.action {
            Action::Proxy(proxy) if field.known == FieldName::Other => match &proxy.cookies {
                Some(rules) if field.name.eq_ignore_ascii_case(b"set-cookie") => {
                    cookies::rewritten(exchange, rules, field.value)
                }
                _ => redirect::rewritten(exchange, &proxy.redirects, field),
            },
            Action::Proxy(_)
            | Action::Return(_)
            | Action::StubStatus
            | Action::Metrics
            | Action::Probe(_)
            | Action::Files(_)
            | Action::Component(_) => None,
        }
    }

    /// Writes what stays of the answer of a server that has handed the request on.
    fn write_kept(&self, exchange: &Exchange, replaced: impl Fn(&[u8]) -> bool, out: &mut Vec<u8>) {
        let kept = exchange.handed_on.borrow();
        let Some(kept) = &*kept else { return };
        let has = |name: &[u8]| match self.source {
            HeadSource::Upstream(head) => head.fields().named(name).next().is_some(),
            HeadSource::Ours(lines) => lines
                .iter()
                .any(|(own, value)| !value.is_empty() && own.as_bytes().eq_ignore_ascii_case(name)),
        };
        for (name, value) in kept.fields_for(self.status, has) {
            if !replaced(name) {
                append_line(name, value, out);
            }
        }
    }

    fn write_status(&self, status: u16, out: &mut Vec<u8>) {
        out.extend_from_slice(b"HTTP/1.1 ");
        out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
        out.push(b' ');
        out.extend_from_slice(match self.source {
            HeadSource::Upstream(head) if head.status() == status => head.reason(),
            _ => reason(status).as_bytes(),
        });
        out.extend_from_slice(b"\r\n");
    }

    /// Whether an upstream's field goes on to the client.
    fn passes(&self, field: &Field<'_>, exchange: &Exchange, listed: &Listed<'_>) -> bool {
        let version = exchange.request.version();
        match (field.known, self.kind) {
            (FieldName::Upgrade, HeadKind::Switching) => version != Version::Http2,
            // What the server could be asked for, as 426 has to say (RFC 9110 section 7.8); not
            // HTTP/2, which is no server's to offer in our place.
            (FieldName::Upgrade, HeadKind::Final { .. }) => {
                version == Version::Http11 && !list_members(field.value).any(is_http2)
            }
            (FieldName::SecWebSocketAccept, HeadKind::Switching) => version != Version::Http2,
            // It describes the body that a HEAD request did not get, or one whose length is passed
            // on as it is.
            (FieldName::ContentLength, HeadKind::Final { keeps_length, .. }) => keeps_length,
            (FieldName::ContentLength, HeadKind::Switching | HeadKind::Interim) => false,
            (FieldName::Trailer, HeadKind::Final { coding, .. }) => {
                coding == Coding::Chunked || version == Version::Http2
            }
            (FieldName::Trailer, HeadKind::Switching | HeadKind::Interim) => false,
            (known, _) if known.is_of_connection() => false,
            // Of two, clients heed only the first (RFC 6797 section 8.1): ours.
            _ if exchange.hsts().is_some() && field.name.eq_ignore_ascii_case(HSTS) => false,
            _ if self.route.is_some_and(|route| route.accel_redirect)
                && handed_on::is_for_proxies(field.name) =>
            {
                false
            }
            _ => !listed.names(field.name),
        }
    }

    /// How the body is framed, and what becomes of the connection, as far as the version does not
    /// imply it.
    fn write_framing(&self, exchange: &Exchange, upgrade: bool, out: &mut Vec<u8>) {
        let version = exchange.request.version();
        match self.kind {
            HeadKind::Final { coding, keep, .. } => {
                if coding == Coding::Chunked {
                    out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
                }
                let connection: &[u8] = match (version, keep, upgrade) {
                    (Version::Http2, ..) | (Version::Http11, true, false) => b"",
                    (Version::Http11, true, true) => b"Connection: upgrade\r\n",
                    (Version::Http10, true, _) => b"Connection: keep-alive\r\n",
                    (_, false, true) => b"Connection: close, upgrade\r\n",
                    (_, false, false) => b"Connection: close\r\n",
                };
                out.extend_from_slice(connection);
            }
            HeadKind::Switching if version != Version::Http2 => {
                self.write_handshake(exchange, out);
                out.extend_from_slice(b"Connection: upgrade\r\n");
            }
            HeadKind::Switching | HeadKind::Interim => {}
        }
    }

    /// A server of HTTP/2 agrees to a tunnel by its status alone: the rest is ours to say.
    fn write_handshake(&self, exchange: &Exchange, out: &mut Vec<u8>) {
        let HeadSource::Upstream(head) = self.source else {
            return;
        };
        if head.version() != Version::Http2 {
            return;
        }
        let asked = exchange.request.fields();
        if let Some(protocol) = asked.known(FieldName::Upgrade).next() {
            line("Upgrade", protocol, out);
        }
        if let Some(key) = asked.known(FieldName::SecWebSocketKey).next() {
            let accept = websocket::accept(key);
            line("Sec-WebSocket-Accept", accept.as_bytes(), out);
        }
    }
}

/// What is changed of a final head, or of one that begins a tunnel. The configuration has the last
/// word, hooks have the one before.
struct HeadChanges<'a> {
    configured: Configured<'a>,
    hooks: &'a FieldChanges,
}

impl HeadChanges<'_> {
    fn is_empty(&self) -> bool {
        self.configured.is_empty() && self.hooks.is_empty()
    }

    /// Whether nothing stays of what stood under a name before.
    fn replace(&self, name: &[u8]) -> bool {
        self.configured.replace(name) || self.hooks.replaces(name)
    }

    /// Whether there is a change of a name.
    fn concern(&self, name: &[u8]) -> bool {
        self.configured.concern(name) || self.hooks.concern(name)
    }

    /// Writes what the policy adds, in lines of text, and hooks behind it.
    fn write_hooks(&self, of_policy: &[u8], out: &mut Vec<u8>) {
        if self.hooks.is_empty() {
            out.extend_from_slice(of_policy);
            return;
        }
        for line in of_policy.split_inclusive(|byte| *byte == b'\n') {
            let name = &line[..memchr::memchr(b':', line).unwrap_or(line.len())];
            if !self.hooks.replaces(name) {
                out.extend_from_slice(line);
            }
        }
        for change in self.hooks.remaining() {
            if !self.configured.replace(change.name) {
                append_line(change.name, change.value, out);
            }
        }
    }
}

/// Whether a field behind a server's body goes on to the client: none that the route or hooks set
/// or remove, and none that `Connection` names (RFC 9110 section 7.6.1).
pub(super) fn passes_as_trailer(
    name: &[u8],
    exchange: &Exchange,
    route: &Route,
    head: &ResponseHead,
) -> bool {
    let by_hooks = exchange.response_changes.borrow();
    let changes = HeadChanges {
        configured: Configured::of(exchange, Some(route), head.status()),
        hooks: &by_hooks,
    };
    !changes.replace(name) && !Listed::of(head.fields()).names(name)
}

fn is_http2(protocol: &[u8]) -> bool {
    protocol.eq_ignore_ascii_case(b"h2") || protocol.eq_ignore_ascii_case(b"h2c")
}

fn write_date(out: &mut Vec<u8>) {
    out.extend_from_slice(b"Date: ");
    clock::append_http_date(out);
    out.extend_from_slice(b"\r\n");
}
