//! A table of the file, read against its declaration.
//!
//! A getter that meets a problem notes it and answers with the key's default, so that reading goes
//! on and the user sees every problem at once; a configuration with problems is never used.

use std::time::Duration;

use super::hints;
use super::key::{Default, Table, ValueKind};
use super::problem::{Place, Problem, Problems, did_you_mean};
use super::scalar::{duration, integer, size, unknown_word, wrong_type};
use super::tree::{Entry, Node, Value};
use super::units;

#[derive(Debug, Clone, Copy)]
pub(super) struct Section<'a> {
    pub(super) place: &'a Place,
    pub(super) problems: &'a Problems,
    declared: &'static Table,
    entries: &'a [Entry],
    /// Asked for what this section does not give.
    parent: Option<&'a Section<'a>>,
}

impl<'a> Section<'a> {
    /// Reads a node as a table; notes unknown keys, and required ones that are missing.
    pub(super) fn open(
        node: &'a Node,
        declared: &'static Table,
        problems: &'a Problems,
    ) -> Option<Self> {
        match &node.value {
            Value::Table(entries) => Some(Self::of(entries, &node.place, declared, problems)),
            _ => {
                let name = node.place.key.rsplit('.').next().unwrap_or_default();
                wrong_type(node, name, &ValueKind::Table(declared), problems);
                None
            }
        }
    }

    /// As [`open`](Self::open), for entries already at hand: none where a table is left out.
    pub(super) fn of(
        entries: &'a [Entry],
        place: &'a Place,
        declared: &'static Table,
        problems: &'a Problems,
    ) -> Self {
        for entry in entries {
            match declared.key(&entry.key) {
                Some(key) if key.available() => {}
                Some(key) => {
                    let message = format!("`{}` is not available in this version", key.name);
                    let problem = Problem::new(&entry.key_place, message);
                    problems.add(problem.hint(key.doc));
                }
                None if declared.open => {}
                None => {
                    let message = format!("unknown key `{}`", entry.key);
                    // What came from the environment is not repeated.
                    let value = match &entry.node.value {
                        Value::Text(text) => Some(text.as_str()),
                        _ => None,
                    };
                    let hint = hints::unknown_key(&entry.key, value, declared);
                    problems.add(Problem::new(&entry.key_place, message).hint(hint));
                }
            }
        }
        Section {
            place,
            problems,
            declared,
            entries,
            parent: None,
        }
    }

    /// The same section, with another to ask for what this one does not give.
    pub(super) fn with_parent(self, parent: &'a Section<'a>) -> Self {
        Section {
            parent: Some(parent),
            ..self
        }
    }

    /// The value given for a key, here or in the parent.
    pub(super) fn get(&self, name: &str) -> Option<&'a Node> {
        debug_assert!(
            self.declared.key(name).is_some(),
            "`{name}` is not declared"
        );
        let own = self.entries.iter().find(|entry| entry.key == name);
        match own {
            Some(entry) if matches!(entry.node.value, Value::Unusable) => None,
            Some(entry) => Some(&entry.node),
            None => self
                .parent
                .filter(|parent| parent.declared.key(name).is_some())?
                .get(name),
        }
    }

    /// As [`get`](Self::get), for a key that must be given.
    pub(super) fn required(&self, name: &str) -> Option<&'a Node> {
        if !self.entries.iter().any(|entry| entry.key == name) {
            let problem = Problem::new(self.place, format!("`{name}` is missing"));
            // A table that takes any key has no complaint about a misspelt one.
            let any = self.entries.iter().filter(|_| self.declared.open);
            let misspelt = any
                .filter(|entry| self.declared.key(&entry.key).is_none())
                .find(|entry| did_you_mean(&entry.key, [name]).is_some());
            let hint = match misspelt {
                Some(entry) => Some(format!("is `{}` meant for it?", entry.key)),
                None => self.kind(name).notation().map(str::to_owned),
            };
            self.problems.add(match hint {
                Some(hint) => problem.hint(hint),
                None => problem,
            });
        }
        self.get(name)
    }

    pub(super) fn entries(&self) -> &'a [Entry] {
        self.entries
    }

    /// Those that are not declared, of a table that takes any.
    pub(super) fn own_entries(&self) -> impl Iterator<Item = &'a Entry> {
        let declared = self.declared;
        let entries = self.entries.iter();
        entries.filter(move |entry| declared.key(&entry.key).is_none())
    }

    fn kind(&self, name: &str) -> &'static ValueKind {
        self.declared
            .key(name)
            .map_or(&ValueKind::NotAvailable, |key| &key.kind)
    }

    pub(super) fn default(&self, name: &str) -> Default {
        self.declared
            .key(name)
            .map_or(Default::Unset, |key| key.default)
    }

    pub(super) fn boolean(&self, name: &str) -> bool {
        let default = matches!(self.default(name), Default::Boolean(true));
        let Some(node) = self.get(name) else {
            return default;
        };
        match &node.value {
            Value::Boolean(boolean) => *boolean,
            Value::Environment(text) if text == "true" => true,
            Value::Environment(text) if text == "false" => false,
            _ => {
                self.wrong_type(node, name);
                default
            }
        }
    }

    /// Within the bounds declared, which must fit the type.
    pub(super) fn integer<T: TryFrom<i64> + std::default::Default>(&self, name: &str) -> T {
        let default = || match self.default(name) {
            Default::Integer(default) => T::try_from(default).unwrap_or_default(),
            _ => T::default(),
        };
        self.integer_given(name).unwrap_or_else(default)
    }

    /// What is given, within the bounds declared, which must fit the type; none without it.
    pub(super) fn integer_given<T: TryFrom<i64>>(&self, name: &str) -> Option<T> {
        let given = self
            .get(name)
            .and_then(|node| integer(node, name, self.kind(name), self.problems));
        given.and_then(|given| T::try_from(given).ok())
    }

    /// The integer among the kinds that a key may have.
    pub(super) fn integer_of(&self, node: &Node, name: &str) -> Option<i64> {
        let kind = match self.kind(name) {
            ValueKind::Either(kinds) => kinds
                .iter()
                .find(|kind| matches!(kind, ValueKind::Integer { .. }))?,
            kind => kind,
        };
        match &node.value {
            Value::Integer(_) => integer(node, name, kind, self.problems),
            Value::Environment(text) if text.parse::<i64>().is_ok() => {
                integer(node, name, kind, self.problems)
            }
            _ => {
                self.wrong_type(node, name);
                None
            }
        }
    }

    /// What is given; none without it.
    pub(super) fn duration_given(&self, name: &str) -> Option<Duration> {
        self.get(name)
            .and_then(|node| duration(node, name, self.kind(name), self.problems))
    }

    pub(super) fn duration(&self, name: &str) -> Duration {
        self.duration_given(name)
            .or_else(|| units::duration(self.text_by_default(name)).ok())
            .unwrap_or_default()
    }

    /// Bytes that are given; none without them.
    pub(super) fn size_given(&self, name: &str) -> Option<u64> {
        self.get(name)
            .and_then(|node| size(node, name, self.kind(name), self.problems))
    }

    /// Bytes.
    pub(super) fn size(&self, name: &str) -> u64 {
        self.size_given(name)
            .or_else(|| units::size(self.text_by_default(name)).ok())
            .unwrap_or_default()
    }

    /// As [`size`](Self::size), for what is kept in memory.
    pub(super) fn buffer_size(&self, name: &str) -> usize {
        usize::try_from(self.size(name)).unwrap_or(usize::MAX)
    }

    /// The string given, or the default.
    pub(super) fn text(&self, name: &str) -> &'a str {
        self.text_given(name)
            .map_or(self.text_by_default(name), |(text, _)| text)
    }

    /// The string given and where; `None` without one.
    pub(super) fn text_given(&self, name: &str) -> Option<(&'a str, &'a Node)> {
        let node = self.get(name)?;
        let text = node.as_text();
        if text.is_none() {
            self.wrong_type(node, name);
        }
        Some((text?, node))
    }

    /// The strings of a list, or of a string alone where the key's kind allows that.
    pub(super) fn texts(&self, name: &str) -> Vec<(&'a str, &'a Node)> {
        match self.get(name) {
            Some(node) => self.texts_of(node, name),
            None => Vec::new(),
        }
    }

    /// As [`texts`](Self::texts), of a value within that of the key.
    pub(super) fn texts_of(&self, node: &'a Node, name: &str) -> Vec<(&'a str, &'a Node)> {
        let items = match (&node.value, self.kind(name)) {
            (Value::Array(items), _) => items.as_slice(),
            (Value::Text(_) | Value::Environment(_), ValueKind::Either(_)) => {
                std::slice::from_ref(node)
            }
            _ => {
                self.wrong_type(node, name);
                return Vec::new();
            }
        };
        let usable = items
            .iter()
            .filter(|item| !matches!(item.value, Value::Unusable));
        usable
            .filter_map(|item| {
                let text = item.as_text();
                if text.is_none() {
                    let message = format!(
                        "an item of `{name}` must be a string, not {}",
                        item.type_name()
                    );
                    let problem = Problem::new(&item.place, message);
                    // Of words there are few, and numbers are none of them.
                    let takes_any = matches!(self.kind(name), ValueKind::List(ValueKind::Text));
                    self.problems.add(match &item.value {
                        Value::Integer(number) if takes_any => {
                            problem.hint(format!("write `\"{number}\"`"))
                        }
                        _ => problem,
                    });
                }
                Some((text?, item))
            })
            .collect()
    }

    /// One of the words declared, as given or by default.
    pub(super) fn word(&self, name: &str) -> &'a str {
        let default = self.text_by_default(name);
        let Some((text, node)) = self.text_given(name) else {
            return default;
        };
        let ValueKind::Word(words) = self.kind(name) else {
            return default;
        };
        if words.contains(&text) {
            return text;
        }
        self.problems.add(unknown_word(node, name, text, words));
        default
    }

    /// The words of a list, as given or by default; one that is not among those known is noted and
    /// left out.
    pub(super) fn words(&self, name: &str, known: &'static [&'static str]) -> Vec<&'static str> {
        if self.get(name).is_none() {
            return match self.default(name) {
                Default::Words(words) => words.to_vec(),
                _ => Vec::new(),
            };
        }
        let known_word = |(word, node): (&str, &Node)| {
            let found = known.iter().copied().find(|known| *known == word);
            if found.is_none() {
                self.problems.add(unknown_word(node, name, word, known));
            }
            found
        };
        self.texts(name)
            .into_iter()
            .filter_map(known_word)
            .collect()
    }

    /// The entries of a table whose keys the user chooses.
    pub(super) fn named(&self, name: &str) -> &'a [Entry] {
        let Some(node) = self.get(name) else {
            return &[];
        };
        if let Value::Table(entries) = &node.value {
            return entries;
        }
        self.wrong_type(node, name);
        &[]
    }

    /// The items of a list.
    pub(super) fn list(&self, name: &str) -> &'a [Node] {
        let Some(node) = self.get(name) else {
            return &[];
        };
        if let Value::Array(items) = &node.value {
            return items;
        }
        self.wrong_type(node, name);
        &[]
    }

    /// A table for which `true` stands where it would be empty, and `false` where there is none.
    pub(super) fn switch_or_table(
        &self,
        name: &str,
        declared: &'static Table,
    ) -> Option<Section<'a>> {
        match self.get(name) {
            Some(node) if matches!(node.value, Value::Table(_)) => {
                Section::open(node, declared, self.problems)
            }
            _ => self
                .boolean(name)
                .then(|| Section::of(&[], self.place, declared, self.problems)),
        }
    }

    /// A table within, by its own declaration. `None` where it is left out.
    pub(super) fn table(&self, name: &str, declared: &'static Table) -> Option<Section<'a>> {
        Section::open(self.get(name)?, declared, self.problems)
    }

    /// What is said where the key is not given.
    pub(super) fn text_by_default(&self, name: &str) -> &'static str {
        match self.default(name) {
            Default::Text(text) => text,
            _ => "",
        }
    }

    /// Notes that an item of a list is not of its kind.
    pub(super) fn wrong_item(&self, node: &Node, name: &str) {
        if let ValueKind::List(item) = self.kind(name) {
            let message = format!(
                "an item of `{name}` must be {}, not {}",
                item.expected(),
                node.type_name()
            );
            self.problems.add(Problem::new(&node.place, message));
        }
    }

    pub(super) fn wrong_type(&self, node: &Node, name: &str) {
        wrong_type(node, name, self.kind(name), self.problems);
    }
}
