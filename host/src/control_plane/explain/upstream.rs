//! Which server the policy of an upstream would choose, and what the others are about.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use super::{AskStates, Ground, NotExplained, STATES};
use crate::admin_api::{Candidate, Choice, Explanation, ProxyTold};
use crate::control_plane::admin::standing;
use crate::control_plane::assemble::{balanced_for_check, traits};
use crate::control_plane::plugins::Selection;
use crate::data_plane::exchange::explained::Proxied;
use crate::data_plane::upstream::{PolicyStates, Upstream, WorkerUpstream};
use crate::plugin::Plugin;

/// How often a policy is asked with other random numbers.
const DRAWS: u64 = 8;

/// Tells how an upstream is asked.
///
/// # Errors
/// The upstream cannot be made.
pub(super) async fn explain(
    ground: &Ground,
    proxied: &Proxied,
    ask_states: Option<&AskStates>,
    told: &mut Explanation,
) -> Result<(), NotExplained> {
    let index = proxied.upstream;
    let config = ground.config.upstreams[index].clone();
    let serving = ground
        .served
        .as_ref()
        .and_then(|served| served.upstreams.get(index));
    let states = match ask_states {
        Some(ask) => {
            let asked = tokio::time::timeout(STATES, ask(config.name.clone()));
            asked.await.ok().and_then(Result::ok)
        }
        None => Some(PolicyStates::default()),
    };
    let upstream = Own {
        ground,
        index,
        serving: serving.map(|serving| &**serving),
        states,
    };
    let first = upstream.made(0)?;
    let shown = serving.unwrap_or(&first.shared);
    let mut proxy = ProxyTold {
        upstream: config.name.clone(),
        policy: config.policy.plugin.clone(),
        request: proxied.head_for(&first),
        servers: servers(shown, ground),
        choice: None,
        by_chance: Vec::new(),
        approximate: None,
    };
    let waiting = shown.load.waiting();
    if waiting > 0 {
        told.notes.push(format!(
            "{waiting} requests wait in the upstream's queue: another one waits behind them"
        ));
    }
    let named = shown.config.servers.iter().zip(&shown.addresses);
    let unknown = named.filter(|(_, addresses)| addresses.located.is_empty());
    told.notes.extend(unknown.map(|(server, _)| {
        let name = &server.spelling;
        format!("server `{name}` has no address: `waypost upstream list` or `check` says why")
    }));
    let choice = proxied.choose(&first);
    let mut plugins = first
        .shared
        .balancers()
        .flat_map(|balancer| balancer.plugins());
    if plugins.any(Plugin::lacked_store) {
        told.notes
            .push("the policy was not asked: it asks the store, which is left as it is".to_owned());
        mark(&mut proxy.servers, None);
        told.proxy = Some(proxy);
        return Ok(());
    }
    let policy = first.shared.policy();
    if ground.served.is_some() && upstream.states.is_none() {
        proxy.approximate =
            Some("the worker did not tell in time what its policy knows".to_owned());
    } else if ground.served.is_some() && !policy.keeps_state() {
        // Asked once more with the same numbers: what differs then is what it keeps.
        fastrand::seed(0);
        if proxied.choose(&first).picked != choice.picked {
            let policy = policy.name();
            proxy.approximate = Some(format!(
                "`{policy}` keeps something from choice to choice that it does not hand over"
            ));
        }
    } else if ground.workers > 1 && first.shared.is_per_worker() && policy.keeps_state() {
        let workers = ground.workers;
        proxy.approximate = Some(format!(
            "each of the {workers} workers has its own turn, and this is that of the first"
        ));
    }
    let mut chosen: BTreeSet<String> = choice.picked.iter().cloned().collect();
    if choice.picked.is_some() && proxy.servers.len() > 1 {
        for draw in 1..DRAWS {
            let drawn = upstream.made(draw)?;
            chosen.extend(proxied.choose(&drawn).picked);
        }
    }
    if chosen.len() > 1 {
        proxy.by_chance = chosen.into_iter().collect();
    }
    mark(&mut proxy.servers, Some(&choice));
    proxy.choice = Some(choice);
    told.proxy = Some(proxy);
    Ok(())
}

/// What upstreams of one's own are made of.
struct Own<'a> {
    ground: &'a Ground,
    index: usize,
    serving: Option<&'a Upstream>,
    /// None where the worker did not tell.
    states: Option<PolicyStates>,
}

impl Own<'_> {
    /// An upstream that begins with what the one that serves knows. `draw`: which random numbers it
    /// gets.
    fn made(&self, draw: u64) -> Result<Rc<WorkerUpstream>, NotExplained> {
        fastrand::seed(draw);
        let ground = self.ground;
        let plugins = ground.plugins.iter();
        let plugins = plugins.map(|(name, plugin)| match self.serving {
            Some(_) => (name.clone(), plugin.apart()),
            None => (name.clone(), plugin.clone()),
        });
        let plugins: Selection = plugins.collect();
        let of_upstream = (self.index, traits(&ground.config)[self.index]);
        let tls = self.serving.and_then(|serving| serving.tls.clone());
        let made = balanced_for_check(
            of_upstream,
            tls,
            &ground.config,
            &plugins,
            &ground.resolution,
        );
        let made = made.map_err(|problem| NotExplained(problem.in_one_line()))?;
        if let Some(serving) = self.serving {
            let begun = made.begin_like(serving);
            begun.map_err(|error| NotExplained(error.to_string()))?;
        }
        let made = WorkerUpstream::attach(0, Arc::new(made), None);
        if let Some(states) = &self.states {
            made.begin_with(states.clone());
        }
        Ok(made)
    }
}

/// The servers of an upstream, each with how it stands.
fn servers(upstream: &Upstream, ground: &Ground) -> Vec<Candidate> {
    let sets = upstream.sets().zip([false, true]);
    let servers = sets.flat_map(|(set, backup)| {
        let endpoints = set.in_order();
        endpoints.map(move |endpoint| {
            let mut server = standing::server(set, endpoint, backup, ground.clock);
            if ground.served.is_none() {
                // It has not been so for any time.
                server.why.iter_mut().for_each(|why| why.since_ms = None);
            }
            Candidate {
                candidate: server.in_rotation,
                why_not: None,
                server,
            }
        })
    });
    servers.collect()
}

/// Notes which servers the policy could choose from.
fn mark(servers: &mut [Candidate], choice: Option<&Choice>) {
    let has_primary = servers
        .iter()
        .any(|one| !one.server.backup && one.candidate);
    for one in servers {
        let address = one.server.address.as_deref();
        let left_out = choice.is_some_and(|choice| {
            let mut left_out = choice.left_out.iter();
            left_out.any(|left_out| Some(&**left_out) == address)
        });
        if one.server.backup && has_primary {
            one.candidate = false;
            one.why_not = Some("backup: asked once no other server is left".to_owned());
        } else if left_out {
            one.candidate = false;
            one.why_not = Some("left out by a filter, a scorer or `slow_start`".to_owned());
        }
    }
}
