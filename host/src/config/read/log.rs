//! `access_log` and `error_log`.

use super::{Complaint, noted, template};
use crate::config::declared::{ACCESS_LOG, ERROR_LOG, STREAM_LOG, STREAM_LOG_FORMAT};
use crate::config::model::{AccessLog, ErrorLog, LogFormat, LogPath};
use crate::config::problem::{Place, suggestion};
use crate::config::section::Section;
use crate::config::tree::{Node, Value};
use crate::http::variable::{Names, Phase, Scope};

/// The keys, which messages name.
const ACCESS: &str = "access_log";
const ERROR: &str = "error_log";

/// `None` where the section does not say; `Some(None)` where it says `false`.
pub(super) fn access_log(section: &Section<'_>, names: Names<'_>) -> Option<Option<AccessLog>> {
    let node = section.get(ACCESS)?;
    match &node.value {
        _ if is_off(node) => Some(None),
        Value::Text(text) | Value::Environment(text) => Some(Some(AccessLog {
            path: path_alone(ACCESS, text, node, section),
            format: LogFormat::Combined,
            place: node.place.clone(),
        })),
        Value::Table(_) => {
            let table = Section::open(node, &ACCESS_LOG, section.problems)?;
            Some(Some(AccessLog {
                path: path_of(ACCESS, &table),
                format: format(&table, names),
                place: node.place.clone(),
            }))
        }
        _ => {
            section.wrong_type(node, ACCESS);
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
        place: Place::default(),
    }
}

/// As [`access_log`], for a stream: off unless the section says where.
pub(super) fn stream_log(section: &Section<'_>, names: Names<'_>) -> Option<AccessLog> {
    let node = section.get(ACCESS)?;
    match &node.value {
        _ if is_off(node) => None,
        Value::Text(text) | Value::Environment(text) => Some(AccessLog {
            path: path_alone(ACCESS, text, node, section),
            format: stream_format(STREAM_LOG_FORMAT, node, section, names),
            place: node.place.clone(),
        }),
        Value::Table(_) => {
            let table = Section::open(node, &STREAM_LOG, section.problems)?;
            let given = table.text_given("format");
            let (text, format) = given.unwrap_or((STREAM_LOG_FORMAT, node));
            Some(AccessLog {
                path: path_of(ACCESS, &table),
                format: stream_format(text, format, &table, names),
                place: node.place.clone(),
            })
        }
        _ => {
            section.wrong_type(node, ACCESS);
            None
        }
    }
}

fn stream_format(text: &str, node: &Node, section: &Section<'_>, names: Names<'_>) -> LogFormat {
    let format = match text {
        "json" => Ok(LogFormat::Json(Scope::Session)),
        text if text.contains('$') => template(text, Phase::Session, names).map(LogFormat::Template),
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
        place: Place::default(),
    };
    let Some(node) = section.get(ERROR) else {
        return default;
    };
    match &node.value {
        Value::Text(text) | Value::Environment(text) => ErrorLog {
            path: path_alone(ERROR, text, node, section),
            place: node.place.clone(),
            ..default
        },
        Value::Table(_) => match Section::open(node, &ERROR_LOG, section.problems) {
            Some(table) => ErrorLog {
                path: path_of(ERROR, &table),
                level: level(&table),
                place: node.place.clone(),
            },
            None => default,
        },
        _ => {
            section.wrong_type(node, ERROR);
            default
        }
    }
}

fn is_off(node: &Node) -> bool {
    match &node.value {
        Value::Boolean(on) => !on,
        Value::Environment(text) => text == "false",
        _ => false,
    }
}

/// `log`: the key that the table is the value of.
fn path_of(log: &str, table: &Section<'_>) -> LogPath {
    match table.text_given("path") {
        Some((text, node)) => path(log, text, node, table),
        None if table.text("path") == "stderr" => LogPath::Stderr,
        None => LogPath::Stdout,
    }
}

/// The path of a log that has no table. What follows it in nginx has keys here; a path that does
/// end in such words can be given in a table.
fn path_alone(log: &str, text: &str, node: &Node, section: &Section<'_>) -> LogPath {
    if let Some((file, word)) = followed_by_word(text) {
        let complaint = Complaint::new(format!("`{text}` is more than a path"));
        let more = match (log, word) {
            (ERROR, "error" | "warn" | "info" | "debug") => format!("level = \"{word}\""),
            (ERROR, "notice") => "level = \"info\"".to_owned(),
            (ERROR, _) => "level = \"error\"".to_owned(),
            (_, "combined" | "json") => format!("format = \"{word}\""),
            _ => "format = \"$remote_addr $status\"".to_owned(),
        };
        let hint = format!("write `{log} = {{ path = \"{file}\", {more} }}`");
        section.problems.add(complaint.hint(hint).at(&node.place));
        return LogPath::Stderr;
    }
    path(log, text, node, section)
}

/// nginx's `access.log main buffer=32k`: the path, and the word after it.
fn followed_by_word(text: &str) -> Option<(&str, &str)> {
    let (_, last) = text.rsplit_once(' ')?;
    let mut words = text.split_whitespace();
    let (file, word) = (words.next()?, words.next()?);
    (!last.contains(['/', '.'])).then_some((file, word))
}

fn path(log: &str, text: &str, node: &Node, section: &Section<'_>) -> LogPath {
    let complaint = match text {
        "stdout" => return LogPath::Stdout,
        "stderr" => return LogPath::Stderr,
        "" => Complaint::new("the log's path is empty").hint("name a file, `stdout` or `stderr`"),
        "off" | "false" | "none" => {
            let complaint = Complaint::new(format!("`{text}` is not the path of a log"));
            complaint.hint(match log {
                ERROR => "errors are always logged; `{ level = \"error\" }` logs the fewest lines",
                _ => "for no log write `access_log = false`",
            })
        }
        text if text.starts_with("syslog:") || text.starts_with("memory:") => {
            let complaint = Complaint::new(format!("`{text}`: only files are logged to"));
            complaint.hint("write `stderr` or `stdout`, which systemd or a container hands on")
        }
        path => return LogPath::File(node.place.beside(path)),
    };
    section.problems.add(complaint.at(&node.place));
    LogPath::Stderr
}

fn format(table: &Section<'_>, names: Names<'_>) -> LogFormat {
    let Some((text, node)) = table.text_given("format") else {
        return LogFormat::Combined;
    };
    let format = match text {
        "combined" => Ok(LogFormat::Combined),
        "json" => Ok(LogFormat::Json(Scope::Request)),
        text if text.contains('$') => template(text, Phase::Log, names).map(LogFormat::Template),
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
