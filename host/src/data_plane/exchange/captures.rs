//! What the regexes of an exchange's route have matched, for `$1` and `$name`. They are asked again
//! for that when the first such variable is: most requests never need it.

use std::cell::RefCell;

use regex::Regex;
use smallvec::SmallVec;

use crate::config::model::{HostPattern, PathPattern, Route};
use crate::http::variable::Capture;

/// What is known of it; none before it was asked for.
#[derive(Default)]
pub(super) struct RouteCaptures(RefCell<Option<Box<Matched>>>);

struct Matched {
    path: Groups,
    host: Groups,
}

/// The text that a regex was held against, and where in it each group is.
#[derive(Default)]
struct Groups {
    text: Box<str>,
    spans: SmallVec<[Option<(usize, usize)>; 4]>,
}

impl RouteCaptures {
    /// Another route is taken.
    pub(super) fn forget(&self) {
        self.0.replace(None);
    }

    /// Finds out what has matched, before host or path are changed.
    pub(super) fn keep(&self, route: &Route, host: &str, path: &[u8]) {
        let (of_path, of_host) = (path_regex(route), host_regex(route));
        if of_path.is_none() && of_host.is_none() || self.0.borrow().is_some() {
            return;
        }
        let path = of_path.map(|regex| {
            // As the router holds them against each other.
            Groups::of(regex, String::from_utf8_lossy(path).as_ref())
        });
        let host = of_host.map(|regex| Groups::of(regex, host));
        self.0.replace(Some(Box::new(Matched {
            path: path.unwrap_or_default(),
            host: host.unwrap_or_default(),
        })));
    }

    /// Appends what a group has matched; false where there is nothing.
    pub(super) fn append(
        &self,
        capture: &Capture,
        route: &Route,
        host: &str,
        path: &[u8],
        out: &mut Vec<u8>,
    ) -> bool {
        self.keep(route, host, path);
        let matched = self.0.borrow();
        let Some(matched) = matched.as_deref() else {
            return false;
        };
        let of_path = path_regex(route).and_then(|regex| index(capture, regex));
        let found = match of_path {
            Some(group) => matched.path.get(group),
            None => host_regex(route)
                .and_then(|regex| index(capture, regex))
                .and_then(|group| matched.host.get(group)),
        };
        out.extend_from_slice(found.unwrap_or_default().as_bytes());
        found.is_some()
    }
}

impl Groups {
    fn of(regex: &Regex, text: &str) -> Groups {
        let captures = regex.captures(text);
        let groups = captures.iter().flat_map(|captures| captures.iter());
        Groups {
            text: text.into(),
            spans: groups
                .map(|group| group.map(|group| (group.start(), group.end())))
                .collect(),
        }
    }

    fn get(&self, group: usize) -> Option<&str> {
        let (start, end) = self.spans.get(group).copied().flatten()?;
        self.text.get(start..end)
    }
}

/// The regex of the path, if it has groups.
fn path_regex(route: &Route) -> Option<&Regex> {
    match &route.path {
        PathPattern::Regex(regex) => Some(regex).filter(|regex| regex.captures_len() > 1),
        _ => None,
    }
}

/// The regex of the host, if it has groups.
fn host_regex(route: &Route) -> Option<&Regex> {
    match &route.host {
        HostPattern::Regex(regex) => Some(regex).filter(|regex| regex.captures_len() > 1),
        _ => None,
    }
}

/// Which group of a regex it is. Numbers are those of the path's regex where that has groups.
fn index(capture: &Capture, regex: &Regex) -> Option<usize> {
    match capture {
        Capture::Number(number) => Some(usize::from(*number)),
        Capture::Name(name) => regex.capture_names().position(|known| {
            known.is_some_and(|known| known.as_bytes().eq_ignore_ascii_case(name.as_bytes()))
        }),
    }
}
