//! Buffers that a worker's connections lend from each other, so that idle ones hold none and busy
//! ones never allocate.

use std::cell::RefCell;

/// What a request or response head is first read into; most fit.
const HEAD: usize = 4 << 10;
/// What the directions of tunnels and sessions are copied in. What one side does not take, the other
/// waits with: this is what a connection can make us hold for each direction.
pub(crate) const COPY: usize = 16 << 10;
/// What bodies are moved in: large enough that a megabyte takes few system calls, small enough to
/// stay in the cache.
pub(crate) const BODY: usize = 64 << 10;
/// What a body that has filled such a buffer goes on in.
pub(crate) const LARGE: usize = 256 << 10;
/// Buffers of each kind that are kept; the rest goes back to the allocator.
const KEPT: usize = 64;

/// The spare buffers of one worker.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    heads: RefCell<Vec<Vec<u8>>>,
    copies: RefCell<Vec<Vec<u8>>>,
    bodies: RefCell<Vec<Vec<u8>>>,
    large: RefCell<Vec<Vec<u8>>>,
}

impl Buffers {
    pub(crate) fn take_head(&self) -> Vec<u8> {
        self.heads
            .borrow_mut()
            .pop()
            .unwrap_or_else(|| Vec::with_capacity(HEAD))
    }

    pub(crate) fn take_copy(&self) -> Vec<u8> {
        let kept = self.copies.borrow_mut().pop();
        kept.unwrap_or_else(|| Vec::with_capacity(COPY))
    }

    pub(crate) fn take_body(&self) -> Vec<u8> {
        self.bodies
            .borrow_mut()
            .pop()
            .unwrap_or_else(|| Vec::with_capacity(BODY))
    }

    pub(crate) fn take_large(&self) -> Vec<u8> {
        let kept = self.large.borrow_mut().pop();
        kept.unwrap_or_else(|| Vec::with_capacity(LARGE))
    }

    /// Takes a buffer back. One that grew goes to the allocator, so that one large head does not
    /// cost its memory for ever.
    pub(crate) fn give(&self, mut buffer: Vec<u8>) {
        let kept = match buffer.capacity() {
            HEAD => &self.heads,
            COPY => &self.copies,
            BODY => &self.bodies,
            LARGE => &self.large,
            _ => return,
        };
        let mut kept = kept.borrow_mut();
        if kept.len() < KEPT {
            buffer.clear();
            kept.push(buffer);
        }
    }
}
