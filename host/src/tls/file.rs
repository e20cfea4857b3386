//! What is in a file that the configuration names, and what is wrong with it where it cannot be
//! used.

use std::io;

use aws_lc_rs::digest::{Context, SHA256};

use crate::config::model::NamedFile;
use crate::config::problem::Problem;
use crate::config::reason;
use crate::file::read_regular;

/// Bytes of any file but the one below. A bundle of all authorities of the world has a quarter of
/// that.
pub(super) const MAX_SIZE: u64 = 1 << 20;
/// Bytes of lists of revoked certificates: about half a million of them.
pub(super) const MAX_CRL_SIZE: u64 = 16 << 20;

/// What tells the contents of files from others.
pub(super) type Digest = [u8; 32];

/// Reads files, and remembers all that it read by its digest.
pub(super) struct FileReader(Context);

impl FileReader {
    pub(super) fn new() -> FileReader {
        FileReader(Context::new(&SHA256))
    }

    /// `what` it is called where something is wrong with it; `most` bytes.
    ///
    /// # Errors
    /// Where the file is not there, cannot be read, is empty or absurdly large.
    pub(super) fn read(
        &mut self,
        file: &NamedFile,
        what: &str,
        most: u64,
    ) -> Result<Vec<u8>, Problem> {
        let bytes = read_regular(&file.path, most).map_err(|error| {
            let problem = problem(
                file,
                format!("cannot read the {what} `{}`", file.path.display()),
            );
            problem.hint(match error.kind() {
                io::ErrorKind::NotFound => {
                    "there is no such file: paths are relative to the configuration file".to_owned()
                }
                io::ErrorKind::PermissionDenied => {
                    "it exists, but the user that runs this may not read it".to_owned()
                }
                _ => reason(&error),
            })
        })?;
        if bytes.is_empty() {
            return Err(problem(
                file,
                format!("the {what} `{}` is empty", file.path.display()),
            ));
        }
        self.note(&bytes);
        Ok(bytes)
    }

    /// Remembers what was read elsewhere.
    pub(super) fn note(&mut self, bytes: &[u8]) {
        // The length keeps apart what two files would be together.
        self.0.update(&(bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    pub(super) fn digest(self) -> Digest {
        let mut digest = Digest::default();
        digest.copy_from_slice(self.0.finish().as_ref());
        digest
    }
}

/// A problem at the place where a file is named.
pub(super) fn problem(file: &NamedFile, message: impl Into<String>) -> Problem {
    Problem::new(&file.place, message)
}
