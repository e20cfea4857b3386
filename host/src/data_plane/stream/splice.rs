//! Bytes that go from one socket to another within the kernel: through a pipe, into which the one's
//! are moved and out of which the other takes them, splice(2). Neither copies them to us and back.
//!
//! `EAGAIN` of such a call does not say which of its two ends has to be waited for. So a pipe is
//! filled only while it is empty, when it can but be the socket that has nothing, and emptied
//! before it is filled again, when it can but be the socket that takes nothing. Where the wrong one
//! was waited for, what both sides have would stay where it is.
//!
//! Neither that nor an end is believed before the socket was asked in another way: splice stops at
//! TCP's urgent byte (RFC 9293 section 3.8.5) for good and says so in these words, where recv(2)
//! steps over it.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

use super::{Reader, Writer, peek};

/// What a pipe holds, in bytes: one that the kernel makes smaller is not worth its calls.
pub(crate) const PIPE: usize = 256 << 10;

/// Neither end waits, and what is in a socket stays where it is in memory.
const FLAGS: SpliceFlags = SpliceFlags::NONBLOCK.union(SpliceFlags::MOVE);

/// A pipe in the kernel between two sockets.
#[derive(Debug)]
pub(crate) struct SplicePipe {
    out: OwnedFd,
    into: OwnedFd,
    filled: usize,
}

impl SplicePipe {
    /// None where the kernel has no room for it: an account that is not root's has 64 MiB for all of
    /// its pipes (`pipe-user-pages-soft`, pipe(7)), and small ones beyond.
    pub(crate) fn new() -> Option<SplicePipe> {
        let (out, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).ok()?;
        fcntl_setpipe_size(&into, PIPE).ok()?;
        Some(SplicePipe {
            out,
            into,
            filled: 0,
        })
    }

    /// Bytes in it.
    pub(crate) fn filled(&self) -> usize {
        self.filled
    }
}

/// Whether an error says that this kernel, or what confines us, has no such call for such sockets:
/// nothing was moved then.
pub(crate) fn is_refused(error: &io::Error) -> bool {
    let refusals = [
        Errno::INVAL,
        Errno::NOSYS,
        Errno::PERM,
        Errno::ACCESS,
        Errno::OPNOTSUPP,
    ];
    Errno::from_io_error(error).is_some_and(|errno| refusals.contains(&errno))
}

impl Reader {
    /// Whether nothing is between it and its socket.
    pub(crate) fn is_bare(&self) -> bool {
        matches!(self, Reader::Socket(_))
    }

    /// Moves what the socket has into an empty pipe, `most` bytes at most; 0 at the end. None where
    /// it has something that has to be read.
    ///
    /// # Errors
    /// Those of the call; `Unsupported` where it is no bare socket.
    pub(crate) fn poll_splice(
        &self,
        cx: &mut Context<'_>,
        pipe: &mut SplicePipe,
        most: usize,
    ) -> Poll<io::Result<Option<usize>>> {
        debug_assert!(pipe.filled == 0, "or nobody can tell what is waited for");
        let most = most.min(PIPE);
        let into = &pipe.into;
        let moved = ready!(match self {
            Reader::Socket(reader) => {
                reader.poll_call(cx, |socket| move_some(socket, into, most))
            }
            Reader::Tls(_) | Reader::Http2(_) => {
                Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
            }
        });
        pipe.filled += moved.as_ref().ok().copied().flatten().unwrap_or_default();
        Poll::Ready(moved)
    }
}

/// Moves some of what a socket has into a pipe, as [`Reader::poll_splice`] tells it.
fn move_some(socket: BorrowedFd<'_>, into: &OwnedFd, most: usize) -> io::Result<Option<usize>> {
    let mut has_bytes = false;
    loop {
        match splice(socket, None, into, None, most, FLAGS) {
            Ok(moved @ 1..) => return Ok(Some(moved)),
            Ok(0) | Err(Errno::AGAIN) => match peek(socket)? {
                0 => return Ok(Some(0)),
                _ if has_bytes => return Ok(None),
                // They may have come in between.
                _ => has_bytes = true,
            },
            Err(errno) => return Err(errno.into()),
        }
    }
}

impl Writer {
    /// Moves what is in a pipe that is not empty to the socket, as far as that takes it.
    ///
    /// # Errors
    /// As [`Writer::poll_call`].
    pub(crate) fn poll_splice(
        &self,
        cx: &mut Context<'_>,
        pipe: &mut SplicePipe,
    ) -> Poll<io::Result<usize>> {
        debug_assert!(pipe.filled > 0, "or nobody can tell what is waited for");
        let moved = self.poll_call(cx, |socket| {
            Ok(splice(&pipe.out, None, socket, None, pipe.filled, FLAGS)?)
        });
        if let Poll::Ready(Ok(moved)) = moved {
            pipe.filled -= moved;
        }
        moved
    }
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "a test that waits in vain is given up"
)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use std::future::poll_fn;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::super::Stream;
    use super::*;

    /// Both ends of a connection: ours, and the peer's, which waits.
    fn pair() -> ((Reader, Writer), TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (ours, _) = listener.accept().unwrap();
        ours.set_nonblocking(true).unwrap();
        let ours = Stream::tcp(tokio::net::TcpStream::from_std(ours).unwrap());
        (ours.split(), theirs)
    }

    async fn within<T>(work: impl Future<Output = T>) -> T {
        let limit = Duration::from_secs(60);
        tokio::time::timeout(limit, work).await.unwrap()
    }

    /// Where the source has more than a pipe holds, and the sink takes nothing for a while.
    #[tokio::test]
    async fn what_is_held_up_by_a_full_socket_goes_on_when_that_takes_bytes_again() {
        const WHOLE: usize = 32 << 20;
        let ((reader, _own_writer), mut source) = pair();
        let ((_own_reader, writer), mut sink) = pair();
        let sent: Vec<u8> = (0..WHOLE).map(|at| (at / 7) as u8).collect();
        let expected = sent.clone();
        let sends = std::thread::spawn(move || {
            source.write_all(&sent).unwrap();
        });
        let (held_up, when_held_up) = std::sync::mpsc::channel();
        let reads = std::thread::spawn(move || {
            // Not a byte before the way through is full.
            when_held_up.recv().unwrap();
            let mut received = Vec::new();
            sink.read_to_end(&mut received).unwrap();
            received
        });
        let mut pipe = SplicePipe::new().unwrap();
        let mut held_up = Some(held_up);
        let mut moved = 0;
        within(poll_fn(|cx| {
            loop {
                if pipe.filled() == 0 {
                    match ready!(reader.poll_splice(cx, &mut pipe, usize::MAX)).unwrap() {
                        Some(0) => return Poll::Ready(()),
                        read => assert!(read.unwrap() <= PIPE),
                    }
                }
                match writer.poll_splice(cx, &mut pipe) {
                    Poll::Ready(written) => moved += written.unwrap(),
                    Poll::Pending => {
                        if let Some(held_up) = held_up.take() {
                            held_up.send(()).unwrap();
                        }
                        return Poll::Pending;
                    }
                }
            }
        }))
        .await;
        assert!(held_up.is_none(), "the sockets took all of it at once");
        assert_eq!(moved, WHOLE);
        drop((writer, _own_reader));
        sends.join().unwrap();
        assert!(reads.join().unwrap() == expected, "other bytes");
    }

    #[tokio::test]
    async fn an_empty_pipe_waits_for_the_source_however_often_it_had_nothing() {
        let ((reader, _own_writer), mut source) = pair();
        let ((_own_reader, writer), mut sink) = pair();
        let mut pipe = SplicePipe::new().unwrap();
        for number in 0..100_u8 {
            // Nothing is there yet, and the readiness of before is used up.
            let nothing = poll_fn(|cx| {
                Poll::Ready(reader.poll_splice(cx, &mut pipe, usize::MAX).is_pending())
            });
            assert!(nothing.await);
            source.write_all(&[number; 3]).unwrap();
            let read = poll_fn(|cx| reader.poll_splice(cx, &mut pipe, usize::MAX));
            assert_eq!(within(read).await.unwrap(), Some(3));
            let written = poll_fn(|cx| writer.poll_splice(cx, &mut pipe));
            assert_eq!(within(written).await.unwrap(), 3);
            let mut received = [0; 3];
            sink.read_exact(&mut received).unwrap();
            assert_eq!(received, [number; 3]);
        }
    }

    /// The urgent byte itself is not part of what is read, as elsewhere.
    #[tokio::test]
    async fn what_is_behind_an_urgent_byte_has_to_be_read_and_is_no_end() {
        for ends in [false, true] {
            let ((mut reader, _own_writer), mut source) = pair();
            source.write_all(b"before").unwrap();
            rustix::net::send(&source, b"!", rustix::net::SendFlags::OOB).unwrap();
            source.write_all(b"behind").unwrap();
            if ends {
                source.shutdown(std::net::Shutdown::Write).unwrap();
            }
            let mut pipe = SplicePipe::new().unwrap();
            let read = poll_fn(|cx| reader.poll_splice(cx, &mut pipe, usize::MAX));
            assert_eq!(within(read).await.unwrap(), Some(6));
            let mut pipe = SplicePipe::new().unwrap();
            let stopped = poll_fn(|cx| reader.poll_splice(cx, &mut pipe, usize::MAX));
            assert_eq!(within(stopped).await.unwrap(), None);
            let mut rest = Vec::with_capacity(64);
            while rest.len() < 6 {
                let read = poll_fn(|cx| reader.poll_read(cx, &mut rest, 64));
                assert!(within(read).await.unwrap() > 0);
            }
            assert_eq!(rest, b"behind");
            if ends {
                let end = poll_fn(|cx| reader.poll_splice(cx, &mut pipe, usize::MAX));
                assert_eq!(within(end).await.unwrap(), Some(0));
            }
        }
    }

    #[tokio::test]
    async fn no_more_is_taken_than_asked_for_and_what_is_no_socket_is_refused() {
        let ((mut reader, _own_writer), mut source) = pair();
        source.write_all(b"body and the next head").unwrap();
        let mut pipe = SplicePipe::new().unwrap();
        let read = poll_fn(|cx| reader.poll_splice(cx, &mut pipe, 4));
        assert_eq!(within(read).await.unwrap(), Some(4));
        let mut rest = Vec::with_capacity(64);
        let read = poll_fn(|cx| reader.poll_read(cx, &mut rest, 64));
        assert_eq!(within(read).await.unwrap(), 18);
        assert_eq!(rest, b" and the next head");
        let no_socket = rustix::event::eventfd(1, rustix::event::EventfdFlags::empty()).unwrap();
        let refused = splice(&no_socket, None, &pipe.into, None, 1, FLAGS);
        assert!(refused.is_err_and(|errno| is_refused(&errno.into())));
    }
}
