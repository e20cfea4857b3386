//! A policy's settings: its table in the TOML, read key by key.
//!
//! Every getter notes the key it asked for, so that [`Settings::finish`] can tell what else was
//! written, and every error names the key by its path, so that the host can point at its line.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::host::{self, ReadBy};
use crate::{SettingsError, Template, units};

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
        let template = Template::parse(text).map_err(|message| self.error(key, &message))?;
        let mut variables = template.variables();
        variables.try_for_each(|name| self.check_variable(key, name, ReadBy::Pick))?;
        drop(variables);
        Ok(template)
    }

    /// One variable that `pick` is to read, or a list of them, each with its `$`:
    /// `key = ["$cookie_id", "$arg_id"]`. Their names without it; empty where the key is missing.
    ///
    /// # Errors
    /// A value of another type, or what is no variable that can have a value before a server is
    /// chosen.
    pub fn variables(&mut self, key: &'static str) -> Result<Vec<String>, SettingsError> {
        self.variables_read_by(key, ReadBy::Pick)
    }

    /// As [`variables`](Settings::variables), for variables that `done` is to read: those of the
    /// answer, such as `$upstream_cookie_id`, are among them.
    ///
    /// # Errors
    /// A value of another type, or what is no variable that can have a value here.
    pub fn variables_of_answer(&mut self, key: &'static str) -> Result<Vec<String>, SettingsError> {
        self.variables_read_by(key, ReadBy::Done)
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
        let problem = host::check_variable(name, read_by);
        problem.map_or(Ok(()), |problem| Err(self.error(key, &problem)))
    }

    /// Refuses an upstream with `backup` servers: for policies whose choices do not go on with a
    /// second list.
    ///
    /// # Errors
    /// There are some.
    pub fn refuse_backups(&self) -> Result<(), SettingsError> {
        match host::has_backups() {
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
        match host::carries_streams() {
            true => Err(self.error(
                "",
                &format!(
                    "this balancing method is for requests, which a stream has none of; {instead}"
                ),
            )),
            false => Ok(()),
        }
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

    /// A whole number, 0 or more: `key = 10`.
    ///
    /// # Errors
    /// A value of another type, or below 0.
    pub fn number(&mut self, key: &'static str) -> Result<Option<u64>, SettingsError> {
        self.read(key, "a whole number, 0 or more", |value| value.as_u64())
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
    use super::Settings;
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
