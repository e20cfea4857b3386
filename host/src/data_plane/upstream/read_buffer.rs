//! What is read of an endpoint's answer, in a buffer that is only there while there is something in
//! it: thousands of requests may wait for their servers at the same time.

use std::io;
use std::task::{Context, Poll, ready};

use crate::data_plane::buffers::{Buffers, LARGE};
use crate::data_plane::stream::Reader;

/// Bytes read and not yet consumed.
#[derive(Default)]
pub(super) struct ReadBuffer {
    bytes: Vec<u8>,
    /// Where the unread part of `bytes` begins.
    start: usize,
    /// More came than the smaller kind of buffer holds: fewer and larger steps from then on.
    large: bool,
}

impl ReadBuffer {
    pub(super) fn unread(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    pub(super) fn consume(&mut self, length: usize) {
        self.start += length;
        if self.start == self.bytes.len() {
            self.bytes.clear();
            self.start = 0;
        }
    }

    /// Reads more behind what is unread; the buffer grows where that fills it. 0 at the end.
    ///
    /// # Errors
    /// What the reader says.
    pub(super) fn poll_more(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut Reader,
        buffers: &Buffers,
    ) -> Poll<io::Result<usize>> {
        if self.bytes.capacity() == 0 {
            ready!(reader.poll_readable(cx))?;
            self.bytes = match self.large {
                true => buffers.take_large(),
                false => buffers.take_body(),
            };
        } else if self.bytes.len() == self.bytes.capacity() {
            match self.start {
                0 => self.bytes.reserve(self.bytes.capacity()),
                start => {
                    self.bytes.drain(..start);
                    self.start = 0;
                }
            }
        }
        let read = reader.poll_read(cx, &mut self.bytes, usize::MAX);
        if read.is_pending() && self.bytes.is_empty() {
            // Not readable after all.
            self.release(buffers);
        }
        read
    }

    /// As [`ReadBuffer::poll_more`], once all is consumed; goes over to a larger buffer where the
    /// last read filled this one.
    ///
    /// # Errors
    /// What the reader says.
    pub(super) fn poll_refill(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut Reader,
        buffers: &Buffers,
    ) -> Poll<io::Result<usize>> {
        debug_assert!(self.bytes.is_empty());
        if self.large && self.bytes.capacity() < LARGE {
            self.release(buffers);
        }
        let read = ready!(self.poll_more(cx, reader, buffers));
        self.large |= self.bytes.len() == self.bytes.capacity();
        Poll::Ready(read)
    }

    /// Gives the buffer back, with whatever is in it.
    pub(super) fn release(&mut self, buffers: &Buffers) {
        buffers.give(std::mem::take(&mut self.bytes));
        self.start = 0;
    }
}
