//! Sends on many sockets by one system call: io_uring(7), where the kernel has it and allows it.
//!
//! Each send has `MSG_DONTWAIT`: it is done, or has failed, when the call that submits it returns. So
//! nothing uses a message or a descriptor afterwards, and nothing has to be cancelled.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use io_uring::{IoUring, opcode, types};
use rustix::io::Errno;
use rustix::net::SendFlags;

/// How many bytes of a message the kernel has taken, or why none.
pub(super) type Sent = Result<usize, Errno>;

/// Those of one thread.
pub(super) struct SendRing {
    /// None where it is not to be used, is not allowed, or has failed.
    ring: Option<IoUring>,
    /// What has become of each message that was sent last.
    sent: Vec<Option<Sent>>,
}

impl SendRing {
    /// It sends nothing.
    pub(super) const CLOSED: SendRing = SendRing {
        ring: None,
        sent: Vec::new(),
    };

    /// For the calling thread, and up to so many messages at once.
    ///
    /// # Errors
    /// Of io_uring_setup(2): `ENOSYS` and `EPERM` where it is not allowed, as in many containers;
    /// `EINVAL` before Linux 6.1, whose io_uring is not used.
    pub(super) fn open(messages: usize) -> io::Result<SendRing> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .build(messages as u32)?;
        Ok(SendRing {
            ring: Some(ring),
            sent: Vec::with_capacity(messages),
        })
    }

    /// Whether it can send; a closed one has each message sent by its own call.
    pub(super) fn is_open(&self) -> bool {
        self.ring.is_some()
    }

    /// Sends messages, each on its socket, in their order; places without one are passed over. What
    /// has become of them, by their places: those that have none, or are beyond, are yet to be sent.
    #[allow(
        unsafe_code,
        reason = "the kernel reads messages by their addresses until the call returns"
    )]
    pub(super) fn send<'a>(
        &mut self,
        messages: impl Iterator<Item = Option<(BorrowedFd<'a>, &'a [u8])>>,
    ) -> &[Option<Sent>] {
        let SendRing { ring, sent } = self;
        sent.clear();
        let Some(open) = ring else {
            return sent;
        };
        let mut due = 0;
        let mut queue = open.submission();
        for (place, message) in messages.enumerate() {
            if let Some((socket, bytes)) = message {
                let socket = types::Fd(socket.as_raw_fd());
                let send = opcode::Send::new(socket, bytes.as_ptr(), bytes.len() as u32)
                    .flags((SendFlags::NOSIGNAL | SendFlags::DONTWAIT).bits() as i32)
                    .build()
                    .user_data(place as u64);
                // SAFETY: what is borrowed for the time of this call is used until the send is
                // completed, which is waited for below. What the kernel has not been given by then
                // goes with the ring.
                if unsafe { queue.push(&send) }.is_err() {
                    break;
                }
                due += 1;
            }
            sent.push(None);
        }
        drop(queue);
        while due > 0 {
            match open.submit_and_wait(due) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // It tells so only where it has submitted nothing: all before are completed.
                Err(error) => {
                    tracing::warn!("io_uring: {error}; messages are sent one by one from now on");
                    *ring = None;
                    break;
                }
            }
            for completed in open.completion() {
                let result = completed.result();
                let result = usize::try_from(result).map_err(|_| Errno::from_raw_os_error(-result));
                sent[completed.user_data() as usize] = Some(result);
                due -= 1;
            }
        }
        sent
    }
}
