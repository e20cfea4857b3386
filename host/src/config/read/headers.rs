//! `request_headers` and `response_headers`.

use std::time::Duration;

use super::log::is_off;
use super::{Complaint, noted, statuses_of, template};
use crate::config::declared::{HEADERS, RESPONSE_HEADERS};
use crate::config::model::{CacheTime, HeaderChange, HeaderOperation, Statuses};
use crate::config::problem::{Place, Problem};
use crate::config::section::Section;
use crate::config::tree::{Node, Value};
use crate::config::units;
use crate::http::headers::is_framing;
use crate::http::template::Template;
use crate::http::variable::{Names, Phase};

/// Ten years (`NGX_HTTP_EXPIRES_MAX`).
const MAX_EXPIRES: Duration = Duration::from_secs(315_360_000);

/// Notes a `content_type` that is none.
pub(super) fn check_content_type(section: &Section<'_>, names: Names<'_>) {
    if let Some((text, node)) = section.text_given("content_type") {
        let literal = header_value(text, Phase::Return, names).and_then(|template| match template
            .as_literal()
        {
            Some(_) if !text.is_empty() => Ok(()),
            _ => Err(Complaint::new(
                "`content_type` must be a media type, such as `text/plain`",
            )),
        });
        noted(literal, node, section.problems);
    }
}

/// In the order they are made: what is removed, what is set, what is added.
pub(super) fn changes(route: &Section<'_>, phase: Phase, names: Names<'_>) -> Vec<HeaderChange> {
    let tables = match phase {
        Phase::Request => Vec::from_iter(route.table("request_headers", &HEADERS)),
        _ => response_tables(route),
    };
    let of_each = tables
        .into_iter()
        .map(|table| of_table(table, phase, names));
    of_each.collect::<Vec<_>>().concat()
}

/// One table, or several, for different statuses.
fn response_tables<'a>(section: &Section<'a>) -> Vec<Section<'a>> {
    let Some(node) = section.get("response_headers") else {
        return Vec::new();
    };
    let items = match &node.value {
        Value::Array(items) => items.as_slice(),
        Value::Table(_) => std::slice::from_ref(node),
        _ => {
            section.wrong_type(node, "response_headers");
            return Vec::new();
        }
    };
    let tables = items.iter();
    tables
        .filter_map(|item| Section::open(item, &RESPONSE_HEADERS, section.problems))
        .collect()
}

fn of_table<'a>(section: Section<'a>, phase: Phase, names: Names<'a>) -> Vec<HeaderChange> {
    let statuses = match phase {
        Phase::Request => Statuses::All,
        _ => statuses(&section),
    };
    let mut reading = HeaderReading {
        section,
        phase,
        names,
        statuses,
        changes: Vec::new(),
    };
    for (name, node) in section.texts("remove") {
        reading.change(name, &node.place, HeaderOperation::Remove);
    }
    for entry in section.named("set") {
        match entry.node.as_text() {
            Some(text) => reading.value(
                &entry.key,
                &entry.key_place,
                text,
                &entry.node,
                HeaderOperation::Set,
            ),
            None => not_a_value(&section, &entry.node, &entry.key, "a string"),
        }
    }
    for entry in section.named("add") {
        let values = match &entry.node.value {
            Value::Array(items) => items.as_slice(),
            _ => std::slice::from_ref(&entry.node),
        };
        for node in values {
            match node.as_text() {
                Some(text) => reading.value(
                    &entry.key,
                    &entry.key_place,
                    text,
                    node,
                    HeaderOperation::Add,
                ),
                None => not_a_value(&section, node, &entry.key, "a string or a list of strings"),
            }
        }
    }
    reading.changes
}

struct HeaderReading<'a> {
    section: Section<'a>,
    /// When the values are made.
    phase: Phase,
    names: Names<'a>,
    /// What all changes are made to.
    statuses: Statuses,
    changes: Vec<HeaderChange>,
}

impl HeaderReading<'_> {
    fn value(
        &mut self,
        name: &str,
        name_place: &Place,
        text: &str,
        node: &Node,
        operation: fn(Template) -> HeaderOperation,
    ) {
        if let Some(template) = noted(
            header_value(text, self.phase, self.names),
            node,
            self.section.problems,
        ) {
            self.change(name, name_place, operation(template));
        }
    }

    fn change(&mut self, name: &str, place: &Place, operation: HeaderOperation) {
        if let Err(complaint) = header_name(name, self.phase, &operation) {
            self.section.problems.add(complaint.at(place));
        }
        let set_twice = |change: &HeaderChange| {
            matches!(
                (&change.operation, &operation),
                (HeaderOperation::Set(_), HeaderOperation::Set(_))
            ) && change.name.eq_ignore_ascii_case(name)
        };
        if self.changes.iter().any(set_twice) {
            self.section
                .problems
                .add(Problem::new(place, format!("header `{name}` is set twice")));
        }
        self.changes.push(HeaderChange {
            name: name.to_owned(),
            operation,
            statuses: self.statuses.clone(),
        });
    }
}

/// Those of an outer section and those of one within it: of each header, the changes within count
/// if there are any.
pub(super) fn united(outer: &[HeaderChange], within: Vec<HeaderChange>) -> Vec<HeaderChange> {
    let left = outer.iter().filter(|change| {
        let same = |other: &HeaderChange| other.name.eq_ignore_ascii_case(&change.name);
        !within.iter().any(same)
    });
    let mut all: Vec<HeaderChange> = left.cloned().collect();
    all.extend(within);
    all
}

/// `[200, "3xx"]`; all where nothing is said.
fn statuses(section: &Section<'_>) -> Statuses {
    let Some(node) = section.get("statuses") else {
        return Statuses::All;
    };
    let items = section.list("statuses");
    if matches!(&node.value, Value::Array(items) if items.is_empty()) {
        let complaint = Complaint::new("`statuses` is an empty list");
        let complaint = complaint.hint("leave it out for all answers");
        section.problems.add(complaint.at(&node.place));
    }
    let ranges = items.iter().filter_map(|node| {
        let range = match &node.value {
            Value::Integer(status) => u16::try_from(*status).ok().map(|status| status..=status),
            Value::Text(text) | Value::Environment(text) => statuses_of(text),
            _ => None,
        };
        let range = range.filter(|range| (200..600).contains(range.start()));
        if range.is_none() && !matches!(node.value, Value::Unusable) {
            let complaint = Complaint::new("an item of `statuses` is no status");
            let hint = "write `200`, or `\"2xx\"` for all that begin so, up to `\"5xx\"`";
            section.problems.add(complaint.hint(hint).at(&node.place));
        }
        range
    });
    Statuses::Among(ranges.collect())
}

/// As `ngx_http_headers_module` has it. `None` where the section does not say.
pub(super) fn expires(section: &Section<'_>) -> Option<CacheTime> {
    let node = section.get("expires")?;
    if is_off(node) {
        return Some(CacheTime::Unchanged);
    }
    let expires = match node.as_text() {
        Some("epoch" | "no-cache") => Ok(CacheTime::AtOnce),
        Some("max") => Ok(CacheTime::After(MAX_EXPIRES)),
        Some("off") => Err(Complaint::new("`off` is not how long an answer holds")
            .hint("write `expires = false` to leave it to the server")),
        Some(text) => match units::duration(text) {
            Ok(time) if time <= MAX_EXPIRES => Ok(CacheTime::After(time)),
            Ok(_) => Err(Complaint::new(format!("`{text}` is longer than ten years"))
                .hint("write `\"max\"` for answers that never change")),
            Err(message) => Err(Complaint::new(message)
                .hint("write it as `\"30d\"`, `\"max\"` or `\"no-cache\"`, or `false`")),
        },
        None => {
            section.wrong_type(node, "expires");
            return None;
        }
    };
    noted(expires, node, section.problems)
}

/// A name that HTTP allows (RFC 9110 section 5.6.2) and that is the user's to change.
fn header_name(name: &str, phase: Phase, operation: &HeaderOperation) -> Result<(), Complaint> {
    if name == "*" {
        return match (phase, operation) {
            (Phase::Request, HeaderOperation::Remove) => Ok(()),
            _ => {
                let complaint = Complaint::new("`*` is no name of a header");
                Err(complaint.hint(
                    "only `remove` in `request_headers` may have it, for all that the client has sent",
                ))
            }
        };
    }
    own_name(name)?;
    let is_host = name.eq_ignore_ascii_case("host");
    if is_host && phase == Phase::Request && !matches!(operation, HeaderOperation::Set(_)) {
        let complaint = Complaint::new("header `Host` can only be set");
        return Err(complaint.hint("a request has exactly one"));
    }
    Ok(())
}

/// A name of a field of a request that we make ourselves, beside its `Host`.
pub(super) fn name_in_probe(name: &str) -> Result<(), Complaint> {
    own_name(name)?;
    match name.eq_ignore_ascii_case("host") {
        true => Err(Complaint::new("`Host` has a key of its own").hint("say `host`")),
        false => Ok(()),
    }
}

fn own_name(name: &str) -> Result<(), Complaint> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) {
        let complaint = Complaint::new(format!("`{name}` cannot be the name of a header"));
        return Err(complaint.hint("a name has letters, digits and `-`"));
    }
    let lower = name.to_ascii_lowercase();
    if is_framing(name.as_bytes()) {
        let complaint = Complaint::new(format!("header `{name}` cannot be changed"));
        return Err(complaint.hint(match lower.as_str() {
            "connection" | "upgrade" => {
                "it belongs to one connection; upgrades such as WebSocket pass without it"
            }
            _ => {
                "it frames the message or belongs to one connection, so the proxy writes it itself"
            }
        }));
    }
    Ok(())
}

/// A template whose text HTTP allows (RFC 9110 section 5.5).
pub(super) fn header_value(
    text: &str,
    phase: Phase,
    names: Names<'_>,
) -> Result<Template, Complaint> {
    plain_value(text)?;
    template(text, phase, names)
}

/// Where a redirect leads to.
pub(super) fn location(text: &str, names: Names<'_>) -> Result<Template, Complaint> {
    if text.is_empty() {
        let complaint = Complaint::new("`location` is empty");
        return Err(complaint.hint("say where to go: `location = \"https://$host$request_uri\"`"));
    }
    header_value(text, Phase::Return, names)
}

/// Text that HTTP allows as a field's value (RFC 9110 section 5.5).
pub(super) fn plain_value(text: &str) -> Result<(), Complaint> {
    if let Some(control) = text.chars().find(|c| c.is_control() && *c != '\t') {
        let complaint = Complaint::new(format!("a header's value cannot contain {control:?}"));
        return Err(complaint.hint("only visible characters, spaces and tabs are possible"));
    }
    if text.trim_matches([' ', '\t']) != text {
        return Err(Complaint::new(
            "a header's value cannot begin or end with a space",
        ));
    }
    Ok(())
}

pub(super) fn not_a_value(section: &Section<'_>, node: &Node, name: &str, expected: &str) {
    if !matches!(node.value, Value::Unusable) {
        let message = format!("`{name}` must be {expected}, not {}", node.type_name());
        section.problems.add(Problem::new(&node.place, message));
    }
}
