//! `waypost plugin build`: the language's own commands, and what came out.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use anyhow::Context;

use super::Folder;
use crate::cli::{plugin, try_plugin};
use crate::config::{self, model::PluginProject};
use crate::file;
use crate::plugin::{Kind, default_cache_directory};
use crate::testbed::Subject;

/// What a shell answers for a program that it does not find (POSIX, "Exit Status for Commands").
const NOT_FOUND: i32 = 127;

/// Builds, and prints what came out.
pub(in crate::cli) fn build(folder: &Folder) -> anyhow::Result<ExitCode> {
    let project = match folder.project()? {
        Ok(project) => project,
        Err(reported) => return Ok(reported),
    };
    make(&project)?;
    let component = shown(&project.component);
    crate::cli::print(&format!("\nfile        {component}\n"))?;
    let plugin = plugin::inspect(&project.name, &project.component, default_cache_directory())?;
    let kind = project.kind.word();
    let Some(kind) = plugin.kinds().find(|is| is.name() == kind) else {
        let kinds: Vec<&str> = plugin.kinds().map(Kind::name).collect();
        anyhow::bail!(
            "`kind` in `{}` says {kind}, and the component is a {}",
            super::PROJECT,
            kinds.join(" and a ")
        );
    };
    takes_its_settings(&project, kind)
}

/// Has it try what the project's file says of its settings.
fn takes_its_settings(project: &PluginProject, kind: Kind) -> anyhow::Result<ExitCode> {
    let table = |key: &str, text: &str| {
        try_plugin::table(key, text).with_context(|| format!("in `{}`", super::PROJECT))
    };
    let runtime = try_plugin::runtime()?;
    let subject = Subject {
        picks: try_plugin::picks(&runtime)?,
        plugin: try_plugin::plugin(&project.component, &runtime)?,
        kind,
        settings: table("settings", &project.settings)?,
        place: table("place", &project.place)?,
    };
    let taken = subject.configure(&subject.settings);
    taken.with_context(|| format!("`settings` in `{}` are not taken", super::PROJECT))?;
    let settings = match project.settings.as_str() {
        "" => "none",
        settings => settings,
    };
    crate::cli::print(&format!("settings    taken: {settings}\n"))
}

/// Runs the commands of a project, whose output goes where ours does. Behind them the component is
/// there.
pub(super) fn make(project: &PluginProject) -> anyhow::Result<()> {
    if let Some(prepare) = &project.prepare
        && !prepare.unless.exists()
    {
        for command in &prepare.run {
            run(command, &project.folder)?;
        }
    }
    for command in &project.build {
        run(command, &project.folder)?;
    }
    check(project)
}

fn run(command: &str, folder: &Path) -> anyhow::Result<()> {
    crate::cli::print(&format!("$ {command}\n"))?;
    let status = Command::new("sh")
        .args(["-c", command])
        .current_dir(folder)
        .stdin(Stdio::null())
        .status()
        .context("cannot run `sh`")?;
    match status.code() {
        Some(0) => Ok(()),
        Some(NOT_FOUND) => anyhow::bail!(
            "`{command}` needs a program that is not installed: docs/new-plugin.md has what each \
             language needs"
        ),
        _ => anyhow::bail!("`{command}` failed: {status}"),
    }
}

fn check(project: &PluginProject) -> anyhow::Result<()> {
    match file::open_regular(&project.component) {
        Ok(_) => Ok(()),
        Err(error) => anyhow::bail!(
            "the commands have not made `{}` ({}): is `component` in `{}` another file?",
            shown(&project.component),
            config::reason(&error),
            super::PROJECT
        ),
    }
}

/// A path below the current directory, as users write it.
pub(super) fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(here)
        .unwrap_or(path)
        .display()
        .to_string()
}
