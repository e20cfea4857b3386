//! Changes to an upstream's servers at run time: by command, and by those who list them.
//!
//! Its own servers are those of the configuration, or of its `state`, with what commands made of
//! them. Behind them are those that its source lists, with what commands said of them beside.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::operator::{ChangeRefused, ChangeResult, Changed, Operator};
use super::publish::Plan;
use super::{resolve, state};
use crate::config::is_same_server;
use crate::config::model::{Overlay, UpstreamConfig, UpstreamServer};
use crate::config::problem::{did_you_mean, suggestion};
use crate::names::{Learned, Resolution};

/// Servers that whoever names an unknown one is told of at most.
const NAMED: usize = 8;

/// One change.
pub(super) enum ServerChange {
    /// A server with the keys of `servers` in the configuration, and what its name stands for.
    Add {
        keys: Map<String, Value>,
        learned: Learned,
    },
    Remove {
        server: String,
    },
    Alter {
        server: String,
        weight: Option<u32>,
        down: Option<bool>,
    },
}

impl Operator {
    /// Changes the servers of an upstream.
    pub(super) async fn change_servers(
        &mut self,
        upstream: &str,
        change: ServerChange,
    ) -> ChangeResult {
        let present = self.published.load_full();
        let mut config = present.snapshot.config.clone();
        let group = config
            .upstreams
            .iter_mut()
            .find(|group| group.name == upstream);
        let Some(group) = group.map(Arc::make_mut) else {
            return Err(ChangeRefused::Unknown(format!("upstream `{upstream}`")));
        };
        if group.dynamic.is_some() {
            let message =
                format!("upstream `{upstream}` has the servers of the name that requests give");
            return Err(ChangeRefused::Conflict(message));
        }
        let mut plan = Plan::of(&present);
        let done = match change {
            ServerChange::Add { keys, learned } => {
                let server = crate::config::server(keys, group)?;
                if let Some(name) = resolve::name(&server) {
                    if let Some(why) = learned.unanswered.get(name) {
                        return Err(vec![resolve::not_added(&server, name, why)].into());
                    }
                    if !learned.resolution.knows(name) {
                        let message = format!(
                            "upstream `{upstream}` has changed while `{name}` was looked up: add it again"
                        );
                        return Err(ChangeRefused::Conflict(message));
                    }
                    plan.resolution = present.resolution.updated(&learned.resolution);
                }
                add(group, server, &plan.resolution)?
            }
            ServerChange::Remove { server } => remove(group, &server, &plan.resolution)?,
            ServerChange::Alter {
                server,
                weight,
                down,
            } => alter(group, &server, weight, down, &plan.resolution)?,
        };
        let warnings = Vec::from_iter(none_left(group));
        let pending = state::write(group).await?;
        let generation = self.publish(config, plan).await?;
        if let Err(refusal) = pending.settle().await {
            tracing::error!("upstream `{upstream}`: {refusal}");
            let plan = Plan::of(&present);
            self.publish(present.snapshot.config.clone(), plan).await?;
            return Err(refusal);
        }
        tracing::info!("upstream `{upstream}`: {done}");
        for warning in &warnings {
            tracing::warn!("{warning}");
        }
        Ok(Changed {
            generation,
            warnings,
        })
    }
}

/// Gives an upstream the servers that its source lists, in place of those that it listed before.
/// One of its own that is listed as well stays its own.
pub(super) fn list(upstream: &mut UpstreamConfig, listed: &[UpstreamServer]) {
    upstream.servers.retain(|server| !server.listed);
    let own = upstream.servers.len();
    for server in listed {
        let mut others = upstream.servers.iter().take(own);
        if !others.any(|other| is_same_server(other, server)) {
            upstream.servers.push(server.clone());
        }
    }
    let servers = upstream.servers.split_at_mut(own).1;
    upstream.overlays.retain(|overlay| {
        let server = servers
            .iter_mut()
            .find(|server| server.spelling == overlay.server);
        let Some(server) = server else {
            return false;
        };
        server.weight = overlay.weight.unwrap_or(server.weight);
        server.down_by_command = !server.down && overlay.down == Some(true);
        server.down = overlay.down.unwrap_or(server.down);
        true
    });
}

/// Adds a server; what was done, in words.
///
/// # Errors
/// Where one of its addresses is there already.
pub(super) fn add(
    upstream: &mut UpstreamConfig,
    server: UpstreamServer,
    resolution: &Resolution,
) -> Result<String, ChangeRefused> {
    let addresses = resolution.addresses(&server);
    let mut addresses = addresses.iter().map(ToString::to_string);
    if let Some(taken) = addresses.find(|address| find(upstream, address, resolution).is_ok()) {
        let message = format!("upstream `{}` has `{taken}` already", upstream.name);
        return Err(ChangeRefused::Conflict(message));
    }
    let done = format!("server `{}` added", server.spelling);
    let own = upstream.servers.iter().take_while(|server| !server.listed);
    let own = own.count();
    upstream.servers.insert(own, server);
    Ok(done)
}

/// Removes a server; what was done, in words.
///
/// # Errors
/// Where there is no such server, or no other, or where the source lists it.
pub(super) fn remove(
    upstream: &mut UpstreamConfig,
    server: &str,
    resolution: &Resolution,
) -> Result<String, ChangeRefused> {
    let index = find(upstream, server, resolution)?;
    let name = &upstream.name;
    if upstream.servers[index].listed {
        let source = upstream.source.as_ref();
        let source = source.map_or_else(String::new, ToString::to_string);
        let message = format!(
            "`{server}` is listed by {source}, which would bring it back: take it out there, or send it no \
             more requests by `waypost upstream drain {name} {server}`"
        );
        return Err(ChangeRefused::Conflict(message));
    }
    let primaries = upstream.servers.iter().filter(|server| !server.backup);
    if primaries.count() == 1 && !upstream.servers[index].backup {
        let has_backup = upstream.servers.len() > 1;
        let but = if has_backup { " that is no backup" } else { "" };
        let message = format!("`{server}` is the last server of upstream `{name}`{but}");
        return Err(ChangeRefused::Conflict(message));
    }
    upstream.servers.remove(index);
    Ok(format!("server `{server}` removed"))
}

/// Changes a server; what was done, in words. Of one that the source lists, for as long as it does.
///
/// # Errors
/// Where there is no such server, or no such weight.
pub(super) fn alter(
    upstream: &mut UpstreamConfig,
    server: &str,
    weight: Option<u32>,
    down: Option<bool>,
    resolution: &Resolution,
) -> Result<String, ChangeRefused> {
    let index = find(upstream, server, resolution)?;
    let UpstreamConfig { name, servers, .. } = upstream;
    let altered = &mut servers[index];
    let mut done = format!("server `{server}`:");
    if let Some(weight) = weight {
        if !(1..=65_535).contains(&weight) {
            let mut message = format!("`weight` must be from 1 to 65535, not {weight}");
            if weight == 0 {
                message += &format!(
                    ": `waypost upstream drain {name} {server}` sends it no more requests"
                );
            }
            return Err(ChangeRefused::Failed(message));
        }
        altered.weight = weight;
        done += &format!(" weight {weight}");
    }
    if let Some(down) = down {
        // What the configuration says already is not made so by a command.
        altered.down_by_command = down && (altered.down_by_command || !altered.down);
        altered.down = down;
        done += match down {
            true => " draining",
            false => " in rotation again",
        };
    }
    if altered.listed {
        let spelling = altered.spelling.clone();
        lay_over(&mut upstream.overlays, spelling, weight, down);
    }
    Ok(done)
}

fn lay_over(overlays: &mut Vec<Overlay>, server: String, weight: Option<u32>, down: Option<bool>) {
    let known = overlays.iter_mut().find(|overlay| overlay.server == server);
    match known {
        Some(overlay) => {
            overlay.weight = weight.or(overlay.weight);
            overlay.down = down.or(overlay.down);
        }
        None => overlays.push(Overlay {
            server,
            weight,
            down,
        }),
    }
}

/// A warning, where all servers of an upstream are down.
pub(super) fn none_left(upstream: &UpstreamConfig) -> Option<String> {
    let name = &upstream.name;
    let none_is_left = upstream.servers.iter().all(|server| server.down);
    none_is_left.then(|| {
        format!(
            "no server of upstream `{name}` is left to take requests, which get 502: \
             `waypost upstream resume {name} SERVER` brings one back"
        )
    })
}

/// The server of that spelling or address.
fn find(
    upstream: &UpstreamConfig,
    name: &str,
    resolution: &Resolution,
) -> Result<usize, ChangeRefused> {
    let found = upstream.servers.iter().position(|server| {
        let addresses = resolution.addresses(server);
        let mut addresses = addresses.iter().map(ToString::to_string);
        server.spelling == name || addresses.any(|address| address == name)
    });
    let unknown = || {
        let known = upstream.servers.iter().map(|server| &*server.spelling);
        let near = did_you_mean(name, known.clone()).unwrap_or_else(|| {
            let some = suggestion(name, known.take(NAMED), "its servers are");
            match upstream.servers.len().saturating_sub(NAMED) {
                0 => some,
                more => format!("{some} and {more} more"),
            }
        });
        let name = format!("server `{name}` in upstream `{}`; {near}", upstream.name);
        ChangeRefused::Unknown(name)
    };
    found.ok_or_else(unknown)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;
    use crate::config::check_list;

    fn upstream() -> UpstreamConfig {
        let text = "[[listen]]\naddress = \"127.0.0.1:0\"\n[upstream.u]\nservers = [\"10.0.0.1\"]\n\
                    servers_from = { file = \"a.json\" }\n";
        let config = crate::config::parse(text, Path::new("test.toml")).unwrap();
        UpstreamConfig::clone(&config.upstreams[0])
    }

    fn listed(addresses: &[&str], upstream: &UpstreamConfig) -> Vec<UpstreamServer> {
        let items: Vec<_> = addresses.iter().map(|address| json!(address)).collect();
        let mut servers = check_list(&items, "", upstream).unwrap().servers;
        servers.iter_mut().for_each(|server| server.listed = true);
        servers
    }

    fn spellings(upstream: &UpstreamConfig) -> Vec<&str> {
        let servers = upstream.servers.iter();
        servers.map(|server| &*server.spelling).collect()
    }

    #[test]
    fn listed_servers_come_behind_the_upstreams_own_and_replace_those_listed_before() {
        let mut upstream = upstream();
        let two = listed(&["10.0.0.2", "10.0.0.1:80"], &upstream);
        list(&mut upstream, &two);
        assert_eq!(spellings(&upstream), ["10.0.0.1", "10.0.0.2"]);
        let (none, three) = (Resolution::default(), listed(&["10.0.0.3"], &upstream));
        let own = listed(&["10.0.0.9"], &upstream).remove(0);
        let own = UpstreamServer {
            listed: false,
            ..own
        };
        add(&mut upstream, own, &none).unwrap();
        assert_eq!(spellings(&upstream), ["10.0.0.1", "10.0.0.9", "10.0.0.2"]);
        list(&mut upstream, &three);
        assert_eq!(spellings(&upstream), ["10.0.0.1", "10.0.0.9", "10.0.0.3"]);
    }

    #[test]
    fn a_server_that_is_not_there_is_answered_with_those_that_are_as_far_as_they_fit() {
        let (mut upstream, none) = (upstream(), Resolution::default());
        let refused = remove(&mut upstream, "app", &none).unwrap_err();
        let expected =
            "the configuration has no server `app` in upstream `u`; its servers are: `10.0.0.1`";
        assert_eq!(refused.to_string(), expected);
        let many: Vec<_> = (2..250).map(|last| format!("10.0.0.{last}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        let many = listed(&many, &upstream);
        list(&mut upstream, &many);
        let refused = remove(&mut upstream, "app", &none).unwrap_err();
        assert!(refused.to_string().len() < 400, "{refused}");
    }

    #[test]
    fn a_weight_of_nothing_is_told_how_to_drain() {
        let (mut upstream, none) = (upstream(), Resolution::default());
        let refused = alter(&mut upstream, "10.0.0.1", Some(0), None, &none).unwrap_err();
        let drain = "`waypost upstream drain u 10.0.0.1`";
        assert!(refused.to_string().contains(drain), "{refused}");
        let refused = alter(&mut upstream, "10.0.0.1", Some(70_000), None, &none).unwrap_err();
        assert!(!refused.to_string().contains("drain"), "{refused}");
    }

    #[test]
    fn what_a_command_says_of_a_listed_server_holds_for_as_long_as_it_is_listed() {
        let (mut upstream, none) = (upstream(), Resolution::default());
        let (two, other) = (
            listed(&["10.0.0.2", "10.0.0.3"], &upstream),
            listed(&["10.0.0.3"], &upstream),
        );
        list(&mut upstream, &two);
        alter(&mut upstream, "10.0.0.2", Some(5), None, &none).unwrap();
        alter(&mut upstream, "10.0.0.2:80", None, Some(true), &none).unwrap();
        list(&mut upstream, &two);
        let altered = &upstream.servers[1];
        assert_eq!((altered.weight, altered.down), (5, true));
        assert!(remove(&mut upstream, "10.0.0.2", &none).is_err());
        list(&mut upstream, &other);
        list(&mut upstream, &two);
        let altered = &upstream.servers[1];
        assert_eq!((altered.weight, altered.down), (1, false));
        assert!(upstream.overlays.is_empty());
    }
}
