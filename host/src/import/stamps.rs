//! Routes of a server with the hosts and listeners that they are for.

use std::collections::HashSet;

use super::conditions::Test;
use super::hosts::{Target, overlaps};
use super::steps::Gate;
use super::writer::{Block, Table, text, texts};

/// Whether `$host` is compared with one name: then it is a `host` of a route.
pub(super) fn is_of_one_host(gate: &Gate) -> bool {
    let Gate { condition, .. } = gate;
    let is_equal = matches!(&condition.test, Test::Equal(host) if host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-')) && !host.is_empty());
    condition.variable == "host" && is_equal && !condition.is_negated
}

/// Adds the routes of `if ($host = ...)`s whose hosts are the target's. Returns the target with what is
/// left of it: none where they have answered all of its hosts. `answered`: the listeners and hosts that
/// have such a route already, of which nginx takes the first `if`.
pub(super) fn of_hosts(
    gates: &[Gate],
    target: &Target,
    answered: &mut HashSet<(String, String)>,
    routes: &mut Vec<Block>,
) -> Option<Target> {
    let mut hosts = target.hosts.clone();
    for gate in gates {
        let Test::Equal(host) = &gate.condition.test else {
            continue;
        };
        let is_with_below = |name: &String| name.strip_prefix('.') == Some(host);
        let is_of_target = target.hosts.as_ref().is_none_or(|hosts| {
            let mut names = hosts.iter();
            names.any(|name| overlaps(name, host) || name == host || is_with_below(name))
        });
        if !is_of_target {
            continue;
        }
        if let Some(hosts) = &mut hosts {
            hosts.retain(|name| name != host);
            for name in hosts.iter_mut().filter(|name| is_with_below(name)) {
                name.insert(0, '*');
            }
        }
        let mut listen = target.listen.clone();
        listen.retain(|listen| answered.insert((listen.clone(), host.clone())));
        if listen.is_empty() {
            continue;
        }
        let keys = Table::new()
            .with("listen", texts(&listen))
            .with("host", text(host));
        let mut block = gate.block.clone();
        block.keys = keys.followed_by(block.keys);
        routes.push(block);
    }
    let is_left = hosts.as_ref().is_none_or(|hosts| !hosts.is_empty());
    is_left.then(|| Target {
        listen: target.listen.clone(),
        hosts,
        is_closed: target.is_closed,
    })
}

pub(super) fn of_gates(gates: &[Gate]) -> Vec<Block> {
    let route = |gate: &Gate| {
        let mut block = gate.block.clone();
        block.keys = Table::new()
            .with("when", gate.condition.when().inline())
            .followed_by(block.keys);
        block
    };
    gates.iter().map(route).collect()
}

/// A route of a target.
pub(super) fn stamped(mut block: Block, target: &Target) -> Block {
    let mut keys = Table::new().with("listen", texts(&target.listen));
    if let Some(hosts) = &target.hosts {
        keys.set("host", texts(hosts));
    }
    // `/` is the default.
    if block.keys.get("path") == Some(&*text("/")) {
        block.keys.remove("path");
    }
    block.keys = keys.followed_by(block.keys);
    block
}

/// A route for requests of which a condition holds besides.
pub(super) fn with_when(mut block: Block, when: &Table) -> Block {
    if !when.is_empty() {
        block.keys = Table::new()
            .with("when", when.inline())
            .followed_by(block.keys);
    }
    block
}

/// Two conditions that both have to hold.
pub(super) fn merged(first: &Table, second: &Table) -> Table {
    let mut both = first.clone();
    for (name, value) in second.pairs() {
        let value = match both.get(name) {
            // Tables of names: both of their keys.
            Some(known) if known.starts_with('{') && value.starts_with('{') => {
                let (known, more) = (
                    known.trim_end_matches([' ', '}']),
                    value.trim_start_matches(['{', ' ']),
                );
                format!("{known}, {more}")
            }
            _ => value.to_owned(),
        };
        both.set(name, value);
    }
    both
}
