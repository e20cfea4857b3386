//! What a `location` matches.

use super::conditions::check_regex;
use super::expressions::of_ascii;
use super::report::Accounts;

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

/// What no `path` of a route has, as it would begin the query or the fragment of a URI.
pub(super) const UNSAYABLE: [char; 2] = ['?', '#'];

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
            "~" => Location::Regex(true, of_ascii(&without_look_ahead(&path))),
            "~*" => Location::Regex(false, of_ascii(&without_look_ahead(&path))),
            "" if path.starts_with('@') => Location::Named(path),
            "" => Location::Prefix(path),
            _ => return None,
        })
    }

    /// Whether what stands behind `location` can be told as a route. `within`: the location around it.
    pub(super) fn is_sayable(arguments: &[String], within: Option<&Location>) -> bool {
        match (Location::parse(arguments), within) {
            (None, _) => false,
            (
                Some(
                    Location::Exact(path) | Location::Prefix(path) | Location::PrefixNoRegex(path),
                ),
                _,
            ) => !path.contains(UNSAYABLE),
            (Some(Location::Regex(_, regex)), None) => check_regex(&regex).is_ok(),
            (Some(Location::Regex(_, regex)), Some(outer)) => {
                outer.prefix().is_some() && check_regex(&regex).is_ok()
            }
            _ => true,
        }
    }

    /// The beginning of the paths that it matches, if that is all it asks for.
    pub(super) fn prefix(&self) -> Option<&str> {
        match self {
            Location::Prefix(prefix) | Location::PrefixNoRegex(prefix) => Some(prefix),
            _ => None,
        }
    }

    /// The ending of the path that it is named after, in small letters (`ngx_http_set_exten`): of all
    /// its paths, if it has one.
    pub(super) fn ending(&self) -> Option<String> {
        let ending = match self {
            Location::Exact(path) | Location::Prefix(path) | Location::PrefixNoRegex(path) => {
                let name = path.rsplit('/').next()?;
                let (stem, ending) = name.rsplit_once('.')?;
                (!stem.is_empty()).then_some(ending)?
            }
            Location::Regex(_, regex) => ending_of_all(regex)?.0,
            Location::Named(_) => return None,
        };
        Some(ending.to_ascii_lowercase())
    }

    /// Whether all of its paths have the same ending, or none.
    pub(super) fn has_one_ending(&self) -> bool {
        match self {
            Location::Exact(_) => true,
            Location::Regex(_, regex) => ending_of_all(regex).is_some_and(|(_, all)| all),
            Location::Prefix(_) | Location::PrefixNoRegex(_) | Location::Named(_) => false,
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

/// The ending of the paths that an expression fits, as that of `/a.*\.css$`, and whether all of them
/// have it: a name that begins with a dot has none.
fn ending_of_all(regex: &str) -> Option<(&str, bool)> {
    let (begin, ending) = regex.strip_suffix('$')?.rsplit_once("\\.")?;
    let is_word = !ending.is_empty() && ending.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let is_one = is_word && !begin.contains('|') && !begin.ends_with(['/', '\\']);
    is_one.then_some((ending, !begin.is_empty()))
}

/// An expression that ends in what must not follow, `/\.(?!well-known).*`, without look-ahead: what
/// may follow is spelt out, letter by letter. As it is where it has none, or one that is no list of
/// plain words.
fn without_look_ahead(regex: &str) -> String {
    let spelt = || {
        let (front, rest) = regex.split_once("(?!")?;
        let (refused, end) = rest.split_once(')')?;
        // Of an alternative, only a part would be what is in front.
        let is_last = matches!(end, "" | ".*" | ".*$") && !front.contains('|');
        let words: Option<Vec<String>> = refused.split('|').map(plain_word).collect();
        let words = words.filter(|words| is_last && words.iter().all(|word| !word.is_empty()))?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let whole = format!("{front}{}", other_than(&words));
        (check_regex(front).is_ok() && check_regex(&whole).is_ok()).then_some(whole)
    };
    spelt().unwrap_or_else(|| regex.to_owned())
}

/// A word without its backslashes; none where it is an expression of another kind.
fn plain_word(word: &str) -> Option<String> {
    let mut letters = word.chars();
    let mut plain = String::new();
    while let Some(letter) = letters.next() {
        plain.push(match letter {
            '\\' => letters.next().filter(|next| "/.-_".contains(*next))?,
            letter if letter.is_ascii_alphanumeric() || "/-_".contains(letter) => letter,
            _ => return None,
        });
    }
    Some(plain)
}

/// An expression of what begins with none of these words.
fn other_than(words: &[&str]) -> String {
    let mut letters: Vec<char> = words
        .iter()
        .filter_map(|word| word.chars().next())
        .collect();
    letters.sort_unstable();
    letters.dedup();
    let escaped = |letter: char| match letter {
        '-' => r"\-".to_owned(),
        letter => letter.to_string(),
    };
    let class: String = letters.iter().copied().map(escaped).collect();
    let mut whole = format!("(?:$|[^{class}]");
    for letter in letters {
        let rests = words.iter().filter_map(|word| word.strip_prefix(letter));
        let rests: Vec<&str> = rests.collect();
        // Behind a whole word nothing may follow.
        if rests.iter().all(|rest| !rest.is_empty()) {
            whole.push('|');
            whole.push_str(&regex::escape(&letter.to_string()));
            whole.push_str(&other_than(&rests));
        }
    }
    whole.push(')');
    whole
}

/// Notes what an expression means here in another way than in nginx.
pub(super) fn departures(regex: &str, accounts: &Accounts) {
    if regex.contains('$') && !regex.contains("\\n?$") {
        accounts.general(
            "`$` of an expression is the very end, where PCRE also finds it before a last newline.",
        );
    }
}

/// What an expression says that must not follow, at its end.
pub(super) struct LookAhead {
    /// Paths that have what stands before it.
    pub(super) front: Location,
    /// As `when` has it: paths in which what must not follow does.
    pub(super) not: String,
    /// Paths that have both, what must not follow and another one; none where there are none.
    pub(super) both: Option<Location>,
}

impl LookAhead {
    /// Reads `~ ^/(?!api|ws)`, and the idiom for hidden files, `~ /\.(?!well-known)`. None for what
    /// would not be the same by a `when`.
    pub(super) fn parse(arguments: &[String]) -> Option<LookAhead> {
        let (sign, regex) = match arguments {
            [sign, regex] => (sign.as_str(), regex.as_str()),
            [both] => both.split_at(both.find(|c| c != '~' && c != '*')?),
            _ => return None,
        };
        let is_exact = match sign {
            "~" => true,
            "~*" => false,
            _ => return None,
        };
        let (front, rest) = regex.split_once("(?!")?;
        let (refused, end) = rest.split_once(')')?;
        let words: Option<Vec<String>> = refused.split('|').map(plain_word).collect();
        if !matches!(end, "" | ".*" | ".*$") || words?.iter().any(String::is_empty) {
            return None;
        }
        let words = match refused.contains('|') {
            true => format!("(?:{refused})"),
            false => refused.to_owned(),
        };
        // What is in front is found at one place at most, or is told where it is at several.
        let is_at_one = front.strip_prefix('^').and_then(plain_word).is_some();
        let is_hidden = matches!(front, r"/\." | r"\/\.");
        let location = |regex: String| Location::Regex(is_exact, regex);
        (is_at_one || is_hidden).then(|| LookAhead {
            front: location(front.to_owned()),
            not: format!("!{sign}{front}{words}"),
            both: is_hidden.then(|| location(format!("{front}.*{front}"))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_not_follow_is_spelt_out() {
        let is_match = |regex: &str, path: &str| {
            let spelt = without_look_ahead(regex);
            regex::Regex::new(&spelt).is_ok_and(|regex| regex.is_match(path))
        };
        for (regex, path, expected) in [
            (r"/\.(?!well-known)", "/.git", true),
            (r"/\.(?!well-known)", "/.", true),
            (r"/\.(?!well-known)", "/.well", true),
            (r"/\.(?!well-known)", "/.well-known/x", false),
            (r"/\.(?!well-known).*", "/.well-known/.git", true),
            (r"/\.(?!well-known\/)", "/.well-known", true),
            (r"/\.(?!well-known\/)", "/.well-known/", false),
            (r"^/(?!api|ws)", "/apx", true),
            (r"^/(?!api|ws)", "/apis", false),
            (r"^/(?!api|ws)", "/ws", false),
            (r"^/(?!api|a)", "/apx", false),
            (r"(?!x)", "/x", true),
            (r"/up/.*\.(?!jpg|png)", "/up/a.jpg", false),
            (r"/up/.*\.(?!jpg|png)", "/up/a.jpg.php", true),
            (r"(?i)/\.(?!ab)", "/.Ab", false),
        ] {
            assert_eq!(is_match(regex, path), expected, "{regex} {path}");
        }
    }

    #[test]
    fn a_look_ahead_of_another_kind_stays_as_it_is() {
        for regex in [
            "a(?!b)c",
            "a(?!(b))",
            "a(?=b)",
            "a(?!b.*)",
            "^/x|^/a(?!b)",
            "a(?!b|)",
        ] {
            assert_eq!(without_look_ahead(regex), regex);
        }
    }

    #[test]
    fn a_location_is_named_after_a_path_with_an_ending() {
        for (words, ending, has_one) in [
            ("= /a/b.TXT", Some("txt"), true),
            ("= /a.d/b", None, true),
            ("/robots.txt", Some("txt"), false),
            ("^~ /x.json", Some("json"), false),
            ("/", None, false),
            ("/.txt", None, false),
            (r"~ ^/a/.*\.css$", Some("css"), true),
            (r"~* \.CSS$", Some("css"), false),
            (r"~* /a\.CSS$", Some("css"), true),
            (r"~ /\.css$", None, false),
            (r"~ ^/a\.(css|js)$", None, false),
            (r"~ ^/a\.css|b\.css$", None, false),
            (r"~ ^/a\.css", None, false),
            ("@named", None, false),
        ] {
            let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
            let location = Location::parse(&words);
            let found = location.as_ref().and_then(Location::ending);
            assert_eq!(found.as_deref(), ending, "{words:?}");
            let is_found = location.is_some_and(|location| location.has_one_ending());
            assert_eq!(is_found, has_one, "{words:?}");
        }
    }
}
