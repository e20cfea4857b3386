//! What can be done with a socket that has neither TLS nor HTTP/2 above it: the kernel's own calls.

use std::io;
use std::os::fd::BorrowedFd;
use std::task::{Context, Poll};

use rustix::net::SendFlags;

use super::Writer;

impl Writer {
    /// Whether it is such a socket.
    pub(crate) fn is_bare(&self) -> bool {
        matches!(self, Writer::Socket(_))
    }

    /// Has a call made on the socket when it takes bytes, and again when it does not after all
    /// ([`io::ErrorKind::WouldBlock`]).
    ///
    /// # Errors
    /// Those of the call; `Unsupported` where it is no bare socket.
    pub(crate) fn poll_call<T>(
        &self,
        cx: &mut Context<'_>,
        call: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        match self {
            Writer::Socket(socket) => socket.poll_call(cx, call),
            Writer::Tls(_) | Writer::Http2(_) => {
                Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
            }
        }
    }

    /// Writes some bytes behind which others come at once, so that they leave in one packet
    /// (`MSG_MORE`, tcp(7)).
    ///
    /// # Errors
    /// As [`Writer::poll_call`].
    pub(crate) fn poll_write_ahead(
        &self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_call(cx, |socket| {
            let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
            Ok(rustix::net::send(socket, bytes, flags)?)
        })
    }
}
