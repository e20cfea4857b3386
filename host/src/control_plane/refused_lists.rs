//! Lists whose servers an upstream's policy does not take. At a start they count as lists that
//! cannot be had: whoever writes a list must not keep the process from serving.

use std::sync::Arc;

use super::assemble::{balanced_for_check, traits};
use super::plugins::Selection;
use super::servers;
use crate::config::model::{Config, UpstreamConfig};
use crate::config::problem::Problem;
use crate::discovery::{Listed, Sources};
use crate::names::Resolution;

/// The upstreams, by index, that can be served without the servers that are listed for them, and
/// not with them; each with what its policy says. `own`: the same configuration without them.
pub(super) fn refused(
    config: &Config,
    own: &Config,
    plugins: &Selection,
    resolution: &Resolution,
) -> Vec<(usize, Problem)> {
    let all_traits = traits(config);
    let upstreams = config.upstreams.iter().enumerate();
    let listing =
        upstreams.filter(|(_, upstream)| upstream.servers.iter().any(|server| server.listed));
    let refused = listing.filter_map(|(index, _)| {
        let build = |config: &Config, traits| {
            balanced_for_check((index, traits), None, config, plugins, resolution)
        };
        let problem = build(config, all_traits[index]).err()?;
        let mut without = config.clone();
        without.upstreams[index] = own.upstreams[index].clone();
        let of_own = traits(&without)[index];
        build(&without, of_own).ok().map(|_| (index, problem))
    });
    refused.collect()
}

/// Leaves out the lists that are [refused], for a start. What was known before the source answered
/// takes their place, if anything was. True where there were any: what the configuration has now
/// may be refused again.
///
/// What the process before serves is not left out for nothing: it goes on with that, until the
/// configuration takes it.
pub(super) fn leave_out(
    config: &mut Config,
    own: &Config,
    sources: &Sources,
    plugins: &Selection,
    resolution: &Resolution,
) -> bool {
    let mut is_any = false;
    for (index, problem) in &refused(config, own, plugins, resolution) {
        let (upstream, own) = (&mut config.upstreams[*index], &own.upstreams[*index]);
        let with = |listed: &Listed| {
            let mut with = UpstreamConfig::clone(own);
            servers::list(&mut with, listed);
            with
        };
        let is_tried = |listed: &Listed| with(listed) == **upstream;
        // Another list that has come meanwhile is a change like any other, later.
        let tried = sources.listed(upstream).filter(is_tried);
        let before = sources.listed_before(upstream);
        let before = before.filter(|before| tried.is_some() && !is_tried(before));
        if before.is_none() && sources.is_handed_on(upstream) {
            continue;
        }
        is_any = true;
        let meanwhile = match before.as_ref().map_or(0, |before| before.len()) {
            0 => "it begins without",
            1 => "it begins with the one known before",
            _ => "it begins with those known before",
        };
        let source = upstream.source.as_ref();
        let source = source.map_or_else(String::new, ToString::to_string);
        let (name, why) = (&upstream.name, problem.in_one_line());
        tracing::error!(
            "upstream `{name}`: its list from {source} is not served, {meanwhile}: {why}"
        );
        if let Some(tried) = tried {
            sources.refuse(upstream, tried, problem.message_in_one_line());
        }
        *upstream = before.map_or_else(|| own.clone(), |before| Arc::new(with(&before)));
    }
    is_any
}
