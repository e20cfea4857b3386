//! What is shown, as JSON.

use serde::Serialize;

use super::Admin;
use crate::control_plane::operator::Published;
use crate::control_plane::plugins::RegisteredPlugin;
use crate::data_plane::upstream::Upstream;
use crate::data_plane::worker::Clock;

/// `GET /status`.
#[derive(Serialize)]
pub(super) struct Status {
    version: &'static str,
    pid: u32,
    state: &'static str,
    uptime_s: u64,
    generation: u64,
    config: String,
    workers: usize,
    worker_restarts: u64,
    connections: usize,
    accepted: u64,
    listeners: Vec<String>,
    streams: Vec<String>,
    reloads: Reloads,
}

#[derive(Serialize)]
struct Reloads {
    succeeded: u64,
    failed: u64,
    last_error: Option<String>,
}

/// `GET /plugins`.
#[derive(Serialize)]
pub(super) struct Plugins {
    plugins: Vec<Plugin>,
}

/// One plugin: the figures are those of the version in force.
#[derive(Serialize)]
pub(super) struct Plugin {
    name: String,
    stock: bool,
    version: u64,
    hash: String,
    state: &'static str,
    world: String,
    imports: Vec<String>,
    calls: u64,
    mean_ns: u64,
    p99_ns: u64,
    traps: u64,
    deadlines: u64,
    memory_faults: u64,
    answers: u64,
    memory_bytes: u64,
    instances: u64,
    upstreams: Vec<String>,
    previous: Option<Version>,
    last_error: Option<String>,
}

#[derive(Serialize)]
struct Version {
    version: u64,
    hash: String,
}

/// `GET /upstreams`.
#[derive(Serialize)]
pub(super) struct Upstreams {
    upstreams: Vec<UpstreamView>,
}

/// One upstream.
#[derive(Serialize)]
pub(super) struct UpstreamView {
    name: String,
    policy: String,
    servers: Vec<Server>,
}

#[derive(Serialize)]
struct Server {
    address: String,
    server: String,
    weight: u32,
    backup: bool,
    down: bool,
    max_conns: u32,
    in_flight: u32,
    fails: u32,
    latency_us: u32,
    in_rotation: bool,
}

impl Status {
    pub(super) fn of(admin: &Admin) -> Status {
        let published = admin.published.load();
        let reloads = &published.reloads;
        let workers = &admin.workers;
        Status {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            state: if workers.is_ending() {
                "draining"
            } else {
                "serving"
            },
            uptime_s: admin.started.elapsed().as_secs(),
            generation: published.snapshot.generation,
            config: admin.file.display().to_string(),
            workers: workers.workers,
            worker_restarts: workers.restarts(),
            connections: workers.connections(),
            accepted: workers.accepted(),
            listeners: published.addresses.clone(),
            streams: published.streams.clone(),
            reloads: Reloads {
                succeeded: reloads.succeeded,
                failed: reloads.failed,
                last_error: reloads.last_error.clone(),
            },
        }
    }
}

impl Plugins {
    pub(super) fn of(published: &Published) -> Plugins {
        let entries = published.registry.entries();
        let plugins = entries.map(|(name, entry)| Plugin::of(published, name, entry));
        Plugins {
            plugins: plugins.collect(),
        }
    }
}

impl Plugin {
    pub(super) fn named(published: &Published, name: &str) -> Option<Plugin> {
        let entry = published.registry.get(name)?;
        Some(Plugin::of(published, name, entry))
    }

    fn of(published: &Published, name: &str, entry: &RegisteredPlugin) -> Plugin {
        let plugin = &entry.current;
        let (stats, cost) = (plugin.stats(), plugin.cost());
        let upstreams = published.snapshot.upstreams.iter();
        let upstreams = upstreams.filter(|upstream| upstream.policy().name() == name);
        Plugin {
            name: name.to_owned(),
            stock: entry.config.is_none(),
            version: plugin.version(),
            hash: plugin.hash().to_string(),
            state: entry.state(),
            world: plugin.exports().join(", "),
            imports: plugin.imports().to_vec(),
            calls: stats.calls,
            mean_ns: cost.mean_ns,
            p99_ns: cost.p99_ns,
            traps: stats.traps,
            deadlines: stats.deadlines,
            memory_faults: stats.memory,
            answers: stats.answers,
            memory_bytes: cost.memory_bytes,
            instances: cost.instances,
            upstreams: upstreams
                .map(|upstream| upstream.config.name.clone())
                .collect(),
            previous: entry.previous.as_ref().map(|previous| Version {
                version: previous.version(),
                hash: previous.hash().to_string(),
            }),
            last_error: entry.last_error.clone(),
        }
    }
}

impl Upstreams {
    pub(super) fn of(published: &Published) -> Upstreams {
        let upstreams = published.snapshot.upstreams.iter();
        Upstreams {
            upstreams: upstreams
                .map(|upstream| UpstreamView::of(upstream))
                .collect(),
        }
    }
}

impl UpstreamView {
    pub(super) fn named(published: &Published, name: &str) -> Option<UpstreamView> {
        published
            .snapshot
            .upstream(name)
            .map(|upstream| UpstreamView::of(upstream))
    }

    fn of(upstream: &Upstream) -> UpstreamView {
        let now = Clock::new().seconds();
        let servers = upstream.endpoints().map(|(endpoint, backup)| Server {
            address: endpoint.name.to_string(),
            server: endpoint.server.to_string(),
            weight: endpoint.weight,
            backup,
            down: endpoint.down,
            max_conns: endpoint.max_conns,
            in_flight: endpoint.in_flight(),
            fails: endpoint.fails(),
            latency_us: endpoint.latency_us(),
            in_rotation: !endpoint.down && endpoint.in_rotation(now),
        });
        UpstreamView {
            name: upstream.config.name.clone(),
            policy: upstream.config.policy.plugin.clone(),
            servers: servers.collect(),
        }
    }
}
