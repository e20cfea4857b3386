//! Gathers what an HTTP/2 connection writes.
//!
//! h2 writes and flushes frame by frame. The answers of many streams come close together, and one
//! system call, or one TLS record, can carry them all. So a flush only wakes the connection's task:
//! its next poll begins with `poll_read`, which sends what was gathered.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Stream;

/// Bytes that are gathered: one record of TLS.
const OUTBOX: usize = 16 << 10;
/// A piece of this size or more is written as it is.
const LARGE: usize = 8 << 10;

/// A connection whose small writes leave together.
pub(super) struct WriteBatch {
    stream: Stream,
    outbox: Vec<u8>,
    /// Bytes of the outbox that have left.
    sent: usize,
}

impl WriteBatch {
    pub(super) fn new(stream: Stream) -> WriteBatch {
        WriteBatch {
            stream,
            outbox: Vec::new(),
            sent: 0,
        }
    }

    /// Sends all that was gathered.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.outbox.len() {
            let unsent = &self.outbox[self.sent..];
            match ready!(Pin::new(&mut self.stream).poll_write(cx, unsent))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.sent += written,
            }
        }
        // An idle connection needs none.
        self.outbox = Vec::new();
        self.sent = 0;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Reads, and sends what was put off by [`poll_flush`](Self::poll_flush) first.
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Where the socket takes no more, `poll_drain` has registered the task for that, and
        // reading goes on.
        if !self.outbox.is_empty()
            && let Poll::Ready(drained) = self.poll_drain(cx)
        {
            drained?;
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }

    /// Takes small pieces whole, and writes some of large ones.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        // What was gathered leaves first: the order of the bytes must not change.
        if length >= LARGE || self.outbox.len() + length > OUTBOX {
            ready!(self.poll_drain(cx))?;
        }
        if length >= LARGE {
            return Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        }
        self.outbox.reserve(length);
        for piece in pieces {
            self.outbox.extend_from_slice(piece);
        }
        Poll::Ready(Ok(length))
    }

    /// Puts the flush off: the task is woken, and its next `poll_read` sends what was gathered.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.outbox.is_empty() {
            return Pin::new(&mut self.stream).poll_flush(cx);
        }
        cx.waker().wake_by_ref();
        Poll::Ready(Ok(()))
    }

    /// Sends what was gathered, and ends our direction.
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_drain(cx))?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
