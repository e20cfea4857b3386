//! Which `location` nginx finds for a path (`ngx_http_core_find_location`): files that others fall
//! back to, pages of errors and a directory's index are looked for anew.

use regex::RegexBuilder;

use super::Translator;
use super::matching::Location;
use super::scope::Scope;
use super::tree::Directive;

/// The locations that a path is within, the outermost first; none where it is the server itself that
/// answers.
pub(super) fn find<'s>(children: &'s [Directive], path: &str) -> Vec<&'s Directive> {
    match search(children, path) {
        Search::Final(found) | Search::Prefix(found) => found,
        Search::Nothing => Vec::new(),
    }
}

/// Directories below one whose index may be another location's: it itself, one in it, and those that
/// locations name.
pub(super) fn directories(children: &[Directive], own: &str) -> Vec<String> {
    let mut found = vec![own.to_owned(), format!("{own}d/")];
    let mut left: Vec<&Directive> = children.iter().collect();
    while let Some(child) = left.pop() {
        if child.name != "location" {
            continue;
        }
        left.extend(child.children());
        let path = match Location::parse(&child.arguments) {
            Some(
                Location::Exact(path) | Location::Prefix(path) | Location::PrefixNoRegex(path),
            ) => path,
            Some(Location::Regex(_, regex)) => {
                let plain = regex.trim_start_matches('^').replace('\\', "");
                let end = plain.find(['(', '[', '.', '*', '+', '?', '{', '|', '$']);
                plain
                    .get(..end.unwrap_or(plain.len()))
                    .unwrap_or_default()
                    .to_owned()
            }
            _ => continue,
        };
        let directory = path.rfind('/').and_then(|slash| path.get(..=slash));
        if let Some(directory) = directory
            && directory.starts_with(own)
            && !found.iter().any(|known| known == directory)
        {
            found.push(directory.to_owned());
            found.push(format!("{directory}d/"));
        }
    }
    found
}

/// The location of a name such as `@app`.
pub(super) fn named<'s>(children: &'s [Directive], name: &str) -> Option<&'s Directive> {
    let mut locations = children.iter().filter(|child| child.name == "location");
    locations.find(|child| child.arguments.len() == 1 && child.argument(0) == name)
}

/// The context of the server that a context is in, or the outermost one.
pub(super) fn server_of<'x, 'a>(scope: &'x Scope<'a>) -> &'x Scope<'a> {
    let mut server = scope;
    while let (Some(block), Some(outer)) = (server.directive, server.outer()) {
        if !matches!(&*block.name, "location" | "if" | "limit_except") {
            break;
        }
        server = outer;
    }
    server
}

enum Search<'s> {
    /// Whatever other expressions there are.
    Final(Vec<&'s Directive>),
    /// Unless an expression further out fits.
    Prefix(Vec<&'s Directive>),
    Nothing,
}

fn search<'s>(children: &'s [Directive], path: &str) -> Search<'s> {
    let (mut best, mut regexes): (Option<(usize, bool, &Directive)>, Vec<_>) = (None, Vec::new());
    for child in children.iter().filter(|child| child.name == "location") {
        match Location::parse(&child.arguments) {
            Some(Location::Exact(exact)) if exact == path => return Search::Final(vec![child]),
            Some(location @ (Location::Prefix(_) | Location::PrefixNoRegex(_))) => {
                let is_last = matches!(location, Location::PrefixNoRegex(_));
                let prefix = location.prefix().unwrap_or_default();
                let is_longer = best.is_none_or(|(length, ..)| length < prefix.len());
                if path.starts_with(prefix) && is_longer {
                    best = Some((prefix.len(), is_last, child));
                }
            }
            Some(Location::Regex(is_exact, regex)) => regexes.push((is_exact, regex, child)),
            _ => {}
        }
    }
    let mut prefix = Search::Nothing;
    if let Some((_, is_last, found)) = best {
        prefix = match search(found.children(), path) {
            Search::Final(within) => return Search::Final(joined(found, within)),
            Search::Prefix(within) => Search::Prefix(joined(found, within)),
            Search::Nothing => Search::Prefix(vec![found]),
        };
        if is_last {
            return prefix;
        }
    }
    for (is_exact, regex, found) in regexes {
        let regex = RegexBuilder::new(&regex)
            .case_insensitive(!is_exact)
            .build();
        if regex.is_ok_and(|regex| regex.is_match(path)) {
            let within = match search(found.children(), path) {
                Search::Final(within) | Search::Prefix(within) => within,
                Search::Nothing => Vec::new(),
            };
            return Search::Final(joined(found, within));
        }
    }
    prefix
}

fn joined<'s>(outer: &'s Directive, within: Vec<&'s Directive>) -> Vec<&'s Directive> {
    std::iter::once(outer).chain(within).collect()
}

impl Translator<'_> {
    /// Does something in the context of the innermost of these locations, which is in `scope`.
    pub(super) fn within<R>(
        &mut self,
        scope: &Scope<'_>,
        chain: &[&Directive],
        act: impl FnOnce(&mut Self, &Scope<'_>, &Location) -> R,
    ) -> R {
        match chain {
            [] => act(self, scope, &Location::Prefix("/".to_owned())),
            [only] => {
                let location = Location::parse(&only.arguments);
                let location = location.unwrap_or(Location::Prefix("/".to_owned()));
                act(self, &scope.within(only), &location)
            }
            [first, rest @ ..] => self.within(&scope.within(first), rest, act),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use std::path::{Path, PathBuf};

    use super::*;
    use crate::config::system::System;
    use crate::import::tree;

    struct One(&'static str);

    impl System for One {
        fn variable(&self, _: &str) -> Option<String> {
            None
        }

        fn read(&self, _: &Path) -> std::io::Result<Vec<u8>> {
            Ok(self.0.as_bytes().to_vec())
        }

        fn list(&self, _: &Path) -> std::io::Result<Vec<String>> {
            Ok(Vec::new())
        }
    }

    #[test]
    fn a_path_is_found_as_nginx_finds_it() {
        let text = "location / { a; location ~ \\.js$ { b; } location /in/ { c; } }
            location /api/ { d; } location ^~ /raw/ { e; } location ~* \\.PNG$ { f; }
            location = /x { g; } location @app { h; }";
        let tree = tree::read(&PathBuf::from("a.conf"), &One(text)).unwrap();
        for (path, expected) in [
            ("/", "a"),
            ("/y", "a"),
            ("/a.js", "b"),
            ("/in/y", "c"),
            ("/in/y.png", "f"),
            ("/in/a.js", "b"),
            ("/api/a.js", "d"),
            ("/api/a.png", "f"),
            ("/raw/a.png", "e"),
            ("/x", "g"),
            ("/xx", "a"),
        ] {
            let found = find(&tree.directives, path);
            let innermost = found.last().unwrap().children();
            assert_eq!(innermost.first().unwrap().name, expected, "{path}");
        }
        assert!(named(&tree.directives, "@app").is_some());
        assert!(named(&tree.directives, "@none").is_none());
    }
}
