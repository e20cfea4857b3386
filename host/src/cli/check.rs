//! `waypost check`: every problem of a configuration, those that its policies find in their
//! settings included.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use crate::control_plane::Checked;

pub(super) fn check(file: &Path) -> anyhow::Result<ExitCode> {
    let Checked { problems, warnings } = match super::import::configuration(file) {
        Some(Ok(config)) => crate::control_plane::check_config(&config, file),
        Some(Err(reported)) => return Ok(reported),
        None => crate::control_plane::check(file),
    };
    let mut err = std::io::stderr().lock();
    for warning in &warnings {
        // A closed standard error is no reason to fail otherwise.
        let _ = writeln!(err, "{}\n", warning.as_warning());
    }
    drop(err);
    if problems.is_empty() {
        super::print(&format!("configuration {} is valid\n", file.display()))
    } else {
        Ok(super::report(file, &problems))
    }
}
