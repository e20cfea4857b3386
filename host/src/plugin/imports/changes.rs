//! `changes` and `checks` in the WIT.
//!
//! What a hook may change is held against what a client may send: a change that HTTP does not allow
//! is refused here, so that whatever is collected can be carried out.

use std::fmt::Display;
use std::time::Duration;

use tracing::Level;
use wasmtime::Result;
use wasmtime::component::{LinkerInstance, WasmList, WasmStr};

use super::{Caller, Phase, at_hand};
use crate::http::head::{BadChange, FieldChange, FieldOperation, HeadSide};
use crate::plugin::hook::{Changes, Check, HookAnswer, LONGEST_DELAY};
use crate::plugin::host_state::HostState;
use crate::plugin::untrusted::Untrusted;

/// Bounds on the attributes of one call: their number, the bytes of a name, and all bytes.
const ATTRIBUTES: usize = 32;
const ATTRIBUTE_NAME: usize = 64;
const ATTRIBUTE_BYTES: usize = 64 << 10;
/// Bytes of an answer's body.
const ANSWER: usize = 64 << 10;
/// Bytes of a password that is checked.
const PASSWORD: usize = 4096;

/// Where a change is possible.
const REQUEST: &[Phase] = &[Phase::Request];
const REQUEST_OR_RESPONSE: &[Phase] = &[Phase::Request, Phase::Response];

/// Why a change is refused; the text is the log's.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("{0}")]
    Bad(#[from] BadChange),
    #[error("{0}")]
    Other(&'static str),
}

pub(super) fn add_to(changes: &mut LinkerInstance<'_, HostState>) -> Result<()> {
    changes.func_wrap(
        "set-method",
        |mut host: Caller<'_>, (method,): (WasmStr,)| {
            let method = method.to_str(&host)?.into_owned();
            change(&mut host, "set-method", REQUEST, |changes| {
                Ok(changes.request.set_method(method.as_bytes())?)
            })
        },
    )?;
    changes.func_wrap("set-path", |mut host: Caller<'_>, (path,): (WasmStr,)| {
        let path = path.to_str(&host)?.into_owned();
        change(&mut host, "set-path", REQUEST, |changes| {
            Ok(changes.request.set_path(path.as_bytes())?)
        })
    })?;
    changes.func_wrap("set-query", |mut host: Caller<'_>, (query,): (WasmStr,)| {
        let query = query.to_str(&host)?.into_owned();
        change(&mut host, "set-query", REQUEST, |changes| {
            Ok(changes.request.set_query(query.as_bytes())?)
        })
    })?;
    add_fields_to(changes)?;
    changes.func_wrap(
        "set-attribute",
        |mut host: Caller<'_>, (name, value): (WasmStr, WasmList<u8>)| {
            let name = name.to_str(&host)?.into_owned();
            let value = value.as_le_slice(&host).to_vec();
            change(&mut host, "set-attribute", REQUEST_OR_RESPONSE, |changes| {
                set_attribute(&mut changes.attributes, name, value)
            })
        },
    )?;
    add_verdicts_to(changes)
}

fn set_attribute(
    attributes: &mut Vec<(String, Vec<u8>)>,
    name: String,
    value: Vec<u8>,
) -> std::result::Result<(), Refusal> {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
    if name.is_empty() || name.len() > ATTRIBUTE_NAME || !name.bytes().all(allowed) {
        return Err(Refusal::Other(
            "an attribute's name is of `a-z`, `0-9` and `_`, 64 bytes at most",
        ));
    }
    attributes.retain(|(known, _)| *known != name);
    let bytes: usize = attributes.iter().map(|(_, value)| value.len()).sum();
    if attributes.len() >= ATTRIBUTES || bytes + value.len() > ATTRIBUTE_BYTES {
        return Err(Refusal::Other("32 attributes of 65536 bytes are the most"));
    }
    attributes.push((name, value));
    Ok(())
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
                let field = field.to_str(&host)?.into_owned();
                let value = value.as_le_slice(&host).to_vec();
                change_field(&mut host, (name, side, operation), &field, &value)
            },
        )?;
    }
    for (name, side) in [
        ("remove-request-header", Request),
        ("remove-response-header", Response),
    ] {
        changes.func_wrap(name, move |mut host: Caller<'_>, (field,): (WasmStr,)| {
            let field = field.to_str(&host)?.into_owned();
            change_field(&mut host, (name, side, Remove), &field, b"")
        })?;
    }
    Ok(())
}

fn change_field(
    host: &mut Caller<'_>,
    (function, side, operation): (&'static str, HeadSide, FieldOperation),
    name: &str,
    value: &[u8],
) -> Result<(bool,)> {
    let field = FieldChange {
        operation,
        name: name.as_bytes(),
        value,
    };
    match side {
        HeadSide::Request => change(host, function, REQUEST, |changes| {
            Ok(changes.request.change_field(field)?)
        }),
        HeadSide::Response => change(host, function, REQUEST_OR_RESPONSE, |changes| {
            Ok(changes.response.push(side, field)?)
        }),
    }
}

fn add_verdicts_to(changes: &mut LinkerInstance<'_, HostState>) -> Result<()> {
    changes.func_wrap(
        "answer",
        |mut host: Caller<'_>, (status, body): (u16, WasmList<u8>)| {
            let body = body.as_le_slice(&host).to_vec();
            change(&mut host, "answer", REQUEST, |changes| {
                if !(200..=599).contains(&status) {
                    return Err(Refusal::Other("a status is from 200 to 599"));
                }
                if body.len() > ANSWER {
                    return Err(Refusal::Other("a body has 65536 bytes at most"));
                }
                changes.answer = Some(HookAnswer { status, body });
                Ok(())
            })
        },
    )?;
    changes.func_wrap("delay", |mut host: Caller<'_>, (us,): (u64,)| {
        change(&mut host, "delay", REQUEST, |changes| {
            let delay = Duration::from_micros(us);
            if delay > LONGEST_DELAY {
                return Err(Refusal::Other("a delay is an hour at most"));
            }
            changes.delay = delay;
            Ok(())
        })
    })?;
    changes.func_wrap("take-route", |mut host: Caller<'_>, (name,): (WasmStr,)| {
        let route = {
            let name = name.to_str(&host)?;
            at_hand(|exchange| exchange.route_named(&name))
        };
        change(&mut host, "take-route", REQUEST, |changes| {
            let unknown = "this listener has no route of that name";
            changes.route = Some(route.ok_or(Refusal::Other(unknown))?);
            Ok(())
        })
    })?;
    changes.func_wrap(
        "take-upstream",
        |mut host: Caller<'_>, (name,): (WasmStr,)| {
            let upstream = {
                let name = name.to_str(&host)?;
                at_hand(|exchange| exchange.upstream_named(&name))
            };
            change(&mut host, "take-upstream", REQUEST, |changes| {
                let unknown = "there is no upstream of that name";
                changes.upstream = Some(upstream.ok_or(Refusal::Other(unknown))?);
                Ok(())
            })
        },
    )
}

pub(super) fn add_checks_to(checks: &mut LinkerInstance<'_, HostState>) -> Result<()> {
    checks.func_wrap(
        "verify-password",
        |mut host: Caller<'_>, (hash, password): (WasmStr, WasmList<u8>)| {
            let hash = hash.to_str(&host)?.into_owned();
            let password = password.as_le_slice(&host);
            // A longer one is no person's: its check is to fail.
            let password = password[..password.len().min(PASSWORD)].to_vec();
            if host.data().call.phase == Phase::Request {
                host.data_mut().call.check = Some(Check { hash, password });
            }
            Ok(())
        },
    )
}

/// Makes a change in one of these phases, or logs why it is refused.
fn change(
    host: &mut Caller<'_>,
    function: &'static str,
    phases: &[Phase],
    make: impl FnOnce(&mut Changes) -> std::result::Result<(), Refusal>,
) -> Result<(bool,)> {
    let HostState { log, call, .. } = host.data_mut();
    let made = match call.phase {
        phase if phases.contains(&phase) => make(&mut call.changes),
        Phase::Response | Phase::End => Err(Refusal::Other("it comes too late")),
        _ => Err(Refusal::Other("there is no exchange at hand")),
    };
    let refused = made.err();
    if let Some(why) = &refused {
        let why: &dyn Display = why;
        let message = Untrusted::message(format_args!("`changes.{function}` refused: {why}"));
        log.write(Level::WARN, message, "");
    }
    Ok((refused.is_none(),))
}
