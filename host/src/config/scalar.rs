//! Single values against the kind that their key declares: numbers, durations, sizes, words.

use std::time::Duration;

use super::hints;
use super::key::ValueKind;
use super::problem::{Problem, Problems, listing, suggestion};
use super::tree::{Node, Value};
use super::units;

/// Notes that a value is not of its kind, and how it is written instead.
pub(super) fn wrong_type(node: &Node, name: &str, kind: &ValueKind, problems: &Problems) {
    if matches!(node.value, Value::Unusable) {
        return;
    }
    let message = format!(
        "`{name}` must be {}, not {}",
        kind.expected(),
        node.type_name()
    );
    let hint = match (&node.value, kind) {
        (Value::Integer(number), ValueKind::Duration { .. }) if *number >= 0 => {
            Some(format!(r#"for seconds write `"{number}s"`"#))
        }
        (Value::Boolean(_), ValueKind::Text) => None,
        (Value::Integer(number), ValueKind::Text) => Some(format!(r#"write `"{number}"`"#)),
        (Value::Text(text), kind) if without_quotes(text, kind).is_some() => {
            without_quotes(text, kind).map(|value| format!("write `{name} = {value}`"))
        }
        (Value::Integer(number), ValueKind::List(item)) => match item.takes_integer() {
            true => Some(format!("write `{name} = [{number}]`")),
            false => {
                matches!(item, ValueKind::Text).then(|| format!("write `{name} = [\"{number}\"]`"))
            }
        },
        (Value::Text(_), ValueKind::Boolean) => {
            Some(format!("write `{name} = true` or `{name} = false`"))
        }
        (Value::Text(text), ValueKind::List(item)) if item.takes_text() => {
            let text = toml::Value::String(text.clone());
            Some(format!("write `{name} = [{text}]`"))
        }
        (Value::Text(text), ValueKind::Table(_)) if truth(text) == Some(false) => {
            Some(format!("leave `{name}` out"))
        }
        (Value::Boolean(false), ValueKind::Table(_)) => Some(format!("leave `{name}` out")),
        (Value::Table(_), ValueKind::List(ValueKind::Table(table))) => {
            Some(format!("write `{}` with two brackets", table.title))
        }
        (Value::Array(items), ValueKind::Table(table)) if holds_tables(items) => {
            Some(hints::one_table(table))
        }
        (value, kind) => kind.notation().map(str::to_owned).or_else(|| {
            let text = match value {
                Value::Text(text) => Some(text.as_str()),
                _ => None,
            };
            hints::table_form(name, kind, text)
        }),
    };
    let problem = Problem::new(&node.place, message);
    problems.add(match hint {
        Some(hint) => problem.hint(hint),
        None => problem,
    });
}

fn holds_tables(items: &[Node]) -> bool {
    let is_table = |item: &Node| matches!(item.value, Value::Table(_));
    !items.is_empty() && items.iter().all(is_table)
}

/// What a text that stands for a boolean or a number is in TOML, if the kind takes that. `on` and
/// `off` are nginx's, and no value of TOML.
fn without_quotes(text: &str, kind: &ValueKind) -> Option<String> {
    let word = truth(text).map(|truth| truth.to_string());
    match kind {
        ValueKind::Boolean => word,
        ValueKind::Off => word.filter(|word| word == "false"),
        ValueKind::Integer { .. } => {
            // Percents are numbers as well.
            let number = text.trim().trim_end_matches('%').trim_end();
            let number: i64 = number.parse().ok()?;
            Some(number.to_string())
        }
        ValueKind::Either(kinds) => kinds.iter().find_map(|kind| without_quotes(text, kind)),
        _ => None,
    }
}

/// What a word that stands for a boolean in nginx or elsewhere means.
pub(super) fn truth(word: &str) -> Option<bool> {
    match word.to_ascii_lowercase().as_str() {
        "on" | "yes" | "true" => Some(true),
        "off" | "no" | "false" | "none" => Some(false),
        _ => None,
    }
}

/// An integer within the bounds of its kind.
pub(super) fn integer(
    node: &Node,
    name: &str,
    kind: &ValueKind,
    problems: &Problems,
) -> Option<i64> {
    let ValueKind::Integer { min, max } = kind else {
        return None;
    };
    let value = match &node.value {
        Value::Integer(value) => *value,
        Value::Environment(text) if text.parse::<i64>().is_ok() => text.parse().unwrap_or_default(),
        _ => {
            wrong_type(node, name, kind, problems);
            return None;
        }
    };
    if !(*min..=*max).contains(&value) {
        let message = format!("`{name}` must be from {min} to {max}, not {value}");
        problems.add(Problem::new(&node.place, message));
        return None;
    }
    Some(value)
}

/// A duration within the bounds of its kind.
pub(super) fn duration(
    node: &Node,
    name: &str,
    kind: &ValueKind,
    problems: &Problems,
) -> Option<Duration> {
    let ValueKind::Duration { min, max } = kind else {
        return None;
    };
    let written = match &node.value {
        // Zero needs no unit.
        Value::Integer(0) => Ok(Duration::ZERO),
        Value::Text(text) | Value::Environment(text) => units::duration(text),
        _ => {
            wrong_type(node, name, kind, problems);
            return None;
        }
    };
    let (min, max) = (Duration::from_millis(*min), Duration::from_millis(*max));
    match written {
        Ok(value) if (min..=max).contains(&value) => Some(value),
        Ok(value) => {
            let [min, max, value] = [min, max, value].map(units::duration_text);
            let message = format!(r#"`{name}` must be from "{min}" to "{max}", not "{value}""#);
            problems.add(Problem::new(&node.place, message));
            None
        }
        Err(message) => {
            note(node, message, kind, problems);
            None
        }
    }
}

/// Bytes within the bounds of their kind.
pub(super) fn size(node: &Node, name: &str, kind: &ValueKind, problems: &Problems) -> Option<u64> {
    let ValueKind::Size { min, max } = kind else {
        return None;
    };
    let written = match &node.value {
        Value::Integer(bytes) => {
            u64::try_from(*bytes).map_err(|_| format!("`{bytes}` is not a size"))
        }
        Value::Text(text) | Value::Environment(text) => units::size(text),
        _ => {
            wrong_type(node, name, kind, problems);
            return None;
        }
    };
    match written {
        Ok(bytes) if (*min..=*max).contains(&bytes) => Some(bytes),
        Ok(bytes) => {
            let [min, max, bytes] = [*min, *max, bytes].map(units::size_text);
            let message = format!(r#"`{name}` must be from "{min}" to "{max}", not "{bytes}""#);
            problems.add(Problem::new(&node.place, message));
            None
        }
        Err(message) => {
            note(node, message, kind, problems);
            None
        }
    }
}

/// Notes what is wrong with the notation of a value.
fn note(node: &Node, message: String, kind: &ValueKind, problems: &Problems) {
    let problem = Problem::new(&node.place, message);
    problems.add(match kind.notation() {
        Some(notation) => problem.hint(notation),
        None => problem,
    });
}

/// A word that is none of those possible.
pub(super) fn unknown_word(node: &Node, name: &str, word: &str, words: &[&str]) -> Problem {
    let problem = Problem::new(&node.place, format!("unknown `{word}` in `{name}`"));
    match suggestion(word, words.iter().copied(), "") {
        hint if hint.starts_with("did you mean") => problem.hint(hint),
        _ => problem.hint(format!("possible are {}", listing(words))),
    }
}
