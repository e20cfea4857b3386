//! A file as a tree of values, each with its place.
//!
//! Our own tree rather than the parser's, because it owns its text, merges files, keeps the order
//! of the file (the parser sorts keys), and knows every value's key path.

use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::environment;
use super::hints;
use super::problem::{Place, Problem, Problems};

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
    /// Of [`Value::Environment`]: the text as the file has it, with its references.
    pub(super) written: Option<String>,
}

#[derive(Debug)]
pub(super) enum Value {
    Text(String),
    /// Text that came from the environment in part: it may stand for a number or a boolean as well.
    Environment(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Datetime,
    /// A value whose problem is already noted: readers go on as if it were not there.
    Unusable,
    Array(Vec<Node>),
    /// In file order.
    Table(Vec<Entry>),
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    /// Where the key stands; the node's place is where its value does.
    pub(super) key_place: Place,
    pub(super) node: Node,
}

impl Node {
    /// A value that came over the network, as if it stood in a file. Strings are taken as they are:
    /// the environment belongs to the process, and not to its clients.
    pub(super) fn of_json(value: &serde_json::Value, place: Place, problems: &Problems) -> Node {
        use serde_json::Value as Json;
        let refuse = |message: String| {
            problems.add(Problem::new(&place, message).hint("leave the key out"));
            Value::Unusable
        };
        let at = |key: String| Place {
            key,
            ..place.clone()
        };
        let value = match value {
            Json::Null => refuse("`null` is no value".to_owned()),
            Json::Bool(boolean) => Value::Boolean(*boolean),
            Json::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(integer), _) => Value::Integer(integer),
                (None, Some(float)) if number.is_f64() => Value::Float(float),
                _ => refuse(format!("`{number}` is too large")),
            },
            Json::String(text) => Value::Text(text.clone()),
            Json::Array(items) => {
                let items = items.iter().enumerate().map(|(index, item)| {
                    let place = at(format!("{}[{index}]", place.key));
                    Node::of_json(item, place, problems)
                });
                Value::Array(items.collect())
            }
            Json::Object(entries) => {
                let entries = entries.iter().map(|(key, value)| {
                    let place = at(join(&place.key, key));
                    Entry {
                        key: key.clone(),
                        key_place: place.clone(),
                        node: Node::of_json(value, place, problems),
                    }
                });
                Value::Table(entries.collect())
            }
        };
        Node {
            place,
            value,
            written: None,
        }
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) | Value::Environment(text) => Some(text),
            _ => None,
        }
    }

    /// With its article, for messages.
    pub(super) fn type_name(&self) -> &'static str {
        match &self.value {
            Value::Text(_) | Value::Environment(_) => "a string",
            Value::Integer(_) => "an integer",
            Value::Float(_) => "a float",
            Value::Boolean(_) => "a boolean",
            Value::Datetime => "a date or time",
            Value::Unusable => "a value in error",
            Value::Array(_) => "a list",
            Value::Table(_) => "a table",
        }
    }
}

/// Text of a file, with what is needed to find lines in it.
pub(super) struct TextSource<'a> {
    name: Arc<str>,
    text: &'a str,
    line_starts: Vec<usize>,
}

impl<'a> TextSource<'a> {
    pub(super) fn new(name: Arc<str>, text: &'a str) -> TextSource<'a> {
        let newlines = memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1);
        TextSource {
            name,
            text,
            line_starts: std::iter::once(0).chain(newlines).collect(),
        }
    }

    /// The place of a byte offset; offsets past the end are the end.
    pub(super) fn place(&self, offset: usize, key: String) -> Place {
        let offset = self.text.floor_char_boundary(offset);
        let line = self.line_starts.partition_point(|start| *start <= offset);
        let start = self.line_starts.get(line - 1).copied().unwrap_or(0);
        let column = self
            .text
            .get(start..offset)
            .unwrap_or_default()
            .chars()
            .count()
            + 1;
        let saturated = |number| u32::try_from(number).unwrap_or(u32::MAX);
        Place {
            file: self.name.clone(),
            line: saturated(line),
            column: saturated(column),
            key,
        }
    }

    /// The file's entries. `None` where it is not TOML: then the syntax error, noted, is all there
    /// is to say.
    pub(super) fn parse(
        &self,
        variable: &dyn Fn(&str) -> Option<String>,
        problems: &Problems,
    ) -> Option<Vec<Entry>> {
        match DeTable::parse(self.text) {
            Ok(table) => Some(
                Builder {
                    source: self,
                    variable,
                    problems,
                }
                .table(table.get_ref(), ""),
            ),
            Err(error) => {
                let offset = error.span().map_or(0, |span| span.start);
                let place = self.place(offset, String::new());
                let message = error.message().lines().collect::<Vec<_>>().join(", ");
                let named = error.span().and_then(|span| self.text.get(span));
                let message = match named.filter(|_| message == "duplicate key") {
                    Some(key) => format!("duplicate key `{key}`"),
                    None => message,
                };
                let problem = Problem::new(&place, format!("not valid TOML: {message}"));
                problems.add(match hints::not_toml(self.text, &message, offset) {
                    Some(hint) => problem.hint(hint),
                    None => problem,
                });
                None
            }
        }
    }
}

/// Turns the parser's tree into ours.
struct Builder<'a> {
    source: &'a TextSource<'a>,
    variable: &'a dyn Fn(&str) -> Option<String>,
    problems: &'a Problems,
}

impl Builder<'_> {
    fn table(&self, table: &DeTable<'_>, path: &str) -> Vec<Entry> {
        let mut keys: Vec<_> = table.iter().collect();
        keys.sort_by_key(|(key, _)| key.span().start);
        keys.into_iter()
            .map(|(key, value)| {
                let path = join(path, key.get_ref());
                Entry {
                    key: key.get_ref().to_string(),
                    key_place: self.source.place(key.span().start, path.clone()),
                    node: self.node(value.get_ref(), value.span().start, path),
                }
            })
            .collect()
    }

    fn node(&self, value: &DeValue<'_>, offset: usize, path: String) -> Node {
        let place = self.source.place(offset, path);
        let mut written = None;
        let value = match value {
            DeValue::String(text) => match environment::expand(text, self.variable) {
                Ok(None) => Value::Text(text.to_string()),
                Ok(Some(expanded)) => {
                    written = Some(text.to_string());
                    Value::Environment(expanded)
                }
                Err((message, hint)) => {
                    self.problems.add(Problem::new(&place, message).hint(hint));
                    Value::Unusable
                }
            },
            DeValue::Integer(integer) => {
                match i64::from_str_radix(integer.as_str(), integer.radix()) {
                    Ok(integer) => Value::Integer(integer),
                    Err(_) => {
                        self.problems
                            .add(Problem::new(&place, format!("`{integer}` is too large")));
                        Value::Unusable
                    }
                }
            }
            DeValue::Float(float) => Value::Float(float.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(boolean) => Value::Boolean(*boolean),
            DeValue::Datetime(_) => Value::Datetime,
            DeValue::Array(items) => {
                let item = |(index, item): (usize, &toml::Spanned<DeValue<'_>>)| {
                    let path = format!("{}[{index}]", place.key);
                    self.node(item.get_ref(), item.span().start, path)
                };
                Value::Array(items.iter().enumerate().map(item).collect())
            }
            DeValue::Table(table) => Value::Table(self.table(table, &place.key)),
        };
        Node {
            place,
            value,
            written,
        }
    }
}

/// Appends a key to a dotted path, quoted where TOML would have it so.
pub(super) fn join(path: &str, key: &str) -> String {
    let key = key_text(key);
    if path.is_empty() {
        key
    } else {
        format!("{path}.{key}")
    }
}

/// A key as TOML writes it.
pub(super) fn key_text(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !key.is_empty() && key.chars().all(bare) {
        key.to_owned()
    } else {
        toml::Value::String(key.to_owned()).to_string()
    }
}
