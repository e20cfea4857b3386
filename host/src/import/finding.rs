//! Which `location` nginx finds for a path (`ngx_http_core_find_location`): files that others fall
//! back to, pages of errors and a directory's index are looked for anew.

use std::cell::RefCell;
use std::collections::HashMap;

use regex::{Regex, RegexBuilder};
use regex_syntax::hir::Look;
use regex_syntax::hir::literal::Extractor;

use super::Translator;
use super::matching::Location;
use super::scope::Scope;
use super::tree::Directive;

/// Expressions of locations, compiled once: they are asked for many paths.
#[derive(Default)]
pub(super) struct Expressions(RefCell<HashMap<(bool, String), Option<Regex>>>);

impl Expressions {
    fn fits(&self, is_exact: bool, regex: String, path: &str) -> bool {
        let mut known = self.0.borrow_mut();
        let compiled = known.entry((is_exact, regex)).or_insert_with_key(|key| {
            let mut builder = RegexBuilder::new(&key.1);
            let built = builder.case_insensitive(!key.0).build();
            built.ok()
        });
        compiled.as_ref().is_some_and(|regex| regex.is_match(path))
    }
}

/// The locations that a path is within, the outermost first; none where it is the server itself that
/// answers.
fn find<'s>(
    expressions: &Expressions,
    children: &'s [Directive],
    path: &str,
) -> Vec<&'s Directive> {
    match search(expressions, children, path) {
        Search::Final(found) | Search::Prefix(found) => found,
        Search::Nothing => Vec::new(),
    }
}

/// As [`Translator::find`], where nothing is known yet.
pub(super) fn find_once<'s>(children: &'s [Directive], path: &str) -> Vec<&'s Directive> {
    find(&Expressions::default(), children, path)
}

/// The location that all paths below one are within, such as those below `/index.php`; none where
/// they are within several, or where that is not known.
pub(super) fn find_below<'s>(children: &'s [Directive], above: &str) -> Option<Vec<&'s Directive>> {
    let above = format!("{above}/");
    let found = find_once(children, &above);
    let [only] = *found.as_slice() else {
        return None;
    };
    // One within may be found for some of the paths.
    if only.children().iter().any(|child| child.name == "location") {
        return None;
    }
    for child in children.iter().filter(|child| child.name == "location") {
        match Location::parse(&child.arguments)? {
            // One of them is found for some of the paths.
            Location::Exact(path) | Location::Prefix(path) | Location::PrefixNoRegex(path)
                if path.starts_with(&above) && child.id != only.id =>
            {
                return None;
            }
            Location::Exact(_) if child.id == only.id => return None,
            Location::PrefixNoRegex(_) if child.id == only.id => return Some(found),
            Location::Prefix(_) if child.id == only.id => {}
            Location::Regex(is_exact, regex) if child.id == only.id => {
                return fits_all_below(is_exact, &regex, &above).then_some(found);
            }
            Location::Regex(is_exact, regex) if !fits_none_below(is_exact, &regex, &above) => {
                return None;
            }
            _ => {}
        }
    }
    Some(found)
}

/// Whether an expression fits whatever begins with a text: that has all that it asks for.
pub(super) fn fits_all_below(is_exact: bool, regex: &str, above: &str) -> bool {
    let compiled = RegexBuilder::new(regex).case_insensitive(!is_exact).build();
    let begun = format!("{above}x");
    // A border of a word may be at its end, or not.
    let asks_behind = ["\\b", "\\B", "(?m"]
        .iter()
        .any(|word| regex.contains(word));
    let end = compiled
        .ok()
        .and_then(|regex| regex.find(&begun).map(|found| found.end()));
    !asks_behind && end.is_some_and(|end| end <= above.len())
}

/// Whether an expression fits nothing that begins with a text, as far as that is seen from what it
/// begins with.
fn fits_none_below(is_exact: bool, regex: &str, above: &str) -> bool {
    let mut parser = regex_syntax::ParserBuilder::new();
    let Ok(hir) = parser.case_insensitive(!is_exact).build().parse(regex) else {
        return false;
    };
    let is_anchored = hir.properties().look_set_prefix().contains(Look::Start);
    let begins = Extractor::new().extract(&hir);
    let begins = begins.literals();
    is_anchored
        && begins.is_some_and(|begins| {
            begins.iter().all(|begin| {
                let (begin, above) = (begin.as_bytes(), above.as_bytes());
                !above.starts_with(begin) && !begin.starts_with(above)
            })
        })
}

/// How long the longest prefix among locations is that a path begins with.
pub(super) fn longest_prefix(children: &[Directive], path: &str) -> Option<usize> {
    let locations = children.iter().filter(|child| child.name == "location");
    let parsed = locations.filter_map(|child| Location::parse(&child.arguments));
    let lengths = parsed.filter_map(|location| {
        let prefix = location.prefix()?;
        path.starts_with(prefix).then_some(prefix.len())
    });
    lengths.max()
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

/// Whether a location may be for a path, as far as that is seen from what it begins with.
fn may_fit(location: &Directive, path: &str) -> bool {
    let letters = |c: char| c.is_ascii_alphanumeric() || "/-_".contains(c);
    match location.arguments.as_slice() {
        [prefix] if prefix.starts_with('/') => path.starts_with(prefix.as_str()),
        [modifier, prefix] if modifier == "^~" => path.starts_with(prefix.as_str()),
        [modifier, exact] if modifier == "=" => path == exact,
        [modifier, regex] if modifier == "~" && regex.starts_with("^/") && !regex.contains('|') => {
            let begin = regex.trim_start_matches('^');
            let end = begin.find(|c: char| !letters(c)).unwrap_or(begin.len());
            let rest = begin.get(end..).unwrap_or_default();
            // What may be repeated may be left out.
            let is_repeated = rest.starts_with(['?', '*', '{', '+']);
            let begin = begin
                .get(..end - usize::from(is_repeated))
                .unwrap_or_default();
            path.starts_with(begin)
        }
        _ => true,
    }
}

enum Search<'s> {
    /// Whatever other expressions there are.
    Final(Vec<&'s Directive>),
    /// Unless an expression further out fits.
    Prefix(Vec<&'s Directive>),
    Nothing,
}

fn search<'s>(expressions: &Expressions, children: &'s [Directive], path: &str) -> Search<'s> {
    let (mut best, mut regexes): (Option<(usize, bool, &Directive)>, Vec<_>) = (None, Vec::new());
    let mut locations = children.iter().filter(|child| child.name == "location");
    // Of many locations, most are for other paths.
    while let Some(child) = locations.find(|child| may_fit(child, path)) {
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
        prefix = match search(expressions, found.children(), path) {
            Search::Final(within) => return Search::Final(joined(found, within)),
            Search::Prefix(within) => Search::Prefix(joined(found, within)),
            Search::Nothing => Search::Prefix(vec![found]),
        };
        if is_last {
            return prefix;
        }
    }
    for (is_exact, regex, found) in regexes {
        if expressions.fits(is_exact, regex, path) {
            let within = match search(expressions, found.children(), path) {
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
    /// The locations of a server that a path is within, the outermost first; none where it is the
    /// server itself that answers.
    pub(super) fn find<'s>(&self, children: &'s [Directive], path: &str) -> Vec<&'s Directive> {
        find(&self.expressions, children, path)
    }

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
            let found = find(&Expressions::default(), &tree.directives, path);
            let innermost = found.last().unwrap().children();
            assert_eq!(innermost.first().unwrap().name, expected, "{path}");
        }
        assert!(named(&tree.directives, "@app").is_some());
        assert!(named(&tree.directives, "@none").is_none());
    }

    #[test]
    fn what_is_below_a_path_is_found_where_one_location_answers_it() {
        let of = |text: &'static str| {
            let tree = tree::read(&PathBuf::from("a.conf"), &One(text)).unwrap();
            let found = find_below(&tree.directives, "/index.php");
            found.map(|found| found[0].arguments.join(" "))
        };
        let php = "location ~ \\.php(?:$|/) { a; }";
        let leaked = |before: &str| {
            let text = format!("location / {{ b; }} {before} {php}");
            of(Box::leak(text.into_boxed_str()))
        };
        let found = Some("~ \\.php(?:$|/)".to_owned());
        for harmless in [
            "",
            "location ~ ^/(?:build|tests|\\.)(?:$|/) { c; }",
            "location ~* ^/indie { c; }",
            "location /index { c; }",
            "location = /index.php { c; }",
        ] {
            assert_eq!(leaked(harmless), found, "{harmless}");
        }
        for unclear in [
            "location ~ \\.js$ { c; }",
            "location ~ ^/(?:index\\.php/a|x) { c; }",
            "location ~* ^/INDEX\\.PHP/A { c; }",
            "location ~ ^/.*\\.php/a { c; }",
            "location ^~ /index.php/a { c; }",
            "location = /index.php/a { c; }",
            "location = /index.php/ { c; }",
        ] {
            assert_eq!(leaked(unclear), None, "{unclear}");
        }
        assert_eq!(of("location ~ \\.php$ { a; } location / { b; }"), None);
        assert_eq!(of("location ~ \\.php\\b { a; }"), None);
        assert_eq!(
            of("location ~ \\.php(?:$|/) { a; location ~ admin { d; } }"),
            None
        );
        assert_eq!(
            of("location ^~ /index.php { a; } location ~ x { b; }").as_deref(),
            Some("^~ /index.php")
        );
    }
}
