//! What is left of a request once its answer has left.
//!
//! A client may send all of a request before it reads the answer: closing the connection under it
//! would reset it, and take the answer away. A small rest is therefore read and dropped, and the
//! connection kept; behind a large one the connection lingers.

use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use super::request::wants_keep_alive;
use super::state::Exchange;
use crate::data_plane::body::{BodyError, BodyProgress, Incoming, MAX_DROPPED};
use crate::data_plane::downstream::Session;
use crate::http::head::{FieldName, Version};

/// What becomes of the client's connection after an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectionFate {
    KeepAlive,
    Close,
    /// Close, but read on for a while: the client is still sending, and a reset would take the
    /// answer from it.
    Linger,
}

/// What the client got of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivered {
    /// All of it. `keep`: it was not told that the connection will be closed.
    Whole { keep: bool },
    /// Not all of it, or the client has used up its time.
    Cut,
}

/// How long, and at what pace, a client may go on sending what is read and dropped, be the
/// connection kept afterwards or closed (nginx: `lingering_time`, `lingering_timeout`).
pub(crate) const LINGERING_TIME: Duration = Duration::from_secs(30);
pub(crate) const LINGERING_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether the client's connection can be kept, so far as can be told before the answer. `body`:
/// the request's, if its end can be found.
pub(super) fn may_keep(
    session: &Session<'_>,
    exchange: &Exchange,
    body: Option<&BodyProgress>,
) -> bool {
    let comes = |body: &BodyProgress| {
        body.is_done()
            // A client that was not invited may send its body or leave it (RFC 9110 section
            // 10.1.1): what comes next could be either.
            || body.may_be_dropped() && !waits_for_invitation(exchange, session.incoming)
    };
    body.is_some_and(comes) && wants_keep_alive(exchange) && session.may_keep_alive()
}

/// What becomes of the connection. Reads and drops what is left of the request, if that is little.
pub(super) async fn settle(
    session: &mut Session<'_>,
    exchange: &Exchange,
    body: Option<BodyProgress>,
    delivered: Delivered,
) -> ConnectionFate {
    match (delivered, body) {
        (Delivered::Cut, _) => ConnectionFate::Close,
        // HTTP/2 declines the rest of a stream (RFC 9113 section 8.1), and goes on with others.
        _ if exchange.request.version() == Version::Http2 => ConnectionFate::KeepAlive,
        (Delivered::Whole { keep: true }, Some(body)) if body.is_done() => {
            ConnectionFate::KeepAlive
        }
        (Delivered::Whole { keep: false }, Some(body)) if body.is_done() => ConnectionFate::Close,
        (Delivered::Whole { keep: true }, Some(body)) => drop_rest(session, body).await,
        (Delivered::Whole { .. }, _) => ConnectionFate::Linger,
    }
}

/// Reads and drops the rest of a body, if its end is found soon.
async fn drop_rest(session: &mut Session<'_>, mut body: BodyProgress) -> ConnectionFate {
    let end = Instant::now() + LINGERING_TIME;
    let pace = session.limits().client_body_timeout.min(LINGERING_TIMEOUT);
    let listener_state = session.listener_state().clone();
    body.set_limit(Some(body.received.saturating_add(MAX_DROPPED)));
    let Session {
        incoming,
        alarm,
        worker,
        ..
    } = session;
    let mut sink = worker.buffers.take_body();
    let fate = loop {
        if body.is_done() {
            break ConnectionFate::KeepAlive;
        }
        // No further request is wanted.
        if listener_state.is_closing() {
            break ConnectionFate::Linger;
        }
        let before = body.received;
        // Ready with each piece: a client that goes on sending is given time to.
        let due = end.min(Instant::now() + pace);
        let piece = alarm.poll_until(due, |cx| {
            let dropped = body.poll_drop(cx, incoming, &mut sink, &worker.buffers);
            match dropped.is_pending() && body.received > before {
                true => Poll::Ready(Ok(())),
                false => dropped,
            }
        });
        match piece.await {
            Ok(Ok(())) => {}
            Ok(Err(BodyError::BadChunk(_) | BodyError::TooLarge(_))) => {
                break ConnectionFate::Linger;
            }
            Ok(Err(_)) | Err(_) => break ConnectionFate::Close,
        }
    };
    worker.buffers.give(sink);
    fate
}

/// Whether the client holds its body back until it is asked for it.
fn waits_for_invitation(exchange: &Exchange, incoming: &Incoming) -> bool {
    let fields = exchange.request.fields();
    exchange.request.version() != Version::Http10
        && !exchange.stats.invited.get()
        && incoming.unread().is_empty()
        && fields.lists(FieldName::Expect, b"100-continue")
}

/// Invites the client to send its body, if that is what it waits for.
///
/// # Errors
/// Where the client cannot be written to.
pub(super) async fn invite(session: &mut Session<'_>, exchange: &Exchange) -> std::io::Result<()> {
    if !waits_for_invitation(exchange, session.incoming) {
        return Ok(());
    }
    exchange.stats.invited.set(true);
    let mut text = b"HTTP/1.1 100 Continue\r\n\r\n".to_vec();
    let stats = &exchange.stats;
    stats
        .header_sent
        .set(stats.header_sent.get() + text.len() as u64);
    session.outgoing.write_interim(&mut text).await
}
