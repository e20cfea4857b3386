//! Routes of a server with the hosts and listeners that they are for.

use std::collections::HashSet;

use super::conditions::Test;
use super::hosts::{Target, overlaps};
use super::steps::Gate;
use super::writer::{Block, Table, text, texts};

/// Whether `$host`, whose letters are small, is compared with one name: then it is a `host` of a route.
pub(super) fn is_of_one_host(gate: &Gate) -> bool {
    let Gate { condition, .. } = gate;
    let is_letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_label = |label: &str| !label.is_empty() && label.chars().all(is_letter);
    let is_equal = matches!(&condition.test, Test::Equal(host) if host.split('.').all(is_label));
    condition.variable == "host" && is_equal && !condition.is_negated
}

/// Adds the routes of `if ($host = ...)`s whose hosts are the target's, each behind what other `if`s
/// answer before. Returns the target with what is left of it: none where they have answered all of its
/// hosts. `answered`: the listeners and hosts that have such a route already, of which nginx takes the
/// first `if`. `is_own`: whether a host comes to this server at a listener.
pub(super) fn of_hosts(
    gates: &[Gate],
    target: &Target,
    is_own: &dyn Fn(&str, &str) -> bool,
    answered: &mut HashSet<(String, String)>,
    routes: &mut Vec<Block>,
) -> Option<Target> {
    let mut hosts = target.hosts.clone();
    for (place, gate) in gates.iter().enumerate() {
        let Test::Equal(host) = &gate.condition.test else {
            continue;
        };
        if !is_of_one_host(gate) {
            continue;
        }
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
        listen.retain(|listen| {
            is_own(listen, host) && answered.insert((listen.clone(), host.clone()))
        });
        if listen.is_empty() {
            continue;
        }
        let keys = Table::new()
            .with("listen", texts(&listen))
            .with("host", text(host));
        let before = gates
            .iter()
            .take(place)
            .filter(|before| !is_of_one_host(before));
        let before: Vec<Gate> = before.cloned().collect();
        for mut block in of_gates(&before).into_iter().chain([gate.block.clone()]) {
            block.keys = keys.clone().followed_by(block.keys);
            routes.push(block);
        }
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
