//! Buffers that a worker's connections lend from each other, so that idle ones hold none and busy
//! ones never allocate.

use std::cell::{Cell, RefCell};

/// What a request or response head is first read into; most fit.
const HEAD: usize = 4 << 10;
/// What a request is written into, for as long as its server may be asked again: small, since thousands
/// may wait for their servers.
const REQUEST: usize = 1 << 10;
/// What the directions of tunnels and sessions are copied in. What one side does not take, the
/// other waits with: this is what a connection can make us hold for each direction.
pub(crate) const COPY: usize = 16 << 10;
/// What bodies are moved in: large enough that a megabyte takes few system calls, small enough to
/// stay in the cache.
pub(crate) const BODY: usize = 64 << 10;
/// What a body that has filled such a buffer goes on in.
pub(crate) const LARGE: usize = 256 << 10;
/// Times that a direction fills its buffer before other tasks run: an upload at full speed would
/// hold up its answer.
pub(crate) const ROUNDS: usize = 4;
/// Buffers of each kind that are kept at most; the rest goes back to the allocator.
const KEPT: usize = 64;

/// The spare buffers of one worker.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    requests: Spare,
    heads: Spare,
    copies: Spare,
    bodies: Spare,
    large: Spare,
}

/// Spare buffers of one kind.
#[derive(Debug, Default)]
struct Spare {
    buffers: RefCell<Vec<Vec<u8>>>,
    /// The fewest that there were since the last [`Buffers::trim`]: so many were of no use.
    unused: Cell<usize>,
}

impl Spare {
    fn take(&self, capacity: usize) -> Vec<u8> {
        let mut buffers = self.buffers.borrow_mut();
        let buffer = buffers.pop();
        self.unused.set(self.unused.get().min(buffers.len()));
        buffer.unwrap_or_else(|| Vec::with_capacity(capacity))
    }

    fn give(&self, mut buffer: Vec<u8>) {
        let mut buffers = self.buffers.borrow_mut();
        if buffers.len() < KEPT {
            buffer.clear();
            buffers.push(buffer);
        }
    }

    fn trim(&self) {
        let mut buffers = self.buffers.borrow_mut();
        let needed = buffers.len() - self.unused.get().min(buffers.len());
        buffers.truncate(needed);
        self.unused.set(needed);
    }
}

impl Buffers {
    pub(crate) fn take_head(&self) -> Vec<u8> {
        self.heads.take(HEAD)
    }

    /// One for a request's head of about `size` bytes.
    pub(crate) fn take_request(&self, size: usize) -> Vec<u8> {
        match size {
            ..=REQUEST => self.requests.take(REQUEST),
            _ => self.take_head(),
        }
    }

    pub(crate) fn take_copy(&self) -> Vec<u8> {
        self.copies.take(COPY)
    }

    pub(crate) fn take_body(&self) -> Vec<u8> {
        self.bodies.take(BODY)
    }

    /// One for bodies that holds `size` bytes, of which [`LARGE`] are the most.
    pub(crate) fn take_for(&self, size: usize) -> Vec<u8> {
        match size {
            ..=BODY => self.take_body(),
            _ => self.large.take(LARGE),
        }
    }

    /// Takes a buffer back. One that grew goes to the allocator, so that one large head does not
    /// cost its memory for ever.
    pub(crate) fn give(&self, buffer: Vec<u8>) {
        match buffer.capacity() {
            REQUEST => self.requests.give(buffer),
            HEAD => self.heads.give(buffer),
            COPY => self.copies.give(buffer),
            BODY => self.bodies.give(buffer),
            LARGE => self.large.give(buffer),
            _ => {}
        }
    }

    /// Gives those back to the allocator that were spare all the time since this was last called:
    /// what a burst needed is not kept for ever.
    pub(crate) fn trim(&self) {
        self.requests.trim();
        self.heads.trim();
        self.copies.trim();
        self.bodies.trim();
        self.large.trim();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_burst_needed_goes_and_what_is_in_use_stays() {
        let buffers = Buffers::default();
        let spare = |buffers: &Buffers| buffers.bodies.buffers.borrow().len();
        let burst: Vec<_> = (0..2 * KEPT).map(|_| buffers.take_body()).collect();
        burst.into_iter().for_each(|buffer| buffers.give(buffer));
        assert_eq!(spare(&buffers), KEPT);
        // They were needed in this period.
        buffers.trim();
        assert_eq!(spare(&buffers), KEPT);
        // In this one, two are.
        let two = [buffers.take_body(), buffers.take_body()];
        two.into_iter().for_each(|buffer| buffers.give(buffer));
        buffers.trim();
        assert_eq!(spare(&buffers), 2);
        // In this one, none is.
        buffers.trim();
        assert_eq!(spare(&buffers), 0);
    }
}
