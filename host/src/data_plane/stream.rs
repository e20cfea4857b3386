//! A connection's two directions, and the clock that bounds each wait on them.
//!
//! Reading and writing are separate values so that a body can go up while its answer comes down, in one task and without
//! a lock. TLS will be a further variant of the two enums.

use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream, tcp, unix};
use tokio::time::{Instant, Sleep};

/// The direction from the peer to us.
#[derive(Debug)]
pub(crate) enum Reader {
    Tcp(tcp::OwnedReadHalf),
    Unix(unix::OwnedReadHalf),
}

/// The direction from us to the peer.
#[derive(Debug)]
pub(crate) enum Writer {
    Tcp(tcp::OwnedWriteHalf),
    Unix(unix::OwnedWriteHalf),
}

pub(crate) fn split_tcp(stream: TcpStream) -> (Reader, Writer) {
    let (reader, writer) = stream.into_split();
    (Reader::Tcp(reader), Writer::Tcp(writer))
}

pub(crate) fn split_unix(stream: UnixStream) -> (Reader, Writer) {
    let (reader, writer) = stream.into_split();
    (Reader::Unix(reader), Writer::Unix(writer))
}

impl Reader {
    /// Appends what is there, `most` bytes at most, to the spare capacity of `buffer`; 0 at the end of the stream.
    /// There must be room for one byte, else 0 would mean nothing.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Vec<u8>,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        debug_assert!(buffer.len() < buffer.capacity() && most > 0);
        let before = buffer.len();
        let spare = buffer.spare_capacity_mut();
        let most = most.min(spare.len());
        let mut spare = ReadBuf::uninit(&mut spare[..most]);
        ready!(match self {
            Reader::Tcp(half) => Pin::new(half).poll_read(cx, &mut spare),
            Reader::Unix(half) => Pin::new(half).poll_read(cx, &mut spare),
        })?;
        let read = spare.filled().len();
        #[allow(
            unsafe_code,
            reason = "ReadBuf vouches that this many bytes of the spare capacity were written"
        )]
        // SAFETY: `spare` is the capacity past `before`, and its first `read` bytes are initialised.
        unsafe {
            buffer.set_len(before + read);
        }
        Poll::Ready(Ok(read))
    }

    /// Ready when there may be something to read, or the end; needs no buffer meanwhile.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Reader::Tcp(half) => half.as_ref().poll_read_ready(cx),
            Reader::Unix(half) => half.as_ref().poll_read_ready(cx),
        }
    }

    /// False if there is something to read, or the end, or an error. Costs a system call only if the kernel has reported
    /// something since the last read.
    pub(crate) fn is_silent(&self) -> bool {
        self.poll_readable(&mut Context::from_waker(Waker::noop()))
            .is_pending()
            || matches!(self.peek(), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Ready when the peer has closed or reset the connection. Pending for ever once it has sent something instead: what it
    /// sent waits to be read, and hides what comes behind it.
    pub(crate) fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if ready!(self.poll_readable(cx)).is_err() {
                return Poll::Ready(());
            }
            match self.peek() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(1..) => return Poll::Pending,
                Ok(0) | Err(_) => return Poll::Ready(()),
            }
        }
    }

    /// How many bytes there are to read, of one.
    fn peek(&self) -> io::Result<usize> {
        let peek = |fd: BorrowedFd<'_>| {
            let (peeked, _) = rustix::net::recv(fd, &mut [0_u8; 1], rustix::net::RecvFlags::PEEK)?;
            Ok(peeked)
        };
        match self {
            Reader::Tcp(half) => half
                .as_ref()
                .try_io(Interest::READABLE, || peek(half.as_ref().as_fd())),
            Reader::Unix(half) => half
                .as_ref()
                .try_io(Interest::READABLE, || peek(half.as_ref().as_fd())),
        }
    }
}

impl Writer {
    /// Writes some of `first`, then of `second`, in one call to the kernel.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        first: &[u8],
        second: &[u8],
    ) -> Poll<io::Result<usize>> {
        match (self, first, second) {
            (Writer::Tcp(half), bytes, []) | (Writer::Tcp(half), [], bytes) => {
                Pin::new(half).poll_write(cx, bytes)
            }
            (Writer::Unix(half), bytes, []) | (Writer::Unix(half), [], bytes) => {
                Pin::new(half).poll_write(cx, bytes)
            }
            (Writer::Tcp(half), ..) => Pin::new(half)
                .poll_write_vectored(cx, &[io::IoSlice::new(first), io::IoSlice::new(second)]),
            (Writer::Unix(half), ..) => Pin::new(half)
                .poll_write_vectored(cx, &[io::IoSlice::new(first), io::IoSlice::new(second)]),
        }
    }

    /// Tells the peer that nothing more will come.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Writer::Tcp(half) => Pin::new(half).poll_shutdown(cx),
            Writer::Unix(half) => Pin::new(half).poll_shutdown(cx),
        }
    }
}

/// A reusable timer for the waits of one connection.
///
/// Most waits end long before their limit, so the timer is only moved when it would ring too late; when it rings too early it
/// is wound again. A connection that answers a million requests hardly ever touches the timer wheel.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
}

/// A wait reached its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimedOut;

impl From<TimedOut> for io::Error {
    fn from(_: TimedOut) -> io::Error {
        io::ErrorKind::TimedOut.into()
    }
}

impl Alarm {
    /// Waits for `work`, but no longer than `limit` from now.
    pub(crate) async fn within<T>(
        &mut self,
        limit: Duration,
        work: impl Future<Output = T>,
    ) -> Result<T, TimedOut> {
        let mut work = pin!(work);
        // The clock is asked only if there is something to wait for.
        let mut due = None;
        poll_fn(|cx| {
            if let Poll::Ready(value) = work.as_mut().poll(cx) {
                return Poll::Ready(Ok(value));
            }
            let due = *due.get_or_insert_with(|| Instant::now() + limit);
            self.poll_due(cx, due).map(Err)
        })
        .await
    }

    /// As [`Alarm::within`], with the moment itself.
    pub(crate) async fn until<T>(
        &mut self,
        due: Instant,
        work: impl Future<Output = T>,
    ) -> Result<T, TimedOut> {
        let mut work = pin!(work);
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Ok(value)),
            Poll::Pending => self.poll_due(cx, due).map(Err),
        })
        .await
    }

    /// Rings at `due`; several waits may share an alarm as long as one task polls them.
    pub(crate) fn poll_due(&mut self, cx: &mut Context<'_>, due: Instant) -> Poll<TimedOut> {
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if sleep.deadline() > due {
            sleep.as_mut().reset(due);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= due {
                return Poll::Ready(TimedOut);
            }
            sleep.as_mut().reset(due);
        }
    }
}
