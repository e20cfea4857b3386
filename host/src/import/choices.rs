//! What `if`s decide and regexes match, as `[variable.NAME]` with a `map`: a value that is `set`
//! within an `if` is a `map` of what the `if` asks for, and so is a group.

use std::rc::Rc;

use regex::Regex;

use super::conditions::{Condition, Test};
use super::declared::Declaration;
use super::variables::{Choice, Match, MatchPlace, Part};
use super::words::{Here, Words};
use super::writer::{Table, text};

/// Variables whose values have one case, so that a `map`, which knows none, may compare them.
const OF_ONE_CASE: [&str; 3] = ["$scheme", "$host", "$request_method"];

/// Keys of a `map` with the value that they stand for.
struct Case {
    keys: Vec<Key>,
    value: String,
}

enum Key {
    Text(String),
    Regex(String),
}

impl Key {
    fn written(&self) -> String {
        match self {
            Key::Text(text) => super::tables::text_key(text),
            Key::Regex(regex) => regex.clone(),
        }
    }
}

impl Words<'_> {
    /// The variable of what an `if` has decided. `scheme`: what its values are without.
    pub(super) fn choice(
        &self,
        choice: &Rc<Choice>,
        scheme: Option<&str>,
        here: Here<'_>,
    ) -> Result<String, String> {
        if let Some(known) = self.known_choice(choice, scheme) {
            return known;
        }
        let reserved = self.reserve(&choice.name);
        let name = self.in_chain(choice.id, &choice.name, || {
            self.make_choice(choice, scheme, here, &reserved)
        });
        self.release(&reserved);
        self.note_choice(choice, scheme, &name);
        name
    }

    fn make_choice(
        &self,
        choice: &Rc<Choice>,
        scheme: Option<&str>,
        here: Here<'_>,
        reserved: &str,
    ) -> Result<String, String> {
        let here = Here::anywhere(here.constants);
        let from = self.render(&choice.from, here)?;
        let value = |parts: &[Part], here: Here<'_>| self.render(&without(parts, scheme)?, here);
        let then = |choice: &Choice| match &choice.matched {
            Some(matched) => value(&choice.then, here.behind(matched)),
            None => value(&choice.then, here),
        };
        let mut cases: Vec<Case> = Vec::new();
        let default;
        let mut current = Rc::clone(choice);
        loop {
            let keys = keys(&current.condition, &from);
            if is_negative(&current.condition) {
                // Only ever the first: see below.
                let value = value(&current.otherwise, here)?;
                cases.push(Case { keys, value });
                default = then(&current)?;
                break;
            }
            let case = Case {
                keys,
                value: then(&current)?,
            };
            cases.push(case);
            let next = match current.otherwise.as_slice() {
                [Part::Choice(next)] if !is_negative(&next.condition) => Rc::clone(next),
                _ => {
                    default = value(&current.otherwise, here)?;
                    break;
                }
            };
            let goes_on = self.render(&next.from, here)? == from && {
                let case = Case {
                    keys: self::keys(&next.condition, &from),
                    value: then(&next)?,
                };
                may_follow(&cases, &case)
            };
            if !goes_on {
                default = value(&current.otherwise, here)?;
                break;
            }
            current = next;
        }
        let mut map = Table::new();
        for case in &cases {
            for key in &case.keys {
                let key = key.written();
                if map.get(&super::writer::key(&key)).is_none() {
                    map.set(&key, text(&case.value));
                }
            }
        }
        let mut keys = Table::new().with("from", text(&from));
        if !default.is_empty() {
            keys.set("default", text(&default));
        }
        self.define(Declaration {
            base: &choice.name,
            reserved: Some(reserved),
            directive: None,
            id: choice.id,
            keys,
            values: Some(("map", map)),
        })
    }

    /// The variable of what a group has matched.
    pub(super) fn group(
        &self,
        matched: &Match,
        name: &str,
        here: Here<'_>,
    ) -> Result<String, String> {
        let from = self.render(&matched.from, Here::anywhere(here.constants))?;
        let base = match matched.place {
            MatchPlace::Host => "host",
            MatchPlace::Path | MatchPlace::PathWithin => "path",
            MatchPlace::Condition | MatchPlace::Key => "matched",
        };
        let keys = Table::new().with("from", text(&from));
        let map = Table::new().with(&matched.regex, text(&format!("${name}")));
        let base = format!("{base}_{name}");
        self.define(Declaration {
            base: &base,
            reserved: None,
            directive: None,
            id: 0,
            keys,
            values: Some(("map", map)),
        })
    }
}

/// A value without the scheme that it begins with.
pub(super) fn without(parts: &[Part], scheme: Option<&str>) -> Result<Vec<Part>, String> {
    let (Some(scheme), Some((first, rest))) = (scheme, parts.split_first()) else {
        return Ok(parts.to_vec());
    };
    let first = match first {
        Part::Literal(text) => {
            let server = text.strip_prefix(scheme);
            Part::Literal(server.ok_or("servers have different schemes")?.to_owned())
        }
        part => Part::Behind(scheme.to_owned(), Box::new(part.clone())),
    };
    Ok(std::iter::once(first).chain(rest.iter().cloned()).collect())
}

/// Whether what a condition names is what it does not hold for.
fn is_negative(condition: &Condition) -> bool {
    condition.is_negated || condition.test == Test::True
}

/// What a condition compares with, as keys of a `map`.
fn keys(condition: &Condition, from: &str) -> Vec<Key> {
    match &condition.test {
        Test::True => vec![Key::Text(String::new()), Key::Text("0".to_owned())],
        Test::Equal(value) => {
            let has_case = value.bytes().any(|byte| byte.is_ascii_alphabetic());
            vec![match has_case && !OF_ONE_CASE.contains(&from) {
                true => Key::Regex(format!("~^{}$", escaped(value))),
                false => Key::Text(value.clone()),
            }]
        }
        Test::Regex(is_exact, regex) => {
            let sign = if *is_exact { "~" } else { "~*" };
            let written = super::conditions::at_line_ends(from, regex);
            let mut keys = vec![Key::Regex(format!("{sign}{written}"))];
            // A `map` holds no regex against an empty text.
            if fits(&format!("{sign}{regex}"), "") {
                keys.push(Key::Text(String::new()));
            }
            keys
        }
    }
}

/// A text as a regex that fits it alone.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        if "\\.+*?()|[]{}^$".contains(letter) {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

fn fits(regex: &str, text: &str) -> bool {
    let (pattern, any_case) = match regex.strip_prefix("~*") {
        Some(pattern) => (pattern, true),
        None => (regex.trim_start_matches('~'), false),
    };
    let pattern = match any_case {
        true => format!("(?i){pattern}"),
        false => pattern.to_owned(),
    };
    Regex::new(&pattern).is_ok_and(|regex| regex.is_match(text))
}

/// Whether a `map` whose first cases these are may have another one behind: texts come before
/// regexes there, whatever their order.
fn may_follow(cases: &[Case], next: &Case) -> bool {
    next.keys.iter().all(|key| match key {
        Key::Regex(_) => true,
        Key::Text(text) => cases.iter().all(|case| {
            let takes = |key: &Key| match key {
                Key::Regex(regex) => fits(regex, text),
                Key::Text(_) => false,
            };
            case.value == next.value || !case.keys.iter().any(takes)
        }),
    })
}
