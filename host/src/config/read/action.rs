//! `proxy`, `files`, `component` and `return`: what a route does.

use std::sync::Arc;

use super::component::Components;
use super::files::files;
use super::headers::check_content_type;
use super::upstream::Upstreams;
use super::{
    Complaint, ConfigReader, cookies, dynamic, headers, noted, proxied, redirects, template,
};
use crate::config::declared::RETURN;
use crate::config::model::{
    Action, CLOSE, PathPattern, Probe, Proxy, ProxyUpstream, ProxyUri, Return,
};
use crate::config::problem::{Problem, suggestion};
use crate::config::section::Section;
use crate::config::tree::{Node, Value};
use crate::http::variable::{Names, Phase};

/// Statuses that a client answers by going to `Location` (RFC 9110 section 15.4), those without a
/// use of it left aside.
pub(crate) const REDIRECTS: [u16; 5] = [301, 302, 303, 307, 308];

/// `None` where it cannot be told; the problem is noted.
pub(super) fn action(
    route: &Section<'_>,
    path: Option<&PathPattern>,
    upstreams: &mut Upstreams<'_>,
    components: &mut Components<'_>,
    names: Names<'_>,
    reader: ConfigReader<'_>,
) -> Option<Action> {
    let answer = route
        .table("return", &RETURN)
        .and_then(|section| answer(&section, names));
    let proxy = route
        .text_given("proxy")
        .and_then(|(text, node)| proxy(route, text, node, path, upstreams, names, reader));
    let files = files(route);
    let component = components.of(route, upstreams);
    let counts = is_true(route, "stub_status");
    let metrics = is_true(route, "metrics");
    let probe = probe(route);
    let given = [
        "proxy",
        "files",
        "component",
        "return",
        "stub_status",
        "metrics",
        "probe",
    ]
    .map(|name| {
        let entry = route.entries().iter().find(|entry| entry.key == name);
        entry.map(|entry| (name, entry))
    });
    let mut given = given.into_iter().flatten();
    match (given.next(), given.next()) {
        (Some((first, _)), Some((second, entry))) => {
            let message = format!("a route has either `{first}` or `{second}`, not both");
            reader.problems.add(Problem::new(&entry.key_place, message));
        }
        (None, _) => {
            let message = "the route has neither `proxy`, `files`, `component`, `return`, `stub_status`, `metrics` nor `probe`";
            let problem = Problem::new(route.place, message);
            let hint = "say where its requests go, `proxy = \"backend\"`, which files to answer with, \
                        `files = \"/srv/app\"`, or what to answer, `return = { status = 404 }`";
            reader.problems.add(problem.hint(hint));
        }
        (Some(("proxy", _)), None) => {}
        (Some((action, _)), None) => {
            refuse_without_server(route, action);
            refuse_allow(route);
        }
    }
    let action = proxy.map(Action::Proxy).or(answer.map(Action::Return));
    let action = action.or(counts.then_some(Action::StubStatus));
    let action = action.or(metrics.then_some(Action::Metrics));
    let action = action.or(probe.map(Action::Probe));
    let action = action.or(component.map(Action::Component));
    action.or(files.map(|files| Action::Files(Arc::new(files))))
}

fn proxy(
    route: &Section<'_>,
    text: &str,
    node: &Node,
    path: Option<&PathPattern>,
    upstreams: &mut Upstreams<'_>,
    names: Names<'_>,
    reader: ConfigReader<'_>,
) -> Option<Proxy> {
    let proxied = |upstream, uri, redirects| Proxy {
        upstream,
        uri,
        redirects,
        cookies: cookies::cookies(route, names, reader),
        method: proxied::method(route),
        body: proxied::body(route, names),
    };
    let Some((scheme, rest)) = text.split_once("://") else {
        if text.contains('$') {
            reader
                .problems
                .add(dynamic::no_scheme(text).at(&node.place));
            return None;
        }
        refuse_allow(route);
        let index = upstreams.index(text);
        if index.is_none() {
            let complaint = Complaint::new(format!("unknown upstream `{text}`"));
            let hint = if text.contains([':', '.']) {
                format!("an address is written `http://{text}`")
            } else {
                let near = suggestion(text, upstreams.names(), "upstreams");
                match near.starts_with("did you mean") || text.is_empty() {
                    true => near,
                    false => format!("{near}; an address is written `http://{text}`"),
                }
            };
            reader.missing(complaint.hint(hint).at(&node.place));
        }
        let upstream = index?;
        let uri = proxied::prefix(route, None, path);
        let redirects = redirects::rules(route, upstreams.url(upstream), &uri, path, names, reader);
        return Some(proxied(ProxyUpstream::Fixed(upstream), uri, redirects));
    };
    let scheme_problem = match scheme {
        "http" | "https" => None,
        _ => Some(format!("unknown scheme `{scheme}` in `{text}`")),
    };
    if let Some(message) = scheme_problem {
        reader.problems.add(Problem::new(&node.place, message));
        return None;
    }
    let (authority, uri) = split_uri(rest);
    let uri = match uri {
        Some(uri) => Some(noted(checked_uri(uri, path, names), node, reader.problems)?),
        None => None,
    };
    let uri = proxied::prefix(route, uri, path);
    let https = scheme == "https";
    if authority.contains('$') {
        let dynamic = dynamic::proxy(route, authority, https, node, upstreams, names, reader)?;
        let dynamic = ProxyUpstream::Dynamic(Arc::new(dynamic));
        // What a server calls itself is not known beforehand (nginx refuses `default` there).
        let redirects = redirects::given_alone(route, names, reader);
        return Some(proxied(dynamic, uri, redirects));
    }
    refuse_allow(route);
    let upstream = match upstreams.of_address(authority, https, node) {
        Ok(index) => index,
        Err(mut complaint) => {
            let near = suggestion(authority, upstreams.names(), "");
            if near.starts_with("did you mean") && upstreams.index(authority).is_none() {
                complaint.hint = Some(near);
            }
            reader.missing(complaint.at(&node.place));
            return None;
        }
    };
    let redirects = redirects::rules(route, upstreams.url(upstream), &uri, path, names, reader);
    Some(proxied(ProxyUpstream::Fixed(upstream), uri, redirects))
}

/// Keys that go with `proxy` alone.
const OF_PROXY: [&str; 6] = [
    "proxy_redirect",
    "cookies",
    "strip_prefix",
    "add_prefix",
    "request_method",
    "request_body",
];

fn probe(route: &Section<'_>) -> Option<Probe> {
    let word = route.word("probe");
    let all = [Probe::Live, Probe::Ready];
    all.into_iter().find(|probe| probe.name() == word)
}

/// Whether what a switch turns on is what is answered.
fn is_true(route: &Section<'_>, name: &str) -> bool {
    let counts = route.boolean(name);
    if let (Some(node), false) = (route.get(name), counts)
        && matches!(node.value, Value::Boolean(_) | Value::Environment(_))
    {
        let problem = Problem::new(&node.place, format!("`{name} = false` is no answer"));
        let hint = "leave it out, and say what the route does";
        route.problems.add(problem.hint(hint));
    }
    counts
}

/// What answers by itself has no server that anything could be said of.
fn refuse_without_server(route: &Section<'_>, action: &str) {
    let entries = route.entries().iter();
    for entry in entries.filter(|entry| OF_PROXY.contains(&entry.key.as_str())) {
        let message = format!(
            "`{}` goes with `proxy`, and this route has `{action}`",
            entry.key
        );
        route.problems.add(Problem::new(&entry.key_place, message));
    }
}

/// Notes a list of names that nothing could bring up.
fn refuse_allow(route: &Section<'_>) {
    if let Some(node) = route.get("proxy_allow") {
        let problem = Problem::new(&node.place, "`proxy_allow` without variables in `proxy`");
        let hint = "it says what variables in place of a name may come to: leave it out";
        route.problems.add(problem.hint(hint));
    }
}

/// Variables whose values begin with a path.
const PATHS: [&str; 4] = ["$request_uri", "${request_uri}", "$uri", "${uri}"];

/// Splits `backend/uri/`, `backend$request_uri` and nginx's `unix:/path/of.sock:/uri/`.
fn split_uri(rest: &str) -> (&str, Option<&str>) {
    if rest.starts_with("unix:") {
        let colon = rest.match_indices(':').nth(1).map(|(at, _)| at);
        return match colon {
            Some(at) => (
                rest.split_at(at).0,
                rest.get(at + 1..).filter(|uri| !uri.is_empty()),
            ),
            None => (rest, None),
        };
    }
    let slash = rest.find('/');
    let variables = PATHS.iter().filter_map(|path| rest.find(path));
    match variables.chain(slash).min() {
        Some(at) => (rest.split_at(at).0, Some(rest.split_at(at).1)),
        None => (rest, None),
    }
}

fn checked_uri(
    uri: &str,
    path: Option<&PathPattern>,
    names: Names<'_>,
) -> Result<ProxyUri, Complaint> {
    if uri.contains('$') {
        return Ok(ProxyUri::Whole(template(uri, Phase::Request, names)?));
    }
    if matches!(path, Some(PathPattern::Regex(_))) {
        let message = format!("`proxy` cannot have a URI part (`{uri}`) where `path` is a regex");
        return Err(Complaint::new(message)
            .hint("there is no fixed part of the path that it could replace; with variables, `$request_uri`, it is the whole target"));
    }
    if !uri.starts_with('/') || !uri.chars().all(|c| c.is_ascii_graphic() && c != '#') {
        let complaint = Complaint::new(format!("`{uri}` is not the path of a URI"));
        return Err(complaint.hint("encode what is not allowed in a URI as `%20`"));
    }
    Ok(ProxyUri::Part(uri.to_owned()))
}

/// Why a status does not go with what is answered: a `location`, the text that is the value of a
/// key, or neither.
pub(super) fn misfit(status: u16, with_location: bool, text: Option<&str>) -> Option<Complaint> {
    match (status, text) {
        _ if with_location && !REDIRECTS.contains(&status) => {
            let complaint =
                Complaint::new(format!("status {status} does not go with a `location`"));
            Some(complaint.hint("a redirect is 301, 302, 303, 307 or 308"))
        }
        _ if !with_location && REDIRECTS.contains(&status) => Some(Complaint::new(format!(
            "status {status} needs a `location`"
        ))),
        (204 | 304 | CLOSE, Some(key)) => Some(Complaint::new(format!(
            "an answer of status {status} has no `{key}`"
        ))),
        _ => None,
    }
}

fn answer(section: &Section<'_>, names: Names<'_>) -> Option<Return> {
    let problems = section.problems;
    let status: Option<u16> = section.get("status").map(|_| section.integer("status"));
    let location = section
        .text_given("location")
        .and_then(|(text, node)| noted(headers::location(text, names), node, problems));
    let body = section.text_given("body");
    let template =
        body.and_then(|(text, node)| noted(template(text, Phase::Return, names), node, problems));
    check_content_type(section, names);
    let with_location = section.get("location").is_some();
    let complaint = match status {
        None if !with_location && body.is_none() => Some(
            Complaint::new("`return` says nothing")
                .hint("give it a `status`, a `location` or a `body`"),
        ),
        // It was no status.
        None | Some(0) => None,
        Some(status) => misfit(status, with_location, body.map(|_| "body")),
    };
    if let Some(complaint) = complaint {
        let place = section
            .get("status")
            .map_or(section.place, |node| &node.place);
        problems.add(complaint.at(place));
    }
    Some(Return {
        status: status.unwrap_or(if with_location { 302 } else { 200 }),
        body: template,
        content_type: section.text("content_type").to_owned(),
        location,
    })
}
