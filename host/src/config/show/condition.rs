//! `when`, as the file writes it.

use super::{inline_table, text, texts};
use crate::config::model::{Conditions, Networks, ValueCondition, ValuePattern};

pub(super) fn when(conditions: &Conditions) -> String {
    inline_table(parts(conditions))
}

/// What stands within.
pub(super) fn parts(conditions: &Conditions) -> Vec<String> {
    let mut parts = Vec::new();
    if !conditions.methods.is_empty() {
        parts.push(format!("method = {}", texts(&conditions.methods)));
    }
    if let Some(Networks { within, outside }) = &conditions.clients {
        let within = within.iter().map(ToString::to_string);
        let outside = outside.iter().map(|network| format!("!{network}"));
        parts.push(format!("client = {}", texts(within.chain(outside))));
    }
    // All of one key stand together, as they were read.
    for of_key in conditions.values.chunk_by(|one, next| one.key == next.key) {
        if let Some(first) = of_key.first() {
            let values = inline_table(of_key.iter().map(value));
            parts.push(format!("{} = {values}", first.key));
        }
    }
    parts
}

fn value(condition: &ValueCondition) -> String {
    let any_of = condition.any_of.iter().map(ValuePattern::spelling);
    let none_of = condition.none_of.iter();
    let none_of = none_of.map(|pattern| format!("!{}", pattern.spelling()));
    let patterns = texts(any_of.chain(none_of));
    format!("{} = {patterns}", text(&condition.name))
}
