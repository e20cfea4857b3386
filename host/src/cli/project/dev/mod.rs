//! `waypost plugin dev`: a proxy with the plugin before a few servers, and requests of its own
//! through it. What is built anew is loaded while it serves, and each decision has a line.
//!
//! The proxy is the one of `waypost run`, on the main thread: signals end it as they end that one.
//! Beside it a thread watches, builds and loads.

mod servers; // what answers
mod requests; // what is asked
mod decisions; // what became of it, line by line
mod sources; // what the plugin is made of, and when it has changed
mod configuration; // all of that as the proxy reads it
mod builder; // the thread that builds and loads

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

use anyhow::Context;
use clap::Args;

use self::builder::Builder;
use self::configuration::Configuration;
use self::servers::Servers;
use self::sources::Sources;
use super::{Folder, build};
use crate::config;
use crate::config::model::PluginProject;
use crate::control_plane;

#[derive(Debug, Args)]
pub(in crate::cli) struct DevArguments {
    #[command(flatten)]
    folder: Folder,
    /// Where to listen for requests of one's own
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: std::net::SocketAddr,
    /// How many servers there are, `s1` and so on, each a little slower than the one before
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=32))]
    servers: u16,
    /// Requests in a second: 0 for none but those that come in
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(0..=100))]
    rate: u16,
    /// The plugin's settings as TOML, in place of those in `waypost-plugin.toml`
    #[arg(long, value_name = "TOML")]
    settings: Option<String>,
    /// What the place says that uses a hook, likewise
    #[arg(long, value_name = "TOML")]
    place: Option<String>,
}

pub(in crate::cli) fn dev(arguments: &DevArguments) -> anyhow::Result<ExitCode> {
    let mut project = match arguments.folder.project()? {
        Ok(project) => project,
        Err(reported) => return Ok(reported),
    };
    for (given, argument, key) in [
        (&arguments.settings, "--settings", &mut project.settings),
        (&arguments.place, "--place", &mut project.place),
    ] {
        if let Some(text) = given {
            crate::cli::try_plugin::table(argument, text)?;
            key.clone_from(text);
        }
    }
    anyhow::ensure!(
        arguments.listen.ip().is_loopback(),
        "`--listen` has to be an address of loopback, such as `127.0.0.1:8080`: these servers are \
         for nobody else"
    );
    let servers = Servers::start(arguments.servers.into())?;
    let mut configuration = Configuration::new(&project, &servers, arguments.listen);
    let sources = first_build(&project, &configuration)?;

    let folder = OwnFolder::new()?;
    configuration.within(&folder.0);
    let file = folder.0.join("waypost.toml");
    let text = configuration.text();
    fs::write(&file, &text).with_context(|| format!("cannot write `{}`", file.display()))?;
    decisions::print(&configuration.log(), &servers)?;
    let config = match config::parse(&text, &file) {
        Ok(config) => config,
        Err(problems) => return Ok(crate::cli::report(&file, &problems)),
    };
    let paused = Arc::new(AtomicBool::new(false));
    let builder = Builder {
        admin: configuration.admin(),
        rate: arguments.rate,
        project,
        sources,
        paused,
    };
    thread::spawn(move || builder.run());
    control_plane::run(config, &file)
}

/// Builds until there is a plugin that can serve: what is wrong is shown, and a change waited for.
fn first_build(project: &PluginProject, configuration: &Configuration) -> anyhow::Result<Sources> {
    let mut sources = Sources::now(&project.sources);
    loop {
        let made = build::make(project).and_then(|()| configuration.check());
        match made {
            Ok(()) => return Ok(sources),
            Err(error) => {
                say(&format!("\n{error:#}\n\nwaiting for a change\n"))?;
            }
        }
        let changed = sources.changed();
        say(&format!("\nchanged: {changed}\n"))?;
    }
}

/// What is said beside the decisions goes where they do, so that it stands in order.
fn say(text: &str) -> anyhow::Result<()> {
    crate::cli::print(text).map(drop)
}

/// A folder that is there for as long as this.
struct OwnFolder(PathBuf);

impl OwnFolder {
    fn new() -> anyhow::Result<OwnFolder> {
        let name = format!(
            "waypost-dev-{}-{:08x}",
            std::process::id(),
            fastrand::u32(..)
        );
        let path = std::env::temp_dir().join(name);
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot make the folder `{}`", path.display()))?;
        Ok(OwnFolder(path))
    }
}

impl Drop for OwnFolder {
    fn drop(&mut self) {
        // Of the temporary directory: whoever clears that takes it along.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A path as users know it.
fn shown(path: &Path) -> String {
    build::shown(path)
}
