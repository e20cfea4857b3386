//! Changes to an upstream's servers at run time. They last until the next reload, which makes the
//! file true again.

use serde_json::{Map, Value};

use super::operator::ChangeRefused;
use crate::config;
use crate::config::model::UpstreamConfig;

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

/// Makes the change; what was done, in words.
///
/// # Errors
/// Why it cannot be made; the upstream is as it was.
pub(super) fn apply(
    upstream: &mut UpstreamConfig,
    change: &ServerChange,
) -> Result<String, ChangeRefused> {
    match change {
        ServerChange::Add(keys) => {
            let server = config::server(keys, &upstream.policy.plugin, upstream.tls.as_ref())?;
            let mut addresses = server.addresses.iter().map(ToString::to_string);
            let taken = addresses.find(|address| find(upstream, address).is_ok());
            if let Some(address) = taken {
                let message = format!("upstream `{}` has `{address}` already", upstream.name);
                return Err(ChangeRefused::Conflict(message));
            }
            let said = format!("server `{}` added", server.spelling);
            upstream.servers.push(server);
            Ok(said)
        }
        ServerChange::Remove { server } => {
            let index = find(upstream, server)?;
            let primaries = upstream
                .servers
                .iter()
                .filter(|server| !server.backup)
                .count();
            if primaries == 1 && !upstream.servers[index].backup {
                let message = format!(
                    "`{server}` is the last server of upstream `{}`",
                    upstream.name
                );
                return Err(ChangeRefused::Conflict(message));
            }
            upstream.servers.remove(index);
            Ok(format!("server `{server}` removed"))
        }
        ServerChange::Alter {
            server,
            weight,
            down,
        } => {
            let index = find(upstream, server)?;
            let altered = &mut upstream.servers[index];
            let mut said = format!("server `{server}`:");
            if let Some(weight) = *weight {
                if !(1..=65_535).contains(&weight) {
                    let message = format!("`weight` must be from 1 to 65535, not {weight}");
                    return Err(ChangeRefused::Failed(message));
                }
                altered.weight = weight;
                said += &format!(" weight {weight}");
            }
            if let Some(down) = *down {
                altered.down = down;
                said += if down {
                    " draining"
                } else {
                    " in rotation again"
                };
            }
            Ok(said)
        }
    }
}

/// The server of that spelling or address.
fn find(upstream: &UpstreamConfig, name: &str) -> Result<usize, ChangeRefused> {
    let found = upstream.servers.iter().position(|server| {
        let mut addresses = server.addresses.iter();
        server.spelling == name || addresses.any(|address| address.to_string() == name)
    });
    let unknown =
        || ChangeRefused::Unknown(format!("server `{name}` in upstream `{}`", upstream.name));
    found.ok_or_else(unknown)
}
