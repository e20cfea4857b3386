//! `policy`: which plugin chooses, and the settings that it will check itself.

use serde_json::{Map, Number, Value as Json};

use super::{Complaint, ConfigReader};
use crate::config::declared::POLICY;
use crate::config::model::{PolicyPlace, PolicyUse};
use crate::config::problem::{Problem, Problems, suggestion};
use crate::config::section::Section;
use crate::config::tree::{Entry, Node, Value, join};
use crate::stock;

/// The policies that may be named: the stock ones and those of `[plugin.NAME]`.
pub(super) struct Policies<'a> {
    custom: &'a [Entry],
}

impl<'a> Policies<'a> {
    pub(super) fn new(root: &Section<'a>) -> Policies<'a> {
        Policies {
            custom: root.named("plugin"),
        }
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let custom = self.custom.iter().map(|entry| entry.key.as_str());
        stock::NAMES.iter().copied().chain(custom)
    }

    /// Notes a name that no policy has.
    pub(super) fn check(&self, name: &str, node: &Node, reader: ConfigReader<'_>) {
        if !self.names().any(|known| known == name) {
            let complaint = Complaint::new(format!("unknown policy `{name}`"));
            let hint = suggestion(name, self.names(), "policies");
            reader.missing(complaint.hint(hint).at(&node.place));
        }
    }
}

/// The policy of an upstream.
pub(super) fn policy(
    section: &Section<'_>,
    policies: &Policies<'_>,
    reader: ConfigReader<'_>,
) -> PolicyUse {
    let round_robin = || PolicyUse {
        plugin: section.text_by_default("policy").to_owned(),
        settings: Json::Object(Map::new()),
        place: PolicyPlace {
            policy: section.place.clone(),
            keys: Vec::new(),
        },
    };
    let Some(node) = section.get("policy") else {
        return round_robin();
    };
    let place = PolicyPlace {
        policy: node.place.clone(),
        keys: Vec::new(),
    };
    match &node.value {
        Value::Text(name) | Value::Environment(name) => {
            policies.check(name, node, reader);
            PolicyUse {
                plugin: name.clone(),
                settings: Json::Object(Map::new()),
                place,
            }
        }
        Value::Table(_) => {
            let Some(table) = Section::open(node, &POLICY, reader.problems) else {
                return round_robin();
            };
            table.required("plugin");
            let Some((plugin, plugin_node)) = table.text_given("plugin") else {
                return round_robin();
            };
            policies.check(plugin, plugin_node, reader);
            let mut settings = Settings {
                problems: reader.problems,
                keys: Vec::new(),
            };
            let own = table.entries().iter().filter(|entry| entry.key != "plugin");
            let json = settings.object(own, "");
            let place = PolicyPlace {
                keys: settings.keys,
                ..place
            };
            PolicyUse {
                plugin: plugin.to_owned(),
                settings: Json::Object(json),
                place,
            }
        }
        _ => {
            section.wrong_type(node, "policy");
            round_robin()
        }
    }
}

/// Turns settings into JSON and remembers where each key stands.
struct Settings<'a> {
    problems: &'a Problems,
    keys: Vec<(String, crate::config::problem::Place)>,
}

impl Settings<'_> {
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
                None => self.refuse(node, "`inf` and `nan` cannot be given to a policy"),
            },
            Value::Datetime => self.refuse(node, "a date or time cannot be given to a policy"),
            Value::Unusable => Json::Null,
            Value::Array(items) => {
                let item = |(index, item)| self.value(item, &format!("{path}[{index}]"));
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

impl PolicyPlace {
    /// A problem that the policy itself reports about one of its settings, at the line of that
    /// setting. `key` is dotted, as in `settings-error` of the WIT; a key that the file does not
    /// have is reported at the table around it.
    pub fn problem(&self, key: &str, message: &str) -> Problem {
        let mut around = Some(key).filter(|key| !key.is_empty());
        while let Some(key) = around {
            if let Some((_, place)) = self.keys.iter().find(|(known, _)| known == key) {
                return Problem::new(place, message);
            }
            around = key.rfind(['.', '[']).and_then(|end| key.get(..end));
        }
        Problem::new(&self.policy, message)
    }
}
