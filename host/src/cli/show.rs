//! `waypost show`: a configuration with every default filled in.

use std::path::Path;
use std::process::ExitCode;

use crate::config;

/// `expand_env`: with what variables of the environment hold, in place of their names.
pub(super) fn show(file: &Path, expand_env: bool) -> anyhow::Result<ExitCode> {
    match config::load_with_expansions(file) {
        Ok((config, expansions)) => {
            let shown = config::show(&config);
            match expand_env {
                true => super::print(&shown),
                false => super::print(&config::conceal(&shown, &expansions)),
            }
        }
        Err(problems) => Ok(super::report(file, &problems)),
    }
}
