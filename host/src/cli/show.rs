//! `waypost show`: a configuration with every default filled in.

use std::path::Path;
use std::process::ExitCode;

use crate::config;

/// `expand_env`: with what variables of the environment hold, in place of their names.
pub(super) fn show(file: &Path, expand_env: bool) -> anyhow::Result<ExitCode> {
    let shown = match expand_env {
        true => config::load(file).map(|config| config::show(&config)),
        false => config::show_as_written(file),
    };
    match shown {
        Ok(shown) => super::print(&shown),
        Err(problems) => Ok(super::report(file, &problems)),
    }
}
