//! What the API shows, from what is published.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant, SystemTime};

use super::{Admin, standing};
use crate::admin_api::{
    LoadStatus, NameStatus, PluginIncident, PluginList, PluginStatus, PluginVersion, ProcessStatus,
    RemoteStoreStatus, ServerStatus, SourceStatus, StoreStatus, TrialSide, TrialStatus,
    UpstreamList, UpstreamStatus,
};
use crate::config::model::{Action, Manner, Route};
use crate::control_plane::operator::Published;
use crate::control_plane::panics;
use crate::control_plane::registered::{RegisteredPlugin, WaitingPlugin};
use crate::control_plane::resolve;
use crate::data_plane::process::Clock;
use crate::data_plane::upstream::Upstream;
use crate::discovery::Sources;
use crate::names::Names;
use crate::plugin::{PluginEvent, Trial, Version};

pub(super) fn status(admin: &Admin) -> ProcessStatus {
    let published = admin.published.load();
    let workers = &admin.workers;
    let state = match workers.is_draining() {
        true => "draining",
        false => "serving",
    };
    ProcessStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        state: state.to_owned(),
        uptime_s: admin.started.elapsed().as_secs(),
        generation: published.snapshot.generation,
        config: admin.file.display().to_string(),
        workers: workers.workers,
        worker_restarts: workers.restarts(),
        panics: panics::count(),
        connections: workers.connections(),
        accepted: workers.accepted(),
        listeners: published.addresses.clone(),
        streams: published.streams.clone(),
        reloads: published.reloads.clone(),
        store: (published.registry.runtime.store().remote_figures()).map(|figures| {
            RemoteStoreStatus {
                url: figures.url,
                connected: figures.is_connected,
                asked: figures.asked,
                failed: figures.failed,
                error: figures.error,
            }
        }),
    }
}

pub(super) fn plugins(published: &Published) -> PluginList {
    let entries = published.registry.entries();
    let plugins = entries.map(|(name, entry)| plugin_of(published, name, entry));
    let waiting = published.registry.waiting();
    let waiting = waiting.map(|(name, waiting)| waiting_plugin(published, name, waiting));
    PluginList {
        plugins: plugins.chain(waiting).collect(),
    }
}

pub(super) fn plugin(published: &Published, name: &str) -> Option<PluginStatus> {
    if let Some(entry) = published.registry.get(name) {
        return Some(plugin_of(published, name, entry));
    }
    let mut waiting = published.registry.waiting();
    let (_, waiting) = waiting.find(|(waiting, _)| *waiting == name)?;
    Some(waiting_plugin(published, name, waiting))
}

/// One that is not compiled yet: there is little to tell of it.
fn waiting_plugin(published: &Published, name: &str, waiting: &WaitingPlugin) -> PluginStatus {
    let history = published.registry.runtime.history(name).events();
    PluginStatus {
        name: name.to_owned(),
        state: waiting.state().to_owned(),
        last_error: last_error(&history),
        history: history.iter().map(incident).collect(),
        ..PluginStatus::default()
    }
}

/// The newest fault or refused version.
fn last_error(history: &[PluginEvent]) -> Option<String> {
    let error = history.iter().rfind(|event| event.kind.is_error())?;
    Some(error.detail.to_string())
}

fn plugin_of(published: &Published, name: &str, entry: &RegisteredPlugin) -> PluginStatus {
    let plugin = &entry.current;
    let (stats, cost) = (plugin.stats(), plugin.cost());
    let history = plugin.history().events();
    let upstreams = published.snapshot.upstreams.iter();
    let upstreams = upstreams.filter(|upstream| upstream.policy().name() == name);
    let hooks = published.snapshot.hooks.iter();
    let hooks = hooks.filter(|hook| hook.plugin().name() == name);
    PluginStatus {
        name: name.to_owned(),
        stock: entry.config.is_none(),
        version: plugin.version(),
        hash: plugin.hash().to_string(),
        signed_by: plugin.signer().cloned(),
        state: entry.state().to_owned(),
        world: plugin.interfaces().join(", "),
        imports: plugin.imports().iter().map(ToString::to_string).collect(),
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
        kinds: plugin.uses().into_iter().map(str::to_owned).collect(),
        routes: routes_of(published, name),
        may_ask: may_ask(published, name),
        hooks: hooks.map(|hook| hook.name().to_owned()).collect(),
        counters: plugin.own_counters().into_iter().collect(),
        store: plugin.stored().map(|stored| StoreStatus {
            entries: stored.entries,
            bytes: stored.bytes,
            refused: stored.refused,
        }),
        since: history
            .iter()
            .rfind(|event| event.kind.is_start() && event.version == plugin.version())
            .map(|event| time(event.last)),
        promoted_from: entry.promoted_from.clone(),
        previous: entry.previous.as_ref().map(|previous| PluginVersion {
            version: previous.version(),
            hash: previous.hash().to_string(),
        }),
        trial: entry
            .on_trial
            .as_ref()
            .map(|on_trial| trial(&on_trial.trial)),
        last_error: last_error(&history),
        budget: plugin.budget(),
        worker_percent: cost.worker_percent,
        over_budget: stats.over_budget,
        history: history.iter().map(incident).collect(),
    }
}

/// The upstreams that routes let a plugin ask.
fn may_ask(published: &Published, plugin: &str) -> Vec<String> {
    let components = published.snapshot.config.components.iter();
    let components = components.filter(|component| component.plugin == plugin);
    let asked: BTreeSet<&String> = components
        .flat_map(|component| &component.upstreams)
        .collect();
    asked.into_iter().cloned().collect()
}

/// The routes that a plugin answers as their `component`: each by its name, or its host and path.
fn routes_of(published: &Published, plugin: &str) -> Vec<String> {
    let config = &published.snapshot.config;
    let answers = |route: &&Route| match route.action {
        Action::Component(index) => {
            (config.components.get(index)).is_some_and(|component| component.plugin == plugin)
        }
        _ => false,
    };
    let routes = config.routes.iter().filter(answers);
    let mut routes: Vec<String> = routes
        .map(|route| match &route.name {
            Some(name) => name.clone(),
            None => route.host.spelling() + &route.path.spelling(),
        })
        .collect();
    routes.dedup(); // a named one is a route for each of its hosts
    routes
}

fn trial(trial: &Trial) -> TrialStatus {
    let plugin = trial.candidate();
    let cost = plugin.cost();
    let (agreed, differed) = trial.compared();
    let side = |version| {
        let figures = trial.figures(version);
        TrialSide {
            exchanges: figures.exchanges,
            errors: figures.errors,
            mean_us: figures.mean_us.round() as u64,
            imbalance: figures.imbalance.map(|peak| (peak * 100.0).round() / 100.0),
        }
    };
    let mut rails = trial.terms().rails;
    let (share, rails) = match trial.terms().manner {
        Manner::Shadow => (None, BTreeMap::new()),
        Manner::Canary(share) => {
            let after = ("after".to_owned(), rails.after.to_string());
            let named = rails.named().map(|(name, limit)| {
                let limit = limit.map_or_else(|| "off".to_owned(), |limit| limit.to_string());
                (name.to_owned(), limit)
            });
            (
                Some(share.to_string()),
                named.into_iter().chain([after]).collect(),
            )
        }
    };
    TrialStatus {
        manner: trial.terms().manner.name().to_owned(),
        version: plugin.version(),
        hash: plugin.hash().to_string(),
        since: time(trial.since()),
        share,
        rails,
        calls: plugin.stats().calls,
        mean_ns: cost.mean_ns,
        p99_ns: cost.p99_ns,
        faults: trial.faults(),
        agreed,
        differed,
        serving: side(Version::Serving),
        candidate: side(Version::Candidate),
    }
}

pub(super) fn time(time: SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time).unwrap_or_default();
    format!("{time:.3}")
}

fn incident(event: &PluginEvent) -> PluginIncident {
    PluginIncident {
        version: event.version,
        event: event.kind.name().to_owned(),
        detail: event.detail.to_string(),
        count: event.count,
        first: time(event.first),
        last: time(event.last),
    }
}

pub(super) fn upstreams(admin: &Admin) -> UpstreamList {
    let (published, clock) = (admin.published.load(), admin.workers.clock());
    let upstreams = published.snapshot.upstreams.iter();
    UpstreamList {
        upstreams: upstreams
            .map(|upstream| upstream_of(upstream, clock, admin))
            .collect(),
    }
}

pub(super) fn upstream(admin: &Admin, name: &str) -> Option<UpstreamStatus> {
    let published = admin.published.load();
    let upstream = published.snapshot.upstream(name)?;
    Some(upstream_of(upstream, admin.workers.clock(), admin))
}

fn upstream_of(upstream: &Upstream, clock: Clock, admin: &Admin) -> UpstreamStatus {
    let servers = upstream
        .sets()
        .zip([false, true])
        .flat_map(|(set, backup)| {
            let endpoints = set.in_order();
            endpoints.map(move |endpoint| ServerStatus {
                counts: standing::counts(upstream, endpoint),
                ..standing::server(set, endpoint, backup, clock)
            })
        });
    let unresolved = standing::unresolved(upstream, &admin.names);
    let mut servers: Vec<ServerStatus> = servers.chain(unresolved).collect();
    let places = upstream.config.servers.iter().enumerate();
    let places: HashMap<&str, usize> = places
        .map(|(place, server)| (&*server.spelling, place))
        .collect();
    // Those of one server stay as they are.
    servers.sort_by_key(|server| (server.backup, places.get(&*server.server).copied()));
    UpstreamStatus {
        name: upstream.config.name.clone(),
        policy: upstream.config.policy.plugin.clone(),
        warnings: Vec::new(),
        servers,
        names: names_of(upstream, &admin.names),
        source: source_of(upstream, &admin.sources),
        load: load_of(upstream),
    }
}

fn load_of(upstream: &Upstream) -> LoadStatus {
    let (load, overload) = (&upstream.load, &upstream.config.overload);
    let refused = upstream.metrics().refusals().into_iter();
    LoadStatus {
        waiting: load.waiting(),
        queue_size: overload.queue.map_or(0, |queue| queue.size),
        requests: upstream
            .endpoints()
            .map(|(endpoint, _)| endpoint.in_flight())
            .sum(),
        max_requests: overload.limits.requests,
        connections: load.connections(),
        max_connections: overload.limits.connections,
        refused: refused
            .map(|(name, count)| (name.to_owned(), count))
            .collect(),
    }
}

fn names_of(upstream: &Upstream, names: &Names) -> Vec<NameStatus> {
    let now = Instant::now();
    let servers = upstream.config.servers.iter().zip(&upstream.addresses);
    let named = servers.filter_map(|(server, addresses)| Some((resolve::name(server)?, addresses)));
    let named: BTreeMap<_, _> = named.collect();
    let status = named.into_iter().filter_map(|(name, addresses)| {
        let state = names.state(name)?;
        Some(NameStatus {
            name: name.to_string(),
            addresses: addresses.located.len(),
            asked_ms: milliseconds(now.saturating_duration_since(state.asked)),
            next_ms: milliseconds(state.next.saturating_duration_since(now)),
            error: state.why,
        })
    });
    status.collect()
}

fn source_of(upstream: &Upstream, sources: &Sources) -> Option<SourceStatus> {
    let source = upstream.config.source.as_ref()?;
    let (state, now) = (sources.state(&upstream.config)?, Instant::now());
    let listed = upstream
        .config
        .servers
        .iter()
        .filter(|server| server.listed);
    let since = |then: Instant| milliseconds(now.saturating_duration_since(then));
    let until = |then: Instant| milliseconds(then.saturating_duration_since(now));
    Some(SourceStatus {
        kind: source.kind.name().to_owned(),
        name: source.to_string(),
        servers: listed.count(),
        kept: state.kept,
        answered_ms: state.answered.map(since),
        next_ms: state.next.map(until),
        error: state.why,
    })
}

pub(super) fn milliseconds(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}
