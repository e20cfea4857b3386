//! `[variable.NAME]`, as the file writes it.

use super::{TomlWriter, text};
use crate::config::tree::key_text;
use crate::http::definition::{Computation, Definition};
use crate::http::template::Template;

pub(super) fn variable(out: &mut TomlWriter, definition: &Definition) {
    let name = key_text(&definition.name);
    let header = format!("[variable.{name}]");
    out.header(&header);
    let entries: Vec<(String, String)> = match &definition.computation {
        Computation::Value(value) => {
            out.key("value", text(&value.to_string()));
            return;
        }
        Computation::Map(map) => {
            from_and_default(out, Some(&map.from), &map.default);
            let entries = map.entries();
            let entries = entries.map(|(key, value)| (key.to_owned(), value.to_string()));
            entries.collect()
        }
        Computation::Networks(networks) => {
            from_and_default(out, networks.from.as_ref(), &networks.default);
            let entries = networks.entries();
            let entries = entries.map(|(network, value)| (network.to_string(), value.to_string()));
            entries.collect()
        }
        Computation::Split(split) => {
            from_and_default(out, Some(&split.from), &split.default);
            let shares = split.shares.iter();
            let entries = shares.map(|(share, value)| (value.to_string(), share.to_string()));
            entries.collect()
        }
    };
    out.header(&format!(
        "[variable.{name}.{}]",
        definition.computation.key()
    ));
    for (key, value) in entries {
        out.key(&key_text(&key), text(&value));
    }
}

fn from_and_default(out: &mut TomlWriter, from: Option<&Template>, default: &Template) {
    if let Some(from) = from {
        out.key("from", text(&from.to_string()));
    }
    out.key("default", text(&default.to_string()));
}
