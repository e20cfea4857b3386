//! Answers of our own: what the configuration says, and what becomes of faults.

use super::ConnectionFate;
use super::fault::reason;
use super::request::{line, write_changes};
use super::response_head::{write_connection, write_date, write_hsts, write_status};
use super::state::Exchange;
use crate::data_plane::downstream::Session;
use crate::data_plane::stream::StreamError;
use crate::http::grpc;

/// An answer of our own.
pub(super) struct LocalAnswer<'a> {
    pub(super) status: u16,
    pub(super) content_type: &'a str,
    pub(super) body: &'a [u8],
    /// Empty for none.
    pub(super) location: &'a [u8],
    /// The connection may be kept.
    pub(super) keep: bool,
}

/// Sends an answer of our own.
pub(super) async fn send_local(
    session: &mut Session<'_>,
    exchange: &Exchange,
    answer: &LocalAnswer<'_>,
) -> ConnectionFate {
    let keep = answer.keep && session.may_keep_alive();
    let bodiless = matches!(answer.status, 100..=199 | 204 | 304);
    let mut out = session.worker.buffers.take_head();
    write_status(answer.status, None, &mut out);
    out.extend_from_slice(b"Server: waypost\r\n");
    write_date(&mut out);
    if !bodiless {
        if !answer.body.is_empty() {
            line("Content-Type", answer.content_type.as_bytes(), &mut out);
        }
        line(
            "Content-Length",
            itoa::Buffer::new().format(answer.body.len()).as_bytes(),
            &mut out,
        );
    }
    if crate::http::headers::is_value(answer.location) && !answer.location.is_empty() {
        line("Location", answer.location, &mut out);
    }
    write_connection(exchange, keep, &mut out);
    let worker_config = session.worker_config.clone();
    let changes = match exchange.stats.route.get() {
        Some(route) => worker_config.snapshot.config.routes[route]
            .response_headers
            .as_slice(),
        None => &[],
    };
    write_hsts(exchange, changes, &mut out);
    write_changes(exchange, changes, &mut out);
    out.extend_from_slice(b"\r\n");

    let body = if bodiless || exchange.request.method() == b"HEAD" {
        &[]
    } else {
        answer.body
    };
    exchange.stats.status.set(answer.status);
    exchange.stats.header_sent.set(out.len() as u64);
    exchange.keep_sent_header(&out);
    let written = match session.outgoing.writer.http2() {
        None => session.outgoing.write_alone(&out, body).await,
        Some(stream) => match stream.send_head(&out, body.is_empty()) {
            Ok(()) => {
                stream.end_with_next_write();
                session.outgoing.write_alone(body, &[]).await
            }
            Err(error) => Err(error.into()),
        },
    };
    session.worker.buffers.give(out);
    exchange.stats.complete.set(written.is_ok());
    if written.is_ok() {
        exchange.stats.body_sent.set(body.len() as u64);
    }
    if written.is_ok() && keep {
        ConnectionFate::KeepAlive
    } else {
        ConnectionFate::Close
    }
}

/// Tells a call of gRPC of a fault, by trailers alone if nothing was sent yet. The log keeps the
/// status that HTTP has for it.
pub(super) fn send_grpc_fault(
    session: &Session<'_>,
    exchange: &Exchange,
    status: u16,
) -> ConnectionFate {
    let mut trailers = Vec::new();
    line(
        "grpc-status",
        itoa::Buffer::new().format(grpc::status(status)).as_bytes(),
        &mut trailers,
    );
    line("grpc-message", reason(status).as_bytes(), &mut trailers);
    let mut out = Vec::new();
    write_status(200, None, &mut out);
    out.extend_from_slice(b"Server: waypost\r\nContent-Type: application/grpc\r\n");
    write_date(&mut out);
    write_hsts(exchange, &[], &mut out);
    out.extend_from_slice(&trailers);
    out.extend_from_slice(b"\r\n");
    if let Some(stream) = session.outgoing.writer.http2() {
        let told = match stream.send_head(&out, true) {
            Err(StreamError::Ended) => stream.end(&trailers),
            told => told,
        };
        exchange.stats.header_sent.set(out.len() as u64);
        exchange.stats.complete.set(told.is_ok());
        exchange.keep_sent_header(&out);
    }
    ConnectionFate::Close
}
