//! The names of a configuration: which there are, and what is said of those without an address.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::config::model::{
    Config, Lookup, ServerLocation, ServerName, UpstreamConfig, UpstreamServer,
};
use crate::config::problem::{Problem, did_you_mean};
use crate::names::{NamesToFollow, Resolution, Supposed, Unanswered};

/// The names of all servers.
pub(super) fn names(config: &Config) -> BTreeSet<ServerName> {
    names_of(config.upstreams.iter())
}

/// The names of all servers, to be looked after: those that only a pattern allows requests to make have
/// a share of the questions, as they had when they were made.
pub(super) fn names_to_follow(config: &Config) -> NamesToFollow {
    let mut names = NamesToFollow::new();
    for upstream in &config.upstreams {
        let by_pattern = upstream.dynamic.is_some() && !upstream.is_listed;
        for name in upstream.servers.iter().filter_map(name) {
            let only_by_pattern = names.entry(name.clone()).or_insert(by_pattern);
            *only_by_pattern &= by_pattern;
        }
    }
    names
}

/// Those that the configuration has itself, and no request has made.
pub(super) fn names_of_its_own(config: &Config) -> BTreeSet<ServerName> {
    let upstreams = config.upstreams.iter();
    names_of(upstreams.filter(|upstream| upstream.dynamic.is_none()))
}

fn names_of<'a>(upstreams: impl Iterator<Item = &'a Arc<UpstreamConfig>>) -> BTreeSet<ServerName> {
    let servers = upstreams.flat_map(|upstream| &upstream.servers);
    servers.filter_map(name).cloned().collect()
}

/// The name of a server, if it has one.
pub(super) fn name(server: &UpstreamServer) -> Option<&ServerName> {
    match &server.location {
        ServerLocation::Name(name) => Some(name),
        ServerLocation::Address(_) => None,
    }
}

/// What new names of a configuration stood for when the same upstreams asked others about them.
pub(super) fn supposed(served: &Config, resolution: &Resolution, next: &Config) -> Supposed {
    let by_name = served
        .upstreams
        .iter()
        .map(|upstream| (&*upstream.name, upstream));
    let by_name: HashMap<&str, &Arc<UpstreamConfig>> = by_name.collect();
    let mut supposed = Supposed::new();
    for upstream in &next.upstreams {
        let Some(before) = by_name.get(&*upstream.name) else {
            continue;
        };
        if before.resolver == upstream.resolver && before.servers == upstream.servers {
            continue;
        }
        for new in upstream.servers.iter().filter_map(name) {
            let mut before = before.servers.iter().filter_map(name);
            let same = before.find(|old| (&old.host, &old.lookup) == (&new.host, &new.lookup));
            let located = same.map(|same| resolution.of(same).located);
            if let Some(located) = located.filter(|located| !located.is_empty()) {
                supposed.insert(new.clone(), located);
            }
        }
    }
    supposed
}

/// The name of a server that is to be added with these keys: none where it has none, or where it
/// cannot be added.
pub(super) fn name_to_add(
    config: &Config,
    upstream: &str,
    keys: &Map<String, Value>,
) -> Option<ServerName> {
    let mut upstreams = config.upstreams.iter();
    let upstream = upstreams.find(|other| other.name == upstream)?;
    let server = crate::config::server(keys.clone(), upstream).ok()?;
    name(&server).cloned()
}

/// What is said of names without an address.
#[derive(Default)]
pub(super) struct Unknown {
    /// Of those that are resolved once: they cannot be served without.
    pub(super) problems: Vec<Problem>,
    /// Of all others.
    pub(super) warnings: Vec<Problem>,
}

impl Unknown {
    /// Each at the server that has it.
    pub(super) fn of(config: &Config, unanswered: &Unanswered) -> Unknown {
        let mut unknown = Unknown::default();
        for upstream in &config.upstreams {
            for server in &upstream.servers {
                let Some(name) = name(server) else { continue };
                let Some(why) = unanswered.get(name) else {
                    continue;
                };
                let problem = not_found(config, server, name, why);
                // What others list must not keep a configuration from being served.
                match name.is_once() && !server.listed {
                    true => unknown.problems.push(problem),
                    false => unknown.warnings.push(problem),
                }
            }
        }
        unknown
    }
}

/// In nginx's words.
fn not_found(config: &Config, server: &UpstreamServer, name: &ServerName, why: &str) -> Problem {
    let spelling = &server.spelling;
    let message = format!("host not found in upstream `{spelling}` ({why})");
    // What a route names is an upstream's name, or else an address.
    let names = config.upstreams.iter().map(|upstream| &*upstream.name);
    let (same, others): (Vec<_>, Vec<_>) = names.partition(|name| **name == *spelling);
    let near = match same.is_empty() {
        true => None,
        false => did_you_mean(spelling, others),
    };
    let own_servers = !name.resolver.addresses.is_empty();
    let hint = near.unwrap_or_else(|| match &name.lookup {
        _ if !name.is_once() => {
            "it gets requests once the name is known, and they are a 502 until \
                                then if there is no other server"
                .to_owned()
        }
        Lookup::Addresses(_) if !own_servers => format!(
            "correct the name, or let this machine resolve it: `getent hosts {}`",
            name.host
        ),
        _ => format!("correct the name, or let its name servers know `{name}`"),
    });
    Problem::new(&server.place, message).hint(hint)
}

/// Of a server that is to be added by command.
pub(super) fn not_added(server: &UpstreamServer, name: &ServerName, why: &str) -> Problem {
    let message = format!("host not found in upstream `{}` ({why})", server.spelling);
    let hint = format!("correct the name, or add it once its name servers know `{name}`");
    Problem::new(&server.place, message).hint(hint)
}
