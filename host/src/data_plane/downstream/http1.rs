//! HTTP/1 from a client: one request after the other until either side has had enough.

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::session::Session;
use crate::config::model;
use crate::data_plane::drain::{ConnectionGuard, PARTING};
use crate::data_plane::exchange::{self, ConnectionFate, Fault};
use crate::data_plane::stream::{PREFACE, Stream};
use crate::data_plane::worker::ListenerId;
use crate::http::head::{BadHead, HeadEnd, RequestHead};

/// A connection that speaks HTTP/1.
pub(super) struct Http1 {
    session: Session,
    listener_id: ListenerId,
    guard: ConnectionGuard,
}

/// What became of reading a request's head.
enum Read {
    Whole,
    /// The client closed before it began one, or ran out of time for its first byte.
    Nothing,
    /// What HTTP/2 opens a connection with (RFC 9113 section 3.4).
    Http2,
}

/// How long, and at what pace, a client may go on sending what nobody reads (nginx:
/// `lingering_time`, `lingering_timeout`).
const LINGERING_TIME: Duration = Duration::from_secs(30);
const LINGERING_TIMEOUT: Duration = Duration::from_secs(5);
/// Empty lines before a request line, which some clients send behind a body (RFC 9112 section 2.2).
const MAX_EMPTY_LINES: usize = 2;
/// As much of HTTP/2's preface as looks like a request's head.
const PREFACE_HEAD: usize = 18;

impl Http1 {
    pub(super) fn new(session: Session, listener_id: ListenerId, guard: ConnectionGuard) -> Http1 {
        Http1 {
            session,
            listener_id,
            guard,
        }
    }

    /// Serves the connection to its end; true if its first bytes tell that it speaks HTTP/2
    /// instead.
    pub(super) async fn run(&mut self) -> bool {
        loop {
            if !self.await_request().await {
                break;
            }
            let session = &mut self.session;
            session.requests += 1;
            let began = Instant::now();
            session.began = began;
            session.enter_site(self.guard.place(), self.listener_id);
            let mut head = session.worker.take_request_head();
            let after = match session.read_head(&mut head, began).await {
                Ok(Read::Whole) => {
                    // The exchange's state is large, and only there while it is under way: idle
                    // connections stay small.
                    let (after, head) = Box::pin(exchange::serve(session, head, began)).await;
                    session.worker.give_request_head(head);
                    after
                }
                Ok(Read::Nothing) => break,
                Ok(Read::Http2) => return true,
                Err(fault) => Box::pin(exchange::reject(session, head, began, fault)).await,
            };
            match after {
                ConnectionFate::KeepAlive => {}
                ConnectionFate::Close => break,
                ConnectionFate::Linger => {
                    session.linger().await;
                    return false;
                }
            }
        }
        self.session.outgoing.writer.part();
        false
    }

    /// The connection as a whole, with what was read of it.
    pub(super) fn into_http2(self) -> Option<(Stream, Vec<u8>, ConnectionGuard)> {
        let Session {
            incoming, outgoing, ..
        } = self.session;
        let first = incoming.unread().to_vec();
        let stream = Stream::reunite(incoming.reader, outgoing.writer)?;
        Some((stream, first, self.guard))
    }

    /// Waits for a request's first byte, without a buffer; false if none will come.
    async fn await_request(&mut self) -> bool {
        let session = &mut self.session;
        if !session.incoming.unread().is_empty() {
            return true;
        }
        session.incoming.release(&session.worker.buffers);
        let limit = match session.requests {
            0 => session.limits().client_header_timeout,
            _ => session.limits().keepalive_timeout,
        };
        // Nothing is under way on an idle connection: it need not go on, and holds on to no
        // configuration. A fresh one is still owed its first answer.
        let idle = session.requests > 0;
        if idle {
            session.worker_config = session.worker.nowhere.clone();
        }
        let Session {
            incoming, alarm, ..
        } = session;
        let (reader, place) = (&incoming.reader, self.guard.place());
        let awaited = poll_fn(|cx| match reader.poll_readable(cx) {
            Poll::Ready(readable) => Poll::Ready(Some(readable.is_ok())),
            Poll::Pending if idle => place.poll_closing(cx).map(|()| None),
            Poll::Pending => Poll::Pending,
        });
        match alarm.within(limit, awaited).await {
            Ok(Some(readable)) => readable,
            Ok(None) => {
                let readable = poll_fn(|cx| reader.poll_readable(cx));
                let last = alarm.within(limit.min(PARTING), readable).await;
                last.is_ok_and(|readable| readable.is_ok())
            }
            Err(_) => false,
        }
    }
}

impl Session {
    /// Reads a request's head.
    async fn read_head(&mut self, head: &mut RequestHead, began: Instant) -> Result<Read, Fault> {
        let worker_config = self.worker_config.clone();
        let limits = &worker_config.snapshot.config.listeners[self.listener];
        let due = (began + limits.client_header_timeout).into();
        let (mut end, mut empty_lines) = (HeadEnd::default(), 0);
        loop {
            while self.incoming.unread().starts_with(b"\r\n") && empty_lines < MAX_EMPTY_LINES {
                self.incoming.consume(2);
                (end, empty_lines) = (HeadEnd::default(), empty_lines + 1);
            }
            let unread = self.incoming.unread();
            if let Some(length) = end.find(unread).map_err(Fault::BadHead)? {
                if length > limits.client_header_size {
                    return Err(too_large(unread, limits.client_header_size));
                }
                if self.is_preface(unread, limits) {
                    return Ok(Read::Http2);
                }
                let parsed = head.parse(&unread[..length], limits.max_headers);
                self.incoming.consume(length);
                return parsed.map(|()| Read::Whole).map_err(Fault::BadHead);
            }
            if unread.len() >= limits.client_header_size {
                return Err(too_large(unread, limits.client_header_size));
            }
            looks_like_http(unread)?;
            let begun = !unread.is_empty();
            let Session {
                incoming,
                alarm,
                worker,
                ..
            } = self;
            let more =
                poll_fn(|cx| incoming.poll_more(cx, limits.client_header_size, &worker.buffers));
            match alarm.until(due, more).await {
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
    fn is_preface(&self, unread: &[u8], limits: &model::ListenerConfig) -> bool {
        let plain_on_tls = self.tls().is_some() && self.client.tls.is_none();
        limits.http2.is_some()
            && !plain_on_tls
            && self.requests == 1
            && unread.starts_with(&PREFACE[..PREFACE_HEAD])
    }

    /// Closes in a way that lets the client read its answer: a reset, which unread bytes would
    /// bring about, may take it away.
    async fn linger(&mut self) {
        if poll_fn(|cx| self.outgoing.writer.poll_shutdown(cx))
            .await
            .is_err()
        {
            return;
        }
        let mut sink = self.worker.buffers.take_body();
        let end = tokio::time::Instant::now() + LINGERING_TIME;
        let Session {
            incoming, alarm, ..
        } = self;
        loop {
            let due = end.min(tokio::time::Instant::now() + LINGERING_TIMEOUT);
            sink.clear();
            match alarm
                .until(
                    due,
                    poll_fn(|cx| incoming.reader.poll_read(cx, &mut sink, usize::MAX)),
                )
                .await
            {
                Ok(Ok(1..)) => {}
                Ok(Ok(0) | Err(_)) | Err(_) => break,
            }
        }
        self.worker.buffers.give(sink);
    }
}

/// Refuses at the first byte what cannot become a request line, such as a TLS handshake, instead of
/// waiting for its end.
fn looks_like_http(start: &[u8]) -> Result<(), Fault> {
    match start.first() {
        Some(byte) if !byte.is_ascii_graphic() => {
            Err(Fault::BadHead(BadHead::Malformed("request line")))
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
