//! `error_log`, and the paths of all logs.

use super::Complaint;
use crate::config::declared::ERROR_LOG;
use crate::config::model::{ErrorLog, LogPath};
use crate::config::problem::Place;
use crate::config::section::Section;
use crate::config::tree::{Node, Value};

/// The key, which messages name.
const ERROR: &str = "error_log";

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

/// Whether it says `false`.
pub(super) fn is_off(node: &Node) -> bool {
    match &node.value {
        Value::Boolean(on) => !on,
        Value::Environment(text) => text == "false",
        _ => false,
    }
}

/// `log`: the key that the table is the value of.
pub(super) fn path_of(log: &str, table: &Section<'_>) -> LogPath {
    match table.text_given("path") {
        Some((text, node)) => path(log, text, node, table),
        None if table.text("path") == "stderr" => LogPath::Stderr,
        None => LogPath::Stdout,
    }
}

/// The path of a log that has no table. What follows it in nginx has keys here; a path that does
/// end in such words can be given in a table.
pub(super) fn path_alone(log: &str, text: &str, node: &Node, section: &Section<'_>) -> LogPath {
    if let Some((file, word)) = followed_by_word(text) {
        let complaint = Complaint::new(format!("`{text}` is more than a path"));
        let more = match (log, word) {
            (ERROR, "error" | "warn" | "info" | "debug") => format!("level = \"{word}\""),
            (ERROR, word) => format!("level = \"{}\"", level_of_nginx(word).unwrap_or("error")),
            (_, "combined" | "upstream" | "json") => format!("format = \"{word}\""),
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

/// The level that has the lines of one that nginx has besides ours.
fn level_of_nginx(word: &str) -> Option<&'static str> {
    match word {
        "notice" => Some("info"),
        "crit" | "alert" | "emerg" => Some("error"),
        _ => None,
    }
}

fn level(table: &Section<'_>) -> tracing::Level {
    if let Some((word, node)) = table.text_given("level")
        && let Some(ours) = level_of_nginx(word)
    {
        let complaint = Complaint::new(format!("`{word}` is a level of nginx"));
        let hint = format!("write `level = \"{ours}\"`");
        table.problems.add(complaint.hint(hint).at(&node.place));
        return tracing::Level::INFO;
    }
    match table.word("level") {
        "error" => tracing::Level::ERROR,
        "warn" => tracing::Level::WARN,
        "debug" => tracing::Level::DEBUG,
        _ => tracing::Level::INFO,
    }
}
