//! What can be done with a socket that has neither TLS nor HTTP/2 above it: the kernel's own calls.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::task::{Context, Poll, ready};

use rustix::net::SendFlags;
use tokio::io::Interest;

use super::Writer;

impl Writer {
    /// Whether it is such a socket.
    pub(crate) fn is_bare(&self) -> bool {
        matches!(self, Writer::Tcp(_) | Writer::Unix(_))
    }

    /// Has a call made on the socket when it takes bytes, and again when it does not after all
    /// ([`io::ErrorKind::WouldBlock`]).
    ///
    /// # Errors
    /// Those of the call; `Unsupported` where it is no bare socket.
    pub(crate) fn poll_call<T>(
        &self,
        cx: &mut Context<'_>,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            let called = match self {
                Writer::Tcp(half) => {
                    let socket = half.as_ref();
                    ready!(socket.poll_write_ready(cx))?;
                    socket.try_io(Interest::WRITABLE, || call(socket.as_fd()))
                }
                Writer::Unix(half) => {
                    let socket = half.as_ref();
                    ready!(socket.poll_write_ready(cx))?;
                    socket.try_io(Interest::WRITABLE, || call(socket.as_fd()))
                }
                Writer::Tls(_) | Writer::Http2(_) => Err(io::ErrorKind::Unsupported.into()),
            };
            match called {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                called => return Poll::Ready(called),
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
