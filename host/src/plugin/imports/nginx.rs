//! `variables` and `nginx` in the WIT.

use wasmtime::Result;
use wasmtime::component::{LinkerInstance, WasmStr};

use super::answers::{VARIABLE_NAME, parsed, value};
use super::fleet::of_server;
use super::{Caller, Surroundings};
use crate::http::variable::Scope;
use crate::plugin::host_state::HostState;
use crate::plugin::untrusted::Untrusted;

/// Adds the functions of `variables`.
pub(super) fn add_variables_to(variables: &mut LinkerInstance<'_, HostState>) -> Result<()> {
    variables.func_wrap("variable", |mut host: Caller<'_>, (name,): (WasmStr,)| {
        let value = value(&mut host, &name, |exchange, names, name, out| {
            parsed(names, name).is_some_and(|variable| exchange.append(variable, out))
        })?;
        Ok((value,))
    })
}

/// Adds the functions of `nginx`.
pub(super) fn add_to(nginx: &mut LinkerInstance<'_, HostState>) -> Result<()> {
    nginx.func_wrap("check-variable", |host: Caller<'_>, (name,): (WasmStr,)| {
        let surroundings = &host.data().surroundings;
        Ok((what_is_wrong_with(
            &name.to_str(&host)?,
            surroundings,
            false,
        ),))
    })?;
    nginx.func_wrap(
        "check-early-variable",
        |host: Caller<'_>, (name,): (WasmStr,)| {
            let surroundings = &host.data().surroundings;
            Ok((what_is_wrong_with(&name.to_str(&host)?, surroundings, true),))
        },
    )?;
    nginx.func_wrap("max-fails", |host: Caller<'_>, (index,): (u32,)| {
        Ok((of_server(&host, index, |server| server.max_fails),))
    })?;
    nginx.func_wrap("fail-timeout", |host: Caller<'_>, (index,): (u32,)| {
        Ok((of_server(&host, index, |server| server.fail_timeout),))
    })?;
    nginx.func_wrap("route", |host: Caller<'_>, (index,): (u32,)| {
        Ok((of_server(&host, index, |server| server.route.to_owned()),))
    })
}

/// What is wrong with a variable in the settings of a plugin; none if nothing is. `is_early`: it is
/// read before a server is chosen.
fn what_is_wrong_with(name: &str, surroundings: &Surroundings, is_early: bool) -> Option<String> {
    let shown = Untrusted::name(name);
    if name.len() > VARIABLE_NAME {
        return Some(format!("unknown variable `${shown}`"));
    }
    let phases = match surroundings.variables.look_up(name) {
        Ok(phases) => phases,
        Err(unknown) => {
            let meant = unknown.hint().map(|hint| format!("; {hint}"));
            return Some(format!(
                "unknown variable `${shown}`{}",
                meant.unwrap_or_default()
            ));
        }
    };
    let nowhere_in = [
        (
            surroundings.traits.carries_requests,
            Scope::Request,
            "for requests",
        ),
        (
            surroundings.traits.carries_streams,
            Scope::Session,
            "in a stream",
        ),
    ];
    let mut carried = nowhere_in.into_iter().filter(|(carried, ..)| *carried);
    carried.find_map(|(_, scope, place)| {
        if !phases.are_of(scope) {
            return Some(format!("the variable `${shown}` has no value {place}"));
        }
        let is_late = is_early && !phases.contains(scope.choice());
        is_late.then(|| {
            format!("the variable `${shown}` has no value {place} before a server is chosen")
        })
    })
}
