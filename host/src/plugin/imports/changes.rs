//! `changes` and `checks` in the WIT.
//!
//! What a hook may change is held against what a client may send: a change that HTTP does not allow
//! is refused here, so that whatever is collected can be carried out.

use std::time::Duration;

use tracing::Level;
use wasmtime::Result;
use wasmtime::component::{LinkerInstance, WasmList, WasmStr};

use super::{Caller, Phase, at_hand};
use crate::http::head::{BadChange, FieldChange, FieldOperation, HeadSide};
use crate::plugin::checks;
use crate::plugin::destinations::Destination;
use crate::plugin::hook::{BadAttribute, Changes, Check, HookAnswer, LONGEST_DELAY, PooledChanges};
use crate::plugin::host_state::HostState;
use crate::plugin::untrusted::Untrusted;

/// Bytes of an answer's body.
const ANSWER: usize = 64 << 10;
/// Bytes of a password that is checked.
const PASSWORD: usize = 4096;

/// Where a change is possible.
const REQUEST: &[Phase] = &[Phase::Request, Phase::RequestBody];
const REQUEST_OR_RESPONSE: &[Phase] = &[
    Phase::Request,
    Phase::RequestBody,
    Phase::RequestPiece,
    Phase::Response,
    Phase::ResponseBody,
];
const WITH_ANSWER: &[Phase] = &[
    Phase::Request,
    Phase::RequestBody,
    Phase::RequestPiece,
    Phase::ResponseBody,
];

/// Why a change is not made; the text is the log's.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("{0}")]
    Bad(#[from] BadChange),
    #[error("{0}")]
    Attribute(#[from] BadAttribute),
    #[error("this listener has no route with the `name` `{0}`")]
    NoRoute(Untrusted),
    #[error("there is no upstream `{0}`")]
    NoUpstream(Untrusted),
    #[error("{0}")]
    Other(&'static str),
    /// What the plugin has passed cannot be read, or must not be passed over: the end of the call.
    #[error("{0}")]
    Fatal(wasmtime::Error),
}

impl From<wasmtime::Error> for Refusal {
    fn from(error: wasmtime::Error) -> Refusal {
        Refusal::Fatal(error)
    }
}

pub(super) fn add_to(changes: &mut LinkerInstance<'_, HostState>) -> Result<()> {
    changes.func_wrap(
        "set-method",
        |mut host: Caller<'_>, (method,): (WasmStr,)| {
            change(&mut host, "set-method", REQUEST, |changes, host| {
                let method = method.to_str(host)?;
                let before = at_hand(|exchange| exchange.method().to_owned());
                let request = &mut changes.request;
                Ok(request.set_method(method.as_bytes(), before.as_bytes())?)
            })
        },
    )?;
    changes.func_wrap("set-path", |mut host: Caller<'_>, (path,): (WasmStr,)| {
        change(&mut host, "set-path", REQUEST, |changes, host| {
            Ok(changes.request.set_path(path.to_str(host)?.as_bytes())?)
        })
    })?;
    changes.func_wrap("set-query", |mut host: Caller<'_>, (query,): (WasmStr,)| {
        change(&mut host, "set-query", REQUEST, |changes, host| {
            Ok(changes.request.set_query(query.to_str(host)?.as_bytes())?)
        })
    })?;
    add_fields_to(changes)?;
    changes.func_wrap(
        "set-attribute",
        |mut host: Caller<'_>, (name, value): (WasmStr, WasmList<u8>)| {
            let phases = REQUEST_OR_RESPONSE;
            change(&mut host, "set-attribute", phases, |changes, host| {
                let (name, value) = (name.to_str(host)?, value.as_le_slice(host));
                Ok(changes.attributes.set(name.as_bytes(), value)?)
            })
        },
    )?;
    add_verdicts_to(changes)?;
    add_settings_to(changes)
}

/// The functions that change header fields, each by the name that the WIT has.
fn add_fields_to(changes: &mut LinkerInstance<'_, HostState>) -> Result<()> {
    use FieldOperation::{Add, Remove, Set};
    use HeadSide::{Request, Response};
    for (name, side, operation) in [
        ("set-request-header", Request, Set),
        ("add-request-header", Request, Add),
        ("set-response-header", Response, Set),
        ("add-response-header", Response, Add),
    ] {
        changes.func_wrap(
            name,
            move |mut host: Caller<'_>, (field, value): (WasmStr, WasmList<u8>)| {
                change_field(&mut host, (name, side, operation), &field, Some(&value))
            },
        )?;
    }
    for (name, side) in [
        ("remove-request-header", Request),
        ("remove-response-header", Response),
    ] {
        changes.func_wrap(name, move |mut host: Caller<'_>, (field,): (WasmStr,)| {
            change_field(&mut host, (name, side, Remove), &field, None)
        })?;
    }
    Ok(())
}

fn change_field(
    host: &mut Caller<'_>,
    (function, side, operation): (&'static str, HeadSide, FieldOperation),
    name: &WasmStr,
    value: Option<&WasmList<u8>>,
) -> Result<(bool,)> {
    let phases = match side {
        HeadSide::Request => REQUEST,
        HeadSide::Response => REQUEST_OR_RESPONSE,
    };
    change(host, function, phases, |changes, host| {
        let name = name.to_str(host)?;
        let field = FieldChange {
            operation,
            name: name.as_bytes(),
            value: value.map_or(&[], |value| value.as_le_slice(host)),
        };
        match side {
            HeadSide::Request => changes.request.change_field(field)?,
            HeadSide::Response => changes.response.push(side, field)?,
        }
        Ok(())
    })
}

fn add_verdicts_to(changes: &mut LinkerInstance<'_, HostState>) -> Result<()> {
    changes.func_wrap(
        "answer",
        |mut host: Caller<'_>, (status, body): (u16, WasmList<u8>)| {
            change(&mut host, "answer", WITH_ANSWER, |changes, host| {
                let body = body.as_le_slice(host);
                if !(200..=599).contains(&status) {
                    return Err(Refusal::Other("a status is from 200 to 599"));
                }
                if body.len() > ANSWER {
                    return Err(Refusal::Other("a body has 65536 bytes at most"));
                }
                let body = body.to_vec();
                changes.answer = Some(HookAnswer { status, body });
                Ok(())
            })
        },
    )?;
    changes.func_wrap("delay", |mut host: Caller<'_>, (us,): (u64,)| {
        change(&mut host, "delay", REQUEST, |changes, _| {
            let delay = Duration::from_micros(us);
            if delay > LONGEST_DELAY {
                return Err(Refusal::Other("a delay is an hour at most"));
            }
            changes.delay = delay;
            Ok(())
        })
    })?;
    changes.func_wrap("take-route", |mut host: Caller<'_>, (name,): (WasmStr,)| {
        change(&mut host, "take-route", REQUEST, |changes, host| {
            let name = name.to_str(host)?;
            let route = at_hand(|exchange| exchange.route_named(&name));
            let unknown = || Refusal::NoRoute(Untrusted::name(&name));
            changes.route = Some(route.ok_or_else(unknown)?);
            Ok(())
        })
    })?;
    changes.func_wrap(
        "take-upstream",
        |mut host: Caller<'_>, (name,): (WasmStr,)| {
            change(&mut host, "take-upstream", REQUEST, |changes, host| {
                let name = name.to_str(host)?;
                let upstream = at_hand(|exchange| exchange.upstream_named(&name));
                let unknown = || Refusal::NoUpstream(Untrusted::name(&name));
                changes.upstream = Some(upstream.ok_or_else(unknown)?);
                Ok(())
            })
        },
    )
}

/// Adds the functions by which settings are checked.
fn add_settings_to(changes: &mut LinkerInstance<'_, HostState>) -> Result<()> {
    changes.func_wrap("check-route", |host: Caller<'_>, (name,): (WasmStr,)| {
        let name = name.to_str(&host)?;
        Ok((check_destination(&host, Destination::Route, &name),))
    })?;
    changes.func_wrap("check-upstream", |host: Caller<'_>, (name,): (WasmStr,)| {
        let name = name.to_str(&host)?;
        Ok((check_destination(&host, Destination::Upstream, &name),))
    })
}

pub(super) fn add_checks_to(checks: &mut LinkerInstance<'_, HostState>) -> Result<()> {
    checks.func_wrap("check-hash", |host: Caller<'_>, (hash,): (WasmStr,)| {
        Ok((checks::what_is_wrong_with(&hash.to_str(&host)?),))
    })?;
    checks.func_wrap(
        "verify-password",
        |mut host: Caller<'_>, (hash, password): (WasmStr, WasmList<u8>)| {
            let hash = hash.to_str(&host)?.into_owned();
            let password = password.as_le_slice(&host);
            // A longer one is no person's: its check is to fail.
            let password = password[..password.len().min(PASSWORD)].to_vec();
            if REQUEST.contains(&host.data().call.phase) {
                host.data_mut().call.check = Some(Check { hash, password });
            }
            Ok(())
        },
    )
}

/// What is wrong with the name of a destination in settings; none if nothing is. While a plugin is
/// configured.
fn check_destination(host: &Caller<'_>, destination: Destination, name: &str) -> Option<String> {
    let state = host.data();
    let destinations = state.surroundings.destinations.as_ref();
    let destinations = destinations.filter(|_| state.call.phase == Phase::Setup)?;
    if destinations.has(destination, name) {
        return None;
    }
    let near = destinations.near(destination, name);
    let near = near.map(|near| format!(": {near}")).unwrap_or_default();
    let name = Untrusted::name(name);
    Some(match destination {
        Destination::Route => format!("there is no route with the `name` `{name}`{near}"),
        Destination::Upstream => format!("unknown upstream `{name}`{near}"),
    })
}

/// Makes a change in one of these phases, or logs why it is refused.
fn change(
    host: &mut Caller<'_>,
    function: &'static str,
    phases: &[Phase],
    make: impl FnOnce(&mut Changes, &Caller<'_>) -> std::result::Result<(), Refusal>,
) -> Result<(bool,)> {
    change_by(host, ("changes", function), phases, make)
}

/// As [`change`], by a function of that interface.
pub(super) fn change_by(
    host: &mut Caller<'_>,
    (interface, function): (&'static str, &'static str),
    phases: &[Phase],
    make: impl FnOnce(&mut Changes, &Caller<'_>) -> std::result::Result<(), Refusal>,
) -> Result<(bool,)> {
    let made = in_phase(host, phases).and_then(|()| {
        // They leave the state for a moment: what the plugin passes lies in its memory, which is
        // borrowed with the state.
        let changes = host.data_mut().call.changes.take();
        let mut changes = changes.unwrap_or_else(PooledChanges::take);
        let made = make(&mut changes, host);
        host.data_mut().call.changes = Some(changes);
        made
    });
    let why = match made {
        Ok(()) => return Ok((true,)),
        Err(Refusal::Fatal(error)) => return Err(error),
        Err(why) => why,
    };
    let message = Untrusted::message(format_args!("`{interface}.{function}` refused: {why}"));
    host.data_mut().log.write(Level::WARN, message, "");
    Ok((false,))
}

/// Whether the call under way may make such a change.
fn in_phase(host: &Caller<'_>, phases: &[Phase]) -> std::result::Result<(), Refusal> {
    match host.data().call.phase {
        phase if phases.contains(&phase) => Ok(()),
        Phase::RequestBody
        | Phase::RequestPiece
        | Phase::Response
        | Phase::ResponseBody
        | Phase::End => Err(Refusal::Other("it comes too late")),
        _ => Err(Refusal::Other("there is no exchange at hand")),
    }
}
