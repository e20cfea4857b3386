//! A plugin's settings: its table in the TOML, read key by key.
//!
//! Every getter notes the key it asked for, so that [`Settings::finish`] can tell what else was
//! written, and every error names the key by its path, so that the host can point at its line.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::host::{changes, upstream};
use crate::{SettingsError, files, units};

mod lists;
#[cfg(test)]
mod tests;
mod variables;

pub use lists::Item;

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

    /// The name of a route that a request may be led to: `key = "canary"`.
    ///
    /// # Errors
    /// A value of another type, or there is no such route.
    pub fn route(&mut self, key: &'static str) -> Result<Option<String>, SettingsError> {
        self.checked(key, changes::check_route)
    }

    /// The name of an upstream that a request may be led to: `key = "green"`.
    ///
    /// # Errors
    /// A value of another type, or there is no such upstream.
    pub fn upstream(&mut self, key: &'static str) -> Result<Option<String>, SettingsError> {
        self.checked(key, changes::check_upstream)
    }

    /// A text with which the host says what is wrong.
    fn checked(
        &mut self,
        key: &'static str,
        check: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<String>, SettingsError> {
        let text = self.text(key)?;
        match text.as_deref().and_then(check) {
            Some(problem) => Err(self.error(key, &problem)),
            None => Ok(text),
        }
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
        match self.are_of_streams() {
            true => Err(self.error(
                "",
                &format!("this plugin is for requests, which a stream has none of; {instead}"),
            )),
            false => Ok(()),
        }
    }

    /// The name of the upstream that these settings are for.
    pub fn upstream_name(&self) -> String {
        upstream::name()
    }

    /// Whether connections of a `[[stream]]` are carried here: there are no requests then.
    pub fn are_of_streams(&self) -> bool {
        upstream::carries_streams()
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

    /// Bytes of a body that the hook has in its memory as a whole: from 1 to 8 MiB, which is half of
    /// what an instance has, as bodies come in all sizes and leave holes in it. `otherwise`: what is
    /// said of any other size.
    ///
    /// # Errors
    /// Anything else.
    pub fn body_limit(
        &mut self,
        key: &'static str,
        otherwise: &str,
    ) -> Result<Option<u32>, SettingsError> {
        const LARGEST: u32 = 8 << 20;
        let Some(limit) = self.size(key)? else {
            return Ok(None);
        };
        match u32::try_from(limit) {
            Ok(limit @ 1..=LARGEST) => Ok(Some(limit)),
            _ => Err(self.error(key, otherwise)),
        }
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
