//! One request to one endpoint, as far as its response header: connect or reuse, send, read.
//!
//! Sending goes on while the answer is awaited, and while it is passed on: an endpoint may answer
//! before it has seen the whole body, and some answer as they read.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use super::balance::WorkerUpstream;
use super::dial::{dial_for, while_client_stays};
use super::endpoint::EndpointId;
use super::failure::{AttemptError, BodyFailure, Failure};
use super::http2::{Http2Connections, Lookup, StreamSlot};
use super::lease::Lease;
use super::pool::Connection;
use super::upload::Upload;
use crate::data_plane::body::ReceiveBuffer;
use crate::data_plane::buffers::{Buffers, LentPipe};
use crate::data_plane::stream::{Alarm, Http2Stream, Reader, StreamError, Writer};
use crate::data_plane::turn;
use crate::http::framing::Framing;
use crate::http::head::{FieldName, HeadEnd, ResponseHead, Version, http2_request};

/// Header fields in a response at most, as in a request by default.
const MAX_RESPONSE_HEADERS: usize = 1000;

/// A connection on which a request is under way, and what was read from it.
pub(crate) struct Attempt {
    pub(crate) connection: Box<Connection>,
    pub(crate) endpoint: EndpointId,
    cached: bool,
    buffer: ReceiveBuffer,
    pub(crate) bytes_received: u64,
}

/// What a request over HTTP/2 begins with.
pub(crate) struct RequestStart<'a> {
    /// As text.
    pub(crate) head: &'a [u8],
    /// Nothing follows the header.
    pub(crate) ends: bool,
    /// The protocol that an extended CONNECT asks for.
    pub(crate) protocol: Option<&'a str>,
}

/// Bounds on an attempt, from the upstream's configuration.
pub(crate) struct ReadLimits {
    pub(crate) read_timeout: Duration,
    pub(crate) header_size: usize,
}

impl Attempt {
    /// Takes a connection to the lease's endpoint, or opens one. Over HTTP/2, the header is sent
    /// with that, which has `connect_timeout`. No buffer is held before there is something to read. A
    /// `client` that leaves ends
    /// the wait for a connection; without one, it is taken to stay.
    ///
    /// # Errors
    /// [`AttemptError`], with nothing sent.
    pub(crate) async fn begin(
        lease: &Lease,
        upstream: &Rc<WorkerUpstream>,
        alarm: &mut Alarm,
        client: Option<&Reader>,
        start: &RequestStart<'_>,
        connect_timeout: Duration,
    ) -> Result<Attempt, AttemptError> {
        let unsent = |cached, failure| AttemptError {
            failure,
            request_sent: false,
            cached,
        };
        let endpoint = lease.endpoint().stats.id;
        let (connection, cached) = if upstream.shared.config.http2.is_some() {
            let slot = match Http2Connections::find(&upstream.http2, endpoint) {
                Lookup::Found(slot) => slot,
                // Rare, and its state is large.
                found => Box::pin(slot(
                    lease,
                    upstream,
                    found,
                    alarm,
                    client,
                    start,
                    connect_timeout,
                ))
                .await
                .map_err(|failure| unsent(false, failure))?,
            };
            let cached = slot.cached;
            let connection = open_stream(slot, start);
            let connection = connection.map_err(|failure| unsent(cached, failure))?;
            (connection, cached)
        } else {
            match upstream.take_idle(endpoint, lease.picked_at) {
                Some(idle) => {
                    lease.hold().inspect(|held| held.begins());
                    (idle, true)
                }
                None => {
                    let opening = open(lease, upstream, client, connect_timeout);
                    let opened = Box::pin(opening).await;
                    (opened.map_err(|failure| unsent(false, failure))?, false)
                }
            }
        };
        lease.connected(cached);
        let mut attempt = Attempt {
            connection,
            endpoint,
            cached,
            buffer: ReceiveBuffer::default(),
            bytes_received: 0,
        };
        attempt.connection.requests += 1;
        Ok(attempt)
    }

    /// Sends on and waits for the next response head, interim ones (1xx) included, which is parsed
    /// into `head`.
    ///
    /// # Errors
    /// [`AttemptError`]; the connection is then of no further use.
    pub(crate) async fn read_head(
        &mut self,
        upload: &mut Upload<'_>,
        head: &mut ResponseHead,
        limits: &ReadLimits,
    ) -> Result<(), AttemptError> {
        self.next_head(upload, head, limits)
            .await
            .map_err(|failure| AttemptError {
                request_sent: !matches!(failure, Failure::Refused) || upload.consumed,
                ..self.error(failure)
            })
    }

    async fn next_head(
        &mut self,
        upload: &mut Upload<'_>,
        head: &mut ResponseHead,
        limits: &ReadLimits,
    ) -> Result<(), Failure> {
        if let Some(stream) = self.connection.reader.http2().cloned() {
            return self.next_http2_head(&stream, upload, head, limits).await;
        }
        let mut end = HeadEnd::default();
        let mut due = None;
        let length = loop {
            if let Some(length) = end.find(self.unread()).map_err(Failure::InvalidHeader)? {
                break length;
            }
            if self.unread().len() >= limits.header_size {
                return Err(Failure::HeaderTooLarge);
            }
            let Connection { reader, writer, .. } = &mut *self.connection;
            let buffer = &mut self.buffer;
            #[allow(
                clippy::disallowed_methods,
                reason = "by the upload, then by the alarm"
            )]
            let read = poll_fn(|cx| {
                let sent = upload.poll_drive(cx, writer);
                upload.check_request()?;
                let read = match buffer.unread() {
                    [] => buffer.poll_refill(cx, reader, usize::MAX, upload.buffers),
                    _ => buffer.poll_more(cx, reader, limits.header_size, upload.buffers),
                };
                if let Poll::Ready(read) = read {
                    return Poll::Ready(read.map_err(Failure::Read));
                }
                // Until all is sent, sending has its own limits.
                if sent.is_pending() {
                    due = None;
                    return Poll::Pending;
                }
                upload.check_client(cx)?;
                let due = *due.get_or_insert_with(|| (turn::now() + limits.read_timeout).into());
                (upload.poll_alarm(cx, due)).map(|()| Err(Failure::ReadTimeout))
            })
            .await;
            match read {
                Ok(0) => return Err(upload.take_failure().unwrap_or(Failure::Closed)),
                Ok(read) => self.bytes_received += read as u64,
                Err(Failure::Read(error)) => {
                    return Err(upload.take_failure().unwrap_or(Failure::Read(error)));
                }
                Err(failure) => return Err(failure),
            }
            due = None;
        };
        if length > limits.header_size {
            return Err(Failure::HeaderTooLarge);
        }
        head.parse(&self.unread()[..length], MAX_RESPONSE_HEADERS)
            .map_err(Failure::InvalidHeader)?;
        self.consume(length);
        Ok(())
    }

    async fn next_http2_head(
        &mut self,
        stream: &Http2Stream,
        upload: &mut Upload<'_>,
        head: &mut ResponseHead,
        limits: &ReadLimits,
    ) -> Result<(), Failure> {
        let Connection { writer, .. } = &mut *self.connection;
        let mut due = None;
        #[allow(
            clippy::disallowed_methods,
            reason = "by the upload, then by the alarm"
        )]
        let read = poll_fn(|cx| {
            let sent = upload.poll_drive(cx, writer);
            upload.check_request()?;
            if let Poll::Ready(read) = stream.poll_head(cx, head, MAX_RESPONSE_HEADERS) {
                return Poll::Ready(read.map_err(Failure::from));
            }
            if sent.is_pending() {
                due = None;
                return Poll::Pending;
            }
            upload.check_client(cx)?;
            let due = *due.get_or_insert_with(|| (turn::now() + limits.read_timeout).into());
            (upload.poll_alarm(cx, due)).map(|()| Err(Failure::ReadTimeout))
        })
        .await;
        match read {
            Ok(()) => {
                self.bytes_received += head.len() as u64;
                Ok(())
            }
            // The connection is unusable for other requests too: stop handing it out.
            Err(failure @ (Failure::ReadTimeout | Failure::SendTimeout | Failure::Refused)) => {
                self.connection.retire();
                Err(failure)
            }
            Err(_) if self.connection.was_late() => Err(Failure::ConnectTimeout),
            // Not that of the upload, which only finds that the stream has ended.
            Err(failure) => Err(failure),
        }
    }

    /// The trailer lines of a body that was read to the end of its stream; those of HTTP/1 are part
    /// of its coding.
    ///
    /// # Errors
    /// As [`Attempt::read_body`].
    pub(crate) async fn read_trailers(&mut self, limit: Duration) -> Result<Vec<u8>, BodyFailure> {
        let Connection { reader, alarm, .. } = &mut *self.connection;
        let Some(stream) = reader.http2() else {
            return Ok(Vec::new());
        };
        alarm
            .poll_within(limit, |cx| stream.poll_trailers(cx))
            .await
            .map_err(|_| BodyFailure::TimedOut)?
            .map_err(BodyFailure::Read)
    }

    /// The endpoint will send nothing more on its stream of HTTP/2, trailers included.
    pub(crate) fn has_ended(&self) -> bool {
        let stream = self.connection.reader.http2();
        stream.is_some_and(|stream| stream.is_at_end())
    }

    /// Its connection had been idle.
    pub(crate) fn is_cached(&self) -> bool {
        self.cached
    }

    /// What a failure of this attempt means, once something was sent.
    pub(crate) fn error(&self, failure: Failure) -> AttemptError {
        AttemptError {
            failure,
            request_sent: true,
            cached: self.cached,
        }
    }

    pub(crate) fn unread(&self) -> &[u8] {
        self.buffer.unread()
    }

    /// Whether nothing is between what it receives and its socket.
    pub(crate) fn is_bare(&self) -> bool {
        self.connection.reader.is_bare()
    }

    /// What was received, and the direction in which the request may still be under way.
    pub(crate) fn unread_and_writer(&mut self) -> (&[u8], &mut Writer) {
        (self.buffer.unread(), &mut self.connection.writer)
    }

    pub(crate) fn consume(&mut self, length: usize) {
        self.buffer.consume(length);
    }

    /// Reads more of the body, once all that was read is used up; drives `upload` meanwhile. 0 at
    /// the end.
    ///
    /// # Errors
    /// Where the endpoint fails, is silent for longer than `limit`, or the client leaves.
    pub(crate) async fn read_body(
        &mut self,
        upload: &mut Upload<'_>,
        limit: Duration,
        buffers: &Buffers,
    ) -> Result<usize, BodyFailure> {
        let Connection {
            reader,
            writer,
            alarm,
            ..
        } = &mut *self.connection;
        let buffer = &mut self.buffer;
        let read = alarm.poll_within(limit, |cx| {
            let read = buffer.poll_refill(cx, reader, usize::MAX, buffers);
            upload.poll_beside(cx, writer, read)
        });
        let read = read.await.map_err(|_| BodyFailure::TimedOut)??;
        self.note_read(read, upload)
    }

    /// Moves more of the body into a pipe that is there then, `most` bytes at most, once all that
    /// was read is used up, as [`Attempt::read_body`] reads it. None where no pipe is to be had, or
    /// the kernel does not splice: then it has to be read.
    ///
    /// # Errors
    /// As [`Attempt::read_body`].
    pub(crate) async fn splice_body(
        &mut self,
        pipe: &mut Option<LentPipe>,
        most: usize,
        upload: &mut Upload<'_>,
        limit: Duration,
        buffers: &Buffers,
    ) -> Result<Option<usize>, BodyFailure> {
        let Connection {
            reader,
            writer,
            alarm,
            ..
        } = &mut *self.connection;
        let read = alarm.poll_within(limit, |cx| {
            let read = buffers.poll_fill_pipe(cx, pipe, reader, most);
            upload.poll_beside(cx, writer, read)
        });
        match read.await.map_err(|_| BodyFailure::TimedOut)?? {
            Some(read) => self.note_read(read, upload).map(Some),
            None => Ok(None),
        }
    }

    /// So much was read of the body: 0 at its end.
    fn note_read(&mut self, read: usize, upload: &mut Upload<'_>) -> Result<usize, BodyFailure> {
        if read == 0 && upload.met_a_reset(&self.connection.writer) {
            // The kernel tells of a reset once, and the upload was told: this is no orderly end.
            return Err(BodyFailure::Read(io::ErrorKind::ConnectionReset.into()));
        }
        self.bytes_received += read as u64;
        Ok(read)
    }

    /// Ends the use of the connection; gives its buffer back.
    pub(crate) fn finish(mut self, buffers: &Buffers) -> Box<Connection> {
        self.buffer.release(buffers);
        self.connection
    }
}

/// Whether a connection can serve another request once this answer has ended.
pub(crate) fn keeps_connection(head: &ResponseHead, framing: Framing) -> bool {
    framing != Framing::UntilClose
        && match head.version() {
            Version::Http11 => !head.fields().lists(FieldName::Connection, b"close"),
            Version::Http10 => head.fields().lists(FieldName::Connection, b"keep-alive"),
            // A stream serves once.
            Version::Http2 => false,
        }
}

/// Opens a connection of HTTP/1. Where the client leaves meanwhile, the pool may have it.
async fn open(
    lease: &Lease,
    upstream: &Rc<WorkerUpstream>,
    client: Option<&Reader>,
    connect_timeout: Duration,
) -> Result<Box<Connection>, Failure> {
    let target = upstream.target(lease)?.within(connect_timeout);
    let (descriptors, held) = (lease.exchange().descriptors(), lease.hold());
    let mut dialing =
        Box::pin(async move { dial_for(held.as_deref(), &target, &*descriptors).await });
    let dialed = while_client_stays(dialing.as_mut(), client).await;
    if let Err(Failure::ClientGone) = &dialed {
        upstream.adopt(lease.endpoint().stats.id, dialing);
    }
    dialed.map(Connection::new)
}

/// Takes a slot on a connection of HTTP/2, on a new one if there is no room on the others.
async fn slot(
    lease: &Lease,
    upstream: &WorkerUpstream,
    mut found: Lookup,
    alarm: &mut Alarm,
    client: Option<&Reader>,
    start: &RequestStart<'_>,
    connect_timeout: Duration,
) -> Result<StreamSlot, Failure> {
    let due = Instant::now() + connect_timeout;
    loop {
        match found {
            Lookup::Found(slot) => return Ok(slot),
            Lookup::Wait(pending) => {
                let ended = async {
                    pending.ended().await;
                    Ok(())
                };
                let mut waiting = pin!(while_client_stays(ended, client));
                let waited = alarm.poll_until(due, |cx| waiting.as_mut().poll(cx));
                waited.await.map_err(|_| Failure::ConnectTimeout)??;
            }
            Lookup::Open(guard) => {
                let target = upstream.target(lease)?.within(connect_timeout);
                let descriptors = lease.exchange().descriptors();
                // Whether another protocol is offered is in the endpoint's SETTINGS (RFC 8441).
                let settled = start.protocol.is_some();
                let opened = guard.open(target, descriptors, settled);
                return while_client_stays(opened, client).await;
            }
        }
        found = Http2Connections::find(&upstream.http2, lease.endpoint().stats.id);
    }
}

/// Begins a request on a stream of its own.
///
/// # Errors
/// [`Failure`], with nothing sent.
pub(super) fn open_stream(
    mut slot: StreamSlot,
    start: &RequestStart<'_>,
) -> Result<Box<Connection>, Failure> {
    if start.protocol.is_some() && !slot.send.is_extended_connect_protocol_enabled() {
        return Err(Failure::NoExtendedConnect);
    }
    let request =
        http2_request(start.head, slot.scheme(), start.protocol).map_err(Failure::Inexpressible)?;
    let sent = slot.send.send_request(request, start.ends);
    let (response, body) = sent.map_err(|error| {
        // It is about to end, or has no numbers left for streams: nothing was sent, and another one
        // may do.
        slot.retire();
        match slot.cached {
            true => Failure::Refused,
            false => StreamError::from(error).into(),
        }
    })?;
    let meter = slot.meter().clone();
    let stream = Rc::new(Http2Stream::opened(response, body, start.ends, meter));
    Ok(Connection::of_stream(stream, slot))
}
