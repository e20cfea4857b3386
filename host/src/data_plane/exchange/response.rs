//! The response on its way to the client, its body streamed with back-pressure.

use std::rc::Rc;
use std::time::Instant;

use super::component::BrokenAnswer;
use super::deliver::Delivery;
use super::head::{ClientHead, HeadKind, HeadSource, passes_as_trailer};
use super::rest::Delivered;
use super::source::{PassError, ResponseSource, UpstreamResponse};
use super::state::Exchange;
use crate::config::model::Route;
use crate::data_plane::body::{BodyPipe, Coding, Encoder};
use crate::data_plane::buffers::Buffers;
use crate::data_plane::downstream::{Outgoing, Unsent};
use crate::data_plane::turn;
use crate::data_plane::upstream::{BodyFailure, Connection, EndpointId, Failure, keeps_connection};
use crate::http::framing::Framing;
use crate::http::head::Version;

/// How an upstream's response is passed on.
pub(super) struct ResponsePlan<'a> {
    pub(super) framing: Framing,
    pub(super) route: &'a Route,
    /// The client's connection may be kept.
    pub(super) keep: bool,
    pub(super) buffers: &'a Buffers,
    /// When its head was there.
    pub(super) received: Instant,
}

/// What was passed on.
pub(super) struct Passed {
    pub(super) delivered: Delivered,
    /// The client got all of it.
    pub(super) complete: bool,
    /// Bytes from and to the upstream, and of the body.
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) length: u64,
    /// When all of it had come from the upstream, or no more was to come.
    pub(super) ended: Instant,
}

/// Passes a response on whose head was read. The upstream's connection comes back if it can serve
/// another request.
///
/// # Errors
/// [`Failure::InvalidBody`] and [`Failure::InvalidContent`] where the body is broken from the start, and nothing was sent to the
/// client yet.
pub(super) async fn pass_on(
    outgoing: &mut Outgoing,
    exchange: &Rc<Exchange>,
    response: UpstreamResponse<'_, '_>,
    plan: &ResponsePlan<'_>,
) -> Result<(Passed, Option<(EndpointId, Box<Connection>)>), Failure> {
    let buffers = plan.buffers;
    // Of one whose end is known, and has come with its head.
    let is_whole = matches!(plan.framing, Framing::Length(length)
        if response.attempt.unread().len() as u64 >= length);
    let (keep, coding) = client_framing(exchange, plan, response.upload.may_be_dropped());
    let passes_trailer = |name: &[u8]| {
        let head = exchange.response.borrow();
        passes_as_trailer(name, exchange, plan.route, &head)
    };
    let encoder = Encoder {
        coding,
        passes_trailer: &passes_trailer,
    };
    let mut body = BodyPipe::of_response(plan.framing);
    let mut out = match body.goes_as_is(&encoder) {
        true => buffers.take_head(),
        false => buffers.take_body(),
    };
    let reusable = {
        let head = exchange.response.borrow();
        let client_head = ClientHead {
            status: head.status(),
            source: HeadSource::Upstream(&head),
            kind: HeadKind::Final {
                coding,
                keeps_length: plan.framing.length().is_some() && head.status() != 204,
                keep,
            },
            route: Some(plan.route),
        };
        client_head.write(exchange, &mut out);
        keeps_connection(&head, plan.framing)
    };

    let mut source = ResponseSource::Upstream(response);
    let mut delivery = Delivery {
        outgoing,
        exchange,
        buffers,
        encoder,
        closes: false,
        held: None,
    };
    let passed = delivery.pass(&mut body, &mut source, &mut out).await;
    let keep = keep && !delivery.closes;
    buffers.give(out);
    let complete = passed.is_ok();
    if let Err(error) = passed {
        if let ResponseSource::Upstream(response) = &source {
            match &error {
                PassError::Source(BodyFailure::ClientGone | BodyFailure::Request(_)) => {}
                PassError::Source(error) => (response.note_error)(error),
                PassError::Content(error) => (response.note_error)(error),
                _ => {}
            }
        }
        note_error(exchange, error, &"upstream")?;
    }
    exchange.stats.complete.set(complete);
    let ResponseSource::Upstream(UpstreamResponse {
        attempt, upload, ..
    }) = source
    else {
        return Err(Failure::InvalidBody);
    };
    let passed = Passed {
        delivered: match complete {
            true => Delivered::Whole { keep },
            false => Delivered::Cut,
        },
        complete,
        received: attempt.bytes_received,
        sent: upload.bytes_sent,
        length: body.length,
        ended: match is_whole {
            true => plan.received,
            false => turn::now(),
        },
    };
    // Bytes past the end would be taken for the next answer.
    let reusable = reusable && complete && upload.is_sent() && attempt.unread().is_empty();
    let endpoint = attempt.endpoint;
    let connection = attempt.finish(buffers);
    Ok((passed, reusable.then_some((endpoint, connection))))
}

/// Writes to the error log why a response did not reach the client whole.
pub(super) fn note_error(
    exchange: &Exchange,
    error: PassError,
    of: &dyn std::fmt::Display,
) -> Result<(), Failure> {
    match error {
        PassError::NothingSent(failure) => return Err(failure),
        PassError::Source(failure @ (BodyFailure::ClientGone | BodyFailure::Request(_))) => {
            exchange.info(&failure);
        }
        PassError::Component(BrokenAnswer::ClientGone) => {
            exchange.info(&BrokenAnswer::ClientGone);
        }
        PassError::Component(why) => {
            exchange.error(&format_args!("{of} broke its answer off: {why}"), None);
        }
        PassError::Content(error) => {
            exchange.error(&error, exchange.stats.last_address().as_deref());
        }
        PassError::Source(error) => {
            exchange.error(&error, exchange.stats.last_address().as_deref());
        }
        PassError::Stopped(stopped) => exchange.error(&stopped, None),
        PassError::File(failure) => exchange.error(&failure, None),
        PassError::Client(error) => exchange.info(&Unsent::from(&error)),
    }
    Ok(())
}

/// Whether the client's connection can be kept, and the coding of its body. `little_left`: what is
/// still to come of the request is no obstacle.
fn client_framing(
    exchange: &Exchange,
    plan: &ResponsePlan<'_>,
    little_left: bool,
) -> (bool, Coding) {
    coding_for(exchange, plan.framing, plan.keep && little_left)
}

/// As [`client_framing`], for a body that is framed so.
pub(super) fn coding_for(exchange: &Exchange, framing: Framing, keep: bool) -> (bool, Coding) {
    // The connection may have come to its end since the request came in.
    let keep = keep && !exchange.listener_state.is_closing();
    match (framing, exchange.request.version()) {
        (Framing::Length(_) | Framing::Stream(Some(_)), _) | (_, Version::Http2) => {
            (keep, Coding::Plain)
        }
        (_, Version::Http11) => (keep, Coding::Chunked),
        // HTTP/1.0 knows no chunks: the end of the connection is the end of the body.
        (_, Version::Http10) => (false, Coding::Plain),
    }
}
