//! The paths of all hosts of a listener, and which route takes a request's.
//!
//! They stand in a few tables that hosts share, in the order that a search goes through them: of
//! thousands of routes none may have been used a moment ago, and each place in memory that is
//! looked at then costs as much as the rest of the search.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Range;

use regex::Regex;

use super::Match;
use crate::config::model::PathPattern;

/// The paths of all hosts.
#[derive(Debug)]
pub(super) struct Paths {
    /// By the number that [`Building::add_host`] gave.
    hosts: Box<[HostPaths]>,
    entries: Box<[Entry]>,
    /// What the paths of the entries are ranges of.
    text: Box<[u8]>,
    candidates: Box<[Candidate]>,
    /// In file order, for each host.
    regexes: Box<[(Regex, Candidate)]>,
}

/// Ranges of the tables.
#[derive(Debug)]
struct HostPaths {
    entries: Range<usize>,
    regexes: Range<usize>,
}

/// A path of a host. Those of one host are in the order of their bytes.
#[derive(Debug)]
struct Entry {
    /// The first bytes of the path, which mostly tell two of them apart.
    first: u64,
    start: u32,
    length: u32,
    /// Where its candidates begin: `exact` of them, then `prefix`, then `without_slash`.
    candidates: u32,
    exact: u32,
    /// Those whose path is the beginning of the request's.
    prefix: u32,
    /// Those that proxy or have files, and whose path is this one with a slash at its end.
    without_slash: u32,
    /// The longest other path that this one begins with and that has candidates as a prefix;
    /// [`NONE`] for none.
    parent: u32,
}

const NONE: u32 = u32::MAX;

/// A route that takes the requests of a path, if its conditions hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Candidate {
    route: u32,
    has_conditions: bool,
    /// `^~`
    no_regex: bool,
    /// Whether its path without the slash at its end is any other route's rather than its own.
    yields: bool,
}

impl Candidate {
    pub(super) fn new(route: usize, has_conditions: bool, no_regex: bool) -> Candidate {
        Candidate {
            route: index(route),
            has_conditions,
            no_regex,
            yields: false,
        }
    }

    pub(super) fn yielding(self, yields: bool) -> Candidate {
        Candidate { yields, ..self }
    }

    fn holds(&self, holds: &impl Fn(usize) -> bool) -> bool {
        !self.has_conditions || holds(self.route as usize)
    }

    fn matched(&self, prefix_len: usize, lacks_slash: bool) -> Match {
        Match {
            route: self.route as usize,
            prefix_len,
            lacks_slash,
        }
    }
}

/// An index into a table. There is no memory for a configuration with more.
fn index(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(NONE)
}

/// The first bytes of a path, in an order that is that of the paths where they differ.
fn first_bytes(path: &[u8]) -> u64 {
    let mut first = [0; 8];
    let length = path.len().min(first.len());
    first[..length].copy_from_slice(&path[..length]);
    u64::from_be_bytes(first)
}

impl Paths {
    /// `ngx_http_core_find_location`, among the paths of a host. `holds` is asked for the conditions
    /// of a route that has some.
    pub(super) fn find(
        &self,
        host: usize,
        path: &[u8],
        holds: impl Fn(usize) -> bool,
    ) -> Option<Match> {
        let HostPaths { entries, regexes } = self.hosts.get(host)?;
        let last = self.last_up_to(entries.clone(), path);
        let mut of_files = None;
        if let Some(entry) = last.filter(|entry| *self.path(entry) == *path) {
            if let Some(candidate) = first(self.exact(entry), &holds) {
                return Some(candidate.matched(path.len(), false));
            }
            // Before any regex is asked, as in nginx, unless the path is that of another route.
            if let Some(candidate) = first(self.without_slash(entry), &holds)
                && first(self.prefix(entry), &holds).is_none()
            {
                let found = candidate.matched(path.len(), true);
                if !candidate.yields {
                    return Some(found);
                }
                of_files = Some(found);
            }
        }
        let prefix = last.and_then(|last| self.longest_prefix(last, path, &holds));
        let asks_regexes = !prefix.is_some_and(|(_, candidate)| candidate.no_regex);
        if asks_regexes && !regexes.is_empty() {
            // A path that is no UTF-8 must not slip past a pattern that fits the rest of it.
            let text = String::from_utf8_lossy(path);
            let mut regexes = self.regexes[regexes.clone()].iter();
            let found =
                regexes.find(|(regex, candidate)| regex.is_match(&text) && candidate.holds(&holds));
            if let Some((_, candidate)) = found {
                return Some(candidate.matched(0, false));
            }
        }
        let found = prefix.map(|(length, candidate)| candidate.matched(length, false));
        found.or(of_files)
    }

    /// The last of some entries whose path does not come after this one: it has all paths that this
    /// one begins with as beginnings, or is the longest of them.
    fn last_up_to(&self, entries: Range<usize>, path: &[u8]) -> Option<&Entry> {
        let first = first_bytes(path);
        let entries = &self.entries[entries];
        let after = entries.partition_point(|entry| {
            let order = entry.first.cmp(&first);
            order.then_with(|| self.path(entry).cmp(path)) != Ordering::Greater
        });
        entries[..after].last()
    }

    /// The route with the longest prefix of a path, and how long that is.
    fn longest_prefix(
        &self,
        last: &Entry,
        path: &[u8],
        holds: &impl Fn(usize) -> bool,
    ) -> Option<(usize, Candidate)> {
        let mut next = Some(last);
        while let Some(entry) = next {
            let prefix = self.path(entry);
            if path.starts_with(prefix)
                && let Some(candidate) = first(self.prefix(entry), holds)
            {
                return Some((prefix.len(), candidate));
            }
            next = self.entries.get(entry.parent as usize);
        }
        None
    }

    fn path(&self, entry: &Entry) -> &[u8] {
        range(&self.text, entry.start, entry.length)
    }

    fn exact(&self, entry: &Entry) -> &[Candidate] {
        range(&self.candidates, entry.candidates, entry.exact)
    }

    fn prefix(&self, entry: &Entry) -> &[Candidate] {
        let start = entry.candidates + entry.exact;
        range(&self.candidates, start, entry.prefix)
    }

    fn without_slash(&self, entry: &Entry) -> &[Candidate] {
        let start = entry.candidates + entry.exact + entry.prefix;
        range(&self.candidates, start, entry.without_slash)
    }
}

fn range<T>(table: &[T], start: u32, length: u32) -> &[T] {
    &table[start as usize..][..length as usize]
}

/// The first whose conditions hold.
fn first(candidates: &[Candidate], holds: &impl Fn(usize) -> bool) -> Option<Candidate> {
    let mut candidates = candidates.iter();
    candidates.find(|candidate| candidate.holds(holds)).copied()
}

/// Paths of hosts that are still being added.
#[derive(Debug, Default)]
pub(super) struct Building(Vec<BuildingHost>);

#[derive(Debug, Default)]
struct BuildingHost {
    paths: BTreeMap<Box<[u8]>, OfPath>,
    regexes: Vec<(Regex, Candidate)>,
}

/// The candidates of one path, in file order.
#[derive(Debug, Default)]
struct OfPath {
    exact: Vec<Candidate>,
    prefix: Vec<Candidate>,
    without_slash: Vec<Candidate>,
}

/// Behind one that takes all requests, none is ever asked.
fn add(candidates: &mut Vec<Candidate>, candidate: Candidate) {
    if candidates.last().is_none_or(|last| last.has_conditions) {
        candidates.push(candidate);
    }
}

impl Building {
    /// The number of the next host.
    pub(super) fn next_host(&self) -> usize {
        self.0.len()
    }

    pub(super) fn add_host(&mut self) {
        self.0.push(BuildingHost::default());
    }

    /// Adds a route of a host. `has_bare`: a path that lacks only the slash at the end of this one is
    /// the route's as well.
    pub(super) fn add(
        &mut self,
        host: usize,
        pattern: &PathPattern,
        candidate: Candidate,
        has_bare: bool,
    ) {
        let host = &mut self.0[host];
        let (path, is_exact) = match pattern {
            PathPattern::Exact(path) => (path.as_bytes(), true),
            PathPattern::Prefix(path) | PathPattern::PrefixNoRegex(path) => {
                (path.as_bytes(), false)
            }
            PathPattern::Regex(regex) => return host.regexes.push((regex.clone(), candidate)),
        };
        if has_bare && let Some(bare @ [_, ..]) = path.strip_suffix(b"/") {
            let of_path = host.paths.entry(bare.into()).or_default();
            add(&mut of_path.without_slash, candidate);
        }
        let of_path = host.paths.entry(path.into()).or_default();
        match is_exact {
            true => add(&mut of_path.exact, candidate),
            false => add(&mut of_path.prefix, candidate),
        }
    }

    pub(super) fn finish(self) -> Paths {
        let (mut hosts, mut entries) = (Vec::new(), Vec::new());
        let (mut text, mut candidates, mut all_regexes) = (Vec::new(), Vec::new(), Vec::new());
        for BuildingHost { paths, regexes } in self.0 {
            let before = (entries.len(), all_regexes.len());
            for (path, of_path) in paths {
                entries.push(Entry {
                    first: first_bytes(&path),
                    start: index(text.len()),
                    length: index(path.len()),
                    candidates: index(candidates.len()),
                    exact: index(of_path.exact.len()),
                    prefix: index(of_path.prefix.len()),
                    without_slash: index(of_path.without_slash.len()),
                    parent: NONE,
                });
                text.extend_from_slice(&path);
                for some in [of_path.exact, of_path.prefix, of_path.without_slash] {
                    candidates.extend(some);
                }
            }
            all_regexes.extend(regexes);
            link(&mut entries[before.0..], before.0, &text);
            hosts.push(HostPaths {
                entries: before.0..entries.len(),
                regexes: before.1..all_regexes.len(),
            });
        }
        Paths {
            hosts: hosts.into(),
            entries: entries.into(),
            text: text.into(),
            candidates: candidates.into(),
            regexes: all_regexes.into(),
        }
    }
}

/// Finds the parents of one host's entries, which begin at an index of the table.
fn link(entries: &mut [Entry], begin: usize, text: &[u8]) {
    let path = |entry: &Entry| range(text, entry.start, entry.length);
    for at in 1..entries.len() {
        // One that this one begins with is the one before it, or has it as a beginning too.
        let mut parent = Some(at - 1);
        while let Some(other) = parent
            && !(entries[other].prefix > 0 && path(&entries[at]).starts_with(path(&entries[other])))
        {
            let next = entries[other].parent;
            parent = (next != NONE).then(|| next as usize - begin);
        }
        entries[at].parent = parent.map_or(NONE, |parent| index(parent + begin));
    }
}
