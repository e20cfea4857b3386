//! A file that an access log is written to: whole lines, also where a disk is full.

use std::fs::File;
use std::io::{self, Seek, Write};

use crate::config::model::LogPath;
use crate::file::open_to_append;

/// An access log that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open access log `{path}`: {source}")]
pub struct OpenError {
    pub path: String,
    pub source: io::Error,
}

/// Where lines go, and whether half a line stands at its end.
#[derive(Debug)]
pub(super) struct LogFile {
    sink: Sink,
    torn: bool,
}

#[derive(Debug)]
enum Sink {
    Stdout,
    Stderr,
    File(File),
}

/// What did not make it: the last so many bytes, from the start of a line on.
#[derive(Debug)]
pub(super) struct Unwritten {
    pub(super) bytes: usize,
    pub(super) source: io::Error,
}

impl LogFile {
    pub(super) fn open(path: &LogPath) -> Result<LogFile, OpenError> {
        let sink = match path {
            LogPath::Stdout => Sink::Stdout,
            LogPath::Stderr => Sink::Stderr,
            LogPath::File(file) => {
                Sink::File(open_to_append(file).map_err(|source| OpenError {
                    path: name(path),
                    source,
                })?)
            }
        };
        Ok(LogFile { sink, torn: false })
    }

    /// In one system call, if the file takes it all: lines of several processes do not mix. A line
    /// that a full disk cuts is taken back.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Unwritten> {
        if self.torn {
            let ended = self.sink.write_all(b"\n");
            ended.map_err(|(_, source)| Unwritten {
                bytes: bytes.len(),
                source,
            })?;
            self.torn = false;
        }
        // Until it is known how far the write came, should it panic.
        self.torn = true;
        let written = self.sink.write_all(bytes);
        self.torn = false;
        written.map_err(|(written, source)| Unwritten {
            bytes: bytes.len() - self.keep_whole_lines(&bytes[..written]),
            source,
        })
    }

    /// After a write that came no further than `written`: takes the half line at its end back.
    /// Returns the length of the whole lines.
    fn keep_whole_lines(&mut self, written: &[u8]) -> usize {
        let whole = memchr::memrchr(b'\n', written).map_or(0, |end| end + 1);
        let half = written.len() - whole;
        self.torn = half > 0 && !self.sink.take_back(half as u64);
        whole
    }
}

impl Sink {
    /// # Errors
    /// How many bytes were written, and why not all.
    fn write_all(&mut self, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
        match self {
            Sink::Stdout => {
                let mut stdout = io::stdout().lock();
                write_all_counted(&mut stdout, bytes)?;
                stdout.flush().map_err(|error| (bytes.len(), error))
            }
            Sink::Stderr => write_all_counted(&mut io::stderr().lock(), bytes),
            Sink::File(file) => write_all_counted(file, bytes),
        }
    }

    /// Takes back the last bytes that were written, unless another process has written behind them.
    /// False if they are still there.
    fn take_back(&mut self, bytes: u64) -> bool {
        let Sink::File(file) = self else {
            return false;
        };
        let mut take_back = || -> io::Result<bool> {
            // A write with O_APPEND leaves the position behind what it wrote (write(2)).
            let end = file.stream_position()?;
            let found = file.metadata()?;
            if !found.is_file() || found.len() != end {
                return Ok(false);
            }
            file.set_len(end.saturating_sub(bytes))?;
            Ok(true)
        };
        take_back().unwrap_or(false)
    }
}

/// As [`Write::write_all`], but tells how far it came.
fn write_all_counted(to: &mut impl Write, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut written = 0;
    while written < bytes.len() {
        match to.write(&bytes[written..]) {
            Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err((written, error)),
        }
    }
    Ok(())
}

pub(super) fn name(path: &LogPath) -> String {
    match path {
        LogPath::Stdout => "stdout".to_owned(),
        LogPath::Stderr => "stderr".to_owned(),
        LogPath::File(path) => path.display().to_string(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_a_full_disk_cuts_is_taken_back() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.log");
        std::fs::write(&file, "old\n").unwrap();
        let mut log = LogFile::open(&LogPath::File(file.clone())).unwrap();
        let lines = b"one\ntwo\n";
        for (taken, whole) in [(0, 0), (3, 0), (4, 4), (7, 4), (8, 8)] {
            log.sink.write_all(&lines[..taken]).unwrap();
            assert_eq!(log.keep_whole_lines(&lines[..taken]), whole);
            assert!(!log.torn);
        }
        log.write(b"new\n").unwrap();
        let left = std::fs::read_to_string(&file).unwrap();
        assert_eq!(left, "old\none\none\none\ntwo\nnew\n");
    }

    #[test]
    fn a_line_that_cannot_be_taken_back_is_ended_before_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.log");
        let mut log = LogFile::open(&LogPath::File(file.clone())).unwrap();
        log.sink.write_all(b"torn").unwrap();
        // Another process writes behind it.
        open_to_append(&file)
            .unwrap()
            .write_all(b"theirs\n")
            .unwrap();
        assert_eq!(log.keep_whole_lines(b"torn"), 0);
        assert!(log.torn);
        log.write(b"ours\n").unwrap();
        log.write(b"again\n").unwrap();
        let left = std::fs::read_to_string(&file).unwrap();
        assert_eq!(left, "torntheirs\n\nours\nagain\n");
    }

    #[test]
    fn what_was_written_in_part_is_told() {
        struct Takes(usize);
        impl Write for Takes {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let taken = bytes.len().min(self.0).min(2);
                self.0 -= taken;
                match taken {
                    0 => Err(io::ErrorKind::StorageFull.into()),
                    taken => Ok(taken),
                }
            }

            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        assert!(write_all_counted(&mut Takes(5), b"abcde").is_ok());
        let (written, error) = write_all_counted(&mut Takes(5), b"abcdef").unwrap_err();
        assert_eq!((written, error.kind()), (5, io::ErrorKind::StorageFull));
    }
}
