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
//! takes that route to be redirected, as in nginx.

use std::collections::HashMap;

use regex::Regex;
use smallvec::SmallVec;

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
                // A directory without its slash is asked for as often as a server's root.
                let proxies = matches!(route.action, Action::Proxy(_) | Action::Files(_));
                let candidate = Candidate {
                    route: index,
                    has_conditions: !route.when.is_empty(),
                    no_regex: matches!(route.path, PathPattern::PrefixNoRegex(_)),
                };
                router.hosts[host].add(&route.path, candidate, proxies);
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
    /// none; `path` is normalised; `holds` is asked for the conditions of a route that has some.
    pub(crate) fn find(
        &self,
        host: &str,
        path: &[u8],
        holds: impl Fn(usize) -> bool,
    ) -> Option<Match> {
        self.hosts[self.find_host(host)?].find(path, holds)
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

/// A route that takes the requests of a path, if its conditions hold.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    route: usize,
    has_conditions: bool,
    /// `^~`
    no_regex: bool,
}

/// The routes of one path, in file order.
#[derive(Debug, Default)]
struct Candidates(SmallVec<[Candidate; 1]>);

impl Candidates {
    /// Behind one that takes all requests, none is ever asked.
    fn add(&mut self, candidate: Candidate) {
        if !self.take_all() {
            self.0.push(candidate);
        }
    }

    fn take_all(&self) -> bool {
        self.0.last().is_some_and(|last| !last.has_conditions)
    }

    fn first(&self, holds: &impl Fn(usize) -> bool) -> Option<Candidate> {
        let mut candidates = self.0.iter();
        candidates.find(|candidate| candidate.holds(holds)).copied()
    }
}

impl Candidate {
    fn holds(&self, holds: &impl Fn(usize) -> bool) -> bool {
        !self.has_conditions || holds(self.route)
    }
}

/// The routes of one host.
#[derive(Debug, Default)]
struct Paths {
    exact: HashMap<Box<[u8]>, Candidates>,
    prefixes: Prefixes,
    /// In file order.
    regexes: Vec<(Regex, Candidate)>,
    /// Paths of routes that proxy and end with a slash, without it.
    without_slash: HashMap<Box<[u8]>, Candidates>,
}

impl Paths {
    fn add(&mut self, pattern: &PathPattern, candidate: Candidate, proxies: bool) {
        if proxies
            && let PathPattern::Exact(path)
            | PathPattern::Prefix(path)
            | PathPattern::PrefixNoRegex(path) = pattern
            && let Some(bare @ [_, ..]) = path.as_bytes().strip_suffix(b"/")
        {
            let of_path = self.without_slash.entry(bare.into());
            of_path.or_default().add(candidate);
        }
        match pattern {
            PathPattern::Exact(path) => {
                let of_path = self.exact.entry(path.as_bytes().into());
                of_path.or_default().add(candidate);
            }
            PathPattern::Prefix(path) | PathPattern::PrefixNoRegex(path) => {
                self.prefixes.add(path, candidate);
            }
            PathPattern::Regex(regex) => self.regexes.push((regex.clone(), candidate)),
        }
    }

    /// To be called after the last route was added.
    fn finish(&mut self) {
        self.prefixes.link();
    }

    /// `ngx_http_core_find_location`.
    fn find(&self, path: &[u8], holds: impl Fn(usize) -> bool) -> Option<Match> {
        if !self.exact.is_empty()
            && let Some(candidates) = self.exact.get(path)
            && let Some(candidate) = candidates.first(&holds)
        {
            return Some(Match {
                route: candidate.route,
                prefix_len: path.len(),
                lacks_slash: false,
            });
        }
        // Before any regex is asked, as in nginx, unless the path is that of another route.
        if !self.without_slash.is_empty()
            && let Some(candidates) = self.without_slash.get(path)
            && let Some(candidate) = candidates.first(&holds)
            && self.prefixes.of(path, &holds).is_none()
        {
            return Some(Match {
                route: candidate.route,
                prefix_len: path.len(),
                lacks_slash: true,
            });
        }
        let prefix = self.prefixes.longest(path, &holds);
        if !self.regexes.is_empty() && !prefix.is_some_and(|(_, candidate)| candidate.no_regex) {
            // A path that is no UTF-8 must not slip past a pattern that fits the rest of it.
            let text = String::from_utf8_lossy(path);
            let mut regexes = self.regexes.iter();
            let found =
                regexes.find(|(regex, candidate)| regex.is_match(&text) && candidate.holds(&holds));
            if let Some((_, candidate)) = found {
                return Some(Match {
                    route: candidate.route,
                    prefix_len: 0,
                    lacks_slash: false,
                });
            }
        }
        prefix.map(|(prefix_len, candidate)| Match {
            route: candidate.route,
            prefix_len,
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
    candidates: Candidates,
    /// The longest other prefix that this one begins with.
    parent: Option<usize>,
}

impl Prefixes {
    fn at(&self, path: &[u8]) -> Result<usize, usize> {
        self.0.binary_search_by(|prefix| (*prefix.path).cmp(path))
    }

    /// Keeps the order; [`link`](Prefixes::link) is to be called after the last.
    fn add(&mut self, path: &str, candidate: Candidate) {
        let path = path.as_bytes();
        let index = self.at(path).unwrap_or_else(|index| {
            let prefix = Prefix {
                path: path.into(),
                candidates: Candidates::default(),
                parent: None,
            };
            self.0.insert(index, prefix);
            index
        });
        self.0[index].candidates.add(candidate);
    }

    /// The route whose prefix is the whole path.
    fn of(&self, path: &[u8], holds: &impl Fn(usize) -> bool) -> Option<Candidate> {
        let index = self.at(path).ok()?;
        self.0[index].candidates.first(holds)
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

    /// The route with the longest prefix of a path, and how long that is.
    fn longest(&self, path: &[u8], holds: &impl Fn(usize) -> bool) -> Option<(usize, Candidate)> {
        let after = self.0.partition_point(|prefix| *prefix.path <= *path);
        let mut next = after.checked_sub(1);
        while let Some(index) = next {
            let prefix = &self.0[index];
            if path.starts_with(&prefix.path)
                && let Some(candidate) = prefix.candidates.first(holds)
            {
                return Some((prefix.path.len(), candidate));
            }
            next = prefix.parent;
        }
        None
    }
}

#[cfg(test)]
mod tests;
