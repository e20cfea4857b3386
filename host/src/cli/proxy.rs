//! `waypost proxy`: a proxy that the command line describes, without a file.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use crate::config::{self, toml_text as text};

/// Where problems are said to be: their lines are those that `--show` prints.
const COMMAND_LINE: &str = "command line";

#[derive(Debug, Args)]
pub(super) struct ProxyArguments {
    /// Where requests go, such as `10.0.0.1:3000`, `api:3000`, `https://api.example` or
    /// `unix:/run/app.sock`
    #[arg(required = true, value_name = "SERVER")]
    servers: Vec<String>,
    /// Where to listen
    #[arg(long, value_name = "ADDRESS", default_value = ":8080")]
    listen: Vec<String>,
    /// What chooses the server, such as `least_conn` or `hash={ key = "$uri" }`
    #[arg(long, value_name = "NAME[=SETTINGS]", default_value = "round_robin")]
    policy: String,
    /// A hook, such as `request_id` or `limit_req={ key = "$binary_remote_addr", rate = "10r/s" }`
    #[arg(long = "hook", value_name = "NAME[=SETTINGS]")]
    hooks: Vec<String>,
    /// Speak TLS with clients, with this certificate and its key
    #[arg(long, num_args = 2, value_names = ["CERTIFICATE", "KEY"])]
    tls: Option<Vec<String>>,
    /// Print the configuration that it stands for, and do not serve
    #[arg(long)]
    show: bool,
}

pub(super) fn proxy(arguments: &ProxyArguments) -> anyhow::Result<ExitCode> {
    let text = configuration(arguments);
    if arguments.show {
        return super::print(&text);
    }
    let file = Path::new(COMMAND_LINE);
    match config::parse(&text, file) {
        Ok(config) => crate::control_plane::run(config, file),
        Err(problems) => Ok(super::report(file, &problems)),
    }
}

/// The file that says the same.
fn configuration(arguments: &ProxyArguments) -> String {
    let mut out = String::new();
    for address in &arguments.listen {
        let _ = writeln!(out, "[[listen]]\naddress = {}", text(address));
        if let Some([certificate, key]) = arguments.tls.as_deref() {
            let (certificate, key) = (text(certificate), text(key));
            let _ = writeln!(out, "tls = {{ certificate = {certificate}, key = {key} }}");
        }
        out.push('\n');
    }
    let servers: Vec<String> = arguments.servers.iter().map(|each| text(each)).collect();
    let _ = writeln!(
        out,
        "[upstream.backend]\nservers = [{}]",
        servers.join(", ")
    );
    let _ = writeln!(out, "policy = {}\n", plugin(&arguments.policy));
    let _ = writeln!(out, "[[route]]\nproxy = \"backend\"");
    if !arguments.hooks.is_empty() {
        let hooks: Vec<String> = arguments.hooks.iter().map(|each| plugin(each)).collect();
        let _ = writeln!(out, "hooks = [{}]", hooks.join(", "));
    }
    out
}

/// A plugin by its name, or with the settings behind it: the inside of a table of TOML.
fn plugin(argument: &str) -> String {
    let Some((name, settings)) = argument.split_once('=') else {
        return text(argument);
    };
    let settings = settings.trim();
    let settings = settings.strip_prefix('{').unwrap_or(settings);
    let settings = settings.strip_suffix('}').unwrap_or(settings).trim();
    match settings.is_empty() {
        true => text(name.trim()),
        false => format!("{{ plugin = {}, {settings} }}", text(name.trim())),
    }
}
