//! What came from the environment, shown as it was written.
//!
//! It is most often a secret, and what `waypost show` prints is most often pasted somewhere. A
//! value may have been changed on its way (a path made absolute, a port that got its address), so
//! that the places of strings tell nothing: what is looked for is the values themselves, in every
//! string. Numbers, durations and sizes are too short for that, and are not shown as they were
//! written: they are looked for at the keys of their name.

use crate::config::environment::Expansion;
use crate::config::units::{duration, duration_text, size, size_text};

/// A value of so many bytes is no coincidence wherever it stands; a shorter one is only looked for
/// between other characters than letters and digits.
const DISTINCT: usize = 8;

/// The text with references to the environment in the place of what they stand for.
pub fn conceal(shown: &str, expansions: &[Expansion]) -> String {
    let of_keys: Vec<KeyValue<'_>> = expansions.iter().filter_map(KeyValue::of).collect();
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
        push_without_strings(before, &of_keys, &mut out);
        let replaced = decoded(token).and_then(|text| {
            let of_key = reference_at(key_before(before), &text, &of_keys);
            of_key.or_else(|| with_references(&text, &expansions))
        });
        match replaced {
            Some(text) => out.push_str(&toml::Value::String(text).to_string()),
            None => out.push_str(token),
        }
        rest = after;
    }
    push_without_strings(rest, &of_keys, &mut out);
    out
}

/// A string that is the value of a key, and what it may be shown as there.
struct KeyValue<'a> {
    key: &'a str,
    written: &'a str,
    shown: Vec<String>,
}

impl<'a> KeyValue<'a> {
    /// None for a part of a string, and for what is no number, duration, size or truth.
    fn of(expansion: &'a Expansion) -> Option<KeyValue<'a>> {
        let value = &expansion.value;
        let number = value.parse::<i64>().map(|number| number.to_string());
        let truth = value.parse::<bool>().map(|truth| truth.to_string());
        let time = duration(value).map(duration_text);
        let bytes = size(value).map(size_text);
        let shown = [number.ok(), truth.ok(), time.ok(), bytes.ok()];
        let shown: Vec<String> = shown.into_iter().flatten().collect();
        (!shown.is_empty()).then_some(KeyValue {
            key: expansion.key.as_deref()?,
            written: &expansion.written,
            shown,
        })
    }
}

/// What was written for a value of a key, if that came from the environment.
fn reference_at(key: &str, value: &str, of_keys: &[KeyValue<'_>]) -> Option<String> {
    let mut of_keys = of_keys.iter().filter(|known| known.key == key);
    let found = of_keys.find(|known| known.shown.iter().any(|shown| shown == value))?;
    Some(found.written.to_owned())
}

/// The key whose value comes next, if one does.
fn key_before(text: &str) -> &str {
    let Some(text) = text.strip_suffix(" = ") else {
        return "";
    };
    let start = text.rfind(|c: char| !is_bare(c)).map_or(0, |at| at + 1);
    text.get(start..).unwrap_or_default()
}

fn is_bare(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
}

/// Appends a text that has no strings in it, with references for the values of keys.
fn push_without_strings(text: &str, of_keys: &[KeyValue<'_>], out: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find(" = ") {
        let (before, after) = rest.split_at(at + " = ".len());
        let end = after.find(|c: char| !is_bare(c)).unwrap_or(after.len());
        let (value, after) = after.split_at(end);
        out.push_str(before);
        match reference_at(key_before(before), value, of_keys) {
            Some(text) => out.push_str(&toml::Value::String(text).to_string()),
            None => out.push_str(value),
        }
        rest = after;
    }
    out.push_str(rest);
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
            key: None,
        }
    }

    #[test]
    fn numbers_and_durations_are_replaced_at_the_keys_of_their_name() {
        let of_key = |key: &str, written: &str, value: &str| Expansion {
            key: Some(key.to_owned()),
            ..expansion(written, value)
        };
        let expansions = [
            of_key("workers", "${env:N}", "3"),
            of_key("time", "${env:T}", "90s"),
            of_key("size", "${env:S:-2048k}", "2048k"),
            of_key("on", "${env:ON}", "true"),
        ];
        let shown = "workers = 3\nbacklog = 3\non = true\noff = true\ntime = \"90s\"\n\
                     a = { size = \"2m\", workers = 3, time = \"1m30s\" }\nsize = \"20m\"\n";
        let expected = "workers = \"${env:N}\"\nbacklog = 3\non = \"${env:ON}\"\noff = true\n\
                        time = \"${env:T}\"\na = { size = \"${env:S:-2048k}\", \
                        workers = \"${env:N}\", time = \"1m30s\" }\nsize = \"20m\"\n";
        assert_eq!(conceal(shown, &expansions), expected);
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
