//! One request to one endpoint, as far as its response header: connect or reuse, send, read.
//!
//! Sending goes on while the answer is awaited, and while it is passed on: an endpoint may answer
//! before it has seen the whole body, and some answer as they read.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use tokio::time::Instant;

use super::balance::{Lease, WorkerUpstream};
use super::dial::{open, while_wanted};
use super::endpoint::EndpointId;
use super::failure::{AttemptError, BodyFailure, Failure};
use super::http2::{Http2Connections, Lookup, StreamSlot};
use super::pool::Connection;
use super::upload::Upload;
use crate::data_plane::buffers::{Buffers, LARGE};
use crate::data_plane::stream::{Alarm, Http2Stream, Reader, StreamError, Writer};
use crate::http::head::{HeadEnd, ResponseHead, http2_request};

/// Header fields in a response at most, as in a request by default.
const MAX_RESPONSE_HEADERS: usize = 1000;

/// A connection on which a request is under way, and what was read from it.
pub(crate) struct Attempt {
    pub(crate) connection: Connection,
    pub(crate) endpoint: EndpointId,
    cached: bool,
    /// Read and not yet consumed: from `start` on.
    buffer: Vec<u8>,
    start: usize,
    /// The last read took all the room there was.
    filled: bool,
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
    /// with that.
    ///
    /// # Errors
    /// [`AttemptError`], with nothing sent.
    pub(crate) async fn begin(
        lease: &Lease,
        upstream: &WorkerUpstream,
        alarm: &mut Alarm,
        client: &Reader,
        buffers: &Buffers,
        opening: &RequestStart<'_>,
    ) -> Result<Attempt, AttemptError> {
        let unsent = |failure| AttemptError {
            failure,
            request_sent: false,
            cached: false,
        };
        if upstream.shared.config.http2.is_some() {
            let due = Instant::now() + upstream.shared.config.connect_timeout;
            let found = Http2Connections::find(&upstream.http2, lease.endpoint().stats.id);
            let share = match found {
                Lookup::StreamSlot(share) => share,
                // Rare, and its state is large.
                found => Box::pin(share(lease, upstream, found, alarm, due, client))
                    .await
                    .map_err(unsent)?,
            };
            let cached = share.cached;
            let (buffer, endpoint) = (buffers.take_body(), lease.endpoint().stats.id);
            let connection = open_stream(share, opening).map_err(|failure| AttemptError {
                cached,
                ..unsent(failure)
            })?;
            return Ok(Attempt {
                connection,
                endpoint,
                cached,
                buffer,
                start: 0,
                filled: false,
                bytes_received: 0,
            });
        }
        let pooled = upstream.take_idle(lease.endpoint().stats.id, lease.picked_at);
        let cached = pooled.is_some();
        let mut connection = match pooled {
            Some(connection) => connection,
            None => {
                let due = Instant::now() + upstream.shared.config.connect_timeout;
                // Rare, and its state is large.
                let opened = Box::pin(open(lease, alarm, due, Some(client))).await;
                Connection::new(opened.map_err(unsent)?)
            }
        };
        connection.requests += 1;
        let (buffer, start, bytes_received) = (buffers.take_body(), 0, 0);
        Ok(Attempt {
            connection,
            endpoint: lease.endpoint().stats.id,
            cached,
            buffer,
            start,
            filled: false,
            bytes_received,
        })
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
            let Connection {
                reader,
                writer,
                alarm,
                ..
            } = &mut self.connection;
            let buffer = &mut self.buffer;
            if buffer.len() == buffer.capacity() {
                buffer.reserve(buffer.capacity());
            }
            #[allow(
                clippy::disallowed_methods,
                reason = "by the upload, then by the alarm"
            )]
            let read = poll_fn(|cx| {
                if upload.poll_drive(cx, writer).is_ready() {
                    upload.check_client(cx)?;
                }
                match reader.poll_read(cx, buffer, usize::MAX) {
                    Poll::Ready(read) => return Poll::Ready(read.map_err(Failure::Read)),
                    // Until all is sent, sending has its own limits.
                    Poll::Pending if !upload.is_over() => return Poll::Pending,
                    Poll::Pending => {}
                }
                let due = *due.get_or_insert_with(|| Instant::now() + limits.read_timeout);
                alarm.poll_due(cx, due).map(|_| Err(Failure::ReadTimeout))
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
        let Connection { writer, alarm, .. } = &mut self.connection;
        let mut due = None;
        #[allow(
            clippy::disallowed_methods,
            reason = "by the upload, then by the alarm"
        )]
        let read = poll_fn(|cx| {
            if upload.poll_drive(cx, writer).is_ready() {
                upload.check_client(cx)?;
            }
            match stream.poll_head(cx, head, MAX_RESPONSE_HEADERS) {
                Poll::Ready(read) => return Poll::Ready(read.map_err(Failure::from)),
                Poll::Pending if !upload.is_over() => return Poll::Pending,
                Poll::Pending => {}
            }
            let due = *due.get_or_insert_with(|| Instant::now() + limits.read_timeout);
            alarm.poll_due(cx, due).map(|_| Err(Failure::ReadTimeout))
        })
        .await;
        match read {
            Ok(()) => {
                self.bytes_received += head.len() as u64;
                Ok(())
            }
            // Others would wait in vain as well, or be refused.
            Err(failure @ (Failure::ReadTimeout | Failure::SendTimeout | Failure::Refused)) => {
                self.connection.retire();
                Err(failure)
            }
            Err(failure) => Err(upload.take_failure().unwrap_or(failure)),
        }
    }

    /// The trailer lines of a body that was read to the end of its stream; those of HTTP/1 are part
    /// of its coding.
    ///
    /// # Errors
    /// As [`Attempt::read_body`].
    pub(crate) async fn read_trailers(&mut self, limit: Duration) -> Result<Vec<u8>, BodyFailure> {
        let Connection { reader, alarm, .. } = &mut self.connection;
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
        &self.buffer[self.start..]
    }

    /// What was received, and the direction in which the request may still be under way.
    pub(crate) fn unread_and_writer(&mut self) -> (&[u8], &mut Writer) {
        (&self.buffer[self.start..], &mut self.connection.writer)
    }

    pub(crate) fn consume(&mut self, length: usize) {
        self.start += length;
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
    }

    /// Reads more of the body, into the whole buffer, which must be used up; drives `upload`
    /// meanwhile. 0 at the end.
    ///
    /// # Errors
    /// Where the endpoint fails, is silent for longer than `limit`, or the client leaves.
    pub(crate) async fn read_body(
        &mut self,
        upload: &mut Upload<'_>,
        limit: Duration,
        buffers: &Buffers,
    ) -> Result<usize, BodyFailure> {
        debug_assert!(self.unread().is_empty());
        if self.filled && self.buffer.capacity() < LARGE {
            // More came than the buffer holds: fewer and larger steps from here on.
            buffers.give(std::mem::replace(&mut self.buffer, buffers.take_large()));
        }
        let Connection {
            reader,
            writer,
            alarm,
            ..
        } = &mut self.connection;
        let buffer = &mut self.buffer;
        let read = alarm.poll_within(limit, |cx| match reader.poll_read(cx, buffer, usize::MAX) {
            Poll::Ready(read) => Poll::Ready(read.map_err(BodyFailure::Read)),
            Poll::Pending if upload.poll_drive(cx, writer).is_ready() => {
                upload.poll_broken(cx).map(Err)
            }
            Poll::Pending => Poll::Pending,
        });
        let read = read.await.map_err(|_| BodyFailure::TimedOut)??;
        self.bytes_received += read as u64;
        self.filled = self.buffer.len() == self.buffer.capacity();
        Ok(read)
    }

    /// Ends the use of the connection; gives its buffer back.
    pub(crate) fn finish(self, buffers: &Buffers) -> Connection {
        buffers.give(self.buffer);
        self.connection
    }
}

/// Takes a share of a connection of HTTP/2, of a new one if there is no room on the others.
async fn share(
    lease: &Lease,
    upstream: &WorkerUpstream,
    mut found: Lookup,
    alarm: &mut Alarm,
    due: Instant,
    client: &Reader,
) -> Result<StreamSlot, Failure> {
    loop {
        match found {
            Lookup::StreamSlot(share) => return Ok(share),
            Lookup::Wait(waiting) => {
                let late = Failure::ConnectTimeout;
                while_wanted(waiting.ended(), alarm, due, Some(client), late).await?;
            }
            Lookup::Open(guard) => {
                let opened = open(lease, alarm, due, Some(client)).await?;
                let handshake = guard.handshake(opened, lease);
                let late = Failure::ConnectTimeout;
                return while_wanted(handshake, alarm, due, Some(client), late).await?;
            }
        }
        found = Http2Connections::find(&upstream.http2, lease.endpoint().stats.id);
    }
}

fn open_stream(mut share: StreamSlot, opening: &RequestStart<'_>) -> Result<Connection, Failure> {
    if opening.protocol.is_some() && !share.send.is_extended_connect_protocol_enabled() {
        return Err(Failure::NoExtendedConnect);
    }
    let request = http2_request(opening.head, share.scheme, opening.protocol)
        .map_err(Failure::Inexpressible)?;
    let sent = share.send.send_request(request, opening.ends);
    let (response, body) = sent.map_err(|error| {
        // It is about to end, or has no numbers left for streams: nothing was sent, and another one
        // may do.
        share.retire();
        match share.cached {
            true => Failure::Refused,
            false => StreamError::from(error).into(),
        }
    })?;
    let stream = Rc::new(Http2Stream::opened(
        response,
        body,
        opening.ends,
        share.meter().clone(),
    ));
    Ok(Connection::of_stream(stream, share))
}
