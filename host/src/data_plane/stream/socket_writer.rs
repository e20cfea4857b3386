//! The direction of a plain socket to its peer: what is written at once, and behind what was
//! [deferred](super::deferred).

use std::cell::Cell;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncWrite, Interest};
use tokio::net::{tcp, unix};

use super::deferred::{self, Number};

/// A socket's direction to its peer.
#[derive(Debug)]
pub(crate) struct SocketWriter {
    half: WriteHalf,
    /// Of the last message that was deferred; 0 where the kernel has all for certain.
    deferred: Cell<Number>,
    /// See [`defer_next`](Self::defer_next).
    defers: Cell<Option<Duration>>,
    /// What is deferred is a thread's own.
    _of_thread: PhantomData<Rc<()>>,
}

#[derive(Debug)]
enum WriteHalf {
    Tcp(tcp::OwnedWriteHalf),
    Unix(unix::OwnedWriteHalf),
    /// It was taken out of its writer, which is about to be dropped.
    Gone,
}

impl SocketWriter {
    pub(super) fn tcp(half: tcp::OwnedWriteHalf) -> SocketWriter {
        SocketWriter::new(WriteHalf::Tcp(half))
    }

    pub(super) fn unix(half: unix::OwnedWriteHalf) -> SocketWriter {
        SocketWriter::new(WriteHalf::Unix(half))
    }

    fn new(half: WriteHalf) -> SocketWriter {
        SocketWriter {
            half,
            deferred: Cell::new(0),
            defers: Cell::new(None),
            _of_thread: PhantomData,
        }
    }

    /// The next write is of a whole message: if that is small, it is [deferred](super::deferred), and
    /// taken whole. What the kernel does not take of it then has `send_timeout` to get on.
    pub(super) fn defer_next(&self, send_timeout: Duration) {
        self.defers.set(Some(send_timeout));
    }

    /// Ready once the kernel has all that was deferred, which leaves now.
    ///
    /// # Errors
    /// Where it could not be sent. Told once.
    pub(super) fn poll_clear(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.deferred.get() == 0 {
            return Poll::Ready(Ok(()));
        }
        let sent = ready!(deferred::poll_sent(self.deferred.get(), cx));
        self.deferred.set(0);
        Poll::Ready(sent)
    }

    /// See [`Writer::take_failure`](super::Writer::take_failure).
    pub(super) fn take_failure(&self) -> Option<io::Error> {
        match self.deferred.get() {
            0 => None,
            number => deferred::check(number).err(),
        }
    }

    /// Writes some of the pieces, behind all that was deferred.
    ///
    /// # Errors
    /// Those of the call, or of what was deferred.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let Some(send_timeout) = self.defers.take()
            && let Some(length) = self.defer(pieces, send_timeout)
        {
            return Poll::Ready(Ok(length));
        }
        ready!(self.poll_clear(cx))?;
        let half = self.half.pinned()?;
        match pieces {
            [piece] => half.poll_write(cx, piece),
            _ => half.poll_write_vectored(cx, pieces),
        }
    }

    fn defer(&self, pieces: &[io::IoSlice<'_>], send_timeout: Duration) -> Option<usize> {
        let (last, socket) = (self.deferred.get(), self.half.socket()?);
        let number = deferred::defer(last, socket, pieces, send_timeout)?;
        self.deferred.set(number);
        Some(pieces.iter().map(|piece| piece.len()).sum())
    }

    /// Tells the peer that nothing more will come, behind all that was deferred.
    ///
    /// # Errors
    /// As [`poll_write`](Self::poll_write).
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_clear(cx))?;
        self.half.pinned()?.poll_shutdown(cx)
    }

    /// See [`Writer::poll_call`](super::Writer::poll_call).
    pub(super) fn poll_call<T>(
        &self,
        cx: &mut Context<'_>,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        ready!(self.poll_clear(cx))?;
        loop {
            let called = match &self.half {
                WriteHalf::Tcp(half) => {
                    let socket = half.as_ref();
                    ready!(socket.poll_write_ready(cx))?;
                    socket.try_io(Interest::WRITABLE, || call(socket.as_fd()))
                }
                WriteHalf::Unix(half) => {
                    let socket = half.as_ref();
                    ready!(socket.poll_write_ready(cx))?;
                    socket.try_io(Interest::WRITABLE, || call(socket.as_fd()))
                }
                WriteHalf::Gone => Err(gone()),
            };
            match called {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                called => return Poll::Ready(called),
            }
        }
    }
}

impl Drop for SocketWriter {
    fn drop(&mut self) {
        let number = self.deferred.take();
        if number != 0 && !deferred::leave(number) {
            // The rest still follows: the direction ends with the task that sends it.
            match std::mem::replace(&mut self.half, WriteHalf::Gone) {
                WriteHalf::Tcp(half) => half.forget(),
                WriteHalf::Unix(half) => half.forget(),
                WriteHalf::Gone => {}
            }
        }
    }
}

impl WriteHalf {
    fn pinned(&mut self) -> io::Result<Pin<&mut (dyn AsyncWrite + Unpin)>> {
        match self {
            WriteHalf::Tcp(half) => Ok(Pin::new(half)),
            WriteHalf::Unix(half) => Ok(Pin::new(half)),
            WriteHalf::Gone => Err(gone()),
        }
    }

    fn socket(&self) -> Option<BorrowedFd<'_>> {
        match self {
            WriteHalf::Tcp(half) => Some(half.as_ref().as_fd()),
            WriteHalf::Unix(half) => Some(half.as_ref().as_fd()),
            WriteHalf::Gone => None,
        }
    }
}

fn gone() -> io::Error {
    io::ErrorKind::NotConnected.into()
}
