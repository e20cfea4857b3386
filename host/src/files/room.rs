//! How much memory the listings of the process may hold. Each is there as a whole until its client
//! has taken it, and a client may take its time.

use std::io::{self, Write};
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes that all listings of a process hold at most, those that are being made included.
const MOST: usize = 64 << 20;

/// That of the process.
pub(super) static ROOM: Room = Room::new(MOST);

/// Bytes that may be held, and those that are.
#[derive(Debug)]
pub(super) struct Room {
    held: AtomicUsize,
    most: usize,
}

/// There is no room for more bytes now.
#[derive(Debug, thiserror::Error)]
#[error("all listings that are sent hold {} MiB already", MOST >> 20)]
pub(super) struct NoRoom;

impl Room {
    const fn new(most: usize) -> Room {
        Room {
            held: AtomicUsize::new(0),
            most,
        }
    }

    /// Nothing yet, which grows.
    pub(super) fn hold(&'static self) -> Held {
        Held {
            room: self,
            bytes: 0,
        }
    }
}

/// Bytes that are held until this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    room: &'static Room,
    bytes: usize,
}

impl Held {
    /// Holds so many bytes more.
    ///
    /// # Errors
    /// [`NoRoom`]; what was held before still is.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), NoRoom> {
        let more = |held: usize| {
            let sum = held.checked_add(bytes)?;
            (sum <= self.room.most).then_some(sum)
        };
        let counter = &self.room.held;
        let grown = counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        grown.map_err(|_| NoRoom)?;
        self.bytes += bytes;
        Ok(())
    }

    fn shrink_to(&mut self, bytes: usize) {
        let free = self.bytes.saturating_sub(bytes);
        self.room.held.fetch_sub(free, Ordering::Relaxed);
        self.bytes -= free;
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

/// A text in a room. Writing fails where there is no room for it, and never otherwise.
#[derive(Debug)]
pub(crate) struct Text {
    bytes: Vec<u8>,
    held: Held,
}

impl Text {
    pub(super) fn within(room: &'static Room) -> Text {
        Text {
            bytes: Vec::new(),
            held: room.hold(),
        }
    }

    /// The same, in as little room as it needs.
    pub(super) fn finished(mut self) -> Text {
        self.bytes.shrink_to_fit();
        self.held.shrink_to(self.bytes.capacity());
        self
    }
}

impl Write for Text {
    fn write(&mut self, more: &[u8]) -> io::Result<usize> {
        let (length, capacity) = (self.bytes.len(), self.bytes.capacity());
        let needed = length + more.len();
        if needed > capacity {
            let anew = needed.max(2 * capacity);
            self.held.grow(anew - capacity).map_err(io::Error::other)?;
            self.bytes.reserve_exact(anew - length);
        }
        self.bytes.extend_from_slice(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Deref for Text {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;

    #[test]
    fn texts_share_the_room_and_leave_it_when_they_are_gone() {
        static ROOM: Room = Room::new(1000);
        let mut first = Text::within(&ROOM);
        first.write_all(&[b'a'; 400]).unwrap();
        first.write_all(b"b").unwrap();
        assert_eq!(ROOM.held.load(Ordering::Relaxed), 800);
        let mut second = Text::within(&ROOM);
        assert!(second.write_all(&[b'a'; 201]).is_err());
        assert!(second.is_empty());
        let first = first.finished();
        assert_eq!(first.len(), 401);
        second.write_all(&[b'a'; 201]).unwrap();
        assert!(second.write_all(&[b'a'; 400]).is_err());
        drop(first);
        second.write_all(&[b'a'; 400]).unwrap();
        drop(second);
        assert_eq!(ROOM.held.load(Ordering::Relaxed), 0);
        let mut held = ROOM.hold();
        assert!(held.grow(1001).is_err());
        assert!(held.grow(1000).is_ok());
    }
}
