//! A connection that is carried as it is: in each direction bytes from a reader to a writer, within one buffer.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::Instant;

use super::buffers::BODY;
use super::stream::{Alarm, Reader, Writer};

/// Bytes that a lane holds at most, what it begins with left aside: what one side does not take, the other waits with.
const BUFFER: usize = BODY / 4;

/// One direction. The end of it is passed on as such, and leaves the other direction alone.
pub(super) struct Lane {
    buffer: Vec<u8>,
    written: usize,
    /// Bytes written so far.
    pub(super) moved: u64,
    state: State,
}

#[derive(PartialEq, Eq)]
enum State {
    Open,
    /// The reading side ended; the writing side is being told.
    Closing,
    Closed,
}

impl Lane {
    /// A lane that begins with bytes at hand.
    pub(super) fn new(first: &[u8]) -> Lane {
        let mut buffer = Vec::with_capacity(first.len().max(BUFFER));
        buffer.extend_from_slice(first);
        Lane {
            buffer,
            written: 0,
            moved: 0,
            state: State::Open,
        }
    }

    /// Moves what can be moved now; true once this direction is over.
    ///
    /// # Errors
    /// What either side's socket says.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Reader,
        to: &mut Writer,
    ) -> io::Result<bool> {
        match self.poll_move(cx, from, to) {
            Poll::Ready(Ok(())) => Ok(true),
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => Ok(false),
        }
    }

    fn poll_move(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut Reader,
        to: &mut Writer,
    ) -> Poll<io::Result<()>> {
        loop {
            while self.written < self.buffer.len() {
                let written = ready!(to.poll_write(cx, &self.buffer[self.written..], &[]))?;
                self.written += written;
                self.moved += written as u64;
            }
            self.buffer.clear();
            self.written = 0;
            ready!(to.poll_flush(cx))?;
            match self.state {
                State::Open => {
                    if ready!(from.poll_read(cx, &mut self.buffer, usize::MAX))? == 0 {
                        self.state = State::Closing;
                    }
                }
                State::Closing => {
                    ready!(to.poll_shutdown(cx))?;
                    self.state = State::Closed;
                }
                State::Closed => return Poll::Ready(Ok(())),
            }
        }
    }
}

/// A lane and its two ends.
pub(super) struct Way<'a> {
    pub(super) lane: &'a mut Lane,
    pub(super) from: &'a mut Reader,
    pub(super) to: &'a mut Writer,
}

/// Moves bytes both ways until both directions are over.
///
/// # Errors
/// What either side's socket says; `TimedOut` once nothing has moved for `idle`.
pub(super) async fn carry_both(
    up: Way<'_>,
    down: Way<'_>,
    alarm: &mut Alarm,
    idle: Duration,
) -> io::Result<()> {
    let mut due = Instant::now() + idle;
    poll_fn(|cx| {
        let before = up.lane.moved + down.lane.moved;
        let up_over = up.lane.poll(cx, up.from, up.to)?;
        let down_over = down.lane.poll(cx, down.from, down.to)?;
        if up_over && down_over {
            return Poll::Ready(Ok(()));
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
