//! Answers of our own: what the configuration says, and what becomes of faults.

use super::fault::reason;
use super::head::{ClientHead, HeadKind, HeadSource, route_of};
use super::request::line;
use super::rest::{Delivered, may_keep};
use super::state::{Exchange, SentBytes};
use crate::data_plane::body::{BodyProgress, Coding};
use crate::data_plane::downstream::Session;
use crate::http::grpc;

/// An answer of our own.
pub(super) struct LocalAnswer<'a> {
    pub(super) status: u16,
    pub(super) content_type: &'a str,
    pub(super) body: &'a [u8],
    /// Empty for none.
    pub(super) location: &'a [u8],
    /// Another request can be told from this one, if there is little left of it.
    pub(super) keep: bool,
}

/// Sends an answer of our own. What is still coming of the request is dropped meanwhile: the client
/// may send all of it before it reads.
pub(super) async fn send_local(
    session: &mut Session<'_>,
    exchange: &Exchange,
    request_body: Option<&mut BodyProgress>,
    answer: &LocalAnswer<'_>,
) -> Delivered {
    let keep = answer.keep && may_keep(session, exchange, request_body.as_deref());
    let bodiless = matches!(answer.status, 100..=199 | 204 | 304);
    let mut length = itoa::Buffer::new();
    let (content_type, length) = match (bodiless, answer.body.is_empty()) {
        (true, _) => ("", ""),
        (false, true) => ("", "0"),
        (false, false) => (answer.content_type, length.format(answer.body.len())),
    };
    let worker_config = session.worker_config.clone();
    let head = ClientHead {
        status: answer.status,
        source: HeadSource::Ours(&[
            ("Server", b"waypost"),
            ("Content-Type", content_type.as_bytes()),
            ("Content-Length", length.as_bytes()),
            ("Location", answer.location),
        ]),
        kind: HeadKind::Final {
            coding: Coding::Plain,
            keeps_length: true,
            keep,
        },
        route: route_of(&worker_config, exchange),
    };
    let mut out = session.worker.buffers.take_head();
    head.write(exchange, &mut out);
    exchange.stats.status.set(answer.status);
    exchange.keep_sent_header(&out);
    let body = if bodiless || exchange.request.method() == b"HEAD" {
        &[]
    } else {
        answer.body
    };

    let Session {
        incoming,
        outgoing,
        worker,
        ..
    } = session;
    let mut dropping = request_body.filter(|body| !body.is_done());
    let mut sink = match dropping {
        Some(_) => worker.buffers.take_body(),
        None => Vec::new(),
    };
    let length = out.len();
    let written = match outgoing
        .writer
        .begin_response(&mut out, length, body.is_empty())
    {
        Ok(()) => {
            let sent = SentBytes::begin(exchange, outgoing, length - out.len(), out.len());
            outgoing.writer.end_with_next_write();
            let meanwhile = |cx: &mut std::task::Context<'_>| {
                if let Some(body) = &mut dropping {
                    // An error shows in `request_body`, and is all the same to the answer.
                    let _ = body.poll_drop(cx, incoming, &mut sink, &worker.buffers);
                }
            };
            let written = outgoing.write_while(&out, body, meanwhile).await;
            sent.count(exchange, outgoing);
            written
        }
        Err(error) => Err(error),
    };
    worker.buffers.give(out);
    worker.buffers.give(sink);
    exchange.stats.complete.set(written.is_ok());
    match written {
        Ok(()) => Delivered::Whole { keep },
        Err(_) => Delivered::Cut,
    }
}

/// Tells a call of gRPC of a fault: by trailers behind what was sent of a response, else by a
/// response that is trailers alone. The log keeps the status that HTTP has for it.
pub(super) fn send_grpc_fault(
    session: &mut Session<'_>,
    exchange: &Exchange,
    status: u16,
) -> Delivered {
    let mut code = itoa::Buffer::new();
    let code = code.format(grpc::status(status)).as_bytes();
    let writer = &mut session.outgoing.writer;
    let told = if exchange.stats.head_sent.get() {
        let mut trailers = Vec::new();
        line("grpc-status", code, &mut trailers);
        line("grpc-message", reason(status).as_bytes(), &mut trailers);
        writer.end(&trailers).map_err(std::io::Error::from)
    } else {
        let head = ClientHead {
            status: 200,
            source: HeadSource::Ours(&[
                ("Server", b"waypost"),
                ("Content-Type", b"application/grpc"),
                ("grpc-status", code),
                ("grpc-message", reason(status).as_bytes()),
            ]),
            kind: HeadKind::Final {
                coding: Coding::Plain,
                keeps_length: true,
                keep: true,
            },
            route: route_of(&session.worker_config, exchange),
        };
        let mut out = Vec::new();
        head.write(exchange, &mut out);
        exchange.keep_sent_header(&out);
        let length = out.len();
        let told = writer.begin_response(&mut out, length, true);
        if told.is_ok() {
            SentBytes::begin(exchange, session.outgoing, length, 0);
        }
        told
    };
    exchange.stats.complete.set(told.is_ok());
    Delivered::Cut
}
