//! A value by what a text is, as nginx's `map` finds it (`ngx_http_map_find`): by the text as a
//! whole, by the end of a name, by its beginning, by regexes in file order.

use std::collections::HashMap;
use std::fmt;

use regex::bytes::Regex;
use rustc_hash::FxBuildHasher;
use smallvec::SmallVec;

use super::Values;
use crate::http::template::Template;
use crate::http::variable::{Capture, Variable, VariableSource};

/// Values by text.
pub struct Map {
    pub from: Template,
    /// In file order: each key as written, and the value that it stands for.
    entries: Vec<(Box<str>, u32)>,
    values: Values,
    pub default: Template,
    /// In lower case, as the next two.
    exact: Table,
    /// `*.example.com`, as `.example.com`.
    suffixes: Table,
    /// `www.example.*`, as `www.example.`.
    prefixes: Table,
    regexes: Vec<(Regex, u32)>,
}

/// Indexes of values. The configuration alone fills it, so that a hash which a client could foresee
/// does no harm.
type Table = HashMap<Box<[u8]>, u32, FxBuildHasher>;

/// What a text is held against.
#[derive(Debug, Clone)]
pub enum MapKey {
    /// In any case.
    Exact(String),
    /// `.example.com`: the names that end so, which are in any case.
    Suffix(String),
    /// `www.example.`: the names that begin so, which are in any case.
    Prefix(String),
    Regex(Regex),
}

impl Map {
    pub fn new(from: Template, default: Template) -> Map {
        Map {
            from,
            entries: Vec::new(),
            values: Values::default(),
            default,
            exact: Table::default(),
            suffixes: Table::default(),
            prefixes: Table::default(),
            regexes: Vec::new(),
        }
    }

    pub fn values_mut(&mut self) -> &mut Values {
        &mut self.values
    }

    /// Adds what an entry stands for, written so; false where there is one that says the same.
    pub fn add(&mut self, written: &str, keys: Vec<MapKey>, value: u32) -> bool {
        self.entries.push((written.into(), value));
        let mut is_new = true;
        for key in keys {
            let (table, text) = match key {
                MapKey::Exact(text) => (&mut self.exact, text),
                MapKey::Suffix(text) => (&mut self.suffixes, text),
                MapKey::Prefix(text) => (&mut self.prefixes, text),
                MapKey::Regex(regex) => {
                    self.regexes.push((regex, value));
                    continue;
                }
            };
            let text = text.to_ascii_lowercase().into_bytes().into_boxed_slice();
            is_new &= table.insert(text, value).is_none();
        }
        is_new
    }

    /// Each key as written, with the text of its value, in file order.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Template)> {
        let entries = self.entries.iter();
        entries.filter_map(|(key, value)| Some((&**key, self.values.get(*value)?)))
    }

    pub(super) fn from(&self) -> &Template {
        &self.from
    }

    /// Those of which one is the value.
    pub(super) fn values(&self) -> impl Iterator<Item = &Template> {
        std::iter::once(&self.default).chain(self.values.iter())
    }

    pub(super) fn append(&self, source: &dyn VariableSource, out: &mut Vec<u8>) {
        // The text stands before the value, which may take from it, until that is there.
        let start = out.len();
        self.from.render(source, out);
        let mut end = out.len();
        if !self.suffixes.is_empty() || !self.prefixes.is_empty() {
            // A name may end in the root's dot (`hostnames`).
            end -= usize::from(out[start..].ends_with(b"."));
        }
        match self.find(&out[start..end]) {
            Found::Nothing => self.render(&self.default, source, start, out),
            Found::Value(value) => {
                let template = self.values.get(value).unwrap_or(&self.default);
                self.render(template, source, start, out);
            }
            Found::Regex(regex, template) => {
                let captures = regex.captures(&out[start..end]);
                let captured = Captured {
                    source,
                    regex,
                    start,
                    groups: captures
                        .iter()
                        .flat_map(|captures| captures.iter())
                        .map(|group| group.map(|group| (group.start(), group.end())))
                        .collect(),
                };
                self.render(template, &captured, start, out);
            }
        }
    }

    fn render(
        &self,
        template: &Template,
        source: &dyn VariableSource,
        start: usize,
        out: &mut Vec<u8>,
    ) {
        if let Some(literal) = template.as_literal() {
            out.truncate(start);
            out.extend_from_slice(literal.as_bytes());
            return;
        }
        let value = out.len();
        template.render(source, out);
        out.drain(start..value);
    }

    fn find(&self, text: &[u8]) -> Found<'_> {
        let lower: SmallVec<[u8; 128]>;
        let name = match text.iter().any(u8::is_ascii_uppercase) {
            true => {
                lower = text.iter().map(u8::to_ascii_lowercase).collect();
                &*lower
            }
            false => text,
        };
        if let Some(value) = self.exact.get(name) {
            return Found::Value(*value);
        }
        if !self.suffixes.is_empty() {
            // From the left, so that the longest comes first.
            let mut dots = memchr::memchr_iter(b'.', name);
            if let Some(value) = dots.find_map(|dot| self.suffixes.get(&name[dot..])) {
                return Found::Value(*value);
            }
        }
        if !self.prefixes.is_empty() {
            let mut dots = memchr::memchr_iter(b'.', name).rev();
            if let Some(value) = dots.find_map(|dot| self.prefixes.get(&name[..=dot])) {
                return Found::Value(*value);
            }
        }
        // As in nginx, no regex is held against nothing.
        if text.is_empty() {
            return Found::Nothing;
        }
        let found = self.regexes.iter().find(|(regex, _)| regex.is_match(text));
        let Some((regex, value)) = found else {
            return Found::Nothing;
        };
        match self.values.get(*value) {
            Some(template) if template.has_captures() => Found::Regex(regex, template),
            _ => Found::Value(*value),
        }
    }
}

/// What it says, always in the same order.
impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entry(&"from", &self.from)
            .entry(&"default", &self.default)
            .entries(self.entries())
            .finish()
    }
}

/// What a text has led to.
enum Found<'a> {
    Nothing,
    Value(u32),
    /// A value that takes from what the regex has matched.
    Regex(&'a Regex, &'a Template),
}

/// Knows what a regex has captured, of a text that stands in what is appended to.
struct Captured<'a> {
    source: &'a dyn VariableSource,
    regex: &'a Regex,
    /// Where the text begins.
    start: usize,
    groups: SmallVec<[Option<(usize, usize)>; 4]>,
}

impl VariableSource for Captured<'_> {
    fn append(&self, variable: &Variable, out: &mut Vec<u8>) -> bool {
        let Variable::Capture(capture) = variable else {
            return self.source.append(variable, out);
        };
        let group = match capture {
            Capture::Number(number) => Some(usize::from(*number)),
            Capture::Name(name) => self.regex.capture_names().position(|known| {
                known.is_some_and(|known| known.as_bytes().eq_ignore_ascii_case(name.as_bytes()))
            }),
        };
        let span = group.and_then(|group| self.groups.get(group).copied().flatten());
        if let Some((from, to)) = span {
            out.extend_from_within(self.start + from..self.start + to);
        }
        span.is_some()
    }
}
