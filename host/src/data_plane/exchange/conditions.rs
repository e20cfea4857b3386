//! Whether a request is one of those that a route takes.

use super::state::Exchange;
use crate::config::model::{Conditions, ValueCondition};
use crate::http::variable::VariableSource;

/// Whether all of it holds.
pub(super) fn hold(conditions: &Conditions, exchange: &Exchange) -> bool {
    let Conditions {
        methods,
        clients,
        values,
    } = conditions;
    let method = exchange.request.method();
    (methods.is_empty() || methods.iter().any(|each| each.as_bytes() == method))
        && clients
            .as_ref()
            .is_none_or(|networks| networks.has(exchange.remote_ip()))
        && (values.is_empty() || all_hold(values, exchange))
}

fn all_hold(values: &[ValueCondition], exchange: &Exchange) -> bool {
    let mut value = Vec::new();
    values.iter().all(|condition| {
        value.clear();
        exchange.append(&condition.variable, &mut value);
        condition.holds(&value)
    })
}
