//! Rules of a server with `break`: for what they have led to a location, nginx leaves out the URI
//! part of its `proxy_pass` (`valid_location` in `ngx_http_script_regex_end_code`).

use super::Translator;
use super::finding;
use super::matching::Location;
use super::rewriting::{ALL, Rule};
use super::scope::Scope;
use super::variables::{Piece, pieces_of};

/// Those of the server at hand.
#[derive(Default)]
pub(super) struct Breaking {
    rules: Vec<Rule>,
    /// Whether the first one is for all requests.
    are_all_led: bool,
}

/// Whether the URI part of a `proxy_pass` is left out.
pub(super) enum Breaks {
    Never,
    Sometimes,
    Always,
}

impl Breaking {
    /// Those among all rules of a server.
    pub(super) fn of(rules: &[Rule]) -> Breaking {
        let breaks = |rule: &&Rule| rule.flag == "break";
        let for_all = |rule: &Rule| rule.when.is_none() && ALL.contains(&&*rule.from);
        let first = rules.first().filter(breaks);
        Breaking {
            rules: rules.iter().filter(breaks).cloned().collect(),
            are_all_led: first.is_some_and(for_all),
        }
    }
}

impl Translator<'_> {
    /// Whether requests of a location have been led there by such a rule.
    pub(super) fn breaks(&self, scope: &Scope<'_>, location: &Location, uri: &str) -> Breaks {
        // It puts in place what has been there.
        if location.prefix() == Some(uri) || self.breaking.rules.is_empty() {
            return Breaks::Never;
        }
        if self.breaking.are_all_led {
            return Breaks::Always;
        }
        let server = finding::server_of(scope);
        let is_prefix = location.prefix().is_some();
        let leads_here = |rule: &Rule| match location {
            Location::Exact(path) | Location::Prefix(path) | Location::PrefixNoRegex(path) => {
                let begin = beginning(&rule.to);
                let is_above = path.starts_with(begin);
                // A longer one takes its paths, wherever it stands.
                let longest = finding::longest_prefix(server.children, begin);
                let is_longest = longest.is_none_or(|longest| longest <= path.len());
                is_above || (begin.starts_with(path.as_str()) && is_longest && is_prefix)
            }
            _ => true,
        };
        match self.breaking.rules.iter().any(leads_here) {
            true => Breaks::Sometimes,
            false => Breaks::Never,
        }
    }
}

/// What all paths begin with that a rule makes.
fn beginning(to: &str) -> &str {
    let path = to.split('?').next().unwrap_or_default();
    match pieces_of(path).first() {
        Some(Piece::Literal(begin)) => begin,
        _ => "",
    }
}
