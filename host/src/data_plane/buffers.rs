//! Buffers that a worker's connections lend from each other, so that idle ones hold none and busy
//! ones never allocate; and pipes, which are buffers in the kernel.

use std::cell::{Cell, RefCell};
use std::io;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use super::process::{FileDescriptor, Process};
use super::stream::{Reader, SplicePipe, is_refused};

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
/// Pipes of a worker at most, used ones included: 16 MiB of the kernel's memory. Who gets none
/// copies. See [`Process::pipes_of_worker`] for where descriptors are few.
const PIPES: usize = 64;

/// The spare buffers of one worker.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    requests: Spare<Vec<u8>>,
    heads: Spare<Vec<u8>>,
    copies: Spare<Vec<u8>>,
    bodies: Spare<Vec<u8>>,
    large: Spare<Vec<u8>>,
    pipes: Spare<LentPipe>,
    /// How many pipes there are.
    pipes_open: Rc<Cell<usize>>,
    /// The kernel, or what confines us, does not splice.
    pipes_refused: Cell<bool>,
    /// Who counts their descriptors; without it there are none.
    process: Option<Arc<Process>>,
}

/// A pipe and its two descriptors. One that is dropped is closed.
#[derive(Debug)]
pub(crate) struct LentPipe {
    pipe: SplicePipe,
    _descriptors: [FileDescriptor; 2],
    open: Rc<Cell<usize>>,
}

impl Deref for LentPipe {
    type Target = SplicePipe;

    fn deref(&self) -> &SplicePipe {
        &self.pipe
    }
}

impl DerefMut for LentPipe {
    fn deref_mut(&mut self) -> &mut SplicePipe {
        &mut self.pipe
    }
}

impl Drop for LentPipe {
    fn drop(&mut self) {
        self.open.set(self.open.get() - 1);
    }
}

/// Spare buffers of one kind.
#[derive(Debug)]
struct Spare<T> {
    buffers: RefCell<Vec<T>>,
    /// The fewest that there were since the last [`Buffers::trim`]: so many were of no use.
    unused: Cell<usize>,
}

impl<T> Default for Spare<T> {
    fn default() -> Spare<T> {
        Spare {
            buffers: RefCell::default(),
            unused: Cell::default(),
        }
    }
}

impl<T> Spare<T> {
    fn take(&self) -> Option<T> {
        let mut buffers = self.buffers.borrow_mut();
        let buffer = buffers.pop();
        self.unused.set(self.unused.get().min(buffers.len()));
        buffer
    }

    fn give(&self, buffer: T) {
        let mut buffers = self.buffers.borrow_mut();
        if buffers.len() < KEPT {
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

impl Spare<Vec<u8>> {
    fn take_of(&self, capacity: usize) -> Vec<u8> {
        let spare = self.take();
        spare.unwrap_or_else(|| Vec::with_capacity(capacity))
    }

    fn give_cleared(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        self.give(buffer);
    }
}

impl Buffers {
    /// Those of a worker, with pipes.
    pub(crate) fn of(process: &Arc<Process>) -> Buffers {
        Buffers {
            process: Some(process.clone()),
            ..Buffers::default()
        }
    }

    pub(crate) fn take_head(&self) -> Vec<u8> {
        self.heads.take_of(HEAD)
    }

    /// One for a request's head of about `size` bytes.
    pub(crate) fn take_request(&self, size: usize) -> Vec<u8> {
        match size {
            ..=REQUEST => self.requests.take_of(REQUEST),
            _ => self.take_head(),
        }
    }

    pub(crate) fn take_copy(&self) -> Vec<u8> {
        self.copies.take_of(COPY)
    }

    pub(crate) fn take_body(&self) -> Vec<u8> {
        self.bodies.take_of(BODY)
    }

    /// An empty pipe. None where there are enough of them, or no descriptor is left for another.
    fn take_pipe(&self) -> Option<LentPipe> {
        self.pipes.take().or_else(|| self.open_pipe())
    }

    fn open_pipe(&self) -> Option<LentPipe> {
        let process = self.process.as_ref()?;
        let most = process.pipes_of_worker().min(PIPES);
        if self.pipes_refused.get() || self.pipes_open.get() >= most {
            return None;
        }
        let descriptors = [process.take_file()?, process.take_file()?];
        let pipe = SplicePipe::new()?;
        self.pipes_open.set(self.pipes_open.get() + 1);
        Some(LentPipe {
            pipe,
            _descriptors: descriptors,
            open: self.pipes_open.clone(),
        })
    }

    /// Moves what a socket has into a pipe that is taken as soon as it has something, and is not held
    /// before; `most` bytes at most, 0 at the end. None where no pipe is to be had, or the kernel
    /// does not splice, or not what comes next: then it has to be read.
    ///
    /// # Errors
    /// What the reader says.
    pub(crate) fn poll_fill_pipe(
        &self,
        cx: &mut Context<'_>,
        held: &mut Option<LentPipe>,
        reader: &Reader,
        most: usize,
    ) -> Poll<io::Result<Option<usize>>> {
        if held.is_none() {
            ready!(reader.poll_readable(cx))?;
        }
        let Some(mut pipe) = held.take().or_else(|| self.take_pipe()) else {
            return Poll::Ready(Ok(None));
        };
        match reader.poll_splice(cx, &mut pipe, most) {
            Poll::Ready(Ok(Some(read))) => {
                *held = Some(pipe);
                Poll::Ready(Ok(Some(read)))
            }
            Poll::Ready(Ok(None)) => {
                self.give_pipe(pipe);
                Poll::Ready(Ok(None))
            }
            Poll::Ready(Err(error)) if is_refused(&error) => {
                self.refuse_pipes();
                Poll::Ready(Ok(None))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                self.give_pipe(pipe);
                Poll::Pending
            }
        }
    }

    /// Takes a pipe back. One that something is left in, which nobody else may get, is closed, and so
    /// is one whose descriptors connections may want.
    pub(crate) fn give_pipe(&self, pipe: LentPipe) {
        let process = self.process.as_ref();
        let is_wanted = process.is_some_and(|process| process.pipes_of_worker() > 0);
        if pipe.filled() == 0 && is_wanted && !self.pipes_refused.get() {
            self.pipes.give(pipe);
        }
    }

    /// There is no use in pipes here: nobody gets one any more.
    fn refuse_pipes(&self) {
        self.pipes_refused.set(true);
        drop(self.pipes.buffers.take());
    }

    /// One for bodies that holds `size` bytes, of which [`LARGE`] are the most.
    pub(crate) fn take_for(&self, size: usize) -> Vec<u8> {
        match size {
            ..=BODY => self.take_body(),
            _ => self.large.take_of(LARGE),
        }
    }

    /// Takes a buffer back. One that grew goes to the allocator, so that one large head does not
    /// cost its memory for ever.
    pub(crate) fn give(&self, buffer: Vec<u8>) {
        match buffer.capacity() {
            REQUEST => self.requests.give_cleared(buffer),
            HEAD => self.heads.give_cleared(buffer),
            COPY => self.copies.give_cleared(buffer),
            BODY => self.bodies.give_cleared(buffer),
            LARGE => self.large.give_cleared(buffer),
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
        self.pipes.trim();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use std::future::poll_fn;

    use super::*;
    use crate::data_plane::stream::Stream;
    use crate::data_plane::worker::tests::process;

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

    /// Of the thousand that there are.
    #[test]
    fn pipes_leave_descriptors_to_connections_and_are_closed_when_these_want_theirs() {
        let process = process();
        let buffers = Buffers::of(&process);
        let mut pipes: Vec<_> = std::iter::from_fn(|| buffers.take_pipe()).collect();
        assert_eq!(pipes.len(), 31);
        for _ in 0..500 {
            assert!(process.take_upstream_connection());
        }
        buffers.give_pipe(pipes.pop().unwrap());
        assert_eq!(buffers.pipes_open.get(), 30);
        assert!(buffers.take_pipe().is_none());
    }

    /// Whoever had it next would pass on what is another's.
    #[tokio::test]
    async fn a_pipe_with_bytes_in_it_is_lent_to_nobody() {
        let buffers = Buffers::of(&process());
        let (ours, theirs) = tokio::net::UnixStream::pair().unwrap();
        let (reader, _) = Stream::unix(ours).split();
        theirs.writable().await.unwrap();
        theirs.try_write(b"of one request").unwrap();
        let mut held = None;
        #[allow(clippy::disallowed_methods, reason = "what is read was written before")]
        let filled = poll_fn(|cx| buffers.poll_fill_pipe(cx, &mut held, &reader, usize::MAX));
        assert_eq!(filled.await.unwrap(), Some(14));
        let pipe = held.take().unwrap();
        assert_eq!((pipe.filled(), buffers.pipes_open.get()), (14, 1));
        buffers.give_pipe(pipe);
        assert_eq!(buffers.pipes_open.get(), 0);
        let empty = buffers.take_pipe().unwrap();
        buffers.give_pipe(empty);
        assert_eq!(buffers.pipes_open.get(), 1);
    }
}
