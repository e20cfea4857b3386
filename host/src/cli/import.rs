//! `waypost import`: nginx's configuration, translated and accounted for.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde_json::json;

use super::admin;
use crate::config;
use crate::config::model::Config;
use crate::config::problem::Problem;
use crate::config::system::{System, ThisMachine};
use crate::import::{self, Entry, Imported, ReadError, Report};

/// What a file is called that is printed.
const PRINTED: &str = "waypost.toml";

#[derive(Debug, Args)]
pub(super) struct ImportArguments {
    /// nginx's configuration, or a part of it such as a file of `sites-available`
    file: PathBuf,
    /// Where to write, instead of the standard output
    #[arg(short, long, value_name = "OUT")]
    out: Option<PathBuf>,
    /// Print what becomes of every directive instead
    #[arg(long)]
    report: bool,
    /// Print the report as JSON
    #[arg(long, requires = "report")]
    json: bool,
    /// Read the file as if it had no directive of these names, such as `proxy_cache`: the loss is
    /// agreed to
    #[arg(long, value_name = "DIRECTIVE", value_delimiter = ',')]
    without: Vec<String>,
    /// Write what can be said, with the rest as comments at its place
    #[arg(long)]
    force: bool,
}

pub(super) fn import(arguments: &ImportArguments) -> anyhow::Result<ExitCode> {
    let printed = Path::new(PRINTED);
    let target = arguments.out.as_deref().unwrap_or(printed);
    let Imported {
        text,
        report,
        problems,
    } = import::import_without(&arguments.without, &arguments.file, target, &ThisMachine)?;
    let is_complete = !report.has_losses();
    if arguments.report {
        match arguments.json {
            true => super::print(&in_json(&report))?,
            false => super::print(&report.full())?,
        };
        return Ok(code(is_complete));
    }
    let mut err = std::io::stderr().lock();
    // A closed standard error is no reason to fail otherwise.
    let _ = write!(err, "{}", report.attention());
    let _ = writeln!(err, "{}", report.summary());
    if !is_complete && !arguments.force {
        let _ = writeln!(
            err,
            "nothing is written: `--force` writes what can be said, `--without DIRECTIVE` goes on without \
             one, `--report` tells of every directive"
        );
        return Ok(ExitCode::FAILURE);
    }
    if !problems.is_empty() {
        let _ = writeln!(
            err,
            "what was made of it is not valid, which is a fault of this configuration of nginx, or of \
             `waypost import`:"
        );
        drop(err);
        return Ok(super::report(target, &problems));
    }
    drop(err);
    match &arguments.out {
        Some(out) => {
            std::fs::write(out, text).with_context(|| format!("cannot write {}", out.display()))?;
        }
        None => {
            super::print(&text)?;
        }
    }
    Ok(code(is_complete))
}

/// A file of nginx's, and what was made of it.
pub(super) struct Translated {
    pub(super) report: Report,
    pub(super) config: Result<Config, Vec<Problem>>,
}

/// The configuration of a file that is nginx's, translated; none for a file that is not.
pub(super) fn translated(file: &Path) -> Option<Result<Translated, ReadError>> {
    // A pipe can be read once, and is whatever its reader takes it for.
    if !std::fs::metadata(file).is_ok_and(|metadata| metadata.is_file()) {
        return None;
    }
    let text = ThisMachine.read(file).ok()?;
    if !import::is_nginx(file, &text) {
        return None;
    }
    let imported = import::import(file, file, &ThisMachine);
    Some(imported.map(|Imported { text, report, .. }| Translated {
        report,
        config: config::parse(&text, file),
    }))
}

/// The same, where what cannot be said is reported, and keeps it from being served.
pub(super) fn configuration(file: &Path) -> Option<Result<Config, ExitCode>> {
    let translated = translated(file)?;
    let mut err = std::io::stderr().lock();
    Some(match translated {
        Err(error) => {
            let _ = writeln!(err, "error: {error}");
            Err(ExitCode::FAILURE)
        }
        Ok(Translated { report, config }) => {
            let _ = write!(err, "{}", report.attention());
            let _ = writeln!(err, "{}", report.summary());
            drop(err);
            match config {
                _ if report.has_losses() => Err(ExitCode::FAILURE),
                Ok(config) => Ok(config),
                Err(problems) => Err(super::report(file, &problems)),
            }
        }
    })
}

fn in_json(report: &Report) -> String {
    let told = |entry: &Entry| {
        json!({
            "file": &*entry.line.file,
            "line": entry.line.line,
            "directive": entry.directive,
            "outcome": entry.outcome.title(),
            "note": entry.note,
        })
    };
    let directives: Vec<_> = report.entries.iter().map(told).collect();
    let told = json!({ "directives": directives, "differs": report.general });
    admin::in_json(&told)
}

fn code(is_complete: bool) -> ExitCode {
    match is_complete {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
