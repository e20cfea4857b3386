//! One stream of an HTTP/2 connection, as two directions of bytes with a head before them and
//! trailers behind.
//!
//! The connection itself is driven by a task of its own. What is written here waits in a bounded
//! buffer for the peer's window; what is read gives its room in our window back as it is taken, so
//! that a slow reader slows its writer.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use h2::client::ResponseFuture;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};

use super::Meter;
use crate::http::head::{self, BadHead, ResponseHead};

/// A stream of HTTP/2, of either side.
pub(crate) struct Http2Stream {
    receiving: RefCell<Receiving>,
    sending: RefCell<SendState>,
    /// The next write is the last.
    ending: Cell<bool>,
    /// Of its connection.
    meter: Rc<Meter>,
}

struct Receiving {
    /// None while a response header is awaited.
    body: Option<RecvStream>,
    response: Option<ResponseFuture>,
    /// Received, its room in the window not yet given back.
    chunk: Bytes,
    /// The peer is a server, and this is its response.
    is_response: bool,
}

enum SendState {
    /// A server's side, before its response header.
    Unanswered(SendResponse<Bytes>),
    Open(SendStream<Bytes>),
    Ended(SendStream<Bytes>),
    /// Nothing can be sent any more.
    Broken,
}

/// Why a stream cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    /// The peer has not looked at the request, and says so (RFC 9113 section 8.7): of this stream,
    /// or of all beyond the last one that a GOAWAY names, whatever its reason. h2 tells no other
    /// stream of a GOAWAY.
    #[error("the stream was refused")]
    Refused,
    #[error("{0}")]
    Http2(h2::Error),
    #[error("{0}")]
    BadHead(BadHead),
    #[error("the stream has ended")]
    Ended,
}

impl From<h2::Error> for StreamError {
    fn from(error: h2::Error) -> StreamError {
        let unprocessed = error.is_remote()
            && (error.reason() == Some(Reason::REFUSED_STREAM) || error.is_go_away());
        if unprocessed {
            StreamError::Refused
        } else {
            StreamError::Http2(error)
        }
    }
}

impl From<BadHead> for StreamError {
    fn from(bad: BadHead) -> StreamError {
        StreamError::BadHead(bad)
    }
}

impl From<StreamError> for io::Error {
    fn from(error: StreamError) -> io::Error {
        match error {
            StreamError::Http2(error) if error.is_io() => error
                .into_io()
                .unwrap_or_else(|| io::ErrorKind::ConnectionReset.into()),
            StreamError::Http2(error) => io::Error::new(io::ErrorKind::ConnectionReset, error),
            error => io::Error::new(io::ErrorKind::BrokenPipe, error),
        }
    }
}

/// What a head says, and what comes behind it.
impl Http2Stream {
    /// The server's side of a stream.
    pub(crate) fn accepted(
        body: RecvStream,
        respond: SendResponse<Bytes>,
        meter: Rc<Meter>,
    ) -> Http2Stream {
        Http2Stream {
            receiving: RefCell::new(Receiving {
                body: Some(body),
                response: None,
                chunk: Bytes::new(),
                is_response: false,
            }),
            sending: RefCell::new(SendState::Unanswered(respond)),
            ending: Cell::new(false),
            meter,
        }
    }

    /// The client's side of a stream; `ended` where the request has no body.
    pub(crate) fn opened(
        response: ResponseFuture,
        body: SendStream<Bytes>,
        ended: bool,
        meter: Rc<Meter>,
    ) -> Http2Stream {
        Http2Stream {
            receiving: RefCell::new(Receiving {
                body: None,
                response: Some(response),
                chunk: Bytes::new(),
                is_response: true,
            }),
            sending: RefCell::new(if ended {
                SendState::Ended(body)
            } else {
                SendState::Open(body)
            }),
            ending: Cell::new(false),
            meter,
        }
    }

    /// Sends the response header, given as text; `end` where nothing follows it.
    ///
    /// # Errors
    /// Where the stream is gone, or the header was sent.
    pub(crate) fn send_head(&self, text: &[u8], end: bool) -> Result<(), StreamError> {
        let mut sending = self.sending.borrow_mut();
        let SendState::Unanswered(respond) = &mut *sending else {
            return Err(StreamError::Ended);
        };
        let body = respond.send_response(head::http2_response(text)?, end)?;
        *sending = if end {
            SendState::Ended(body)
        } else {
            SendState::Open(body)
        };
        Ok(())
    }

    /// Sends an interim response (1xx), given as text.
    ///
    /// # Errors
    /// As [`Http2Stream::send_head`].
    pub(crate) fn send_interim(&self, text: &[u8]) -> Result<(), StreamError> {
        match &mut *self.sending.borrow_mut() {
            SendState::Unanswered(respond) => {
                Ok(respond.send_informational(head::http2_response(text)?)?)
            }
            _ => Err(StreamError::Ended),
        }
    }

    /// Ready with the next response header, interim ones included, parsed into `into`.
    ///
    /// # Errors
    /// Where none will come.
    pub(crate) fn poll_head(
        &self,
        cx: &mut Context<'_>,
        into: &mut ResponseHead,
        max_headers: usize,
    ) -> Poll<Result<(), StreamError>> {
        let mut receiving = self.receiving.borrow_mut();
        let Some(response) = &mut receiving.response else {
            return Poll::Ready(Err(StreamError::Ended));
        };
        if let Poll::Ready(Some(interim)) = response.poll_informational(cx) {
            let (parts, ()) = interim?.into_parts();
            into.take_http2(parts.status, &parts.headers, max_headers)?;
            return Poll::Ready(Ok(()));
        }
        let (parts, body) = ready!(Pin::new(response).poll(cx))?.into_parts();
        receiving.response = None;
        receiving.body = Some(body);
        into.take_http2(parts.status, &parts.headers, max_headers)?;
        Poll::Ready(Ok(()))
    }

    /// Nothing more will be received: neither body nor trailers.
    pub(crate) fn is_at_end(&self) -> bool {
        let receiving = self.receiving.borrow();
        receiving.chunk.is_empty()
            && receiving
                .body
                .as_ref()
                .is_some_and(RecvStream::is_end_stream)
    }

    /// Ready with the trailer lines, once all of the body was read; empty where there are none.
    pub(crate) fn poll_trailers(&self, cx: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>> {
        let receiving = &mut *self.receiving.borrow_mut();
        let Some(body) = &mut receiving.body else {
            return Poll::Ready(Ok(Vec::new()));
        };
        let trailers = std::pin::pin!(body.trailers());
        let trailers = match ready!(trailers.poll(cx)) {
            Err(error) if receiving.is_response && is_no_error(&error) => None,
            trailers => trailers.map_err(StreamError::from)?,
        };
        Poll::Ready(match trailers {
            None => Ok(Vec::new()),
            Some(trailers) => head::clean_trailers(&head::trailer_lines(&trailers))
                .map_err(|bad| StreamError::BadHead(bad).into()),
        })
    }

    /// The next write carries the end of the stream with it, which saves a frame of its own.
    pub(crate) fn end_with_next_write(&self) {
        self.ending.set(true);
    }

    /// Ends our direction, if it has not ended, with trailer lines or without.
    ///
    /// # Errors
    /// Where the stream is gone.
    pub(crate) fn end(&self, trailer_lines: &[u8]) -> Result<(), StreamError> {
        let mut sending = self.sending.borrow_mut();
        match std::mem::replace(&mut *sending, SendState::Broken) {
            SendState::Open(mut body) => {
                if trailer_lines.is_empty() {
                    body.send_data(Bytes::new(), true)?;
                } else {
                    body.send_trailers(head::http2_trailers(trailer_lines)?)?;
                }
                *sending = SendState::Ended(body);
                Ok(())
            }
            SendState::Ended(body) => {
                *sending = SendState::Ended(body);
                Ok(())
            }
            SendState::Unanswered(_) | SendState::Broken => Err(StreamError::Ended),
        }
    }

    /// Whether our direction has come to its proper end.
    pub(crate) fn has_ended(&self) -> bool {
        matches!(*self.sending.borrow(), SendState::Ended(_))
    }

    /// Tells the peer that what it got is not all there is.
    pub(crate) fn reset(&self, reason: Reason) {
        match &mut *self.sending.borrow_mut() {
            SendState::Unanswered(respond) => respond.send_reset(reason),
            SendState::Open(body) | SendState::Ended(body) => body.send_reset(reason),
            SendState::Broken => {}
        }
    }
}

/// The two directions.
impl Http2Stream {
    pub(super) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut Vec<u8>,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        let receiving = &mut *self.receiving.borrow_mut();
        let room = most.min(buffer.capacity() - buffer.len());
        let mut read = 0;
        while read < room {
            match receiving.poll_chunk(cx) {
                Poll::Ready(Ok(true)) => {}
                // What came before the end or the failure goes first.
                _ if read > 0 => break,
                Poll::Ready(Ok(false)) => return Poll::Ready(Ok(0)),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending => return Poll::Pending,
            }
            let taken = receiving
                .chunk
                .split_to(receiving.chunk.len().min(room - read));
            buffer.extend_from_slice(&taken);
            read += taken.len();
            if let Some(body) = &mut receiving.body {
                // Fails only for more than was received.
                let _ = body.flow_control().release_capacity(taken.len());
            }
        }
        Poll::Ready(Ok(read))
    }

    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut receiving = self.receiving.borrow_mut();
        receiving.poll_chunk(cx).map(|chunk| match chunk {
            Ok(_) => Ok(()),
            Err(error) => Err(error.into()),
        })
    }

    /// Ready when the peer has reset the stream, or is gone.
    pub(super) fn poll_reset(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut *self.sending.borrow_mut() {
            SendState::Unanswered(respond) => respond.poll_reset(cx).map(|_| ()),
            SendState::Open(body) | SendState::Ended(body) => body.poll_reset(cx).map(|_| ()),
            SendState::Broken => Poll::Ready(()),
        }
    }

    pub(super) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        first: &[u8],
        second: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut sending = self.sending.borrow_mut();
        let SendState::Open(body) = &mut *sending else {
            return Poll::Ready(Err(StreamError::Ended.into()));
        };
        let length = first.len() + second.len();
        if length == 0 {
            return Poll::Ready(Ok(0));
        }
        body.reserve_capacity(length);
        let mut room = body.capacity();
        while room == 0 {
            room = match ready!(body.poll_capacity(cx)) {
                Some(granted) => granted.map_err(StreamError::from)?,
                None => return Poll::Ready(Err(StreamError::Ended.into())),
            };
        }
        let taken = room.min(length);
        let mut data = BytesMut::with_capacity(taken);
        data.extend_from_slice(&first[..taken.min(first.len())]);
        data.extend_from_slice(&second[..taken - data.len()]);
        if taken == length {
            // What a window cut short is the peer's own doing.
            self.meter.sent_part();
        }
        let last = self.ending.get() && taken == length;
        body.send_data(data.freeze(), last)
            .map_err(StreamError::from)?;
        if last && let SendState::Open(body) = std::mem::replace(&mut *sending, SendState::Broken) {
            *sending = SendState::Ended(body);
        }
        Poll::Ready(Ok(taken))
    }
}

impl Receiving {
    /// Ready with whether there is a chunk: false at the end.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, StreamError>> {
        while self.chunk.is_empty() {
            let Some(body) = &mut self.body else {
                return Poll::Ready(Err(StreamError::Ended));
            };
            match ready!(body.poll_data(cx)) {
                Some(Err(error)) if self.is_response && is_no_error(&error) => {
                    return Poll::Ready(Ok(false));
                }
                Some(chunk) => self.chunk = chunk?,
                None => return Poll::Ready(Ok(false)),
            }
        }
        Poll::Ready(Ok(true))
    }
}

/// Whether the peer has reset the stream without an error. A server does so once its response is
/// whole, to ask for no more of the request (RFC 9113 section 8.1).
fn is_no_error(error: &h2::Error) -> bool {
    error.is_reset() && error.is_remote() && error.reason() == Some(Reason::NO_ERROR)
}
