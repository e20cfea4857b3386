//! `waypost plugin`: looks into a plugin's file; what is about a running process is the admin
//! commands' part.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;

use super::{admin, project, simulate, try_plugin};
use crate::plugin::{
    Compiler, Hash, Inspection, Plugin, PluginKind, PluginOptions, Runtime, Untrusted,
    grants_needed,
};

#[derive(Debug, Subcommand)]
pub(super) enum PluginCommand {
    /// Say what is in a plugin's file, what it needs, and whether it could be loaded; or what
    /// happened to a plugin of a running process
    Inspect {
        /// A component, or a core module that carries its component type; or a name, as in
        /// `[plugin.NAME]`
        #[arg(value_name = "FILE|NAME")]
        what: PathBuf,
        #[command(flatten)]
        reach: admin::Reach,
        #[command(flatten)]
        form: admin::OutputFormat,
    },
    /// Make the folder of a plugin, with code that builds
    New(project::NewArguments),
    /// Build the plugin of a folder, and say what came out
    Build(project::Folder),
    /// Build and load each change of a plugin into a proxy with a few servers, and show what it
    /// decides
    Dev(project::DevArguments),
    /// Try a plugin: whether it does what every plugin has to
    Test {
        #[command(flatten)]
        tried: try_plugin::Tried,
        /// The same seed makes the same trial
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// As JSON, once all is tried
        #[arg(long)]
        json: bool,
    },
    /// Measure what a plugin's calls cost, beside `round_robin`
    Bench {
        #[command(flatten)]
        tried: try_plugin::Tried,
        /// As JSON, once all is measured
        #[arg(long)]
        json: bool,
    },
    /// Have policies choose for a load, in a time that takes none: shares, latencies, who moves when
    /// a server goes
    Simulate(simulate::SimulateArguments),
    #[command(flatten)]
    Admin(admin::PluginAdminCommand),
}

pub(super) fn plugin(command: PluginCommand) -> anyhow::Result<ExitCode> {
    match command {
        PluginCommand::Inspect { what, reach, form } => match as_name(&what) {
            Some(name) => {
                let command = admin::PluginAdminCommand::Inspect { name, reach, form };
                admin::run(admin::AdminCommand::Plugin(command))
            }
            None => {
                let name = what.file_stem().unwrap_or_default().to_string_lossy();
                let name = Untrusted::name(name).to_string();
                if form.is_json() {
                    return inspect_as_json(&name, &what);
                }
                inspect(&name, &what, None)?;
                Ok(ExitCode::SUCCESS)
            }
        },
        PluginCommand::New(arguments) => project::new(&arguments),
        PluginCommand::Build(folder) => project::build(&folder),
        PluginCommand::Dev(arguments) => project::dev(&arguments),
        PluginCommand::Test { tried, seed, json } => try_plugin::test(&tried, seed, json),
        PluginCommand::Bench { tried, json } => try_plugin::measure(&tried, json),
        PluginCommand::Simulate(arguments) => simulate::simulate(&arguments),
        PluginCommand::Admin(command) => admin::run(admin::AdminCommand::Plugin(command)),
    }
}

/// The name of a plugin, if it is that and no file.
fn as_name(what: &Path) -> Option<String> {
    let is_name = what.components().count() == 1 && what.extension().is_none() && !what.exists();
    let name = what.to_str().filter(|_| is_name)?;
    Some(name.to_owned())
}

/// Prints what the file tells by itself, and then tries it with everything granted. What is compiled
/// for that is kept in the directory.
pub(super) fn inspect(name: &str, file: &Path, kept: Option<PathBuf>) -> anyhow::Result<Plugin> {
    let options = PluginOptions::stock();
    let bytes = Runtime::read(name, file, &options.compile)?;
    let inspection = Inspection::of(name, &bytes)?;
    let kind = match inspection.kind {
        PluginKind::Component => "component",
        PluginKind::CoreModule => "core module, of which a component is made when it is loaded",
    };
    let needed = needed(&inspection);
    let grants = match &needed[..] {
        [] => "none needed".to_owned(),
        grants => format!("grants = {grants:?}"),
    };
    super::print(&format!(
        "name        {name}\nsha256      {}\nsize        {} bytes\nkind        {kind}\nfunctions   {}\n\
         exports     {}\nimports     {}\ngrants      {grants}\n",
        Hash::of(&bytes),
        bytes.len(),
        inspection.functions,
        column(&inspection.exports),
        column(&inspection.imports),
    ))?;
    let runtime = Runtime::new(Compiler::child_process(kept)?)?;
    let plugin = runtime.load(name, 1, &bytes, &options)?;
    super::print(&format!(
        "loads       yes: {}\n",
        plugin.interfaces().join(", ")
    ))?;
    if plugin.is_handler() {
        super::print(&format!(
            "answers     requests, in a [[route]] with `component = {:?}`\n",
            file.display().to_string()
        ))?;
    }
    Ok(plugin)
}

/// The same as JSON: what the file tells by itself is there as well where it cannot be loaded.
fn inspect_as_json(name: &str, file: &Path) -> anyhow::Result<ExitCode> {
    let options = PluginOptions::stock();
    let bytes = Runtime::read(name, file, &options.compile)?;
    let inspection = Inspection::of(name, &bytes)?;
    let runtime = Runtime::new(Compiler::child_process(None)?)?;
    let loaded = runtime.load(name, 1, &bytes, &options);
    let texts =
        |names: &[Untrusted]| -> Vec<String> { names.iter().map(Untrusted::to_string).collect() };
    let told = serde_json::json!({
        "name": name,
        "sha256": Hash::of(&bytes).to_string(),
        "size": bytes.len(),
        "kind": match inspection.kind {
            PluginKind::Component => "component",
            PluginKind::CoreModule => "core module",
        },
        "functions": inspection.functions,
        "exports": texts(&inspection.exports),
        "imports": texts(&inspection.imports),
        "grants": needed(&inspection),
        "interfaces": loaded.as_ref().ok().map(Plugin::interfaces),
        "error": loaded.as_ref().err().map(ToString::to_string),
    });
    super::print(&admin::in_json(&told))?;
    Ok(match loaded {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}

/// What its entry has to grant.
fn needed(inspection: &Inspection) -> Vec<&'static str> {
    let mut needed = grants_needed(inspection.imports.iter().map(Untrusted::as_str));
    let answers = inspection.exports.iter().any(is_handler);
    // A route says which upstreams a component may ask.
    needed.retain(|grant| !answers || *grant != "http");
    needed
}

/// Whether an export is what answers requests.
fn is_handler(export: &Untrusted) -> bool {
    export.as_str().starts_with("wasi:http/incoming-handler@")
}

/// One below the other, the first 40 of them.
fn column(names: &[Untrusted]) -> String {
    const MOST: usize = 40;
    let mut lines: Vec<String> = names.iter().take(MOST).map(Untrusted::to_string).collect();
    match names.len().saturating_sub(MOST) {
        0 if names.is_empty() => lines.push("none".to_owned()),
        0 => {}
        more => lines.push(format!("and {more} more")),
    }
    lines.join("\n            ")
}
