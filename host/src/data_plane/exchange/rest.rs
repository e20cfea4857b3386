//! What becomes of a client's connection once its answer has left, and of the rest of its request.
//!
//! A client may send all of a request before it reads the answer: closing the connection under it
//! would reset it, and take the answer away. A small rest is therefore read and dropped, and the
//! connection kept; behind a large one the connection lingers.

use super::request::wants_keep_alive;
use super::state::Exchange;
use crate::data_plane::body::{BodyPipe, Incoming, MAX_DROPPED};
use crate::data_plane::downstream::Session;
use crate::http::head::{FieldName, Version};

/// What becomes of the client's connection after an exchange.
#[derive(Debug)]
pub(crate) enum ConnectionFate {
    KeepAlive,
    /// Keep it once the rest of the request is read and dropped.
    DropRest(Box<BodyPipe>),
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

/// Whether the client's connection can be kept, so far as can be told before the answer. `body`:
/// the request's, if its end can be found.
pub(super) fn may_keep(
    session: &Session<'_>,
    exchange: &Exchange,
    body: Option<&BodyPipe>,
) -> bool {
    let comes = |body: &BodyPipe| {
        body.is_done()
            // A client that was not invited may send its body or leave it (RFC 9110 section
            // 10.1.1): what comes next could be either.
            || body.may_be_dropped() && !waits_for_invitation(exchange, session.incoming)
    };
    body.is_some_and(comes) && wants_keep_alive(exchange) && session.may_keep_alive()
}

/// What becomes of the connection. `body`: the request's, if its end can be found.
pub(super) fn fate(
    session: &Session<'_>,
    exchange: &Exchange,
    body: Option<BodyPipe>,
    delivered: Delivered,
) -> ConnectionFate {
    match (delivered, body) {
        (Delivered::Cut, _) => ConnectionFate::Close,
        // HTTP/2 declines the rest of a stream (RFC 9113 section 8.1), and goes on with others.
        _ if exchange.request.version() == Version::Http2 => ConnectionFate::KeepAlive,
        (Delivered::Whole { keep: true }, Some(body)) if body.is_done() => {
            ConnectionFate::KeepAlive
        }
        (Delivered::Whole { keep: false }, Some(body)) if body.is_done() => {
            // A further request that nobody reads would bring about a reset as well.
            match session.incoming.is_silent() {
                true => ConnectionFate::Close,
                false => ConnectionFate::Linger,
            }
        }
        (Delivered::Whole { keep: true }, Some(mut body)) if !body.is_broken() => {
            body.set_limit(Some(body.length.saturating_add(MAX_DROPPED)));
            ConnectionFate::DropRest(Box::new(body))
        }
        (Delivered::Whole { .. }, _) => ConnectionFate::Linger,
    }
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
