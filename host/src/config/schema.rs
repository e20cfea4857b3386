//! JSON Schema (draft 2020-12) of the file: `waypost schema`, for editors that complete and check
//! TOML.
//!
//! It knows keys, kinds and bounds; what only the whole file can tell (names, duplicates) is for
//! `waypost check`.

use serde_json::{Map, Value as Json, json};

use super::declared::ROOT;
use super::key::{Default, Key, Table, ValueKind};

const DURATION: &str = r"^(0|( *[0-9]+(ms|s|m|h|d))+)$|\$\{env:";
const SIZE: &str = r"^[0-9]+[kKmMgG]?$|\$\{env:";
/// A string may stand for any scalar if it comes from the environment.
const ENVIRONMENT: &str = r"\$\{env:";

pub fn schema() -> Json {
    let mut schema = of_table(&ROOT);
    if let Json::Object(schema) = &mut schema {
        schema.insert(
            "$schema".to_owned(),
            json!("https://json-schema.org/draft/2020-12/schema"),
        );
        schema.insert("title".to_owned(), json!("Waypost configuration"));
    }
    schema
}

fn of_table(table: &Table) -> Json {
    let keys = || table.keys().filter(|key| key.available());
    let properties: Map<String, Json> = keys()
        .map(|key| (key.name.to_owned(), of_key(key)))
        .collect();
    let required: Vec<&str> = keys()
        .filter(|key| matches!(key.default, Default::Required))
        .map(|key| key.name)
        .collect();
    let mut schema = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": table.open,
    });
    if let Json::Object(schema) = &mut schema
        && !required.is_empty()
    {
        schema.insert("required".to_owned(), json!(required));
    }
    schema
}

fn of_key(key: &Key) -> Json {
    let mut schema = of_kind(&key.kind);
    let Json::Object(entries) = &mut schema else {
        return schema;
    };
    entries.insert("description".to_owned(), json!(key.doc));
    let default = match key.default {
        Default::Required | Default::Unset => None,
        Default::Text(text) => Some(json!(text)),
        Default::Integer(integer) => Some(json!(integer)),
        Default::Boolean(boolean) => Some(json!(boolean)),
        Default::Words(words) => Some(json!(words)),
    };
    entries.extend(default.map(|default| ("default".to_owned(), default)));
    schema
}

fn of_kind(kind: &ValueKind) -> Json {
    match kind {
        ValueKind::Boolean => json!({ "type": ["boolean", "string"], "pattern": ENVIRONMENT }),
        ValueKind::Integer { min, max } => {
            json!({ "type": ["integer", "string"], "minimum": min, "maximum": max, "pattern": ENVIRONMENT })
        }
        ValueKind::Duration { .. } => {
            json!({ "type": ["string", "integer"], "pattern": DURATION, "minimum": 0, "maximum": 0 })
        }
        ValueKind::Size { min, max } => {
            json!({ "type": ["string", "integer"], "pattern": SIZE, "minimum": min, "maximum": max })
        }
        ValueKind::Text => json!({ "type": "string" }),
        ValueKind::Word(words) => {
            json!({ "anyOf": [{ "enum": words }, { "type": "string", "pattern": ENVIRONMENT }] })
        }
        ValueKind::Off => json!({ "const": false }),
        ValueKind::List(item) => json!({ "type": "array", "items": of_kind(item) }),
        ValueKind::Table(table) => of_table(table),
        ValueKind::Named(value) => {
            json!({ "type": "object", "additionalProperties": of_kind(value) })
        }
        ValueKind::Either(kinds) => {
            json!({ "anyOf": kinds.iter().map(of_kind).collect::<Vec<_>>() })
        }
        ValueKind::NotAvailable => json!(false),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_every_table_has_its_kind_bounds_default_and_documentation() {
        let schema = schema();
        let listen = schema
            .pointer("/properties/listen/items/properties")
            .unwrap();
        assert_eq!(
            listen["backlog"],
            json!({
                "type": ["integer", "string"],
                "minimum": 1,
                "maximum": 65535,
                "pattern": ENVIRONMENT,
                "description": "Pending connections that the kernel keeps (`listen ... backlog`).",
                "default": 511,
            })
        );
        assert_eq!(listen["keepalive_timeout"]["default"], "75s");
        let server = schema.pointer("/properties/server/properties").unwrap();
        assert_eq!(server["keepalive_timeout"], listen["keepalive_timeout"]);
    }

    #[test]
    fn unknown_keys_are_refused_but_where_they_are_a_plugins_settings() {
        let schema = schema();
        let upstream = schema
            .pointer("/properties/upstream/additionalProperties")
            .unwrap();
        assert_eq!(upstream["additionalProperties"], false);
        let server = &upstream["properties"]["servers"]["items"]["anyOf"][1];
        assert_eq!(server["required"], json!(["address"]));
        let policy = &upstream["properties"]["policy"]["anyOf"];
        assert_eq!(policy[0]["type"], "string");
        assert_eq!(policy[1]["additionalProperties"], true);
        let words = ["plugin", "filters", "scorers", "fallback"];
        assert!(
            words
                .iter()
                .all(|word| policy[1]["properties"][word].is_object())
        );
        let hook = schema.pointer("/properties/hook/additionalProperties");
        assert_eq!(hook.unwrap()["additionalProperties"], true);
        for place in ["listen", "route", "stream"] {
            let item = format!("/properties/{place}/items/properties/hooks/items/anyOf/1");
            let item = schema.pointer(&item).unwrap();
            assert_eq!(item["additionalProperties"], true, "{place}");
            assert_eq!(item["properties"]["on_error"]["default"], "fail", "{place}");
        }
    }

    #[test]
    fn keys_of_later_versions_are_left_out() {
        let schema = schema();
        let listen = schema.pointer("/properties/listen/items/properties");
        assert_eq!(listen.unwrap().get("http3"), None);
    }
}
