//! HTTP/1 from a client: one request after the other until either side closes.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::discard::{self, Discarded};
use super::http2;
use crate::config::model;
use crate::data_plane::downstream::{ClientConnection, Session, Unsent};
use crate::data_plane::drain::{ConnectionGuard, PARTING, ShutdownSlot};
use crate::data_plane::exchange::{self, ConnectionFate, Fault};
use crate::data_plane::stream::{PREFACE, Stream, TimedOut};
use crate::data_plane::turn;
use crate::http::head::{BadHead, HeadEnd, HeadPart, RequestHead};

/// A connection that speaks HTTP/1.
pub(super) struct Http1 {
    connection: ClientConnection,
    guard: ConnectionGuard,
    wait: Wait,
    /// It has been idle for [`WARM`].
    is_cold: bool,
}

/// A wait for a request's first byte.
#[derive(Default)]
struct Wait {
    has_begun: bool,
    /// The connection was told to close.
    is_parting: bool,
    /// When it is over. None before there is something to wait for: the clock is not asked then.
    due: Option<tokio::time::Instant>,
}

/// What became of reading a request's head.
enum Read {
    Whole,
    /// The client closed before it began one, ran out of time for its first byte, or made room.
    Nothing,
    /// What HTTP/2 opens a connection with (RFC 9113 section 3.4).
    Http2,
}

/// What became of a connection while requests came.
pub(super) enum Served {
    /// It is idle.
    AllThatCame,
    /// No request will come.
    Nothing,
    /// That is what becomes of it.
    Ends(ConnectionFate),
    /// It speaks HTTP/2 instead.
    Http2,
    /// The client does not take its answer.
    Unsent,
}

/// What comes next on a connection.
enum Next {
    Request,
    Nothing,
    /// As [`Served::Unsent`].
    Unsent,
}

/// Empty lines before a request line, which some clients send behind a body (RFC 9112 section 2.2).
const MAX_EMPTY_LINES: usize = 2;
/// How long a connection may be idle before it gives back what its next request would need again.
const WARM: Duration = Duration::from_secs(1);
/// As much of HTTP/2's preface as looks like a request's head.
const PREFACE_HEAD: usize = 18;

impl Http1 {
    pub(super) fn new(connection: ClientConnection, guard: ConnectionGuard) -> Http1 {
        Http1 {
            connection,
            guard,
            wait: Wait::default(),
            is_cold: false,
        }
    }

    /// Ready once a request has begun, or none will come: then the connection is to be closed.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let waited = if self.is_cold { WARM } else { Duration::ZERO };
        let limit = |connection: &ClientConnection| connection.wait_limit().saturating_sub(waited);
        let comes = ready!(self.poll_request(cx, limit)).unwrap_or(false);
        if !comes {
            self.connection.outgoing.writer.part();
        }
        Poll::Ready(comes)
    }

    /// Serves a request that has begun, and those behind it. The connection, once it is idle; none once
    /// it has ended.
    ///
    /// The state of an exchange is large. It is there from the first byte of a request, stays while one
    /// comes after the other, and is given back then: idle connections are small.
    pub(super) async fn serve(mut self: Box<Self>) -> Option<Box<Http1>> {
        let mut served = self.serve_requests().await;
        // Whatever comes next, it comes behind the answer.
        if !matches!(served, Served::Unsent) && !self.settle().await {
            served = Served::Unsent;
        }
        let fate = match served {
            Served::Unsent => return None,
            Served::AllThatCame => {
                self.is_cold = true;
                return Some(self);
            }
            Served::Ends(fate) => fate,
            Served::Nothing => ConnectionFate::Close,
            Served::Http2 => {
                Box::pin(self.serve_http2()).await;
                return None;
            }
        };
        match self.drop_rest(fate).await {
            Discarded::ToItsEnd => {
                self.is_cold = false;
                return Some(self);
            }
            Discarded::InVain => self.connection.outgoing.writer.part(),
            Discarded::TooMuch => {
                Box::pin(discard::linger(&mut self.connection, &self.guard)).await;
            }
        }
        None
    }

    /// Reads and drops what is still coming of a request, where that is worth it.
    async fn drop_rest(&mut self, fate: ConnectionFate) -> Discarded {
        match fate {
            ConnectionFate::DropRest(body) => {
                let rest = discard::rest(&mut self.connection, &self.guard, *body);
                Box::pin(rest).await
            }
            ConnectionFate::Linger => Discarded::TooMuch,
            ConnectionFate::KeepAlive => Discarded::ToItsEnd,
            ConnectionFate::Close => Discarded::InVain,
        }
    }

    /// Serves a request that has begun, and those that come after it before the connection is idle
    /// for [`WARM`].
    pub(super) async fn serve_requests(&mut self) -> Served {
        loop {
            let fate = {
                // Those of one turn are not begun at the same moment.
                turn::passed();
                let began = turn::now();
                let mut session = self.connection.next_request(began);
                let mut head = session.worker.take_request_head();
                match read_head(&mut session, &self.guard, &mut head).await {
                    Ok(Read::Whole) => {
                        self.guard.is_busy();
                        exchange::serve(&mut session, head, began).await
                    }
                    Ok(Read::Nothing) => return Served::Nothing,
                    Ok(Read::Http2) => return Served::Http2,
                    Err(fault) => {
                        self.guard.is_busy();
                        if head.is_empty() {
                            // For the log: what there is of a head that was not read to its end.
                            head.set_unparsed(session.incoming.unread());
                        }
                        Box::pin(exchange::reject(&mut session, head, began, fault)).await
                    }
                }
            };
            if !matches!(fate, ConnectionFate::KeepAlive) {
                return Served::Ends(fate);
            }
            let limit = self.connection.wait_limit();
            match self.await_request(limit.min(WARM)).await {
                Ok(Next::Request) => {}
                Ok(Next::Unsent) => return Served::Unsent,
                Err(_) if limit > WARM => return Served::AllThatCame,
                Ok(Next::Nothing) | Err(_) => return Served::Nothing,
            }
        }
    }

    /// Sends the answer before if it is deferred, and waits until the kernel has all of it; false where
    /// it cannot be sent.
    async fn settle(&mut self) -> bool {
        if !self.connection.outgoing.writer.is_deferred() {
            return true;
        }
        self.guard.is_sending();
        let settled = Box::pin(self.connection.outgoing.settle()).await;
        if let Err(error) = &settled {
            let context = self.connection.client().context();
            tracing::info!("{}{context}", Unsent::from(error));
        }
        settled.is_ok()
    }

    /// Serves the connection in the protocol that its first bytes have begun.
    async fn serve_http2(self: Box<Self>) {
        let Http1 {
            connection, guard, ..
        } = *self;
        let (worker, client) = (connection.worker.clone(), connection.client().clone());
        let ClientConnection {
            incoming, outgoing, ..
        } = connection;
        let first = incoming.unread().to_vec();
        if let Some(stream) = Stream::reunite(incoming.reader, outgoing.writer) {
            http2::run(worker, client, stream, first, guard).await;
        }
    }

    /// Waits for a request's first byte, without a buffer. The answer before has left then: whatever
    /// takes its time with the next one must not keep it.
    ///
    /// # Errors
    /// [`TimedOut`]
    async fn await_request(&mut self, limit: Duration) -> Result<Next, TimedOut> {
        loop {
            #[allow(clippy::disallowed_methods, reason = "by `limit`")]
            let comes = poll_fn(|cx| self.poll_request(cx, |_| limit)).await?;
            match (self.connection.outgoing.writer.is_deferred(), comes) {
                (false, true) => return Ok(Next::Request),
                (false, false) => return Ok(Next::Nothing),
                (true, _) if self.settle().await => {}
                (true, _) => return Ok(Next::Unsent),
            }
        }
    }

    /// As [`await_request`](Self::await_request), false if none will come; `limit` is asked once there
    /// is something to wait for. Ready as well where the answer before is stuck.
    fn poll_request(
        &mut self,
        cx: &mut Context<'_>,
        limit: impl Fn(&ClientConnection) -> Duration,
    ) -> Poll<Result<bool, TimedOut>> {
        let Http1 {
            connection,
            guard,
            wait,
            ..
        } = self;
        if !connection.incoming.unread().is_empty() {
            return Poll::Ready(Ok(true));
        }
        // Nothing is under way on an idle connection: it need not go on. A fresh one is still owed
        // its first answer.
        let idle = connection.requests > 0;
        if !std::mem::replace(&mut wait.has_begun, true) {
            connection.incoming.release(&connection.worker.buffers);
            if idle {
                guard.is_idle();
            }
            guard.set_waiting(true);
        }
        let waited = match connection.outgoing.writer.is_stuck() {
            true => Poll::Ready(Ok(true)),
            false => wait.poll(cx, (connection, guard.slot()), idle, limit),
        };
        if waited.is_ready() {
            *wait = Wait::default();
            guard.set_waiting(false);
        }
        waited
    }
}

impl Wait {
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        (connection, slot): (&mut ClientConnection, &ShutdownSlot),
        idle: bool,
        limit: impl Fn(&ClientConnection) -> Duration,
    ) -> Poll<Result<bool, TimedOut>> {
        if let Poll::Ready(readable) = connection.incoming.reader.poll_readable(cx) {
            return Poll::Ready(Ok(readable.is_ok()));
        }
        if !self.is_parting {
            if slot.poll_evicted(cx).is_ready() {
                return Poll::Ready(Ok(false));
            }
            if idle && slot.poll_closing(cx).is_ready() {
                self.is_parting = true;
                let limit = limit(connection).min(PARTING);
                self.due = Some((turn::now() + limit).into());
            }
        }
        let due = match self.due {
            Some(due) => due,
            None => {
                let due = (turn::now() + limit(connection)).into();
                *self.due.insert(due)
            }
        };
        let TimedOut = ready!(connection.alarm.poll_due(cx, due));
        Poll::Ready(match self.is_parting {
            true => Ok(false),
            false => Err(TimedOut),
        })
    }
}

/// Reads a request's head.
async fn read_head(
    session: &mut Session<'_>,
    guard: &ConnectionGuard,
    head: &mut RequestHead,
) -> Result<Read, Fault> {
    let worker_config = session.worker_config.clone();
    let limits = &worker_config.snapshot.config.listeners[session.listener];
    let (mut end, mut empty_lines) = (HeadEnd::default(), 0);
    loop {
        while session.incoming.unread().starts_with(b"\r\n") && empty_lines < MAX_EMPTY_LINES {
            session.incoming.consume(2);
            (end, empty_lines) = (HeadEnd::default(), empty_lines + 1);
        }
        let unread = session.incoming.unread();
        if let Some(length) = end.find(unread).map_err(Fault::BadHead)? {
            if length > limits.client_header_size {
                return Err(too_large(unread, limits.client_header_size));
            }
            if is_preface(session, unread, limits) {
                return Ok(Read::Http2);
            }
            let parsed = head.parse(&unread[..length], limits.max_headers);
            session.incoming.consume(length);
            return parsed.map(|()| Read::Whole).map_err(Fault::BadHead);
        }
        if unread.len() >= limits.client_header_size {
            return Err(too_large(unread, limits.client_header_size));
        }
        // The CR of an empty line whose LF is still under way.
        let in_empty_line = unread == b"\r" && empty_lines < MAX_EMPTY_LINES;
        if !in_empty_line {
            looks_like_http(unread)?;
        }
        let (begun, began) = (!unread.is_empty(), session.began);
        // Not before: what is held across the wait, every slow client holds.
        let due = (began + limits.client_header_timeout).into();
        let Session {
            incoming,
            alarm,
            worker,
            ..
        } = session;
        // That something can be read may have been a mistake.
        let _counted = match begun {
            true => worker.standing().reads(),
            false => worker.standing().waits(),
        };
        let more = alarm.poll_until(due, move |cx| {
            let more = incoming.poll_more(cx, limits.client_header_size, &worker.buffers);
            if more.is_pending() {
                guard.is_opening(began);
                return guard.slot().poll_evicted(cx).map(|()| None);
            }
            more.map(Some)
        });
        let more = match more.await {
            Ok(Some(more)) => Ok(more),
            // Others need its place more.
            Ok(None) => return Ok(Read::Nothing),
            Err(timed_out) => Err(timed_out),
        };
        match more {
            Ok(Ok(0)) if !begun => return Ok(Read::Nothing),
            Ok(Ok(0)) => return Err(Fault::HeaderCutShort),
            Ok(Ok(_)) => {}
            Ok(Err(_)) => return Ok(Read::Nothing),
            Err(_) if begun => return Err(Fault::HeaderTimeout),
            Err(_) => return Ok(Read::Nothing),
        }
    }
}

/// Whether a connection's first head is the beginning of HTTP/2's preface.
fn is_preface(session: &Session<'_>, unread: &[u8], limits: &model::ListenerConfig) -> bool {
    let plain_on_tls = session.tls().is_some() && session.client.tls.is_none();
    limits.http2.is_some()
        && !plain_on_tls
        && session.requests == 1
        && unread.starts_with(&PREFACE[..PREFACE_HEAD])
}

/// Refuses at the first byte what cannot become a request line, such as a TLS handshake, instead of
/// waiting for its end.
fn looks_like_http(start: &[u8]) -> Result<(), Fault> {
    match start.first() {
        Some(byte) if !byte.is_ascii_graphic() => {
            Err(Fault::BadHead(BadHead::Malformed(HeadPart::RequestLine)))
        }
        _ => Ok(()),
    }
}

fn too_large(unread: &[u8], bound: usize) -> Fault {
    // Its first line alone is as large as that?
    if memchr::memchr(b'\n', &unread[..bound.min(unread.len())]).is_none() {
        Fault::TargetTooLong
    } else {
        Fault::HeaderTooLarge
    }
}
