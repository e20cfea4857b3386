//! Opens, reads and replaces files that the configuration or a command names: never waits for another process
//! without a bound, never reads without a bound.
//!
//! Opening a pipe waits for its other end, and a device may have no end. So a file is opened with
//! `O_NONBLOCK` and looked at before it is read (open(2), fifo(7)), and read up to a bound.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Access, FileType, Mode, OFlags, access, fcntl_setfl, fstat, open};

/// Opens a regular file for reading.
///
/// # Errors
/// What the kernel says, and anything that is not a regular file. Never waits.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    let descriptor = open_to_read(path)?;
    match file_type(&descriptor)? {
        FileType::RegularFile => Ok(descriptor.into()),
        _ => Err(io::Error::other("it is not a regular file")),
    }
}

/// The bytes of a regular file.
///
/// # Errors
/// As [`open_regular`]; `FileTooLarge` for more than `most` bytes.
pub(crate) fn read_regular(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = open_regular(path)?;
    if file.metadata()?.len() > most {
        return Err(too_large(most));
    }
    // It may grow meanwhile.
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > most {
        true => Err(too_large(most)),
        false => Ok(bytes),
    }
}

/// As [`read_regular`], for a file that may be a pipe as well, such as a shell's `<(...)`. Its
/// writers are waited for, up to `patience` in all.
///
/// # Errors
/// As [`read_regular`]; `TimedOut` where a pipe has not been written to its end in time.
pub(crate) fn read_regular_or_pipe(
    path: &Path,
    most: u64,
    patience: Duration,
) -> io::Result<Vec<u8>> {
    let descriptor = open_to_read(path)?;
    match file_type(&descriptor)? {
        FileType::RegularFile => read_regular(path, most),
        FileType::Fifo => read_pipe(descriptor.into(), most, Instant::now() + patience),
        _ => Err(io::Error::other("it is neither a regular file nor a pipe")),
    }
}

fn read_pipe(mut pipe: File, most: u64, until: Instant) -> io::Result<Vec<u8>> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        // Without a writer a pipe seems to be at its end; `poll` waits for the first one.
        let mut polled = [PollFd::new(&pipe, PollFlags::IN)];
        let timeout = left.try_into().map_err(io::Error::other)?;
        match poll(&mut polled, Some(&timeout)) {
            Ok(0) => {
                let message = "it is a pipe, and nobody wrote to its end in time";
                return Err(io::Error::new(io::ErrorKind::TimedOut, message));
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        match pipe.read(&mut buffer) {
            Ok(0) => return Ok(bytes),
            Ok(length) => bytes.extend(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if bytes.len() as u64 > most {
            return Err(too_large(most));
        }
    }
}

/// A file that is written and on its disk, and about to take the place of another one.
#[derive(Debug)]
pub(crate) struct Replacement {
    new: PathBuf,
    /// What it is to replace.
    path: PathBuf,
}

impl Replacement {
    /// Writes `bytes` beside `path`, in a file whose name nobody else uses: the process before this
    /// one may write to the same `path`. A link is followed: what it leads to is replaced.
    ///
    /// # Errors
    /// Those of the kernel. Waits for the disk.
    pub(crate) fn prepare(path: &Path, bytes: &[u8]) -> io::Result<Replacement> {
        static WRITTEN: AtomicU64 = AtomicU64::new(0);
        let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let mut new = path.clone().into_os_string();
        let (process, number) = (std::process::id(), WRITTEN.fetch_add(1, Relaxed));
        new.push(format!(".{process}-{number}.new"));
        let new = PathBuf::from(new);
        let mut file = File::options().write(true).create_new(true).open(&new)?;
        let replacement = Replacement { new, path };
        file.write_all(bytes)?;
        file.sync_all()?;
        Ok(replacement)
    }

    /// Puts it in its place: a reader has the one before, or this one.
    ///
    /// # Errors
    /// Those of the kernel. Waits for the disk.
    pub(crate) fn put_in_place(self) -> io::Result<()> {
        std::fs::rename(&self.new, &self.path)?;
        // The name is on the disk once its directory is.
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        File::open(directory)?.sync_all()
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        // Nothing is there once it is in its place.
        let _ = std::fs::remove_file(&self.new);
    }
}

/// Opens a file for appending, and makes it where there is none. A pipe or a device will do, as
/// `/dev/stdout` is one most often. Never waits; writing to a pipe may.
///
/// # Errors
/// Those of the kernel; a pipe that no process reads is one.
pub(crate) fn open_to_append(path: &Path) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOCTTY;
    let mode = Mode::from_raw_mode(0o666);
    let descriptor = open(path, flags | OFlags::NONBLOCK | OFlags::CLOEXEC, mode);
    let descriptor = descriptor.map_err(|error| match error {
        rustix::io::Errno::NXIO => io::Error::other("it is a pipe that nobody reads"),
        error => error.into(),
    })?;
    // A line that does not fit into a pipe now is waited with, on the thread that writes it.
    fcntl_setfl(&descriptor, OFlags::APPEND)?;
    Ok(descriptor.into())
}

/// Whether a file could be opened by [`open_to_append`]. One that is not there is not created.
///
/// # Errors
/// What would be in the way.
pub(crate) fn can_append(path: &Path) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NOCTTY;
    match open(
        path,
        flags | OFlags::NONBLOCK | OFlags::CLOEXEC,
        Mode::empty(),
    ) {
        // Without a reader a pipe cannot be opened now, and may have one by then.
        Ok(_) | Err(rustix::io::Errno::NXIO) => Ok(()),
        Err(rustix::io::Errno::NOENT) => {
            let directory = path.parent().unwrap_or(Path::new("/"));
            Ok(access(directory, Access::WRITE_OK | Access::EXEC_OK)?)
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether [`Replacement::prepare`] could do its work, and a process at its start read what is there.
///
/// # Errors
/// What would be in the way.
pub(crate) fn can_be_replaced(path: &Path) -> io::Result<()> {
    match open_regular(path) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let directory = path.parent().unwrap_or(Path::new("/"));
    Ok(access(directory, Access::WRITE_OK | Access::EXEC_OK)?)
}

fn open_to_read(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(open(path, flags, Mode::empty())?)
}

fn file_type(descriptor: impl AsFd) -> io::Result<FileType> {
    Ok(FileType::from_raw_mode(fstat(descriptor)?.st_mode))
}

fn too_large(most: u64) -> io::Error {
    let most = match most >> 20 {
        0 => format!("{most} bytes"),
        mebibytes => format!("{mebibytes} MiB"),
    };
    let message = format!("it is larger than {most}");
    io::Error::new(io::ErrorKind::FileTooLarge, message)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(20);

    fn pipe() -> (tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::from_raw_mode(0o600)).unwrap();
        (directory, path)
    }

    #[test]
    fn only_regular_files_are_opened_to_read() {
        let (directory, pipe) = pipe();
        for path in [&*pipe, directory.path(), Path::new("/dev/null")] {
            let error = open_regular(path).unwrap_err().to_string();
            assert_eq!(error, "it is not a regular file", "{}", path.display());
        }
    }

    #[test]
    fn a_file_is_read_up_to_its_bound() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"12345").unwrap();
        assert_eq!(read_regular(file.path(), 5).unwrap(), b"12345");
        let error = read_regular(file.path(), 4).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(error.to_string(), "it is larger than 4 bytes");
    }

    #[test]
    fn a_pipe_that_nobody_writes_to_is_given_up() {
        let (_directory, path) = pipe();
        let error = read_regular_or_pipe(&path, 9, SHORT).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_pipe_is_read_to_its_end_and_up_to_its_bound() {
        let (_directory, path) = pipe();
        for (most, read) in [(1 << 20, true), (9, false)] {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let mut writer = File::options().write(true).open(&path).unwrap();
                    // The reader may have had enough.
                    let _ = writer.write_all(&[7; 100_000]);
                });
                let bytes = read_regular_or_pipe(&path, most, LONG);
                assert_eq!(bytes.map(|bytes| bytes.len()).ok(), read.then_some(100_000));
            });
        }
    }

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let (path, link) = (directory.path().join("list"), directory.path().join("link"));
        let names = || std::fs::read_dir(directory.path()).unwrap().count();
        std::fs::write(&path, "before").unwrap();
        std::os::unix::fs::symlink("list", &link).unwrap();
        let given_up = Replacement::prepare(&link, b"given up").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"before");
        drop(given_up);
        assert_eq!(names(), 2);
        let replacement = Replacement::prepare(&link, b"after").unwrap();
        replacement.put_in_place().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"after");
        assert_eq!(names(), 2, "it is still a link");
        let missing = directory.path().join("no/list");
        let error = Replacement::prepare(&missing, b"").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_log_is_made_appended_to_and_never_waits_for_a_reader() {
        let (directory, pipe) = pipe();
        let error = open_to_append(&pipe).unwrap_err().to_string();
        assert_eq!(error, "it is a pipe that nobody reads");
        let file = directory.path().join("log");
        for line in ["a\n", "b\n"] {
            open_to_append(&file)
                .unwrap()
                .write_all(line.as_bytes())
                .unwrap();
        }
        assert_eq!(std::fs::read(&file).unwrap(), b"a\nb\n");
    }
}
