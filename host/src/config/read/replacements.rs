//! Tables of what a server says, and of what takes its place: `proxy_redirect`, and those in
//! `cookies`.

use super::headers::header_value;
use super::{Complaint, ConfigReader, noted, pattern, variable};
use crate::config::model::{Replaced, Replacement};
use crate::config::problem::Problem;
use crate::config::section::Section;
use crate::config::tree::{Entry, Value};
use crate::http::template::Template;
use crate::http::variable::{CaptureNames, Names, Phase};

/// What the texts of a table are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextKind {
    /// Beginnings of a URL.
    Url,
    /// Values of a cookie's `Domain`, whose case and first dot make no difference.
    CookieDomain,
    /// Beginnings of a cookie's `Path`.
    CookiePath,
}

/// The entries of a table, in file order.
pub(super) fn replacements(
    section: &Section<'_>,
    key: &'static str,
    kind: TextKind,
    names: Names<'_>,
    reader: ConfigReader<'_>,
) -> Vec<Replacement> {
    let mut list = Vec::new();
    for entry in section.named(key) {
        let captures = match from(entry, key, kind, names) {
            Ok(Replaced::Regex(written, regex)) => {
                let captures = CaptureNames::new(regex.captures_len(), regex.capture_names());
                variable::check_captures(&captures, names, &entry.key_place, reader);
                (Replaced::Regex(written, regex), Some(captures))
            }
            Ok(from) => (from, None),
            Err(complaint) => {
                reader.problems.add(complaint.at(&entry.key_place));
                continue;
            }
        };
        let (from, captures) = captures;
        // Numbers are those of this regex, as in nginx; names may be of the route's as well.
        let captures = captures.map(|own| own.and_names_of(names.captures));
        let names = match &captures {
            Some(captures) => names.with_captures(captures),
            None => names,
        };
        let Some(text) = entry.node.as_text() else {
            if !matches!(entry.node.value, Value::Unusable) {
                let message = format!("`{}` in `{key}` must be a string", entry.key);
                let problem = Problem::new(&entry.node.place, message);
                reader.problems.add(problem);
            }
            continue;
        };
        let to = to(text, key, kind, names);
        if let Some(to) = noted(to, &entry.node, reader.problems) {
            list.push(Replacement { from, to });
        }
    }
    list
}

fn from(entry: &Entry, key: &str, kind: TextKind, names: Names<'_>) -> Result<Replaced, Complaint> {
    let written = entry.key.as_str();
    if let Some(pattern) = written.strip_prefix('~') {
        // As in nginx, a domain's case never counts.
        let any_case = match (kind, pattern.starts_with('*')) {
            (TextKind::CookieDomain, false) => format!("~*{pattern}"),
            _ => written.to_owned(),
        };
        let regex = pattern::bytes_regex(&any_case)?;
        return Ok(Replaced::Regex(written.into(), regex));
    }
    let text = without_dot(written, kind);
    if text.is_empty() {
        let what = match kind {
            TextKind::CookieDomain => "domain",
            TextKind::Url | TextKind::CookiePath => "beginning",
        };
        return Err(Complaint::new(format!("an empty {what} in `{key}`")));
    }
    header_value(text, Phase::Response, names).map(Replaced::Text)
}

fn to(text: &str, key: &str, kind: TextKind, names: Names<'_>) -> Result<Template, Complaint> {
    if kind != TextKind::Url && text.contains(';') {
        let complaint = Complaint::new(format!("`;` in what `{key}` puts into a cookie"));
        return Err(complaint.hint("it would begin another attribute: see `flags` for those"));
    }
    header_value(without_dot(text, kind), Phase::Response, names)
}

/// The dot that a domain may begin with says nothing (RFC 6265 section 5.2.3).
fn without_dot(text: &str, kind: TextKind) -> &str {
    match kind {
        TextKind::CookieDomain => text.strip_prefix('.').unwrap_or(text),
        TextKind::Url | TextKind::CookiePath => text,
    }
}
