//! `waypost check`: all problems of a configuration, those that its policies find in their
//! settings included.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use serde::Serialize;

use super::admin;
use super::import::{self, Translated};
use crate::control_plane::Checked;
use crate::import::{Entry, Outcome};

pub(super) fn check(file: &Path, as_json: bool) -> anyhow::Result<ExitCode> {
    if as_json {
        return in_json(file);
    }
    let Checked { problems, warnings } = match import::configuration(file) {
        Some(Ok(config)) => crate::control_plane::check_config(&config, file),
        Some(Err(reported)) => return Ok(reported),
        None => crate::control_plane::check(file),
    };
    let mut err = std::io::stderr().lock();
    for warning in &warnings {
        // A closed standard error is no reason to fail otherwise.
        let _ = writeln!(err, "{}\n", warning.as_warning());
    }
    drop(err);
    if problems.is_empty() {
        super::print(&format!("configuration {} is valid\n", file.display()))
    } else {
        Ok(super::report(file, &problems))
    }
}

/// What `--json` prints.
#[derive(Serialize)]
struct Told {
    file: String,
    valid: bool,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

/// What is not known of its place is left out.
#[derive(Serialize)]
struct Problem {
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl From<&crate::config::problem::Problem> for Problem {
    fn from(problem: &crate::config::problem::Problem) -> Problem {
        let place = &problem.place;
        let known = |number: u32| Some(number).filter(|number| *number > 0);
        Problem {
            file: place.file.to_string(),
            line: known(place.line),
            column: known(place.column),
            key: Some(place.key.clone()).filter(|key| !key.is_empty()),
            message: problem.message.clone(),
            hint: problem.hint.clone(),
        }
    }
}

/// A directive of nginx's that cannot be said, or that means something else here.
impl From<&Entry> for Problem {
    fn from(entry: &Entry) -> Problem {
        Problem {
            file: entry.line.file.to_string(),
            line: Some(entry.line.line),
            column: None,
            key: Some(entry.directive.clone()),
            message: entry.outcome.title().to_owned(),
            hint: Some(entry.note.clone()).filter(|note| !note.is_empty()),
        }
    }
}

fn in_json(file: &Path) -> anyhow::Result<ExitCode> {
    let listed = |problems: &[crate::config::problem::Problem]| -> Vec<Problem> {
        problems.iter().map(Problem::from).collect()
    };
    let (problems, warnings) = match import::translated(file) {
        None => {
            let Checked { problems, warnings } = crate::control_plane::check(file);
            (listed(&problems), listed(&warnings))
        }
        Some(translated) => {
            let Translated { report, config } = translated?;
            let of = |outcome| -> Vec<Problem> {
                let entries = report.entries.iter();
                let entries = entries.filter(|entry| entry.outcome == outcome);
                entries.map(Problem::from).collect()
            };
            let (mut problems, mut warnings) = (of(Outcome::Lost), of(Outcome::Changed));
            match config {
                _ if !problems.is_empty() => {}
                Err(found) => problems = listed(&found),
                Ok(config) => {
                    let checked = crate::control_plane::check_config(&config, file);
                    problems = listed(&checked.problems);
                    warnings.extend(listed(&checked.warnings));
                }
            }
            (problems, warnings)
        }
    };
    let told = Told {
        file: file.display().to_string(),
        valid: problems.is_empty(),
        problems,
        warnings,
    };
    let text = serde_json::to_string_pretty(&told)?;
    super::print(&admin::printable(&format!("{text}\n")))?;
    Ok(match told.valid {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
