//! What is read of a request's body before an upstream is asked: as much as is kept, or all of one
//! that no server gets.

use std::task::Poll;
use std::time::Duration;

use super::fault::Fault;
use super::rest;
use super::state::Exchange;
use crate::data_plane::body::{BodyError, BodyPipe, Coding, Encoder, append, append_end};
use crate::data_plane::downstream::Session;
use crate::plugin::{Beyond, Bound};

/// Reads a body that fits into `bound` bytes to its end, a longer one as far as that: what fits can
/// be sent again. `timeout` is between two reads. Without `wait`, it reads no more than has come.
pub(super) async fn read_ahead(
    session: &mut Session<'_>,
    progress: &mut BodyPipe,
    bound: usize,
    (wait, timeout): (bool, Duration),
    body: &mut Vec<u8>,
) -> Result<(), BodyError> {
    if let Some(left) = progress.length_left() {
        body.reserve(usize::try_from(left).unwrap_or(bound).min(bound));
        if left > bound as u64 {
            // It will be passed on as it arrives; what came with the head goes first.
            return Ok(());
        }
    }
    let Session {
        incoming,
        alarm,
        worker,
        ..
    } = session;
    while !progress.is_done() && body.len() < bound {
        let come = alarm.poll_within(timeout, |cx| {
            let end = (&Encoder::PLAIN, &mut *body);
            match incoming.poll_body(cx, progress, end, &worker.buffers) {
                Poll::Ready(come) => Poll::Ready(Some(come)),
                Poll::Pending if wait => Poll::Pending,
                Poll::Pending => Poll::Ready(None),
            }
        });
        match come.await {
            Ok(Some(come)) => come?,
            Ok(None) => return Ok(()),
            Err(_) => return Err(BodyError::TimedOut),
        }
        let unread = incoming.unread();
        let unread = &unread[..unread.len().min(bound - body.len())];
        let consumed = progress.each_piece(unread, |piece| body.extend_from_slice(piece))?;
        incoming.consume(consumed);
    }
    Ok(())
}

/// Reads a body for hooks that want to see all of it: what there is of it, which is all unless it is
/// larger than any of them takes it. Then the rest is left where it is.
///
/// # Errors
/// It is larger than a hook takes it that does not let such ones pass, or cannot be read.
pub(super) async fn read_whole(
    session: &mut Session<'_>,
    exchange: &Exchange,
    progress: &mut BodyPipe,
    bounds: &[Bound],
) -> Result<Vec<u8>, Fault> {
    let mut body = exchange.body_ahead.take();
    let refuses = |bound: &&Bound| bound.beyond == Beyond::Refuse;
    let least = bounds
        .iter()
        .filter(refuses)
        .map(|bound| bound.bytes())
        .min();
    let most = bounds.iter().map(|bound| bound.bytes()).max().unwrap_or(0);
    let too_large = |length: u64| least.is_some_and(|least| length > least as u64);
    if !progress.is_done() {
        let known = progress.length_left().map(|left| left + body.len() as u64);
        // Others may have had more of it read than these hooks take.
        let length = known.unwrap_or(body.len() as u64);
        if too_large(length) {
            return Err(Fault::BodyTooLarge(length));
        }
        if known.is_some_and(|length| length > most as u64) || body.len() > most {
            return Ok(body);
        }
        let invited = rest::invite(session, exchange).await;
        invited.map_err(|error| Fault::Body(BodyError::Io(error)))?;
        let of_route = exchange.stats.route.get().and_then(|route| {
            let routes = &exchange.worker_config.snapshot.config.routes;
            routes.get(route)?.limits.client_body_timeout
        });
        let timeout = of_route.unwrap_or(session.limits().client_body_timeout);
        let bound = least.unwrap_or(most).saturating_add(1);
        let read = read_ahead(session, progress, bound, (true, timeout), &mut body).await;
        exchange.stats.body_received.set(progress.length);
        read.map_err(Fault::Body)?;
        session.incoming.release(&session.worker.buffers);
    }
    match too_large(body.len() as u64) {
        true => Err(Fault::BodyTooLarge(body.len() as u64)),
        false => Ok(body),
    }
}

/// Puts the chunked coding around what was read ahead; `end` has the trailers where that was all.
pub(super) fn frame_as_chunked(body: &mut Vec<u8>, end: Option<&[u8]>) {
    let plain = std::mem::take(body);
    append(&plain, Coding::Chunked, body);
    if let Some(trailers) = end {
        append_end(trailers, Coding::Chunked, body);
    }
}

/// Reads a body to its end and drops it. `timeout` is between two reads. That of HTTP/2 is left where
/// it is: its stream needs no reader.
pub(super) async fn drop_body(
    session: &mut Session<'_>,
    progress: &mut BodyPipe,
    timeout: Duration,
) -> Result<(), BodyError> {
    let Session {
        incoming,
        alarm,
        worker,
        ..
    } = session;
    loop {
        let dropped = alarm.poll_within(timeout, |cx| {
            incoming.poll_drop_piece(cx, progress, &worker.buffers)
        });
        match dropped.await {
            Ok(Some(dropped)) => return dropped,
            Ok(None) => {}
            Err(_) => return Err(BodyError::TimedOut),
        }
    }
}
