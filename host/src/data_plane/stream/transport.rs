//! A connected socket, of whatever kind: its two directions, with or without TLS above them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use rustix::net::RecvFlags;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use super::socket_reader::SocketReader;
use super::socket_writer::SocketWriter;

/// What carries bytes.
#[derive(Debug)]
pub(crate) struct Transport {
    pub(super) reader: SocketReader,
    pub(super) writer: SocketWriter,
}

impl AsFd for Transport {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

impl Transport {
    pub(crate) fn tcp(stream: TcpStream) -> Transport {
        let (reader, writer) = stream.into_split();
        Transport {
            reader: SocketReader::Tcp(reader),
            writer: SocketWriter::tcp(writer),
        }
    }

    pub(crate) fn unix(stream: UnixStream) -> Transport {
        let (reader, writer) = stream.into_split();
        Transport {
            reader: SocketReader::Unix(reader),
            writer: SocketWriter::unix(writer),
        }
    }

    /// Looks at what is there without taking it: how many bytes, as far as they fit; 0 at the end
    /// of the stream.
    pub(crate) fn poll_peek(
        &self,
        cx: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.reader.poll_call(cx, |socket| {
            let (peeked, _) = rustix::net::recv(socket, &mut *bytes, RecvFlags::PEEK)?;
            Ok(peeked)
        })
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.get_mut().reader.poll_read(cx, buffer)
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let pieces = &[io::IoSlice::new(bytes)];
        self.get_mut().writer.poll_write(cx, pieces)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().writer.poll_write(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Nothing is kept back here but for a moment.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().writer.poll_shutdown(cx)
    }
}
