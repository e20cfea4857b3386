//! One direction of a connection that is carried as it is: bytes from a reader to a writer, within one buffer.

use std::io;
use std::task::{Context, Poll, ready};

use super::buffers::BODY;
use super::stream::{Reader, Writer};

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
    pub(super) fn poll(
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
