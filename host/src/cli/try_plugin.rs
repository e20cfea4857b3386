//! `waypost plugin test` and `plugin bench`: an author tries a plugin before anybody sees it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};

use super::admin;
use super::progress::Progress;
use crate::config::{self, model::PluginLimits};
use crate::plugin::{
    Compiler, Kind, Plugin, PluginOptions, Runtime, Untrusted, default_cache_directory,
};
use crate::testbed::{Subject, Verdict, bench, conformance};

#[derive(Debug, Args)]
pub(super) struct Tried {
    /// A component, or a core module that carries its component type; or the name of a stock plugin
    #[arg(value_name = "FILE|NAME")]
    what: PathBuf,
    /// Its settings as TOML: `--settings 'key = "$request_uri", consistent = true'`
    #[arg(long, value_name = "TOML", default_value = "")]
    settings: String,
    /// What a place says that uses a hook, as TOML: `--place 'burst = 20, nodelay = true'`
    #[arg(long, value_name = "TOML", default_value = "")]
    place: String,
    /// As what it is tried, where it is of several kinds; else as the first one of them
    #[arg(long)]
    kind: Option<KindArgument>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum KindArgument {
    Policy,
    Filter,
    Scorer,
    Hook,
}

impl From<KindArgument> for Kind {
    fn from(kind: KindArgument) -> Kind {
        match kind {
            KindArgument::Policy => Kind::Policy,
            KindArgument::Filter => Kind::Filter,
            KindArgument::Scorer => Kind::Scorer,
            KindArgument::Hook => Kind::Hook,
        }
    }
}

impl Tried {
    fn subject(&self, runtime: &Runtime) -> anyhow::Result<Subject> {
        let plugin = plugin(&self.what, runtime)?;
        let first = plugin.kinds().next();
        let kind = self.kind.map(Kind::from).or(first);
        let kind = kind.with_context(|| match plugin.is_handler() {
            true => {
                "it answers requests itself (`wasi:http/proxy`), and is tried by one: name it in a route, \
                 `component = \"FILE\"`"
            }
            false => "it is a plugin of no kind",
        })?;
        Ok(Subject {
            picks: picks(runtime)?,
            plugin,
            kind,
            settings: table("--settings", &self.settings)?,
            place: table("--place", &self.place)?,
        })
    }
}

/// What picks behind a filter or a scorer that is tried.
pub(super) fn picks(runtime: &Runtime) -> anyhow::Result<Plugin> {
    let round_robin = runtime.stock("round_robin")?;
    round_robin.context("`round_robin` is a stock plugin")
}

/// A file, or a stock plugin by its name: with the bounds of an entry that says none, everything
/// granted, and no quarantine.
pub(super) fn plugin(what: &Path, runtime: &Runtime) -> anyhow::Result<Plugin> {
    let name = what.file_stem().unwrap_or_default().to_string_lossy();
    let name = Untrusted::name(name).to_string();
    if what.extension().is_none()
        && !what.exists()
        && let Some(plugin) = runtime.stock(&name)?
    {
        return Ok(plugin);
    }
    let options = PluginOptions {
        limits: PluginLimits::default(),
        ..PluginOptions::stock()
    };
    let bytes = Runtime::read(&name, what, &options.compile)?;
    let _compiling = Progress::of(format!("compiling `{name}` ({} KiB)", bytes.len() >> 10), 0);
    Ok(runtime.load(&name, 1, &bytes, &options)?)
}

/// What an argument says, as within the braces of an inline table.
pub(super) fn table(argument: &str, text: &str) -> anyhow::Result<Map<String, Value>> {
    config::inline_table(text).map_err(|error| {
        anyhow::anyhow!("`{argument}` has to be like `key = \"$host\", size = 3`: {error}")
    })
}

/// What it compiles is kept where a process without a configuration keeps it.
pub(super) fn runtime() -> anyhow::Result<Arc<Runtime>> {
    let compiler = Compiler::child_process(default_cache_directory())?;
    Ok(Runtime::new(compiler)?)
}

/// Whether it does what every plugin has to: exit code 1 if it does not.
pub(super) fn test(tried: &Tried, seed: u64, as_json: bool) -> anyhow::Result<ExitCode> {
    log_to_stderr();
    let runtime = runtime()?;
    let subject = tried.subject(&runtime)?;
    let (name, kind) = (subject.plugin.name(), subject.kind.name());
    let hash = subject.plugin.hash().to_string();
    if !as_json {
        super::print(&format!("{kind} `{name}`, sha256 {hash}, seed {seed}\n"))?;
    }
    let (mut counts, mut written) = ([0; 3], Ok(ExitCode::SUCCESS));
    let mut findings = Vec::new();
    let progress = Progress::of(format!("trying `{name}`"), 0);
    conformance(&subject, seed, |finding| {
        let (word, place) = match finding.verdict {
            Verdict::Holds => ("holds", 0),
            Verdict::Note => ("note ", 1),
            Verdict::Fails => ("FAILS", 2),
        };
        counts[place] += 1;
        if as_json {
            findings.push(json!({
                "requirement": finding.requirement,
                "verdict": word.trim_end().to_lowercase(),
                "seen": finding.seen,
            }));
            return;
        }
        let line = format!("{word}  {}: {}\n", finding.requirement, finding.seen);
        if written.is_ok() {
            written = progress.beside(|| super::print(&line));
        }
    });
    drop(progress);
    written?;
    let [hold, notes, fail] = counts;
    let text = match as_json {
        true => admin::in_json(&json!({
            "name": name,
            "kind": kind,
            "sha256": hash,
            "seed": seed,
            "findings": findings,
        })),
        false => format!("{hold} hold, {notes} to be looked at, {fail} fail\n"),
    };
    super::print(&text)?;
    Ok(match fail {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Servers that a policy is measured over.
const FLEETS: [usize; 3] = [3, 32, 1000];

/// What its calls cost, beside `round_robin`.
pub(super) fn measure(tried: &Tried, as_json: bool) -> anyhow::Result<ExitCode> {
    log_to_stderr();
    let runtime = runtime()?;
    let subject = tried.subject(&runtime)?;
    let beside = Subject {
        plugin: subject.picks.clone(),
        picks: subject.picks.clone(),
        kind: Kind::Policy,
        settings: Map::new(),
        place: Map::new(),
    };
    if !as_json {
        super::print("PLUGIN            SERVERS  NS PER REQUEST  INSTANCE IN  MEMORY\n")?;
    }
    let mut told = Vec::new();
    let mut row = |subject: &Subject, servers: Option<usize>| -> anyhow::Result<()> {
        let progress = Progress::of(format!("measuring `{}`", subject.plugin.name()), 0);
        let measured = bench(subject, servers)?;
        drop(progress);
        let over = measured
            .servers
            .map_or("-".to_owned(), |servers| servers.to_string());
        let line = format!(
            "{:<16}  {over:>7}  {:>14.0}  {:>8.0} us  {:>4} KiB\n",
            subject.plugin.name(),
            measured.nanoseconds,
            measured.instance.as_secs_f64() * 1e6,
            measured.memory >> 10,
        );
        match as_json {
            true => told.push(json!({
                "plugin": subject.plugin.name(),
                "servers": measured.servers,
                "ns_per_request": measured.nanoseconds.round(),
                "instance_ns": measured.instance.as_nanos(),
                "memory_bytes": measured.memory,
            })),
            false => {
                super::print(&line)?;
            }
        }
        match measured.faults {
            Some(faults) => anyhow::bail!(
                "`{}` failed while it was measured ({faults}), so these are no figures of its work: \
                 `waypost plugin test` says what it fails by",
                subject.plugin.name()
            ),
            None => Ok(()),
        }
    };
    if subject.kind == Kind::Hook {
        row(&subject, None)?;
        row(&beside, Some(FLEETS[0]))?;
    } else {
        for servers in FLEETS {
            row(&subject, Some(servers))?;
            row(&beside, Some(servers))?;
        }
    }
    match as_json {
        true => super::print(&admin::in_json(&json!({ "measured": told }))),
        false => Ok(ExitCode::SUCCESS),
    }
}

/// What the plugin says, and what it does instead of answering.
pub(super) fn log_to_stderr() {
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .without_time()
        // A trial takes all the time that there is.
        .with_filter(filter_fn(|of| !of.target().ends_with("::budget")))
        .with_filter(LevelFilter::WARN);
    // Another one is there only in tests.
    let _ = tracing::subscriber::set_global_default(Registry::default().with(lines));
}
