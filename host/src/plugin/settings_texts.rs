//! The texts in a plugin's settings: it may reach files and upstreams that the operator has named there,
//! and no others.

use serde_json::Value;

/// Calls `each` with every text in these settings, but for the names of keys.
pub fn each_text(settings: &Value, each: &mut dyn FnMut(&str)) {
    match settings {
        Value::String(text) => each(text),
        Value::Array(items) => items.iter().for_each(|item| each_text(item, each)),
        Value::Object(entries) => entries.values().for_each(|value| each_text(value, each)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
