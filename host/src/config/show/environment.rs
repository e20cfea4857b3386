//! What came from the environment, shown as it was written.
//!
//! It is most often a secret, and what `waypost show` prints is most often pasted somewhere. A
//! value may have been changed on its way (a path made absolute, a port that got its address), so
//! that the places of strings tell nothing: what is looked for is the values themselves, in every
//! string.

use crate::config::environment::Expansion;

/// A value of so many bytes is no coincidence wherever it stands; a shorter one is only looked for
/// between other characters than letters and digits.
const DISTINCT: usize = 8;

/// The text with references to the environment in the place of what they stand for.
pub fn conceal(shown: &str, expansions: &[Expansion]) -> String {
    let mut expansions: Vec<&Expansion> = expansions
        .iter()
        .filter(|expansion| !expansion.value.is_empty())
        .collect();
    // The longest first: the whole of a string before a part of it.
    expansions.sort_by_key(|expansion| std::cmp::Reverse(expansion.value.len()));
    let (mut out, mut rest) = (String::with_capacity(shown.len()), shown);
    while let Some(at) = rest.find(['"', '\'']) {
        let (before, from) = rest.split_at(at);
        let (token, after) = from.split_at(string_length(from));
        out.push_str(before);
        match decoded(token).and_then(|text| with_references(&text, &expansions)) {
            Some(text) => out.push_str(&toml::Value::String(text).to_string()),
            None => out.push_str(token),
        }
        rest = after;
    }
    out + rest
}

/// Bytes of the TOML string that a text begins with, its quotes included.
fn string_length(text: &str) -> usize {
    let one = text.get(..1).unwrap_or_default();
    let three = one.repeat(3);
    let quote = if text.starts_with(&three) {
        &three
    } else {
        one
    };
    let escapes = one == "\"";
    let mut at = quote.len();
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with(quote) {
            return at + quote.len();
        }
        at += match rest.chars().next() {
            Some('\\') if escapes => 1 + rest.chars().nth(1).map_or(0, char::len_utf8),
            Some(other) => other.len_utf8(),
            None => break,
        };
    }
    text.len()
}

fn decoded(token: &str) -> Option<String> {
    let mut table: toml::Table = format!("it = {token}").parse().ok()?;
    match table.remove("it") {
        Some(toml::Value::String(text)) => Some(text),
        _ => None,
    }
}

/// The text with references in it; none where nothing is to be replaced.
fn with_references(text: &str, expansions: &[&Expansion]) -> Option<String> {
    let (mut done, mut at) = (String::new(), 0);
    let mut changed = false;
    while at < text.len() {
        let (before, rest) = text.split_at(at);
        let here = |expansion: &&&Expansion| {
            let Some(after) = rest.strip_prefix(&*expansion.value) else {
                return false;
            };
            let joined = |neighbour: Option<char>| neighbour.is_some_and(char::is_alphanumeric);
            expansion.value.len() >= DISTINCT
                || !joined(before.chars().next_back()) && !joined(after.chars().next())
        };
        match expansions.iter().find(here) {
            Some(expansion) => {
                done.push_str(&expansion.written);
                at += expansion.value.len();
                changed = true;
            }
            None => {
                let letter = rest.chars().next().unwrap_or_default();
                done.push(letter);
                at += letter.len_utf8();
            }
        }
    }
    changed.then_some(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expansion(written: &str, value: &str) -> Expansion {
        Expansion {
            written: written.to_owned(),
            value: value.to_owned(),
        }
    }

    #[test]
    fn values_are_replaced_within_strings_and_nowhere_else() {
        let expansions = [
            expansion("${env:PORT}", "80"),
            expansion("${env:TOKEN}", "secret-secret"),
            expansion("Bearer ${env:TOKEN}", "Bearer secret-secret"),
        ];
        let shown = "workers = 80\na = \"127.0.0.1:80\"\nb = \"10.0.0.1:8080\"\n\
                     c = { d = \"Bearer secret-secret\", e = 'x\"secret-secretx' }\nf = \"\\\"80\\\\\"\n";
        let expected = "workers = 80\na = \"127.0.0.1:${env:PORT}\"\nb = \"10.0.0.1:8080\"\n\
                        c = { d = \"Bearer ${env:TOKEN}\", e = 'x\"${env:TOKEN}x' }\nf = '\"${env:PORT}\\'\n";
        assert_eq!(conceal(shown, &expansions), expected);
    }

    #[test]
    fn without_references_nothing_changes() {
        let shown = "a = \"b\"\n[\"c d\"]\ne = '''\nf''g'''\n\"h\" = \"\"\n";
        assert_eq!(conceal(shown, &[expansion("${env:NONE}", "")]), shown);
    }
}
