//! Small messages that do not leave at once.
//!
//! A message that is there as a whole waits until the tasks that are ready have had their turn. Then
//! all that wait leave one after the other, and nothing but the kernel's way out is in the caches
//! meanwhile: 4 % of the time of a request with 32 connections, more with more of them
//! (docs/benchmarks.md). So the loop that sends them touches neither a connection nor its task. Who
//! has a message deferred is done with it, and keeps its number: what becomes of it shows at what is
//! done next with the connection.
//!
//! Where the kernel does not take all of a message, a task of its own sends the rest, and whatever
//! else is to be written waits for that. A socket that takes nothing any more is shut down, so that
//! who reads from it learns of it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{SendFlags, Shutdown};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::alarm::Alarm;
use crate::data_plane::turn;

/// Bytes of a message that may be deferred, or of several of one connection: they are copied. With
/// 4 KiB, answers of 10 KB take 1.03 times as long.
const SMALL: usize = 16 << 10;
/// Messages that are deferred at once, and bytes of all of them.
const MESSAGES: usize = 64;
const BYTES: usize = 256 << 10;
/// How long the first one may wait for others: the turn of a task may take long.
const LONGEST: Duration = Duration::from_millis(1);

thread_local! {
    static DEFERRED: RefCell<Deferred> = const { RefCell::new(Deferred::NOTHING) };
}

/// The number of a message. Those of a thread count up.
pub(super) type Number = u64;

/// What is deferred on a thread.
struct Deferred {
    /// Of the task that sends it. Without one, nothing is deferred, and no rest is sent.
    sender: Option<Waker>,
    /// The number of the first of the messages. Those before have left, but for the stuck ones.
    first: Number,
    messages: Vec<Message>,
    /// Of the messages, one behind the other.
    bytes: Vec<u8>,
    /// When the first of them was deferred.
    since: Option<Instant>,
    /// Messages that the kernel did not take, whose writers were not told yet.
    stuck: BTreeMap<Number, Stuck>,
    /// Tasks that send the rest of one.
    unfinished: usize,
    /// Waits until nothing is left to be sent.
    settled: Option<Waker>,
}

struct Message {
    /// None where it has left before its time.
    socket: Option<RawFd>,
    /// Where it ends among [`Deferred::bytes`]: it begins where the one before ends.
    end: usize,
    send_timeout: Duration,
}

enum Stuck {
    /// A task sends the rest. It wakes whoever has something else to write.
    Unfinished(Option<Waker>),
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
}

impl Drop for Deferring {
    fn drop(&mut self) {
        DEFERRED.with_borrow_mut(|deferred| {
            deferred.send();
            deferred.sender = None;
        });
    }
}

/// Returns once nothing of what was deferred on this thread is left to be sent.
pub(crate) async fn settled() {
    #[allow(
        clippy::disallowed_methods,
        reason = "what is left has its `send_timeout`"
    )]
    poll_fn(|cx| {
        DEFERRED.with_borrow_mut(|deferred| {
            deferred.send();
            if deferred.unfinished > 0 {
                deferred.settled = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(())
        })
    })
    .await
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
/// is to be written instead. The socket must stay open until it has [left](leave).
pub(super) fn defer(
    last: Number,
    socket: BorrowedFd<'_>,
    pieces: &[io::IoSlice<'_>],
    send_timeout: Duration,
) -> Option<Number> {
    let length = pieces.iter().map(|piece| piece.len()).sum();
    if length > SMALL {
        return None;
    }
    DEFERRED.with_borrow_mut(|deferred| {
        let sender = deferred.sender.as_ref()?;
        if deferred.stuck.contains_key(&last) {
            return None;
        }
        if let Some(place) = deferred.place(last) {
            // The answers to requests that came together leave together.
            let is_newest = place + 1 == deferred.messages.len();
            let fits = deferred.bytes_of(place).len() + length <= SMALL;
            return (is_newest && fits && !deferred.is_full(length)).then(|| {
                deferred.take_bytes(pieces);
                deferred.messages[place].end = deferred.bytes.len();
                last
            });
        }
        if deferred.messages.is_empty() {
            sender.wake_by_ref();
        } else if deferred.messages.len() == MESSAGES || deferred.is_full(length) {
            deferred.send();
        }
        if deferred.messages.is_empty() {
            deferred.since = Some(turn::now());
        }
        deferred.take_bytes(pieces);
        deferred.messages.push(Message {
            socket: Some(socket.as_raw_fd()),
            end: deferred.bytes.len(),
            send_timeout,
        });
        Some(deferred.first + deferred.messages.len() as Number - 1)
    })
}

/// Ready once the kernel has all of a message: one that is still deferred leaves now.
///
/// # Errors
/// Why it could not be sent. Told once.
pub(super) fn poll_sent(number: Number, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
    DEFERRED.with_borrow_mut(|deferred| {
        deferred.send_early(number);
        if let Some(Stuck::Unfinished(waker)) = deferred.stuck.get_mut(&number) {
            *waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(deferred.take_failure(number))
    })
}

/// Why a message could not be sent, if that is known by now.
///
/// # Errors
/// As [`poll_sent`].
pub(super) fn check(number: Number) -> io::Result<()> {
    DEFERRED.with_borrow_mut(|deferred| deferred.take_failure(number))
}

/// Sends a message before its socket is closed; false where a task still sends the rest of it.
pub(super) fn leave(number: Number) -> bool {
    // At the end of the thread, there is nothing left to be sent.
    let left = DEFERRED.try_with(|deferred| {
        let deferred = &mut *deferred.borrow_mut();
        deferred.send_early(number);
        let stuck = deferred.stuck.remove(&number);
        !matches!(stuck, Some(Stuck::Unfinished(_)))
    });
    left.unwrap_or(true)
}

impl Deferred {
    const NOTHING: Deferred = Deferred {
        sender: None,
        first: 1,
        messages: Vec::new(),
        bytes: Vec::new(),
        since: None,
        stuck: BTreeMap::new(),
        unfinished: 0,
        settled: None,
    };

    /// Whether a message of so many bytes is not to wait with those that do.
    fn is_full(&self, length: usize) -> bool {
        let waited = |since| turn::now().saturating_duration_since(since) >= LONGEST;
        self.bytes.len() + length > BYTES || self.since.is_some_and(waited)
    }

    /// Where a message that is still deferred is among those.
    fn place(&self, number: Number) -> Option<usize> {
        number.checked_sub(self.first).map(|place| place as usize)
    }

    fn bytes_of(&self, place: usize) -> Range<usize> {
        let before = place.checked_sub(1).map(|before| &self.messages[before]);
        before.map_or(0, |before| before.end)..self.messages[place].end
    }

    fn take_bytes(&mut self, pieces: &[io::IoSlice<'_>]) {
        for piece in pieces {
            self.bytes.extend_from_slice(piece);
        }
    }

    /// Sends all that is deferred.
    fn send(&mut self) {
        let (mut number, mut begin) = (self.first, 0);
        let mut messages = std::mem::take(&mut self.messages);
        let bytes = std::mem::take(&mut self.bytes);
        for message in messages.drain(..) {
            if let Some(socket) = message.socket {
                self.send_one(
                    number,
                    socket,
                    &bytes[begin..message.end],
                    message.send_timeout,
                );
            }
            (number, begin) = (number + 1, message.end);
        }
        (self.first, self.messages, self.bytes, self.since) = (number, messages, bytes, None);
        self.bytes.clear();
    }

    /// Sends a message before the others, if it is still deferred.
    fn send_early(&mut self, number: Number) {
        let Some(place) = self.place(number) else {
            return;
        };
        let range = self.bytes_of(place);
        let message = &mut self.messages[place];
        let send_timeout = message.send_timeout;
        if let Some(socket) = message.socket.take() {
            let bytes = std::mem::take(&mut self.bytes);
            self.send_one(number, socket, &bytes[range], send_timeout);
            self.bytes = bytes;
        }
    }

    #[inline]
    fn send_one(&mut self, number: Number, socket: RawFd, bytes: &[u8], send_timeout: Duration) {
        #[allow(
            unsafe_code,
            reason = "the loop must touch nothing of a connection, see the top of the file"
        )]
        // SAFETY: whoever defers a message has it leave before it closes the socket, which ends the
        // use of the descriptor: see `SocketWriter`.
        let socket = unsafe { BorrowedFd::borrow_raw(socket) };
        match send(socket, bytes) {
            Ok(sent) if sent == bytes.len() => {}
            sent => self.set_stuck(number, socket, bytes, send_timeout, sent),
        }
    }

    #[cold]
    fn set_stuck(
        &mut self,
        number: Number,
        socket: BorrowedFd<'_>,
        bytes: &[u8],
        send_timeout: Duration,
        sent: Result<usize, Errno>,
    ) {
        let begun = match sent {
            _ if self.sender.is_none() => Err(io::ErrorKind::WouldBlock.into()),
            Ok(sent) => Rest::new(socket, &bytes[sent..], send_timeout),
            Err(Errno::AGAIN) => Rest::new(socket, bytes, send_timeout),
            Err(errno) => Err(errno.into()),
        };
        let state = match begun {
            Ok(rest) => {
                self.unfinished += 1;
                tokio::task::spawn_local(async move {
                    let sent = rest.send().await;
                    DEFERRED.with_borrow_mut(|deferred| deferred.finish(number, &rest, sent));
                });
                Stuck::Unfinished(None)
            }
            Err(error) => {
                shut_down(socket);
                Stuck::Failed(error)
            }
        };
        self.stuck.insert(number, state);
    }

    /// The rest of a message was sent, or it could not be.
    fn finish(&mut self, number: Number, rest: &Rest, sent: io::Result<()>) {
        self.unfinished -= 1;
        if let Some(waker) = self.settled.take_if(|_| self.unfinished == 0) {
            waker.wake();
        }
        if sent.is_err() {
            shut_down(&rest.socket);
        }
        // The connection may have been closed meanwhile.
        if let Some(Stuck::Unfinished(waiting)) = self.stuck.remove(&number) {
            waiting.into_iter().for_each(Waker::wake);
            if let Err(error) = sent {
                self.stuck.insert(number, Stuck::Failed(error));
            }
        }
    }

    fn take_failure(&mut self, number: Number) -> io::Result<()> {
        match self.stuck.remove(&number) {
            None => Ok(()),
            Some(Stuck::Failed(error)) => Err(error),
            Some(unfinished) => {
                self.stuck.insert(number, unfinished);
                Ok(())
            }
        }
    }
}

/// What the kernel did not take of a message. It has a descriptor of its own, so that it can be sent
/// although the connection is closed.
struct Rest {
    /// Of whatever kind: nothing is asked of it that sockets do not have in common.
    socket: TcpStream,
    bytes: Vec<u8>,
    send_timeout: Duration,
}

impl Rest {
    fn new(socket: BorrowedFd<'_>, bytes: &[u8], send_timeout: Duration) -> io::Result<Rest> {
        let socket = socket.try_clone_to_owned()?;
        Ok(Rest {
            socket: TcpStream::from_std(socket.into())?,
            bytes: bytes.to_vec(),
            send_timeout,
        })
    }

    async fn send(&self) -> io::Result<()> {
        let mut alarm = Alarm::default();
        let mut unsent = &self.bytes[..];
        while !unsent.is_empty() {
            let writable = alarm.within(self.send_timeout, self.socket.writable());
            writable.await??;
            match self.socket.try_write(unsent) {
                Ok(sent) => unsent = &unsent[sent..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn send(socket: impl AsFd, bytes: &[u8]) -> Result<usize, Errno> {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    rustix::net::send(socket, bytes, flags)
}

fn shut_down(socket: impl AsFd) {
    // One that its peer has reset already cannot be.
    let _ = rustix::net::shutdown(socket, Shutdown::Both);
}

#[cfg(test)]
mod tests;
