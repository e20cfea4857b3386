//! The directory of keys and certificates. Nobody else may read it; each file is there as a whole or
//! not at all; one process at a time orders.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rustix::fs::{FlockOperation, flock};

const OURS_ALONE: u32 = 0o600;
const DIRECTORY: u32 = 0o700;

/// Makes a directory, and those that it is in.
///
/// # Errors
/// Those of the kernel.
pub(super) fn make(directory: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(DIRECTORY).create(directory)
}

/// Puts a file in its place, readable for nobody else. Readers have the one before, or this one.
///
/// # Errors
/// Those of the kernel.
pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    let directory = path.parent().unwrap_or(Path::new("/"));
    make(directory)?;
    let (process, number) = (std::process::id(), WRITTEN.fetch_add(1, Relaxed));
    let new = directory.join(format!(".{process}-{number}.new"));
    let written = written(&new, bytes).and_then(|()| std::fs::rename(&new, path));
    if written.is_err() {
        // It may not be there.
        let _ = std::fs::remove_file(&new);
    }
    written?;
    // The name is on the disk as well.
    File::open(directory)?.sync_all()
}

fn written(new: &Path, bytes: &[u8]) -> io::Result<()> {
    // What another process of this number has left behind, before the machine was started anew.
    let _ = std::fs::remove_file(new);
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(OURS_ALONE)
        .open(new)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Leave to order, for as long as it lives: the kernel takes it back from a process that dies.
pub(super) struct Lock(#[allow(dead_code, reason = "open for as long as it is held")] File);

impl Lock {
    /// Of an authority's folder; none where another process has it.
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub(super) fn take(folder: &Path) -> io::Result<Option<Lock>> {
        make(folder)?;
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(false);
        let file = options.mode(OURS_ALONE).open(folder.join("lock"))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Lock(file))),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_written_is_for_nobody_else() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b.pem");
        write(&path, b"one").unwrap();
        write(&path, b"two").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        let left = std::fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(left, 1);
    }

    #[test]
    fn the_lock_is_had_by_one_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let held = Lock::take(directory.path()).unwrap();
        assert!(held.is_some());
        assert!(Lock::take(directory.path()).unwrap().is_none());
        drop(held);
        assert!(Lock::take(directory.path()).unwrap().is_some());
    }
}
