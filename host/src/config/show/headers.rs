//! Changes of headers, as the file writes them.

use super::super::units::duration_text;
use super::{inline_table, key_text, log, text, texts};
use crate::config::model::{CacheTime, HeaderChange, HeaderOperation, Statuses};

pub(super) fn expires(expires: CacheTime) -> String {
    match expires {
        CacheTime::Unchanged => "false".to_owned(),
        CacheTime::AtOnce => text("no-cache"),
        CacheTime::After(time) => text(&duration_text(time)),
    }
}

/// A table, or a list of one for each set of statuses.
pub(super) fn headers(changes: &[HeaderChange]) -> String {
    let groups = changes.chunk_by(|one, next| one.statuses == next.statuses);
    let mut tables: Vec<String> = groups.map(of_statuses).collect();
    match tables.len() {
        1 => tables.remove(0),
        _ => format!("[{}]", tables.join(", ")),
    }
}

fn of_statuses(changes: &[HeaderChange]) -> String {
    let mut removed = Vec::new();
    let mut set = Vec::new();
    // The values of one name stand together.
    let mut added: Vec<(&str, Vec<String>)> = Vec::new();
    for HeaderChange {
        name, operation, ..
    } in changes
    {
        match operation {
            HeaderOperation::Remove => removed.push(name),
            HeaderOperation::Set(value) => {
                set.push(format!("{} = {}", key_text(name), text(&value.to_string())));
            }
            HeaderOperation::Add(value) => {
                match added.iter_mut().find(|(known, _)| known == name) {
                    Some((_, values)) => values.push(value.to_string()),
                    None => added.push((name, vec![value.to_string()])),
                }
            }
        }
    }
    let added: Vec<String> = added
        .into_iter()
        .map(|(name, values)| format!("{} = {}", key_text(name), texts(values)))
        .collect();
    let mut parts = Vec::new();
    if !removed.is_empty() {
        parts.push(format!("remove = {}", texts(removed)));
    }
    if !set.is_empty() {
        parts.push(format!("set = {}", inline_table(set)));
    }
    if !added.is_empty() {
        parts.push(format!("add = {}", inline_table(added)));
    }
    if let Some(Statuses::Among(ranges)) = changes.first().map(|change| &change.statuses) {
        let ranges = ranges
            .iter()
            .map(|range| match range.end() - range.start() {
                0 => log::status(range),
                _ => text(&log::status(range)),
            });
        let ranges: Vec<String> = ranges.collect();
        parts.push(format!("statuses = [{}]", ranges.join(", ")));
    }
    inline_table(parts)
}
