//! A policy's settings: its table in the TOML, read key by key.
//!
//! Every getter notes the key it asked for, so that [`Settings::finish`] can tell what else was
//! written, and every error names the key by its path, so that the host can point at its line.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::host::{nginx, upstream};
use crate::{Network, SettingsError, Template, files, units};

/// When a variable is read.
#[derive(Debug, Clone, Copy)]
enum ReadBy {
    /// Before a server was chosen.
    Early,
    /// When the answer may be there.
    Late,
}

/// An element of a list of settings: see [`Settings::items`].
#[derive(Debug)]
pub enum Item {
    /// `"..."`
    Text(String),
    /// `{ ... }`, which wants a [`finish`](Settings::finish) of its own.
    Table(Settings),
}

/// A file that the settings name: see [`Settings::file`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path as it stands in the settings: what [`FileChanges`](crate::FileChanges) calls it.
    pub path: String,
    /// What it holds; `None` where it does not exist.
    pub content: Option<Vec<u8>>,
}

/// A table of settings. Read what you know, then [`finish`](Settings::finish).
#[derive(Debug)]
pub struct Settings {
    /// Where the table stands, with a dot at the end: `cookie.`; empty for the policy's own.
    path: String,
    known: Vec<&'static str>,
    values: Map<String, Value>,
}

impl Settings {
    /// The settings in a JSON object, as `configure` receives them.
    ///
    /// # Errors
    /// Anything but a JSON object.
    pub fn parse(json: &str) -> Result<Self, SettingsError> {
        match serde_json::from_str(json) {
            Ok(Value::Object(values)) => Ok(Settings {
                path: String::new(),
                known: Vec::new(),
                values,
            }),
            Ok(_) => Err(SettingsError::new("", "the settings must be a table")),
            Err(error) => Err(SettingsError::new(
                "",
                &format!("the settings are not JSON: {error}"),
            )),
        }
    }

    /// A text: `key = "..."`.
    ///
    /// # Errors
    /// A value of another type.
    pub fn text(&mut self, key: &'static str) -> Result<Option<String>, SettingsError> {
        self.read(key, "a text", |value| match value {
            Value::String(text) => Some(text),
            _ => None,
        })
    }

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

    /// A text with variables that `pick` is to read: `key = "$scheme://$host"`. A variable that does
    /// not exist is refused.
    ///
    /// # Errors
    /// A value of another type, a `$` without a name, or a variable that cannot have a value before
    /// a server is chosen, such as `$upstream_addr`.
    pub fn template(&mut self, key: &'static str) -> Result<Option<Template>, SettingsError> {
        let text = self.text(key)?;
        text.map(|text| self.as_template(key, &text)).transpose()
    }

    /// As [`template`](Settings::template), for a text of this key that was read already.
    ///
    /// # Errors
    /// As for [`template`](Settings::template).
    pub fn as_template(&self, key: &str, text: &str) -> Result<Template, SettingsError> {
        self.template_read_by(key, text, ReadBy::Early)
    }

    fn template_read_by(
        &self,
        key: &str,
        text: &str,
        read_by: ReadBy,
    ) -> Result<Template, SettingsError> {
        let template = Template::parse(text).map_err(|message| self.error(key, &message))?;
        let mut variables = template.variables();
        variables.try_for_each(|name| self.check_variable(key, name, read_by))?;
        drop(variables);
        Ok(template)
    }

    /// As [`template`](Settings::template), for a text that is made when the answer may be there:
    /// in `done`, `on_response` or `on_end`.
    ///
    /// # Errors
    /// A value of another type, a `$` without a name, or a variable that does not exist.
    pub fn template_of_answer(
        &mut self,
        key: &'static str,
    ) -> Result<Option<Template>, SettingsError> {
        let text = self.text(key)?;
        let template = text.map(|text| self.template_read_by(key, &text, ReadBy::Late));
        template.transpose()
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
        Ok(texts.unwrap_or_default())
    }

    /// As [`texts_by_name`](Settings::texts_by_name), of [templates](Settings::template).
    ///
    /// # Errors
    /// As for [`template`](Settings::template).
    pub fn templates_by_name(
        &mut self,
        key: &'static str,
    ) -> Result<Vec<(String, Template)>, SettingsError> {
        let texts = self.texts_by_name(key)?.into_iter();
        let template = |(name, text): (String, String)| {
            let template = self.as_template(&format!("{key}.{name}"), &text)?;
            Ok((name, template))
        };
        texts.map(template).collect()
    }

    /// One of a few words: `key = "header"`, with what each of them means.
    ///
    /// # Errors
    /// Anything else.
    pub fn choice<T: Clone>(
        &mut self,
        key: &'static str,
        choices: &[(&str, T)],
    ) -> Result<Option<T>, SettingsError> {
        let words: Vec<String> = choices
            .iter()
            .map(|(word, _)| format!("\"{word}\""))
            .collect();
        self.read(key, &either(&words), |value| {
            let chosen = choices
                .iter()
                .find(|(word, _)| value.as_str() == Some(word));
            chosen.map(|(_, meaning)| meaning.clone())
        })
    }

    /// A file by its path, as it is now: `key = "users.htpasswd"`. In `configure` and `attach`.
    ///
    /// # Errors
    /// A value of another type, or a file that is there and cannot be read.
    pub fn file(&mut self, key: &'static str) -> Result<Option<File>, SettingsError> {
        let Some(path) = self.text(key)? else {
            return Ok(None);
        };
        match files::read(&path) {
            Ok(content) => Ok(Some(File { path, content })),
            Err(why) => Err(self.error(key, &format!("cannot read `{path}`: {why}"))),
        }
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
        Ok(tables.unwrap_or_default())
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

    /// One variable that `pick` is to read, or a list of them, each with its `$`:
    /// `key = ["$cookie_id", "$arg_id"]`. Their names without it; empty where the key is missing.
    ///
    /// # Errors
    /// A value of another type, or what is no variable that can have a value before a server is
    /// chosen.
    pub fn variables(&mut self, key: &'static str) -> Result<Vec<String>, SettingsError> {
        self.variables_read_by(key, ReadBy::Early)
    }

    /// As [`variables`](Settings::variables), for variables that `done` is to read: those of the
    /// answer, such as `$upstream_cookie_id`, are among them.
    ///
    /// # Errors
    /// A value of another type, or what is no variable that can have a value here.
    pub fn variables_of_answer(&mut self, key: &'static str) -> Result<Vec<String>, SettingsError> {
        self.variables_read_by(key, ReadBy::Late)
    }

    fn variables_read_by(
        &mut self,
        key: &'static str,
        read_by: ReadBy,
    ) -> Result<Vec<String>, SettingsError> {
        let texts = self.texts(key)?;
        let name = |text: String| match Template::parse(&text) {
            Ok(template) => match template.variable() {
                Some(name) => {
                    let checked = self.check_variable(key, name, read_by);
                    checked.map(|()| name.to_owned())
                }
                None => Err(self.no_variable(key, &text)),
            },
            Err(_) => Err(self.no_variable(key, &text)),
        };
        texts.into_iter().map(name).collect()
    }

    fn no_variable(&self, key: &str, text: &str) -> SettingsError {
        self.error(
            key,
            &format!("`{text}` is not a variable such as `$cookie_route`"),
        )
    }

    fn check_variable(&self, key: &str, name: &str, read_by: ReadBy) -> Result<(), SettingsError> {
        let problem = match read_by {
            ReadBy::Early => nginx::check_early_variable(name),
            ReadBy::Late => nginx::check_variable(name),
        };
        problem.map_or(Ok(()), |problem| Err(self.error(key, &problem)))
    }

    /// Refuses an upstream with `backup` servers: for policies whose choices do not go on with a
    /// second list.
    ///
    /// # Errors
    /// There are some.
    pub fn refuse_backups(&self) -> Result<(), SettingsError> {
        match upstream::has_backups() {
            true => Err(self.error(
                "",
                "this balancing method does not support `backup` servers; leave `backup` out, or \
                 choose another, such as `round_robin`",
            )),
            false => Ok(()),
        }
    }

    /// Refuses the connections of a `[[stream]]`: for policies that need requests and responses.
    /// `instead` says what to use there.
    ///
    /// # Errors
    /// The upstream carries streams.
    pub fn refuse_streams(&self, instead: &str) -> Result<(), SettingsError> {
        match upstream::carries_streams() {
            true => Err(self.error(
                "",
                &format!("this plugin is for requests, which a stream has none of; {instead}"),
            )),
            false => Ok(()),
        }
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

    /// `key = true`. False where the key is missing.
    ///
    /// # Errors
    /// A value of another type.
    pub fn flag(&mut self, key: &'static str) -> Result<bool, SettingsError> {
        Ok(self
            .read(key, "`true` or `false`", |value| value.as_bool())?
            .unwrap_or(false))
    }

    /// `key = true` or `key = false`, where a missing key is something else again.
    ///
    /// # Errors
    /// A value of another type.
    pub fn optional_flag(&mut self, key: &'static str) -> Result<Option<bool>, SettingsError> {
        self.read(key, "`true` or `false`", |value| value.as_bool())
    }

    /// A whole number, 0 or more: `key = 10`.
    ///
    /// # Errors
    /// A value of another type, or below 0.
    pub fn number(&mut self, key: &'static str) -> Result<Option<u64>, SettingsError> {
        self.read(key, "a whole number, 0 or more", |value| value.as_u64())
    }

    /// A whole number within bounds: `status = 429`.
    ///
    /// # Errors
    /// A value of another type, or out of bounds.
    pub fn number_within(
        &mut self,
        key: &'static str,
        bounds: RangeInclusive<u64>,
    ) -> Result<Option<u64>, SettingsError> {
        let expected = format!("a whole number from {} to {}", bounds.start(), bounds.end());
        self.read(key, &expected, |value| {
            value.as_u64().filter(|number| bounds.contains(number))
        })
    }

    /// A number, perhaps with a fraction: `key = 1.25`.
    ///
    /// # Errors
    /// A value of another type.
    pub fn decimal(&mut self, key: &'static str) -> Result<Option<f64>, SettingsError> {
        self.read(key, "a number such as 1.25", |value| value.as_f64())
    }

    /// A duration in nginx's spelling, or a number of seconds: `key = "1m 30s"`.
    ///
    /// # Errors
    /// Anything else.
    pub fn duration(&mut self, key: &'static str) -> Result<Option<Duration>, SettingsError> {
        self.read(
            key,
            "a duration such as \"10s\" or \"1h 30m\"",
            |value| match value {
                Value::String(text) => units::parse_duration(&text),
                value => value.as_u64().map(Duration::from_secs),
            },
        )
    }

    /// A size in bytes, in nginx's spelling: `key = "8k"`.
    ///
    /// # Errors
    /// Anything else.
    pub fn size(&mut self, key: &'static str) -> Result<Option<u64>, SettingsError> {
        self.read(
            key,
            "a size such as \"8k\" or \"1m\"",
            |value| match value {
                Value::String(text) => units::parse_size(&text),
                value => value.as_u64(),
            },
        )
    }

    /// A table within this one: `key = { ... }`. It wants a [`finish`](Settings::finish) of its
    /// own.
    ///
    /// # Errors
    /// A value of another type.
    pub fn table(&mut self, key: &'static str) -> Result<Option<Settings>, SettingsError> {
        let values = self.read(key, "a table", |value| match value {
            Value::Object(values) => Some(values),
            _ => None,
        })?;
        Ok(values.map(|values| Settings {
            path: format!("{}{key}.", self.path),
            known: Vec::new(),
            values,
        }))
    }

    /// The value as it is, for what the other getters cannot express.
    pub fn value(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.values.remove(key)
    }

    /// An error about a key of this table. Lower case, one line, no full stop; say what would be
    /// right.
    pub fn error(&self, key: &str, message: &str) -> SettingsError {
        SettingsError::new(&format!("{}{key}", self.path), message)
    }

    /// The error for a key that must be there: `settings.text("key")?.ok_or_else(||
    /// settings.missing("key"))?`.
    pub fn missing(&self, key: &str) -> SettingsError {
        let missing = format!("`{}{key}` is missing", self.path);
        // What no getter has asked for may be this one, misspelt.
        let mut unread = self.values.keys();
        match unread.find(|unread| are_alike(key, unread)) {
            Some(misspelt) => self.error(misspelt, &format!("{missing}; is `{misspelt}` meant?")),
            None => self.error(key, &missing),
        }
    }

    /// Refuses keys that no getter asked for: silence would hide a misspelling.
    ///
    /// # Errors
    /// The first such key, with the known ones.
    pub fn finish(self) -> Result<(), SettingsError> {
        let Some(unknown) = self.values.keys().next() else {
            return Ok(());
        };
        let nearest = self
            .known
            .iter()
            .max_by_key(|known| likeness(known, unknown));
        let hint = match nearest {
            None => "it takes none".to_owned(),
            Some(known) if are_alike(known, unknown) => format!("did you mean `{known}`?"),
            Some(_) => format!("known keys: `{}`", self.known.join("`, `")),
        };
        Err(self.error(
            unknown,
            &format!("unknown key `{}{unknown}`; {hint}", self.path),
        ))
    }

    fn read<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        convert: impl FnOnce(Value) -> Option<T>,
    ) -> Result<Option<T>, SettingsError> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        match convert(value) {
            Some(converted) => Ok(Some(converted)),
            None => Err(self.error(key, &format!("`{}{key}` must be {expected}", self.path))),
        }
    }
}

/// `a`, `b` or `c`.
fn either(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// In thousandths.
fn likeness(one: &str, other: &str) -> u32 {
    (strsim::jaro_winkler(one, other) * 1000.0) as u32
}

fn are_alike(one: &str, other: &str) -> bool {
    // Of short words one letter is a large part.
    likeness(one, other) > 800 || strsim::damerau_levenshtein(one, other) == 1
}

impl SettingsError {
    /// What is wrong with a key, given by its path (`cookie.path`; empty for the table as a whole).
    pub fn new(key: &str, message: &str) -> Self {
        SettingsError {
            key: key.to_owned(),
            message: message.to_owned(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::{Item, Settings};
    use std::time::Duration;

    fn settings(json: &str) -> Settings {
        Settings::parse(json).unwrap()
    }

    #[test]
    fn values_are_read_by_type() {
        let mut read = settings(
            r#"{"a": "x", "b": true, "c": 3, "d": "1m", "e": "8k", "f": ["y", "z"], "g": {"h": 1}, "i": 1.5}"#,
        );
        assert_eq!(read.text("a").unwrap().as_deref(), Some("x"));
        assert!(read.flag("b").unwrap());
        assert_eq!(read.number("c").unwrap(), Some(3));
        assert_eq!(read.duration("d").unwrap(), Some(Duration::from_secs(60)));
        assert_eq!(read.size("e").unwrap(), Some(8192));
        assert_eq!(read.texts("f").unwrap(), ["y", "z"]);
        let mut table = read.table("g").unwrap().unwrap();
        assert_eq!(table.number("h").unwrap(), Some(1));
        assert_eq!(read.decimal("i").unwrap(), Some(1.5));
        assert!(table.finish().is_ok() && read.finish().is_ok());
    }

    #[test]
    fn lists_of_tables_and_texts_know_their_places() {
        let mut read = settings(
            r#"{"zones": ["a", {"use": "b", "burst": -1}], "one": {"x": 1}, "wrong": [{}, 7]}"#,
        );
        let mut zones = read.items("zones").unwrap();
        let Some(Item::Table(mut second)) = zones.pop() else {
            panic!("a table");
        };
        assert!(matches!(zones.pop(), Some(Item::Text(text)) if text == "a"));
        assert_eq!(second.number("burst").unwrap_err().key, "zones[1].burst");
        assert_eq!(second.text("use").unwrap().as_deref(), Some("b"));
        let one = read.tables("one").unwrap().pop().unwrap();
        assert_eq!(one.finish().unwrap_err().key, "one.x");
        let error = read.tables("wrong").unwrap_err();
        assert_eq!(error.message, "`wrong` must be a table or a list of tables");
    }

    #[test]
    fn words_names_and_bounds_are_checked() {
        let json = r#"{"by": "size", "match": {"b": "$uri", "a": "x"}, "status": 42}"#;
        let mut read = settings(json);
        let error = read
            .choice("by", &[("header", 1), ("body", 2)])
            .unwrap_err();
        assert_eq!(error.message, "`by` must be \"header\" or \"body\"");
        let names = read.templates_by_name("match").unwrap();
        assert_eq!(names[0].0, "a");
        assert_eq!(names[1].1.variables().collect::<Vec<_>>(), ["uri"]);
        let error = read.number_within("status", 400..=599).unwrap_err();
        assert_eq!(
            error.message,
            "`status` must be a whole number from 400 to 599"
        );
        assert_eq!(read.optional_flag("flag").unwrap(), None);
    }

    #[test]
    fn tables_by_name_know_their_places() {
        let mut read = settings(r#"{"zones": {"b": {"x": 1}, "a": {"y": 2}}, "wrong": {"a": 1}}"#);
        let mut zones = read.tables_by_name("zones").unwrap();
        let names: Vec<&str> = zones.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(zones[1].1.number("x").unwrap(), Some(1));
        let (_, first) = zones.swap_remove(0);
        assert_eq!(first.finish().unwrap_err().key, "zones.a.y");
        assert_eq!(read.tables_by_name("none").unwrap().len(), 0);
        let error = read.tables_by_name("wrong").unwrap_err();
        assert_eq!(error.message, "`wrong` must be a table of tables");
    }

    #[test]
    fn a_key_that_is_missing_may_be_there_misspelt() {
        let mut read = settings(r#"{"ky": "$uri", "consistent": "yes"}"#);
        assert_eq!(read.text("key").unwrap(), None);
        let error = read.missing("key");
        assert_eq!(error.key, "ky");
        assert_eq!(error.message, "`key` is missing; is `ky` meant?");
        assert_eq!(settings("{}").missing("key").message, "`key` is missing");
    }

    #[test]
    fn a_wrong_type_is_reported_with_the_path_of_its_key() {
        let mut read = settings(r#"{"cookie": {"path": 7}}"#);
        let error = read
            .table("cookie")
            .unwrap()
            .unwrap()
            .text("path")
            .unwrap_err();
        assert_eq!(
            (error.key.as_str(), error.message.as_str()),
            ("cookie.path", "`cookie.path` must be a text")
        );
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_one_that_was_meant() {
        let mut read = settings(r#"{"consistant": true}"#);
        read.text("key").unwrap();
        read.flag("consistent").unwrap();
        let error = read.finish().unwrap_err();
        assert_eq!(error.key, "consistant");
        assert_eq!(
            error.message,
            "unknown key `consistant`; did you mean `consistent`?"
        );
    }

    #[test]
    fn an_unknown_key_like_no_other_is_refused_with_all_known_ones() {
        let mut read = settings(r#"{"zzz": true}"#);
        read.text("key").unwrap();
        read.flag("consistent").unwrap();
        assert_eq!(
            read.finish().unwrap_err().message,
            "unknown key `zzz`; known keys: `key`, `consistent`"
        );
        assert_eq!(
            settings(r#"{"zzz": 1}"#).finish().unwrap_err().message,
            "unknown key `zzz`; it takes none"
        );
    }
}
