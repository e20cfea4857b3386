//! The heads that an endpoint answers with: interim ones, which are passed on, and the final one,
//! which says what follows.

use std::io;
use std::rc::Rc;

use super::head::{ClientHead, HeadKind, HeadSource};
use super::message::UpstreamMessage;
use super::state::Exchange;
use crate::data_plane::downstream::Outgoing;
use crate::data_plane::upstream::{
    Attempt, AttemptError, Failure, MAX_INTERIM, ReadLimits, Upload,
};
use crate::http::framing::{self, Framing};
use crate::http::head::{FieldName, ResponseHead, Version};
use crate::http::websocket;

/// What a response's head says will come.
pub(super) enum HeadOutcome {
    Body(Framing),
    /// Another protocol, in both directions.
    Tunnel,
}

/// Reads heads up to the final one, while the request goes on, and passes interim ones on.
pub(super) async fn read_final_head(
    attempt: &mut Attempt,
    upload: &mut Upload<'_>,
    head: &mut ResponseHead,
    limits: &ReadLimits,
    message: &UpstreamMessage<'_>,
    exchange: &Rc<Exchange>,
    outgoing: &mut Outgoing,
) -> Result<HeadOutcome, AttemptError> {
    for _ in 0..MAX_INTERIM {
        attempt.read_head(upload, head, limits).await?;
        let next = what_follows(head, message, exchange);
        match next.map_err(|failure| attempt.error(failure))? {
            Some(next) => return Ok(next),
            // The client's expectation was answered here (RFC 9110 section 10.1.1), and HTTP/1.0
            // knows no interim responses.
            None if head.status() == 100 || exchange.request.version() == Version::Http10 => {}
            None => {
                // A client that is gone will be noticed soon enough.
                let _ = send_interim(outgoing, exchange, head).await;
            }
        }
    }
    Err(attempt.error(Failure::TooManyInterim))
}

/// What follows a head; none where another head does.
fn what_follows(
    head: &ResponseHead,
    message: &UpstreamMessage<'_>,
    exchange: &Exchange,
) -> Result<Option<HeadOutcome>, Failure> {
    match head.status() {
        101 if message.upgrade.is_some() && !message.http2 => {
            let answer = head.fields().known(FieldName::SecWebSocketAccept).next();
            let right = |key: &str| answer == Some(websocket::accept(key.as_bytes()).as_bytes());
            match message.websocket_key.is_none_or(right) {
                true => Ok(Some(HeadOutcome::Tunnel)),
                false => Err(Failure::WrongWebSocketKey),
            }
        }
        200..=299 if message.upgrade.is_some() && message.http2 => Ok(Some(HeadOutcome::Tunnel)),
        // It would tell a client of HTTP/2 that its tunnel is open (RFC 8441 section 5).
        status @ 200..=299
            if message.upgrade.is_some() && exchange.request.version() == Version::Http2 =>
        {
            Err(Failure::UpgradeIgnored(status))
        }
        101 => Err(Failure::UnaskedUpgrade),
        100..=199 => Ok(None),
        _ => framing::of_response(head, exchange.request.method())
            .map(|framing| Some(HeadOutcome::Body(framing)))
            .map_err(Failure::InvalidFraming),
    }
}

/// Passes an interim response on (1xx; RFC 9110 section 15.2).
async fn send_interim(
    outgoing: &mut Outgoing,
    exchange: &Rc<Exchange>,
    head: &ResponseHead,
) -> io::Result<()> {
    let mut out = Vec::with_capacity(head.len() + 16);
    let client_head = ClientHead {
        status: head.status(),
        source: HeadSource::Upstream(head),
        kind: HeadKind::Interim,
        route: None,
    };
    client_head.write(exchange, &mut out);
    let header_sent = &exchange.stats.header_sent;
    header_sent.set(header_sent.get() + out.len() as u64);
    outgoing.write_interim(&mut out).await
}
