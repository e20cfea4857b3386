//! From a configuration to a snapshot: has each policy check its settings, opens the logs.
//!
//! Everything that can go wrong goes wrong here, before anything is served with it, and as problems
//! at their place. What has not changed since the snapshot before is taken over as it is.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value as Json;

use super::components;
use super::hooks;
use super::log_files;
use super::plugins::{FALLBACK, Selection};
use super::resolve;
use super::tls_files::{Secured, TlsFiles};
use super::trials;
use super::variables::finds_the_same;
use crate::access_log::{AccessLogs, OpenError, UsedLog};
use crate::config::model::{
    AccessLog, Action, Config, PluginUse, PolicyUse, Proxy, ProxyUpstream, ScorerUse,
    SettingsPlace, UpstreamConfig, UpstreamServer,
};
use crate::config::problem::{Place, Problem};
use crate::data_plane::upstream::{EndpointSet, Previous, Upstream};
use crate::data_plane::worker_config::{
    ListenerId, PageFiles, Router, Snapshot, SnapshotMetrics, Trials, index_by_name,
};
use crate::http::template::Template;
use crate::http::variable::Variable;
use crate::metrics::Registry;
use crate::names::{Resolution, ServerAddresses};
use crate::plugin::{
    Balancer, BalancerParts, ConfigureError, Kind, Plugin, PolicyContext, ScorerPart, Trial,
    UpstreamTraits,
};
use crate::tls::{ClientTls, Warnings};
use crate::traces::Exporters;

/// What a snapshot is made of.
pub(super) struct Parts<'a> {
    pub(super) config: Config,
    pub(super) plugins: Selection,
    /// Other versions of them that are tried.
    pub(super) trials: Vec<Arc<Trial>>,
    pub(super) resolution: &'a Resolution,
    pub(super) files: TlsFiles,
    /// The listeners of the configuration, then its streams, in its order.
    pub(super) listeners: Vec<ListenerId>,
    /// What is served now.
    pub(super) previous: Option<&'a Snapshot>,
    pub(super) logs: &'a AccessLogs,
    pub(super) exporters: &'a Exporters,
}

/// Builds the snapshot that a configuration describes.
///
/// Policies of a plugin that is new must manage a trial `pick`, unless nothing is served yet: then
/// the fallback serves in their place, and the log says why.
///
/// # Errors
/// All problems that were found.
pub(super) fn assemble(parts: Parts<'_>) -> Result<Snapshot, Vec<Problem>> {
    let Parts {
        config,
        plugins,
        trials,
        resolution,
        files,
        listeners,
        previous,
        logs,
        exporters,
    } = parts;
    let generation = previous.map_or(1, |snapshot| snapshot.generation + 1);
    let mut warnings = Warnings::new();
    let before = previous.map(|snapshot| (snapshot, listeners.as_slice()));
    let (secured, mut problems) = match Secured::read(&config, before, files, &mut warnings) {
        Ok(secured) => (secured, Vec::new()),
        Err(problems) => return Err(problems),
    };
    for warning in &warnings {
        tracing::warn!("{}", warning.as_warning());
    }
    let page_files = page_files(&config, files, previous).unwrap_or_else(|of_pages| {
        problems.extend(of_pages);
        Arc::default()
    });
    let registry = match previous {
        Some(snapshot) => snapshot.metrics.registry.clone(),
        None => Arc::new(Registry::new(&config.metrics, config.server.workers)),
    };
    let mut upstreams = Vec::with_capacity(config.upstreams.len());
    let traits = traits(&config);
    for (index, (upstream, tls)) in config.upstreams.iter().zip(secured.upstreams).enumerate() {
        let of_upstream = (index, traits[index]);
        let before = previous.and_then(|snapshot| snapshot.upstream_before(index, &upstream.name));
        if let Some(before) = before
            && before.speaks(tls.as_ref())
            && has_same_addresses(before, upstream, resolution)
            && is_unchanged(before, of_upstream, &config, &plugins)
        {
            upstreams.push(before.clone());
            continue;
        }
        let addresses = resolved(upstream, resolution);
        let built = balanced(
            of_upstream,
            addresses,
            tls,
            &config,
            &plugins,
            before.map(|before| &**before),
            (generation, &registry),
        );
        let serves_already =
            |built: &Upstream| before.is_some_and(|before| built.continues(before));
        let built = built.and_then(|built| {
            let tried = match serves_already(&built) {
                true => Ok(()),
                false => rehearsed(&built),
            };
            match tried {
                Err(problem) if previous.is_some_and(|before| !uses(before, built.policy())) => {
                    Err(problem)
                }
                Err(problem) if previous.is_none() => {
                    tracing::error!("{problem}");
                    Ok(built)
                }
                Ok(()) | Err(_) => Ok(built),
            }
        });
        match built {
            Ok(upstream) => upstreams.push(Arc::new(upstream)),
            Err(problem) => problems.push(problem),
        }
    }
    let hooks = hooks::hooks(&config, &plugins, previous).unwrap_or_else(|of_hooks| {
        problems.extend(of_hooks);
        Vec::new()
    });
    let components = components::components(&config, &plugins, previous);
    let components = components.unwrap_or_else(|of_components| {
        problems.extend(of_components);
        Vec::new()
    });
    let trials = match problems.is_empty() {
        true => trials::trials(&config, &plugins, &trials, (&upstreams, &hooks), previous),
        false => Ok(Trials::default()),
    };
    let trials = trials.unwrap_or_else(|of_trials| {
        problems.extend(of_trials);
        Trials::default()
    });
    let mut open = |configured: &Vec<AccessLog>| {
        let mut used = Vec::with_capacity(configured.len());
        for config in configured {
            match logs.open(&config.path) {
                Ok(log) => used.push(UsedLog {
                    log,
                    config: config.clone(),
                }),
                Err(OpenError { path, source }) => {
                    let path = Path::new(&path);
                    let problem = log_files::unopened("access log", path, &config.place, &source);
                    problems.push(problem);
                }
            }
        }
        used
    };
    let of_listeners = config.listeners.iter();
    let listener_logs = of_listeners
        .map(|listener| open(&listener.access_logs))
        .collect();
    let of_routes = config.routes.iter();
    let route_logs = of_routes
        .map(|route| route.access_logs.as_ref().map(&mut open))
        .collect();
    let of_streams = config.streams.iter();
    let stream_logs = of_streams.map(|stream| open(&stream.access_logs)).collect();
    let traces = config.traces.as_ref();
    let traces = traces.map(|traces| exporters.open(&traces.export));
    let traces = traces.transpose().unwrap_or_else(|error| {
        let message = format!("the thread that sends traces cannot be started: {error}");
        problems.push(Problem::new(&Place::default(), message));
        None
    });
    if !problems.is_empty() {
        return Err(problems);
    }
    let logged = || config.access_logs().flat_map(AccessLog::variables);
    let depends_on = |variable: &Variable, wanted: fn(&Variable) -> bool| {
        config.variables.depends_on(variable, &wanted)
    };
    let is_sent_header = |variable: &Variable| matches!(variable, Variable::SentHeader(_));
    let logs_sent_header = logged().any(|variable| depends_on(variable, is_sent_header));
    let is_note = |variable: &Variable| matches!(variable, Variable::PluginNote);
    let answered = config.answer_templates().flat_map(Template::variables);
    let shows_notes = (logged().chain(answered)).any(|variable| depends_on(variable, is_note));
    // Made again where routes have changed alone: there may be thousands.
    let alike = previous.filter(|before| {
        Arc::ptr_eq(&before.config.routes, &config.routes)
            && before.config.listeners.len() == config.listeners.len()
    });
    let routers = match alike {
        Some(before) => before.routers.clone(),
        None => Router::of_listeners(&config.routes, config.listeners.len()).into(),
    };
    let same_names = previous.filter(|before| {
        let mut pairs = before.upstreams.iter().zip(&upstreams);
        before.upstreams.len() == upstreams.len()
            && pairs.all(|(before, now)| before.config.name == now.config.name)
    });
    let by_name = match same_names {
        Some(before) => before.by_name.clone(),
        None => index_by_name(&upstreams).into(),
    };
    let before = previous.map(|snapshot| (&snapshot.config, &snapshot.metrics));
    let metrics = SnapshotMetrics::new(&config, &registry, before);
    Ok(Snapshot {
        generation,
        config,
        listeners,
        tls: secured.listeners,
        admin_tls: secured.admin,
        routers,
        by_name,
        upstreams,
        hooks,
        components,
        trials,
        page_files,
        listener_logs,
        route_logs,
        stream_logs,
        metrics,
        logs_sent_header,
        shows_notes,
        traces,
    })
}

/// Those that are served, where nothing has to be read; a change of theirs is noticed.
fn page_files(
    config: &Config,
    files: TlsFiles,
    previous: Option<&Snapshot>,
) -> Result<Arc<PageFiles>, Vec<Problem>> {
    let before = previous.map(|previous| &previous.page_files);
    match before.filter(|before| files == TlsFiles::AsTheyWere && before.are_of(config)) {
        Some(before) => Ok(before.clone()),
        None => PageFiles::read(config).map(Arc::new),
    }
}

/// Has the plugins of a new snapshot take over what those before know.
///
/// # Errors
/// A plugin that is new, and failed at it.
pub(super) fn hand_over(previous: &Snapshot, next: &Snapshot) -> Result<(), Problem> {
    for (index, upstream) in next.upstreams.iter().enumerate() {
        let before = previous.upstream_before(index, &upstream.config.name);
        let Some(before) = before.filter(|before| !Arc::ptr_eq(before, upstream)) else {
            continue;
        };
        if let Err(error) = upstream.inherit(before)
            && !uses(previous, upstream.policy())
        {
            return Err(refusal(&upstream.config, &error));
        }
    }
    hooks::hand_over(previous, next)
}

/// Tells the instances of policies that live on, and that all workers share, of their endpoints.
/// Once nothing can keep `next` from being served.
pub(super) fn tell_of_endpoints(previous: &Snapshot, next: &Snapshot) {
    for (index, upstream) in next.upstreams.iter().enumerate() {
        let before = previous.upstream_before(index, &upstream.config.name);
        if before.is_some_and(|before| !Arc::ptr_eq(before, upstream)) {
            upstream.tell_of_endpoints();
        }
    }
}

/// The settings of a policy, and of what narrows its candidates.
fn settings_of(policy: &PolicyUse) -> impl Iterator<Item = &Json> {
    let of_narrowing = narrowing(policy).map(|(_, part)| &part.settings);
    of_narrowing.chain([&policy.settings])
}

/// Whether an upstream has the addresses that it had.
fn has_same_addresses(
    before: &Upstream,
    upstream: &Arc<UpstreamConfig>,
    resolution: &Resolution,
) -> bool {
    // What is an address in the configuration is the same in the same configuration.
    let is_fixed = |server: &UpstreamServer| resolve::name(server).is_none();
    if Arc::ptr_eq(&before.config, upstream) && upstream.servers.iter().all(is_fixed) {
        return true;
    }
    before.addresses == resolved(upstream, resolution)
}

/// Whether an upstream, and the plugins that balance it, are what they were.
fn is_unchanged(
    before: &Upstream,
    (index, traits): (usize, UpstreamTraits),
    config: &Config,
    plugins: &Selection,
) -> bool {
    let upstream = &config.upstreams[index];
    before.config.means_the_same_as(upstream)
        && has_same_policy(before, (index, traits), config, plugins)
}

/// Whether the policy of an upstream, and all that goes with it, are what they were.
fn has_same_policy(
    before: &Upstream,
    (index, traits): (usize, UpstreamTraits),
    config: &Config,
    plugins: &Selection,
) -> bool {
    let upstream = &config.upstreams[index];
    let same = |name: &str, plugin: &Plugin| {
        in_force(name, config, plugins).is_some_and(|now| now.is(plugin))
    };
    let policy = &upstream.policy;
    before.config.policy.means_the_same_as(policy)
        && before.balancers().all(|balancer| {
            let fallback = match (fallback(policy, config), balancer.fallback()) {
                (Some(name), Some(plugin)) => same(name, plugin),
                (None, None) => true,
                _ => false,
            };
            let narrowing = narrowing(policy).zip(balancer.narrowing());
            fallback
                && balancer.traits() == traits
                && finds_the_same(settings_of(policy), balancer.variables(), config)
                && same(&policy.plugin, balancer.policy())
                && narrowing
                    .into_iter()
                    .all(|((_, part), plugin)| same(&part.plugin, plugin))
        })
}

/// The filters of a policy, then its scorers.
pub(super) fn narrowing(policy: &PolicyUse) -> impl Iterator<Item = (Kind, &PluginUse)> {
    let filters = policy.filters.iter().map(|filter| (Kind::Filter, filter));
    let scorers = policy
        .scorers
        .iter()
        .map(|scorer| (Kind::Scorer, &scorer.scorer));
    filters.chain(scorers)
}

/// The addresses of each of an upstream's servers.
pub(super) fn resolved(upstream: &UpstreamConfig, resolution: &Resolution) -> Vec<ServerAddresses> {
    let servers = upstream.servers.iter();
    servers.map(|server| resolution.addresses(server)).collect()
}

fn uses(snapshot: &Snapshot, plugin: &Plugin) -> bool {
    let mut upstreams = snapshot.upstreams.iter();
    upstreams.any(|upstream| upstream.policy().is(plugin))
}

/// The policy that answers where that of an upstream fails; none where such an exchange is refused.
fn fallback<'a>(policy: &'a PolicyUse, config: &'a Config) -> Option<&'a str> {
    let mut plugins = config.plugins.iter();
    let of_plugin = plugins.find(|plugin| plugin.name == policy.plugin);
    let said = policy.fallback.as_ref();
    match said.or(of_plugin.map(|plugin| &plugin.fallback)) {
        Some(fallback) => fallback.policy(),
        None => Some(FALLBACK),
    }
}

/// What the settings of the policy of each upstream have to fit.
pub(super) fn traits(config: &Config) -> Vec<UpstreamTraits> {
    let (mut requests, mut streams) = (HashSet::new(), HashSet::new());
    for route in config.routes.iter() {
        if let Action::Proxy(Proxy {
            upstream: ProxyUpstream::Fixed(index),
            ..
        }) = &route.action
        {
            requests.insert(*index);
        }
    }
    for stream in &config.streams {
        streams.insert(stream.upstream);
        streams.extend(stream.sni.iter().map(|route| route.upstream));
    }
    let upstreams = config.upstreams.iter().enumerate();
    let traits = upstreams.map(|(index, upstream)| {
        let carries_streams = streams.contains(&index);
        UpstreamTraits {
            has_backups: upstream.servers.iter().any(|server| server.backup),
            // One that nothing leads to yet is most likely for requests.
            carries_requests: requests.contains(&index) || !carries_streams,
            carries_streams,
        }
    });
    traits.collect()
}

/// The plugin of this name; while it is not compiled, the fallback that serves in its place.
fn in_force<'a>(name: &str, config: &Config, plugins: &'a Selection) -> Option<&'a Plugin> {
    let entry = |name: &str| config.plugins.iter().find(|entry| entry.name == name);
    let mut name = name;
    // A chain of fallbacks is no circle, so it is no longer than the list.
    for _ in 0..=config.plugins.len() {
        if let Some(plugin) = plugins.get(name) {
            return Some(plugin);
        }
        name = entry(name)
            .filter(|entry| entry.starts_with_fallback)?
            .fallback
            .policy()?;
    }
    None
}

/// An upstream as a check has it: nobody is served by it, and nothing is counted there.
pub(super) fn balanced_for_check(
    of_upstream: (usize, UpstreamTraits),
    tls: Option<Arc<ClientTls>>,
    config: &Config,
    plugins: &Selection,
    resolution: &Resolution,
) -> Result<Upstream, Problem> {
    let addresses = resolved(&config.upstreams[of_upstream.0], resolution);
    let uncounted = Registry::uncounted();
    balanced(
        of_upstream,
        addresses,
        tls,
        config,
        plugins,
        None,
        (1, &uncounted),
    )
}

fn balanced(
    of_upstream: (usize, UpstreamTraits),
    addresses: Vec<ServerAddresses>,
    tls: Option<Arc<ClientTls>>,
    config: &Config,
    plugins: &Selection,
    previous: Option<&Upstream>,
    (generation, metrics): (u64, &Registry),
) -> Result<Upstream, Problem> {
    let upstream = &config.upstreams[of_upstream.0];
    let balancing = Balancing::of(of_upstream, config, plugins, generation)?;
    let previous = previous.map(|upstream| Previous {
        upstream,
        continues: balancing.policy.takes_changes()
            && has_same_policy(upstream, of_upstream, config, plugins),
    });
    let build = |fleet: Arc<EndpointSet>, before: Option<&Balancer>| balancing.build(fleet, before);
    let metrics = metrics.upstream(&upstream.name, upstream.dynamic.is_some());
    Upstream::new(upstream.clone(), addresses, tls, previous, &metrics, build)
        .map_err(|error| refusal(upstream, &error))
}

/// How an upstream is balanced: its policy and all that goes with it.
pub(super) struct Balancing {
    policy: Plugin,
    settings: Json,
    filters: Vec<(Plugin, Json)>,
    scorers: Vec<ScorerPart>,
    fallback: Option<Plugin>,
    context: PolicyContext,
}

impl Balancing {
    /// With these versions of its plugins.
    ///
    /// # Errors
    /// One of them is not there, or cannot do what the upstream asks for.
    pub(super) fn of(
        (index, traits): (usize, UpstreamTraits),
        config: &Config,
        plugins: &Selection,
        generation: u64,
    ) -> Result<Balancing, Problem> {
        let upstream = &config.upstreams[index];
        let policy = &upstream.policy;
        let known = |name: &str, place: &SettingsPlace| {
            in_force(name, config, plugins)
                .cloned()
                .ok_or_else(|| place.problem("plugin", &format!("unknown plugin `{name}`")))
        };
        let plugin = known(&policy.plugin, &policy.place)?;
        let fallback = fallback(policy, config)
            .map(|name| known(name, &policy.place))
            .transpose()?;
        let about = plugin.about();
        if traits.has_backups && !about.backups && !about.summary.is_empty() {
            let message = format!("`{}` does not support `backup` servers", policy.plugin);
            return Err(policy.place.problem("", &message));
        }
        let settings = match plugin.name() == policy.plugin {
            true => policy.settings.clone(),
            false => Json::Object(Default::default()), // they are another plugin's
        };
        let filters = policy.filters.iter().map(|filter| {
            let plugin = known(&filter.plugin, &filter.place)?;
            Ok((plugin, filter.settings.clone()))
        });
        let scorers = policy.scorers.iter().map(|ScorerUse { scorer, weight }| {
            Ok(ScorerPart {
                plugin: known(&scorer.plugin, &scorer.place)?,
                settings: scorer.settings.clone(),
                weight: *weight,
            })
        });
        let context = PolicyContext {
            upstream: upstream.name.clone(),
            traits,
            variables: config.variables.names().clone(),
            generation,
            workers: config.server.workers,
            directory: policy.place.directory(),
        };
        Ok(Balancing {
            settings,
            filters: filters.collect::<Result<_, Problem>>()?,
            scorers: scorers.collect::<Result<_, Problem>>()?,
            policy: plugin,
            fallback,
            context,
        })
    }

    /// For these endpoints; with the instances of the policy of `before`, if there is one.
    ///
    /// # Errors
    /// What one of the plugins has against it.
    pub(super) fn build(
        &self,
        fleet: Arc<EndpointSet>,
        before: Option<&Balancer>,
    ) -> Result<Balancer, ConfigureError> {
        let parts = BalancerParts {
            policy: self.policy.clone(),
            settings: &self.settings,
            filters: &self.filters,
            scorers: &self.scorers,
            fallback: self.fallback.clone(),
        };
        match before {
            Some(before) => Balancer::continuing(before, parts, fleet, &self.context),
            None => Balancer::new(parts, fleet, &self.context),
        }
    }
}

pub(super) fn rehearsed(upstream: &Upstream) -> Result<(), Problem> {
    let mut balancers = upstream.balancers();
    let tried = balancers.try_for_each(|balancer| balancer.rehearse());
    tried.map_err(|error| refusal(&upstream.config, &error))
}

/// Places a refusal at the key it names, of the policy or of what narrows its candidates.
pub(super) fn refusal(upstream: &UpstreamConfig, error: &ConfigureError) -> Problem {
    let policy = &upstream.policy;
    let place = |plugin: &str| match policy.plugin == *plugin {
        true => &policy.place,
        false => narrowing(policy)
            .find(|(_, part)| part.plugin == *plugin)
            .map_or(&policy.place, |(_, part)| &part.place),
    };
    match error {
        ConfigureError::Refused {
            plugin,
            key,
            message,
        }
        | ConfigureError::RefusedPlace {
            plugin,
            key,
            message,
            ..
        } => place(plugin).problem(key.as_str(), message.as_str()),
        ConfigureError::Kind { plugin, .. }
        | ConfigureError::NoHandler { plugin, .. }
        | ConfigureError::Faulted { plugin, .. } => place(plugin).problem("", &error.to_string()),
    }
}

pub(super) fn problem(message: String, key: &str) -> Problem {
    Problem {
        place: Place {
            key: key.into(),
            ..Place::default()
        },
        message,
        hint: None,
    }
}
