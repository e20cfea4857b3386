//! `[variable.NAME]`: variables that are made of others.
//!
//! Each is read behind those that it is made of, so that it is known then where they have a value.

use std::collections::{HashMap, HashSet};

use ipnet::IpNet;

use super::{Complaint, ConfigReader, any_template, condition, noted, pattern};
use crate::config::declared::VARIABLE;
use crate::config::problem::{Place, Problem, Problems};
use crate::config::section::Section;
use crate::config::tree::{Entry, Node, Value, key_text};
use crate::http::definition::{
    Computation, Definition, Definitions, Map, MapKey, Networks, ShareError, Shares, Split, Values,
};
use crate::http::template::Template;
use crate::http::variable::{CaptureNames, Defined, Lasting, Names, Phases, Variable};

/// The keys that say what a variable is computed from; it has one of them.
const KINDS: [&str; 4] = ["value", "map", "networks", "split"];

/// How many variables may be made of each other in a row: each is a call within a call.
pub(crate) const DEEPEST: usize = 16;

/// How many values may be asked for to compute one, where none of them is kept: those that are made
/// of each other several times over would grow with each step.
const MOST_ASKED: u64 = 1000;

/// The variables that a configuration declares.
pub(super) struct Variables {
    list: Vec<Definition>,
    by_name: HashMap<Box<str>, Variable>,
}

/// Reads them all.
pub(super) fn variables(root: &Section<'_>, reader: ConfigReader<'_>) -> Variables {
    let mut reading = Reading::begin(root, reader);
    for index in 0..reading.declared.len() {
        reading.read(index);
    }
    Variables {
        // With one that is not there a problem is noted, and the configuration never used.
        list: reading.list.into_iter().flatten().collect(),
        by_name: reading.by_name,
    }
}

impl Variables {
    pub(super) fn names(&self) -> Names<'_> {
        Names {
            declared: Some(&self.by_name),
            captures: None,
        }
    }

    /// `captures`: names of the groups in the regexes of routes.
    pub(super) fn into_definitions(self, captures: Vec<Box<str>>) -> Definitions {
        Definitions::new(self.list, self.by_name, captures)
    }
}

/// Notes groups of a regex that have the name of a variable: a text could mean either.
pub(super) fn check_captures(
    captures: &CaptureNames,
    names: Names<'_>,
    place: &Place,
    reader: ConfigReader<'_>,
) {
    for name in captures.names() {
        if names.look_up(name).is_ok() {
            let message = format!("the group `{name}` has the name of a variable");
            let problem = Problem::new(place, message);
            let hint = format!("`${name}` would be the variable: give the group another name");
            reader.problems.add(problem.hint(hint));
        }
    }
}

struct Reading<'a> {
    reader: ConfigReader<'a>,
    declared: Vec<&'a Entry>,
    indexes: HashMap<String, usize>,
    states: Vec<State>,
    /// Those under way, each of which is made of the next.
    chain: Vec<usize>,
    list: Vec<Option<Definition>>,
    /// Values that each one asks for, where it is not kept.
    asked: Vec<u64>,
    /// Those that are not read yet have a value everywhere: there is another problem then.
    by_name: HashMap<Box<str>, Variable>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unread,
    UnderWay,
    Read,
}

impl<'a> Reading<'a> {
    fn begin(root: &Section<'a>, reader: ConfigReader<'a>) -> Reading<'a> {
        let declared: Vec<&Entry> = root.named("variable").iter().collect();
        let mut reading = Reading {
            reader,
            states: vec![State::Unread; declared.len()],
            list: declared.iter().map(|_| None).collect(),
            asked: vec![0; declared.len()],
            declared: Vec::new(),
            indexes: HashMap::new(),
            chain: Vec::new(),
            by_name: HashMap::new(),
        };
        for (index, entry) in declared.iter().enumerate() {
            let name = entry.key.to_ascii_lowercase();
            if let Err(complaint) = check_name(&entry.key) {
                reader.problems.add(complaint.at(&entry.key_place));
            } else if let Some(first) = reading.indexes.get(&name) {
                let Place { file, line, .. } = &declared[*first].key_place;
                let message = format!("duplicate variable `{}`", entry.key);
                let hint = format!("the first is at {file}:{line}; case makes no difference");
                let problem = Problem::new(&entry.key_place, message);
                reader.problems.add(problem.hint(hint));
            }
            let unread = Defined {
                index: index as u32,
                phases: Phases::ALWAYS,
                lasting: Lasting::Never,
            };
            let variable = Variable::Defined(unread);
            reading.by_name.insert(name.as_str().into(), variable);
            reading.indexes.entry(name).or_insert(index);
        }
        reading.declared = declared;
        reading
    }

    /// Reads a variable, those that it is made of first.
    fn read(&mut self, index: usize) {
        if self.states[index] == State::Read {
            return;
        }
        let entry = self.declared[index];
        self.states[index] = State::UnderWay;
        self.chain.push(index);
        for other in self.made_of(entry) {
            match self.states[other] {
                State::Read => {}
                State::UnderWay => self.note_circle(other),
                State::Unread if self.chain.len() == DEEPEST => {
                    let message = format!(
                        "more than {DEEPEST} variables that are made of each other, up to `${}`",
                        entry.key
                    );
                    let hint = "say with fewer steps what they are made of";
                    let problem = Problem::new(&entry.key_place, message).hint(hint);
                    self.reader.problems.add(problem);
                }
                State::Unread => self.read(other),
            }
        }
        self.chain.pop();
        self.states[index] = State::Read;
        let Some(computation) = self.computation(entry) else {
            return;
        };
        let (phases, lasting) = computation.phases_and_lasting();
        if phases.is_empty() {
            let message = format!("`${}` never has a value", entry.key);
            let problem = Problem::new(&entry.key_place, message);
            let hint = "no place has a value of all that it is made of";
            self.reader.problems.add(problem.hint(hint));
            return;
        }
        let asked = match lasting {
            Lasting::Never => computation.most_asked(&|variable| self.asked_for(variable)),
            // Computed once.
            Lasting::Route | Lasting::Request | Lasting::Exchange => 0,
        };
        if asked > MOST_ASKED {
            let message = format!(
                "`${}` asks for {asked} values, as what it is made of may change at any moment; \
                 {MOST_ASKED} is the most",
                entry.key
            );
            let hint = "name each variable less often, or say it with fewer steps";
            let problem = Problem::new(&entry.key_place, message);
            self.reader.problems.add(problem.hint(hint));
            return;
        }
        self.asked[index] = asked;
        let name: Box<str> = entry.key.to_ascii_lowercase().into();
        let defined = Defined {
            index: index as u32,
            phases,
            lasting,
        };
        self.by_name
            .insert(name.clone(), Variable::Defined(defined));
        self.list[index] = Some(Definition { name, computation });
    }

    /// The values that are asked for with one, itself included.
    fn asked_for(&self, variable: &Variable) -> u64 {
        let own = match variable {
            Variable::Defined(defined) => self.asked.get(defined.index as usize).copied(),
            _ => None,
        };
        own.unwrap_or_default().saturating_add(1)
    }

    /// The declared variables that texts of an entry name.
    fn made_of(&self, entry: &Entry) -> Vec<usize> {
        let Value::Table(keys) = &entry.node.value else {
            return Vec::new();
        };
        let mut found = Vec::new();
        let mut look_in = |text: &str| {
            let names = Template::names_in(text);
            let indexes = names.filter_map(|name| self.indexes.get(&name.to_ascii_lowercase()));
            found.extend(indexes.copied());
        };
        for key in keys {
            match &key.node.value {
                Value::Text(text) | Value::Environment(text) => look_in(text),
                Value::Table(entries) if key.key == "split" => {
                    entries.iter().for_each(|entry| look_in(&entry.key));
                }
                Value::Table(entries) => {
                    let texts = entries.iter().filter_map(|entry| entry.node.as_text());
                    texts.for_each(&mut look_in);
                }
                _ => {}
            }
        }
        found
    }

    /// Notes that a variable under way is made of itself.
    fn note_circle(&self, first: usize) {
        let from = self.chain.iter().position(|index| *index == first);
        let circle = self.chain.get(from.unwrap_or(0)..).unwrap_or_default();
        let names = circle.iter().chain([&first]);
        let names = names.map(|index| format!("`${}`", self.declared[*index].key));
        let names: Vec<String> = names.collect();
        let entry = self.declared[first];
        let mut message = format!("`${}` is made of itself", entry.key);
        if circle.len() > 1 {
            message += &format!(": {}", names.join(", "));
        }
        let problem = Problem::new(&entry.key_place, message);
        self.reader.problems.add(problem);
    }

    /// What a variable is computed from; none where a problem is noted.
    fn computation(&self, entry: &Entry) -> Option<Computation> {
        let section = Section::open(&entry.node, &VARIABLE, self.reader.problems)?;
        let given = |key: &&str| section.entries().iter().any(|entry| entry.key == *key);
        let kinds: Vec<&str> = KINDS.into_iter().filter(given).collect();
        let problem = |message: String, hint: &str| {
            let problem = Problem::new(&entry.key_place, message);
            self.reader.problems.add(problem.hint(hint));
        };
        let kind = match kinds.as_slice() {
            [kind] => *kind,
            [] => {
                let message = format!("`${}` has nothing to be computed from", entry.key);
                problem(
                    message,
                    "give it a `value`, a `map`, `networks` or a `split`",
                );
                return None;
            }
            [one, other, ..] => {
                let message = format!("`${}` has `{one}` and `{other}`", entry.key);
                problem(message, "a variable has one of them: make another one");
                return None;
            }
        };
        let names = Names {
            declared: Some(&self.by_name),
            captures: None,
        };
        let reading = ComputationReading {
            section,
            names,
            reader: self.reader,
        };
        match kind {
            "map" => reading.map().map(Computation::Map),
            "networks" => reading.networks().map(Computation::Networks),
            "split" => reading.split().map(Computation::Split),
            _ => reading.value().map(Computation::Value),
        }
    }
}

/// A name that nginx allows, and that is not one of its own.
fn check_name(name: &str) -> Result<(), Complaint> {
    const LONGEST: usize = 64;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_name = (1..=LONGEST).contains(&name.len())
        && name.bytes().all(allowed)
        && !name.starts_with(|first: char| first.is_ascii_digit());
    if !is_name {
        let complaint = Complaint::new(format!("`{name}` cannot be the name of a variable"));
        return Err(complaint.hint(match name.strip_prefix('$') {
            Some(name) if check_name(name).is_ok() => format!("leave out its `$`: `{name}`"),
            _ => format!(
                "a name is of letters, digits and `_`, begins with no digit, and has {LONGEST} \
                 bytes at most"
            ),
        }));
    }
    if Variable::parse(name).is_some() {
        let complaint = Complaint::new(format!("`${name}` is one of nginx's own variables"));
        return Err(complaint.hint("give this one another name"));
    }
    Ok(())
}

/// Reads what one variable is computed from.
struct ComputationReading<'a> {
    section: Section<'a>,
    names: Names<'a>,
    reader: ConfigReader<'a>,
}

impl<'a> ComputationReading<'a> {
    fn value(&self) -> Option<Template> {
        for key in ["from", "default"] {
            if let Some(node) = self.section.get(key) {
                let problem = Problem::new(&node.place, format!("`{key}` beside `value`"));
                let hint = "the value is what it is whatever anything else is: leave it out";
                self.reader.problems.add(problem.hint(hint));
            }
        }
        let (text, node) = self.section.text_given("value")?;
        noted(any_template(text, self.names), node, self.reader.problems)
    }

    /// A text of the table, empty where it is not given.
    fn text(&self, key: &str) -> Option<Template> {
        match self.section.text_given(key) {
            Some((text, node)) => noted(any_template(text, self.names), node, self.reader.problems),
            None => any_template("", self.names).ok(),
        }
    }

    /// The text that `map` and `split` look at.
    fn from(&self) -> Option<Template> {
        let node = self.section.required("from")?;
        let from = self.text("from")?;
        if let Some(text) = from.as_literal() {
            let message = format!("`from` is the text `{text}` for all requests");
            let hint = match self.names.look_up(text) {
                Ok(_) => format!("a variable begins with a `$`: `from = \"${text}\"`"),
                Err(_) => "name a variable: `from = \"$uri\"`".to_owned(),
            };
            let problem = Problem::new(&node.place, message);
            self.reader.problems.warn(problem.hint(hint));
        }
        Some(from)
    }

    fn map(&self) -> Option<Map> {
        let (from, default) = (self.from(), self.text("default"));
        let is_whole = from.is_some() && default.is_some();
        let mut map = Map::new(from.unwrap_or_default(), default.unwrap_or_default());
        let mut first_places = HashMap::new();
        for entry in self.section.named("map") {
            let keys = map_keys(&entry.key).map_err(|complaint| {
                self.reader.problems.add(complaint.at(&entry.key_place));
            });
            let Ok(keys) = keys else { continue };
            let captures = match keys.as_slice() {
                [MapKey::Regex(regex)] => Some(CaptureNames::new(
                    regex.captures_len(),
                    regex.capture_names(),
                )),
                _ => None,
            };
            let names = match &captures {
                Some(captures) => {
                    check_captures(captures, self.names, &entry.key_place, self.reader);
                    self.names.with_captures(captures)
                }
                None => self.names,
            };
            let Some(value) = self.entry_value(entry, names, map.values_mut()) else {
                continue;
            };
            let first = first_places
                .entry(entry.key.to_ascii_lowercase())
                .or_insert(&entry.key_place);
            if !map.add(&entry.key, keys, value) {
                let message = format!("`{}` stands for the same texts as another key", entry.key);
                let problem = Problem::new(&entry.key_place, message);
                let hint = match std::ptr::eq(*first, &entry.key_place) {
                    true => "`.example.com` is `example.com` and `*.example.com`".to_owned(),
                    false => format!(
                        "the first is at {}:{}; case makes no difference",
                        first.file, first.line
                    ),
                };
                self.reader.problems.add(problem.hint(hint));
            }
        }
        is_whole.then_some(map)
    }

    fn networks(&self) -> Option<Networks> {
        let (from, default) = (self.text("from"), self.text("default"));
        let (mut entries, mut values) = (Vec::new(), Values::default());
        let mut known = HashSet::new();
        for entry in self.section.named("networks") {
            let (text, place) = (&*entry.key, &entry.key_place);
            let network = network(text, place, self.reader.problems).map_err(|complaint| {
                self.reader.problems.add(complaint.at(&entry.key_place));
            });
            let value = self.entry_value(entry, self.names, &mut values);
            let (Ok(network), Some(value)) = (network, value) else {
                continue;
            };
            if !known.insert(network) {
                let message = format!("the network `{network}` is there already");
                let problem = Problem::new(&entry.key_place, message);
                self.reader.problems.add(problem);
            }
            entries.push((network, value));
        }
        let from = self.section.get("from").is_some().then_some(from?);
        Some(Networks::new(from, entries, values, default?))
    }

    fn split(&self) -> Option<Split> {
        let (from, default) = (self.from(), self.text("default"));
        let mut shares = Shares::default();
        let mut parts = Vec::new();
        for entry in self.section.named("split") {
            let value = any_template(&entry.key, self.names).map_err(|complaint| {
                self.reader.problems.add(complaint.at(&entry.key_place));
            });
            let Some(text) = self.share_text(entry) else {
                continue;
            };
            let share = shares.next(text).map_err(|error| match error {
                ShareError::NotAShare => {
                    let complaint = Complaint::new(format!("`{text}` is not a share"));
                    complaint.hint(match text {
                        "*" => "what no share has is the `default`'s: leave it out here",
                        _ => "a share is written as `\"5%\"` or `\"0.5%\"`, with two decimals at most",
                    })
                }
                ShareError::TooMuch => {
                    let complaint = Complaint::new("the shares are more than 100%");
                    complaint.hint("what no share has is the `default`'s")
                }
            });
            let share = noted(share, &entry.node, self.reader.problems);
            parts.extend(share.zip(value.ok()));
        }
        Some(Split {
            from: from?,
            shares: parts,
            default: default?,
        })
    }

    /// A share as it is written; a number is told as one.
    fn share_text(&self, entry: &'a Entry) -> Option<&'a str> {
        let percent = match &entry.node.value {
            Value::Integer(percent @ 1..=100) => percent.to_string(),
            Value::Float(percent) if (0.01..=100.0).contains(percent) => {
                ((percent * 100.0).round() / 100.0).to_string()
            }
            _ => return self.entry_text(entry),
        };
        let kind = entry.node.type_name();
        let problem = Problem::new(
            &entry.node.place,
            format!("a share must be a string, not {kind}"),
        );
        let hint = format!("write `{} = \"{percent}%\"`", key_text(&entry.key));
        self.reader.problems.add(problem.hint(hint));
        None
    }

    fn entry_text(&self, entry: &'a Entry) -> Option<&'a str> {
        let text = entry.node.as_text();
        if text.is_none() && !matches!(entry.node.value, Value::Unusable) {
            let Node { place, .. } = &entry.node;
            let message = format!("a value must be a string, not {}", entry.node.type_name());
            self.reader.problems.add(Problem::new(place, message));
        }
        text
    }

    /// The value of an entry, among those that there are.
    fn entry_value(&self, entry: &'a Entry, names: Names<'_>, values: &mut Values) -> Option<u32> {
        let text = self.entry_text(entry)?;
        values.known(text).or_else(|| {
            let template = any_template(text, names);
            let template = noted(template, &entry.node, self.reader.problems)?;
            Some(values.add(text, template))
        })
    }
}

/// What a key of a `map` stands for; `.example.com` for two.
fn map_keys(text: &str) -> Result<Vec<MapKey>, Complaint> {
    if text == "default" {
        return Err(beside("map"));
    }
    if let Some(text) = text.strip_prefix('=') {
        return Ok(vec![MapKey::Exact(text.to_owned())]);
    }
    if text.starts_with('~') {
        return Ok(vec![MapKey::Regex(pattern::bytes_regex(text)?)]);
    }
    let is_name = |name: &&str| !name.is_empty() && !name.contains('*');
    if let Some(name) = text.strip_prefix("*.").filter(is_name) {
        return Ok(vec![MapKey::Suffix(format!(".{name}"))]);
    }
    if let Some(name) = text.strip_prefix('.').filter(is_name) {
        let suffix = MapKey::Suffix(text.to_owned());
        return Ok(vec![MapKey::Exact(name.to_owned()), suffix]);
    }
    if let Some(name) = text.strip_suffix(".*").filter(is_name) {
        return Ok(vec![MapKey::Prefix(format!("{name}."))]);
    }
    if text.starts_with("*.") || text.ends_with(".*") {
        let complaint = Complaint::new(format!("`{text}` stands for no names"));
        return Err(complaint.hint(format!(
            "write `*.example.com` or `www.example.*`; for the text itself `\"={text}\"`"
        )));
    }
    Ok(vec![MapKey::Exact(text.to_owned())])
}

/// The complaint about `default` where nginx has it.
fn beside(key: &str) -> Complaint {
    let complaint = Complaint::new(format!("`default` stands beside `{key}`, not in it"));
    complaint.hint(match key {
        "map" => "for the text `default` write `\"=default\"`",
        _ => "move it out of the table",
    })
}

/// A key of `networks`.
fn network(text: &str, place: &Place, problems: &Problems) -> Result<IpNet, Complaint> {
    if text == "default" {
        return Err(beside("networks"));
    }
    condition::network(text, place, problems)
}
