//! `waypost plugin simulate`: policies side by side, under the same load.

mod arguments; // servers and what happens to them, as the command line has them
mod table; // on the terminal
mod page; // for a browser

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use serde_json::{Map, json};

use self::arguments::{HappensTo, ServerList};
use super::admin;
use super::progress::Progress;
use super::try_plugin;
use crate::file;
use crate::plugin::{Kind, Runtime};
use crate::testbed::{Arrivals, Happening, Happens, Scenario, Simulated, Subject};

/// Bytes of a log.
const LOG: u64 = 2 << 30;
/// How much of what the servers can do is asked of them, unless it is said.
const LOAD: f64 = 0.7;

#[derive(Debug, Args)]
pub(super) struct SimulateArguments {
    /// A stock plugin, or a file, such as `least_conn`, `./mine.wasm` or `hash={ key = "$uri" }`;
    /// filters and scorers are followed by `round_robin`
    #[arg(required = true, value_name = "NAME|FILE[=SETTINGS]")]
    policies: Vec<String>,
    /// Requests of an access log, in the format `combined` or `upstream`, in place of made-up ones
    #[arg(long, value_name = "FILE", conflicts_with_all = ["requests", "rate", "clients"])]
    trace: Option<PathBuf>,
    /// So many made-up requests
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    requests: u32,
    /// How many of them come in a second; without it, 70 % of what the servers can do
    #[arg(long, value_parser = arguments::positive)]
    rate: Option<f64>,
    /// Of so many clients, few of which ask for most
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    clients: u32,
    /// A number of servers `s1`, `s2` and so on, or names with weights: `s1*5,s2,s3*2`
    #[arg(long, default_value = "4")]
    servers: ServerList,
    /// Requests that a server works on at a time; others wait there
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    slots: u32,
    /// What a request takes on average
    #[arg(long, default_value = "20ms", value_parser = arguments::duration)]
    service: Duration,
    /// A server is down from a time on: `s2@30s`
    #[arg(long, value_name = "SERVER@TIME")]
    kill: Vec<HappensTo>,
    /// And up again: `s2@45s`
    #[arg(long, value_name = "SERVER@TIME")]
    back: Vec<HappensTo>,
    /// A server takes so many times as long: `s1=3x@60s`
    #[arg(long, value_name = "SERVER=FACTORx@TIME")]
    slow: Vec<HappensTo>,
    /// The same seed makes the same load
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
    /// Also write a page with plots
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

pub(super) fn simulate(arguments: &SimulateArguments) -> anyhow::Result<ExitCode> {
    try_plugin::log_to_stderr();
    let scenario = arguments.scenario()?;
    let runtime = try_plugin::runtime()?;
    let about = arguments.about(&scenario);
    if !arguments.json {
        super::print(&format!("{about}\n\n"))?;
    }
    let mut results: Vec<(String, Simulated)> = Vec::new();
    for policy in &arguments.policies {
        let subject = subject(policy, &runtime)?;
        let requests = scenario.arrivals.len() as u64;
        let progress = Progress::of(format!("simulating `{policy}`"), requests);
        let result = crate::testbed::simulate(&subject, &scenario, |done| progress.done(done))
            .map_err(|error| anyhow::anyhow!("`{policy}` does not choose: {error}"))?;
        results.push((policy.clone(), result));
    }
    match arguments.json {
        true => super::print(&in_json(&about, &results))?,
        false => super::print(&table::of(&results))?,
    };
    if let Some(file) = &arguments.html {
        fs::write(file, page::of(&about, &results))
            .with_context(|| format!("cannot write `{}`", file.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// All that the table and the page have.
fn in_json(about: &str, results: &[(String, Simulated)]) -> String {
    let policies: Vec<_> = results
        .iter()
        .map(|(policy, result)| json!({ "policy": policy, "result": result }))
        .collect();
    let told = json!({ "load": about, "policies": policies });
    admin::in_json(&told)
}

/// A policy as the command line names it.
fn subject(policy: &str, runtime: &Runtime) -> anyhow::Result<Subject> {
    let (what, settings) = policy.split_once('=').unwrap_or((policy, ""));
    let settings = settings.trim();
    let settings = settings.strip_prefix('{').unwrap_or(settings);
    let settings = settings.strip_suffix('}').unwrap_or(settings);
    let plugin = try_plugin::plugin(Path::new(what.trim()), runtime)?;
    let kind = plugin.kinds().find(|kind| *kind != Kind::Hook);
    let kind = kind.with_context(|| {
        format!("`{what}` is a hook, and chooses no server: name policies, filters or scorers")
    })?;
    Ok(Subject {
        picks: runtime
            .stock("round_robin")?
            .context("`round_robin` is a stock plugin")?,
        plugin,
        kind,
        settings: try_plugin::table(policy, settings)?,
        place: Map::new(),
    })
}

impl SimulateArguments {
    fn scenario(&self) -> anyhow::Result<Scenario> {
        let servers = self.servers.0.clone();
        let named = |happens: &HappensTo, option: &str, what| -> anyhow::Result<Happens> {
            let server = servers
                .iter()
                .position(|server| server.name == happens.server);
            let server = server.with_context(|| {
                let names: Vec<&str> = servers.iter().map(|server| server.name.as_str()).collect();
                let (name, names) = (&happens.server, names.join("`, `"));
                format!("`--{option}` names `{name}`, and the servers are `{names}`")
            })?;
            let at_us = happens.at.as_micros().try_into().unwrap_or(u64::MAX);
            Ok(Happens {
                at_us,
                server,
                what,
            })
        };
        let mut happenings = Vec::new();
        for happens in &self.kill {
            happenings.push(named(happens, "kill", Happening::Killed)?);
        }
        for happens in &self.back {
            happenings.push(named(happens, "back", Happening::Back)?);
        }
        for happens in &self.slow {
            let factor = happens
                .factor
                .with_context(|| format!("`--slow` has to be like `{}=3x@60s`", happens.server))?;
            happenings.push(named(happens, "slow", Happening::Slow(factor))?);
        }
        happenings.sort_by_key(|happens| happens.at_us);
        Ok(Scenario {
            arrivals: self.arrivals()?,
            servers,
            slots: self.slots as usize,
            service_us: self.service.as_secs_f64() * 1e6,
            happenings,
            seed: self.seed,
        })
    }

    fn arrivals(&self) -> anyhow::Result<Arrivals> {
        let Some(trace) = &self.trace else {
            let slots = self.servers.0.len() as f64 * f64::from(self.slots);
            let rate = self.rate;
            let rate = rate.unwrap_or(LOAD * slots / self.service.as_secs_f64());
            let (requests, clients) = (self.requests as usize, self.clients as usize);
            return Ok(Arrivals::made_up(requests, rate, clients, self.seed));
        };
        let shown = trace.display();
        let bytes =
            file::read_regular(trace, LOG).with_context(|| format!("cannot read `{shown}`"))?;
        let text = String::from_utf8_lossy(&bytes);
        let (arrivals, left_out) =
            Arrivals::of_log(&text).with_context(|| format!("`{shown}` is no such log"))?;
        if left_out > 0 {
            tracing::warn!("{left_out} lines of `{shown}` are no requests, and left out");
        }
        Ok(arrivals)
    }

    /// What is simulated, in a line.
    fn about(&self, scenario: &Scenario) -> String {
        let arrivals = &scenario.arrivals;
        format!(
            "{} requests in {:.1} s, {} servers that work on {} at a time for {:?} each, seed {}",
            arrivals.len(),
            arrivals.duration_us() as f64 / 1e6,
            scenario.servers.len(),
            self.slots,
            self.service,
            self.seed,
        )
    }
}
