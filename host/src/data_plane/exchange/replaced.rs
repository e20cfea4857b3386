//! What takes the place of what a server says: by the first rule that fits, with variables of the
//! exchange and of what the rule's regex has found (`ngx_http_proxy_rewrite`).

use std::borrow::Cow;

use regex::bytes::{Captures, Regex};

use super::state::Exchange;
use crate::config::model::{Replaced, Replacement};
use crate::http::variable::{Capture, Variable, VariableSource};

/// What stands in place of the beginning of `text`, and what of it comes behind.
pub(super) fn beginning<'t>(
    exchange: &Exchange,
    rules: &[Replacement],
    text: &'t [u8],
) -> Option<(Vec<u8>, &'t [u8])> {
    find(exchange, rules, text, |from, text| text.strip_prefix(from))
}

/// What stands in place of a domain, whatever its case is (`ngx_http_proxy_rewrite_domain_handler`).
pub(super) fn domain(exchange: &Exchange, rules: &[Replacement], text: &[u8]) -> Option<Vec<u8>> {
    let (dot, name) = match text.strip_prefix(b".") {
        Some(name) => (&b"."[..], name),
        None => (&b""[..], text),
    };
    let as_a_whole = |from: &[u8], _: &[u8]| from.eq_ignore_ascii_case(name).then_some(dot);
    // What the text leaves is its dot, which then stands first.
    let (mut to, dot) = find(exchange, rules, text, as_a_whole)?;
    to.splice(0..0, dot.iter().copied());
    Some(to)
}

/// `rest`: what a text leaves of a value that it fits.
fn find<'t>(
    exchange: &Exchange,
    rules: &[Replacement],
    value: &'t [u8],
    rest: impl Fn(&[u8], &'t [u8]) -> Option<&'t [u8]>,
) -> Option<(Vec<u8>, &'t [u8])> {
    let mut to = Vec::new();
    for rule in rules {
        match &rule.from {
            Replaced::Text(from) => {
                let from = match from.as_literal() {
                    Some(literal) => Cow::Borrowed(literal.as_bytes()),
                    None => Cow::Owned(from.rendered(exchange)),
                };
                // Variables may have left nothing, which everything begins with.
                let rest = rest(&from, value).filter(|_| !from.is_empty());
                if let Some(rest) = rest {
                    rule.to.render(exchange, &mut to);
                    return Some((to, rest));
                }
            }
            Replaced::Regex(_, regex) => {
                if let Some(captures) = regex.captures(value) {
                    let found = Found {
                        exchange,
                        regex,
                        captures,
                    };
                    rule.to.render(&found, &mut to);
                    return Some((to, b""));
                }
            }
        }
    }
    None
}

/// Knows what a rule's regex has found, and else what the exchange does.
struct Found<'a> {
    exchange: &'a Exchange,
    regex: &'a Regex,
    captures: Captures<'a>,
}

impl VariableSource for Found<'_> {
    fn append(&self, variable: &Variable, out: &mut Vec<u8>) -> bool {
        let group = match variable {
            Variable::Capture(Capture::Number(number)) => self.captures.get(usize::from(*number)),
            Variable::Capture(Capture::Name(name)) => {
                let is_meant =
                    |known: &&str| known.as_bytes().eq_ignore_ascii_case(name.as_bytes());
                match self.regex.capture_names().flatten().find(is_meant) {
                    Some(known) => self.captures.name(known),
                    // A group of the route's.
                    None => return self.exchange.append(variable, out),
                }
            }
            _ => return self.exchange.append(variable, out),
        };
        out.extend_from_slice(group.map_or(b"", |group| group.as_bytes()));
        group.is_some()
    }
}
