//! After a 101, bytes in both directions until one side ends and the other has been told (RFC 9110
//! section 7.8).

use std::time::Duration;

use super::response::Passed;
use super::rest::Delivered;
use super::state::{Exchange, SentBytes};
use crate::data_plane::copy::{CopyEnds, CopyHalf, carry_both};
use crate::data_plane::downstream::Outgoing;
use crate::data_plane::stream::Alarm;
use crate::data_plane::upstream::{Attempt, Upload};

/// Carries a tunnel until it ends, or was silent both ways for `idle`. `out`: the head that tells the
/// client of it.
pub(super) async fn run(
    outgoing: &mut Outgoing,
    exchange: &Exchange,
    mut attempt: Attempt,
    upload: Upload<'_>,
    idle: Duration,
    mut out: Vec<u8>,
) -> Passed {
    let length = out.len();
    exchange.keep_sent_header(&out);
    if let Err(error) = outgoing.writer.begin_response(&mut out, length, false) {
        exchange.info(&format_args!("tunnel closed: {error}"));
    }
    SentBytes::begin(exchange, outgoing, length, 0);
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
        delivered: Delivered::Cut,
        complete: true,
        received,
        sent: sent_before + up.moved,
        length,
        ended: std::time::Instant::now(),
    }
}
