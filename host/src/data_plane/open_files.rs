//! Files that a worker has open: for as long as one is sent, and for a while behind that, in which
//! it is taken for what its name stands for (nginx: `open_file_cache`).
//!
//! Each takes one of the descriptors that there are for connections, which a client that gets a
//! file does not need for one to an upstream.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use smallvec::SmallVec;

use super::process::FileDescriptor;
use crate::config::model::{FileCoding, Files};
use crate::files::{OpenFile, Resident};

/// Files that are kept open at most.
const KEPT: usize = 256;

/// An open file, with its descriptor accounted for.
pub(crate) struct HeldFile {
    /// Also what a thread that reads it holds.
    pub(crate) file: Arc<(OpenFile, FileDescriptor)>,
    resident: Resident,
}

impl HeldFile {
    pub(crate) fn new(file: OpenFile, descriptor: FileDescriptor) -> HeldFile {
        HeldFile {
            file: Arc::new((file, descriptor)),
            resident: Resident::default(),
        }
    }

    /// As [`Resident::is_at`].
    pub(crate) fn is_resident_at(&self, offset: u64) -> bool {
        self.resident.is_at(&self.file.0, offset)
    }

    /// As [`Resident::send`].
    ///
    /// # Errors
    /// Those of the socket.
    pub(crate) fn send(&self, socket: BorrowedFd<'_>, range: &Range<u64>) -> io::Result<usize> {
        self.resident.send(&self.file.0, socket, range)
    }
}

/// Codings that a client takes, the ones it likes best first.
pub(crate) type Accepted = SmallVec<[FileCoding; 3]>;

/// What a file was asked for by.
pub(crate) struct FileKey<'a> {
    pub(crate) files: &'a Arc<Files>,
    /// Below the root.
    pub(crate) path: &'a [u8],
    pub(crate) asks_for_directory: bool,
    pub(crate) accepted: &'a [FileCoding],
}

/// The files that a worker keeps open.
#[derive(Default)]
pub(crate) struct OpenFiles {
    entries: RefCell<HashMap<u64, Entry>>,
    hasher: RandomState,
}

struct Entry {
    files: Arc<Files>,
    path: Box<[u8]>,
    asks_for_directory: bool,
    accepted: Accepted,
    since: Instant,
    file: Rc<HeldFile>,
}

impl Entry {
    fn is_for(&self, key: &FileKey<'_>) -> bool {
        Arc::ptr_eq(&self.files, key.files)
            && *self.path == *key.path
            && self.asks_for_directory == key.asks_for_directory
            && self.accepted.as_slice() == key.accepted
    }

    fn is_valid(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) < self.files.open_file_cache
    }
}

impl OpenFiles {
    /// The file that was opened for this a moment ago.
    pub(crate) fn get(&self, key: &FileKey<'_>, now: Instant) -> Option<Rc<HeldFile>> {
        let entries = self.entries.borrow();
        let entry = entries.get(&self.hash(key))?;
        let is_it = entry.is_for(key) && entry.is_valid(now);
        is_it.then(|| entry.file.clone())
    }

    /// Keeps a file that was asked for at a moment. Of two whose keys have the same hash, the later
    /// one stays.
    pub(crate) fn keep(&self, key: &FileKey<'_>, since: Instant, file: &Rc<HeldFile>) {
        if key.files.open_file_cache.is_zero() {
            return;
        }
        let mut entries = self.entries.borrow_mut();
        if entries.len() >= KEPT {
            entries.retain(|_, entry| entry.is_valid(since));
        }
        if entries.len() >= KEPT {
            let oldest = entries.iter().min_by_key(|(_, entry)| entry.since);
            if let Some(oldest) = oldest.map(|(hash, _)| *hash) {
                entries.remove(&oldest);
            }
        }
        let entry = Entry {
            files: key.files.clone(),
            path: key.path.into(),
            asks_for_directory: key.asks_for_directory,
            accepted: key.accepted.into(),
            since,
            file: file.clone(),
        };
        entries.insert(self.hash(key), entry);
    }

    /// Closes those whose time is over, unless they are being sent.
    pub(crate) fn sweep(&self, now: Instant) {
        let mut entries = self.entries.borrow_mut();
        entries.retain(|_, entry| entry.is_valid(now));
    }

    /// Keeps none any more; whether a descriptor is free for it.
    pub(crate) fn clear(&self) -> bool {
        let entries = std::mem::take(&mut *self.entries.borrow_mut());
        entries.values().any(|entry| {
            Rc::strong_count(&entry.file) == 1 && Arc::strong_count(&entry.file.file) == 1
        })
    }

    fn hash(&self, key: &FileKey<'_>) -> u64 {
        let files = Arc::as_ptr(key.files) as usize;
        self.hasher
            .hash_one((files, key.path, key.asks_for_directory, key.accepted))
    }
}
