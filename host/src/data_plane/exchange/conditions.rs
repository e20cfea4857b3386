//! Whether a request is one of those that a route takes.

use super::state::Exchange;
use crate::config::model::{Conditions, Networks, ValueCondition, ValuePattern};
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
            .is_none_or(|networks| is_in(networks, exchange))
        && (values.is_empty() || all_fit(values, exchange))
}

/// A client without an address, behind a unix socket, is in no network.
fn is_in(networks: &Networks, exchange: &Exchange) -> bool {
    let ip = exchange.remote_ip();
    let any = |networks: &[ipnet::IpNet]| {
        ip.is_some_and(|ip| networks.iter().any(|network| network.contains(&ip)))
    };
    (networks.within.is_empty() || any(&networks.within)) && !any(&networks.outside)
}

fn all_fit(values: &[ValueCondition], exchange: &Exchange) -> bool {
    let mut value = Vec::new();
    values.iter().all(|condition| {
        value.clear();
        exchange.append(&condition.variable, &mut value);
        let fits = |patterns: &[ValuePattern]| patterns.iter().any(|each| each.fits(&value));
        (condition.any_of.is_empty() || fits(&condition.any_of)) && !fits(&condition.none_of)
    })
}
