//! The direction of a plain socket to its peer: what is written at once, and behind what was
//! [deferred](super::deferred).

use std::cell::Cell;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use rustix::net::SendFlags;
use tokio::io::{AsyncWrite, Empty, Interest, empty};
use tokio::net::{tcp, unix};

use super::deferred::{self, Number, Stuck};

/// A socket's direction to its peer.
#[derive(Debug)]
pub(crate) struct SocketWriter {
    half: WriteHalf,
    /// Of the last message that was deferred; 0 where the kernel has all for certain.
    deferred: Cell<Number>,
    /// See [`defer_next`](Self::defer_next).
    defers_next: Cell<bool>,
    /// What is deferred is a thread's own.
    _of_thread: PhantomData<Rc<()>>,
}

#[derive(Debug)]
enum WriteHalf {
    Tcp(tcp::OwnedWriteHalf),
    Unix(unix::OwnedWriteHalf),
    /// Of a writer that is being dropped.
    Gone(Empty),
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
            defers_next: Cell::new(false),
            _of_thread: PhantomData,
        }
    }

    /// The next write is of a whole message: if that is small, it is [deferred](super::deferred), and
    /// taken whole.
    pub(super) fn defer_next(&self) {
        self.defers_next.set(true);
    }

    /// See [`Writer::is_deferred`](super::Writer::is_deferred).
    pub(super) fn is_deferred(&self) -> bool {
        self.deferred.get() != 0 && deferred::is_known(self.deferred.get())
    }

    /// See [`Writer::is_stuck`](super::Writer::is_stuck).
    pub(super) fn is_stuck(&self) -> bool {
        self.deferred.get() != 0 && deferred::is_stuck(self.deferred.get())
    }

    /// See [`Writer::poll_settle`](super::Writer::poll_settle).
    pub(super) fn poll_settle(&self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let number = self.deferred.get();
        let stuck = match number {
            0 => None,
            number => deferred::take_stuck(number),
        };
        let Some(stuck) = stuck else {
            self.deferred.set(0);
            return Poll::Ready(Ok(true));
        };
        let mut rest = match stuck {
            Stuck::Rest(rest) => rest,
            Stuck::Failed(error) => return Poll::Ready(Err(error)),
        };
        let sent = self.poll_try(cx, |socket| {
            Ok(rustix::net::send(socket, &rest, SendFlags::NOSIGNAL)?)
        });
        let sent = match sent {
            Poll::Ready(sent) => sent?,
            Poll::Pending => {
                deferred::keep_rest(number, rest);
                return Poll::Pending;
            }
        };
        rest.drain(..sent);
        if !rest.is_empty() {
            deferred::keep_rest(number, rest);
        }
        Poll::Ready(Ok(false))
    }

    /// Ready once the kernel has all that was deferred, which leaves now.
    fn poll_clear(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.deferred.get() != 0 {
            ready!(self.poll_settle(cx))?;
        }
        Poll::Ready(Ok(()))
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
        if self.defers_next.take()
            && let Some(length) = self.defer(cx, pieces)
        {
            return Poll::Ready(Ok(length));
        }
        ready!(self.poll_clear(cx))?;
        let half = self.half.as_write();
        match pieces {
            [piece] => half.poll_write(cx, piece),
            _ => half.poll_write_vectored(cx, pieces),
        }
    }

    fn defer(&self, cx: &Context<'_>, pieces: &[io::IoSlice<'_>]) -> Option<usize> {
        let (last, socket) = (self.deferred.get(), self.half.socket()?);
        let number = deferred::defer(last, socket, pieces, cx.waker())?;
        self.deferred.set(number);
        Some(pieces.iter().map(|piece| piece.len()).sum())
    }

    /// Tells the peer that nothing more will come, behind all that was deferred.
    ///
    /// # Errors
    /// As [`poll_write`](Self::poll_write).
    pub(super) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_clear(cx))?;
        self.half.as_write().poll_shutdown(cx)
    }

    /// See [`Writer::poll_call`](super::Writer::poll_call).
    pub(super) fn poll_call<T>(
        &self,
        cx: &mut Context<'_>,
        call: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        ready!(self.poll_clear(cx))?;
        self.poll_try(cx, call)
    }

    fn poll_try<T>(
        &self,
        cx: &mut Context<'_>,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
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
                WriteHalf::Gone(_) => Err(io::ErrorKind::NotConnected.into()),
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
        if self.deferred.get() != 0 {
            deferred::forget(self.deferred.get());
        }
        // The other direction is about to be closed as well, which needs no shutdown(2) before.
        match std::mem::replace(&mut self.half, WriteHalf::Gone(empty())) {
            WriteHalf::Tcp(half) => half.forget(),
            WriteHalf::Unix(half) => half.forget(),
            WriteHalf::Gone(_) => {}
        }
    }
}

impl WriteHalf {
    fn as_write(&mut self) -> Pin<&mut (dyn AsyncWrite + Unpin)> {
        match self {
            WriteHalf::Tcp(half) => Pin::new(half),
            WriteHalf::Unix(half) => Pin::new(half),
            WriteHalf::Gone(empty) => Pin::new(empty),
        }
    }

    fn socket(&self) -> Option<BorrowedFd<'_>> {
        match self {
            WriteHalf::Tcp(half) => Some(half.as_ref().as_fd()),
            WriteHalf::Unix(half) => Some(half.as_ref().as_fd()),
            WriteHalf::Gone(_) => None,
        }
    }
}
