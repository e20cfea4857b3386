//! Routes of a server with the hosts and listeners that they are for.

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

/// The route of an `if ($host = ...)`, where its host is one of the target's.
pub(super) fn host_route(gate: &Gate, target: &Target) -> Option<Block> {
    let Test::Equal(host) = &gate.condition.test else {
        return None;
    };
    let is_of_target = target.hosts.as_ref().is_none_or(|hosts| {
        hosts
            .iter()
            .any(|name| overlaps(name, host) || name == host)
    });
    let keys = Table::new()
        .with("listen", texts(&target.listen))
        .with("host", text(host));
    is_of_target.then(|| {
        let mut block = gate.block.clone();
        block.keys = keys.followed_by(block.keys);
        block
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
