//! Where a `proxy_pass` leads.

use super::Translator;
use super::matching::Location;
use super::rewriting::Rule;
use super::scope::Scope;
use super::tree::Directive;
use super::variables::{Piece, names_in, pieces_of};

/// Where requests go.
pub(super) struct Target {
    /// `https` or `grpcs`.
    pub(super) is_tls: bool,
    pub(super) is_grpc: bool,
    /// A group's name, or an address.
    pub(super) server: String,
    /// What takes the place of the matched part of the path.
    pub(super) uri: Option<String>,
    /// A rule that makes the path, where it is made of captures.
    pub(super) rule: Option<Rule>,
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
        let has_variables = written.contains('$');
        let captures = names_in(written).any(|name| {
            let is_number = name.starts_with(|c: char| c.is_ascii_digit());
            is_number || matches!(location, Location::Regex(_, regex) if regex.contains(&format!("<{name}>")))
        });
        let mut rule = None;
        let mut inlined = match (captures, location) {
            (true, Location::Regex(is_exact, regex)) => {
                let whole = self.replacement(scope, regex, written)?;
                let (front, uri) = split(&whole);
                let uri = uri.ok_or("a server's name cannot be made of the path")?;
                let to = uri
                    .strip_suffix("$is_args$args")
                    .map_or_else(|| format!("{uri}?"), str::to_owned);
                rule = Some(Rule {
                    from: if *is_exact {
                        regex.clone()
                    } else {
                        format!("(?i){regex}")
                    },
                    to,
                    flag: "break".to_owned(),
                    when: None,
                });
                front
            }
            _ => self.words.inline(written, &scope.constants)?,
        };
        // The request's own path and query, which go on in any case.
        for whole in [
            "$request_uri",
            "$uri$is_args$args",
            "$document_uri$is_args$args",
        ] {
            if let Some(front) = inlined.strip_suffix(whole) {
                inlined = front.to_owned();
            }
        }
        if let Some(Piece::Variable(name)) = pieces_of(&inlined)
            .iter()
            .find(|piece| matches!(piece, Piece::Variable(_)))
        {
            return Err(format!(
                "the server depends on the request, by `${name}`: name upstreams, and lead to them by \
                 `when` in routes or the hook `split`"
            ));
        }
        let (front, uri) = split(&inlined);
        let (scheme, server) = match front.split_once("://") {
            Some((scheme, server)) => (scheme, server),
            None if pass.name == "grpc_pass" => ("grpc", &*front),
            None => return Err("it has no scheme".to_owned()),
        };
        let (is_tls, is_grpc) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (false, false),
            "https" => (true, false),
            "grpc" => (false, true),
            "grpcs" => (true, true),
            _ => return Err(format!("`{scheme}` is no scheme of a server")),
        };
        if server.is_empty() {
            return Err("it names no server".to_owned());
        }
        if has_variables
            && rule.is_none()
            && uri.is_some()
            && !matches!(location, Location::Exact(_))
        {
            return Err(
                "with variables, the URI of `proxy_pass` takes the place of every path: name the \
                 server without them"
                    .to_owned(),
            );
        }
        Ok(Target {
            is_tls,
            is_grpc,
            server: server.to_owned(),
            uri: uri.filter(|_| rule.is_none()),
            rule,
            has_variables: has_variables && !captures,
        })
    }
}

/// The part before the URI, and the URI if there is one.
fn split(url: &str) -> (String, Option<String>) {
    let start = url.find("://").map_or(0, |at| at + 3);
    let rest = url.get(start..).unwrap_or_default();
    if rest.starts_with("unix:") {
        let colon = rest.match_indices(':').nth(1).map(|(at, _)| at + start);
        return match colon {
            Some(at) => {
                let uri = url.get(at + 1..).unwrap_or_default();
                let uri = (!uri.is_empty()).then(|| uri.to_owned());
                (url.get(..at).unwrap_or_default().to_owned(), uri)
            }
            None => (url.to_owned(), None),
        };
    }
    match rest.find(['/', '?']) {
        Some(at) => {
            let (front, uri) = url.split_at(start + at);
            (front.to_owned(), Some(uri.to_owned()))
        }
        None => (url.to_owned(), None),
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
