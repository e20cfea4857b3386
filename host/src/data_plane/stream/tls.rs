//! TLS as a direction of a connection sees it.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncBufRead, AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::TlsStream;

use super::Transport;
use super::socket_writer::SocketWriter;

/// The socket beneath.
pub(super) fn socket(stream: &TlsStream<Transport>) -> BorrowedFd<'_> {
    stream.get_ref().0.as_fd()
}

/// The direction of the socket beneath to the peer. What is deferred on it are records.
pub(super) fn writer(stream: &TlsStream<Transport>) -> &SocketWriter {
    &stream.get_ref().0.writer
}

/// Ready with how many bytes can be read at once, 0 for the end. Takes in what is not for the
/// caller, such as tickets.
pub(super) fn poll_some(
    stream: &mut TlsStream<Transport>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let some = Pin::new(&mut *stream).poll_fill_buf(cx).map_ok(<[u8]>::len);
    answer(stream, cx);
    some
}

/// Reads what is there.
pub(super) fn poll_read(
    stream: &mut TlsStream<Transport>,
    cx: &mut Context<'_>,
    buffer: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    let read = Pin::new(&mut *stream).poll_read(cx, buffer);
    answer(stream, cx);
    read
}

/// Sends what rustls has to say to what was taken in, such as an alert to an attempt to
/// renegotiate: the next write may be far off.
fn answer(stream: &mut TlsStream<Transport>, cx: &mut Context<'_>) {
    if stream.get_ref().1.wants_write() {
        // The next read or write meets an error again.
        let _ = Pin::new(stream).poll_flush(cx);
    }
}

/// Writes some of both, in as few records as they fit in.
pub(super) fn poll_write(
    stream: &mut TlsStream<Transport>,
    cx: &mut Context<'_>,
    first: &[u8],
    second: &[u8],
) -> Poll<io::Result<usize>> {
    let stream = Pin::new(stream);
    match (first, second) {
        (bytes, []) | ([], bytes) => stream.poll_write(cx, bytes),
        _ => stream.poll_write_vectored(cx, &[io::IoSlice::new(first), io::IoSlice::new(second)]),
    }
}

/// Sends `close_notify` (RFC 8446 section 6.1) as far as the kernel takes it at once.
pub(super) fn part(stream: &mut TlsStream<Transport>) {
    match stream {
        TlsStream::Client(stream) => stream.get_mut().1.send_close_notify(),
        TlsStream::Server(stream) => stream.get_mut().1.send_close_notify(),
    }
    // A peer that does not take it now learns it from the end of the connection itself.
    let _ = Pin::new(stream).poll_flush(&mut Context::from_waker(Waker::noop()));
}
