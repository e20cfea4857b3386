//! `waypost completions` and `waypost man`: what shells and `man` know of the command line. Both are
//! made of the command line as it is declared.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::Command;
use clap_complete::Shell;

/// Prints a script that a shell reads when it starts.
pub(super) fn completions(mut command: Command, shell: Shell) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, "waypost", &mut script);
    super::print(&String::from_utf8(script)?)
}

/// Writes `waypost.1`, and `waypost-NAME.1` for each command that has a name.
pub(super) fn pages(command: Command, folder: &Path) -> anyhow::Result<ExitCode> {
    let command = command.disable_help_subcommand(true);
    clap_mangen::generate_to(command, folder)
        .with_context(|| format!("cannot write pages into {}", folder.display()))?;
    Ok(ExitCode::SUCCESS)
}
