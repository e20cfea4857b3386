//! How many connections there may be. Which of the descriptors are a client's, and which a
//! connection's to an upstream, follows need: see `data_plane::process`.

use crate::config::model::Config;
use crate::data_plane::process::ConnectionBounds;

/// Descriptors for other things than connections: listeners, logs, event loops, the admin api, the
/// odd file.
const RESERVED_DESCRIPTORS: u64 = 32;
/// What one worker's event loop needs besides.
const WORKER_DESCRIPTORS: u64 = 7;
/// A listener's socket: the worker's, and the one that the process keeps. And a client that was
/// accepted, and waits until there is room for it.
const LISTENER_DESCRIPTORS: u64 = 3;

/// How many descriptors there have to be before the first connection.
pub fn descriptors_needed(config: &Config) -> u64 {
    let workers = config.server.workers as u64;
    let listeners = LISTENER_DESCRIPTORS * (config.listeners.len() + config.streams.len()) as u64;
    RESERVED_DESCRIPTORS + workers * (WORKER_DESCRIPTORS + listeners)
}

/// How many clients are wanted at once, and how many descriptors there are for them and for
/// connections to upstreams.
pub(super) fn connection_bounds(config: &Config) -> anyhow::Result<ConnectionBounds> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    // The soft limit is for programs that use select(); where raising it is refused, it holds.
    let descriptors = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let descriptors = descriptors.unwrap_or(1 << 20);
    let workers = config.server.workers as u64;
    let needed = descriptors_needed(config);

    anyhow::ensure!(
        descriptors >= needed + 2,
        "{descriptors} open files are too few for {workers} workers, which need {needed}: raise `ulimit -n` or lower `workers`",
    );
    let left = usize::try_from(descriptors - needed).unwrap_or(usize::MAX);
    Ok(ConnectionBounds {
        clients: config.server.max_connections.unwrap_or(usize::MAX),
        descriptors: left,
    })
}
