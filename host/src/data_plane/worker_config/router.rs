//! Which route a request takes: by host, then by path among the routes of that host, both in
//! nginx's order.
//!
//! As nginx's servers, hosts do not share: once a host is chosen only its own routes are asked, and
//! neither those of a less specific host nor those without a host fill in for a path that it lacks.
//!
//! A path that lacks only the slash at the end of a route that proxies, such as `/api` of `/api/`,
//! takes that route to be redirected, as in nginx.

use std::collections::HashMap;

use regex::Regex;

use crate::config::model::{Action, HostPattern, PathPattern, Route};

/// The routes of one listener.
#[derive(Debug)]
pub(crate) struct Router {
    /// The values of the maps below are indexes into it.
    hosts: Vec<Paths>,
    exact: HashMap<Box<str>, usize>,
    /// `*.example.com`, as `.example.com`.
    suffixes: HashMap<Box<str>, usize>,
    /// `www.example.*`, as `www.example.`.
    prefixes: HashMap<Box<str>, usize>,
    /// In file order.
    regexes: Vec<(Regex, usize)>,
    /// The routes without a host.
    default: Option<usize>,
    /// Those that have a name.
    named: HashMap<Box<str>, usize>,
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

    /// Of several routes with one host and path, the first counts.
    pub(crate) fn new(routes: &[Route], listener: usize) -> Router {
        let mut router = Router {
            hosts: Vec::new(),
            exact: HashMap::new(),
            suffixes: HashMap::new(),
            prefixes: HashMap::new(),
            regexes: Vec::new(),
            default: None,
            named: HashMap::new(),
        };
        for (index, route) in routes.iter().enumerate() {
            if !route.listeners.contains(&listener) {
                continue;
            }
            if let Some(name) = &route.name {
                // There is one for each of its hosts, and they are alike.
                router.named.entry(name.as_str().into()).or_insert(index);
            }
            // Hooks alone lead to those that are internal.
            if !route.internal {
                let host = router.host(&route.host);
                let proxies = matches!(route.action, Action::Proxy(_));
                router.hosts[host].add(&route.path, index, proxies);
            }
        }
        for host in &mut router.hosts {
            host.finish();
        }
        router
    }

    /// The index of a host's paths, made if it is new.
    fn host(&mut self, pattern: &HostPattern) -> usize {
        let new = self.hosts.len();
        let index = match pattern {
            HostPattern::Any => *self.default.get_or_insert(new),
            HostPattern::Exact(name) => *self.exact.entry(name.as_str().into()).or_insert(new),
            HostPattern::Suffix(suffix) => {
                *self.suffixes.entry(suffix.as_str().into()).or_insert(new)
            }
            HostPattern::Prefix(prefix) => {
                *self.prefixes.entry(prefix.as_str().into()).or_insert(new)
            }
            HostPattern::Regex(regex) => {
                let known = self
                    .regexes
                    .iter()
                    .find(|(known, _)| known.as_str() == regex.as_str());
                if let Some((_, index)) = known {
                    *index
                } else {
                    self.regexes.push((regex.clone(), new));
                    new
                }
            }
        };
        if index == new {
            self.hosts.push(Paths::default());
        }
        index
    }

    /// The route of a request. `host` is in lower case and without port, `""` where the request has
    /// none; `path` is normalised.
    pub(crate) fn find(&self, host: &str, path: &[u8]) -> Option<Match> {
        self.hosts[self.find_host(host)?].find(path)
    }

    /// The route of that name, internal ones included.
    pub(crate) fn named(&self, name: &str) -> Option<usize> {
        self.named.get(name).copied()
    }

    /// `ngx_http_find_virtual_server` and `ngx_hash_find_combined`.
    fn find_host(&self, host: &str) -> Option<usize> {
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

/// The routes of one host.
#[derive(Debug, Default)]
struct Paths {
    exact: HashMap<Box<[u8]>, usize>,
    prefixes: Prefixes,
    /// In file order.
    regexes: Vec<(Regex, usize)>,
    /// Paths of routes that proxy and end with a slash, without it, and not routes themselves.
    without_slash: HashMap<Box<[u8]>, usize>,
}

impl Paths {
    fn add(&mut self, pattern: &PathPattern, route: usize, proxies: bool) {
        if proxies
            && let PathPattern::Exact(path)
            | PathPattern::Prefix(path)
            | PathPattern::PrefixNoRegex(path) = pattern
            && let Some(bare @ [_, ..]) = path.as_bytes().strip_suffix(b"/")
        {
            self.without_slash.entry(bare.into()).or_insert(route);
        }
        match pattern {
            PathPattern::Exact(path) => {
                self.exact.entry(path.as_bytes().into()).or_insert(route);
            }
            PathPattern::Prefix(path) => self.prefixes.add(path, route, false),
            PathPattern::PrefixNoRegex(path) => self.prefixes.add(path, route, true),
            PathPattern::Regex(regex) => self.regexes.push((regex.clone(), route)),
        }
    }

    /// To be called after the last route was added.
    fn finish(&mut self) {
        self.prefixes.link();
        let (exact, prefixes) = (&self.exact, &self.prefixes);
        self.without_slash
            .retain(|path, _| !exact.contains_key(path) && !prefixes.contains(path));
    }

    /// `ngx_http_core_find_location`.
    fn find(&self, path: &[u8]) -> Option<Match> {
        if !self.exact.is_empty()
            && let Some(route) = self.exact.get(path)
        {
            return Some(Match {
                route: *route,
                prefix_len: path.len(),
                lacks_slash: false,
            });
        }
        // Before any regex is asked, as in nginx.
        if !self.without_slash.is_empty()
            && let Some(route) = self.without_slash.get(path)
        {
            return Some(Match {
                route: *route,
                prefix_len: path.len(),
                lacks_slash: true,
            });
        }
        let prefix = self.prefixes.longest(path);
        if !self.regexes.is_empty() && !prefix.is_some_and(|prefix| prefix.no_regex) {
            // A path that is no UTF-8 must not slip past a pattern that fits the rest of it.
            let text = String::from_utf8_lossy(path);
            if let Some((_, route)) = self.regexes.iter().find(|(regex, _)| regex.is_match(&text)) {
                return Some(Match {
                    route: *route,
                    prefix_len: 0,
                    lacks_slash: false,
                });
            }
        }
        prefix.map(|prefix| Match {
            route: prefix.route,
            prefix_len: prefix.path.len(),
            lacks_slash: false,
        })
    }
}

/// Finds the longest prefix of a path by one binary search: of all prefixes that do not come after
/// the path, the last one either is a prefix of it, or has one among the prefixes of itself.
#[derive(Debug, Default)]
struct Prefixes(Vec<Prefix>);

#[derive(Debug)]
struct Prefix {
    path: Box<[u8]>,
    route: usize,
    /// `^~`
    no_regex: bool,
    /// The longest other prefix that this one begins with.
    parent: Option<usize>,
}

impl Prefixes {
    fn contains(&self, path: &[u8]) -> bool {
        self.0
            .binary_search_by(|prefix| (*prefix.path).cmp(path))
            .is_ok()
    }

    /// Keeps the order; [`link`](Prefixes::link) is to be called after the last.
    fn add(&mut self, path: &str, route: usize, no_regex: bool) {
        let path = path.as_bytes();
        if let Err(at) = self.0.binary_search_by(|prefix| (*prefix.path).cmp(path)) {
            self.0.insert(
                at,
                Prefix {
                    path: path.into(),
                    route,
                    no_regex,
                    parent: None,
                },
            );
        }
    }

    fn link(&mut self) {
        for at in 1..self.0.len() {
            let mut parent = Some(at - 1);
            while let Some(index) = parent
                && !self.0[at].path.starts_with(&self.0[index].path)
            {
                parent = self.0[index].parent;
            }
            self.0[at].parent = parent;
        }
    }

    fn longest(&self, path: &[u8]) -> Option<&Prefix> {
        let after = self.0.partition_point(|prefix| *prefix.path <= *path);
        let mut candidate = after.checked_sub(1);
        while let Some(index) = candidate {
            let prefix = &self.0[index];
            if path.starts_with(&prefix.path) {
                return Some(prefix);
            }
            candidate = prefix.parent;
        }
        None
    }
}

#[cfg(test)]
mod tests;
