//! `when`: what has to hold for a request to take a route, or to have a line in a log.

use ipnet::IpNet;

use super::{Complaint, noted, pattern};
use crate::config::declared::WHEN;
use crate::config::key::Table;
use crate::config::model::{Conditions, Networks, ValueCondition, ValuePattern};
use crate::config::problem::{Place, Problem, Problems};
use crate::config::section::Section;
use crate::config::tree::{Entry, Node, Value};
use crate::http::headers::is_token;
use crate::http::variable::{Names, Phase, Variable};

/// The keys whose names stand for a variable each, and how those begin.
const VALUES: [(&str, &str); 4] = [
    ("header", "http_"),
    ("query", "arg_"),
    ("cookie", "cookie_"),
    ("variable", ""),
];

/// What may stand in the lists and tables of a `when`, by key.
const EXAMPLES: [(&str, &str); 7] = [
    ("method", "[\"GET\", \"POST\"]"),
    ("client", "[\"10.0.0.0/8\"]"),
    ("path", "[\"/api\"]"),
    ("header", "{ X-Beta = \"1\" }"),
    ("query", "{ beta = \"1\" }"),
    ("cookie", "{ beta = \"1\" }"),
    ("variable", "{ scheme = \"https\" }"),
];

/// What conditions are asked of.
#[derive(Debug, Clone, Copy)]
pub(super) enum Asked {
    /// A request, in this phase.
    Request(Phase),
    /// A session that has ended.
    Session,
}

impl Asked {
    /// Whether a variable has a value there.
    fn knows(self, variable: &Variable) -> bool {
        match self {
            // What a route without an upstream knows as well is not of an upstream's.
            Asked::Request(Phase::Request) => {
                variable.has_value_in(Phase::Request) && variable.has_value_in(Phase::Return)
            }
            Asked::Request(phase) => variable.has_value_in(phase),
            Asked::Session => variable.has_value_in(Phase::Session),
        }
    }

    fn where_unknown(self) -> (&'static str, &'static str) {
        match self {
            Asked::Request(Phase::Request) => (
                "has no value before a route is chosen",
                "ask for what the request says",
            ),
            Asked::Request(_) => ("is of streams alone", "ask for what requests have"),
            Asked::Session => (
                "is of requests alone",
                "`docs/streams.md` lists what sessions have",
            ),
        }
    }
}

/// The conditions of a route; none where it has no `when`.
pub(super) fn conditions(route: &Section<'_>, names: Names<'_>) -> Conditions {
    match section(route, &WHEN) {
        Some(section) => read(&section, Asked::Request(Phase::Request), names),
        None => Conditions::default(),
    }
}

/// The `when` of something, with a note where it is empty.
pub(super) fn section<'a>(of: &Section<'a>, declared: &'static Table) -> Option<Section<'a>> {
    let section = of.table("when", declared)?;
    if section.entries().is_empty() {
        let problem = Problem::new(section.place, "`when` is empty");
        let hint = match declared.key("method") {
            Some(_) => "say what has to hold, such as `{ method = [\"POST\"] }`, or leave it out",
            None => "say what has to hold, such as `{ status = \"5xx\" }`, or leave it out",
        };
        section.problems.add(problem.hint(hint));
    }
    for entry in section.entries() {
        not_empty(&section, declared, entry);
    }
    Some(section)
}

/// An allow list that is left empty would let everybody in: nothing in it would have to hold.
fn not_empty(section: &Section<'_>, declared: &Table, entry: &Entry) {
    let what = match &entry.node.value {
        Value::Array(items) if items.is_empty() => "an empty list",
        Value::Table(entries) if entries.is_empty() => "an empty table",
        _ => return,
    };
    let key = &*entry.key;
    let mut examples = EXAMPLES.iter();
    let example = examples.find(|(of, _)| *of == key && declared.key(key).is_some());
    if let Some((_, example)) = example {
        let problem = Problem::new(&entry.node.place, format!("`{key}` is {what}"));
        section.problems.add(problem.hint(format!(
            "say what has to hold, such as `{key} = {example}`; only without `{key}` does it not \
             matter"
        )));
    }
}

/// What a `when` asks of a request, or a session.
pub(super) fn read(section: &Section<'_>, asked: Asked, names: Names<'_>) -> Conditions {
    let of_requests = matches!(asked, Asked::Request(_));
    let methods = match of_requests {
        true => section.texts("method"),
        false => Vec::new(),
    };
    let methods = methods
        .into_iter()
        .filter_map(|(text, node)| noted(method(text), node, section.problems));
    let mut conditions = Conditions {
        methods: methods.collect(),
        clients: clients(section),
        values: Vec::new(),
    };
    for (key, beginning) in VALUES {
        if !of_requests && key != "variable" {
            continue;
        }
        for entry in section.named(key) {
            let condition = value(section, (key, beginning), entry, asked, names);
            conditions.values.extend(condition);
        }
    }
    conditions
}

/// Methods are compared as they are: `get` is another one than `GET` (RFC 9110 section 9.1).
fn method(text: &str) -> Result<String, Complaint> {
    if text.contains('$') {
        // A token may have a `$`; who writes one means a variable.
        let complaint = Complaint::new(format!("`{text}`: `method` has no variables"));
        return Err(complaint.hint(
            "name methods as they are, `method = [\"GET\", \"POST\"]`; `variable` compares the value \
             of a variable",
        ));
    }
    if !is_token(text.as_bytes()) {
        let complaint = Complaint::new(format!("`{text}` is not a method"));
        return Err(complaint.hint("methods are words such as `GET`, `POST` or `PROPFIND`"));
    }
    if text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        let complaint = Complaint::new(format!("no request has the method `{text}`"));
        return Err(complaint.hint(format!("write `{}`", text.to_ascii_uppercase())));
    }
    Ok(text.to_owned())
}

fn clients(section: &Section<'_>) -> Option<Networks> {
    section.get("client")?;
    let mut networks = Networks::default();
    for (text, node) in section.texts("client") {
        let (list, network) = match text.strip_prefix('!') {
            Some(network) => (&mut networks.outside, network),
            None => (&mut networks.within, text),
        };
        list.extend(noted(
            self::network(network, &node.place, section.problems),
            node,
            section.problems,
        ));
    }
    Some(networks)
}

/// An address or a network. As in nginx (`ngx_ptocidr`), what is behind the prefix of a network makes
/// no difference, and is warned of.
pub(super) fn network(text: &str, place: &Place, problems: &Problems) -> Result<IpNet, Complaint> {
    let address = || text.parse().map(|ip: std::net::IpAddr| ip.into());
    let written = text.parse().or_else(|_| address()).map_err(|_| {
        let complaint = Complaint::new(format!("`{text}` is not an address or a network"));
        complaint.hint("write it as `10.0.0.1`, `10.0.0.0/8` or `2001:db8::/32`")
    })?;
    Ok(without_low_bits(written, place, problems))
}

/// The network that is meant.
pub(super) fn without_low_bits(written: IpNet, place: &Place, problems: &Problems) -> IpNet {
    let network = written.trunc();
    if network != written {
        let message = format!("low address bits of `{written}` are meaningless");
        let hint = format!(
            "the network is `{network}`; one address is `{}`",
            written.addr()
        );
        problems.warn(Problem::new(place, message).hint(hint));
    }
    network
}

/// One name below `header`, `query`, `cookie` or `variable`, and what its value has to be.
fn value(
    section: &Section<'_>,
    (key, beginning): (&'static str, &str),
    entry: &Entry,
    asked: Asked,
    names: Names<'_>,
) -> Option<ValueCondition> {
    let name = &*entry.key;
    let problem = |message: String, hint: &str| {
        let problem = Problem::new(&entry.key_place, message);
        section.problems.add(problem.hint(hint));
    };
    let variable = match key {
        "header" => Variable::parse(&format!("{beginning}{}", name.replace('-', "_"))),
        "variable" => match names.look_up(name.strip_prefix('$').unwrap_or(name)) {
            Ok(variable) => Some(variable),
            Err(unknown) => {
                let of_all = || "docs/configuration.md has a list of all variables".to_owned();
                let hint = unknown.hint().unwrap_or_else(of_all);
                problem(format!("unknown variable `{name}`"), &hint);
                return None;
            }
        },
        _ => Variable::parse(&format!("{beginning}{name}")),
    };
    let Some(variable) = variable else {
        problem(
            format!("`{name}` cannot be looked for"),
            "a name is of letters, digits and `_`, that of a header of `-` as well",
        );
        return None;
    };
    if !asked.knows(&variable) {
        let (why, hint) = asked.where_unknown();
        problem(format!("`{name}` {why}"), hint);
        return None;
    }
    let mut condition = ValueCondition {
        key,
        name: name.to_owned(),
        variable,
        any_of: Vec::new(),
        none_of: Vec::new(),
    };
    let items = match &entry.node.value {
        Value::Array(items) => items.as_slice(),
        _ => std::slice::from_ref(&entry.node),
    };
    for node in items {
        pattern_of(section, name, node, &mut condition);
    }
    if items.is_empty() {
        problem(
            format!("`{name}` is an empty list, which no value is in"),
            "name values, or leave it out",
        );
    }
    Some(condition)
}

fn pattern_of(section: &Section<'_>, name: &str, node: &Node, condition: &mut ValueCondition) {
    if matches!(node.value, Value::Unusable) {
        return;
    }
    let Some(text) = node.as_text() else {
        let message = format!(
            "`{name}` must be a string or a list of strings, not {}",
            node.type_name()
        );
        section.problems.add(Problem::new(&node.place, message));
        return;
    };
    let (list, text) = match text.strip_prefix('!') {
        Some(text) => (&mut condition.none_of, text),
        None => (&mut condition.any_of, text),
    };
    list.extend(noted(value_pattern(text), node, section.problems));
}

fn value_pattern(text: &str) -> Result<ValuePattern, Complaint> {
    if text == "*" {
        return Ok(ValuePattern::Present);
    }
    if let Some(text) = text.strip_prefix('=') {
        return Ok(ValuePattern::Exact(text.to_owned()));
    }
    match text.starts_with('~') {
        true => pattern::value_regex(text).map(ValuePattern::Regex),
        false => Ok(ValuePattern::Exact(text.to_owned())),
    }
}
