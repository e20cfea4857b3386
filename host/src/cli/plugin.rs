//! `waypost plugin`: looks into a plugin's file; what is about a running process is the admin
//! commands' part.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use super::admin;
use crate::plugin::{
    Compiler, Hash, Inspection, PluginKind, PluginOptions, Runtime, grants_needed,
};

#[derive(Debug, Subcommand)]
pub(super) enum PluginCommand {
    /// Say what is in a plugin's file, what it needs, and whether it could be loaded
    Inspect {
        /// A component, or a core module that carries its component type
        file: PathBuf,
    },
    #[command(flatten)]
    Admin(admin::PluginAdminCommand),
}

pub(super) fn plugin(command: PluginCommand) -> anyhow::Result<ExitCode> {
    match command {
        PluginCommand::Inspect { file } => inspect(&file),
        PluginCommand::Admin(command) => admin::run(admin::AdminCommand::Plugin(command)),
    }
}

/// Prints what the file tells by itself, and then tries it with everything granted.
fn inspect(file: &Path) -> anyhow::Result<ExitCode> {
    let terms = PluginOptions::stock();
    let name = file.file_stem().unwrap_or_default().to_string_lossy();
    let bytes = Runtime::read(&name, file, &terms.compile)?;
    let survey = Inspection::of(&name, &bytes)?;
    let kind = match survey.kind {
        PluginKind::Component => "component",
        PluginKind::CoreModule => "core module, of which a component is made when it is loaded",
    };
    let grants = match &grants_needed(&survey.imports)[..] {
        [] => "none needed".to_owned(),
        grants => format!("grants = {grants:?}"),
    };
    super::print(&format!(
        "name        {name}\nsha256      {}\nsize        {} bytes\nkind        {kind}\nfunctions   {}\n\
         exports     {}\nimports     {}\ngrants      {grants}\n",
        Hash::of(&bytes),
        bytes.len(),
        survey.functions,
        column(&survey.exports),
        column(&survey.imports),
    ))?;
    let runtime = Runtime::new(Compiler::child_process(None)?)?;
    let plugin = runtime.load(&name, 1, &bytes, &terms)?;
    super::print(&format!(
        "loads       yes: {}\n",
        plugin.exports().join(", ")
    ))
}

/// One below the other.
fn column(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        names => names.join("\n            "),
    }
}
