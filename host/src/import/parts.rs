//! Texts of which `set` and its like are resolved: what they are made of.

use std::rc::Rc;

use regex::Regex;

use super::conditions::Condition;

/// A part of a text of which `set` and its like are resolved.
#[derive(Debug, Clone)]
pub(super) enum Part {
    Literal(String),
    /// nginx's own, or one of `map` and its like.
    Variable(String),
    /// What a group of a regex has matched: its name, or its digit.
    Group(Rc<Match>, String),
    /// What an `if` has decided.
    Choice(Rc<Choice>),
    /// What follows this beginning of a value, which is a scheme.
    Behind(String, Box<Part>),
}

/// A text that a regex was held against.
#[derive(Debug)]
pub(super) struct Match {
    pub(super) place: MatchPlace,
    pub(super) from: Vec<Part>,
    /// As a `map` has it, `~regex` or `~*regex`.
    pub(super) regex: String,
    pub(super) groups: usize,
    pub(super) names: Vec<String>,
    pub(super) depth: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MatchPlace {
    Host,
    Path,
    /// The path of a location within another one, which is asked for by `when`.
    PathWithin,
    Condition,
    /// A key of a `map`.
    Key,
}

/// The value of a variable that is `set` within an `if`.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) name: String,
    /// The number of the `set`.
    pub(super) id: usize,
    pub(super) from: Vec<Part>,
    pub(super) condition: Condition,
    /// What a regex of the condition has matched.
    pub(super) matched: Option<Rc<Match>>,
    pub(super) then: Vec<Part>,
    pub(super) otherwise: Vec<Part>,
    pub(super) depth: usize,
}

impl Match {
    /// None for a regex that cannot be read.
    pub(super) fn new(place: MatchPlace, from: Vec<Part>, regex: &str) -> Option<Match> {
        let pattern = match regex.strip_prefix("~*") {
            Some(pattern) => pattern,
            None => regex.strip_prefix('~')?,
        };
        let read = Regex::new(pattern).ok()?;
        Some(Match {
            place,
            depth: 1 + depth(&from),
            from,
            regex: regex.to_owned(),
            groups: read.captures_len() - 1,
            names: read.capture_names().flatten().map(str::to_owned).collect(),
        })
    }

    /// The part that a `$name` is, if it is one of this.
    pub(super) fn group(self: &Rc<Match>, name: &str) -> Option<Part> {
        let is_named = self
            .names
            .iter()
            .any(|known| known.eq_ignore_ascii_case(name));
        let is_numbered = digit(name).is_some_and(|number| number <= self.groups);
        (is_named || is_numbered).then(|| Part::Group(Rc::clone(self), name.to_ascii_lowercase()))
    }
}

impl Match {
    /// The words that a group of nothing else, `(users|orders)`, may have matched.
    pub(super) fn alternatives(&self, group: &str) -> Option<Vec<String>> {
        // In any case, the words are more than these.
        if self.regex.starts_with("~*") {
            return None;
        }
        let (words, _) = self.inside(group)?.split_once(')')?;
        let is_word = |c: char| c.is_ascii_alphanumeric() || "-_|".contains(c);
        let words = words.chars().all(is_word).then(|| words.split('|'));
        words.map(|words| words.map(str::to_owned).collect())
    }

    /// The expression from the inside of a group to its end.
    pub(super) fn inside(&self, group: &str) -> Option<&str> {
        let regex = self.regex.trim_start_matches('~').trim_start_matches('*');
        let (mut number, mut rest, mut in_class, mut escaped) = (0, regex, false, false);
        while let Some(letter) = rest.chars().next() {
            rest = rest.get(letter.len_utf8()..)?;
            match letter {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '[' => in_class = true,
                ']' => in_class = false,
                '(' if !in_class => {
                    let named = rest
                        .strip_prefix('?')
                        .map(|rest| rest.trim_start_matches('P'));
                    let named = named.map(|rest| rest.strip_prefix('<')?.split_once('>'));
                    let (name, inside) = match named {
                        None => ("", rest),
                        Some(Some((name, inside))) => (name, inside),
                        Some(None) => continue,
                    };
                    number += 1;
                    if digit(group) == Some(number) || name.eq_ignore_ascii_case(group) {
                        return Some(inside);
                    }
                }
                _ => {}
            }
        }
        None
    }
}

/// The number of a group, as texts have it.
pub(super) fn digit(name: &str) -> Option<usize> {
    match name.as_bytes() {
        [digit @ b'1'..=b'9'] => Some(usize::from(digit - b'0')),
        _ => None,
    }
}

/// How many decisions are made of each other.
pub(super) fn depth(parts: &[Part]) -> usize {
    let of_part = |part: &Part| match part {
        Part::Choice(choice) => choice.depth,
        Part::Group(found, _) => found.depth,
        Part::Behind(_, part) => depth(std::slice::from_ref(part)),
        Part::Literal(_) | Part::Variable(_) => 0,
    };
    parts.iter().map(of_part).max().unwrap_or(0)
}
