//! `waypost show`: a configuration with every default filled in.

use std::path::Path;
use std::process::ExitCode;

pub(super) fn show(file: &Path) -> anyhow::Result<ExitCode> {
    match super::load(file) {
        Ok(config) => super::print(&crate::config::show(&config)),
        Err(reported) => Ok(reported),
    }
}
