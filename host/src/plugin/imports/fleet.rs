//! `fleet` and `upstream` in the WIT.

use std::sync::Arc;

use wasmtime::Result;
use wasmtime::component::{LinkerInstance, WasmStr};

use super::{Caller, at_hand};
use crate::plugin::context::{FleetView, ServerView};
use crate::plugin::host_state::HostState;

pub(super) fn add_to(fleet: &mut LinkerInstance<'_, HostState>) -> Result<()> {
    fleet.func_wrap("name", |host: Caller<'_>, (index,): (u32,)| {
        Ok((of_server(&host, index, |server| server.name.to_owned()),))
    })?;
    fleet.func_wrap("is-down", |host: Caller<'_>, (index,): (u32,)| {
        Ok((of_server(&host, index, |server| server.down),))
    })?;
    fleet.func_wrap(
        "label",
        |host: Caller<'_>, (index, name): (u32, WasmStr)| {
            let name = name.to_str(&host)?;
            let value = of_server(&host, index, |server| {
                let found = server.labels.iter().find(|(known, _)| *known == *name);
                found.map(|(_, value)| value.clone())
            });
            Ok((value,))
        },
    )?;
    fleet.func_wrap("candidates", |host: Caller<'_>, (word,): (u32,)| {
        // Those of a group that is balanced are no concern of a hook's.
        Ok((match host.data().surroundings.fleet {
            Some(_) => at_hand(|exchange| exchange.candidates(word)),
            None => 0,
        },))
    })?;
    fleet.func_wrap("all-candidates", |mut host: Caller<'_>, (): ()| {
        let HostState {
            surroundings,
            answers,
            ..
        } = host.data_mut();
        let words = surroundings.fleet.as_ref().map_or(0, |fleet| fleet.len());
        let words = words.div_ceil(64);
        let all = answers.words.fill(|all| {
            all.clear();
            at_hand(|exchange| all.extend((0..words).map(|word| exchange.candidates(word))));
        });
        Ok((all,))
    })?;
    fleet.func_wrap("in-flight", |host: Caller<'_>, (index,): (u32,)| {
        Ok((figure(&host, |fleet| fleet.in_flight(index)),))
    })?;
    fleet.func_wrap("all-in-flight", |mut host: Caller<'_>, (): ()| {
        Ok((figures(&mut host, |fleet, all| fleet.add_in_flight(all)),))
    })?;
    fleet.func_wrap("latency-us", |host: Caller<'_>, (index,): (u32,)| {
        Ok((figure(&host, |fleet| fleet.latency_us(index)),))
    })?;
    fleet.func_wrap("all-latency-us", |mut host: Caller<'_>, (): ()| {
        Ok((figures(&mut host, |fleet, all| fleet.add_latency_us(all)),))
    })?;
    fleet.func_wrap("health", |host: Caller<'_>, (index,): (u32,)| {
        Ok((figure(&host, |fleet| fleet.health(index)),))
    })?;
    fleet.func_wrap("all-health", |mut host: Caller<'_>, (): ()| {
        Ok((figures(&mut host, |fleet, all| fleet.add_health(all)),))
    })
}

pub(super) fn add_upstream_to(upstream: &mut LinkerInstance<'_, HostState>) -> Result<()> {
    upstream.func_wrap("name", |host: Caller<'_>, (): ()| {
        Ok((host
            .data()
            .surroundings
            .upstream
            .as_deref()
            .map_or_else(String::new, str::to_owned),))
    })?;
    upstream.func_wrap("has-backups", |host: Caller<'_>, (): ()| {
        Ok((host.data().surroundings.traits.has_backups,))
    })?;
    upstream.func_wrap("carries-streams", |host: Caller<'_>, (): ()| {
        Ok((host.data().surroundings.traits.carries_streams,))
    })
}

/// What the configuration says of an endpoint; nothing where there is no such endpoint.
pub(super) fn of_server<T: Default>(
    host: &Caller<'_>,
    index: u32,
    ask: impl FnOnce(ServerView<'_>) -> T,
) -> T {
    let fleet = host.data().surroundings.fleet.as_ref();
    let server = fleet.and_then(|fleet| fleet.server(index));
    server.map(ask).unwrap_or_default()
}

fn figure(host: &Caller<'_>, ask: impl FnOnce(&dyn FleetView) -> u32) -> u32 {
    host.data().surroundings.fleet.as_deref().map_or(0, ask)
}

/// A figure of every endpoint.
fn figures(host: &mut Caller<'_>, add: impl Fn(&dyn FleetView, &mut Vec<u32>)) -> Arc<Vec<u32>> {
    let HostState {
        surroundings,
        answers,
        ..
    } = host.data_mut();
    answers.numbers.fill(|all| {
        all.clear();
        if let Some(fleet) = surroundings.fleet.as_deref() {
            add(fleet, all);
        }
    })
}
