//! `waypost check`: every problem of a configuration, those that its policies find in their settings included.

use std::path::Path;
use std::process::ExitCode;

pub(super) fn check(file: &Path) -> anyhow::Result<ExitCode> {
    let config = match super::load(file) {
        Ok(config) => config,
        Err(reported) => return Ok(reported),
    };
    let problems = crate::control_plane::check(&config);
    if problems.is_empty() {
        super::print(&format!("configuration {} is valid\n", file.display()))
    } else {
        Ok(super::report(file, &problems))
    }
}
