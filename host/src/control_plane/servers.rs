//! Changes to an upstream's servers at run time. They last until the next reload, which makes the
//! file true again.

use serde_json::{Map, Value};

use super::operator::ChangeRefused;
use crate::config::model::{UpstreamConfig, UpstreamServer};
use crate::names::Resolution;

/// One change.
#[derive(Debug)]
pub(super) enum ServerChange {
    /// A server with the keys of `servers` in the configuration.
    Add(Map<String, Value>),
    Remove {
        server: String,
    },
    Alter {
        server: String,
        weight: Option<u32>,
        down: Option<bool>,
    },
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
    upstream.servers.push(server);
    Ok(done)
}

/// Removes a server; what was done, in words.
///
/// # Errors
/// Where there is no such server, or no other.
pub(super) fn remove(
    upstream: &mut UpstreamConfig,
    server: &str,
    resolution: &Resolution,
) -> Result<String, ChangeRefused> {
    let index = find(upstream, server, resolution)?;
    let primaries = upstream.servers.iter().filter(|server| !server.backup);
    if primaries.count() == 1 && !upstream.servers[index].backup {
        let name = &upstream.name;
        let message = format!("`{server}` is the last server of upstream `{name}`");
        return Err(ChangeRefused::Conflict(message));
    }
    upstream.servers.remove(index);
    Ok(format!("server `{server}` removed"))
}

/// Changes a server; what was done, in words.
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
    let altered = &mut upstream.servers[index];
    let mut done = format!("server `{server}`:");
    if let Some(weight) = weight {
        if !(1..=65_535).contains(&weight) {
            let message = format!("`weight` must be from 1 to 65535, not {weight}");
            return Err(ChangeRefused::Failed(message));
        }
        altered.weight = weight;
        done += &format!(" weight {weight}");
    }
    if let Some(down) = down {
        altered.down = down;
        done += match down {
            true => " draining",
            false => " in rotation again",
        };
    }
    Ok(done)
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
        let name = format!("server `{name}` in upstream `{}`", upstream.name);
        ChangeRefused::Unknown(name)
    };
    found.ok_or_else(unknown)
}
