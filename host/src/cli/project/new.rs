//! `waypost plugin new`: the folder of a plugin.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, ValueEnum};

use crate::config;
use crate::scaffold::{Language, NewPlugin};
use crate::stock::Kind;

#[derive(Debug, Args)]
pub(in crate::cli) struct NewArguments {
    /// What the plugin is called, and the folder that is made for it
    name: String,
    /// What it is for: a policy chooses a server, filters and scorers prepare the choice, a hook
    /// decides about requests
    #[arg(long, default_value = "policy")]
    kind: KindOfNew,
    /// What it is written in
    #[arg(long, default_value = "rust")]
    lang: LanguageOfNew,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum KindOfNew {
    Policy,
    Filter,
    Scorer,
    Hook,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LanguageOfNew {
    Rust,
    #[value(alias = "javascript")]
    Js,
    #[value(alias = "typescript")]
    Ts,
    Python,
    C,
    Go,
}

pub(in crate::cli) fn new(arguments: &NewArguments) -> anyhow::Result<ExitCode> {
    let name = &arguments.name;
    if let Err((message, hint)) = config::plugin_name(name) {
        anyhow::bail!("{message}: {hint}");
    }
    let plugin = NewPlugin {
        name,
        kind: match arguments.kind {
            KindOfNew::Policy => Kind::Policy,
            KindOfNew::Filter => Kind::Filter,
            KindOfNew::Scorer => Kind::Scorer,
            KindOfNew::Hook => Kind::Hook,
        },
        language: match arguments.lang {
            LanguageOfNew::Rust => Language::Rust,
            LanguageOfNew::Js => Language::JavaScript,
            LanguageOfNew::Ts => Language::TypeScript,
            LanguageOfNew::Python => Language::Python,
            LanguageOfNew::C => Language::C,
            LanguageOfNew::Go => Language::Go,
        },
    };
    let folder = Path::new(name);
    write(&plugin, folder)?;
    super::super::print(&format!(
        "{name}/ has a plugin that builds: begin with {}\n\n\
         cd {name}\n\
         waypost plugin build\n\
         waypost plugin dev       # loads each change, and shows what it decides\n\n\
         {name}/README.md has more\n",
        folder.join(plugin.source()).display(),
    ))
}

/// Into a folder that has nothing in it yet.
fn write(plugin: &NewPlugin<'_>, folder: &Path) -> anyhow::Result<()> {
    let shown = folder.display();
    match fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
        Ok(true) => {}
        Ok(false) => anyhow::bail!(
            "`{shown}` has something in it already: give the plugin another name, or move that away"
        ),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => anyhow::bail!(
            "cannot make the folder `{shown}`: {}",
            config::reason(&error)
        ),
    }
    for (path, content) in plugin.files() {
        let path: PathBuf = folder.join(path);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&path, content))
            .with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    Ok(())
}
