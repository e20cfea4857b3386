//! Bytes of an open file, handed to a socket by the kernel without being copied (`sendfile(2)`).
//!
//! `sendfile` cannot be told not to wait for a disk, as a read can. So some pages are asked about
//! first, by reads of one byte that do not wait: the first and the last page of a window, which
//! tell where a file was read in from its beginning, or has lost it again; and one at random, so
//! that nobody can bring in just those that are asked about. Known limit: where other pages of the
//! window are missing, or leave between the question and the call, the call waits for the disk.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;

use rustix::fs::sendfile;
use rustix::io::Errno;

use super::read::read_cached;

/// What is asked about at once: as much as the kernel reads ahead by default.
const WINDOW: u64 = 128 << 10;

/// How far a file is known to be in memory. That is forgotten whenever something was waited for.
#[derive(Debug, Default)]
pub(crate) struct Cached {
    until: u64,
}

impl Cached {
    /// Whether the beginning of a range, which has some bytes, can be sent without waiting.
    pub(crate) fn begins(&mut self, file: &File, range: &Range<u64>) -> bool {
        let start = range.start;
        if start < self.until {
            return true;
        }
        // Behind what was in memory a moment ago, nothing ends that the first page would tell of.
        let goes_on = start == self.until && start > 0;
        let window = window(range);
        let begins = (goes_on || has(file, start))
            && has(file, window.end - 1)
            && has(file, fastrand::u64(window.clone()));
        if begins {
            self.until = window.end;
        }
        begins
    }

    /// Hands some bytes of a range, which has some, to a socket, from its beginning. Zero where
    /// they cannot be sent so: they are not in memory, or that cannot be told; they are not there
    /// any more; or the file's system has no `sendfile`. A read tells which of these it is.
    ///
    /// # Errors
    /// What the kernel says of the socket.
    pub(crate) fn send(
        &mut self,
        file: &File,
        socket: BorrowedFd<'_>,
        range: &Range<u64>,
    ) -> io::Result<usize> {
        if !self.begins(file, range) {
            return Ok(0);
        }
        let mut offset = range.start;
        let most = usize::try_from(self.until.min(range.end) - offset).unwrap_or(usize::MAX);
        loop {
            return match sendfile(socket, file, Some(&mut offset), most) {
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

    /// Time has passed, in which it may have left the memory.
    pub(crate) fn forget(&mut self) {
        self.until = 0;
    }
}

/// The first bytes of a range, to the end of a window of the file.
fn window(range: &Range<u64>) -> Range<u64> {
    let end = (range.start / WINDOW + 1) * WINDOW;
    range.start..end.min(range.end)
}

/// Whether the page with this byte is in memory.
fn has(file: &File, offset: u64) -> bool {
    matches!(read_cached(file, &mut [0], offset), Ok(Some(1)))
}
