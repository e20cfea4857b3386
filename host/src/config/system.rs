//! What a configuration asks of the machine it is read on: files and the environment.
//!
//! Behind a trait, so that tests read hostile and mutated files without a disk.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::time::Duration;

use crate::file::read_regular_or_pipe;

/// Bytes of one file of a configuration. A thousand upstreams take a megabyte.
const FILE_SIZE: u64 = 16 << 20;
/// For a file that is a pipe to be written: by a program that makes it as it is read.
const PIPE: Duration = Duration::from_secs(30);

pub trait System {
    /// An environment variable; `None` where it is not set, or not Unicode.
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    /// A file that the configuration consists of. Blocks, and for no longer than half a minute.
    fn read(&self, file: &Path) -> io::Result<Vec<u8>> {
        read_regular_or_pipe(file, FILE_SIZE, PIPE)
    }

    /// Whether a file is a pipe: [`System::read`] waits for who writes to it.
    fn is_pipe(&self, file: &Path) -> bool {
        std::fs::metadata(file).is_ok_and(|known| known.file_type().is_fifo())
    }

    /// Names in a directory, in any order. Those that are not Unicode are left out.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }
}

/// The machine that this process runs on.
#[derive(Debug, Clone, Copy)]
pub struct ThisMachine;

impl System for ThisMachine {}
