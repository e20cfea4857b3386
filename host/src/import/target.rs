//! Where a `proxy_pass` leads.

use std::rc::Rc;

use super::Translator;
use super::choices::without;
use super::matching::Location;
use super::rewriting::Rule;
use super::scope::Scope;
use super::tree::Directive;
use super::variables::{Match, MatchPlace, Part, literal};
use super::words::Here;

/// Where requests go.
pub(super) struct Target {
    /// `https` or `grpcs`.
    pub(super) is_tls: bool,
    pub(super) is_grpc: bool,
    /// A group's name, or an address; with variables where requests choose.
    pub(super) server: String,
    /// What `server` is made of, where requests choose.
    pub(super) chosen: Option<Vec<Part>>,
    /// What takes the place of the matched part of the path; with variables, of all of it.
    pub(super) uri: Option<String>,
    /// A rule that makes the path, where it is made of captures, or takes the place of every path.
    pub(super) rule: Option<Rule>,
    /// Whether the name is a constant that nginx resolves again.
    pub(super) has_variables: bool,
}

impl Translator<'_> {
    /// Where a `proxy_pass` leads.
    pub(super) fn target(
        &self,
        scope: &Scope<'_>,
        pass: &Directive,
        location: &Location,
    ) -> Result<Target, String> {
        let written = pass.argument(0);
        let parts = scope.constants.resolve(written)?;
        let (scheme, rest) = self.scheme(scope, parts, &pass.name)?;
        let (is_tls, is_grpc) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (false, false),
            "https" => (true, false),
            "grpc" => (false, true),
            "grpcs" => (true, true),
            _ => return Err(format!("`{scheme}` is no scheme of a server")),
        };
        let (server, uri) = split(rest);
        let here = Here::anywhere(&scope.constants);
        let group = uri.iter().find_map(|part| match part {
            Part::Group(matched, _) if is_of_path(matched) => Some(matched),
            _ => None,
        });
        let is_chosen = literal(&server).is_none();
        let name = self.words.render(&server, Here::route(&scope.constants))?;
        if name.is_empty() {
            return Err("it names no server".to_owned());
        }
        let (mut uri_text, mut rule) = (None, None);
        if let Some(matched) = group {
            let to = self.words.render(&uri, here.behind(matched))?;
            let to = to
                .strip_suffix("$is_args$args")
                .map_or_else(|| format!("{to}?"), str::to_owned);
            let from = match matched.regex.strip_prefix("~*") {
                Some(regex) => format!("(?i){regex}"),
                None => matched.regex.trim_start_matches('~').to_owned(),
            };
            rule = Some(rule_of(from, to));
        } else {
            let text = self.words.render(&uri, Here::route(&scope.constants))?;
            // The request's own path and query, which go on in any case.
            let is_whole = matches!(
                text.as_str(),
                "$request_uri" | "$uri$is_args$args" | "$document_uri$is_args$args"
            );
            if !text.is_empty() && !is_whole {
                let takes_all = written.contains('$')
                    && !text.contains('$')
                    && !matches!(location, Location::Exact(_));
                match takes_all {
                    // With variables, it takes the place of every path.
                    true => rule = Some(rule_of("^".to_owned(), format!("{text}?"))),
                    false => uri_text = Some(text),
                }
            }
        }
        Ok(Target {
            is_tls,
            is_grpc,
            server: name,
            has_variables: written.contains('$') && group.is_none() && !is_chosen,
            chosen: is_chosen.then_some(server),
            uri: uri_text,
            rule,
        })
    }

    /// The scheme, and what is behind it.
    fn scheme(
        &self,
        scope: &Scope<'_>,
        parts: Vec<Part>,
        directive: &str,
    ) -> Result<(String, Vec<Part>), String> {
        let parts = joined(parts);
        let found = parts.first().map(|part| match part {
            Part::Literal(text) => text.split_once("://"),
            _ => None,
        });
        if let Some(Some((scheme, rest))) = found {
            let rest = std::iter::once(Part::Literal(rest.to_owned()));
            let rest = rest.chain(parts.iter().skip(1).cloned()).collect();
            return Ok((scheme.to_owned(), joined(rest)));
        }
        if directive == "grpc_pass" {
            return Ok(("grpc".to_owned(), parts));
        }
        let unknown = || "the scheme depends on the request: write a route for each".to_owned();
        match parts.split_first() {
            Some((Part::Variable(name), rest)) if name == "scheme" => {
                let scheme = self.words.around.scheme.ok_or_else(unknown)?;
                let behind = match rest.split_first() {
                    Some((Part::Literal(text), _)) => text.strip_prefix("://"),
                    _ => None,
                };
                let behind = behind.ok_or_else(unknown)?;
                let first = Part::Literal(behind.to_owned());
                let rest = std::iter::once(first).chain(rest.iter().skip(1).cloned());
                Ok((scheme.to_owned(), joined(rest.collect())))
            }
            Some((Part::Variable(name), _))
                if ["upstream_", "sent_http_"]
                    .iter()
                    .any(|of| name.starts_with(of)) =>
            {
                Err(format!(
                    "`${name}` is of the answer to another request: a server's redirect is the \
                     client's to follow"
                ))
            }
            Some((first @ (Part::Variable(_) | Part::Choice(_)), _)) => {
                let values = self.values(std::slice::from_ref(first), &scope.constants)?;
                let mut schemes = values.iter().filter(|value| !value.is_empty());
                let schemes = schemes.by_ref().map(|value| value.split_once("://"));
                let schemes: Vec<Option<&str>> = schemes
                    .map(|split| split.map(|(scheme, _)| scheme))
                    .collect();
                let [Some(scheme), ..] = *schemes.as_slice() else {
                    return Err("it has no scheme".to_owned());
                };
                if schemes.iter().any(|other| *other != Some(scheme)) {
                    return Err(unknown());
                }
                let rest = without(&parts, Some(&format!("{scheme}://")))?;
                Ok((scheme.to_owned(), rest))
            }
            _ => Err("it has no scheme".to_owned()),
        }
    }
}

fn is_of_path(matched: &Rc<Match>) -> bool {
    matches!(matched.place, MatchPlace::Path | MatchPlace::PathWithin)
}

fn rule_of(from: String, to: String) -> Rule {
    Rule {
        from,
        to,
        flag: "break".to_owned(),
        when: None,
        not_hosts: Vec::new(),
        behind: None,
    }
}

/// Parts of which no two literals are in a row.
fn joined(parts: Vec<Part>) -> Vec<Part> {
    let mut joined: Vec<Part> = Vec::new();
    for part in parts {
        match (joined.last_mut(), part) {
            (_, Part::Literal(text)) if text.is_empty() => {}
            (Some(Part::Literal(known)), Part::Literal(text)) => known.push_str(&text),
            (_, part) => joined.push(part),
        }
    }
    joined
}

/// The parts before the URI, and those of it.
fn split(parts: Vec<Part>) -> (Vec<Part>, Vec<Part>) {
    let (mut server, mut uri) = (Vec::new(), Vec::new());
    for part in parts {
        if !uri.is_empty() {
            uri.push(part);
            continue;
        }
        match part {
            Part::Literal(text) => {
                let (front, rest) = split_text(&text, server.is_empty());
                if !front.is_empty() {
                    server.push(Part::Literal(front.to_owned()));
                }
                if let Some(rest) = rest {
                    uri.push(Part::Literal(rest.to_owned()));
                }
            }
            Part::Variable(name)
                if !server.is_empty()
                    && matches!(&*name, "request_uri" | "uri" | "document_uri") =>
            {
                uri.push(Part::Variable(name));
            }
            part => server.push(part),
        }
    }
    (server, uri)
}

/// The part before the URI, and the URI if there is one.
fn split_text(text: &str, is_first: bool) -> (&str, Option<&str>) {
    if is_first && text.starts_with("unix:") {
        let colon = text.match_indices(':').nth(1).map(|(at, _)| at);
        return match colon {
            Some(at) => {
                let uri = text.get(at + 1..).unwrap_or_default();
                (text.split_at(at).0, (!uri.is_empty()).then_some(uri))
            }
            None => (text, None),
        };
    }
    match text.find(['/', '?']) {
        Some(at) => (text.split_at(at).0, Some(text.split_at(at).1)),
        None => (text, None),
    }
}

/// What a lone rule that takes away the location's prefix puts in its place.
pub(super) fn stripped(rules: &[Rule], location: &Location) -> Option<String> {
    let [rule] = rules else { return None };
    let (Location::Prefix(prefix) | Location::PrefixNoRegex(prefix)) = location else {
        return None;
    };
    if rule.flag != "break" || rule.when.is_some() || !prefix.ends_with('/') {
        return None;
    }
    let rest = rule.from.strip_prefix('^')?.strip_prefix(prefix.as_str())?;
    let to = rule.to.strip_suffix("$1")?;
    let is_plain = to.starts_with('/') && !to.contains(['$', '?']);
    (matches!(rest, "(.*)" | "(.*)$") && is_plain).then(|| to.to_owned())
}
