//! What a connection receives, in a buffer that is only there while there is something in it:
//! thousands of requests may wait for their servers at the same time.

use std::io;
use std::task::{Context, Poll, ready};

use super::coding::CHUNK_FRAMING;
use crate::data_plane::buffers::{BODY, Buffers, LARGE};
use crate::data_plane::stream::Reader;

/// Bytes received, some of them consumed.
#[derive(Default)]
pub(crate) struct ReceiveBuffer {
    bytes: Vec<u8>,
    /// Where the unread part of `bytes` begins.
    start: usize,
    /// More came than the smaller kind of buffer holds: fewer and larger steps from then on.
    large: bool,
}

impl ReceiveBuffer {
    /// Received, not yet consumed.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(crate) fn consume(&mut self, length: usize) {
        self.start += length;
        debug_assert!(self.start <= self.bytes.len());
    }

    /// The `length` bytes that were consumed last. They stay where they are until more is read, or
    /// the buffer is given back.
    pub(crate) fn consumed(&self, length: usize) -> &[u8] {
        &self.bytes[self.start - length..self.start]
    }

    /// Reads more of a head behind what is unread; the buffer grows up to `bound` bytes of unread
    /// data. 0 at the end.
    ///
    /// # Errors
    /// What the reader says.
    pub(crate) fn poll_more(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut Reader,
        bound: usize,
        buffers: &Buffers,
    ) -> Poll<io::Result<usize>> {
        self.forget_consumed();
        if self.bytes.capacity() == 0 {
            self.bytes = buffers.take_head();
        }
        if self.bytes.len() == self.bytes.capacity() {
            // Full: the bytes that were consumed make room first; without any, the buffer grows.
            if self.start > 0 {
                self.bytes.drain(..self.start);
                self.start = 0;
            } else {
                // It doubles, up to `bound`. It grows by one byte at least: a read without room
                // returns 0, which means the end here.
                let room = bound
                    .saturating_sub(self.bytes.len())
                    .min(self.bytes.capacity())
                    .max(1);
                self.bytes.reserve_exact(room);
            }
        }
        reader.poll_read(cx, &mut self.bytes, usize::MAX)
    }

    /// Reads more, `most` bytes at most, once all is consumed. No buffer is held before there is
    /// something to read; where one was filled and more is wanted, the next one is larger. 0 at the
    /// end.
    ///
    /// # Errors
    /// What the reader says.
    pub(crate) fn poll_refill(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut Reader,
        most: usize,
        buffers: &Buffers,
    ) -> Poll<io::Result<usize>> {
        debug_assert!(self.unread().is_empty());
        self.forget_consumed();
        let size = match self.large && most > BODY {
            true => LARGE,
            false => BODY,
        };
        if self.bytes.capacity() < size.min(most) {
            self.release(buffers);
        }
        if self.bytes.capacity() == 0 {
            self.bytes = buffers.take_for(size);
        }
        // What is read fits into another buffer of this size when it is coded.
        let room = self.bytes.capacity() - 2 * CHUNK_FRAMING;
        let read = reader.poll_read(cx, &mut self.bytes, room.min(most));
        if read.is_pending() {
            self.release(buffers);
        }
        let read = ready!(read)?;
        self.large |= size == BODY && read == room && most > BODY;
        Poll::Ready(Ok(read))
    }

    /// Gives the buffer back, with whatever is in it.
    pub(crate) fn release(&mut self, buffers: &Buffers) {
        buffers.give(std::mem::take(&mut self.bytes));
        self.start = 0;
    }

    fn forget_consumed(&mut self) {
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
#[allow(clippy::disallowed_methods, reason = "what is read was written before")]
mod tests {
    use std::future::poll_fn;
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::data_plane::stream::Stream;

    /// The capacity of the buffer after each of three reads from a connection that has more to say.
    async fn capacities(most: usize) -> Vec<usize> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        theirs.set_nonblocking(true).unwrap();
        let ours = tokio::net::UnixStream::from_std(ours).unwrap();
        let (mut reader, _writer) = Stream::unix(ours).split();
        let (buffers, mut receive) = (Buffers::default(), ReceiveBuffer::default());
        let mut capacities = Vec::new();
        for _ in 0..3 {
            while theirs.write(&[b'x'; 16 << 10]).is_ok() {}
            let read = poll_fn(|cx| receive.poll_refill(cx, &mut reader, most, &buffers));
            let read = read.await.unwrap();
            receive.consume(read);
            capacities.push(receive.bytes.capacity());
        }
        capacities
    }

    #[tokio::test]
    async fn where_more_is_wanted_than_came_the_buffer_grows_and_else_it_stays() {
        // Of an answer.
        assert_eq!(capacities(usize::MAX).await, [BODY, LARGE, LARGE]);
        // Of an upload: see `Incoming::poll_body`.
        assert_eq!(capacities(BODY).await, [BODY; 3]);
        // What a head was read into would do, but there is none here.
        assert_eq!(capacities(10).await, [BODY; 3]);
    }
}
