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
pub(super) struct Gathered {
    stream: Stream,
    outbox: Vec<u8>,
    /// Bytes of the outbox that have left.
    sent: usize,
}

impl Gathered {
    pub(super) fn new(stream: Stream) -> Gathered {
        Gathered {
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
}

impl AsyncRead for Gathered {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // The flush that was put off. Where the socket takes no more, `poll_drain` has registered
        // the task for that, and reading goes on.
        if !this.outbox.is_empty()
            && let Poll::Ready(drained) = this.poll_drain(cx)
        {
            drained?;
        }
        Pin::new(&mut this.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Gathered {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        // What was gathered leaves first: the order of the bytes must not change.
        if length >= LARGE || this.outbox.len() + length > OUTBOX {
            ready!(this.poll_drain(cx))?;
        }
        if length >= LARGE {
            return Pin::new(&mut this.stream).poll_write_vectored(cx, pieces);
        }
        this.outbox.reserve(length);
        for piece in pieces {
            this.outbox.extend_from_slice(piece);
        }
        Poll::Ready(Ok(length))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.outbox.is_empty() {
            return Pin::new(&mut this.stream).poll_flush(cx);
        }
        // Put off: the task is woken, and its next `poll_read` sends what is in the outbox.
        cx.waker().wake_by_ref();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_drain(cx))?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}
