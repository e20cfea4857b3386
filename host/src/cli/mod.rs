//! The commands. The only place with `anyhow`.

mod run;
mod proxy;
mod check;
mod show;
mod import;
mod schema;
mod version;
mod manual;
mod doctor;
mod demo;
mod admin;
mod plugin;
mod progress;
mod project;
mod try_plugin;
mod simulate;
mod compile_plugin;
mod token;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use crate::config::model::Config;
use crate::config::problem::Problem;

/// A reverse proxy and load balancer whose balancing decisions are WebAssembly components.
#[derive(Debug, Parser)]
#[command(
    name = "waypost",
    version,
    disable_help_subcommand = true,
    max_term_width = 100
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until told to stop (TERM and INT at once, QUIT when requests under way have ended)
    Run(ConfigFile),
    /// Serve without a file: pass requests on to these servers
    Proxy(proxy::ProxyArguments),
    /// Say whether a configuration is valid, or all that is wrong with it
    Check {
        #[command(flatten)]
        config: ConfigFile,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Print a configuration with every default filled in
    Show {
        #[command(flatten)]
        config: ConfigFile,
        /// Print what variables of the environment hold, which may be secret, instead of
        /// `${env:NAME}`
        #[arg(long)]
        expand_env: bool,
    },
    /// Write the configuration that nginx's stands for, and tell what became of each directive
    Import(import::ImportArguments),
    /// Make a plugin, build it and try it; see and change the plugins of a running process
    #[command(subcommand)]
    Plugin(plugin::PluginCommand),
    /// Make a token for a client of the admin API, and print what the configuration says of it
    Token(token::TokenArguments),
    /// Print the JSON Schema of the configuration, for editors
    Schema,
    /// Say what of a configuration this machine keeps from being as it says, and what to do about it
    Doctor {
        #[command(flatten)]
        config: ConfigFile,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Print what a shell completes this command line by
    Completions {
        /// For which shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Write a page of the manual for each command into a folder
    Man {
        /// The folder, such as /usr/local/share/man/man1
        folder: PathBuf,
    },
    /// Run three small origins, a proxy before them and a few requests through it
    Demo,
    #[command(flatten)]
    Admin(admin::AdminCommand),
    /// Say what would become of a request, without sending it
    Explain(admin::ExplainArguments),
    /// Print the version
    Version {
        /// Also of everything that was built in
        #[arg(short, long)]
        verbose: bool,
        /// As JSON, everything that was built in included
        #[arg(long)]
        json: bool,
    },
    /// Compile the plugin on the standard input; run by this program itself
    #[command(name = crate::plugin::COMMAND, hide = true)]
    CompilePlugin(compile_plugin::CompileBounds),
}

#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration file
    #[arg(
        short = 'c',
        long = "config",
        value_name = "FILE",
        default_value = "waypost.toml"
    )]
    file: PathBuf,
}

/// Runs the command line and says how it went: 0 well, 1 a problem that was reported, 2 wrong
/// usage.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(answer) => {
            // Help and version arrive here too, and are no errors; neither is a closed output.
            let _ = answer.print();
            return ExitCode::from(u8::try_from(answer.exit_code()).unwrap_or(2));
        }
    };
    let outcome = match arguments.command {
        Command::Run(config) => run::run(&config.file),
        Command::Proxy(arguments) => proxy::proxy(&arguments),
        Command::Check { config, json } => check::check(&config.file, json),
        Command::Show { config, expand_env } => show::show(&config.file, expand_env),
        Command::Import(arguments) => import::import(&arguments),
        Command::Plugin(command) => plugin::plugin(command),
        Command::CompilePlugin(bounds) => compile_plugin::compile_plugin(&bounds),
        Command::Token(arguments) => token::token(&arguments),
        Command::Schema => schema::schema(),
        Command::Doctor { config, json } => doctor::doctor(&config.file, json),
        Command::Completions { shell } => manual::completions(Arguments::command(), shell),
        Command::Man { folder } => manual::pages(Arguments::command(), &folder),
        Command::Demo => demo::demo(),
        Command::Admin(command) => admin::run(command),
        Command::Explain(arguments) => admin::explain(arguments),
        Command::Version { verbose, json } => version::version(verbose, json),
    };
    outcome.unwrap_or_else(|error| {
        let _ = writeln!(std::io::stderr(), "error: {error:#}");
        ExitCode::FAILURE
    })
}

/// Reads a configuration, or reports what is wrong with it.
fn load(file: &Path) -> Result<Config, ExitCode> {
    crate::control_plane::load(file).map_err(|problems| report(file, &problems))
}

/// Prints problems to the standard error; the exit code that goes with them.
fn report(file: &Path, problems: &[Problem]) -> ExitCode {
    let mut err = std::io::stderr().lock();
    for problem in problems {
        let _ = writeln!(err, "{problem}\n");
    }
    let number = match problems.len() {
        1 => "1 problem".to_owned(),
        number => format!("{number} problems"),
    };
    let _ = writeln!(err, "configuration {} has {number}", file.display());
    ExitCode::FAILURE
}

/// Prints to the standard output. A reader that has gone, as `head` does, is no error.
fn print(text: &str) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::from(error).context("cannot print"))
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// The same for a text with colours, which are for a terminal alone, if `NO_COLOR` is not set.
fn print_painted(text: &str) -> anyhow::Result<ExitCode> {
    match anstream::AutoStream::choice(&std::io::stdout()) {
        anstream::ColorChoice::Never => print(&anstream::adapter::strip_str(text).to_string()),
        _ => print(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Arguments::command().debug_assert();
    }
}
