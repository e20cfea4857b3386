//! Which bytes of an open file are in memory, so that the kernel can send them without waiting for
//! a disk.
//!
//! `sendfile(2)` cannot be told not to wait, as a read can. So before it is called, reads of one
//! byte that do not wait ask about pages of each window of the file: about the first and the last
//! one, which tell where it was read in from its beginning, or has lost it again; and about one at
//! random, so that nobody can bring in just those that are asked about. A question costs about a
//! microsecond, so what was in memory is believed for a moment.
//!
//! Known limit: where other pages of a window are missing, or leave within that moment, the call
//! waits for the disk, as each one of nginx does.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::fs::sendfile;
use rustix::io::Errno;

use super::OpenFile;
use super::read::read_cached;

/// What is asked about at once: as much as the kernel reads ahead by default.
const WINDOW: u64 = 128 << 10;
/// Windows of which it is remembered that they are in memory, and which lie side by side.
const REMEMBERED: u64 = 64;
/// For how long that is believed.
const BELIEVED: Duration = Duration::from_millis(100);
/// Windows that are asked about at once: a socket hardly takes more.
const AHEAD: u32 = 4;

/// What is known of a file's bytes in memory.
#[derive(Debug, Default)]
pub(crate) struct Resident(Cell<Known>);

#[derive(Debug, Clone, Copy, Default)]
struct Known {
    /// Where the windows begin, in so many times [`REMEMBERED`] windows.
    block: u64,
    /// A bit for each window that is in memory.
    windows: u64,
    /// When the first of them was asked about.
    since: Option<Instant>,
}

impl Resident {
    /// Whether the kernel can send bytes of a file from an offset, which is below its length,
    /// without waiting for a disk.
    pub(crate) fn is_at(&self, file: &OpenFile, offset: u64) -> bool {
        self.end(file, offset) > offset
    }

    /// Has the kernel send bytes of a range, which has some, to a socket, from its beginning. Zero
    /// where they cannot be sent so: they are not in memory, or that cannot be told; they are not
    /// there any more; or the file's system has no `sendfile`. A read tells which of these it is.
    ///
    /// # Errors
    /// What the kernel says of the socket.
    pub(crate) fn send(
        &self,
        file: &OpenFile,
        socket: BorrowedFd<'_>,
        range: &Range<u64>,
    ) -> io::Result<usize> {
        let mut offset = range.start;
        let end = self.end(file, offset).min(range.end);
        let most = usize::try_from(end - offset).unwrap_or(usize::MAX);
        if most == 0 {
            return Ok(0);
        }
        loop {
            return match sendfile(socket, &file.file, Some(&mut offset), most) {
                Ok(sent) => Ok(sent),
                Err(Errno::INTR) => continue,
                // Of the file: what is wrong with it shows when it is read.
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::IO | Errno::NOMEM) => {
                    Ok(0)
                }
                Err(error) => Err(error.into()),
            };
        }
    }

    /// Where bytes that are in memory end, from an offset on; the offset where there are none.
    fn end(&self, file: &OpenFile, offset: u64) -> u64 {
        let now = Instant::now();
        let (first, in_block) = (offset / WINDOW, offset / WINDOW % REMEMBERED);
        let block = first / REMEMBERED;
        let mut known = self.0.get();
        let is_believed = |since: Instant| now.saturating_duration_since(since) < BELIEVED;
        if known.block != block || !known.since.is_some_and(is_believed) {
            known = Known {
                block,
                windows: 0,
                since: Some(now),
            };
        }
        let (mut end, mut asked) = (offset, 0);
        for bit in in_block..REMEMBERED {
            let start = (block * REMEMBERED + bit) * WINDOW;
            if start >= file.length {
                break;
            }
            let window = start..file.length.min(start + WINDOW);
            if known.windows & 1 << bit == 0 {
                let follows = bit > 0 && known.windows & 1 << (bit - 1) != 0;
                if asked == AHEAD || !is_resident(&file.file, &window, follows) {
                    break;
                }
                asked += 1;
                known.windows |= 1 << bit;
            }
            end = window.end;
        }
        self.0.set(known);
        end
    }
}

/// Whether all of a window is in memory, as far as some of its pages tell. `follows`: what is before
/// it is.
fn is_resident(file: &File, window: &Range<u64>, follows: bool) -> bool {
    let has = |offset| matches!(read_cached(file, &mut [0], offset), Ok(Some(1)));
    has(window.end - 1) && (follows || has(window.start)) && has(fastrand::u64(window.clone()))
}
