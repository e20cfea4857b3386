//! Copies bytes between two connections as they are: from a reader to a writer, in both directions.
//!
//! A direction at rest holds no buffer. It borrows one of its worker's once there is something to
//! read, and gives it back when all of that is written. The end of a direction is passed on as
//! such; the other one may go on, within a bound of its own.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use super::buffers::{Buffers, COPY, LentPipe, ROUNDS};
use super::stream::{Alarm, Reader, Writer};

/// One direction. Its end is passed on (FIN, `close_notify`, END_STREAM).
pub(super) struct CopyHalf {
    /// Read and not yet written, from `written` on. Without capacity while there is nothing.
    buffer: Vec<u8>,
    written: usize,
    /// As the buffer, of what the kernel moves.
    pipe: Option<LentPipe>,
    /// The source had more than the buffer holds: the kernel is to move what follows, as far as
    /// both sides are bare sockets and as long as it is that much each time.
    bulk: bool,
    /// Bytes written so far.
    pub(super) moved: u64,
    state: CopyState,
}

#[derive(PartialEq, Eq)]
enum CopyState {
    Open,
    /// The reading side has ended and all of it is written; the writing side is being told.
    Ending,
    Ended,
}

/// Why copying ended before both directions had.
#[derive(Debug, thiserror::Error)]
pub(super) enum CopyError {
    #[error("{0}")]
    Broken(io::Error),
    /// Neither side sent anything for [`CopyTimeouts::idle`].
    #[error("timed out")]
    Idle,
    /// One side had ended, and the other sent nothing for [`CopyTimeouts::half_closed`].
    #[error("one side has ended, and the other was silent for half_close_timeout")]
    HalfClosed,
}

impl CopyError {
    /// Silence ended it: nothing is wrong with an endpoint that has nothing to say.
    pub(super) fn is_silence(&self) -> bool {
        matches!(self, CopyError::Idle | CopyError::HalfClosed)
    }
}

/// How long nothing may move.
#[derive(Debug, Clone, Copy)]
pub(super) struct CopyTimeouts {
    /// While both directions are open.
    pub(super) idle: Duration,
    /// Once one has ended; no longer than `idle`.
    pub(super) half_closed: Duration,
}

/// On which side a direction broke.
enum CopyBreak {
    Reading(io::Error),
    Writing(io::Error),
}

impl CopyHalf {
    /// A direction that begins with bytes that were read before.
    pub(super) fn new(first: Vec<u8>) -> CopyHalf {
        CopyHalf {
            buffer: first,
            written: 0,
            pipe: None,
            bulk: false,
            moved: 0,
            state: CopyState::Open,
        }
    }

    /// Nothing more will be read.
    fn has_ended(&self) -> bool {
        self.state != CopyState::Open
    }

    /// Moves what can be moved now; ready once this direction is over.
    fn poll_copy(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Reader,
        to: &mut Writer,
        buffers: &Buffers,
    ) -> Poll<Result<(), CopyBreak>> {
        for _ in 0..ROUNDS {
            while self.written < self.buffer.len() {
                let unwritten = &self.buffer[self.written..];
                let written =
                    ready!(to.poll_write(cx, unwritten, &[])).map_err(CopyBreak::Writing)?;
                self.written += written;
                self.moved += written as u64;
            }
            self.buffer.clear();
            self.written = 0;
            while let Some(pipe) = self.pipe.as_mut().filter(|pipe| pipe.filled() > 0) {
                let written = ready!(to.poll_splice(cx, pipe)).map_err(CopyBreak::Writing)?;
                self.moved += written as u64;
            }
            if to.poll_flush(cx).map_err(CopyBreak::Writing)?.is_pending() {
                self.give_back(buffers);
                return Poll::Pending;
            }
            match self.state {
                CopyState::Open => match self
                    .poll_fill(cx, from, to.is_bare(), buffers)
                    .map_err(CopyBreak::Reading)?
                {
                    Poll::Ready(0) => self.state = CopyState::Ending,
                    Poll::Ready(_) => continue,
                    Poll::Pending => {
                        self.give_back(buffers);
                        return Poll::Pending;
                    }
                },
                CopyState::Ending => {
                    ready!(to.poll_shutdown(cx)).map_err(CopyBreak::Writing)?;
                    self.state = CopyState::Ended;
                }
                CopyState::Ended => return Poll::Ready(Ok(())),
            }
            self.give_back(buffers);
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Reads into the empty buffer, which is borrowed as soon as there is something to read, or has
    /// the kernel fill a pipe. 0 at the end.
    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Reader,
        to_bare: bool,
        buffers: &Buffers,
    ) -> Poll<io::Result<usize>> {
        if self.bulk
            && to_bare
            && from.is_bare()
            && let Some(read) =
                ready!(buffers.poll_fill_pipe(cx, &mut self.pipe, from, usize::MAX))?
        {
            self.bulk = read >= COPY;
            return Poll::Ready(Ok(read));
        }
        if self.buffer.capacity() == 0 {
            ready!(from.poll_readable(cx))?;
            self.buffer = buffers.take_copy();
        }
        let read = ready!(from.poll_read(cx, &mut self.buffer, COPY))?;
        self.bulk = read == COPY;
        Poll::Ready(Ok(read))
    }

    fn give_back(&mut self, buffers: &Buffers) {
        buffers.give(std::mem::take(&mut self.buffer));
        if let Some(pipe) = self.pipe.take() {
            buffers.give_pipe(pipe);
        }
    }
}

/// A direction and its two ends.
pub(super) struct CopyEnds<'a> {
    pub(super) half: &'a mut CopyHalf,
    pub(super) from: &'a mut Reader,
    pub(super) to: &'a mut Writer,
}

impl CopyEnds<'_> {
    /// Whether this direction is over.
    fn poll(&mut self, cx: &mut Context<'_>, buffers: &Buffers) -> Result<bool, CopyBreak> {
        match self.half.poll_copy(cx, self.from, self.to, buffers) {
            Poll::Ready(over) => over.map(|()| true),
            Poll::Pending => Ok(false),
        }
    }
}

/// Moves bytes both ways until both directions are over: `up` from a client to an endpoint, `down`
/// back. `endpoint_ended` is called once, when the endpoint has ended its direction in order.
///
/// # Errors
/// See [`CopyError`]. An endpoint that takes no more may have said why: that is passed on first.
pub(super) async fn copy_both(
    mut up: CopyEnds<'_>,
    mut down: CopyEnds<'_>,
    timeouts: CopyTimeouts,
    buffers: &Buffers,
    endpoint_ended: impl FnOnce(),
) -> Result<(), CopyError> {
    let mut alarm = Alarm::default();
    let mut since = Instant::now();
    let mut half_closed = false;
    let mut refusal = None;
    let mut endpoint_ended = Some(endpoint_ended);
    #[allow(
        clippy::disallowed_methods,
        reason = "by the alarm, which each byte moves"
    )]
    poll_fn(|cx| {
        let before = up.half.moved + down.half.moved;
        let up_over = refusal.is_some()
            || match up.poll(cx, buffers) {
                Ok(over) => over,
                Err(CopyBreak::Writing(error)) => {
                    refusal = Some(error);
                    true
                }
                Err(CopyBreak::Reading(error)) => {
                    return Poll::Ready(Err(CopyError::Broken(error)));
                }
            };
        let down_over = match down.poll(cx, buffers) {
            Ok(over) => over,
            Err(CopyBreak::Reading(error) | CopyBreak::Writing(error)) => {
                let first = refusal.take().unwrap_or(error);
                return Poll::Ready(Err(CopyError::Broken(first)));
            }
        };
        if down.half.has_ended()
            && let Some(endpoint_ended) = endpoint_ended.take()
        {
            endpoint_ended();
        }
        if up_over && down_over {
            let refused = |error| Err(CopyError::Broken(error));
            return Poll::Ready(refusal.take().map_or(Ok(()), refused));
        }
        let one_ended = up_over || up.half.has_ended() || down.half.has_ended();
        // The end of a direction starts the time anew, as a byte does.
        if up.half.moved + down.half.moved > before || one_ended && !half_closed {
            since = Instant::now();
        }
        half_closed = one_ended;
        let (limit, late) = match half_closed {
            true => (
                timeouts.idle.min(timeouts.half_closed),
                CopyError::HalfClosed,
            ),
            false => (timeouts.idle, CopyError::Idle),
        };
        alarm.poll_due(cx, since + limit).map(|_| Err(late))
    })
    .await
}

#[cfg(test)]
#[allow(
    clippy::disallowed_methods,
    reason = "a test that waits in vain is given up"
)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::super::stream::Stream;
    use super::*;

    fn pair() -> (tokio::net::UnixStream, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.set_nonblocking(true).unwrap();
        (tokio::net::UnixStream::from_std(ours).unwrap(), theirs)
    }

    #[tokio::test]
    async fn a_direction_that_need_not_wait_lets_others_have_their_turn_and_goes_on() {
        let ((from, mut source), (to, _sink)) = (pair(), pair());
        let mut total = 0;
        while let Ok(written) = source.write(&[b'x'; 4096]) {
            total += written as u64;
        }
        let in_one_poll = (ROUNDS * COPY) as u64;
        assert!(total > in_one_poll, "the kernel takes only {total} bytes");
        from.readable().await.unwrap();
        to.writable().await.unwrap();
        let (mut reader, _own_writer) = Stream::unix(from).split();
        let (_own_reader, mut writer) = Stream::unix(to).split();
        let (mut half, buffers) = (CopyHalf::new(Vec::new()), Buffers::default());
        let mut turns = 0;
        let all = poll_fn(|cx| {
            turns += 1;
            let before = half.moved;
            let copied = half.poll_copy(cx, &mut reader, &mut writer, &buffers);
            assert!(copied.is_pending());
            assert!(half.moved - before <= in_one_poll);
            match half.moved == total {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        });
        tokio::time::timeout(Duration::from_secs(10), all)
            .await
            .unwrap();
        assert!(turns > 1);
    }
    #[tokio::test]
    async fn a_direction_at_rest_holds_no_buffer() {
        let ((from, mut source), (to, mut sink)) = (pair(), pair());
        let (mut reader, _own_writer) = Stream::unix(from).split();
        let (_own_reader, mut writer) = Stream::unix(to).split();
        let (mut half, buffers) = (CopyHalf::new(b"first".to_vec()), Buffers::default());
        for (number, piece) in [&b"first"[..], b"second", b"third"].into_iter().enumerate() {
            if number > 0 {
                source.write_all(piece).unwrap();
            }
            let moved = half.moved + piece.len() as u64;
            poll_fn(|cx| {
                let copied = half.poll_copy(cx, &mut reader, &mut writer, &buffers);
                assert!(copied.is_pending());
                match half.moved == moved {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                }
            })
            .await;
            assert_eq!(half.buffer.capacity(), 0, "after {number}");
            let mut received = vec![0; piece.len()];
            sink.read_exact(&mut received).unwrap();
            assert_eq!(received, piece);
        }
    }
}
