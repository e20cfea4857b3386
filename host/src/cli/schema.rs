//! `waypost schema`: JSON Schema of the configuration.

use std::process::ExitCode;

pub(super) fn schema() -> anyhow::Result<ExitCode> {
    super::print(&format!("{:#}\n", crate::config::schema()))
}
