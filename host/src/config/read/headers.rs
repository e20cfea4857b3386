//! `request_headers` and `response_headers`.

use super::{Complaint, noted, template};
use crate::config::declared::HEADERS;
use crate::config::model::{HeaderChange, HeaderOperation};
use crate::config::problem::{Place, Problem};
use crate::config::section::Section;
use crate::config::tree::{Node, Value};
use crate::http::headers::is_framing;
use crate::http::template::Template;
use crate::http::variable::{Names, Phase};

/// In the order they are made: what is removed, what is set, what is added.
pub(super) fn changes(route: &Section<'_>, phase: Phase, names: Names<'_>) -> Vec<HeaderChange> {
    let key = match phase {
        Phase::Request => "request_headers",
        _ => "response_headers",
    };
    let Some(section) = route.table(key, &HEADERS) else {
        return Vec::new();
    };
    let mut reading = HeaderReading {
        section,
        phase,
        names,
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
        });
    }
}

/// A name that HTTP allows (RFC 9110 section 5.6.2) and that is the user's to change.
fn header_name(name: &str, phase: Phase, operation: &HeaderOperation) -> Result<(), Complaint> {
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
