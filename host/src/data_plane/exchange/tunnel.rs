//! After a 101, bytes in both directions until both have ended (RFC 9110 section 7.8). The bound on
//! a tunnel of which one side has ended is that of `[[stream]]`: see [`crate::data_plane::copy`].

use super::response::Passed;
use super::rest::Delivered;
use super::state::{Exchange, SentBytes};
use crate::data_plane::body::Incoming;
use crate::data_plane::buffers::Buffers;
use crate::data_plane::copy::{CopyEnds, CopyHalf, CopyTimeouts, copy_both};
use crate::data_plane::downstream::Outgoing;
use crate::data_plane::turn;
use crate::data_plane::upstream::Attempt;

/// What a tunnel needs to know beside its two connections.
pub(super) struct TunnelPlan<'a> {
    /// Tells the client of the tunnel.
    pub(super) head: Vec<u8>,
    pub(super) timeouts: CopyTimeouts,
    pub(super) buffers: &'a Buffers,
    /// Called once the endpoint has ended its direction.
    pub(super) endpoint_done: &'a dyn Fn(),
}

/// Carries a tunnel between a client and the attempt's endpoint, which was sent so many bytes, until
/// it ends, or was silent for longer than its timeouts allow.
pub(super) async fn run(
    (incoming, outgoing): (&mut Incoming, &mut Outgoing),
    exchange: &Exchange,
    mut attempt: Attempt,
    sent_before: u64,
    plan: TunnelPlan<'_>,
) -> Passed {
    let TunnelPlan {
        head: mut out,
        timeouts,
        buffers,
        endpoint_done,
    } = plan;
    let length = out.len();
    exchange.keep_sent_header(&out);
    if let Err(error) = outgoing.writer.begin_response(&mut out, length, false) {
        exchange.info(&format_args!("tunnel closed: {error}"));
    }
    SentBytes::begin(exchange, outgoing, length, 0);
    let header = out.len() as u64;
    let received_before = attempt.bytes_received;
    // What either side sent ahead of the switch goes first. The buffers that it came in are large,
    // and of no further use: a tunnel may be idle for hours.
    let mut up = CopyHalf::new(incoming.unread().to_vec());
    incoming.consume(incoming.unread().len());
    incoming.release(buffers);
    out.extend_from_slice(attempt.unread());
    let mut down = CopyHalf::new(out);
    attempt.consume(attempt.unread().len());
    let mut connection = attempt.finish(buffers);

    let ended = copy_both(
        CopyEnds {
            half: &mut up,
            from: &mut incoming.reader,
            to: &mut connection.writer,
        },
        CopyEnds {
            half: &mut down,
            from: &mut connection.reader,
            to: &mut outgoing.writer,
        },
        timeouts,
        buffers,
        endpoint_done,
    )
    .await;
    if let Err(error) = &ended {
        exchange.info(&format_args!("tunnel closed: {error}"));
    }
    let length = down.moved.saturating_sub(header);
    exchange.stats.body_sent.set(length);
    exchange.stats.body_received.set(up.moved);
    exchange.stats.complete.set(ended.is_ok());
    Passed {
        delivered: Delivered::Cut,
        complete: true,
        received: received_before + length,
        sent: sent_before + up.moved,
        length,
        ended: turn::now(),
    }
}
