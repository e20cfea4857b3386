//! Sends on many sockets by one system call: io_uring(7), where the kernel has it and allows it. And
//! on one, by send(2).
//!
//! Each send has `MSG_DONTWAIT`, so that the call which submits it completes it, well or with an
//! error: nothing uses a message or a descriptor afterwards, and nothing has to be cancelled.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use io_uring::{IoUring, opcode, types};
use rustix::io::Errno;
use rustix::net::SendFlags;

use crate::fault_injection;

/// How many bytes of a message the kernel has taken, or why none.
pub(super) type Sent = Result<usize, Errno>;

/// A peer that has gone is an error and no signal, one that reads too slowly is waited for elsewhere.
const FLAGS: SendFlags = SendFlags::NOSIGNAL.union(SendFlags::DONTWAIT);

/// Sends a message by its own system call.
pub(super) fn send_one(socket: BorrowedFd<'_>, bytes: &[u8]) -> Sent {
    rustix::net::send(socket, bytes, FLAGS)
}

/// The ring of one thread, if it has one.
pub(super) struct SendRing {
    /// None where there is none: it is not wanted, not allowed, or has failed.
    ring: Option<IoUring>,
    /// What has become of each of the messages that were sent last.
    results: Vec<Option<Sent>>,
}

impl SendRing {
    /// It sends nothing.
    pub(super) const CLOSED: SendRing = SendRing {
        ring: None,
        results: Vec::new(),
    };

    /// For the calling thread, and up to so many messages at once.
    ///
    /// # Errors
    /// Of io_uring_setup(2): `ENOSYS` and `EPERM` where it is not allowed, as in many containers;
    /// `EINVAL` before Linux 6.1, which does not know these flags.
    pub(super) fn open(messages: usize) -> io::Result<SendRing> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .build(messages as u32)?;
        // It may be io_uring_enter(2) that is not allowed.
        ring.submit()?;
        Ok(SendRing {
            ring: Some(ring),
            results: Vec::with_capacity(messages),
        })
    }

    /// Whether it can send; a closed one has each message sent by its own call.
    pub(super) fn is_open(&self) -> bool {
        self.ring.is_some()
    }

    /// Sends messages, each on its socket, in their order; places without one are passed over. What
    /// has become of them, by their places: those that have no result, or are beyond the last, are
    /// yet to be sent.
    ///
    /// One that fails closes itself.
    #[allow(
        unsafe_code,
        reason = "the kernel reads messages by their addresses until the call returns"
    )]
    pub(super) fn send<'a>(
        &mut self,
        messages: impl Iterator<Item = Option<(BorrowedFd<'a>, &'a [u8])>>,
    ) -> &[Option<Sent>] {
        self.results.clear();
        // It comes back where all has gone well: one that a panic leaves entries in must not be used.
        let Some(mut ring) = self.ring.take() else {
            return &self.results;
        };
        let mut pending = 0;
        let mut queue = ring.submission();
        for (place, message) in messages.enumerate() {
            if let Some((socket, bytes)) = message {
                let socket = types::Fd(socket.as_raw_fd());
                let send = opcode::Send::new(socket, bytes.as_ptr(), bytes.len() as u32)
                    .flags(FLAGS.bits() as i32)
                    .build()
                    .user_data(place as u64);
                // SAFETY: what is borrowed lives as long as this call. Of what is submitted in it,
                // `MSG_DONTWAIT` has each send completed when submitting returns, and all are waited
                // for; the rest is never submitted, and goes with the ring.
                if unsafe { queue.push(&send) }.is_err() {
                    break;
                }
                pending += 1;
            }
            self.results.push(None);
        }
        drop(queue);
        let mut failed = None;
        while pending > 0 && failed.is_none() {
            // It fails only where it has submitted nothing.
            let mut error = ring.submit_and_wait(pending).err();
            if fault_injection::fails("io_uring") {
                error = Some(Errno::AGAIN.into());
            }
            failed = error.filter(|error| error.kind() != io::ErrorKind::Interrupted);
            for completed in ring.completion() {
                pending -= 1;
                if let Some(place) = self.results.get_mut(completed.user_data() as usize) {
                    *place = outcome(completed.result());
                }
            }
        }
        match failed {
            None => self.ring = Some(ring),
            Some(error) => {
                let until = "until another configuration is served";
                tracing::warn!("io_uring: {error}; each message leaves by its own call {until}");
            }
        }
        &self.results
    }
}

/// What has become of a message: `result` is its bytes, or the number of an error below zero. None
/// where the error need not be the socket's: nothing was sent then, and send(2) may fare better.
fn outcome(result: i32) -> Option<Sent> {
    if let Ok(bytes) = usize::try_from(result) {
        return Some(Ok(bytes));
    }
    match Errno::from_raw_os_error(result.saturating_neg()) {
        Errno::ACCESS | Errno::CANCELED | Errno::INVAL | Errno::NOMEM | Errno::OPNOTSUPP => None,
        errno => Some(Err(errno)),
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(super) use tests::io_uring_is_allowed;
