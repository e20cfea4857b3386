//! What is read of a request's body before an upstream is asked: as much as is kept, or all of one
//! that no server gets.

use std::task::Poll;
use std::time::Duration;

use crate::data_plane::body::{BodyError, BodyPipe, Coding, Encoder, append, append_end};
use crate::data_plane::downstream::Session;

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
