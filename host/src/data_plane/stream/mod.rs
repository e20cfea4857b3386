//! A connection's two directions, whatever carries them.
//!
//! Reading and writing are separate values so that a body can go up while its answer comes down, in
//! one task and without a lock. A plain socket is split by the kernel's own means; the two
//! directions of TLS, and of one stream of an HTTP/2 connection, share a state that lives on the
//! worker's thread.

mod transport; // sockets
mod socket_reader; // what is read from one
mod socket_writer; // what is written to one
mod deferred; // a little later
mod send_ring; // by one system call for many
mod bare; // what can be done with a socket that nothing is above
mod splice; // from one such socket to another
mod tls; // TLS over one
pub(crate) mod metered; // HTTP/2 over either, its frames counted
mod write_batch; // its writes gathered
mod http2; // one stream of it
mod alarm; // the clock on each wait
mod socket; // that listen

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;

pub(crate) use alarm::{Alarm, TimedOut};
pub(crate) use deferred::{
    Deferring, in_turn, in_turns, io_uring_refusal, send_deferred, trim_deferred,
};
pub(crate) use http2::{Http2Stream, StreamError};
pub(crate) use metered::{Meter, Metered, PREFACE};
pub(crate) use socket::{Acceptor, Socket, sends_at_once};
pub(crate) use splice::{SplicePipe, is_refused};
pub(crate) use transport::Transport;

use socket_reader::SocketReader;
use socket_writer::SocketWriter;

/// A connection as a whole.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(Transport),
    Tls(Box<TlsStream<Transport>>),
}

/// The direction from the peer to us.
pub(crate) enum Reader {
    Socket(SocketReader),
    Tls(Rc<RefCell<TlsStream<Transport>>>),
    Http2(Rc<Http2Stream>),
}

/// What comes next from a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peeked {
    Bytes,
    /// It has ended its direction, and may still read: a FIN, or `close_notify`.
    End,
    /// The connection is gone.
    Broken,
}

/// The direction from us to the peer.
pub(crate) enum Writer {
    Socket(SocketWriter),
    Tls(Rc<RefCell<TlsStream<Transport>>>),
    Http2(Rc<Http2Stream>),
}

impl Stream {
    pub(crate) fn tcp(stream: TcpStream) -> Stream {
        Stream::Plain(Transport::tcp(stream))
    }

    pub(crate) fn unix(stream: UnixStream) -> Stream {
        Stream::Plain(Transport::unix(stream))
    }

    pub(crate) fn split(self) -> (Reader, Writer) {
        match self {
            Stream::Plain(Transport { reader, writer }) => {
                (Reader::Socket(reader), Writer::Socket(writer))
            }
            Stream::Tls(stream) => {
                let shared = Rc::new(RefCell::new(*stream));
                (Reader::Tls(shared.clone()), Writer::Tls(shared))
            }
        }
    }

    /// Undoes [`Stream::split`]; none for a stream of HTTP/2. Both must be of the same connection.
    pub(crate) fn reunite(reader: Reader, writer: Writer) -> Option<Stream> {
        match (reader, writer) {
            (Reader::Socket(reader), Writer::Socket(writer)) => {
                Some(Stream::Plain(Transport { reader, writer }))
            }
            (Reader::Tls(shared), Writer::Tls(other)) => {
                drop(other);
                let stream = Rc::into_inner(shared)?.into_inner();
                Some(Stream::Tls(Box::new(stream)))
            }
            _ => None,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Stream::Tls(stream) => tls::poll_read(stream, cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl Reader {
    /// Appends what is there, `most` bytes at most, to the spare capacity of `buffer`; 0 at the end
    /// of the stream. There must be room for one byte, else 0 would mean nothing.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut Vec<u8>,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        debug_assert!(buffer.len() < buffer.capacity() && most > 0);
        if let Reader::Http2(stream) = self {
            return stream.poll_read(cx, buffer, most);
        }
        let before = buffer.len();
        let spare = buffer.spare_capacity_mut();
        let most = most.min(spare.len());
        let mut spare = ReadBuf::uninit(&mut spare[..most]);
        ready!(match self {
            Reader::Socket(socket) => socket.poll_read(cx, &mut spare),
            Reader::Tls(shared) => tls::poll_read(&mut shared.borrow_mut(), cx, &mut spare),
            Reader::Http2(_) => return Poll::Ready(Ok(0)),
        })?;
        let read = spare.filled().len();
        #[allow(
            unsafe_code,
            reason = "ReadBuf vouches that this many bytes of the spare capacity were written"
        )]
        // SAFETY: `spare` is the capacity past `before`, and its first `read` bytes are
        // initialised.
        unsafe {
            buffer.set_len(before + read);
        }
        Poll::Ready(Ok(read))
    }

    /// Ready when there may be something to read, or the end; needs no buffer of the caller's
    /// meanwhile.
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Reader::Socket(socket) => socket.poll_ready(cx),
            Reader::Tls(shared) => tls::poll_some(&mut shared.borrow_mut(), cx).map_ok(|_| ()),
            Reader::Http2(stream) => stream.poll_readable(cx),
        }
    }

    /// False if there is something to read, or the end, or an error. Costs a system call only if
    /// the kernel has reported something since the last read.
    pub(crate) fn is_silent(&self) -> bool {
        match self {
            Reader::Socket(_) => {
                matches!(self.peek(), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            }
            // What is not for us, such as a session ticket, is taken in by looking.
            Reader::Tls(_) | Reader::Http2(_) => {
                let nobody = &mut Context::from_waker(Waker::noop());
                self.poll_readable(nobody).is_pending()
            }
        }
    }

    /// Ready when the peer has closed or reset the connection. Pending for ever once it has sent
    /// something instead: what it sent waits to be read, and hides what comes behind it.
    pub(crate) fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        match ready!(self.poll_peek(cx)) {
            Peeked::Bytes => Poll::Pending,
            Peeked::End | Peeked::Broken => Poll::Ready(()),
        }
    }

    /// Whether the peer has closed or reset the connection, also where what it sent before waits to be
    /// read. A system call. Of a stream of HTTP/2, only that it is broken can be told, which
    /// [`poll_closed`](Reader::poll_closed) does.
    pub(crate) fn is_hung_up(&self) -> bool {
        let hangs_up = |fd: BorrowedFd<'_>| {
            let flags = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR;
            let mut asked = [PollFd::from_borrowed_fd(fd, flags)];
            let come = rustix::event::poll(&mut asked, Some(&Timespec::default()));
            come.is_ok_and(|come| come > 0)
        };
        match self {
            Reader::Socket(socket) => hangs_up(socket.as_fd()),
            Reader::Tls(shared) => hangs_up(tls::socket(&shared.borrow())),
            Reader::Http2(_) => false,
        }
    }

    /// Ready with what comes next from the peer, which still waits to be read. Of a stream of
    /// HTTP/2, only that it is broken can be told.
    pub(crate) fn poll_peek(&self, cx: &mut Context<'_>) -> Poll<Peeked> {
        let peeked = |read: io::Result<usize>| match read {
            Ok(1..) => Peeked::Bytes,
            Ok(0) => Peeked::End,
            Err(_) => Peeked::Broken,
        };
        match self {
            Reader::Socket(_) => {}
            Reader::Tls(shared) => {
                return tls::poll_some(&mut shared.borrow_mut(), cx).map(peeked);
            }
            Reader::Http2(stream) => return stream.poll_reset(cx).map(|()| Peeked::Broken),
        }
        loop {
            if ready!(self.poll_readable(cx)).is_err() {
                return Poll::Ready(Peeked::Broken);
            }
            match self.peek() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(peeked(read)),
            }
        }
    }

    /// Nothing more will be received on a stream of HTTP/2: neither body nor trailers. A socket
    /// says so by reading.
    pub(crate) fn is_at_end(&self) -> bool {
        matches!(self, Reader::Http2(stream) if stream.is_at_end())
    }

    /// Ready with the trailer lines, once all of a body was read; empty where there are none. Those
    /// of HTTP/1 are part of its coding.
    ///
    /// # Errors
    /// Where the stream of HTTP/2 is gone, or its trailers are invalid.
    pub(crate) fn poll_trailers(&self, cx: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>> {
        match self {
            Reader::Http2(stream) => stream.poll_trailers(cx),
            Reader::Socket(_) | Reader::Tls(_) => Poll::Ready(Ok(Vec::new())),
        }
    }

    /// How many bytes a socket has to read, of one. A system call, and only if the kernel has reported
    /// something since the last read.
    fn peek(&self) -> io::Result<usize> {
        match self {
            Reader::Socket(socket) => socket.call(peek),
            Reader::Tls(_) | Reader::Http2(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// The stream, where this is one of HTTP/2.
    pub(crate) fn http2(&self) -> Option<&Rc<Http2Stream>> {
        match self {
            Reader::Http2(stream) => Some(stream),
            Reader::Socket(_) | Reader::Tls(_) => None,
        }
    }
}

/// How many bytes a socket has to read, of one; 0 at the end.
fn peek(socket: BorrowedFd<'_>) -> io::Result<usize> {
    let (peeked, _) = rustix::net::recv(socket, &mut [0_u8; 1], rustix::net::RecvFlags::PEEK)?;
    Ok(peeked)
}

impl Writer {
    /// Writes some of `first`, then of `second`, in one call to the kernel. What was taken may
    /// still have to be flushed.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        first: &[u8],
        second: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Writer::Socket(socket) => match (first, second) {
                (bytes, []) | ([], bytes) => socket.poll_write(cx, &[io::IoSlice::new(bytes)]),
                _ => socket.poll_write(cx, &[io::IoSlice::new(first), io::IoSlice::new(second)]),
            },
            Writer::Tls(shared) => tls::poll_write(&mut shared.borrow_mut(), cx, first, second),
            Writer::Http2(stream) => stream.poll_write(cx, first, second),
        }
    }

    /// The next write is of a message that is there as a whole and need not leave at once. If it is
    /// small, all of it is taken, and leaves as soon as the tasks that are ready have had their turn.
    /// Where it then does not leave, the task is woken, and the writer [is stuck](Writer::is_stuck).
    pub(crate) fn defer_next(&self) {
        match self {
            Writer::Socket(socket) => socket.defer_next(),
            Writer::Tls(shared) => tls::writer(&shared.borrow()).defer_next(),
            Writer::Http2(_) => {}
        }
    }

    /// Whether something is still deferred, or is stuck.
    pub(crate) fn is_deferred(&self) -> bool {
        match self {
            Writer::Socket(socket) => socket.is_deferred(),
            Writer::Tls(shared) => tls::writer(&shared.borrow()).is_deferred(),
            Writer::Http2(_) => false,
        }
    }

    /// Whether something that was deferred was sent and has not left as a whole.
    pub(crate) fn is_stuck(&self) -> bool {
        match self {
            Writer::Socket(socket) => socket.is_stuck(),
            Writer::Tls(shared) => tls::writer(&shared.borrow()).is_stuck(),
            Writer::Http2(_) => false,
        }
    }

    /// Sends what was deferred, or some of what has not left of it: true once the kernel has all, and
    /// false where it is to be asked again.
    ///
    /// # Errors
    /// Where it cannot be sent.
    pub(crate) fn poll_settle(&self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        match self {
            Writer::Socket(socket) => socket.poll_settle(cx),
            Writer::Tls(shared) => tls::writer(&shared.borrow()).poll_settle(cx),
            Writer::Http2(_) => Poll::Ready(Ok(true)),
        }
    }

    /// Sends what was taken and not sent yet, but for what was deferred. Only TLS keeps anything back
    /// that its peer needs us to wait for.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Writer::Socket(_) | Writer::Http2(_) => Poll::Ready(Ok(())),
            Writer::Tls(shared) => Pin::new(&mut *shared.borrow_mut()).poll_flush(cx),
        }
    }

    /// Tells the peer that nothing more will come.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Writer::Socket(socket) => socket.poll_shutdown(cx),
            Writer::Tls(shared) => Pin::new(&mut *shared.borrow_mut()).poll_shutdown(cx),
            Writer::Http2(stream) => Poll::Ready(stream.end(&[]).map_err(io::Error::from)),
        }
    }

    /// Begins a response with the head that is the first `head` bytes of `out`, `ends` where
    /// nothing comes behind it. What is left in `out` is to be written: HTTP/2 sends a head apart
    /// from its body, and takes it out.
    ///
    /// # Errors
    /// Where the stream of HTTP/2 is gone, or its head was sent before.
    pub(crate) fn begin_response(
        &mut self,
        out: &mut Vec<u8>,
        head: usize,
        ends: bool,
    ) -> io::Result<()> {
        if let Writer::Http2(stream) = self {
            stream.send_head(&out[..head], ends)?;
            out.drain(..head);
        }
        Ok(())
    }

    /// As [`Writer::begin_response`], for the head of an interim response (1xx), which is all of
    /// `out`.
    ///
    /// # Errors
    /// As [`Writer::begin_response`].
    pub(crate) fn begin_interim(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        if let Writer::Http2(stream) = self {
            stream.send_interim(out)?;
            out.clear();
        }
        Ok(())
    }

    /// The next write is the last of its message, which HTTP/2 can say with it.
    pub(crate) fn end_with_next_write(&self) {
        if let Writer::Http2(stream) = self {
            stream.end_with_next_write();
        }
    }

    /// Ends a message, with trailer lines or without. Those of HTTP/1 are part of its coding, and
    /// were written.
    ///
    /// # Errors
    /// Where the stream of HTTP/2 is gone.
    pub(crate) fn end(&self, trailer_lines: &[u8]) -> Result<(), StreamError> {
        match self {
            Writer::Http2(stream) => stream.end(trailer_lines),
            Writer::Socket(_) | Writer::Tls(_) => Ok(()),
        }
    }

    /// Sends `close_notify` on a TLS connection that is about to be closed, if that can be done at
    /// once.
    pub(crate) fn part(&mut self) {
        if let Writer::Tls(shared) = self {
            tls::part(&mut shared.borrow_mut());
        }
    }

    /// The stream, where this is one of HTTP/2.
    pub(crate) fn http2(&self) -> Option<&Rc<Http2Stream>> {
        match self {
            Writer::Http2(stream) => Some(stream),
            Writer::Socket(_) | Writer::Tls(_) => None,
        }
    }
}
