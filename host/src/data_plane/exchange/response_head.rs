//! The header that the client gets: framed anew, as its version has it.

use super::fault::reason;
use super::request::{Listed, line, line_bytes, write_changes};
use super::response::ResponsePlan;
use super::state::Exchange;
use crate::config::model::{HeaderChange, HeaderOperation};
use crate::data_plane::body::Coding;
use crate::http::head::{FieldName, ResponseHead, Version};
use crate::http::{clock, websocket};

pub(super) fn write_head(
    exchange: &Exchange,
    head: &ResponseHead,
    answer: &ResponsePlan<'_>,
    keep: bool,
    coding: Coding,
    out: &mut Vec<u8>,
) {
    write_status(head.status(), Some(head.reason()), out);
    let fields = head.fields();
    let listed = Listed::of(fields);
    let http2 = exchange.request.version() == Version::Http2;
    let mut dated = false;
    for field in fields.iter() {
        let passes = match field.known {
            known if known.is_of_connection() => false,
            // It describes the body that a HEAD request did not get, or one whose length is passed
            // on as it is.
            FieldName::ContentLength => answer.framing.length().is_some() && head.status() != 204,
            FieldName::Trailer => coding == Coding::Chunked || http2,
            _ => !listed.names(field.name),
        };
        let replaced = |change: &HeaderChange| {
            !matches!(change.operation, HeaderOperation::Add(_))
                && change.name.as_bytes().eq_ignore_ascii_case(field.name)
        };
        let ours = exchange.hsts.is_some() && field.name.eq_ignore_ascii_case(HSTS);
        if passes && !ours && !answer.changes.iter().any(replaced) {
            dated |= field.known == FieldName::Date;
            line_bytes(field.name, field.value, out);
        }
    }
    if !dated {
        write_date(out);
    }
    if coding == Coding::Chunked {
        out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
    }
    write_hsts(exchange, answer.changes, out);
    write_connection(exchange, keep, out);
    out.extend_from_slice(&exchange.balance.response_headers());
    write_changes(exchange, answer.changes, out);
    out.extend_from_slice(b"\r\n");
}

pub(super) fn write_status(status: u16, given: Option<&[u8]>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(given.unwrap_or_else(|| reason(status).as_bytes()));
    out.extend_from_slice(b"\r\n");
}

pub(super) fn write_date(out: &mut Vec<u8>) {
    out.extend_from_slice(b"Date: ");
    clock::append_http_date(out);
    out.extend_from_slice(b"\r\n");
}

const HSTS: &[u8] = b"Strict-Transport-Security";

/// What the listener says of TLS, unless the route says it otherwise.
pub(super) fn write_hsts(exchange: &Exchange, changes: &[HeaderChange], out: &mut Vec<u8>) {
    let changed = |change: &HeaderChange| change.name.as_bytes().eq_ignore_ascii_case(HSTS);
    if let Some(hsts) = &exchange.hsts
        && !changes.iter().any(changed)
    {
        line_bytes(HSTS, hsts.as_bytes(), out);
    }
}

/// Says only what the version does not imply.
pub(super) fn write_connection(exchange: &Exchange, keep: bool, out: &mut Vec<u8>) {
    match (keep, exchange.request.version()) {
        (true, Version::Http11) => {}
        (true, Version::Http10) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        (_, Version::Http2) => {}
        (false, _) => out.extend_from_slice(b"Connection: close\r\n"),
    }
}

/// Writes the head that tells the client of its tunnel, less what ends here; returns its status.
/// HTTP/1.1 says 101 and the protocol's name, HTTP/2 says 200 (RFC 8441 section 5).
pub(super) fn write_switching(exchange: &Exchange, head: &ResponseHead, out: &mut Vec<u8>) -> u16 {
    let http1 = exchange.request.version() != Version::Http2;
    let status = if http1 { 101 } else { 200 };
    write_status(status, None, out);
    for field in head.fields().iter() {
        let passes = match field.known {
            FieldName::ContentLength => false,
            FieldName::Upgrade | FieldName::SecWebSocketAccept => http1,
            known => !known.is_of_connection(),
        };
        if passes {
            line_bytes(field.name, field.value, out);
        }
    }
    if http1 && head.version() == Version::Http2 {
        let asked = exchange.request.fields();
        if let Some(protocol) = asked.known(FieldName::Upgrade).next() {
            line("Upgrade", protocol, out);
        }
        if let Some(key) = asked.known(FieldName::SecWebSocketKey).next() {
            line(
                "Sec-WebSocket-Accept",
                websocket::accept(key).as_bytes(),
                out,
            );
        }
    }
    if http1 {
        out.extend_from_slice(b"Connection: upgrade\r\n");
    }
    out.extend_from_slice(b"\r\n");
    status
}
