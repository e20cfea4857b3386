//! `state`: what commands have changed of an upstream's servers, kept in a file (nginx Plus:
//! `state` of `ngx_http_upstream_module`).
//!
//! Once the file is there, it has the upstream's servers, and those of the configuration are only
//! what it began with. Without a `state`, the configuration is true again with the next reload: what
//! that forgets is told.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::blocking::{FILES, run_blocking};
use super::operator::ChangeRefused;
use crate::config::model::{Config, NamedFile, Overlay, UpstreamConfig, UpstreamServer};
use crate::config::problem::Problem;
use crate::config::{check_list, list_item};
use crate::fault_injection;
use crate::file::{self, Replacement};

/// Bytes of a file.
const MOST: u64 = 8 << 20;

/// The servers that the configuration's file has, by upstream, whatever commands made of them.
#[derive(Debug, Default)]
pub(super) struct Written(BTreeMap<String, Vec<UpstreamServer>>);

/// What a file holds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StateFile {
    servers: Vec<Json>,
    /// Of servers that the upstream's source lists: what commands said of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    of_source: Vec<KeptOverlay>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptOverlay {
    server: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weight: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    down: Option<bool>,
}

/// Gives upstreams with a `state` the servers that their files have. What the configuration had
/// before that. Waits for the disk.
///
/// # Errors
/// Files that are damaged, each at its key.
pub(super) fn restore(config: &mut Config) -> Result<Written, Vec<Problem>> {
    let servers = config.upstreams.iter();
    let servers = servers.map(|upstream| (upstream.name.clone(), upstream.servers.clone()));
    let written = Written(servers.collect());
    let mut problems = Vec::new();
    for upstream in &mut config.upstreams {
        let Some(state) = upstream.state.clone() else {
            continue;
        };
        match read(&state.path, upstream) {
            Ok(None) => {}
            Ok(Some((servers, overlays))) => {
                let upstream = Arc::make_mut(upstream);
                let declared = std::mem::replace(&mut upstream.servers, servers);
                for server in upstream.servers.iter_mut().filter(|server| server.down) {
                    let same = |other: &&UpstreamServer| other.spelling == server.spelling;
                    let was_down = declared.iter().find(same).is_some_and(|same| same.down);
                    server.down_by_command = !was_down;
                }
                upstream.overlays = overlays;
            }
            Err(why) => problems.push(damaged(&state, upstream, &why)),
        }
    }
    match problems.is_empty() {
        true => Ok(written),
        false => Err(problems),
    }
}

type Kept = (Vec<UpstreamServer>, Vec<Overlay>);

/// What a file has; nothing where there is none yet.
fn read(path: &Path, upstream: &UpstreamConfig) -> Result<Option<Kept>, String> {
    let bytes = match file::read_regular(path, MOST) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let file: StateFile = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    let list = check_list(&file.servers, &path.display().to_string(), upstream)?;
    let overlays = file.of_source.into_iter().map(|kept| {
        let KeptOverlay {
            server,
            weight,
            down,
        } = kept;
        match weight {
            Some(0 | 65_536..) => Err(format!("`weight` of `{server}` must be from 1 to 65535")),
            _ => Ok(Overlay {
                server,
                weight,
                down,
            }),
        }
    });
    Ok(Some((list.servers, overlays.collect::<Result<_, _>>()?)))
}

fn damaged(state: &NamedFile, upstream: &UpstreamConfig, why: &str) -> Problem {
    let (name, path) = (&upstream.name, state.path.display());
    let message = format!("the servers of upstream `{name}` cannot be read from `{path}`: {why}");
    let hint = "correct the file; or move it away, and `servers` of the configuration count again";
    Problem::new(&state.place, message).hint(hint)
}

/// What the file of an upstream is to hold.
fn text(upstream: &UpstreamConfig) -> String {
    let own = upstream.servers.iter().filter(|server| !server.listed);
    let overlays = upstream.overlays.iter().map(|overlay| KeptOverlay {
        server: overlay.server.clone(),
        weight: overlay.weight,
        down: overlay.down,
    });
    let file = StateFile {
        servers: own.map(list_item).collect(),
        of_source: overlays.collect(),
    };
    // Texts and numbers can always be written.
    serde_json::to_string_pretty(&file).unwrap_or_default() + "\n"
}

/// A change that is written down, and not yet in its place.
pub(super) struct Pending(Option<(Replacement, String)>);

/// Writes down what an upstream's servers are to be, if that is to be kept.
///
/// # Errors
/// It cannot be written.
pub(super) async fn write(upstream: &UpstreamConfig) -> Result<Pending, ChangeRefused> {
    let Some(state) = &upstream.state else {
        return Ok(Pending(None));
    };
    let (path, text) = (state.path.clone(), text(upstream));
    let prepare = move || Replacement::prepare(&path, text.as_bytes());
    let written = run_blocking("writing the state of an upstream", FILES, prepare).await?;
    let path = state.path.display().to_string();
    match written {
        Ok(replacement) => Ok(Pending(Some((replacement, path)))),
        Err(error) => Err(not_kept(&path, &error)),
    }
}

impl Pending {
    /// Has it count from the next start on.
    ///
    /// # Errors
    /// It cannot be put in its place.
    pub(super) async fn settle(self) -> Result<(), ChangeRefused> {
        let Some((replacement, path)) = self.0 else {
            return Ok(());
        };
        let put = move || {
            fault_injection::waits("state");
            replacement.put_in_place()
        };
        let put = run_blocking("writing the state of an upstream", FILES, put).await?;
        put.map_err(|error| not_kept(&path, &error))
    }
}

fn not_kept(path: &str, error: &io::Error) -> ChangeRefused {
    ChangeRefused::Failed(format!(
        "nothing has changed, as the change cannot be kept in `{path}`: {error}"
    ))
}

impl Written {
    /// What is hardly meant about a configuration that is to follow another one: changes by command
    /// that it forgets, and changes of the file that a `state` has precedence over. `next`: what the
    /// file says now.
    pub(super) fn warnings(&self, present: &Config, next: &Config, now: &Written) -> Vec<String> {
        let upstreams = next.upstreams.iter().filter_map(|upstream| {
            let mut before = present.upstreams.iter();
            let before = before.find(|before| before.name == upstream.name)?;
            let written = self.0.get(&upstream.name)?;
            match (&before.state, &upstream.state) {
                (Some(_), Some(state)) => {
                    overruled(written, now.0.get(&upstream.name)?, upstream, state)
                }
                _ => forgotten(before, written, upstream),
            }
        });
        upstreams.collect()
    }
}

/// What commands changed of an upstream, and the next configuration does not say.
fn forgotten(
    before: &UpstreamConfig,
    written: &[UpstreamServer],
    next: &UpstreamConfig,
) -> Option<String> {
    let find = |list: &[UpstreamServer], server: &UpstreamServer| {
        let mut own = list.iter().filter(|other| !other.listed);
        own.find(|other| other.spelling == server.spelling).cloned()
    };
    let mut changes = Vec::new();
    for server in before.servers.iter().filter(|server| !server.listed) {
        let (name, next) = (&server.spelling, find(&next.servers, server));
        match (find(written, server), next) {
            (None, None) => changes.push(format!("`{name}` added")),
            (Some(written), Some(next)) => {
                if server.weight != written.weight && server.weight != next.weight {
                    changes.push(format!("`{name}` with weight {}", server.weight));
                }
                if server.down != written.down && server.down != next.down {
                    changes.push(format!("`{name}` {}", drained(server.down)));
                }
            }
            _ => {}
        }
    }
    for server in written {
        if find(&before.servers, server).is_none() && find(&next.servers, server).is_some() {
            changes.push(format!("`{}` removed", server.spelling));
        }
    }
    for overlay in &before.overlays {
        let name = &overlay.server;
        let weight = overlay
            .weight
            .map(|weight| format!("`{name}` with weight {weight}"));
        let down = overlay
            .down
            .map(|down| format!("`{name}` {}", drained(down)));
        changes.extend(weight.into_iter().chain(down));
    }
    (!changes.is_empty()).then(|| {
        format!(
            "upstream `{}` is as the configuration says again, what commands had changed is forgotten: {}; \
             a `state` would keep it",
            next.name,
            changes.join(", ")
        )
    })
}

fn drained(down: bool) -> &'static str {
    match down {
        true => "drained",
        false => "resumed",
    }
}

/// Whether `servers` has been edited where a `state` counts.
fn overruled(
    before: &[UpstreamServer],
    now: &[UpstreamServer],
    next: &UpstreamConfig,
    state: &NamedFile,
) -> Option<String> {
    let items = |list: &[UpstreamServer]| list.iter().map(list_item).collect::<Vec<_>>();
    let is_edited = items(before) != items(now);
    let own = next.servers.iter().filter(|server| !server.listed);
    let counts = items(now) != own.map(list_item).collect::<Vec<_>>();
    (is_edited && counts).then(|| {
        let (name, path) = (&next.name, state.path.display());
        format!(
            "`servers` of upstream `{name}` has changed, but `{path}` counts: use the commands of \
             `waypost upstream`, or delete that file"
        )
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        let text = format!("[[listen]]\naddress = \"127.0.0.1:0\"\n[upstream.u]\n{text}\n");
        crate::config::parse(&text, Path::new("test.toml")).unwrap()
    }

    fn written(config: &Config) -> Written {
        restore(&mut config.clone()).unwrap()
    }

    #[test]
    fn what_is_written_down_is_restored() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("u.json");
        let file = format!("state = \"{}\"\nservers = [\"10.0.0.1\"]", path.display());
        let mut served = config(&file);
        let upstream = Arc::make_mut(&mut served.upstreams[0]);
        upstream.servers[0].weight = 7;
        let mut listed = upstream.servers[0].clone();
        listed.listed = true;
        upstream.servers.push(listed);
        upstream.overlays.push(Overlay {
            server: "10.0.0.9".to_owned(),
            weight: None,
            down: Some(true),
        });
        std::fs::write(&path, text(upstream)).unwrap();
        let mut again = config(&file);
        restore(&mut again).unwrap();
        let restored = &again.upstreams[0];
        assert_eq!(restored.servers.len(), 1);
        assert_eq!(restored.servers[0].weight, 7);
        assert_eq!(restored.overlays, served.upstreams[0].overlays);
        for damaged in ["{", "{\"servers\": [7]}", "{\"servers\": [], \"x\": 1}"] {
            std::fs::write(&path, damaged).unwrap();
            let problems = restore(&mut again).unwrap_err();
            let message = &problems[0].message;
            assert!(
                message.starts_with("the servers of upstream `u` cannot be read from"),
                "{message}"
            );
        }
    }

    #[test]
    fn a_reload_forgets_what_neither_file_nor_state_has() {
        let file = config("servers = [\"a:1\", \"b:1\", \"c:1\", \"d:1\"]");
        let mut served = file.clone();
        let upstream = Arc::make_mut(&mut served.upstreams[0]);
        let mut added = upstream.servers[0].clone();
        added.spelling = "e:1".to_owned();
        upstream.servers[0].weight = 5;
        upstream.servers[1].down = true;
        upstream.servers.remove(3);
        upstream.servers.push(added);
        let warnings = written(&file).warnings(&served, &file, &written(&file));
        let all = "`a:1` with weight 5, `b:1` drained, `e:1` added, `d:1` removed";
        assert!(warnings[0].contains(all), "{warnings:?}");
        // The operator has written all of it into the file meanwhile.
        let edited = config(
            "servers = [{ address = \"a:1\", weight = 5 }, { address = \"b:1\", down = true }, \"c:1\", \"e:1\"]",
        );
        let warnings = written(&file).warnings(&served, &edited, &written(&edited));
        assert!(warnings.is_empty(), "{warnings:?}");
        assert!(
            written(&file)
                .warnings(&file, &edited, &written(&edited))
                .is_empty()
        );
    }
}
