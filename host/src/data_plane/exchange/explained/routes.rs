//! Why a request takes a route, and not one of the others. That it does, the router has said; whether
//! another one alone would have taken it, it is asked.

use super::super::admit::Admitted;
use super::super::conditions;
use super::super::fault::Fault;
use super::super::state::Exchange;
use super::told::{PassedRoute, RouteStep, RouteTold};
use crate::config::model::{HostPattern, PathPattern, Route};
use crate::data_plane::worker_config::Router;

/// Routes that are told of beside the one that is taken.
const TOLD: usize = 12;

/// How likely one might have expected a route.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Likeness {
    /// It has host and path, and something else of the request is not as it wants it.
    Conditions,
    /// It has all of it, and another one goes before it.
    Preceded,
    /// It has the host alone.
    Host,
    /// It has the path alone.
    Path,
    Internal,
}

pub(super) fn told(route: &Route) -> RouteTold {
    let file = std::path::Path::new(&*route.place.file).file_name();
    let file = file.map_or_else(String::new, |file| file.to_string_lossy().into_owned());
    RouteTold {
        name: route.name.clone(),
        host: route.host.spelling(),
        path: route.path.spelling(),
        place: format!("{file}:{}", route.place.line),
    }
}

/// A route was looked for.
pub(super) fn step(exchange: &Exchange, found: &Result<Admitted, Fault>) -> RouteStep {
    let routes = &exchange.worker_config.snapshot.config.routes;
    let taken = found.as_ref().ok().map(|admitted| admitted.route);
    let route = taken.and_then(|taken| routes.get(taken));
    let mut passed = Vec::new();
    let mut others = 0;
    for (index, other) in routes.iter().enumerate() {
        // A named one is there for each of its hosts.
        if taken == Some(index) || !other.listeners.contains(&exchange.listener) {
            continue;
        }
        others += 1;
        if let Some((likeness, why)) = why_not(exchange, other, route.map(|route| (taken, route))) {
            passed.push((likeness, index, why));
        }
    }
    passed.sort_by(|one, other| (&one.0, one.1).cmp(&(&other.0, other.1)));
    passed.truncate(TOLD);
    let others = others - passed.len();
    let passed = passed.into_iter().map(|(_, index, why)| PassedRoute {
        route: told(&routes[index]),
        why,
    });
    RouteStep {
        taken: route.map(told),
        why: match (found, route) {
            (Ok(admitted), Some(route)) => why(exchange, admitted, route),
            (Err(fault), _) => fault.to_string(),
            (Ok(_), None) => String::new(),
        },
        passed: passed.collect(),
        others,
    }
}

/// Why it is that one.
fn why(exchange: &Exchange, admitted: &Admitted, route: &Route) -> String {
    if admitted.lacks_slash {
        return "the path lacks only the slash at its end".to_owned();
    }
    let (has_host, has_path) = Router::has(route, &exchange.host, exchange.normalised());
    if !has_host || !has_path || route.internal {
        return "it was led there by name".to_owned();
    }
    let path = match &route.path {
        PathPattern::Exact(_) => "its very path",
        PathPattern::Prefix(_) => "the longest prefix of the path",
        PathPattern::PrefixNoRegex(_) => "the longest prefix of the path, before any regex",
        PathPattern::Regex(_) => "the first regex that the path fits",
    };
    let host = match &route.host {
        HostPattern::Any => "no other host",
        HostPattern::Exact(_) => "its very host",
        HostPattern::Suffix(_) | HostPattern::Prefix(_) => "a pattern of its host",
        HostPattern::Regex(_) => "a regex of its host",
    };
    let conditions = match route.when.is_empty() {
        true => "",
        false => ", and its conditions hold",
    };
    format!("{host}, {path}{conditions}")
}

/// Why a route is not taken; none where nobody would have expected it.
fn why_not(
    exchange: &Exchange,
    route: &Route,
    taken: Option<(Option<usize>, &Route)>,
) -> Option<(Likeness, String)> {
    let (host, path) = (&*exchange.host, exchange.normalised());
    match Router::has(route, host, path) {
        (false, false) => None,
        (true, true) if route.internal => {
            let why = "it is `internal`: only hooks and servers lead there";
            Some((Likeness::Internal, why.to_owned()))
        }
        (_, _) if route.internal => None,
        (true, true) => match conditions::unmet(&route.when, exchange) {
            Some(unmet) => Some((Likeness::Conditions, unmet)),
            None => Some((Likeness::Preceded, preceded(route, taken))),
        },
        (true, false) => {
            let path = conditions::shown(path);
            let why = match &route.path {
                PathPattern::Exact(_) => format!("`{path}` is another path"),
                PathPattern::Prefix(_) | PathPattern::PrefixNoRegex(_) => {
                    format!("`{path}` does not begin so")
                }
                PathPattern::Regex(_) => format!("`{path}` does not fit the regex"),
            };
            Some((Likeness::Host, why))
        }
        (false, true) => {
            let why = match host.is_empty() {
                true => "the request names no host".to_owned(),
                false => format!("`{}` is another host", conditions::shown(host.as_bytes())),
            };
            Some((Likeness::Path, why))
        }
    }
}

/// Why another route goes before one that has host and path and whose conditions hold.
fn preceded(route: &Route, taken: Option<(Option<usize>, &Route)>) -> String {
    let Some((_, taken)) = taken else {
        return "a host that fits better is chosen first, and has no route for this path"
            .to_owned();
    };
    if taken.host.spelling() != route.host.spelling() {
        return match &taken.host {
            HostPattern::Any => "the request was led elsewhere".to_owned(),
            better => format!("host `{}` fits better", better.spelling()),
        };
    }
    let why = match (&route.path, &taken.path) {
        (_, PathPattern::Exact(_)) => "another one is for this very path",
        (PathPattern::Regex(_), PathPattern::Regex(_)) => "a regex before it in the file fits",
        (PathPattern::Regex(_), _) => "no regex is asked after a `^~`",
        (_, PathPattern::Regex(_)) => "a regex fits, which goes before a prefix",
        (one, other) if one.spelling().len() < other.spelling().len() => {
            "another one's prefix is longer"
        }
        _ => "one like it comes before it in the file",
    };
    why.to_owned()
}
