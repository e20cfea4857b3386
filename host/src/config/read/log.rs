//! `access_log` and `error_log`.

use super::{Complaint, beside, noted, template};
use crate::config::declared::{ACCESS_LOG, ERROR_LOG, STREAM_LOG, STREAM_LOG_FORMAT};
use crate::config::model::{AccessLog, ErrorLog, LogFormat, LogPath};
use crate::config::problem::suggestion;
use crate::config::section::Section;
use crate::config::tree::{Node, Value};
use crate::http::variable::{Phase, Scope};

/// `None` where the section does not say; `Some(None)` where it says `false`.
pub(super) fn access_log(section: &Section<'_>) -> Option<Option<AccessLog>> {
    let node = section.get("access_log")?;
    match &node.value {
        Value::Boolean(false) => Some(None),
        Value::Text(text) | Value::Environment(text) => Some(Some(AccessLog {
            path: path(text, node, section),
            format: LogFormat::Combined,
        })),
        Value::Table(_) => {
            let table = Section::open(node, &ACCESS_LOG, section.problems)?;
            Some(Some(AccessLog {
                path: path_of(&table),
                format: format(&table),
            }))
        }
        _ => {
            section.wrong_type(node, "access_log");
            None
        }
    }
}

/// nginx's format, on the standard output: a proxy that is being tried out shows what it does, and
/// writes no file unasked.
pub(super) fn default_access_log() -> AccessLog {
    AccessLog {
        path: LogPath::Stdout,
        format: LogFormat::Combined,
    }
}

/// As [`access_log`], for a stream: off unless the section says where.
pub(super) fn stream_log(section: &Section<'_>) -> Option<AccessLog> {
    let node = section.get("access_log")?;
    match &node.value {
        Value::Boolean(false) => None,
        Value::Text(text) | Value::Environment(text) => Some(AccessLog {
            path: path(text, node, section),
            format: stream_format(STREAM_LOG_FORMAT, node, section),
        }),
        Value::Table(_) => {
            let table = Section::open(node, &STREAM_LOG, section.problems)?;
            let given = table.text_given("format");
            let (text, node) = given.unwrap_or((STREAM_LOG_FORMAT, node));
            Some(AccessLog {
                path: path_of(&table),
                format: stream_format(text, node, &table),
            })
        }
        _ => {
            section.wrong_type(node, "access_log");
            None
        }
    }
}

fn stream_format(text: &str, node: &Node, section: &Section<'_>) -> LogFormat {
    let format = match text {
        "json" => Ok(LogFormat::Json(Scope::Session)),
        text if text.contains('$') => template(text, Phase::Session).map(LogFormat::Template),
        _ => Err(Complaint::new(format!("unknown log format `{text}`")).hint(
            "a stream's format is `json`, or its own with `$variables`: `\"$remote_addr $session_time\"`",
        )),
    };
    noted(format, node, section.problems).unwrap_or(LogFormat::Combined)
}

pub(super) fn error_log(section: &Section<'_>) -> ErrorLog {
    let default = ErrorLog {
        path: LogPath::Stderr,
        level: tracing::Level::INFO,
    };
    let Some(node) = section.get("error_log") else {
        return default;
    };
    match &node.value {
        Value::Text(text) | Value::Environment(text) => ErrorLog {
            path: path(text, node, section),
            ..default
        },
        Value::Table(_) => match Section::open(node, &ERROR_LOG, section.problems) {
            Some(table) => ErrorLog {
                path: path_of(&table),
                level: level(&table),
            },
            None => default,
        },
        _ => {
            section.wrong_type(node, "error_log");
            default
        }
    }
}

fn path_of(table: &Section<'_>) -> LogPath {
    match table.text_given("path") {
        Some((text, node)) => path(text, node, table),
        None if table.text("path") == "stderr" => LogPath::Stderr,
        None => LogPath::Stdout,
    }
}

fn path(text: &str, node: &Node, section: &Section<'_>) -> LogPath {
    match text {
        "stdout" => LogPath::Stdout,
        "stderr" => LogPath::Stderr,
        "" => {
            let complaint = Complaint::new("the log's path is empty");
            section.problems.add(
                complaint
                    .hint("name a file, `stdout` or `stderr`")
                    .at(&node.place),
            );
            LogPath::Stderr
        }
        path => LogPath::File(beside(&node.place, path)),
    }
}

fn format(table: &Section<'_>) -> LogFormat {
    let Some((text, node)) = table.text_given("format") else {
        return LogFormat::Combined;
    };
    let format = match text {
        "combined" => Ok(LogFormat::Combined),
        "json" => Ok(LogFormat::Json(Scope::Request)),
        text if text.contains('$') => template(text, Phase::Log).map(LogFormat::Template),
        _ => Err(
            Complaint::new(format!("unknown access log format `{text}`")).hint(suggestion(
                text,
                ["combined", "json"],
                "formats, beside your own with `$variables`",
            )),
        ),
    };
    noted(format, node, table.problems).unwrap_or(LogFormat::Combined)
}

fn level(table: &Section<'_>) -> tracing::Level {
    match table.word("level") {
        "error" => tracing::Level::ERROR,
        "warn" => tracing::Level::WARN,
        "debug" => tracing::Level::DEBUG,
        _ => tracing::Level::INFO,
    }
}
