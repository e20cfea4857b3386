//! `access_log`: one log or several, of listeners, routes and streams.

use super::condition::{self, Asked};
use super::log::{is_off, path_alone, path_of};
use super::{Complaint, noted, part, pattern, statuses_of, template};
use crate::config::declared::{
    ACCESS_LOG, LOG_WHEN, STREAM_LOG, STREAM_LOG_FORMAT, STREAM_LOG_WHEN,
};
use crate::config::key::Table;
use crate::config::model::{
    AccessLog, Escape, LogConditions, LogField, LogFormat, LogPath, PathPattern,
};
use crate::config::problem::{Place, Problem, suggestion};
use crate::config::section::Section;
use crate::config::tree::{Node, Value};
use crate::http::definition::{Share, Shares};
use crate::http::variable::{Names, Phase, Scope};

/// The key, which messages name.
pub(super) const ACCESS: &str = "access_log";

/// `None` where the section does not say; an empty list where it says `false`.
pub(super) fn access_logs(section: &Section<'_>, names: Names<'_>) -> Option<Vec<AccessLog>> {
    of_scope(section, Scope::Request, names)
}

/// As [`access_logs`], for a stream: off unless the section says where.
pub(super) fn stream_logs(section: &Section<'_>, names: Names<'_>) -> Vec<AccessLog> {
    of_scope(section, Scope::Session, names).unwrap_or_default()
}

/// nginx's format, on the standard output: a proxy that is being tried out shows what it does, and
/// writes no file unasked.
pub(super) fn default_access_log(section: &Section<'_>) -> AccessLog {
    let empty = Section::of(&[], section.place, &ACCESS_LOG, section.problems);
    AccessLog {
        format: LogFormat::Combined,
        place: Place::default(),
        ..of_table(&empty, LogPath::Stdout, Scope::Request, Names::default())
    }
}

fn of_scope(section: &Section<'_>, scope: Scope, names: Names<'_>) -> Option<Vec<AccessLog>> {
    let node = section.get(ACCESS)?;
    if is_off(node) {
        return Some(Vec::new());
    }
    let Value::Array(items) = &node.value else {
        return one(section, node, scope, names).map(|log| vec![log]);
    };
    if items.is_empty() {
        let problem = Problem::new(&node.place, "`access_log` is an empty list");
        let hint = "for no log write `access_log = false`";
        section.problems.add(problem.hint(hint));
    }
    let off = items.iter().find(|item| is_off(item));
    if let Some(off) = off {
        let problem = Problem::new(&off.place, "`false` in a list of logs");
        let hint = "for no log write `access_log = false` alone; else leave it out of the list";
        section.problems.add(problem.hint(hint));
    }
    let logs = items.iter().filter(|item| !is_off(item));
    Some(
        logs.filter_map(|item| one(section, item, scope, names))
            .collect(),
    )
}

fn one(section: &Section<'_>, node: &Node, scope: Scope, names: Names<'_>) -> Option<AccessLog> {
    let declared: &'static Table = match scope {
        Scope::Request => &ACCESS_LOG,
        Scope::Session => &STREAM_LOG,
    };
    let table = match &node.value {
        Value::Text(_) | Value::Environment(_) => {
            Section::of(&[], &node.place, declared, section.problems)
        }
        Value::Table(_) => Section::open(node, declared, section.problems)?,
        _ => {
            section.wrong_type(node, ACCESS);
            return None;
        }
    };
    let path = match node.as_text() {
        Some(text) => path_alone(ACCESS, text, node, section),
        None => path_of(ACCESS, &table),
    };
    Some(AccessLog {
        place: node.place.clone(),
        ..of_table(&table, path, scope, names)
    })
}

fn of_table(table: &Section<'_>, path: LogPath, scope: Scope, names: Names<'_>) -> AccessLog {
    AccessLog {
        path,
        format: format(table, scope, names),
        when: when(table, scope, names),
        sample: sample(table),
        buffer: table.buffer_size("buffer"),
        flush: table.duration("flush"),
        place: Place::default(),
    }
}

fn phase(scope: Scope) -> Phase {
    match scope {
        Scope::Request => Phase::Log,
        Scope::Session => Phase::Session,
    }
}

fn format(table: &Section<'_>, scope: Scope, names: Names<'_>) -> LogFormat {
    let (escape, given) = (escape(table), table.text_given("format"));
    let own = given.filter(|(text, _)| text.contains('$'));
    if let Some(node) = table.get("escape")
        && own.is_none()
    {
        let complaint = Complaint::new("`escape` without a `format` of your own");
        let hint = "leave `escape` out: it is for a `format` with variables, as \
                    `\"$remote_addr $status\"`";
        table.problems.add(complaint.hint(hint).at(&node.place));
    }
    if let Some(fields) = table.get("fields") {
        if let Some((text, node)) = given {
            let complaint = Complaint::new(format!("`fields` beside the format `{text}`"));
            let hint = "with `fields`, lines are JSON: leave out `format`, or the `fields`";
            table.problems.add(complaint.hint(hint).at(&node.place));
        }
        return self::fields(table, fields, scope, names);
    }
    let standard = match scope {
        Scope::Request => LogFormat::Combined,
        // Its default is one of its own.
        Scope::Session => template(STREAM_LOG_FORMAT, Phase::Session, names)
            .map_or(LogFormat::Combined, |template| {
                LogFormat::Template(template, Escape::Default)
            }),
    };
    let Some((text, node)) = given else {
        return standard;
    };
    let format = match (text, scope) {
        ("json", _) => Ok(LogFormat::Json(scope)),
        ("combined", Scope::Request) => Ok(LogFormat::Combined),
        ("upstream", Scope::Request) => Ok(LogFormat::Upstream),
        (text, _) if text.contains('$') => template(text, phase(scope), names)
            .map(|template| LogFormat::Template(template, escape)),
        (_, Scope::Request) => Err(Complaint::new(format!("unknown access log format `{text}`"))
            .hint(suggestion(
                text,
                ["combined", "upstream", "json"],
                "formats, beside your own with `$variables`",
            ))),
        (_, Scope::Session) => Err(Complaint::new(format!("unknown log format `{text}`")).hint(
            "a stream's format is `json`, or its own with `$variables`: `\"$remote_addr $session_time\"`",
        )),
    };
    noted(format, node, table.problems).unwrap_or(standard)
}

fn escape(table: &Section<'_>) -> Escape {
    match table.word("escape") {
        "json" => Escape::Json,
        "none" => Escape::None,
        _ => Escape::Default,
    }
}

fn fields(table: &Section<'_>, node: &Node, scope: Scope, names: Names<'_>) -> LogFormat {
    if !matches!(node.value, Value::Table(_)) {
        let kind = node.type_name();
        let complaint = Complaint::new(format!("`fields` must be a table, not {kind}"));
        let hint = "name members and their values: `fields = { time = \"$time_iso8601\" }`";
        table.problems.add(complaint.hint(hint).at(&node.place));
        return LogFormat::Fields(Vec::new().into());
    }
    let entries = table.named("fields");
    if entries.is_empty() {
        let complaint = Complaint::new("`fields` is empty");
        let hint = "name members and their values: `fields = { time = \"$time_iso8601\" }`";
        table.problems.add(complaint.hint(hint).at(&node.place));
    }
    let mut fields = Vec::with_capacity(entries.len());
    for entry in entries {
        let Some(text) = entry.node.as_text() else {
            if !matches!(entry.node.value, Value::Unusable) {
                let name = &entry.key;
                let kind = entry.node.type_name();
                let message = format!("`{name}` must be a string, not {kind}");
                let problem = Problem::new(&entry.node.place, message);
                table.problems.add(problem.hint(format!(
                    "write a text with variables: `{name} = \"$status\"`"
                )));
            }
            continue;
        };
        let value = template(text, phase(scope), names);
        let value = noted(value, &entry.node, table.problems);
        fields.extend(value.map(|value| LogField::new(entry.key.clone(), value)));
    }
    LogFormat::Fields(fields.into())
}

/// None where all have a line.
fn sample(table: &Section<'_>) -> Option<Share> {
    let (text, node) = part(table, "sample", "1%")?;
    let share = Shares::default().next(text).map_err(|_| {
        Complaint::new(format!("`{text}` is not a share"))
            .hint("write it as `sample = \"1%\"`, up to 100%, with two decimals at most")
    });
    noted(share, node, table.problems).filter(|share| !share.is_whole())
}

fn when(table: &Section<'_>, scope: Scope, names: Names<'_>) -> LogConditions {
    let (declared, asked) = match scope {
        Scope::Request => (&LOG_WHEN, Asked::Request(Phase::Log)),
        Scope::Session => (&STREAM_LOG_WHEN, Asked::Session),
    };
    let Some(section) = condition::section(table, declared) else {
        return LogConditions::default();
    };
    let mut conditions = LogConditions {
        request: condition::read(&section, asked, names),
        ..LogConditions::default()
    };
    statuses(&section, &mut conditions);
    if scope == Scope::Request {
        for (text, node) in section.texts("path") {
            let (list, text) = match text.strip_prefix('!') {
                Some(text) => (&mut conditions.other_paths, text.trim_start()),
                None => (&mut conditions.paths, text),
            };
            list.extend(noted(path(text), node, section.problems));
        }
    }
    conditions
}

/// There is nothing that a prefix would go before here.
fn path(text: &str) -> Result<PathPattern, Complaint> {
    pattern::path(text).map(|pattern| match pattern {
        PathPattern::PrefixNoRegex(prefix) => PathPattern::Prefix(prefix),
        pattern => pattern,
    })
}

fn statuses(section: &Section<'_>, conditions: &mut LogConditions) {
    let Some(node) = section.get("status") else {
        return;
    };
    let items = match &node.value {
        Value::Array(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    for item in items {
        let (is_other, range) = match &item.value {
            Value::Unusable => continue,
            Value::Integer(status) => (false, u16::try_from(*status).ok().map(|s| s..=s)),
            Value::Text(text) | Value::Environment(text) => match text.strip_prefix('!') {
                Some(text) => (true, statuses_of(text)),
                None => (false, statuses_of(text)),
            },
            _ => (false, None),
        };
        let range = range.filter(|range| (100..600).contains(range.start()));
        match range {
            Some(range) if is_other => conditions.other_statuses.push(range),
            Some(range) => conditions.statuses.push(range),
            None => {
                let complaint = Complaint::new("`status` names no status");
                let hint = "write `404`, `\"5xx\"` for all that begin so, `\"!404\"` for all others, or a \
                            list: `status = [404, \"5xx\"]`";
                section.problems.add(complaint.hint(hint).at(&item.place));
            }
        }
    }
    if items.is_empty() {
        let complaint = Complaint::new("`status` is an empty list, which no status is in");
        let hint = "name statuses, `status = [404, \"5xx\"]`, or leave it out";
        section.problems.add(complaint.hint(hint).at(&node.place));
    }
}
