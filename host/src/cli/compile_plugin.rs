//! `waypost compile-plugin`: the other half of compiling a plugin, in a process of its own. Hidden,
//! since only this program itself has a use for it.

use std::process::ExitCode;

use clap::Args;

#[derive(Debug, Args)]
pub(super) struct CompileBounds {
    /// Bytes of address space
    #[arg(long)]
    memory: u64,
    /// Of processor time
    #[arg(long)]
    seconds: u64,
}

pub(super) fn compile_plugin(bounds: &CompileBounds) -> anyhow::Result<ExitCode> {
    Ok(crate::plugin::compile_plugin(bounds.memory, bounds.seconds))
}
