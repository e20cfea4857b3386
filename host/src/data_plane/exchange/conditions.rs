//! Whether a request is one of those that a route takes.

use super::state::Exchange;
use crate::config::model::{Conditions, ValueCondition, ValuePattern};
use crate::http::variable::VariableSource;

/// Whether all of it holds.
pub(super) fn hold(conditions: &Conditions, exchange: &Exchange) -> bool {
    has_method(conditions, exchange)
        && has_client(conditions, exchange)
        && (conditions.values.is_empty() || first_unmet(&conditions.values, exchange).is_none())
}

fn has_method(Conditions { methods, .. }: &Conditions, exchange: &Exchange) -> bool {
    let method = exchange.request.method();
    methods.is_empty() || methods.iter().any(|each| each.as_bytes() == method)
}

fn has_client(Conditions { clients, .. }: &Conditions, exchange: &Exchange) -> bool {
    clients
        .as_ref()
        .is_none_or(|networks| networks.has(exchange.remote_ip()))
}

/// The first that does not hold, and the value that it is about.
fn first_unmet<'a>(
    values: &'a [ValueCondition],
    exchange: &Exchange,
) -> Option<(&'a ValueCondition, Vec<u8>)> {
    let mut value = Vec::new();
    let unmet = values.iter().find(|condition| {
        value.clear();
        exchange.append(&condition.variable, &mut value);
        !condition.holds(&value)
    });
    Some((unmet?, value))
}

/// What does not hold first, in words; none where all of it does.
pub(super) fn unmet(conditions: &Conditions, exchange: &Exchange) -> Option<String> {
    if !has_method(conditions, exchange) {
        let method = exchange.request.method().escape_ascii();
        let methods = conditions.methods.join("`, `");
        return Some(format!("the method is `{method}`, not `{methods}`"));
    }
    if !has_client(conditions, exchange) {
        let client = exchange.remote_address();
        return Some(format!("the client {client} is not in its `client`"));
    }
    let (condition, value) = first_unmet(&conditions.values, exchange)?;
    let spelled = |patterns: &[ValuePattern], not: &str| {
        let spelled = patterns.iter().map(ValuePattern::spelling);
        spelled.map(|each| format!("`{not}{each}`")).collect()
    };
    let mut wanted: Vec<String> = spelled(&condition.any_of, "");
    wanted.extend(spelled(&condition.none_of, "!"));
    Some(format!(
        "{} `{}` is `{}`, and has to be {}",
        condition.key,
        condition.name,
        shown(&value),
        wanted.join(", ")
    ))
}

/// Bytes of a value that are shown.
const SHOWN: usize = 128;

/// A value as it is shown: in one line, and not without end.
pub(super) fn shown(value: &[u8]) -> String {
    let more = if value.len() > SHOWN { "..." } else { "" };
    match std::str::from_utf8(value) {
        Ok(text) => {
            let part = &text[..text.floor_char_boundary(SHOWN)];
            part.escape_debug()
                .to_string()
                .replace("\\\"", "\"")
                .replace("\\'", "'")
                + more
        }
        Err(_) => format!("{}{more}", value[..value.len().min(SHOWN)].escape_ascii()),
    }
}
