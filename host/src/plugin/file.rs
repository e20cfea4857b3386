//! Reads a plugin's file, and no more of it than it may have.

use std::io;
use std::path::Path;

use crate::config::model::CompileLimits;
use crate::file::read_regular;

use super::engine::Runtime;
use super::error::PluginError;

impl Runtime {
    /// The bytes of the file of plugin `name`.
    ///
    /// # Errors
    /// A file that is not there, not a regular one, or larger than `limits.file_size`.
    pub fn read(name: &str, file: &Path, limits: &CompileLimits) -> Result<Vec<u8>, PluginError> {
        match read_regular(file, limits.file_size) {
            Ok(bytes) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                Err(too_large(name, limits))
            }
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
