//! What a `location` matches.

use super::conditions::check_regex;

/// What a location matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Location {
    Exact(String),
    Prefix(String),
    /// Before any regular expression.
    PrefixNoRegex(String),
    /// Whether case counts, and the expression.
    Regex(bool, String),
    Named(String),
}

impl Location {
    /// Reads the words behind `location` (`ngx_http_core_location`).
    pub(super) fn parse(arguments: &[String]) -> Option<Location> {
        let (modifier, path) = match arguments {
            [modifier, path] => (modifier.as_str(), path.as_str()),
            [path] => {
                let modifiers = ["=", "^~", "~*", "~"];
                let found = modifiers
                    .iter()
                    .find(|modifier| path.starts_with(**modifier));
                let modifier = found.copied().unwrap_or("");
                (modifier, path.get(modifier.len()..).unwrap_or_default())
            }
            _ => return None,
        };
        let path = path.to_owned();
        Some(match modifier {
            "=" => Location::Exact(path),
            "^~" => Location::PrefixNoRegex(path),
            "~" => Location::Regex(true, path),
            "~*" => Location::Regex(false, path),
            "" if path.starts_with('@') => Location::Named(path),
            "" => Location::Prefix(path),
            _ => return None,
        })
    }

    /// The beginning of the paths that it matches, if that is all it asks for.
    pub(super) fn prefix(&self) -> Option<&str> {
        match self {
            Location::Prefix(prefix) | Location::PrefixNoRegex(prefix) => Some(prefix),
            _ => None,
        }
    }

    /// As `path` has it.
    pub(super) fn path(&self) -> String {
        match self {
            Location::Exact(path) => format!("= {path}"),
            Location::Prefix(path) | Location::Named(path) => path.clone(),
            Location::PrefixNoRegex(path) => format!("^~ {path}"),
            Location::Regex(true, regex) => format!("~ {regex}"),
            Location::Regex(false, regex) => format!("~* {regex}"),
        }
    }
}

/// An expression that ends in what must not follow, `/\.(?!well-known).*`: what is before that, and
/// both together. Who has both in several places of a path is taken for the latter alone.
pub(super) fn without_look_ahead(regex: &str) -> Option<(&str, String)> {
    let (front, rest) = regex.split_once("(?!")?;
    let (refused, end) = rest.split_once(')')?;
    let is_plain = !refused.contains(['(', '[']) && matches!(end, "" | ".*" | ".*$");
    let whole = format!("{front}(?:{refused})");
    let whole = match refused.contains('|') {
        true => whole,
        false => format!("{front}{refused}"),
    };
    let are_good = check_regex(front).is_ok() && check_regex(&whole).is_ok();
    (is_plain && !front.is_empty() && are_good).then_some((front, whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_not_follow_is_told_from_what_is_before() {
        for (regex, split) in [
            (r"/\.(?!well-known)", Some((r"/\.", r"/\.well-known"))),
            (r"/\.(?!well-known).*", Some((r"/\.", r"/\.well-known"))),
            (r"^/(?!api|ws)", Some(("^/", "^/(?:api|ws)"))),
            (r"/\.(?!well-known\/)", Some((r"/\.", r"/\.well-known\/"))),
            ("(?!x)", None),
            ("a(?!b)c", None),
            ("a(?!(b))", None),
            ("a(?=b)", None),
        ] {
            let found = without_look_ahead(regex);
            let found = found
                .as_ref()
                .map(|(front, whole)| (*front, whole.as_str()));
            assert_eq!(found, split, "{regex}");
        }
    }
}
