//! What many blocks say alike is said once.

use super::writer::{Block, Table};

/// Moves what all blocks say alike to `[server]`, and what most of them say where all say something.
pub(super) fn hoist(blocks: &mut [Block], server: &mut Table) {
    for key in [
        "trusted_proxies",
        "real_ip_header",
        "real_ip_recursive",
        "access_log",
        "client_max_body_size",
        "client_body_timeout",
        "client_header_timeout",
        "keepalive_timeout",
        "keepalive_time",
        "keepalive_requests",
        "send_timeout",
        "client_header_size",
        "max_headers",
        "underscores_in_headers",
    ] {
        let values: Vec<Option<&str>> = blocks.iter().map(|block| block.keys.get(key)).collect();
        let is_route = |block: &Block| block.title == "[[route]]";
        // Of a route with `return`, `send_timeout` is none of its keys.
        if key == "send_timeout" && blocks.iter().any(is_route) {
            continue;
        }
        // A route that answers by itself reads no body.
        let counts =
            |block: &Block| !(key.starts_with("client_") && block.keys.get("return").is_some());
        let relevant: Vec<Option<&str>> = blocks
            .iter()
            .zip(values)
            .filter(|(block, _)| counts(block))
            .map(|(_, value)| value)
            .collect();
        if relevant.is_empty() || relevant.iter().any(Option::is_none) || server.get(key).is_some()
        {
            continue;
        }
        let mut counted: Vec<(&str, usize)> = Vec::new();
        for value in relevant.into_iter().flatten() {
            match counted.iter_mut().find(|(known, _)| *known == value) {
                Some((_, count)) => *count += 1,
                None => counted.push((value, 1)),
            }
        }
        // Of several that are as many, the first.
        let most = counted.iter().rev().max_by_key(|(_, count)| *count);
        let Some((value, _)) = most.map(|(value, count)| ((*value).to_owned(), *count)) else {
            continue;
        };
        for block in blocks.iter_mut() {
            if block.keys.get(key) == Some(&*value) {
                block.keys.remove(key);
            }
        }
        server.set(key, value);
    }
}
