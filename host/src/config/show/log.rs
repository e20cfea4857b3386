//! `access_log`, as the file writes it.

use std::ops::RangeInclusive;

use super::{condition, duration_text, inline_table, key_text, log_path, size_text, text, texts};
use crate::config::model::{AccessLog, Escape, LogConditions, LogFormat, PathPattern};

pub(super) fn access_logs(logs: &[AccessLog]) -> String {
    match logs {
        [] => "false".to_owned(),
        [log] => access_log(log),
        logs => {
            let logs = logs.iter().map(|log| format!("  {},\n", access_log(log)));
            format!("[\n{}]", logs.collect::<String>())
        }
    }
}

fn access_log(log: &AccessLog) -> String {
    let mut parts = vec![format!("path = {}", text(&log_path(&log.path)))];
    match &log.format {
        LogFormat::Combined => parts.push("format = \"combined\"".to_owned()),
        LogFormat::Upstream => parts.push("format = \"upstream\"".to_owned()),
        LogFormat::Json(_) => parts.push("format = \"json\"".to_owned()),
        LogFormat::Template(template, escape) => {
            parts.push(format!("format = {}", text(&template.to_string())));
            let escape = match escape {
                Escape::Default => "default",
                Escape::Json => "json",
                Escape::None => "none",
            };
            parts.push(format!("escape = \"{escape}\""));
        }
        LogFormat::Fields(fields) => {
            let fields = fields.iter().map(|field| {
                let (name, value) = (key_text(&field.name), text(&field.value.to_string()));
                format!("{name} = {value}")
            });
            parts.push(format!("fields = {}", inline_table(fields)));
        }
    }
    if !log.when.is_empty() {
        parts.push(format!("when = {}", when(&log.when)));
    }
    let sample = log
        .sample
        .map_or("100%".to_owned(), |share| share.to_string());
    parts.push(format!("sample = {}", text(&sample)));
    let size = size_text(u64::try_from(log.buffer).unwrap_or(u64::MAX));
    parts.push(format!("buffer = {}", text(&size)));
    parts.push(format!("flush = {}", text(&duration_text(log.flush))));
    inline_table(parts)
}

fn when(conditions: &LogConditions) -> String {
    let LogConditions {
        request,
        paths,
        other_paths,
        statuses,
        other_statuses,
    } = conditions;
    let mut parts = Vec::new();
    if !(statuses.is_empty() && other_statuses.is_empty()) {
        let of = statuses.iter().map(status);
        let others = other_statuses.iter();
        let others = others.map(|range| format!("!{}", status(range)));
        parts.push(format!("status = {}", texts(of.chain(others))));
    }
    if !(paths.is_empty() && other_paths.is_empty()) {
        let of = paths.iter().map(PathPattern::spelling);
        let others = other_paths.iter();
        let others = others.map(|path| format!("!{}", path.spelling()));
        parts.push(format!("path = {}", texts(of.chain(others))));
    }
    parts.extend(condition::parts(request));
    inline_table(parts)
}

/// `404`, or `4xx`.
pub(super) fn status(range: &RangeInclusive<u16>) -> String {
    match range.start() == range.end() {
        true => range.start().to_string(),
        false => format!("{}xx", range.start() / 100),
    }
}
