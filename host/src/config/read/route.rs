//! `[[route]]`.

use std::collections::{BTreeSet, HashMap};

use super::component::Components;
use super::headers::{changes, expires};
use super::hook::Hooks;
use super::traces::Traces;
use super::upstream::{Upstreams, next_conditions};
use super::{
    Complaint, ConfigReader, access_log, action, address, check_name, compression, condition,
    error_page, noted, pattern, variable,
};
use crate::config::declared::{PROXY_LIMITS, ROUTE};
use crate::config::model::{
    Action, FileFallback, HostPattern, ListenerConfig, PathPattern, Route, RouteLimits,
};
use crate::config::problem::{Place, Problem, suggestion};
use crate::config::section::Section;
use crate::config::tree::{Node, Value};
use crate::http::variable::{CaptureNames, Names, Phase};

pub(super) fn routes<'a>(
    root: &Section<'a>,
    listeners: &[ListenerConfig],
    upstreams: &mut Upstreams<'_>,
    hooks: &mut Hooks<'a>,
    components: &mut Components<'_>,
    (names, traces): (Names<'_>, &Traces<'_>),
    reader: ConfigReader<'a>,
) -> Vec<Route> {
    let mut routes = Vec::new();
    let (mut taken_names, mut fallbacks) = (HashMap::new(), Vec::new());
    let mut first_places = FirstPlaces::default();
    for node in root.list("route") {
        let Some(section) = Section::open(node, &ROUTE, reader.problems) else {
            continue;
        };
        let listening = listening(&section, listeners, reader);
        let path = path(&section);
        let hosts = hosts(&section);
        let captures = captures(&section, path.as_ref(), &hosts, names, reader);
        // What has to hold is asked for before it is known what has matched.
        let when = condition::conditions(&section, names);
        let names = names.with_captures(&captures);
        let (name, internal) = (
            name(&section, &mut taken_names),
            section.boolean("internal"),
        );
        if internal && let Some(node) = section.get("when") {
            let problem = Problem::new(&node.place, "`when` in a route that is `internal`");
            let hint = "hooks lead to it whatever the request is: leave one of both out";
            section.problems.add(problem.hint(hint));
        }
        let (hooks, inherits_hooks) = (hooks.of(&section), section.boolean("inherit_hooks"));
        let path_given = path.as_ref();
        let action = action::action(&section, path_given, upstreams, components, names, reader);
        if let Some(Action::Files(files)) = &action
            && let FileFallback::Route(name) = &files.fallback
        {
            let place = section
                .get("files")
                .map_or(section.place, |node| &node.place);
            fallbacks.push((name.clone(), place));
        }
        let request_headers = changes(&section, Phase::Request, names);
        let answering = match is_answered_here(&section) {
            true => Phase::Return,
            false => Phase::Response,
        };
        let response_headers = changes(&section, answering, names);
        // Probes come every few seconds, and say nothing of clients.
        let unlogged = section.get("probe").map(|_| Vec::new());
        let access_logs = access_log::access_logs(&section, names).or(unlogged);
        let traces = traces.own(&section);
        let client_max_body_size = section
            .get("client_max_body_size")
            .map(|_| Some(section.size("client_max_body_size")).filter(|size| *size > 0));
        let compression = compression::compression(&section);
        let gunzip = section.get("gunzip").map(|_| section.boolean("gunzip"));
        let expires = expires(&section);
        let limits = limits(&section).shared();
        let error_pages = error_page::pages(&section, names);
        let intercepts = section.get("intercept_errors");
        let intercept_errors = intercepts.map(|_| section.boolean("intercept_errors"));
        let accel_redirect = section.boolean("accel_redirect");
        // With a problem noted the route is not made, nor compared with others.
        let Some(path) = path else { continue };
        for host in hosts {
            // What is not found by host and path may have those of another.
            if !internal {
                first_places.note(&listening, &host, &path, &section, !when.is_empty(), reader);
            }
            let Some(action) = action.clone() else {
                continue;
            };
            routes.push(Route {
                name: name.clone(),
                internal,
                hooks: hooks.clone(),
                inherits_hooks,
                listeners: listening.clone(),
                host,
                path: path.clone(),
                when: when.clone(),
                action,
                request_headers: request_headers.clone(),
                response_headers: response_headers.clone(),
                access_logs: access_logs.clone(),
                traces: traces.clone(),
                client_max_body_size,
                compression: compression.clone(),
                gunzip,
                expires,
                limits: limits.clone(),
                error_pages: error_pages.clone(),
                intercept_errors,
                accel_redirect,
                place: section.place.clone(),
            });
        }
    }
    for (name, place) in fallbacks {
        if !taken_names.contains_key(&*name) {
            let problem = Problem::new(place, format!("no route has the name `{name}`"));
            let hint = suggestion(&name, taken_names.keys().copied(), "names of routes");
            reader.missing(problem.hint(hint));
        }
    }
    routes
}

/// The groups of a route's regexes: `$1` is one of its path's, or of its host's where the path is no
/// regex or has none.
fn captures(
    section: &Section<'_>,
    path: Option<&PathPattern>,
    hosts: &[HostPattern],
    names: Names<'_>,
    reader: ConfigReader<'_>,
) -> CaptureNames {
    let (mut of_path, mut of_hosts) = (CaptureNames::default(), CaptureNames::default());
    if let (Some(path), Some(node)) = (path, section.get("path")) {
        of_path = path.capture_names();
        variable::check_captures(&of_path, names, &node.place, reader);
    }
    if let Some(node) = section.get("host") {
        let all = hosts.iter().map(HostPattern::capture_names);
        of_hosts = all.fold(of_hosts, CaptureNames::or);
        variable::check_captures(&of_hosts, names, &node.place, reader);
    }
    of_path.or(of_hosts)
}

/// The names of all groups in the regexes of routes.
pub(super) fn capture_names(routes: &[Route]) -> Vec<Box<str>> {
    let all = routes
        .iter()
        .flat_map(|route| [route.path.capture_names(), route.host.capture_names()]);
    let names: BTreeSet<Box<str>> = all.flat_map(CaptureNames::into_names).collect();
    names.into_iter().collect()
}

/// Whether a route answers by itself, without a server.
fn is_answered_here(section: &Section<'_>) -> bool {
    let is_given = |key: &&str| section.get(key).is_some();
    let answering = [
        "return",
        "files",
        "component",
        "stub_status",
        "metrics",
        "probe",
    ];
    section.get("proxy").is_none() && answering.iter().any(is_given)
}

/// What a route says again of its upstream and its listener.
fn limits(section: &Section<'_>) -> RouteLimits {
    if is_answered_here(section) {
        let is_answered_by_component = section.get("component").is_some();
        for name in PROXY_LIMITS.into_iter().chain(["accel_redirect"]) {
            if name == "body_buffer_size" && is_answered_by_component {
                continue;
            }
            if let Some(node) = section.get(name) {
                let message = format!("`{name}` without a `proxy`");
                let hint = "it is about the way to a server: leave it out";
                let problem = Problem::new(&node.place, message);
                section.problems.add(problem.hint(hint));
            }
        }
    }
    let duration = |name| section.get(name).map(|_| section.duration(name));
    let next = section.get("next_upstream");
    let tries = section.get("next_upstream_tries");
    let buffer = section.get("body_buffer_size");
    RouteLimits {
        connect_timeout: duration("connect_timeout"),
        send_timeout: duration("send_timeout"),
        read_timeout: duration("read_timeout"),
        half_close_timeout: duration("half_close_timeout"),
        body_buffer_size: buffer.map(|_| section.buffer_size("body_buffer_size")),
        next_conditions: next.map(|_| next_conditions(section)),
        next_tries: tries.map(|_| section.integer("next_upstream_tries")),
        next_timeout: duration("next_upstream_timeout"),
        client_body_timeout: duration("client_body_timeout"),
        client_send_timeout: duration("client_send_timeout"),
    }
}

/// The name of a route, which no other one has. `taken`: where each stands.
fn name<'a>(section: &Section<'a>, taken: &mut HashMap<&'a str, &'a Place>) -> Option<String> {
    let Some((name, node)) = section.text_given("name") else {
        if section.get("name").is_none() && section.boolean("internal") {
            let place = section
                .get("internal")
                .map_or(section.place, |node| &node.place);
            let problem = Problem::new(place, "an `internal` route without a `name`");
            let hint =
                "only a name leads to it, that of a hook or of a `fallback`: add `name = \"...\"`";
            section.problems.add(problem.hint(hint));
        }
        return None;
    };
    noted(check_name(name, "a route's name"), node, section.problems)?;
    let first = *taken.entry(name).or_insert(&node.place);
    if !std::ptr::eq(first, &node.place) {
        let problem = Problem::new(&node.place, format!("duplicate route name `{name}`"));
        let hint = format!("the first is at {}:{}", first.file, first.line);
        section.problems.add(problem.hint(hint));
    }
    Some(name.to_owned())
}

/// Indexes of the listeners named, in their order; all where none is.
fn listening(
    section: &Section<'_>,
    listeners: &[ListenerConfig],
    reader: ConfigReader<'_>,
) -> Vec<usize> {
    if section.get("listen").is_none() {
        return (0..listeners.len()).collect();
    }
    let mut indexes = Vec::new();
    for (text, node) in section.texts("listen") {
        let Some(address) = noted(address::to_listen_on(text), node, reader.problems) else {
            continue;
        };
        let before = indexes.len();
        let all = listeners.iter().enumerate();
        indexes.extend(
            all.filter(|(_, listener)| listener.address == address)
                .map(|(index, _)| index),
        );
        if indexes.len() == before {
            let known: Vec<String> = listeners
                .iter()
                .map(|listener| listener.address.to_string())
                .collect();
            let complaint = Complaint::new(format!("no listener has the address `{text}`"));
            let hint = suggestion(text, known.iter().map(String::as_str), "listeners");
            reader.missing(complaint.hint(hint).at(&node.place));
        }
    }
    not_empty(section, "listen");
    indexes.sort_unstable();
    indexes.dedup();
    indexes
}

fn hosts(section: &Section<'_>) -> Vec<HostPattern> {
    if section.get("host").is_none() {
        return vec![HostPattern::Any];
    }
    not_empty(section, "host");
    let texts = section.texts("host").into_iter();
    let patterns =
        texts.filter_map(|(text, node)| noted(pattern::hosts(text), node, section.problems));
    patterns.flatten().collect()
}

/// A route of no listener or no host would never be found.
fn not_empty(section: &Section<'_>, name: &str) {
    if let Some(Node {
        place,
        value: Value::Array(items),
        ..
    }) = section.get(name)
        && items.is_empty()
    {
        let problem = Problem::new(place, format!("`{name}` is an empty list"));
        section
            .problems
            .add(problem.hint("leave it out to match any"));
    }
}

fn path(section: &Section<'_>) -> Option<PathPattern> {
    match section.text_given("path") {
        Some((text, node)) => noted(pattern::path(text), node, section.problems),
        None => Some(PathPattern::Prefix(
            section.text_by_default("path").to_owned(),
        )),
    }
}

/// Where each listener, host and path was met first without conditions: what comes behind that is
/// never found.
#[derive(Default)]
struct FirstPlaces<'a>(HashMap<(usize, String, String), FirstRoute<'a>>);

#[derive(Clone, Copy)]
struct FirstRoute<'a> {
    place: &'a Place,
    /// Whether it names its listeners.
    listens: bool,
}

impl<'a> FirstPlaces<'a> {
    fn note(
        &mut self,
        listeners: &[usize],
        host: &HostPattern,
        path: &PathPattern,
        section: &Section<'a>,
        has_conditions: bool,
        reader: ConfigReader<'_>,
    ) {
        let route = FirstRoute {
            place: section.place,
            listens: section.get("listen").is_some(),
        };
        // As in nginx, `^~` makes no other location of the same prefix.
        let path = match path {
            PathPattern::PrefixNoRegex(prefix) => prefix.clone(),
            path => path.spelling(),
        };
        for listener in listeners {
            let key = (*listener, host.spelling(), path.clone());
            let first = match has_conditions {
                true => self.0.get(&key).copied(),
                false => Some(*self.0.entry(key).or_insert(route)),
            };
            let Some(first) = first.filter(|first| !std::ptr::eq(first.place, route.place)) else {
                continue;
            };
            let host = match host {
                HostPattern::Any => "any host".to_owned(),
                host => format!("host `{}`", host.spelling()),
            };
            let Place { file, line, .. } = first.place;
            let (message, mut hint) = match has_conditions {
                true => (
                    format!("no request of {host} and path `{path}` gets here"),
                    format!(
                        "the route without `when` at {file}:{line} takes all: put it behind this one"
                    ),
                ),
                false => (
                    format!("duplicate route for {host} and path `{path}`"),
                    format!("the first is at {file}:{line}"),
                ),
            };
            let problem = Problem::new(route.place, message);
            if first.listens != route.listens {
                hint += "; a route without `listen` serves all listeners";
            }
            reader.problems.add(problem.hint(hint));
        }
    }
}
