//! Which route a request takes: by host, then by path among the routes of that host, both in
//! nginx's order.
//!
//! As nginx's servers, hosts do not share: once a host is chosen only its own routes are asked, and
//! neither those of a less specific host nor those without a host fill in for a path that it lacks.
//!
//! Of several routes with one host and path, which differ in their conditions, the first counts whose
//! conditions hold. Those whose conditions do not hold are passed over, as if they were not there.
//!
//! A path that lacks only the slash at the end of a route that proxies, such as `/api` of `/api/`,
//! takes that route to be redirected, as in nginx. One with files is redirected so as well, where no
//! other route has the path: nginx finds none there.

mod paths; // among those of a host

use std::collections::HashMap;

use regex::Regex;
use rustc_hash::FxBuildHasher;

use crate::config::model::{Action, HostPattern, PathPattern, Route};
use paths::{Building, Candidate, Paths};

/// The routes of one listener.
#[derive(Debug)]
pub(crate) struct Router {
    hosts: Hosts,
    paths: Paths,
    /// Those that servers may hand a request on to, where that is not the same: internal ones count
    /// as well.
    for_servers: Option<Box<(Hosts, Paths)>>,
    /// Those that have a name.
    named: HashMap<Box<str>, usize>,
}

/// The number of each host. Nobody but the configuration adds to these maps, so that a hash which a
/// client could foresee does no harm.
#[derive(Debug, Default)]
struct Hosts {
    exact: HashMap<Box<str>, usize, FxBuildHasher>,
    /// `*.example.com`, as `.example.com`.
    suffixes: HashMap<Box<str>, usize, FxBuildHasher>,
    /// `www.example.*`, as `www.example.`.
    prefixes: HashMap<Box<str>, usize, FxBuildHasher>,
    /// In file order.
    regexes: Vec<(Regex, usize)>,
    /// The routes without a host.
    default: Option<usize>,
}

/// The route that a request takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Match {
    /// Index into [`Config::routes`](crate::config::model::Config::routes).
    pub(crate) route: usize,
    /// How much of the path the route's pattern is, which the URI part of `proxy` replaces; 0 for a
    /// regex.
    pub(crate) prefix_len: usize,
    /// The path is the route's but for the slash at its end: the client is to be sent there
    /// (`auto_redirect` of `ngx_http_core_find_static_location`).
    pub(crate) lacks_slash: bool,
}

impl Router {
    /// One for each of so many listeners, which share the routes.
    pub(crate) fn of_listeners(routes: &[Route], listeners: usize) -> Vec<Router> {
        (0..listeners)
            .map(|listener| Router::new(routes, listener))
            .collect()
    }

    pub(crate) fn new(routes: &[Route], listener: usize) -> Router {
        let routes = routes.iter().enumerate();
        let own = routes.filter(|(_, route)| route.listeners.contains(&listener));
        let mut named = HashMap::new();
        for (index, route) in own.clone() {
            if let Some(name) = &route.name {
                // There is one for each of its hosts, and they are alike.
                named.entry(name.as_str().into()).or_insert(index);
            }
        }
        // Hooks alone lead to those that are internal.
        let (hosts, paths) = lookup(own.clone().filter(|(_, route)| !route.internal));
        let has_path =
            |route: &Route| !matches!(&route.path, PathPattern::Prefix(path) if path == "/");
        let is_led_to = |route: &Route| !route.internal || has_path(route);
        let are_led = own.clone().any(|(_, route)| route.accel_redirect)
            && own
                .clone()
                .any(|(_, route)| route.internal && has_path(route));
        Router {
            hosts,
            paths,
            for_servers: are_led
                .then(|| Box::new(lookup(own.filter(|(_, route)| is_led_to(route))))),
            named,
        }
    }

    /// The route of a request. `host` is in lower case and without port, `""` where the request has
    /// none; `path` is normalised; `holds` is asked for the conditions of a route that has some.
    pub(crate) fn find(
        &self,
        host: &str,
        path: &[u8],
        holds: impl Fn(usize) -> bool,
    ) -> Option<Match> {
        self.paths.find(self.hosts.find(host)?, path, holds)
    }

    /// As [`find`](Router::find), for a path that a server has handed a request on to: an internal
    /// route is found by its path as well, unless that is `/`, which most of them have by default.
    pub(crate) fn find_handed_on(
        &self,
        host: &str,
        path: &[u8],
        holds: impl Fn(usize) -> bool,
    ) -> Option<Match> {
        match &self.for_servers {
            Some(lookup) => lookup.1.find(lookup.0.find(host)?, path, holds),
            None => self.find(host, path, holds),
        }
    }

    /// Whether a request has the host, and the path, of a route: whatever others have them as well,
    /// and whatever its conditions are.
    pub(crate) fn has(route: &Route, host: &str, path: &[u8]) -> (bool, bool) {
        let (hosts, paths) = lookup(std::iter::once((0, route)));
        let has_path = paths.find(0, path, |_| true).is_some();
        (hosts.find(host).is_some(), has_path)
    }

    /// The route of that name, internal ones included.
    pub(crate) fn named(&self, name: &str) -> Option<usize> {
        self.named.get(name).copied()
    }
}

/// Routes by host and path.
fn lookup<'a>(routes: impl Iterator<Item = (usize, &'a Route)>) -> (Hosts, Paths) {
    let (mut hosts, mut paths) = (Hosts::default(), Building::default());
    for (index, route) in routes {
        let new = paths.next_host();
        let host = hosts.number(&route.host, new);
        if host == new {
            paths.add_host();
        }
        let has_files = matches!(route.action, Action::Files(_));
        let has_bare = has_files || matches!(route.action, Action::Proxy(_) | Action::Component(_));
        let no_regex = matches!(route.path, PathPattern::PrefixNoRegex(_));
        let candidate = Candidate::new(index, !route.when.is_empty(), no_regex);
        let candidate = candidate.yielding(has_files);
        paths.add(host, &route.path, candidate, has_bare);
    }
    (hosts, paths.finish())
}

impl Hosts {
    /// The number of a host, which is `new` if it has none yet.
    fn number(&mut self, pattern: &HostPattern, new: usize) -> usize {
        match pattern {
            HostPattern::Any => *self.default.get_or_insert(new),
            HostPattern::Exact(name) => *self.exact.entry(name.as_str().into()).or_insert(new),
            HostPattern::Suffix(suffix) => {
                *self.suffixes.entry(suffix.as_str().into()).or_insert(new)
            }
            HostPattern::Prefix(prefix) => {
                *self.prefixes.entry(prefix.as_str().into()).or_insert(new)
            }
            HostPattern::Regex(regex) => {
                let mut regexes = self.regexes.iter();
                match regexes.find(|(known, _)| known.as_str() == regex.as_str()) {
                    Some((_, number)) => *number,
                    None => {
                        self.regexes.push((regex.clone(), new));
                        new
                    }
                }
            }
        }
    }

    /// `ngx_http_find_virtual_server` and `ngx_hash_find_combined`.
    fn find(&self, host: &str) -> Option<usize> {
        if host.is_empty() {
            return self.default;
        }
        if let Some(index) = self.exact.get(host) {
            return Some(*index);
        }
        if !self.suffixes.is_empty() {
            // From the left, so that the longest suffix comes first.
            let found = host
                .match_indices('.')
                .find_map(|(dot, _)| self.suffixes.get(&host[dot..]));
            if let Some(index) = found {
                return Some(*index);
            }
        }
        if !self.prefixes.is_empty() {
            let found = host
                .rmatch_indices('.')
                .find_map(|(dot, _)| self.prefixes.get(&host[..=dot]));
            if let Some(index) = found {
                return Some(*index);
            }
        }
        let regex = self.regexes.iter().find(|(regex, _)| regex.is_match(host));
        regex.map(|(_, index)| *index).or(self.default)
    }
}

#[cfg(test)]
mod tests;
