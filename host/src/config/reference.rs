//! The reference part of `docs/configuration.md`, made from the declarations so that it cannot go
//! stale.

use std::fmt::Write as _;

use super::declared::{LISTENER_SHARED, ROOT};
use super::key::{Default, Key, Table, ValueKind};
use crate::http::variable::{self, Phase};

/// Every table of the file as a section of Markdown.
pub fn reference() -> String {
    let mut out = String::new();
    for table in tables() {
        let _ = writeln!(out, "### `{}`\n", table.title);
        if !table.doc.is_empty() {
            let _ = writeln!(out, "{}\n", table.doc);
        }
        let shared = |keys: &'static [Key]| std::ptr::eq(keys, LISTENER_SHARED);
        let owns_shared = table
            .groups
            .first()
            .is_some_and(|own| own.iter().any(|key| key.name == "address"));
        let _ = writeln!(
            out,
            "| key | value | default | meaning |\n| --- | --- | --- | --- |"
        );
        for group in table.groups {
            if shared(group) && !owns_shared {
                continue;
            }
            for key in group.iter().filter(|key| key.available()) {
                let mark = if shared(group) { " (shared)" } else { "" };
                let doc = key.doc.replace('|', "\\|");
                let _ = writeln!(
                    out,
                    "| `{}`{mark} | {} | {} | {doc} |",
                    key.name,
                    value(&key.kind),
                    default(key)
                );
            }
        }
        out.push('\n');
    }
    variables(&mut out);
    out
}

/// Every variable, and where it has a value.
fn variables(out: &mut String) {
    let _ = writeln!(
        out,
        "### Variables\n\nNames and meanings are nginx's. Times are seconds with three decimals. \
         Of an upstream that was asked several times, `$upstream_*` have one entry for each attempt, \
         joined with `, `, and `-` where an attempt has none; headers and cookies are the last one's. \
         A policy that chooses has what the first column has, and for a stream what the last one has.\n\n\
         Columns: values of `request_headers`; texts and headers of a route with `return`; values \
         of `response_headers` beside `proxy`; `access_log`; `access_log` of a stream; the policy \
         of a stream.\n"
    );
    let _ = writeln!(
        out,
        "| variable | request | return | response | log | stream | its policy | meaning |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- |"
    );
    for description in variable::all() {
        let names: Vec<String> = description
            .names
            .iter()
            .map(|name| format!("`${name}`"))
            .collect();
        let places: String = Phase::ALL
            .map(|phase| {
                if description.has_value_in(phase) {
                    " yes |"
                } else {
                    " |"
                }
            })
            .concat();
        let meaning = description.meaning.trim();
        let _ = writeln!(out, "| {} |{places} {meaning} |", names.join(", "));
    }
    out.push('\n');
}

/// All tables, in the order in which a reader of the file meets them.
pub(super) fn tables() -> Vec<&'static Table> {
    let mut tables = Vec::new();
    collect(&ROOT, &mut tables);
    tables
}

fn collect(table: &'static Table, tables: &mut Vec<&'static Table>) {
    if tables.iter().any(|known| std::ptr::eq(*known, table)) {
        return;
    }
    tables.push(table);
    for key in table.keys() {
        collect_of(&key.kind, tables);
    }
}

fn collect_of(kind: &'static ValueKind, tables: &mut Vec<&'static Table>) {
    match kind {
        ValueKind::Table(table) => collect(table, tables),
        ValueKind::List(inner) | ValueKind::Named(inner) => collect_of(inner, tables),
        ValueKind::Either(kinds) => kinds.iter().for_each(|kind| collect_of(kind, tables)),
        _ => {}
    }
}

fn value(kind: &ValueKind) -> String {
    match kind {
        ValueKind::Boolean => "boolean".to_owned(),
        ValueKind::Integer { min, max } if *max == i64::from(u32::MAX) => {
            format!("integer from {min}")
        }
        ValueKind::Integer { min, max } => format!("integer, {min} to {max}"),
        ValueKind::Duration { .. } => "duration".to_owned(),
        ValueKind::Size { .. } => "size".to_owned(),
        ValueKind::Text => "string".to_owned(),
        ValueKind::Word(words) => words
            .iter()
            .map(|word| format!("`\"{word}\"`"))
            .collect::<Vec<_>>()
            .join(", "),
        ValueKind::Off => "`false`".to_owned(),
        ValueKind::List(ValueKind::Table(table)) | ValueKind::Named(ValueKind::Table(table)) => {
            format!("`{}`", table.title)
        }
        ValueKind::List(ValueKind::Text) => "list of strings".to_owned(),
        ValueKind::List(item) => format!("list of {}", value(item)),
        ValueKind::Table(table) => format!("table `{}`", table.title),
        ValueKind::Named(ValueKind::Text) => "table of strings".to_owned(),
        ValueKind::Named(inner) => format!("table of {}", value(inner)),
        ValueKind::Either(kinds) => kinds.iter().map(value).collect::<Vec<_>>().join(" or "),
        ValueKind::NotAvailable => String::new(),
    }
}

fn default(key: &Key) -> String {
    match key.default {
        Default::Required => "must be given".to_owned(),
        Default::Unset => String::new(),
        Default::Text(text) => format!("`\"{text}\"`"),
        Default::Integer(integer) => format!("`{integer}`"),
        Default::Boolean(boolean) => format!("`{boolean}`"),
        Default::Words(words) => {
            let words: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
            format!("`[{}]`", words.join(", "))
        }
    }
}
