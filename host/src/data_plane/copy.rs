//! A connection that is carried as it is: in each direction bytes from a reader to a writer, within
//! one buffer.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use super::buffers::BODY;
use super::stream::{Alarm, Reader, Writer};

/// Bytes that a lane holds at most, what it begins with left aside: what one side does not take,
/// the other waits with.
const BUFFER: usize = BODY / 4;
/// Times that a lane fills its buffer before others have their turn, or an upload at full speed
/// would hold up its answer.
const TURN: usize = 4;

/// One direction. The end of it is passed on as such, and leaves the other direction alone.
pub(super) struct CopyHalf {
    buffer: Vec<u8>,
    written: usize,
    /// Bytes written so far.
    pub(super) moved: u64,
    state: CopyState,
}

#[derive(PartialEq, Eq)]
enum CopyState {
    Open,
    /// The reading side ended; the writing side is being told.
    Closing,
    Closed,
}

/// What a socket said, and on which side of a lane.
enum CopyError {
    Reading(io::Error),
    Writing(io::Error),
}

impl CopyHalf {
    /// A lane that begins with bytes at hand.
    pub(super) fn new(first: &[u8]) -> CopyHalf {
        let mut buffer = Vec::with_capacity(first.len().max(BUFFER));
        buffer.extend_from_slice(first);
        CopyHalf {
            buffer,
            written: 0,
            moved: 0,
            state: CopyState::Open,
        }
    }

    /// Moves what can be moved now; ready once this direction is over.
    fn poll_move(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Reader,
        to: &mut Writer,
    ) -> Poll<Result<(), CopyError>> {
        for _ in 0..TURN {
            if self.state == CopyState::Closed {
                return Poll::Ready(Ok(()));
            }
            while self.written < self.buffer.len() {
                let unwritten = &self.buffer[self.written..];
                let written =
                    ready!(to.poll_write(cx, unwritten, &[])).map_err(CopyError::Writing)?;
                self.written += written;
                self.moved += written as u64;
            }
            self.buffer.clear();
            self.written = 0;
            ready!(to.poll_flush(cx)).map_err(CopyError::Writing)?;
            if self.state == CopyState::Closing {
                ready!(to.poll_shutdown(cx)).map_err(CopyError::Writing)?;
                self.state = CopyState::Closed;
            } else if ready!(from.poll_read(cx, &mut self.buffer, usize::MAX))
                .map_err(CopyError::Reading)?
                == 0
            {
                self.state = CopyState::Closing;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// A lane and its two ends.
pub(super) struct CopyEnds<'a> {
    pub(super) lane: &'a mut CopyHalf,
    pub(super) from: &'a mut Reader,
    pub(super) to: &'a mut Writer,
}

impl CopyEnds<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Result<bool, CopyError> {
        match self.lane.poll_move(cx, self.from, self.to) {
            Poll::Ready(over) => over.map(|()| true),
            Poll::Pending => Ok(false),
        }
    }
}

/// Moves bytes both ways, between a client and an endpoint, until both directions are over. An
/// endpoint that takes no more may have said why: what it said is still passed on.
///
/// # Errors
/// What either side's socket says; `TimedOut` once nothing has moved for `idle`.
pub(super) async fn carry_both(
    mut up: CopyEnds<'_>,
    mut down: CopyEnds<'_>,
    alarm: &mut Alarm,
    idle: Duration,
) -> io::Result<()> {
    let mut due = Instant::now() + idle;
    let mut refusal = None;
    poll_fn(|cx| {
        let before = up.lane.moved + down.lane.moved;
        let up_over = refusal.is_some()
            || match up.poll(cx) {
                Ok(over) => over,
                Err(CopyError::Writing(error)) => {
                    refusal = Some(error);
                    true
                }
                Err(CopyError::Reading(error)) => return Poll::Ready(Err(error)),
            };
        let down_over = match down.poll(cx) {
            Ok(over) => over,
            Err(CopyError::Reading(error) | CopyError::Writing(error)) => {
                return Poll::Ready(Err(refusal.take().unwrap_or(error)));
            }
        };
        if up_over && down_over {
            return Poll::Ready(refusal.take().map_or(Ok(()), Err));
        }
        if up.lane.moved + down.lane.moved > before {
            due = Instant::now() + idle;
        }
        alarm
            .poll_due(cx, due)
            .map(|_| Err(io::ErrorKind::TimedOut.into()))
    })
    .await
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use std::io::Write;
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
    async fn a_lane_that_need_not_wait_lets_others_have_their_turn_and_goes_on() {
        let ((from, mut source), (to, _sink)) = (pair(), pair());
        let mut total = 0;
        while let Ok(written) = source.write(&[b'x'; 4096]) {
            total += written as u64;
        }
        let in_one_turn = (TURN * BUFFER) as u64;
        assert!(total > in_one_turn, "the kernel takes only {total} bytes");
        from.readable().await.unwrap();
        to.writable().await.unwrap();
        let (mut reader, _own_writer) = Stream::unix(from).split();
        let (_own_reader, mut writer) = Stream::unix(to).split();
        let mut lane = CopyHalf::new(&[]);
        let mut turns = 0;
        let all = poll_fn(|cx| {
            turns += 1;
            let before = lane.moved;
            assert!(lane.poll_move(cx, &mut reader, &mut writer).is_pending());
            assert!(lane.moved - before <= in_one_turn);
            match lane.moved == total {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        });
        tokio::time::timeout(Duration::from_secs(10), all)
            .await
            .unwrap();
        assert!(turns > 1);
    }
}
