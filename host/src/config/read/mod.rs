//! From the tree as written to the model as meant. Start here; each part of the file has a module
//! of its own.

mod address;
mod log;
mod access_log;
mod acme;
mod tls;
mod real_ip;
mod server;
mod admin;
mod settings;
mod plugin_names;
mod policy;
mod hook;
mod plugin;
mod project;
mod store;
mod resolver;
mod health;
mod source;
mod metrics;
mod overload;
mod upstream;
mod pattern;
mod condition;
mod variable;
mod headers;
mod replacements;
mod redirects;
mod cookies;
mod proxied;
mod files;
mod component;
mod compression;
mod dynamic;
mod action;
mod error_page;
mod route;
mod stream;
mod traces;

use std::ops::RangeInclusive;
use std::sync::Arc;

pub(crate) use self::action::REDIRECTS;
pub use self::project::plugin_name;
pub(super) use self::project::plugin_project;
pub(crate) use self::variable::DEEPEST as DEEPEST_VARIABLES;
use super::declared::{ROOT, SERVER};
use super::files::Document;
use super::model::{Address, AdminConfig, Config, FromEnvironment, UpstreamConfig, UpstreamServer};
use super::problem::{Place, Problem, Problems};
use super::section::Section;
use super::tree::{Node, Value};
use crate::http::template::{Template, TemplateError};
use crate::http::variable::{Names, Phase};

/// The whole file. What comes back is only worth anything if no problem was noted.
pub(super) fn config(document: &Document, problems: &Problems) -> Config {
    let start = start(document);
    let root = Section::of(&document.root, &start, &ROOT, problems);
    let reader = ConfigReader {
        problems,
        complete: document.complete,
    };

    let server = root.table("server", &SERVER);
    let server = server.unwrap_or_else(|| Section::of(&[], &start, &SERVER, problems));
    let plugin_names = plugin_names::PluginNames::new(&root);
    let variables = variable::variables(&root, reader);
    let names = variables.names();
    let mut hooks = hook::Hooks::named(&root, &plugin_names, reader);
    let mut taken = server::TakenAddresses::new();
    let traces = traces::Traces::of(&root, &server, names);
    let of_server = server::server(&server, &mut hooks, names);
    let shared = (&server, &of_server, &traces);
    let mut listeners = server::listeners(&root, shared, &mut taken, &mut hooks, names);
    // What is no list of tables is a problem of its own.
    let is_given = |name: &str| {
        let is_empty = |node: &Node| matches!(&node.value, Value::Array(items) if items.is_empty());
        root.get(name).is_some_and(|node| !is_empty(node))
    };
    if !is_given("listen") && !is_given("stream") {
        let place = root.get("listen").map_or(&start, |node| &node.place);
        let problem = Problem::new(place, "no `[[listen]]`: nothing would be served");
        reader.missing(problem.hint("begin with `[[listen]]` and `address = \"127.0.0.1:8080\"`"));
    }
    let plugins = plugin::plugins(&root, &plugin_names, reader);
    let mut upstreams = upstream::Upstreams::named(&root, &server, &plugin_names, reader);
    let mut components = component::Components::new(&plugin_names, reader);
    let routes = route::routes(
        &root,
        &listeners,
        &mut upstreams,
        &mut hooks,
        &mut components,
        (names, &traces),
        reader,
    );
    let (components, files) = components.into_lists();
    acme::complete(&mut listeners, &routes, problems);
    let mut streams = stream::streams(
        &root,
        &mut taken,
        &mut upstreams,
        &mut hooks,
        (names, &traces),
        reader,
    );
    let has_plain = acme::listeners_without_tls(&listeners).next().is_some();
    for stream in &mut streams {
        if let Some(acme) = stream.tls.as_mut().and_then(|tls| tls.acme.as_mut()) {
            acme::complete_stream(acme, has_plain, &stream.place, problems);
        }
    }
    let of_listeners = listeners.iter().flat_map(|listener| &listener.error_pages);
    let of_routes = routes.iter().flat_map(|route| &route.error_pages);
    error_page::check_routes(of_listeners.chain(of_routes), &routes, reader);
    let admin = admin::admin(&root, &taken);
    let traces = traces.into_config();
    let mut config = Config {
        server: of_server,
        listeners,
        upstreams: upstreams.list.into_iter().map(Arc::new).collect(),
        variables: Arc::new(variables.into_definitions(route::capture_names(&routes))),
        routes: Arc::new(routes),
        streams,
        hooks: hooks.into_list(),
        components,
        plugins: [plugins, files].concat(),
        store: store::store(&root, &server),
        metrics: metrics::metrics(&root),
        traces,
        admin,
        environment: FromEnvironment::new(document.environment.clone()),
        warnings: [
            document.warnings.clone(),
            problems.take_warnings(&document.files),
        ]
        .concat(),
        http_challenges: Vec::new(),
    };
    config.http_challenges = acme::http_challenges(&config);
    acme::refuse_two_keys(&config, problems);
    config
}

/// A server that an upstream is to get, as one of its `servers`.
pub(super) fn further_server(
    node: &Node,
    upstream: &UpstreamConfig,
    problems: &Problems,
) -> Option<UpstreamServer> {
    let reader = ConfigReader {
        problems,
        complete: true,
    };
    upstream::further_server(node, upstream, reader)
}

/// Only what the file says of `[admin]`.
pub(super) fn admin_alone(document: &Document, problems: &Problems) -> Option<AdminConfig> {
    let start = start(document);
    admin::admin(
        &Section::of(&document.root, &start, &ROOT, problems),
        &server::TakenAddresses::new(),
    )
}

/// An admin address as `[admin] address` has it.
///
/// # Errors
/// What is wrong with it, and the way out.
pub fn admin_address(text: &str) -> Result<Address, String> {
    address::to_administer_here(text).map_err(|Complaint { message, hint }| match hint {
        Some(hint) => format!("{message} ({hint})"),
        None => message,
    })
}

/// Where the first file begins: the place of what is left out.
fn start(document: &Document) -> Place {
    Place {
        file: document.files.first().cloned().unwrap_or_default(),
        ..Place::default()
    }
}

/// What all parts need beside their section.
#[derive(Clone, Copy)]
struct ConfigReader<'a> {
    problems: &'a Problems,
    complete: bool,
}

impl ConfigReader<'_> {
    /// Notes that something is not there, unless it may stand in a file that could not be read.
    fn missing(&self, problem: Problem) {
        if self.complete {
            self.problems.add(problem);
        }
    }
}

/// A message for the user, and perhaps a hint, about a value whose place the caller knows.
#[derive(Debug, PartialEq, Eq)]
struct Complaint {
    message: String,
    hint: Option<String>,
}

impl Complaint {
    fn new(message: impl Into<String>) -> Complaint {
        Complaint {
            message: message.into(),
            hint: None,
        }
    }

    fn hint(mut self, hint: impl Into<String>) -> Complaint {
        self.hint = Some(hint.into());
        self
    }

    fn at(self, place: &Place) -> Problem {
        Problem {
            place: place.clone(),
            message: self.message,
            hint: self.hint,
        }
    }
}

/// Notes what a name cannot be. `what`: what it is the name of.
fn check_name(name: &str, what: &str) -> Result<(), Complaint> {
    const LONGEST: usize = 64;
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    if !name.is_empty() && name.len() <= LONGEST && name.bytes().all(allowed) {
        return Ok(());
    }
    let complaint = Complaint::new(format!("`{name}` cannot be {what}"));
    Err(complaint.hint(format!(
        "a name is of `a-z`, `0-9`, `_` and `-`, {LONGEST} bytes at most"
    )))
}

/// The text of a part of something, as `"25%"`; a number is told as one. `example`: one that is
/// possible, for what cannot be meant for any.
fn part<'a>(section: &Section<'a>, name: &str, example: &str) -> Option<(&'a str, &'a Node)> {
    let node = section.get(name)?;
    let meant = match &node.value {
        Value::Integer(percent @ 1..=100) => format!("{percent}%"),
        // A fraction of one, or percents with decimals.
        Value::Float(share) if (0.01..=1.0).contains(share) => {
            format!("{}%", (share * 100.0).round())
        }
        Value::Float(percent) if (1.0..=100.0).contains(percent) => {
            format!("{}%", percent.round())
        }
        Value::Integer(_) | Value::Float(_) => example.to_owned(),
        _ => return section.text_given(name),
    };
    let complaint = Complaint::new(format!(
        "`{name}` must be a part such as `\"{example}\"`, not {}",
        node.type_name()
    ));
    let hint = format!("write `{name} = \"{meant}\"`");
    section.problems.add(complaint.hint(hint).at(&node.place));
    None
}

/// The value, or `None` and a problem.
fn noted<T>(result: Result<T, Complaint>, node: &Node, problems: &Problems) -> Option<T> {
    result
        .map_err(|complaint| problems.add(complaint.at(&node.place)))
        .ok()
}

/// Text with variables that have a value there.
fn template(text: &str, phase: Phase, names: Names<'_>) -> Result<Template, Complaint> {
    Template::parse_for(text, phase, names).map_err(complaint)
}

/// Text with variables, wherever they have a value.
fn any_template(text: &str, names: Names<'_>) -> Result<Template, Complaint> {
    Template::parse_of(text, names).map_err(complaint)
}

/// A text has one place, and so one complaint about all that is wrong with it.
fn complaint(errors: Vec<TemplateError>) -> Complaint {
    let messages: Vec<&str> = errors.iter().map(|error| &*error.message).collect();
    let mut hints: Vec<&str> = errors
        .iter()
        .filter_map(|error| error.hint.as_deref())
        .collect();
    hints.dedup();
    Complaint {
        message: messages.join("; "),
        hint: (!hints.is_empty()).then(|| hints.join("; ")),
    }
}

/// `404`, or `4xx` for all that begin so.
fn statuses_of(text: &str) -> Option<RangeInclusive<u16>> {
    match text.as_bytes() {
        [class @ b'1'..=b'5', b'x', b'x'] => {
            let first = u16::from(class - b'0') * 100;
            Some(first..=first + 99)
        }
        _ => text.parse().ok().map(|status| status..=status),
    }
}
