//! Small messages that do not leave at once.
//!
//! A message that is there as a whole waits until the tasks that are ready have had their turn. Then
//! all that wait leave one after the other, and nothing but the kernel's way out is in the caches
//! meanwhile: 2 to 3 % of the time of a request with 32 connections (docs/benchmarks.md). So the loop
//! that sends them touches neither a connection nor its task, and one system call takes them all
//! where the kernel allows it: another 3 to 7 %.
//!
//! Who has a message deferred keeps its number. What the kernel does not take of it is kept here, and
//! the task is woken: it writes that before anything else, in its own time, or learns why it cannot.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use tokio::task::JoinSet;

use super::send_ring::{SendRing, Sent, send_one};
use crate::data_plane::turn;

/// Bytes of a message that may be deferred: they are copied. With 4 KiB, answers of 10 KB take 1.03
/// times as long.
const SMALL: usize = 16 << 10;
/// Messages that are deferred at once, and bytes of all of them.
const MESSAGES: usize = 64;
const BYTES: usize = 256 << 10;
/// How long the first one may wait for others: it leaves with the first turn of a task that begins
/// later.
const LONGEST: Duration = Duration::from_millis(1);
/// So few leave by a system call each; in tests, all leave together.
const FEW: usize = if cfg!(test) { 0 } else { 1 };

thread_local! {
    static DEFERRED: RefCell<Deferred> = const { RefCell::new(Deferred::NOTHING) };
}

/// The number of a message. Those of a thread count up, from 1.
pub(super) type Number = u64;

/// What is deferred on a thread.
struct Deferred {
    /// Of the task that sends it. Without one, nothing is deferred.
    sender: Option<Waker>,
    /// The number of the first of the messages. Those before have left, but for the stuck ones.
    first: Number,
    messages: Vec<Message>,
    /// Of the messages, one behind the other.
    bytes: Vec<u8>,
    /// When the first of them must leave; none where nothing waits, and where time stands still.
    due: Option<Instant>,
    /// [`LONGEST`]; tests have time stand still.
    longest: Duration,
    /// Sends those that are more than [`FEW`].
    ring: SendRing,
    /// What did not leave when it was sent.
    stuck: BTreeMap<Number, Stuck>,
}

struct Message {
    /// None where it has left before its time. See [`socket`](Self::socket).
    socket: Option<RawFd>,
    /// Where it is among [`Deferred::bytes`].
    place: Range<usize>,
    /// Of the task whose message it is.
    task: Waker,
}

/// What became of a message that did not leave.
pub(super) enum Stuck {
    /// The kernel has taken no more of it than what was before these bytes.
    Rest(Vec<u8>),
    Failed(io::Error),
}

/// Small messages of this thread are deferred while it lives.
pub(crate) struct Deferring(());

impl Deferring {
    /// Sends what is deferred in one of `tasks`, each time behind the tasks that were ready when the
    /// first of it was.
    pub(crate) fn begin(tasks: &mut JoinSet<()>) -> Deferring {
        #[allow(
            clippy::disallowed_methods,
            reason = "it sends whatever comes, for as long as the worker lives"
        )]
        tasks.spawn_local(poll_fn(|cx| {
            DEFERRED.with_borrow_mut(|deferred| {
                deferred.sender.get_or_insert_with(|| cx.waker().clone());
                deferred.send();
            });
            Poll::Pending
        }));
        Deferring(())
    }

    /// Whether one system call is to send them all, where the kernel allows it.
    pub(crate) fn use_io_uring(&self, used: bool) {
        DEFERRED.with_borrow_mut(|deferred| {
            if used == deferred.ring.is_open() {
                return;
            }
            deferred.ring = SendRing::CLOSED;
            if used {
                match SendRing::open(MESSAGES) {
                    Ok(ring) => deferred.ring = ring,
                    Err(error) => tracing::debug!("io_uring cannot be used: {error}"),
                }
            }
        });
    }
}

impl Drop for Deferring {
    fn drop(&mut self) {
        DEFERRED.with_borrow_mut(|deferred| {
            deferred.send();
            deferred.sender = None;
            deferred.ring = SendRing::CLOSED;
        });
    }
}

/// Runs a turn of a task, [in which the time is read once](turn::within). At its end, sends what had
/// been deferred for long by that time.
pub(crate) fn in_turn<T>(poll: impl FnOnce() -> T) -> T {
    turn::within(|| {
        let polled = poll();
        DEFERRED.with_borrow_mut(|deferred| {
            if deferred.is_late() {
                deferred.send();
            }
        });
        polled
    })
}

/// A task whose turns are [such](in_turn). It is not moved when it begins and when it ends.
pub(crate) fn in_turns<T>(task: impl Future<Output = T>) -> impl Future<Output = T> {
    let mut task = Box::pin(task);
    #[allow(clippy::disallowed_methods, reason = "the task bounds its waits")]
    poll_fn(move |cx| in_turn(|| task.as_mut().poll(cx)))
}

/// Why one system call cannot send all that is deferred; none where it can.
pub(crate) fn io_uring_refusal() -> Option<io::Error> {
    SendRing::open(MESSAGES).err()
}

/// Sends what is deferred on this thread: what comes next may take its time.
pub(crate) fn send_deferred() {
    DEFERRED.with_borrow_mut(Deferred::send);
}

/// Gives the room for deferred messages back where there are none.
pub(crate) fn trim_deferred() {
    DEFERRED.with_borrow_mut(|deferred| {
        if deferred.messages.is_empty() {
            (deferred.messages, deferred.bytes) = (Vec::new(), Vec::new());
        }
    });
}

/// Defers a message in pieces, on a socket whose `last` one had that number. Its own; none where it
/// is to be written instead. The `task` is woken if it does not leave. The socket must stay open
/// until it has: see [`forget`].
pub(super) fn defer(
    last: Number,
    socket: BorrowedFd<'_>,
    pieces: &[io::IoSlice<'_>],
    task: &Waker,
) -> Option<Number> {
    let length = pieces.iter().map(|piece| piece.len()).sum();
    if length > SMALL {
        return None;
    }
    DEFERRED.with_borrow_mut(|deferred| {
        let sender = deferred.sender.as_ref()?;
        if deferred.is_known(last) {
            return None;
        }
        if deferred.messages.is_empty() {
            sender.wake_by_ref();
        } else if deferred.is_full(length) {
            deferred.send();
        }
        if deferred.messages.is_empty() {
            deferred.due = turn::now().checked_add(deferred.longest);
        }
        let begin = deferred.bytes.len();
        for piece in pieces {
            deferred.bytes.extend_from_slice(piece);
        }
        deferred.messages.push(Message {
            socket: Some(socket.as_raw_fd()),
            place: begin..deferred.bytes.len(),
            task: task.clone(),
        });
        Some(deferred.first + deferred.messages.len() as Number - 1)
    })
}

/// Whether a message is still deferred, or is stuck.
pub(super) fn is_known(number: Number) -> bool {
    DEFERRED.with_borrow(|deferred| deferred.is_known(number))
}

/// Whether a message is known not to have left although it was sent.
pub(super) fn is_stuck(number: Number) -> bool {
    DEFERRED.with_borrow(|deferred| deferred.stuck.contains_key(&number))
}

/// Sends a message if it is still deferred; none where all of it has left.
pub(super) fn take_stuck(number: Number) -> Option<Stuck> {
    DEFERRED.with_borrow_mut(|deferred| {
        deferred.send_early(number);
        deferred.stuck.remove(&number)
    })
}

/// Notes what is left of a message that was stuck.
pub(super) fn keep_rest(number: Number, rest: Vec<u8>) {
    DEFERRED.with_borrow_mut(|deferred| deferred.stuck.insert(number, Stuck::Rest(rest)));
}

/// Sends a message if it is still deferred, before its socket is closed.
pub(super) fn forget(number: Number) {
    // At the end of the thread, nothing is left.
    let _ = DEFERRED.try_with(|deferred| {
        let deferred = &mut *deferred.borrow_mut();
        deferred.send_early(number);
        deferred.stuck.remove(&number);
    });
}

impl Deferred {
    const NOTHING: Deferred = Deferred {
        sender: None,
        first: 1,
        messages: Vec::new(),
        bytes: Vec::new(),
        due: None,
        longest: LONGEST,
        ring: SendRing::CLOSED,
        stuck: BTreeMap::new(),
    };

    fn is_late(&self) -> bool {
        self.due.is_some_and(|due| turn::now() >= due)
    }

    /// Whether a message of so many bytes is not to wait with those that do.
    fn is_full(&self, length: usize) -> bool {
        self.messages.len() == MESSAGES || self.bytes.len() + length > BYTES || self.is_late()
    }

    /// Whether a message is still deferred, or stuck.
    fn is_known(&self, number: Number) -> bool {
        number >= self.first || self.stuck.contains_key(&number)
    }

    /// Sends all that is deferred.
    fn send(&mut self) {
        let mut messages = std::mem::take(&mut self.messages);
        let mut bytes = std::mem::take(&mut self.bytes);
        let unsent = messages
            .iter()
            .map(|message| Some((message.socket()?, &bytes[message.place.clone()])));
        let results = match messages.len() > FEW {
            true => self.ring.send(unsent),
            false => &[],
        };
        for (at, message) in messages.iter().enumerate() {
            if let Some(socket) = message.socket() {
                let bytes = &bytes[message.place.clone()];
                let result = results.get(at).copied().flatten();
                let result = result.unwrap_or_else(|| send_one(socket, bytes));
                let number = self.first + at as Number;
                keep_unsent(&mut self.stuck, number, result, bytes, &message.task);
            }
        }
        self.first += messages.len() as Number;
        messages.clear();
        bytes.clear();
        (self.messages, self.bytes, self.due) = (messages, bytes, None);
    }

    /// Sends a message before the others, if it is still deferred.
    fn send_early(&mut self, number: Number) {
        let at = number.checked_sub(self.first);
        let Some(message) = at.and_then(|at| self.messages.get_mut(at as usize)) else {
            return;
        };
        if let Some(socket) = message.socket() {
            let bytes = &self.bytes[message.place.clone()];
            let result = send_one(socket, bytes);
            keep_unsent(&mut self.stuck, number, result, bytes, &message.task);
            message.socket = None;
        }
    }
}

impl Message {
    /// Where it is still to leave.
    #[inline]
    fn socket(&self) -> Option<BorrowedFd<'_>> {
        #[allow(
            unsafe_code,
            reason = "the loop must touch nothing of a connection, see the top of the file"
        )]
        // SAFETY: whoever has a message deferred has it sent before it closes the socket, which ends
        // the use of the descriptor: see `SocketWriter`.
        self.socket
            .map(|socket| unsafe { BorrowedFd::borrow_raw(socket) })
    }
}

/// Keeps what has not left of a message that was sent, and wakes its task.
#[inline]
fn keep_unsent(
    all: &mut BTreeMap<Number, Stuck>,
    number: Number,
    result: Sent,
    bytes: &[u8],
    task: &Waker,
) {
    let stuck = match result {
        Ok(sent) if sent == bytes.len() => return,
        Ok(sent) => Stuck::Rest(bytes[sent..].to_vec()),
        Err(Errno::AGAIN) => Stuck::Rest(bytes.to_vec()),
        Err(errno) => Stuck::Failed(errno.into()),
    };
    all.insert(number, stuck);
    task.wake_by_ref();
}

#[cfg(test)]
mod tests;
