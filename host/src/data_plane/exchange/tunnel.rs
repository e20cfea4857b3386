//! After a 101, bytes in both directions until one side ends and the other has been told (RFC 9110
//! section 7.8).

use std::time::Duration;

use super::ConnectionFate;
use super::response::Passed;
use super::response_head::write_switching;
use super::state::Exchange;
use crate::data_plane::copy::{CopyEnds, CopyHalf, carry_both};
use crate::data_plane::downstream::Outgoing;
use crate::data_plane::stream::Alarm;
use crate::data_plane::upstream::{Attempt, Upload};

/// Carries a tunnel until it ends, or was silent both ways for `idle`.
pub(super) async fn run(
    outgoing: &mut Outgoing,
    exchange: &Exchange,
    mut attempt: Attempt,
    upload: Upload<'_>,
    idle: Duration,
) -> Passed {
    let mut out = Vec::with_capacity(512);
    let status = write_switching(exchange, &exchange.response.borrow(), &mut out);
    exchange.stats.header_sent.set(out.len() as u64);
    exchange.stats.status.set(status);
    exchange.keep_sent_header(&out);
    if let Some(stream) = outgoing.writer.http2() {
        if let Err(error) = stream.send_head(&out, false) {
            exchange.info(&format_args!("tunnel closed: {error}"));
        }
        out.clear();
    }
    let header = out.len() as u64;
    let sent_before = upload.bytes_sent;
    let incoming = upload.into_client();
    // What either side sent ahead of the switch goes first.
    let mut up = CopyHalf::new(incoming.unread());
    incoming.consume(incoming.unread().len());
    out.extend_from_slice(attempt.unread());
    let mut down = CopyHalf::new(&out);
    attempt.consume(attempt.unread().len());

    let connection = &mut attempt.connection;
    let ended = carry_both(
        CopyEnds {
            lane: &mut up,
            from: &mut incoming.reader,
            to: &mut connection.writer,
        },
        CopyEnds {
            lane: &mut down,
            from: &mut connection.reader,
            to: &mut outgoing.writer,
        },
        &mut Alarm::default(),
        idle,
    )
    .await;
    if let Err(error) = &ended {
        exchange.info(&format_args!("tunnel closed: {error}"));
    }
    exchange
        .stats
        .body_sent
        .set(down.moved.saturating_sub(header));
    exchange.stats.body_received.set(up.moved);
    exchange.stats.complete.set(ended.is_ok());
    let received = attempt.bytes_received + down.moved.saturating_sub(header);
    let length = down.moved.saturating_sub(header);
    Passed {
        after: ConnectionFate::Close,
        complete: true,
        received,
        sent: sent_before + up.moved,
        length,
        ended: std::time::Instant::now(),
    }
}
