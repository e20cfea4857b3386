//! What a client still sends behind its answer is read and dropped: to the end of its request where
//! that is near and the connection is kept, else for a while before the connection is closed
//! (nginx: `ngx_http_discard_request_body`, `lingering_close`).

use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use crate::data_plane::body::{BodyError, BodyPipe, Incoming};
use crate::data_plane::buffers::Buffers;
use crate::data_plane::downstream::ClientConnection;
use crate::data_plane::drain::ConnectionGuard;

/// How long, and at what pace, a client may go on sending (nginx: `lingering_time`,
/// `lingering_timeout`).
const LINGERING_TIME: Duration = Duration::from_secs(30);
const LINGERING_TIMEOUT: Duration = Duration::from_secs(5);

/// What became of a request whose rest was to be dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Discarded {
    /// Its end was found: another request may follow.
    ToItsEnd,
    /// It is larger than is read for the sake of the next request, or its coding is broken.
    TooMuch,
    /// The client has closed, sent too slowly, or made room for another one.
    InVain,
}

/// What is dropped.
enum Unwanted {
    /// The rest of a request.
    Body(BodyPipe),
    /// All that comes.
    All,
}

/// Reads and drops the rest of a request.
pub(super) async fn rest(
    connection: &mut ClientConnection,
    guard: &ConnectionGuard,
    body: BodyPipe,
) -> Discarded {
    let pace = connection.body_timeout().min(LINGERING_TIMEOUT);
    discard(connection, guard, Unwanted::Body(body), pace).await
}

/// Closes in a way that lets the client read its answer: a reset, which unread bytes would bring
/// about, may take it away. A client that did not take its answer in time is not waited for.
pub(super) async fn linger(connection: &mut ClientConnection, guard: &ConnectionGuard) {
    if connection.outgoing.end().await.is_ok() {
        discard(connection, guard, Unwanted::All, LINGERING_TIMEOUT).await;
    }
}

/// The client has its answer, so it makes room as an idle one does: for another client, or because
/// the worker is to end.
async fn discard(
    connection: &mut ClientConnection,
    guard: &ConnectionGuard,
    mut unwanted: Unwanted,
    pace: Duration,
) -> Discarded {
    let ClientConnection {
        worker,
        incoming,
        alarm,
        ..
    } = connection;
    guard.is_idle();
    let end = Instant::now() + LINGERING_TIME;
    loop {
        // A client that goes on sending is given time to.
        let due = end.min(Instant::now() + pace);
        let piece = alarm.poll_until(due, |cx| {
            if guard.slot().poll_evicted(cx).is_ready() {
                return Poll::Ready(Some(Discarded::InVain));
            }
            unwanted.poll_piece(cx, incoming, &worker.buffers)
        });
        match piece.await {
            Ok(None) => {}
            Ok(Some(discarded)) => return discarded,
            Err(_) => return Discarded::InVain,
        }
    }
}

impl Unwanted {
    /// Drops what comes next; ready with none where more is to come behind it.
    fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
        incoming: &mut Incoming,
        buffers: &Buffers,
    ) -> Poll<Option<Discarded>> {
        match self {
            Unwanted::Body(body) => {
                let dropped = ready!(incoming.poll_drop_piece(cx, body, buffers));
                Poll::Ready(dropped.map(|dropped| match dropped {
                    Ok(()) => Discarded::ToItsEnd,
                    Err(BodyError::Bad(_)) => Discarded::TooMuch,
                    Err(_) => Discarded::InVain,
                }))
            }
            Unwanted::All => {
                incoming.consume(incoming.unread().len());
                match ready!(incoming.poll_refill(cx, usize::MAX, buffers)) {
                    Ok(1..) => Poll::Ready(None),
                    Ok(0) | Err(_) => Poll::Ready(Some(Discarded::InVain)),
                }
            }
        }
    }
}
