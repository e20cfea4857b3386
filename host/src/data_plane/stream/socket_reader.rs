//! The direction of a plain socket from its peer.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, Interest, ReadBuf};
use tokio::net::{tcp, unix};

/// A socket's direction from its peer.
#[derive(Debug)]
pub(crate) enum SocketReader {
    Tcp(tcp::OwnedReadHalf),
    Unix(unix::OwnedReadHalf),
}

impl AsFd for SocketReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            SocketReader::Tcp(half) => half.as_ref().as_fd(),
            SocketReader::Unix(half) => half.as_ref().as_fd(),
        }
    }
}

impl SocketReader {
    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            SocketReader::Tcp(half) => Pin::new(half).poll_read(cx, buffer),
            SocketReader::Unix(half) => Pin::new(half).poll_read(cx, buffer),
        }
    }

    /// Ready when there may be something to read, or the end.
    pub(super) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            SocketReader::Tcp(half) => half.as_ref().poll_read_ready(cx),
            SocketReader::Unix(half) => half.as_ref().poll_read_ready(cx),
        }
    }

    /// Has a call made on the socket if the kernel has reported something since the last one that had
    /// nothing.
    ///
    /// # Errors
    /// Those of the call; [`io::ErrorKind::WouldBlock`] where there is nothing.
    pub(super) fn call<T>(
        &self,
        call: impl FnOnce(BorrowedFd<'_>) -> io::Result<T>,
    ) -> io::Result<T> {
        let readable = Interest::READABLE;
        match self {
            SocketReader::Tcp(half) => half.as_ref().try_io(readable, || call(self.as_fd())),
            SocketReader::Unix(half) => half.as_ref().try_io(readable, || call(self.as_fd())),
        }
    }

    /// Has a call made on the socket when it has bytes, and again when it has none after all.
    ///
    /// # Errors
    /// Those of the call.
    pub(super) fn poll_call<T>(
        &self,
        cx: &mut Context<'_>,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            ready!(self.poll_ready(cx))?;
            match self.call(&mut call) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                called => return Poll::Ready(called),
            }
        }
    }
}
