//! Settings of several values: lists, and tables whose keys are the operator's.

use serde_json::Value;

use super::Settings;
use crate::{Network, SettingsError};

/// An element of a list of settings: see [`Settings::items`].
#[derive(Debug)]
pub enum Item {
    /// `"..."`
    Text(String),
    /// `{ ... }`, which wants a [`finish`](Settings::finish) of its own.
    Table(Settings),
}

impl Settings {
    /// One text or a list of them: `key = "..."` or `key = ["...", "..."]`. Empty where the key is
    /// missing.
    ///
    /// # Errors
    /// A value of another type.
    pub fn texts(&mut self, key: &'static str) -> Result<Vec<String>, SettingsError> {
        let texts = self.read(key, "a text or a list of texts", |value| match value {
            Value::String(text) => Some(vec![text]),
            Value::Array(values) => values
                .into_iter()
                .map(|value| match value {
                    Value::String(text) => Some(text),
                    _ => None,
                })
                .collect(),
            _ => None,
        })?;
        Ok(texts.unwrap_or_default())
    }

    /// A table whose keys are names of the operator's choice, and whose values are texts:
    /// `key = { NAME = "..." }`. Sorted by name; empty where the key is missing.
    ///
    /// # Errors
    /// A value of another type.
    pub fn texts_by_name(
        &mut self,
        key: &'static str,
    ) -> Result<Vec<(String, String)>, SettingsError> {
        let texts = self.read(key, "a table of texts", |value| match value {
            Value::Object(values) => values
                .into_iter()
                .map(|(name, value)| match value {
                    Value::String(text) => Some((name, text)),
                    _ => None,
                })
                .collect(),
            _ => None,
        })?;
        Ok(in_order(texts))
    }

    /// One network or a list of them: `key = ["10.0.0.0/8", "unix:"]`, see [`Network::parse`].
    /// Empty where the key is missing.
    ///
    /// # Errors
    /// A value of another type, or what is no network.
    pub fn networks(&mut self, key: &'static str) -> Result<Vec<Network>, SettingsError> {
        let texts = self.texts(key)?;
        let network = |text: &String| Network::parse(text).map_err(|why| self.error(key, &why));
        texts.iter().map(network).collect()
    }

    /// One table or a list of them: `key = { ... }` or `key = [{ ... }, { ... }]`. Empty where the
    /// key is missing. Each wants a [`finish`](Settings::finish) of its own.
    ///
    /// # Errors
    /// A value of another type.
    pub fn tables(&mut self, key: &'static str) -> Result<Vec<Settings>, SettingsError> {
        let items = self.items_of(key, "a table or a list of tables", |item| match item {
            Item::Table(table) => Some(table),
            Item::Text(_) => None,
        })?;
        Ok(items)
    }

    /// A table of tables whose keys are names of the operator's choice: `key = { NAME = { ... } }`.
    /// Sorted by name; empty where the key is missing. Each wants a [`finish`](Settings::finish) of
    /// its own.
    ///
    /// # Errors
    /// A value of another type.
    pub fn tables_by_name(
        &mut self,
        key: &'static str,
    ) -> Result<Vec<(String, Settings)>, SettingsError> {
        let place = format!("{}{key}", self.path);
        let table = |(name, value)| match value {
            Value::Object(values) => {
                let path = format!("{place}.{name}.");
                let known = Vec::new();
                Some((
                    name,
                    Settings {
                        path,
                        known,
                        values,
                    },
                ))
            }
            _ => None,
        };
        let tables = self.read(key, "a table of tables", |value| match value {
            Value::Object(values) => values.into_iter().map(table).collect(),
            _ => None,
        })?;
        Ok(in_order(tables))
    }

    /// Texts and tables, one or a list of them: `key = ["...", { ... }]`. Empty where the key is
    /// missing.
    ///
    /// # Errors
    /// A value of another type.
    pub fn items(&mut self, key: &'static str) -> Result<Vec<Item>, SettingsError> {
        self.items_of(key, "a text, a table, or a list of these", Some)
    }

    fn items_of<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        convert: impl Fn(Item) -> Option<T>,
    ) -> Result<Vec<T>, SettingsError> {
        let place = format!("{}{key}", self.path);
        let item = |(place, value)| match value {
            Value::String(text) => convert(Item::Text(text)),
            Value::Object(values) => convert(Item::Table(Settings {
                path: format!("{place}."),
                known: Vec::new(),
                values,
            })),
            _ => None,
        };
        let items = self.read(key, expected, |value| match value {
            Value::Array(values) => {
                let values = values.into_iter().enumerate();
                let places = values.map(|(n, value)| (format!("{place}[{n}]"), value));
                places.map(item).collect()
            }
            value => item((place, value)).map(|item| vec![item]),
        })?;
        Ok(items.unwrap_or_default())
    }
}

/// Entries by name in the order of the names, which does not depend on how a map of JSON keeps them.
fn in_order<T>(entries: Option<Vec<(String, T)>>) -> Vec<(String, T)> {
    let mut entries = entries.unwrap_or_default();
    entries.sort_by(|one, other| one.0.cmp(&other.0));
    entries
}
