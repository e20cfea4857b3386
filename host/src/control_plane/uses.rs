//! What a configuration uses its plugins as. One that is of another kind is told so before anything
//! that it lacks for a use that it is not made for.

use crate::config::model::{Config, Fallback};
use crate::plugin::{Kind, PluginError};

/// What an error says of a plugin under a configuration.
pub(super) fn in_words(error: &PluginError, config: &Config) -> String {
    let misuse = uses(config).find_map(|(name, wanted)| error.misuse(name, wanted));
    misuse.map_or_else(|| error.to_string(), |misuse| misuse.to_string())
}

/// The plugins, each with what it is used as; none for a route's `component`.
fn uses(config: &Config) -> impl Iterator<Item = (&str, Option<Kind>)> {
    let policies = config.upstreams.iter().map(|upstream| &upstream.policy);
    let of_policies = policies.flat_map(|policy| {
        let fallback = policy.fallback.as_ref().and_then(Fallback::policy);
        let policies = std::iter::once(&*policy.plugin).chain(fallback);
        let filters = policy.filters.iter().map(|filter| &*filter.plugin);
        let scorers = policy.scorers.iter().map(|scorer| &*scorer.scorer.plugin);
        let of = |kind| move |name| (name, Some(kind));
        policies
            .map(of(Kind::Policy))
            .chain(filters.map(of(Kind::Filter)))
            .chain(scorers.map(of(Kind::Scorer)))
    });
    let hooks = config.hooks.iter();
    let hooks = hooks.map(|hook| (&*hook.plugin, Some(Kind::Hook)));
    let components = config.components.iter();
    let components = components.map(|component| (&*component.plugin, None));
    of_policies.chain(hooks).chain(components)
}
