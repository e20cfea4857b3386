//! `waypost run`.

use std::path::Path;
use std::process::ExitCode;

pub(super) fn run(file: &Path) -> anyhow::Result<ExitCode> {
    let config = match super::import::configuration(file) {
        Some(config) => config,
        None => super::load(file),
    };
    match config {
        Ok(config) => crate::control_plane::run(config, file),
        Err(reported) => Ok(reported),
    }
}
