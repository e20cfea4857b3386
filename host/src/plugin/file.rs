//! Reads a plugin's file, and no more of it than it may have.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

use crate::config::model::CompileLimits;

use super::engine::Runtime;
use super::error::PluginError;

impl Runtime {
    /// The bytes of the file of plugin `name`.
    ///
    /// # Errors
    /// A file that is not there, no regular file, or larger than `limits.file_size`. Never waits
    /// for a writer, as a pipe would.
    pub fn read(name: &str, file: &Path, limits: &CompileLimits) -> Result<Vec<u8>, PluginError> {
        match read(file, limits.file_size) {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(too_large(name, limits)),
            Err(error) => Err(PluginError::Read {
                plugin: name.to_owned(),
                file: file.to_owned(),
                error,
            }),
        }
    }
}

pub(super) fn too_large(plugin: &str, limits: &CompileLimits) -> PluginError {
    PluginError::Bound {
        plugin: plugin.to_owned(),
        what: format!("is a file of more than {} bytes", limits.file_size),
        key: "file_size",
    }
}

/// `None`: it has more bytes than that.
fn read(file: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    // Opening a pipe waits for its other end, unless told not to.
    let opened = rustix::fs::open(
        file,
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let file = File::from(opened);
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    if metadata.len() > most {
        return Ok(None);
    }
    // The file may grow meanwhile.
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok((bytes.len() as u64 <= most).then_some(bytes))
}
