//! Routes: the one that a router finds is the one that nginx's rules name, read one after the other
//! without any index.

use std::path::Path;

use crate::config::model::{HostPattern, PathPattern, Route};
use crate::config::parse_on;
use crate::config::system::ThisMachine;
use crate::data_plane::worker_config::Router;
use crate::http::authority::Authority;
use crate::http::path::normalise;

/// Most of either that one input has: looking through all of them is slow.
const MOST: usize = 32;

/// Patterns, a host and a path each, one per line; behind an empty line requests, a host and a path
/// likewise.
pub(super) fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Some((patterns, requests)) = text.split_once("\n\n") else {
        return;
    };
    let Some(routes) = routes(patterns) else {
        return;
    };
    let router = Router::new(&routes, 0);
    for request in requests.lines().take(MOST) {
        let (host, path) = request.split_once(' ').unwrap_or(("", request));
        let host = match Authority::parse(host.as_bytes()) {
            Ok(authority) => authority.host.into_owned(),
            Err(_) => String::new(),
        };
        let Ok(path) = normalise(path.as_bytes()) else {
            continue;
        };
        let found = router.find(&host, &path, |_| true);
        assert_eq!(found.map(|found| found.route), plain(&routes, &host, &path));
        if let Some(found) = found {
            assert!(found.prefix_len <= path.len());
        }
    }
}

/// The routes as a configuration has them.
fn routes(patterns: &str) -> Option<Vec<Route>> {
    let mut config = "listen = [{ address = \"127.0.0.1:80\" }]\n".to_owned();
    for pattern in patterns.lines().take(MOST) {
        let (host, path) = pattern.split_once(' ').unwrap_or(("", pattern));
        config.push_str("[[route]]\nreturn = { status = 204 }\n");
        if !host.is_empty() {
            config.push_str(&format!("host = {}\n", serde_json::Value::from(host)));
        }
        if !path.is_empty() {
            config.push_str(&format!("path = {}\n", serde_json::Value::from(path)));
        }
    }
    let config = parse_on(&config, Path::new("routes.toml"), &ThisMachine).ok()?;
    Some(config.routes.to_vec())
}

/// The index of the route that a request takes: `host` in lower case, `path` normalised.
pub(crate) fn plain(routes: &[Route], host: &str, path: &[u8]) -> Option<usize> {
    let longest = |fits: &dyn Fn(&HostPattern) -> Option<usize>| {
        let best = routes.iter().filter_map(|route| fits(&route.host)).max()?;
        routes
            .iter()
            .find(|route| fits(&route.host) == Some(best))
            .map(|route| route.host.spelling())
    };
    let named = || {
        longest(&|pattern| match pattern {
            HostPattern::Exact(name) => (name == host).then_some(0),
            _ => None,
        })
        .or_else(|| {
            longest(&|pattern| match pattern {
                HostPattern::Suffix(suffix) => {
                    host.ends_with(suffix.as_str()).then_some(suffix.len())
                }
                _ => None,
            })
        })
        .or_else(|| {
            longest(&|pattern| match pattern {
                HostPattern::Prefix(prefix) => {
                    host.starts_with(prefix.as_str()).then_some(prefix.len())
                }
                _ => None,
            })
        })
        .or_else(|| {
            routes.iter().find_map(|route| match &route.host {
                HostPattern::Regex(regex) => regex.is_match(host).then(|| route.host.spelling()),
                _ => None,
            })
        })
    };
    // Who names no host is served by the routes without one.
    let chosen = (!host.is_empty()).then(named).flatten().unwrap_or_default();

    let own = || {
        routes
            .iter()
            .enumerate()
            .filter(|(_, route)| route.host.spelling() == chosen)
    };
    let exact = own().find(
        |(_, route)| matches!(&route.path, PathPattern::Exact(exact) if exact.as_bytes() == path),
    );
    if let Some((index, _)) = exact {
        return Some(index);
    }
    let mut best: Option<(usize, usize, bool)> = None;
    for (index, route) in own() {
        let (prefix, no_regex) = match &route.path {
            PathPattern::Prefix(prefix) => (prefix, false),
            PathPattern::PrefixNoRegex(prefix) => (prefix, true),
            PathPattern::Exact(_) | PathPattern::Regex(_) => continue,
        };
        if path.starts_with(prefix.as_bytes()) && best.is_none_or(|(_, len, _)| prefix.len() > len)
        {
            best = Some((index, prefix.len(), no_regex));
        }
    }
    let text = String::from_utf8_lossy(path);
    let regex = own().find(
        |(_, route)| matches!(&route.path, PathPattern::Regex(regex) if regex.is_match(&text)),
    );
    match (best, regex) {
        (Some((index, _, true)), _) | (Some((index, _, false)), None) => Some(index),
        (_, Some((index, _))) => Some(index),
        (None, None) => None,
    }
}
