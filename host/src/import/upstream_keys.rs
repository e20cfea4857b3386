//! What all routes to an upstream say alike of its servers is said once, in the upstream.

use std::collections::HashMap;

use super::writer::Block;

/// Keys of a route that its upstream may have.
const KEYS: [&str; 7] = [
    "connect_timeout",
    "send_timeout",
    "read_timeout",
    "next_upstream",
    "next_upstream_tries",
    "next_upstream_timeout",
    "body_buffer_size",
];

/// The upstream that a `proxy` names as it is written; none where the request says which.
fn named(proxy: &str) -> Option<&str> {
    let text = proxy.trim_matches(['"', '\'']);
    let authority = text.split_once("://").map_or(text, |(_, rest)| rest);
    let end = authority.find(['/', '$']).unwrap_or(authority.len());
    authority.get(..end).filter(|name| !name.is_empty())
}

/// Moves what all routes to an upstream say alike there: of several, as one alone keeps its own.
pub(super) fn hoist_to_upstreams(routes: &mut [Block], streams: &[Block], upstreams: &mut [Block]) {
    let mut users: HashMap<String, Vec<usize>> = HashMap::new();
    for (number, route) in routes.iter().enumerate() {
        let Some(proxy) = route.keys.get("proxy") else {
            continue;
        };
        // Which of them a request names is not known.
        if route.keys.get("proxy_allow").is_some() || named(proxy).is_none() {
            return;
        }
        if let Some(name) = named(proxy) {
            users.entry(name.to_owned()).or_default().push(number);
        }
    }
    for stream in streams {
        let mut written = String::new();
        stream.render(&[], &mut written);
        users.retain(|name, _| !written.contains(name.as_str()));
    }
    for upstream in upstreams {
        let name = upstream.title.trim_start_matches("[upstream.");
        let name = name.trim_end_matches(']').trim_matches('"');
        let Some(numbers) = users.get(name).filter(|numbers| numbers.len() > 1) else {
            continue;
        };
        for key in KEYS {
            let mut values = numbers
                .iter()
                .map(|number| routes.get(*number)?.keys.get(key));
            let Some(value) = values.next().flatten().map(str::to_owned) else {
                continue;
            };
            if upstream.keys.get(key).is_some() || !values.all(|other| other == Some(&*value)) {
                continue;
            }
            for number in numbers {
                if let Some(route) = routes.get_mut(*number) {
                    route.keys.remove(key);
                }
            }
            upstream.keys.set(key, value);
        }
    }
}
