//! `waypost import`: nginx's configuration, translated and accounted for.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use crate::config::system::ThisMachine;
use crate::import::{self, Imported};

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
    } = import::import(&arguments.file, target, &ThisMachine)?;
    let is_complete = !report.has_losses();
    if arguments.report {
        super::print(&report.full())?;
        return Ok(code(is_complete));
    }
    let mut err = std::io::stderr().lock();
    // A closed standard error is no reason to fail otherwise.
    let _ = write!(err, "{}", report.attention());
    let _ = writeln!(err, "{}", report.summary());
    if !is_complete && !arguments.force {
        let _ = writeln!(
            err,
            "nothing is written: `--force` writes what can be said, `--report` tells of every directive"
        );
        return Ok(ExitCode::FAILURE);
    }
    if !problems.is_empty() {
        let _ = writeln!(
            err,
            "what was made of it is not valid, which is a fault of `waypost import`:"
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

fn code(is_complete: bool) -> ExitCode {
    match is_complete {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
