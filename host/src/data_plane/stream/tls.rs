//! TLS as a direction of a connection sees it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncBufRead, AsyncWrite};
use tokio_rustls::TlsStream;

use super::Transport;

/// Ready with how many bytes can be read at once, 0 for the end. Takes in what is not for the
/// caller, such as tickets.
pub(super) fn poll_some(
    stream: &mut TlsStream<Transport>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    let some = Pin::new(&mut *stream).poll_fill_buf(cx).map_ok(<[u8]>::len);
    // What was taken in may ask for an answer, as renegotiation does: to be told no.
    if some.is_pending() && stream.get_ref().1.wants_write() {
        // An error is met again by whoever reads or writes next.
        let _ = Pin::new(stream).poll_flush(cx);
    }
    some
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
    // Whoever does not take it now is told by the end of the connection itself.
    let _ = Pin::new(stream).poll_flush(&mut Context::from_waker(Waker::noop()));
}
