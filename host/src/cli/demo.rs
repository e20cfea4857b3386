//! `waypost demo`.

use std::process::ExitCode;

pub(super) fn demo() -> anyhow::Result<ExitCode> {
    crate::control_plane::demo()
}
