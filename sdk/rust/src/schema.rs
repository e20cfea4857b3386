//! What a plugin says of itself: see [`Describe`](crate::Describe).

use std::fmt::Write as _;
use std::ops::RangeInclusive;

pub use crate::bindings::description::exports::waypost::plugin::description::About;

impl About {
    /// One line for lists, without a full stop. No settings, backups and streams served: say by the
    /// other functions what is different.
    pub fn new(summary: &str) -> Self {
        About {
            summary: summary.to_owned(),
            settings: Schema::new().to_json(),
            place_settings: Schema::new().to_json(),
            backups: true,
            streams: true,
        }
    }

    /// The settings that `configure` takes.
    pub fn settings(mut self, schema: Schema) -> Self {
        self.settings = schema.to_json();
        self
    }

    /// The settings that `attach` takes.
    pub fn place_settings(mut self, schema: Schema) -> Self {
        self.place_settings = schema.to_json();
        self
    }

    /// Serves no upstream with `backup` servers: see
    /// [`Settings::refuse_backups`](crate::Settings::refuse_backups).
    pub fn no_backups(mut self) -> Self {
        self.backups = false;
        self
    }

    /// Serves no streams: see [`Settings::refuse_streams`](crate::Settings::refuse_streams).
    pub fn no_streams(mut self) -> Self {
        self.streams = false;
        self
    }
}

/// A JSON schema of settings, with a function for each getter of [`Settings`](crate::Settings).
///
/// Keys are optional unless [`required`](Schema::required) follows. What each of them means is said
/// in one line. A test holds a schema against what is read: see
/// [`Upstream::check_description`](crate::testing::Upstream::check_description).
#[derive(Debug, Default)]
pub struct Schema {
    properties: Vec<Property>,
}

#[derive(Debug)]
struct Property {
    key: &'static str,
    about: String,
    /// What the value has to be: the members of a JSON object.
    value: String,
    required: bool,
}

impl Schema {
    /// Settings without a key.
    pub fn new() -> Self {
        Schema::default()
    }

    /// A text.
    pub fn text(self, key: &'static str, about: &str) -> Self {
        self.property(key, about, r#""type":"string""#.to_owned())
    }

    /// One text or a list of them.
    pub fn texts(self, key: &'static str, about: &str) -> Self {
        let text = r#"{"type":"string"}"#;
        self.property(key, about, one_or_many(text))
    }

    /// A text with variables.
    pub fn template(self, key: &'static str, about: &str) -> Self {
        self.text(key, &format!("{about} (text with variables)"))
    }

    /// A table of texts whose keys are names of the operator's choice.
    pub fn texts_by_name(self, key: &'static str, about: &str) -> Self {
        let value = r#""type":"object","additionalProperties":{"type":"string"}"#;
        self.property(key, about, value.to_owned())
    }

    /// One variable or a list of them.
    pub fn variables(self, key: &'static str, about: &str) -> Self {
        let variable = r#"{"type":"string","pattern":"^\\$"}"#;
        self.property(key, about, one_or_many(variable))
    }

    /// One of a few words.
    pub fn choice(self, key: &'static str, about: &str, words: &[&str]) -> Self {
        let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        self.property(key, about, format!(r#""enum":[{}]"#, words.join(",")))
    }

    /// `true` or `false`, or one of a few words.
    pub fn flag_or_choice(self, key: &'static str, about: &str, words: &[&str]) -> Self {
        let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
        let values = format!(r#""enum":[true,false,{}]"#, words.join(","));
        self.property(key, about, values)
    }

    /// `true` or `false`, or one text or a list of them.
    pub fn flag_or_texts(self, key: &'static str, about: &str) -> Self {
        let text = r#"{"type":"string"}"#;
        let value =
            format!(r#""anyOf":[{{"type":"boolean"}},{text},{{"type":"array","items":{text}}}]"#);
        self.property(key, about, value)
    }

    /// `true` or `false`.
    pub fn flag(self, key: &'static str, about: &str) -> Self {
        self.property(key, about, r#""type":"boolean""#.to_owned())
    }

    /// A whole number within bounds.
    pub fn number(self, key: &'static str, about: &str, bounds: RangeInclusive<u64>) -> Self {
        let (least, most) = bounds.into_inner();
        let mut value = format!(r#""type":"integer","minimum":{least}"#);
        if most < u64::MAX {
            write!(value, r#","maximum":{most}"#).unwrap_or_default();
        }
        self.property(key, about, value)
    }

    /// A number within bounds.
    pub fn decimal(self, key: &'static str, about: &str, bounds: RangeInclusive<f64>) -> Self {
        let (least, most) = bounds.into_inner();
        let value = format!(r#""type":"number","minimum":{least},"maximum":{most}"#);
        self.property(key, about, value)
    }

    /// A duration in nginx's spelling, or a number of seconds.
    pub fn duration(self, key: &'static str, about: &str) -> Self {
        self.text_or_number(key, &format!("{about} (duration: \"10s\", \"1h 30m\")"))
    }

    /// A size in bytes, in nginx's spelling.
    pub fn size(self, key: &'static str, about: &str) -> Self {
        self.text_or_number(key, &format!("{about} (size: \"8k\", \"1m\")"))
    }

    /// A table.
    pub fn table(self, key: &'static str, about: &str, table: Schema) -> Self {
        self.property(key, about, table.members())
    }

    /// One table or a list of them.
    pub fn tables(self, key: &'static str, about: &str, table: Schema) -> Self {
        self.property(key, about, one_or_many(&table.to_json()))
    }

    /// Texts and tables, one or a list of them.
    pub fn items(self, key: &'static str, about: &str, table: Schema) -> Self {
        let item = format!(r#"{{"anyOf":[{{"type":"string"}},{}]}}"#, table.to_json());
        self.property(key, about, one_or_many(&item))
    }

    /// The key that was named last must be there.
    pub fn required(mut self) -> Self {
        if let Some(last) = self.properties.last_mut() {
            last.required = true;
        }
        self
    }

    /// The schema as JSON.
    pub fn to_json(&self) -> String {
        format!("{{{}}}", self.members())
    }

    fn members(&self) -> String {
        let properties = self.properties.iter().map(|property| {
            let Property {
                key, about, value, ..
            } = property;
            format!(
                r#"{}:{{"description":{},{value}}}"#,
                quoted(key),
                quoted(about)
            )
        });
        let properties: Vec<String> = properties.collect();
        let mut members = format!(
            r#""type":"object","properties":{{{}}},"additionalProperties":false"#,
            properties.join(",")
        );
        let required = self.properties.iter().filter(|property| property.required);
        let required: Vec<String> = required.map(|property| quoted(property.key)).collect();
        if !required.is_empty() {
            write!(members, r#","required":[{}]"#, required.join(",")).unwrap_or_default();
        }
        members
    }

    fn text_or_number(self, key: &'static str, about: &str) -> Self {
        let value = r#""type":["string","integer"],"minimum":0"#;
        self.property(key, about, value.to_owned())
    }

    fn property(mut self, key: &'static str, about: &str, value: String) -> Self {
        self.properties.push(Property {
            key,
            about: about.to_owned(),
            value,
            required: false,
        });
        self
    }
}

fn one_or_many(item: &str) -> String {
    format!(r#""anyOf":[{item},{{"type":"array","items":{item}}}]"#)
}

/// A JSON string.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\n' => quoted.push_str("\\n"),
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::Schema;
    use serde_json::{Value, json};

    #[test]
    fn a_schema_is_json() {
        let schema = Schema::new()
            .template("key", "what \"it\" is")
            .required()
            .number("size", "how many", 1..=64)
            .tables("rules", "what to do", Schema::new().flag("last", "the end"));
        let read: Value = serde_json::from_str(&schema.to_json()).unwrap();
        let table = json!({
            "type": "object",
            "properties": { "last": { "description": "the end", "type": "boolean" } },
            "additionalProperties": false,
        });
        assert_eq!(
            read,
            json!({
                "type": "object",
                "properties": {
                    "key": {
                        "description": "what \"it\" is (text with variables)",
                        "type": "string",
                    },
                    "size": {
                        "description": "how many", "type": "integer", "minimum": 1, "maximum": 64,
                    },
                    "rules": {
                        "description": "what to do",
                        "anyOf": [table, { "type": "array", "items": table }],
                    },
                },
                "additionalProperties": false,
                "required": ["key"],
            })
        );
    }
}
