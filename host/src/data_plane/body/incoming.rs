//! What a client sends: heads and bodies, read through one buffer that is given back while the
//! connection is idle.

use std::io;
use std::task::{Context, Poll, ready};

use super::coding::Encoder;
use super::pipe::{BadBody, BodyPipe};
use super::receive::ReceiveBuffer;
use super::stage::Stopped;
use crate::data_plane::buffers::{BODY, Buffers, ROUNDS};
use crate::data_plane::stream::Reader;

/// The client's direction of a connection, and what was read of it ahead of need.
pub(crate) struct Incoming {
    pub(crate) reader: Reader,
    buffer: ReceiveBuffer,
}

/// Why a request body could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("client prematurely closed connection")]
    Closed,
    #[error("{0}")]
    Io(io::Error),
    #[error("client timed out")]
    TimedOut,
    #[error("client {0}")]
    Bad(#[from] BadBody),
    #[error("{0}")]
    Stopped(Box<Stopped>),
}

impl From<Stopped> for BodyError {
    fn from(stopped: Stopped) -> BodyError {
        BodyError::Stopped(Box::new(stopped))
    }
}

impl Incoming {
    pub(crate) fn new(reader: Reader) -> Incoming {
        Incoming {
            reader,
            buffer: ReceiveBuffer::default(),
        }
    }

    /// Received, not yet consumed.
    pub(crate) fn unread(&self) -> &[u8] {
        self.buffer.unread()
    }

    pub(crate) fn consume(&mut self, length: usize) {
        self.buffer.consume(length);
    }

    /// See [`ReceiveBuffer::consumed`].
    pub(crate) fn consumed(&self, length: usize) -> &[u8] {
        self.buffer.consumed(length)
    }

    /// Nothing was received that is not consumed, and nothing can be read.
    pub(crate) fn is_silent(&self) -> bool {
        self.unread().is_empty() && self.reader.is_silent()
    }

    /// Gives the buffer back if nothing is in it: an idle connection costs no buffer.
    pub(crate) fn release(&mut self, buffers: &Buffers) {
        if self.unread().is_empty() {
            self.buffer.release(buffers);
        }
    }

    /// Reads more of a head, see [`ReceiveBuffer::poll_more`].
    ///
    /// # Errors
    /// What the reader says.
    pub(crate) fn poll_more(
        &mut self,
        cx: &mut Context<'_>,
        bound: usize,
        buffers: &Buffers,
    ) -> Poll<io::Result<usize>> {
        self.buffer.poll_more(cx, &mut self.reader, bound, buffers)
    }

    /// Reads more, once all is consumed, see [`ReceiveBuffer::poll_refill`].
    ///
    /// # Errors
    /// What the reader says.
    pub(crate) fn poll_refill(
        &mut self,
        cx: &mut Context<'_>,
        most: usize,
        buffers: &Buffers,
    ) -> Poll<io::Result<usize>> {
        self.buffer.poll_refill(cx, &mut self.reader, most, buffers)
    }

    /// Ready once there is something unread of a body, or it has ended; its end is then appended to
    /// `out` as the encoder has it.
    ///
    /// # Errors
    /// Where the end of the body cannot be found.
    pub(crate) fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut BodyPipe,
        (encoder, out): (&Encoder<'_>, &mut Vec<u8>),
        buffers: &Buffers,
    ) -> Poll<Result<(), BodyError>> {
        if body.is_broken() {
            return Poll::Ready(Err(BodyError::Closed));
        }
        if body.is_done() || !self.unread().is_empty() {
            return Poll::Ready(Ok(()));
        }
        // What comes behind a body of known length is left to the kernel: the next request. One
        // step is never large: many clients may send at once to servers that take little.
        let most = body
            .length_left()
            .map_or(BODY, |left| usize::try_from(left).unwrap_or(BODY).min(BODY));
        let read = ready!(self.poll_refill(cx, most, buffers)).map_err(BodyError::Io)?;
        if read > 0 {
            return Poll::Ready(Ok(()));
        }
        // The end of the input. A body of HTTP/1 that is not done is cut short by it; a body of
        // HTTP/2 is complete, and trailers may follow.
        let trailers = ready!(self.reader.poll_trailers(cx)).map_err(BodyError::Io)?;
        match body.end(trailers, encoder, out) {
            true => Poll::Ready(Ok(())),
            false => Poll::Ready(Err(BodyError::Closed)),
        }
    }

    /// Reads what comes of a body and drops it; ready at its end. HTTP/2 declines the rest of a
    /// body instead.
    ///
    /// # Errors
    /// Where the end of the body cannot be found.
    pub(crate) fn poll_drop(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut BodyPipe,
        buffers: &Buffers,
    ) -> Poll<Result<(), BodyError>> {
        for _ in 0..ROUNDS {
            if body.is_done() || body.ends_with_its_stream() {
                return Poll::Ready(Ok(()));
            }
            let end = (&Encoder::PLAIN, &mut Vec::new());
            ready!(self.poll_body(cx, body, end, buffers))?;
            let dropped = body.each_piece(self.unread(), |_| ())?;
            self.consume(dropped);
        }
        // Other tasks have their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// As [`poll_drop`](Self::poll_drop); ready with none where something was dropped and more is to
    /// come: a client that goes on sending is given time to.
    pub(crate) fn poll_drop_piece(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut BodyPipe,
        buffers: &Buffers,
    ) -> Poll<Option<Result<(), BodyError>>> {
        let before = body.length;
        match self.poll_drop(cx, body, buffers) {
            Poll::Ready(dropped) => Poll::Ready(Some(dropped)),
            Poll::Pending if body.length > before => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}
