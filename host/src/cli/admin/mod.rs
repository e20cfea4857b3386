//! The commands that talk to a running process, over its admin address. `docs/admin.md` has what is
//! said there.

mod client;
mod process;
mod plugin;
mod plugin_words;
mod candidate;
mod certificate;
mod upstream;
mod servers;
mod explain;
mod explain_words;
mod table;
mod asked;
mod top;
#[cfg(test)]
mod canned;

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use rustls::pki_types::ServerName;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub(super) use self::asked::Asked;
use self::certificate::CertificateCommand;
use self::client::AdminClient;
pub(super) use self::explain::ExplainArguments;
pub(super) use self::plugin::PluginAdminCommand;
use self::top::TopArguments;
use self::upstream::UpstreamCommand;
use super::ConfigFile;
use crate::config;
use crate::config::model::{Address, NamedFile};
use crate::config::problem::{Place, Problem};
use crate::file;
use crate::tls::ClientTls;

/// Bytes of a file with a token.
const TOKEN_SIZE: u64 = 4096;

#[derive(Debug, Subcommand)]
pub(super) enum AdminCommand {
    /// Print how a running process is doing
    Status {
        #[command(flatten)]
        reach: Reach,
        #[command(flatten)]
        form: OutputFormat,
    },
    /// Show what a running process does, again and again: servers, plugins, hooks, events
    Top(TopArguments),
    /// Read the configuration again; should it have problems, the old one goes on serving
    Reload(ToProcess),
    /// Accept no more connections, and stop when the requests under way have ended
    Drain(ToProcess),
    /// Stop at once
    Stop(ToProcess),
    /// Start the binary anew, hand it the listening sockets, and drain this process
    Upgrade(ToProcess),
    /// Beside what needs no process, in `waypost plugin`.
    #[command(skip)]
    Plugin(PluginAdminCommand),
    /// See and change the servers of upstreams, until the next reload or restart
    #[command(subcommand)]
    Upstream(UpstreamCommand),
    /// See the certificates that clients are shown, and order one at once
    #[command(subcommand)]
    Certificate(CertificateCommand),
}

/// Which process is meant.
#[derive(Debug, Args)]
pub(super) struct Reach {
    #[command(flatten)]
    config: ConfigFile,
    /// Where the process is asked, instead of at the configuration's `[admin] address`;
    /// `https://NAME:PORT` of another machine
    #[arg(long, value_name = "ADDRESS", value_parser = asked_at)]
    admin: Option<AdminArgument>,
    /// Whose certificate, or whose authority's, that one shows; without it, the system's authorities
    #[arg(long, value_name = "FILE", requires = "admin")]
    ca: Option<PathBuf>,
    /// A file with the token to show, in place of the environment's `WAYPOST_TOKEN`
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

/// What `--admin` says.
#[derive(Debug, Clone)]
enum AdminArgument {
    Address(Address),
    /// `HOST:PORT`, over TLS.
    Secured(String),
}

fn asked_at(text: &str) -> Result<AdminArgument, String> {
    let Some(at) = text.strip_prefix("https://") else {
        return config::admin_address(text).map(AdminArgument::Address);
    };
    let at = at.trim_end_matches('/');
    match at.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => {
            match ServerName::try_from(without_brackets(host)) {
                Ok(_) => Ok(AdminArgument::Secured(at.to_owned())),
                Err(_) => Err(format!("`{host}` is no name that a certificate could have")),
            }
        }
        _ => Err(format!(
            "`{text}` has to be like `https://proxy.example.com:9180`"
        )),
    }
}

/// As an address of IPv6 has them in a URL.
fn without_brackets(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

/// A process, and how its answer is printed.
#[derive(Debug, Args)]
pub(super) struct ToProcess {
    #[command(flatten)]
    reach: Reach,
    #[command(flatten)]
    form: OutputFormat,
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
    /// The process has said no: it is there.
    is_refusal: bool,
}

/// Carries a command out and prints the answer, or why there is none.
pub(super) fn run(command: AdminCommand) -> anyhow::Result<ExitCode> {
    told(event_loop()?.block_on(answer(command)))
}

/// The same for `explain`, which may do without a process.
pub(super) fn explain(arguments: ExplainArguments) -> anyhow::Result<ExitCode> {
    explain::explain(&event_loop()?, arguments)
}

fn event_loop() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start an event loop")
}

/// Prints an answer, or why there is none.
fn told(answer: Result<String, CommandFailed>) -> anyhow::Result<ExitCode> {
    match answer {
        Ok(text) => super::print_painted(&text),
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
        AdminCommand::Top(arguments) => top::answer(arguments).await,
        AdminCommand::Reload(to) => process::reload(&to.reach.client()?, &to.form).await,
        AdminCommand::Drain(to) => process::drain(&to.reach.client()?, &to.form).await,
        AdminCommand::Stop(to) => process::stop(&to.reach.client()?, &to.form).await,
        AdminCommand::Upgrade(to) => process::upgrade(&to.reach.client()?, &to.form).await,
        AdminCommand::Plugin(command) => plugin::answer(command).await,
        AdminCommand::Upstream(command) => upstream::answer(command).await,
        AdminCommand::Certificate(command) => certificate::answer(command).await,
    }
}

impl Reach {
    fn client(self) -> Result<AdminClient, CommandFailed> {
        let token = self.token()?;
        let client = match self.admin {
            Some(AdminArgument::Address(address)) => AdminClient::new(address),
            Some(AdminArgument::Secured(at)) => Reach::secured(at, self.ca)?,
            None => Reach::own(&self.config)?,
        };
        match token {
            Some(token) => client.with_token(&token),
            None => Ok(client),
        }
    }

    /// By TLS, verified by these certificates, if any, instead of the machine's.
    fn secured(at: String, ca: Option<PathBuf>) -> Result<AdminClient, CommandFailed> {
        let place = Place::default();
        let ca = ca.map(|path| NamedFile { path, place });
        let host = at.rsplit_once(':').map_or(&*at, |(host, _)| host);
        let host = without_brackets(host);
        let made = ClientTls::of_command(ca.as_ref(), Some(host), None);
        let (config, name) = made.map_err(|problems| match &ca {
            Some(ca) => CommandFailed::of_ca(&ca.path, &problems),
            None => CommandFailed::of(problems),
        })?;
        Ok(AdminClient::secured(at, config, name))
    }

    /// What is shown, if anything.
    fn token(&self) -> Result<Option<String>, CommandFailed> {
        let Some(path) = &self.token_file else {
            let token = std::env::var("WAYPOST_TOKEN").ok();
            return Ok(token.filter(|token| !token.is_empty()));
        };
        let bytes = file::read_regular(path, TOKEN_SIZE).map_err(|error| {
            let reason = config::reason(&error);
            CommandFailed::new(format!("cannot read `{}`: {reason}", path.display()))
        })?;
        Ok(Some(String::from_utf8_lossy(&bytes).trim().to_owned()))
    }

    /// Where the configuration has its process asked.
    fn own(config: &ConfigFile) -> Result<AdminClient, CommandFailed> {
        let file = config.file.display();
        match config::load_admin(&config.file) {
            Ok(Some(admin)) => match (&admin.tls, &admin.address) {
                (Some(tls), Address::Tcp(address)) => {
                    // The process has the same file, so it shows the same certificate.
                    let first = tls.certificates.first();
                    let shown = first.map(|files| &files.certificate);
                    let (config, name) =
                        ClientTls::of_command(shown, None, Some(reached(*address).ip()))
                            .map_err(CommandFailed::of)?;
                    Ok(AdminClient::secured(
                        reached(*address).to_string(),
                        config,
                        name,
                    ))
                }
                _ => Ok(AdminClient::new(admin.address)),
            },
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
                is_refusal: false,
            }),
        }
    }
}

/// From this machine: one for all addresses is at loopback as well.
fn reached(address: SocketAddr) -> SocketAddr {
    let host = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(host, address.port())
}

impl OutputFormat {
    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// The answer as JSON if that was asked for, or else in words, which may have colours.
    fn of<T: DeserializeOwned>(
        &self,
        answer: Value,
        in_words: fn(T) -> String,
    ) -> Result<String, CommandFailed> {
        if self.json {
            return Ok(in_json(&answer));
        }
        understood(answer).map(in_words)
    }
}

/// As commands print what they tell.
pub(super) fn in_json(told: &Value) -> String {
    printable(&format!("{told:#}\n"))
}

/// The parts of an answer that a command needs.
fn understood<T: DeserializeOwned>(mut answer: Value) -> Result<T, CommandFailed> {
    make_printable(&mut answer);
    serde_json::from_value(answer).map_err(|error| {
        CommandFailed::new(format!(
            "the answer is not understood, perhaps because the process is of another version: {error}"
        ))
    })
}

impl CommandFailed {
    /// What is wrong with the files of TLS.
    fn of(problems: Vec<Problem>) -> CommandFailed {
        CommandFailed {
            message: "the process cannot be asked over TLS".to_owned(),
            problems: problems.iter().map(ToString::to_string).collect(),
            is_refusal: false,
        }
    }

    /// Of the file that `--ca` names: the host was looked at before.
    fn of_ca(path: &Path, problems: &[Problem]) -> CommandFailed {
        let why = match std::fs::metadata(path) {
            Err(error) => config::reason(&error),
            Ok(_) => {
                let why: Vec<_> = problems.iter().map(|problem| &*problem.message).collect();
                let hints = problems.iter().filter_map(|problem| problem.hint.as_ref());
                let hints: String = hints.map(|hint| format!("\nhint: {hint}")).collect();
                why.join("; ") + &hints
            }
        };
        CommandFailed::new(format!("`--ca {}`: {why}", path.display()))
    }

    fn new(message: impl Into<String>) -> CommandFailed {
        CommandFailed {
            message: message.into(),
            problems: Vec::new(),
            is_refusal: false,
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

/// All of its texts: what commands a terminal from here on is ours.
fn make_printable(answer: &mut Value) {
    match answer {
        Value::String(text) => *text = printable(text),
        Value::Array(items) => items.iter_mut().for_each(make_printable),
        Value::Object(members) => members.values_mut().for_each(make_printable),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Without what would command a terminal, turn the order of its letters, or not be seen: messages
/// of plugins reach it too.
pub(super) fn printable(text: &str) -> String {
    let harmless = |letter: char| match letter {
        '\n' => '\n',
        '\u{61c}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}' => char::REPLACEMENT_CHARACTER,
        letter if letter.is_control() => char::REPLACEMENT_CHARACTER,
        letter => letter,
    };
    text.chars().map(harmless).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;

    #[test]
    fn a_host_that_no_certificate_could_have_is_none_to_ask() {
        for host in ["proxy.example.com", "127.0.0.1", "[::1]"] {
            assert!(asked_at(&format!("https://{host}:9180")).is_ok(), "{host}");
        }
        let refused = asked_at("https://no name:9180").unwrap_err();
        assert!(refused.starts_with("`no name` is no name"), "{refused}");
    }

    #[test]
    fn a_plugins_message_cannot_command_the_terminal() {
        let turned = "\u{61c}\u{202e}\u{2066}\u{200f}";
        let message = format!("a\u{1b}[2J\nb\r{turned}");
        let answer = serde_json::json!({"all": [{"message": message}]});
        let seen: Value = understood(answer.clone()).unwrap();
        let expected = format!("a\u{fffd}[2J\nb\u{fffd}{}", "\u{fffd}".repeat(4));
        assert_eq!(seen["all"][0]["message"], expected);
        let in_words = |answer: Value| answer["all"][0]["message"].to_string();
        for json in [false, true] {
            let text = OutputFormat { json }.of(answer.clone(), in_words).unwrap();
            assert!(!text.contains('\u{1b}'), "{text:?}");
            assert!(!text.contains(|c| turned.contains(c)), "{text:?}");
        }
    }
}
