//! The hooks of a configuration: made for it, or kept where nothing about them has changed.

use std::sync::Arc;

use serde_json::Value as Json;

use super::plugins::Selection;
use super::variables::finds_the_same;
use crate::config::model::{Config, HookConfig, HookUse};
use crate::config::problem::Problem;
use crate::data_plane::worker_config::Snapshot;
use crate::plugin::{ConfigureError, DestinationNames, HookContext, SharedHook, UpstreamTraits};

/// Everything that uses one hook.
#[derive(Default)]
struct Uses<'a> {
    /// By place number.
    places: Vec<&'a HookUse>,
    of_requests: bool,
    of_streams: bool,
}

/// The uses of each hook of a configuration.
fn uses(config: &Config) -> Vec<Uses<'_>> {
    let mut all: Vec<Uses<'_>> = config.hooks.iter().map(|_| Uses::default()).collect();
    let of_listeners = config.listeners.iter().flat_map(|listener| &listener.hooks);
    let of_routes = config.routes.iter().flat_map(|route| &route.hooks);
    let of_streams = config.streams.iter().flat_map(|stream| &stream.hooks);
    for place in of_listeners.chain(of_routes) {
        all[place.hook].of_requests = true;
        all[place.hook].places.push(place);
    }
    for place in of_streams {
        all[place.hook].of_streams = true;
        all[place.hook].places.push(place);
    }
    for uses in &mut all {
        // Those of `[server]` are there once for each listener, those of a route for each host.
        uses.places.sort_by_key(|place| place.place_number);
        uses.places.dedup_by_key(|place| place.place_number);
    }
    all
}

/// Where hooks may lead requests.
fn destinations(config: &Config) -> Arc<DestinationNames> {
    let routes = config.routes.iter();
    let upstreams = config.upstreams.iter();
    // Those that requests have named come and go.
    let upstreams = upstreams.filter(|upstream| upstream.dynamic.is_none());
    Arc::new(DestinationNames {
        routes: routes.filter_map(|route| route.name.clone()).collect(),
        upstreams: upstreams.map(|upstream| upstream.name.clone()).collect(),
    })
}

/// Makes the hooks of a configuration. Those that `previous` has as they are stay.
///
/// # Errors
/// A problem for each that cannot be used.
pub(super) fn hooks(
    config: &Config,
    plugins: &Selection,
    previous: Option<&Snapshot>,
) -> Result<Vec<Arc<SharedHook>>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut hooks = Vec::with_capacity(config.hooks.len());
    let before = previous.map(|snapshot| (snapshot, uses(&snapshot.config)));
    let destinations = destinations(config);
    for (hook, uses) in config.hooks.iter().zip(uses(config)) {
        let kept = before
            .as_ref()
            .and_then(|(snapshot, all)| kept(hook, &uses, plugins, config, snapshot, all))
            .filter(|hook| hook.destinations().answer_alike_under(&destinations))
            .filter(|kept| {
                let of_places = uses.places.iter().map(|place| &place.settings);
                finds_the_same(of_places.chain([&hook.settings]), kept.variables(), config)
            });
        match kept.map_or_else(
            || made(hook, &uses, config, plugins, &destinations).map(Arc::new),
            Ok,
        ) {
            Ok(hook) => hooks.push(hook),
            Err(problem) => problems.push(problem),
        }
    }
    match problems.is_empty() {
        true => Ok(hooks),
        false => Err(problems),
    }
}

/// What is wrong with the settings of hooks. A plugin that is not there to ask is a problem already.
pub(super) fn problems(config: &Config, plugins: &Selection) -> Vec<Problem> {
    let hooks = config.hooks.iter().zip(uses(config));
    let destinations = destinations(config);
    hooks
        .filter(|(hook, _)| plugins.contains_key(&hook.plugin))
        .filter_map(|(hook, uses)| made(hook, &uses, config, plugins, &destinations).err())
        .collect()
}

/// A hook of a configuration with other versions of plugins.
///
/// # Errors
/// It cannot be used.
pub(super) fn candidate(
    index: usize,
    config: &Config,
    plugins: &Selection,
) -> Result<SharedHook, Problem> {
    let uses = std::mem::take(&mut uses(config)[index]);
    let destinations = destinations(config);
    made(&config.hooks[index], &uses, config, plugins, &destinations)
}

/// Has the hooks of a new snapshot take over what those before know.
///
/// # Errors
/// A plugin that is new, and failed at it.
pub(super) fn hand_over(previous: &Snapshot, next: &Snapshot) -> Result<(), Problem> {
    for (hook, config) in next.hooks.iter().zip(&next.config.hooks) {
        let Some(before) = previous.predecessor(config) else {
            continue;
        };
        if Arc::ptr_eq(before, hook) {
            continue;
        }
        let is_new = !previous
            .hooks
            .iter()
            .any(|before| before.plugin().is(hook.plugin()));
        if let Err(error) = hook.inherit(before)
            && is_new
        {
            return Err(refusal(config, &[], &error));
        }
    }
    Ok(())
}

/// The hook of the snapshot before, if nothing about it has changed.
fn kept(
    hook: &HookConfig,
    uses: &Uses<'_>,
    plugins: &Selection,
    config: &Config,
    previous: &Snapshot,
    all: &[Uses<'_>],
) -> Option<Arc<SharedHook>> {
    let known = previous.config.hooks.iter().zip(&previous.hooks).zip(all);
    let same_places = |before: &Uses<'_>| {
        before.places.len() == uses.places.len()
            && (before.places.iter().zip(&uses.places)).all(|(one, other)| {
                one.place_number == other.place_number && one.settings == other.settings
            })
            && (before.of_requests, before.of_streams) == (uses.of_requests, uses.of_streams)
    };
    let workers = previous.config.server.workers == config.server.workers;
    let mut same = known.filter(|((before, shared), all)| {
        workers
            && before.means_the_same_as(hook)
            && before.place.directory() == hook.place.directory()
            && same_places(all)
            && plugins
                .get(&hook.plugin)
                .is_some_and(|plugin| plugin.is(shared.plugin()))
    });
    same.next().map(|((_, shared), _)| shared.clone())
}

fn made(
    hook: &HookConfig,
    uses: &Uses<'_>,
    config: &Config,
    plugins: &Selection,
    destinations: &Arc<DestinationNames>,
) -> Result<SharedHook, Problem> {
    let Some(plugin) = plugins.get(&hook.plugin) else {
        let message = format!("unknown plugin `{}`", hook.plugin);
        return Err(hook.place.problem("plugin", &message));
    };
    let about = plugin.about();
    if uses.of_streams && !about.streams && !about.summary.is_empty() {
        let of_stream = config.streams.iter().flat_map(|stream| &stream.hooks);
        let place = of_stream
            .into_iter()
            .find(|place| std::ptr::eq(&config.hooks[place.hook], hook));
        let message = format!("`{}` is about requests, and a stream has none", hook.plugin);
        return Err(match place {
            Some(place) => place.place.problem("", &message),
            None => hook.place.problem("", &message),
        });
    }
    let places: Vec<&Json> = uses.places.iter().map(|place| &place.settings).collect();
    let directory = hook.place.directory();
    let context = HookContext {
        places: &places,
        traits: UpstreamTraits {
            has_backups: false,
            carries_requests: uses.of_requests || !uses.of_streams,
            carries_streams: uses.of_streams,
        },
        variables: config.variables.names(),
        directory: &directory,
        destinations,
        workers: config.server.workers,
    };
    SharedHook::new(&hook.name, plugin.clone(), &hook.settings, &context)
        .map_err(|error| refusal(hook, &uses.places, &error))
}

/// Places a hook's refusal at the key it names.
pub(super) fn refusal(hook: &HookConfig, places: &[&HookUse], error: &ConfigureError) -> Problem {
    match error {
        ConfigureError::Refused { key, message, .. } => {
            hook.place.problem(key.as_str(), message.as_str())
        }
        ConfigureError::RefusedPlace {
            place,
            key,
            message,
            ..
        } => match places.get(*place as usize) {
            Some(place) => place.place.problem(key.as_str(), message.as_str()),
            None => hook.place.problem(key.as_str(), message.as_str()),
        },
        ConfigureError::Kind { .. }
        | ConfigureError::NoHandler { .. }
        | ConfigureError::Faulted { .. } => hook.place.problem("", &error.to_string()),
    }
}
