//! A plugin's own settings: any keys beside the words that are the host's, as JSON, with a place
//! for each. The plugin checks them.

use serde_json::{Map, Number, Value as Json};

use crate::config::model::SettingsPlace;
use crate::config::problem::{Place, Problem, Problems};
use crate::config::section::Section;
use crate::config::tree::{Entry, Node, Value, join};

/// The words that are the host's in every table that has a plugin's settings, and where each
/// belongs. A table that knows one declares it.
const WORDS: [(&str, &str); 7] = [
    ("plugin", "a table has one plugin"),
    (
        "use",
        "`use` belongs in an item of `hooks`, and names a `[hook.NAME]`",
    ),
    ("filters", "`filters` belongs in the table of a `policy`"),
    ("scorers", "`scorers` belongs in the table of a `policy`"),
    (
        "fallback",
        "`fallback` belongs in the table of a `policy`, or in `[plugin.NAME]`",
    ),
    (
        "on_error",
        "`on_error` belongs in an item of `hooks`, where the hook is used",
    ),
    ("budget", "`budget` belongs in `[plugin.NAME]`"),
];

/// The settings that a table has, and where they stand.
pub(super) fn settings(table: &Section<'_>) -> (Json, SettingsPlace) {
    let mut reading = SettingsReading {
        problems: table.problems,
        keys: Vec::new(),
    };
    let own = table.own_entries().filter(|entry| {
        let word = WORDS.iter().find(|(word, _)| *word == entry.key);
        if let Some((word, belongs)) = word {
            let problem = Problem::new(&entry.key_place, format!("`{word}` cannot be a setting"));
            table.problems.add(problem.hint(*belongs));
        }
        word.is_none()
    });
    let json = reading.object(own, "");
    let place = SettingsPlace {
        table: table.place.clone(),
        keys: reading.keys,
    };
    (Json::Object(json), place)
}

/// Those of a plugin that is named without a table.
pub(super) fn no_settings(place: &Place) -> (Json, SettingsPlace) {
    let place = SettingsPlace {
        table: place.clone(),
        keys: Vec::new(),
    };
    (Json::Object(Map::new()), place)
}

/// Turns settings into JSON and remembers where each key stands.
struct SettingsReading<'a> {
    problems: &'a Problems,
    keys: Vec<(String, Place)>,
}

impl SettingsReading<'_> {
    fn object<'n>(
        &mut self,
        entries: impl Iterator<Item = &'n Entry>,
        path: &str,
    ) -> Map<String, Json> {
        entries
            .map(|entry| {
                let path = join(path, &entry.key);
                self.keys.push((path.clone(), entry.node.place.clone()));
                (entry.key.clone(), self.value(&entry.node, &path))
            })
            .collect()
    }

    fn value(&mut self, node: &Node, path: &str) -> Json {
        match &node.value {
            Value::Text(text) | Value::Environment(text) => Json::String(text.clone()),
            Value::Integer(integer) => Json::from(*integer),
            Value::Boolean(boolean) => Json::Bool(*boolean),
            Value::Float(float) => match Number::from_f64(*float) {
                Some(number) => Json::Number(number),
                None => self.refuse(node, "`inf` and `nan` cannot be given to a plugin"),
            },
            Value::Datetime => self.refuse(node, "a date or time cannot be given to a plugin"),
            Value::Unusable => Json::Null,
            Value::Array(items) => {
                let item = |(index, item): (usize, &Node)| {
                    let path = format!("{path}[{index}]");
                    self.keys.push((path.clone(), item.place.clone()));
                    self.value(item, &path)
                };
                Json::Array(items.iter().enumerate().map(item).collect())
            }
            Value::Table(entries) => Json::Object(self.object(entries.iter(), path)),
        }
    }

    fn refuse(&self, node: &Node, message: &str) -> Json {
        self.problems
            .add(Problem::new(&node.place, message).hint("write it as a string"));
        Json::Null
    }
}
