//! One request to one endpoint, as far as its response header: connect or reuse, send, read.
//!
//! Sending goes on while the answer is awaited, and while it is passed on: an endpoint may answer before it has seen the whole
//! body, and some answer as they read.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustls::CertificateError;
use tokio::time::Instant;

use super::balance::{Lease, WorkerUpstream};
use super::connect::{connect, secure};
use super::endpoint::EndpointId;
use super::http2::{Found, Http2Connections, Share};
use super::pool::Connection;
use crate::data_plane::buffers::{Buffers, LARGE};
use crate::data_plane::downstream::{
    BodyError, BodyProgress, CHUNK_FRAMING, Coding, Incoming, append_end,
};
use crate::data_plane::stream::{Alarm, Http2Stream, Reader, Stream, StreamError, Writer};
use crate::http::framing::BadFraming;
use crate::http::head::{BadHead, HeadEnd, ResponseHead, http2_request};
use crate::tls::reason_with_number;

/// Header fields in a response at most, as in a request by default.
const MAX_RESPONSE_HEADERS: usize = 1000;

/// Why an attempt came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("connect() failed ({}) while connecting to upstream", Errno(.0))]
    Connect(io::Error),
    #[error("{} while SSL handshaking to upstream", HandshakeError(.0))]
    Handshake(io::Error),
    #[error("upstream timed out (110: Connection timed out) while connecting to upstream")]
    ConnectTimeout,
    #[error("upstream timed out (110: Connection timed out) while SSL handshaking to upstream")]
    HandshakeTimeout,
    /// Ours, not the endpoint's: nothing is held against it.
    #[error("socket() failed ({}) while connecting to upstream", Errno(.0))]
    NoDescriptor(io::Error),
    #[error("send() failed ({}) while sending request to upstream", Errno(.0))]
    Send(io::Error),
    #[error("upstream timed out (110: Connection timed out) while sending request to upstream")]
    SendTimeout,
    #[error("upstream prematurely closed connection while reading response header from upstream")]
    Closed,
    #[error("recv() failed ({}) while reading response header from upstream", Errno(.0))]
    Read(io::Error),
    #[error(
        "upstream timed out (110: Connection timed out) while reading response header from upstream"
    )]
    ReadTimeout,
    #[error("upstream sent too big header while reading response header from upstream")]
    HeaderTooLarge,
    #[error("upstream sent invalid header ({0}) while reading response header from upstream")]
    InvalidHeader(BadHead),
    #[error("upstream sent {0} while reading response header from upstream")]
    InvalidFraming(BadFraming),
    #[error("upstream sent invalid chunked response while reading upstream")]
    InvalidBody,
    #[error("upstream switched protocols without being asked to")]
    UnaskedUpgrade,
    #[error("upstream answered another WebSocket key than it was sent")]
    WrongWebSocketKey,
    #[error("upstream does not let WebSocket through HTTP/2 (RFC 8441)")]
    NoExtendedConnect,
    /// It says that it has not looked at the request.
    #[error("upstream refused the stream while sending request to upstream")]
    Refused,
    #[error("upstream sent invalid HTTP/2 ({0}) while reading response header from upstream")]
    Http2(StreamError),
    /// The request could not be read to its end.
    #[error(transparent)]
    Request(BodyError),
    #[error("client prematurely closed connection")]
    ClientGone,
}

/// Why a response body broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyFailure {
    #[error("recv() failed ({}) while reading upstream", Errno(.0))]
    Read(io::Error),
    #[error("upstream timed out (110: Connection timed out) while reading upstream")]
    TimedOut,
    #[error("upstream prematurely closed connection while reading upstream")]
    Closed,
    #[error("upstream sent invalid chunked response while reading upstream")]
    BadChunk,
    #[error("client prematurely closed connection while reading upstream")]
    ClientGone,
}

/// An error of the kernel as nginx writes it: `111: Connection refused`.
pub(crate) struct Errno<'a>(pub(crate) &'a io::Error);

impl std::fmt::Display for Errno<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some(number) = self.0.raw_os_error() else {
            return self.0.fmt(f);
        };
        let text = self.0.to_string();
        write!(
            f,
            "{number}: {}",
            text.split(" (os error").next().unwrap_or_default()
        )
    }
}

/// A handshake's failure in nginx's words (`ngx_http_upstream_ssl_handshake`).
struct HandshakeError<'a>(&'a io::Error);

impl std::fmt::Display for HandshakeError<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let tls = self
            .0
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match tls {
            Some(rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext {
                expected,
                presented,
            })) => {
                let expected = expected.to_str();
                write!(f, "upstream SSL certificate does not match \"{expected}\"")?;
                match presented.as_slice() {
                    // nginx goes by its subject then, which RFC 9525 section 6.3 forbids.
                    [] => f.write_str(" (it has no subjectAltName)"),
                    _ => Ok(()),
                }
            }
            Some(error) => match reason_with_number(error) {
                Some(reason) => write!(f, "upstream SSL certificate verify error: ({reason})"),
                None => write!(f, "SSL_do_handshake() failed ({error})"),
            },
            None if self.0.kind() == io::ErrorKind::UnexpectedEof => {
                f.write_str("peer closed connection in SSL handshake")
            }
            None => write!(f, "SSL_do_handshake() failed ({})", Errno(self.0)),
        }
    }
}

/// A failure, and what nginx's rules for the next attempt ask about it.
#[derive(Debug)]
pub(crate) struct AttemptError {
    pub(crate) failure: Failure,
    /// Something of the request may have reached the endpoint.
    pub(crate) request_sent: bool,
    /// It was sent on a connection that had been idle, which the endpoint may have closed meanwhile.
    pub(crate) cached: bool,
}

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
pub(crate) struct Opening<'a> {
    /// As text.
    pub(crate) head: &'a [u8],
    /// Nothing follows the header.
    pub(crate) ends: bool,
    /// The protocol that an extended CONNECT asks for.
    pub(crate) protocol: Option<&'a str>,
}

impl AttemptError {
    /// The endpoint ended a connection that others were on, and has not looked at the request: another connection is all
    /// that it takes. Nothing for the endpoint to be blamed for.
    pub(crate) fn needs_another_connection(&self) -> bool {
        matches!(self.failure, Failure::Refused) && self.cached && !self.request_sent
    }
}

impl Attempt {
    /// Takes a connection to the lease's endpoint, or opens one. Over HTTP/2, the header is sent with that.
    ///
    /// # Errors
    /// [`AttemptError`], with nothing sent.
    pub(crate) async fn begin(
        lease: &Lease,
        upstream: &WorkerUpstream,
        alarm: &mut Alarm,
        client: &Reader,
        buffers: &Buffers,
        opening: &Opening<'_>,
    ) -> Result<Attempt, AttemptError> {
        let unsent = |failure| AttemptError {
            failure,
            request_sent: false,
            cached: false,
        };
        if upstream.shared.config.http2.is_some() {
            let due = Instant::now() + upstream.shared.config.connect_timeout;
            let found = Http2Connections::find(&upstream.http2, lease.endpoint().figures.id);
            let share = match found {
                Found::Share(share) => share,
                // Rare, and its state is large.
                found => Box::pin(share(lease, upstream, found, alarm, due, client))
                    .await
                    .map_err(unsent)?,
            };
            let cached = share.cached;
            let (buffer, endpoint) = (buffers.take_body(), lease.endpoint().figures.id);
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
        let pooled = upstream.take_idle(lease.endpoint().figures.id, lease.picked_at);
        let cached = pooled.is_some();
        let mut connection = match pooled {
            Some(connection) => connection,
            None => {
                let due = Instant::now() + upstream.shared.config.connect_timeout;
                // Rare, and its state is large.
                let opened = Box::pin(open(lease, alarm, due, client)).await;
                let (reader, writer) = opened.map_err(unsent)?.split();
                Connection::new(reader, writer)
            }
        };
        connection.requests += 1;
        let (buffer, start, bytes_received) = (buffers.take_body(), 0, 0);
        Ok(Attempt {
            connection,
            endpoint: lease.endpoint().figures.id,
            cached,
            buffer,
            start,
            filled: false,
            bytes_received,
        })
    }

    /// Sends on and waits for the next response head, interim ones (1xx) included, which is parsed into `head`.
    ///
    /// # Errors
    /// [`AttemptError`]; the connection is then of no further use.
    pub(crate) async fn read_head(
        &mut self,
        upload: &mut Upload<'_>,
        head: &mut ResponseHead,
        limits: &Limits,
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
        limits: &Limits,
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
        limits: &Limits,
    ) -> Result<(), Failure> {
        let Connection { writer, alarm, .. } = &mut self.connection;
        let mut due = None;
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
            Err(Failure::ReadTimeout) => {
                // Others would wait in vain as well.
                self.connection.retire();
                Err(Failure::ReadTimeout)
            }
            Err(Failure::Refused) => {
                self.connection.retire();
                Err(Failure::Refused)
            }
            Err(failure) => Err(upload.take_failure().unwrap_or(failure)),
        }
    }

    /// The trailer lines of a body that was read to the end of its stream; those of HTTP/1 are part of its coding.
    ///
    /// # Errors
    /// As [`Attempt::read_body`].
    pub(crate) async fn read_trailers(&mut self, limit: Duration) -> Result<Vec<u8>, BodyFailure> {
        let Connection { reader, alarm, .. } = &mut self.connection;
        let Some(stream) = reader.http2() else {
            return Ok(Vec::new());
        };
        alarm
            .within(limit, poll_fn(|cx| stream.poll_trailers(cx)))
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

    /// Reads more of the body, into the whole buffer, which must be used up; drives `upload` meanwhile. 0 at the end.
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
        let read = poll_fn(|cx| match reader.poll_read(cx, buffer, usize::MAX) {
            Poll::Ready(read) => Poll::Ready(read.map_err(BodyFailure::Read)),
            Poll::Pending
                if upload.poll_drive(cx, writer).is_ready()
                    && upload.poll_client_gone(cx).is_ready() =>
            {
                Poll::Ready(Err(BodyFailure::ClientGone))
            }
            Poll::Pending => Poll::Pending,
        });
        let read = alarm
            .within(limit, read)
            .await
            .map_err(|_| BodyFailure::TimedOut)??;
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

/// Opens a connection until `due`, as long as the client waits for it.
async fn open(
    lease: &Lease,
    alarm: &mut Alarm,
    due: Instant,
    client: &Reader,
) -> Result<Stream, Failure> {
    let late = Failure::ConnectTimeout;
    let transport = while_wanted(connect(lease), alarm, due, Some(client), late).await??;
    let late = Failure::HandshakeTimeout;
    while_wanted(secure(lease, transport), alarm, due, Some(client), late).await?
}

/// Takes a share of a connection of HTTP/2, of a new one if there is no room on the others.
async fn share(
    lease: &Lease,
    upstream: &WorkerUpstream,
    mut found: Found,
    alarm: &mut Alarm,
    due: Instant,
    client: &Reader,
) -> Result<Share, Failure> {
    loop {
        match found {
            Found::Share(share) => return Ok(share),
            Found::Wait(waiting) => {
                let late = Failure::ConnectTimeout;
                while_wanted(waiting.ended(), alarm, due, Some(client), late).await?;
            }
            Found::Open(guard) => {
                let stream = open(lease, alarm, due, client).await?;
                let late = Failure::ConnectTimeout;
                return while_wanted(guard.handshake(stream), alarm, due, Some(client), late)
                    .await?;
            }
        }
        found = Http2Connections::find(&upstream.http2, lease.endpoint().figures.id);
    }
}

/// Works until `due`, which is `late`, and as long as the client, if one is given, waits for it; one that has sent something
/// is taken to.
pub(super) async fn while_wanted<T>(
    work: impl Future<Output = T>,
    alarm: &mut Alarm,
    due: Instant,
    client: Option<&Reader>,
    late: Failure,
) -> Result<T, Failure> {
    let mut work = std::pin::pin!(work);
    let wanted = poll_fn(|cx| {
        if let Poll::Ready(done) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(done));
        }
        client.map_or(Poll::Pending, |client| {
            client.poll_closed(cx).map(|()| None)
        })
    });
    match alarm.until(due, wanted).await {
        Ok(Some(done)) => Ok(done),
        Ok(None) => Err(Failure::ClientGone),
        Err(_) => Err(late),
    }
}

fn open_stream(mut share: Share, opening: &Opening<'_>) -> Result<Connection, Failure> {
    if opening.protocol.is_some() && !share.send.is_extended_connect_protocol_enabled() {
        return Err(Failure::NoExtendedConnect);
    }
    let request = http2_request(opening.head, share.scheme, opening.protocol)
        .map_err(|bad| Failure::Http2(bad.into()))?;
    let (response, body) = share
        .send
        .send_request(request, opening.ends)
        .map_err(StreamError::from)?;
    let stream = Rc::new(Http2Stream::opened(response, body, opening.ends));
    Ok(Connection::of_stream(stream, share))
}

impl Failure {
    /// Why there is no connection.
    pub(super) fn of_connect(error: io::Error) -> Failure {
        match error.raw_os_error() {
            // EMFILE, ENFILE
            Some(24 | 23) => Failure::NoDescriptor(error),
            _ => Failure::Connect(error),
        }
    }
}

impl From<StreamError> for Failure {
    fn from(error: StreamError) -> Failure {
        match error {
            StreamError::Refused => Failure::Refused,
            StreamError::Http2(error) if error.is_io() => Failure::Closed,
            error => Failure::Http2(error),
        }
    }
}

/// Bounds on an attempt, from the upstream's configuration.
pub(crate) struct Limits {
    pub(crate) read_timeout: Duration,
    pub(crate) header_size: usize,
}

/// A request on its way to an endpoint.
pub(crate) struct Upload<'a> {
    /// The head, and as much of the body as was read beforehand.
    head: &'a [u8],
    body: &'a [u8],
    /// Of both together.
    written: usize,
    client: &'a mut Incoming,
    rest: Option<Rest<'a>>,
    /// Over HTTP/2: the trailer lines of a request that is there as a whole. None where it stays open.
    end: Option<&'a [u8]>,
    state: State,
    /// Something of the rest was read, and cannot be sent again.
    consumed: bool,
    pub(crate) bytes_sent: u64,
    alarm: Alarm,
    due: Option<Instant>,
    send_timeout: Duration,
    body_timeout: Duration,
    buffers: &'a Buffers,
}

/// The part of a body that is passed on as it arrives.
struct Rest<'a> {
    progress: &'a mut BodyProgress,
    coding: Coding,
    out: Vec<u8>,
    written: usize,
    ended: bool,
}

enum State {
    Sending,
    Sent,
    Failed(Option<Failure>),
}

impl<'a> Upload<'a> {
    /// `rest`: what is still to be read from the client after `body`, and how it is coded. `end`: the trailer lines of a
    /// request that HTTP/2 carries and that is there as a whole.
    #[allow(
        clippy::too_many_arguments,
        reason = "the parts of a request, each borrowed for its own time"
    )]
    pub(crate) fn new(
        head: &'a [u8],
        body: &'a [u8],
        client: &'a mut Incoming,
        rest: Option<(&'a mut BodyProgress, Coding)>,
        end: Option<&'a [u8]>,
        send_timeout: Duration,
        body_timeout: Duration,
        buffers: &'a Buffers,
    ) -> Upload<'a> {
        let rest = rest.map(|(progress, coding)| Rest {
            progress,
            coding,
            out: buffers.take_body(),
            written: 0,
            ended: false,
        });
        let (written, bytes_sent, state, consumed) = (0, 0, State::Sending, false);
        let (alarm, due) = (Alarm::default(), None);
        Upload {
            head,
            body,
            written,
            client,
            rest,
            end,
            state,
            consumed,
            bytes_sent,
            alarm,
            due,
            send_timeout,
            body_timeout,
            buffers,
        }
    }

    /// Everything was sent.
    pub(crate) fn is_sent(&self) -> bool {
        matches!(self.state, State::Sent)
    }

    /// Nothing more will be sent.
    pub(crate) fn is_over(&self) -> bool {
        !matches!(self.state, State::Sending)
    }

    /// Gives the client's direction back; what was not sent will not be.
    pub(crate) fn into_client(self) -> &'a mut Incoming {
        self.client
    }

    /// Why sending failed, if it did.
    pub(crate) fn take_failure(&mut self) -> Option<Failure> {
        match &mut self.state {
            State::Failed(failure) => failure.take(),
            State::Sending | State::Sent => None,
        }
    }

    /// Sends what can be sent now; ready when there is nothing more to do, be it because of a failure.
    pub(crate) fn poll_drive(&mut self, cx: &mut Context<'_>, writer: &mut Writer) -> Poll<()> {
        if self.is_over() {
            return Poll::Ready(());
        }
        self.state = match ready!(self.poll_send(cx, writer)) {
            Ok(()) => State::Sent,
            Err(failure) => State::Failed(Some(failure)),
        };
        Poll::Ready(())
    }

    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut Writer,
    ) -> Poll<Result<(), Failure>> {
        if let (None, Some([]), Some(stream)) = (&self.rest, self.end, writer.http2()) {
            stream.end_with_next_write();
        }
        while self.written < self.head.len() + self.body.len() {
            let head = &self.head[self.written.min(self.head.len())..];
            let body = &self.body[self.written.saturating_sub(self.head.len())..];
            let written = ready!(
                self.poll_write(cx, writer, |cx, writer| writer.poll_write(cx, head, body))
            )?;
            self.written += written;
        }
        let Some(mut rest) = self.rest.take() else {
            if let (Some(trailers), Some(stream)) = (self.end, writer.http2()) {
                stream.end(trailers)?;
            }
            return self.poll_flush(cx, writer);
        };
        let sent = self.poll_send_rest(cx, writer, &mut rest);
        if sent.is_ready() {
            self.buffers.give(rest.out);
        } else {
            self.rest = Some(rest);
        }
        sent
    }

    fn poll_send_rest(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut Writer,
        rest: &mut Rest<'_>,
    ) -> Poll<Result<(), Failure>> {
        loop {
            while rest.written < rest.out.len() {
                let unsent = &rest.out[rest.written..];
                rest.written += ready!(
                    self.poll_write(cx, writer, |cx, writer| writer.poll_write(cx, unsent, &[]))
                )?;
            }
            rest.out.clear();
            rest.written = 0;
            if rest.ended {
                if let Some(stream) = writer.http2() {
                    stream.end(rest.progress.trailers())?;
                }
                return self.poll_flush(cx, writer);
            }
            match rest
                .progress
                .poll_move(cx, self.client, &mut rest.out, rest.coding, self.buffers)
            {
                Poll::Ready(moved) => moved.map_err(Failure::Request)?,
                Poll::Pending => {
                    ready!(self.poll_due(cx, self.body_timeout));
                    return Poll::Ready(Err(Failure::Request(BodyError::TimedOut)));
                }
            }
            self.due = None;
            self.consumed = true;
            if rest.progress.is_done() {
                rest.ended = true;
                if let (Some(stream), []) = (writer.http2(), rest.progress.trailers()) {
                    stream.end_with_next_write();
                }
                rest.out
                    .reserve(CHUNK_FRAMING + rest.progress.trailers().len());
                append_end(rest.progress.trailers(), rest.coding, &mut rest.out);
            }
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut Writer,
        write: impl FnOnce(&mut Context<'_>, &mut Writer) -> Poll<io::Result<usize>>,
    ) -> Poll<Result<usize, Failure>> {
        match write(cx, writer) {
            Poll::Ready(Ok(written)) => {
                self.due = None;
                self.bytes_sent += written as u64;
                Poll::Ready(Ok(written))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(Failure::Send(error))),
            Poll::Pending => self
                .poll_due(cx, self.send_timeout)
                .map(|()| Err(Failure::SendTimeout)),
        }
    }

    fn poll_flush(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut Writer,
    ) -> Poll<Result<(), Failure>> {
        match writer.poll_flush(cx) {
            Poll::Ready(flushed) => Poll::Ready(flushed.map_err(Failure::Send)),
            Poll::Pending => self
                .poll_due(cx, self.send_timeout)
                .map(|()| Err(Failure::SendTimeout)),
        }
    }

    fn poll_due(&mut self, cx: &mut Context<'_>, limit: Duration) -> Poll<()> {
        let due = *self.due.get_or_insert_with(|| Instant::now() + limit);
        self.alarm.poll_due(cx, due).map(|_| ())
    }

    /// Once sending is over: whether it is worth waiting for an answer. A failure to write is, the endpoint may have answered
    /// and closed; a failure to read the request is not, nor is a client that left.
    fn check_client(&mut self, cx: &mut Context<'_>) -> Result<(), Failure> {
        if let State::Failed(failure @ Some(Failure::Request(_) | Failure::SendTimeout)) =
            &mut self.state
        {
            return failure.take().map_or(Ok(()), Err);
        }
        match self.poll_client_gone(cx) {
            Poll::Ready(()) => Err(Failure::ClientGone),
            Poll::Pending => Ok(()),
        }
    }

    /// Ready once the client has left. One that has sent its next request already is taken to be there.
    fn poll_client_gone(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.client.unread().is_empty() {
            self.client.reader.poll_closed(cx)
        } else {
            Poll::Pending
        }
    }
}
