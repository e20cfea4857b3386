//! `waypost run`.

use std::path::Path;
use std::process::ExitCode;

pub(super) fn run(file: &Path) -> anyhow::Result<ExitCode> {
    match super::load(file) {
        Ok(config) => crate::control_plane::run(config, file),
        Err(reported) => Ok(reported),
    }
}
