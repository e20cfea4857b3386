//! Answers of our own: what the configuration says, and what becomes of faults.

use std::rc::Rc;

use super::deliver::{Delivery, HeldAnswer};
use super::error_page;
use super::fault::{Fault, reason};
use super::head::{ClientHead, HeadKind, HeadSource, route_of};
use super::request::line;
use super::rest::{Delivered, may_keep};
use super::source::{Dropping, LocalBody, LocalResponse, PassError, ResponseSource};
use super::state::{Exchange, SentBytes};
use crate::config::model::CLOSE;
use crate::data_plane::body::{BodyPipe, Coding, Encoder, Stopped};
use crate::data_plane::downstream::Session;
use crate::data_plane::upstream::Failure;
use crate::http::framing::Framing;
use crate::http::grpc;
use crate::plugin::HookAnswer;

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

impl<'a> LocalAnswer<'a> {
    /// Plain text.
    pub(super) fn text(status: u16, body: &'a [u8]) -> LocalAnswer<'a> {
        LocalAnswer {
            status,
            content_type: "text/plain",
            body,
            location: b"",
            keep: true,
        }
    }
}

/// An error that is told by its status.
pub(super) struct LocalFault<'a> {
    pub(super) status: u16,
    /// A further field of the head where there is no page; left out without a value.
    pub(super) field: (&'a str, &'a [u8]),
    /// What the client is told beyond the status.
    pub(super) explanation: Option<&'static str>,
    /// As in [`LocalAnswer`].
    pub(super) keep: bool,
}

/// The head of an answer of our own.
pub(super) struct OwnHead<'a> {
    pub(super) status: u16,
    /// Names and values; a field without a value is left out.
    pub(super) lines: &'a [(&'a str, &'a [u8])],
    /// As in [`LocalAnswer`].
    pub(super) keep: bool,
    /// As in [`Delivery`].
    pub(super) held: Option<HeldAnswer<'a>>,
}

/// Answers 200 with a text of our own.
pub(super) async fn send_text(
    session: &mut Session<'_>,
    exchange: &Rc<Exchange>,
    request_body: &mut BodyPipe,
    content_type: &str,
    text: &str,
) -> Delivered {
    let answer = LocalAnswer {
        status: 200,
        content_type,
        body: text.as_bytes(),
        location: b"",
        keep: true,
    };
    send_local(session, exchange, Some(request_body), &answer).await
}

/// Sends an answer of our own that is there as a whole.
pub(super) async fn send_local(
    session: &mut Session<'_>,
    exchange: &Rc<Exchange>,
    request_body: Option<&mut BodyPipe>,
    answer: &LocalAnswer<'_>,
) -> Delivered {
    send_whole(session, exchange, request_body, answer, ("", b"")).await
}

/// As [`send_local`], with a further field in the head unless its value is empty.
pub(super) async fn send_whole(
    session: &mut Session<'_>,
    exchange: &Rc<Exchange>,
    request_body: Option<&mut BodyPipe>,
    answer: &LocalAnswer<'_>,
    field: (&str, &[u8]),
) -> Delivered {
    let bodiless = matches!(answer.status, 100..=199 | 204 | 304);
    let mut length = itoa::Buffer::new();
    let (content_type, length) = match (bodiless, answer.body.is_empty()) {
        (true, _) => ("", ""),
        (false, true) => ("", "0"),
        (false, false) => (answer.content_type, length.format(answer.body.len())),
    };
    let head = OwnHead {
        status: answer.status,
        lines: &[
            ("Server", b"waypost"),
            ("Content-Type", content_type.as_bytes()),
            ("Content-Length", length.as_bytes()),
            ("Location", answer.location),
            field,
        ],
        keep: answer.keep,
        held: None,
    };
    let body: &[u8] = if bodiless || exchange.request.method() == b"HEAD" {
        &[]
    } else {
        answer.body
    };
    let body = (LocalBody::Bytes(body), body.len() as u64);
    send(session, exchange, request_body, &head, body).await
}

/// Sends the client elsewhere for good. A method that changes something must stay what it is (RFC
/// 9110 section 15.4.9); GET and HEAD get the status that every client knows.
pub(super) async fn redirect(
    session: &mut Session<'_>,
    exchange: &Rc<Exchange>,
    location: &[u8],
    request_body: Option<&mut BodyPipe>,
) -> Delivered {
    let answer = LocalAnswer {
        location,
        ..LocalAnswer::text(redirect_status(exchange), b"")
    };
    send_local(session, exchange, request_body, &answer).await
}

/// That of a redirect of our own: a method that may have a body keeps it.
pub(super) fn redirect_status(exchange: &Exchange) -> u16 {
    match exchange.request.received_method() {
        b"GET" | b"HEAD" => 301,
        _ => 308,
    }
}

/// Sends an answer of our own, with so many bytes of a body. What is still coming of the request is
/// dropped meanwhile: the client may send all of it before it reads.
pub(super) async fn send(
    session: &mut Session<'_>,
    exchange: &Rc<Exchange>,
    request_body: Option<&mut BodyPipe>,
    head: &OwnHead<'_>,
    (body, length): (LocalBody<'_>, u64),
) -> Delivered {
    let keep = head.keep && may_keep(session, exchange, request_body.as_deref());
    let worker_config = session.worker_config.clone();
    let client_head = ClientHead {
        status: head.status,
        source: HeadSource::Ours(head.lines),
        kind: HeadKind::Final {
            coding: Coding::Plain,
            keeps_length: true,
            keep,
        },
        route: route_of(&worker_config, exchange),
    };
    let mut out = session.worker.buffers.take_head();
    exchange.stats.status.set(head.status);
    client_head.write(exchange, &mut out);

    let Session {
        incoming,
        outgoing,
        worker,
        ..
    } = session;
    let mut request_body = request_body;
    let request = request_body.as_deref_mut().filter(|body| !body.is_done());
    let mut source = ResponseSource::Ours(LocalResponse {
        body,
        request: request.map(|body| {
            // The route's limit is on what a server gets.
            body.set_limit(None);
            Dropping {
                body,
                incoming,
                buffers: &worker.buffers,
            }
        }),
    });
    let mut delivery = Delivery {
        outgoing,
        exchange,
        buffers: &worker.buffers,
        encoder: Encoder::PLAIN,
        closes: false,
        held: head.held,
    };
    let mut response_body = BodyPipe::of_response(Framing::Length(length));
    let passed = delivery
        .pass(&mut response_body, &mut source, &mut out)
        .await;
    let keep = keep && !delivery.closes;
    worker.buffers.give(out);
    source.release(&worker.buffers);
    exchange.stats.complete.set(passed.is_ok());
    match passed {
        Ok(()) => Delivered::Whole { keep },
        Err(PassError::NothingSent(Failure::Stopped(stopped))) => {
            drop(source);
            // Few exchanges get here: the others need not carry the room for it.
            Box::pin(instead(session, exchange, request_body, stopped)).await
        }
        Err(error) => {
            if let PassError::File(failure) = error {
                exchange.error(&failure, None);
                // It is not what it was when it was opened: the next one opens it anew.
                worker.open_files.clear();
            }
            Delivered::Cut
        }
    }
}

/// Answers in place of an answer of our own that a hook does not let pass.
async fn instead(
    session: &mut Session<'_>,
    exchange: &Rc<Exchange>,
    request_body: Option<&mut BodyPipe>,
    stopped: Box<Stopped>,
) -> Delivered {
    let fault = Fault::Attempt(Failure::Stopped(stopped));
    let said = match fault.into_answer() {
        Ok(HookAnswer { status: CLOSE, .. }) => return Delivered::Cut,
        Ok(HookAnswer { status, body }) if status < 400 || !body.is_empty() => {
            let answer = LocalAnswer::text(status, &body);
            return send_local(session, exchange, request_body, &answer).await;
        }
        Ok(HookAnswer { status, .. }) => Fault::Said(status),
        Err(fault) => {
            exchange.error(&fault, None);
            fault
        }
    };
    let fault = LocalFault {
        status: said.status(),
        field: ("", b""),
        explanation: None,
        keep: true,
    };
    send_fault(session, exchange, request_body, &fault).await
}

/// Answers with the page of a status, or else tells it in a few words.
pub(super) async fn send_fault(
    session: &mut Session<'_>,
    exchange: &Rc<Exchange>,
    request_body: Option<&mut BodyPipe>,
    fault: &LocalFault<'_>,
) -> Delivered {
    let status = fault.status;
    if exchange.is_grpc() {
        return send_grpc_fault(session, exchange, status);
    }
    let mut request_body = request_body;
    let page = error_page::send(session, exchange, &mut request_body, status, fault.keep);
    if let Some(sent) = page.await {
        return sent;
    }
    let reason = reason(status);
    let body = match fault.explanation {
        Some(explanation) => format!("{status} {reason}\n{explanation}\n"),
        None => format!("{status} {reason}\n"),
    };
    let answer = LocalAnswer {
        keep: fault.keep,
        ..LocalAnswer::text(status, body.as_bytes())
    };
    send_whole(session, exchange, request_body, &answer, fault.field).await
}

/// Answers as a hook has said, with its changes to the response: 444 closes the connection without
/// an answer, as in nginx.
///
/// # Errors
/// [`Fault::Said`]: an error without a body, which is one of our own.
pub(super) async fn answer(
    session: &mut Session<'_>,
    exchange: &Rc<Exchange>,
    (status, body): (u16, &[u8]),
    request_body: &mut BodyPipe,
) -> Result<Delivered, Fault> {
    exchange.stats.status.set(status);
    Ok(match (status, body) {
        (CLOSE, _) => Delivered::Cut,
        (400.., []) => return Err(Fault::Said(status)),
        _ => {
            let answer = LocalAnswer::text(status, body);
            send_local(session, exchange, Some(request_body), &answer).await
        }
    })
}

/// Tells a call of gRPC of a fault: by trailers behind what was sent of a response, else by a
/// response that is trailers alone. The log keeps the status that HTTP has for it.
fn send_grpc_fault(session: &mut Session<'_>, exchange: &Rc<Exchange>, status: u16) -> Delivered {
    let mut code = itoa::Buffer::new();
    let code = code.format(grpc::status(status)).as_bytes();
    let writer = &mut session.outgoing.writer;
    let sent = if exchange.stats.head_sent.get() {
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
        let sent = writer.begin_response(&mut out, length, true);
        if sent.is_ok() {
            SentBytes::begin(exchange, session.outgoing, length, 0);
        }
        sent
    };
    exchange.stats.complete.set(sent.is_ok());
    Delivered::Cut
}
