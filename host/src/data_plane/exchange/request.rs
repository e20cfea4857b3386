//! The request's header on its way to an upstream: what came in less what ended here, framed anew.

use super::state::Exchange;
use crate::config::model::{HeaderChange, HeaderOperation, Route};
use crate::http::head::{
    Field, FieldName, Fields, RequestHead, Version, append_line, fold_alike, list_members,
};
use crate::http::headers::{is_of_bytes, is_value};
use crate::http::template::Template;

/// How the request's body goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyPlan {
    None,
    Length(u64),
    Chunked,
    /// To the end of the stream of HTTP/2 that carries it.
    Stream,
}

/// What shapes the header besides the exchange itself.
pub(super) struct RequestPlan<'a> {
    pub(super) method: &'a [u8],
    pub(super) target: &'a [u8],
    pub(super) body: BodyPlan,
    /// The client asks for another protocol, and may have it.
    pub(super) upgrade: bool,
    /// HTTP/2 carries it.
    pub(super) http2: bool,
    /// Of a WebSocket that a client asks for in HTTP/2, which knows no such key.
    pub(super) websocket_key: Option<&'a str>,
    pub(super) keep_alive: bool,
    /// The connection's peer is trusted: what it says of its client is believed.
    pub(super) trusted: bool,
    pub(super) changes: ConfiguredChanges<'a>,
}

/// What the configuration changes of the header: a route, and its listener where the route says
/// nothing of a field.
#[derive(Clone, Copy, Default)]
pub(super) struct ConfiguredChanges<'a> {
    listener: &'a [HeaderChange],
    route: &'a [HeaderChange],
}

impl<'a> ConfiguredChanges<'a> {
    pub(super) fn of(exchange: &'a Exchange, route: &'a Route) -> ConfiguredChanges<'a> {
        let listener = &exchange.worker_config.snapshot.config.listeners[exchange.listener];
        ConfiguredChanges {
            listener: &listener.request_headers,
            route: &route.request_headers,
        }
    }

    /// The changes, in order.
    fn iter(self) -> impl Iterator<Item = &'a HeaderChange> {
        let left = self.listener.iter().filter(move |change| {
            let same = |other: &HeaderChange| other.name.eq_ignore_ascii_case(&change.name);
            !self.route.iter().any(same)
        });
        left.chain(self.route)
    }
}

/// Writes the head of the request as an upstream gets it. Where it has a `traceparent` of ours, it is
/// told where that stands.
pub(super) fn write_request(
    exchange: &Exchange,
    outgoing: &RequestPlan<'_>,
    out: &mut Vec<u8>,
) -> Option<usize> {
    let fields = exchange.request.fields();
    for part in [outgoing.method, b" ", outgoing.target, b" HTTP/1.1\r\n"] {
        out.extend_from_slice(part);
    }
    let listed = Listed::of(fields);
    let drops_all = drops_all(outgoing.changes);
    let replaced = Replaced::by(outgoing.changes);
    let of_other_bytes = exchange.body_replaced.get();
    let set_by_us = |name: &str| replaced.has(name.as_bytes()) || fields.decides(name.as_bytes());

    let trace = exchange.trace();
    let injected = trace.and_then(|trace| Some((trace, trace.injected()?)));
    write_host(exchange, outgoing.changes, out);
    for field in fields.iter() {
        if goes_on(&field, fields, outgoing, &listed)
            && (!drops_all || field.ours)
            && (field.ours || !of_other_bytes || !is_of_bytes(field.name))
            && !replaced.has(field.name)
            && (field.ours || injected.is_none_or(|(trace, _)| trace.passes(field.name)))
            && (field.plain
                || field.ours
                || !passes_for_ours(field.name, outgoing.changes, &listed))
        {
            field.append_line(out);
        }
    }
    match outgoing.body {
        BodyPlan::None | BodyPlan::Stream => {}
        BodyPlan::Length(length) => line(
            "Content-Length",
            itoa::Buffer::new().format(length).as_bytes(),
            out,
        ),
        BodyPlan::Chunked => line("Transfer-Encoding", b"chunked", out),
    }
    if outgoing.http2 && fields.lists(FieldName::Te, b"trailers") {
        line("TE", b"trailers", out);
    }
    if let Some(key) = outgoing.websocket_key {
        line("Sec-WebSocket-Key", key.as_bytes(), out);
    }
    if outgoing.upgrade {
        out.extend_from_slice(b"Connection: upgrade\r\n");
    } else if !outgoing.keep_alive {
        out.extend_from_slice(b"Connection: close\r\n");
    }
    write_forwarded(exchange, outgoing.trusted, &set_by_us, out);
    let traceparent = injected.filter(|_| !set_by_us("traceparent"));
    let traceparent = traceparent.map(|(_, parent)| {
        out.extend_from_slice(b"traceparent: ");
        let at = out.len();
        parent.append(out);
        out.extend_from_slice(b"\r\n");
        at
    });
    let others = outgoing.changes.iter().filter(|change| !is_host(change));
    write_changes(exchange, others, out);
    out.extend_from_slice(b"\r\n");
    traceparent
}

/// The host that was asked for goes on as it was written, port included, unless the route has
/// another. HTTP/1.1 requires one (RFC 9112 section 3.2) and HTTP/2 cannot say that there is none:
/// where the request names none, the upstream's name takes its place (nginx: `$proxy_host`).
fn write_host(exchange: &Exchange, changes: ConfiguredChanges<'_>, out: &mut Vec<u8>) {
    let set = changes.iter().find(|change| is_host(change));
    if let Some(HeaderOperation::Set(value)) = set.map(|change| &change.operation)
        && write_change(exchange, "Host", value, out)
    {
        return;
    }
    match exchange.authority() {
        b"" => {
            let upstream = exchange.proxy_host.borrow();
            let name = upstream.as_deref().unwrap_or_default();
            line("Host", name.as_bytes(), out);
        }
        host => line("Host", host, out),
    }
}

/// The configuration takes no other change of it than `set`.
fn is_host(change: &HeaderChange) -> bool {
    change.name.eq_ignore_ascii_case("host")
}

/// Whether nothing of what the client has sent goes on: `remove = ["*"]`.
fn drops_all(changes: ConfiguredChanges<'_>) -> bool {
    let is_all = |change: &HeaderChange| {
        change.name == "*" && matches!(change.operation, HeaderOperation::Remove)
    };
    changes.iter().any(is_all)
}

/// Whether nothing of what was received under a name goes on.
fn replaces(change: &HeaderChange) -> bool {
    !matches!(change.operation, HeaderOperation::Add(_))
}

/// The names under which nothing of what was received goes on.
struct Replaced<'a> {
    changes: ConfiguredChanges<'a>,
    /// A bit for the length of each, the last one for all longer ones: most names that are looked for
    /// are as long as none of them.
    lengths: u64,
}

impl<'a> Replaced<'a> {
    fn by(changes: ConfiguredChanges<'a>) -> Replaced<'a> {
        let replacing = changes.iter().filter(|change| replaces(change));
        let lengths = replacing.fold(0, |bits, change| bits | length_bit(change.name.len()));
        Replaced { changes, lengths }
    }

    fn has(&self, name: &[u8]) -> bool {
        if self.lengths & length_bit(name.len()) == 0 {
            return false;
        }
        let mut replacing = self.changes.iter().filter(|change| replaces(change));
        replacing.any(|change| change.name.as_bytes().eq_ignore_ascii_case(name))
    }
}

fn length_bit(length: usize) -> u64 {
    1 << length.min(63)
}

/// Whether a server that folds names would take a field for one that is set or stripped here: by
/// the proxy, by the route, or because `Connection` names it.
fn passes_for_ours(name: &[u8], changes: ConfiguredChanges<'_>, listed: &Listed<'_>) -> bool {
    FieldName::folded(name) != FieldName::Other || passes_for_dropped(name, changes, listed)
}

/// Whether a server that folds names would take a field for one that the route sets or strips, or
/// that `Connection` names.
fn passes_for_dropped(name: &[u8], changes: ConfiguredChanges<'_>, listed: &Listed<'_>) -> bool {
    let mut replacing = changes.iter().filter(|change| replaces(change));
    replacing.any(|change| fold_alike(change.name.as_bytes(), name)) || listed.names_alike(name)
}

/// Whether a field behind the request's body goes on: many servers join trailers to the header,
/// where the word of the route, of a hook or of `Connection` (RFC 9110 section 7.6.1) would be lost.
/// What frames or routes a message never gets this far: see
/// [`clean_trailers`](crate::http::head::clean_trailers).
pub(super) fn passes_as_trailer(
    name: &[u8],
    fields: &Fields,
    changes: ConfiguredChanges<'_>,
    listed: &Listed<'_>,
) -> bool {
    !drops_all(changes) && !passes_for_dropped(name, changes, listed) && !fields.decides(name)
}

/// Names the client to the upstream. What the peer says of the client counts only if the peer is
/// trusted.
fn write_forwarded(
    exchange: &Exchange,
    trusted: bool,
    set_by_us: &dyn Fn(&str) -> bool,
    out: &mut Vec<u8>,
) {
    let fields = exchange.request.fields();
    if !set_by_us("x-forwarded-for") {
        let reported = fields.believed(FieldName::XForwardedFor, trusted);
        let reported = reported.filter(|value| !value.is_empty());
        // The chain names each hop, so the address that is added is always the one of the peer
        // itself. A peer on a unix socket has none.
        let peer = exchange
            .client
            .ip
            .map(|_| exchange.client.address_text.as_bytes());
        let before = out.len();
        out.extend_from_slice(b"X-Forwarded-For: ");
        let empty = out.len();
        for address in reported.chain(peer) {
            if out.len() > empty {
                out.extend_from_slice(b", ");
            }
            out.extend_from_slice(address);
        }
        if out.len() > empty {
            out.extend_from_slice(b"\r\n");
        } else {
            out.truncate(before);
        }
    }
    if !set_by_us("x-real-ip") && exchange.remote_ip().is_some() {
        line("X-Real-IP", exchange.remote_address().as_bytes(), out);
    }
    let first = |known| fields.believed(known, trusted).next();
    if !set_by_us("x-forwarded-proto") {
        line(
            "X-Forwarded-Proto",
            first(FieldName::XForwardedProto).unwrap_or(exchange.scheme().as_bytes()),
            out,
        );
    }
    let host = first(FieldName::XForwardedHost).unwrap_or_else(|| exchange.received_authority());
    if !set_by_us("x-forwarded-host") && !host.is_empty() {
        line("X-Forwarded-Host", host, out);
    }
}

/// Whether a field is passed on as it stands.
fn goes_on(
    field: &Field<'_>,
    fields: &Fields,
    outgoing: &RequestPlan<'_>,
    listed: &Listed<'_>,
) -> bool {
    match field.known {
        FieldName::Connection
        | FieldName::ContentLength
        | FieldName::Expect
        | FieldName::Host
        | FieldName::KeepAlive
        | FieldName::ProxyConnection
        | FieldName::Te
        | FieldName::TransferEncoding => false,
        // They are written anew, unless it is ours that stands in their place.
        FieldName::XForwardedFor
        | FieldName::XForwardedHost
        | FieldName::XForwardedProto
        | FieldName::XRealIp => field.ours && fields.decides(field.name),
        FieldName::Upgrade => outgoing.upgrade,
        FieldName::Trailer => matches!(outgoing.body, BodyPlan::Chunked | BodyPlan::Stream),
        // Its use is between one HTTP/1 peer and the next, and there is one.
        FieldName::SecWebSocketKey => !outgoing.http2 && outgoing.websocket_key.is_none(),
        // Frameworks believe them as they do those that are written here.
        FieldName::Forwarded | FieldName::XForwarded => {
            field.ours || outgoing.trusted && !listed.names(field.name)
        }
        FieldName::Authorization
        | FieldName::ContentRange
        | FieldName::Cookie
        | FieldName::Date
        | FieldName::IfModifiedSince
        | FieldName::IfRange
        | FieldName::IfUnmodifiedSince
        | FieldName::SecWebSocketAccept
        | FieldName::Server
        | FieldName::Other => field.ours || !listed.names(field.name),
    }
}

/// The fields that `Connection` names, which end here with it (RFC 9110 section 7.6.1).
pub(super) struct Listed<'a> {
    fields: Option<&'a Fields>,
}

impl<'a> Listed<'a> {
    pub(super) fn of(fields: &'a Fields) -> Listed<'a> {
        let usual = |value: &[u8]| {
            value.eq_ignore_ascii_case(b"keep-alive")
                || value.eq_ignore_ascii_case(b"close")
                || value.eq_ignore_ascii_case(b"upgrade")
        };
        // Nearly always it names options, not fields: then there is nothing to look up for each
        // field.
        let only_options = fields
            .known(FieldName::Connection)
            .all(|value| list_members(value).all(usual));
        Listed {
            fields: (!only_options).then_some(fields),
        }
    }

    pub(super) fn names(&self, name: &[u8]) -> bool {
        self.fields
            .is_some_and(|fields| fields.lists(FieldName::Connection, name))
    }

    /// Whether one is named that a reader which folds names takes for the same.
    fn names_alike(&self, name: &[u8]) -> bool {
        let listed = self.fields.into_iter();
        listed
            .flat_map(|fields| fields.known(FieldName::Connection))
            .flat_map(list_members)
            .any(|member| fold_alike(member, name))
    }
}

/// Writes what `set` and `add` ask for.
pub(super) fn write_changes<'a>(
    exchange: &Exchange,
    changes: impl IntoIterator<Item = &'a HeaderChange>,
    out: &mut Vec<u8>,
) {
    for change in changes {
        if let HeaderOperation::Set(value) | HeaderOperation::Add(value) = &change.operation {
            write_change(exchange, &change.name, value, out);
        }
    }
}

/// Writes a field. One that would be empty, or that HTTP does not allow, which only a variable can
/// bring about, is left out; false then.
fn write_change(exchange: &Exchange, name: &str, value: &Template, out: &mut Vec<u8>) -> bool {
    let before = out.len();
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    let start = out.len();
    value.render(exchange, out);
    let written = out.len() > start && is_value(&out[start..]);
    if written {
        out.extend_from_slice(b"\r\n");
    } else {
        out.truncate(before);
    }
    written
}

pub(super) fn line(name: &str, value: &[u8], out: &mut Vec<u8>) {
    append_line(name.as_bytes(), value, out);
}

/// Whether a request asks for another protocol on its connection (RFC 9110 section 7.8), or on its
/// stream (RFC 8441). An upgrade to HTTP/2 (`h2c`) is ignored, as RFC 9113 has it: on a connection
/// that changed over, requests would pass without routing and without limits.
pub(super) fn asks_to_switch(request: &RequestHead) -> bool {
    let fields = request.fields();
    let connection = match request.version() {
        Version::Http10 => false,
        Version::Http11 => fields.lists(FieldName::Connection, b"upgrade"),
        // It cannot have the field unless that is what it asks for.
        Version::Http2 => true,
    };
    connection
        && fields.known(FieldName::Upgrade).next().is_some()
        && !fields.lists(FieldName::Upgrade, b"h2c")
}

/// Whether the client's connection can be kept for another request, as far as the request says.
pub(super) fn wants_keep_alive(exchange: &Exchange) -> bool {
    let fields = exchange.request.fields();
    match exchange.request.version() {
        Version::Http2 => true,
        Version::Http11 => !fields.lists(FieldName::Connection, b"close"),
        Version::Http10 => {
            fields.lists(FieldName::Connection, b"keep-alive")
                && !fields.lists(FieldName::Connection, b"close")
        }
    }
}
