//! The commands that talk to a running process, over its admin address. `docs/admin.md` has what is
//! said there.

mod client;
mod process;
mod plugin;
mod plugin_words;
mod candidate;
mod upstream;
mod servers;
mod explain;
mod explain_words;
mod table;
mod asked;
#[cfg(test)]
mod canned;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use serde::de::DeserializeOwned;
use serde_json::Value;

pub(super) use self::asked::Asked;
use self::client::AdminClient;
use self::explain::ExplainArguments;
pub(super) use self::plugin::PluginAdminCommand;
use self::upstream::UpstreamCommand;
use super::ConfigFile;
use crate::config;
use crate::config::model::Address;

#[derive(Debug, Subcommand)]
pub(super) enum AdminCommand {
    /// Print how a running process is doing
    Status {
        #[command(flatten)]
        reach: Reach,
        #[command(flatten)]
        form: OutputFormat,
    },
    /// Read the configuration again; should it have problems, the old one goes on serving
    Reload(Reach),
    /// Accept no more connections, and stop when the requests under way have ended
    Drain(Reach),
    /// Stop at once
    Stop(Reach),
    /// Start the binary anew, hand it the listening sockets, and drain this process
    Upgrade(Reach),
    /// Beside what needs no process, in `waypost plugin`.
    #[command(skip)]
    Plugin(PluginAdminCommand),
    /// Say what would become of a request, without sending it
    Explain(ExplainArguments),
    /// See and change the servers of upstreams, until the next reload or restart
    #[command(subcommand)]
    Upstream(UpstreamCommand),
}

/// Which process is meant.
#[derive(Debug, Args)]
pub(super) struct Reach {
    #[command(flatten)]
    config: ConfigFile,
    /// Where the process is asked, instead of at the configuration's `[admin] address`
    #[arg(long, value_name = "ADDRESS", value_parser = config::admin_address)]
    admin: Option<Address>,
}

/// How an answer is printed.
#[derive(Debug, Args)]
pub(super) struct OutputFormat {
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

/// Why a command did not do what it was told, as the user reads it.
#[derive(Debug)]
struct CommandFailed {
    message: String,
    /// Of a configuration, each as `waypost check` prints it.
    problems: Vec<String>,
}

/// Carries a command out and prints the answer, or why there is none.
pub(super) fn run(command: AdminCommand) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start an event loop")?;
    let command = match command {
        // It may do without a process.
        AdminCommand::Explain(arguments) => return explain::explain(&runtime, arguments),
        command => command,
    };
    told(runtime.block_on(answer(command)))
}

/// Prints an answer, or why there is none.
fn told(answer: Result<String, CommandFailed>) -> anyhow::Result<ExitCode> {
    match answer {
        Ok(text) => super::print(&printable(&text)),
        Err(failure) => {
            // A closed standard error is no reason to fail otherwise.
            let _ = writeln!(std::io::stderr(), "{}", printable(&failure.to_string()));
            Ok(ExitCode::FAILURE)
        }
    }
}

async fn answer(command: AdminCommand) -> Result<String, CommandFailed> {
    match command {
        AdminCommand::Status { reach, form } => process::status(&reach.client()?, &form).await,
        AdminCommand::Reload(reach) => process::reload(&reach.client()?).await,
        AdminCommand::Drain(reach) => process::drain(&reach.client()?).await,
        AdminCommand::Stop(reach) => process::stop(&reach.client()?).await,
        AdminCommand::Upgrade(reach) => process::upgrade(&reach.client()?).await,
        AdminCommand::Plugin(command) => plugin::answer(command).await,
        AdminCommand::Upstream(command) => upstream::answer(command).await,
        AdminCommand::Explain(_) => Ok(String::new()), // see `run`
    }
}

impl Reach {
    fn client(self) -> Result<AdminClient, CommandFailed> {
        if let Some(address) = self.admin {
            return Ok(AdminClient::new(address));
        }
        let file = self.config.file.display();
        match config::load_admin(&self.config.file) {
            Ok(Some(admin)) => Ok(AdminClient::new(admin.address)),
            Ok(None) => Err(CommandFailed::new(format!(
                "the configuration has no `[admin]`\nhint: add these lines to `{file}`, or name an address with `--admin`\n\n\
                 [admin]\naddress = \"unix:/run/waypost/admin.sock\""
            ))),
            Err(problems) => Err(CommandFailed {
                message: format!(
                    "`{file}` does not say where the process is asked\nhint: name an address with \
                     `--admin`, as `--admin unix:/run/waypost/admin.sock`, or mend the file"
                ),
                problems: problems.iter().map(ToString::to_string).collect(),
            }),
        }
    }
}

impl OutputFormat {
    /// The answer as JSON if that was asked for, or else in words.
    fn of<T: DeserializeOwned>(
        &self,
        answer: Value,
        in_words: fn(T) -> String,
    ) -> Result<String, CommandFailed> {
        if self.json {
            return Ok(format!("{answer:#}\n"));
        }
        understood(answer).map(in_words)
    }
}

/// The parts of an answer that a command needs.
fn understood<T: DeserializeOwned>(answer: Value) -> Result<T, CommandFailed> {
    serde_json::from_value(answer).map_err(|error| {
        CommandFailed::new(format!(
            "the answer is not understood, perhaps because the process is of another version: {error}"
        ))
    })
}

impl CommandFailed {
    fn new(message: impl Into<String>) -> CommandFailed {
        CommandFailed {
            message: message.into(),
            problems: Vec::new(),
        }
    }
}

impl std::fmt::Display for CommandFailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.problems.join("\n\n"))?;
        let summary = format!("error: {}", self.message);
        let mut first_lines = self.problems.iter().filter_map(|each| each.lines().next());
        if first_lines.any(|line| line == summary) {
            return Ok(());
        }
        let between = if self.problems.is_empty() { "" } else { "\n\n" };
        write!(f, "{between}{summary}")
    }
}

/// Without what would command a terminal: messages of plugins reach it too.
fn printable(text: &str) -> String {
    let harmless = |c: char| {
        if c.is_control() && c != '\n' {
            char::REPLACEMENT_CHARACTER
        } else {
            c
        }
    };
    text.chars().map(harmless).collect()
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn a_plugins_message_cannot_command_the_terminal() {
        assert_eq!(printable("a\u{1b}[2J\nb\r"), "a\u{fffd}[2J\nb\u{fffd}");
    }
}
