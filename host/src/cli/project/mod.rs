//! `waypost plugin new`, `build` and `dev`: an author's way from an empty folder to a plugin that
//! decides.

mod new;
mod build;
mod dev;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

pub(super) use self::build::build;
pub(super) use self::dev::{DevArguments, dev};
pub(super) use self::new::{NewArguments, new};
use crate::config;
use crate::config::model::PluginProject;

/// The file that tells how a plugin is made.
const PROJECT: &str = "waypost-plugin.toml";

#[derive(Debug, Args)]
pub(super) struct Folder {
    /// The folder of the plugin, with its `waypost-plugin.toml`
    #[arg(value_name = "FOLDER", default_value = ".")]
    folder: PathBuf,
}

impl Folder {
    /// What its file says, or the exit code of what was reported.
    fn project(&self) -> anyhow::Result<Result<PluginProject, ExitCode>> {
        let file = match self.folder == Path::new(".") {
            true => PathBuf::from(PROJECT),
            false => self.folder.join(PROJECT),
        };
        if !file.exists() {
            anyhow::bail!(
                "there is no `{}`: name the folder of a plugin, or make one with `waypost plugin \
                 new NAME`",
                file.display()
            );
        }
        Ok(config::load_plugin_project(&file).map_err(|problems| {
            let mut err = std::io::stderr().lock();
            for problem in &problems {
                // A closed standard error is no reason to fail otherwise.
                let _ = writeln!(err, "{problem}\n");
            }
            ExitCode::FAILURE
        }))
    }
}
