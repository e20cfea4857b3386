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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use rustix::fs::{Advice, fadvise};

    use super::*;

    /// A file of so many windows and a few bytes, which the kernel has in memory.
    fn file(windows: u64) -> OpenFile {
        let mut file = tempfile::tempfile().unwrap();
        let length = windows * WINDOW + 100;
        let mut bytes = vec![0; usize::try_from(length).unwrap()];
        fastrand::fill(&mut bytes);
        file.write_all(&bytes).unwrap();
        OpenFile {
            file,
            length,
            modified: 0,
            last_modified: String::new(),
            etag: String::new(),
            content_type: String::new(),
            coding: None,
        }
    }

    /// Leaves nothing of a file in memory but a range, if the file system has it elsewhere as well.
    fn keep_only(file: &OpenFile, range: &Range<u64>) {
        file.file.sync_all().unwrap();
        // Or the kernel would read ahead.
        fadvise(&file.file, 0, None, Advice::Random).unwrap();
        fadvise(&file.file, 0, None, Advice::DontNeed).unwrap();
        let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap()];
        read_exactly(file, range.start, &mut bytes);
    }

    #[test]
    fn some_windows_are_asked_about_at_once_and_none_behind_the_end_of_the_file() {
        let file = file(6);
        let resident = Resident::default();
        assert_eq!(resident.end(&file, 5), u64::from(AHEAD) * WINDOW);
        // The ones before are believed, and a few more asked about.
        assert_eq!(resident.end(&file, 3 * WINDOW), file.length);
        assert_eq!(resident.end(&file, 0), file.length);
        assert!(resident.is_at(&file, file.length - 1));
    }

    #[test]
    fn files_are_remembered_in_blocks_of_windows() {
        let file = file(REMEMBERED + 2);
        let (resident, block) = (Resident::default(), REMEMBERED * WINDOW);
        assert_eq!(resident.end(&file, block + 1), file.length);
        assert_eq!(resident.end(&file, block - 1), block);
        assert_eq!(resident.0.get().windows, 1 << (REMEMBERED - 1));
    }

    #[test]
    fn a_window_that_is_not_there_from_end_to_end_is_missing() {
        const PAGE: u64 = 4 << 10;
        let nowhere = file(3);
        keep_only(&nowhere, &(0..PAGE));
        if Resident::default().is_at(&nowhere, WINDOW) {
            return; // it is nowhere else than in memory
        }
        for (kept, from, end) in [
            (0..3 * WINDOW, 0, 3 * WINDOW),
            (0..3 * WINDOW - PAGE, 0, 2 * WINDOW),
            (PAGE..3 * WINDOW, 0, 0),
            (PAGE..3 * WINDOW, WINDOW, 3 * WINDOW),
            (WINDOW + PAGE..3 * WINDOW, WINDOW, WINDOW),
            (WINDOW..2 * WINDOW, 0, 0),
        ] {
            // The kernel may keep more, or less, where it is short of time or memory.
            let ends = std::iter::repeat_with(|| {
                let file = file(3);
                keep_only(&file, &kept);
                Resident::default().end(&file, from)
            });
            let ends: Vec<u64> = ends.take(9).collect();
            let right = ends.iter().filter(|found| **found == end).count();
            assert!(right > 4, "{kept:?}: {ends:?} and not {end}");
        }
    }

    #[test]
    fn bytes_are_sent_from_where_they_are_asked_for_and_no_further() {
        let file = file(1);
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let resident = Resident::default();
        let mut bytes = vec![0; 3000];
        read_exactly(&file, 1000, &mut bytes);
        let sent = resident.send(&file, ours.as_fd(), &(1000..4000)).unwrap();
        assert_eq!(sent, 3000);
        let mut received = vec![0; 3000];
        theirs.read_exact(&mut received).unwrap();
        assert_eq!(received, bytes);
        // The file's own position stays: others send it at the same time.
        assert_eq!(
            resident.send(&file, ours.as_fd(), &(1000..4000)).unwrap(),
            3000
        );
        theirs.read_exact(&mut received).unwrap();
        assert_eq!(received, bytes);
        drop(theirs);
        assert!(resident.send(&file, ours.as_fd(), &(0..10)).is_err());
    }

    #[test]
    fn of_a_file_that_was_cut_short_nothing_is_sent_behind_its_end() {
        let file = file(2);
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let resident = Resident::default();
        assert_eq!(resident.end(&file, 0), file.length);
        file.file.set_len(10).unwrap();
        assert_eq!(
            resident.send(&file, ours.as_fd(), &(4096..8192)).unwrap(),
            0
        );
        assert_eq!(Resident::default().end(&file, 4096), 4096);
    }

    fn read_exactly(file: &OpenFile, offset: u64, into: &mut [u8]) {
        std::os::unix::fs::FileExt::read_exact_at(&file.file, into, offset).unwrap();
    }
}
