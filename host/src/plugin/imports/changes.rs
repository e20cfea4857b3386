//! `changes` and `checks` in the WIT.
//!
//! What a hook may change is held against what a client may send: a change that HTTP does not allow
//! is refused here, so that whatever is collected can be carried out.

use std::time::Duration;

use tracing::Level;
use wasmtime::Result;
use wasmtime::component::{LinkerInstance, WasmList, WasmStr};

use super::{Caller, Phase, at_hand};
use crate::http::headers;
use crate::http::path;
use crate::plugin::hook::{
    Changes, Check, HeaderEdit, HeaderEditOperation, HookAnswer, LONGEST_DELAY,
};
use crate::plugin::host_state::HostState;
use crate::plugin::untrusted::Untrusted;

/// What each change takes of the room for all, beside its text.
const OVERHEAD: usize = 8;
/// Bounds on attributes: their number in one call, and the bytes of a name.
const ATTRIBUTES: usize = 32;
const ATTRIBUTE_NAME: usize = 64;
/// Bytes of a method, and of a password that is checked.
const METHOD: usize = 64;
const PASSWORD: usize = 4096;

/// Why a change is refused; the text is the log's.
type Refusal = &'static str;

const TOO_LATE: Refusal = "it comes too late: the request is on its way";
const NOT_HERE: Refusal = "there is no exchange at hand";
const NO_ROOM: Refusal = "the changes of one call have more than 64 KiB";

pub(super) fn add_to(changes: &mut LinkerInstance<'_, HostState>) -> Result<()> {
    changes.func_wrap(
        "set-method",
        |mut host: Caller<'_>, (method,): (WasmStr,)| {
            let method = method.to_str(&host)?.into_owned();
            of_request(&mut host, "set-method", method.len(), |changes| {
                let is_method = headers::is_token(method.as_bytes())
                    && method.len() <= METHOD
                    && !matches!(&*method, "CONNECT" | "TRACE");
                match is_method {
                    true => changes.method = Some(method),
                    false => return Err("it is no method that can be passed on"),
                }
                Ok(())
            })
        },
    )?;
    changes.func_wrap("set-path", |mut host: Caller<'_>, (path,): (WasmStr,)| {
        let path = path.to_str(&host)?.into_owned();
        of_request(&mut host, "set-path", path.len(), |changes| {
            let is_path = path.starts_with('/')
                && path
                    .bytes()
                    .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#'))
                && path::normalise(path.as_bytes()).is_ok();
            match is_path {
                true => changes.path = Some(path),
                false => return Err("it is no path, or not percent-encoded"),
            }
            Ok(())
        })
    })?;
    changes.func_wrap("set-query", |mut host: Caller<'_>, (query,): (WasmStr,)| {
        let query = query.to_str(&host)?.into_owned();
        of_request(&mut host, "set-query", query.len(), |changes| {
            match query
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'#')
            {
                true => changes.query = Some(query),
                false => return Err("it is no query, or not percent-encoded"),
            }
            Ok(())
        })
    })?;
    changes.func_wrap(
        "set-request-header",
        |mut host: Caller<'_>, (name, value): (WasmStr, WasmList<u8>)| {
            let edit = edit(&host, &name, Some((&value, HeaderEditOperation::Set)))?;
            of_request(&mut host, "set-request-header", edit.1, |changes| {
                changes.request_headers.push(checked(edit.0)?);
                Ok(())
            })
        },
    )?;
    changes.func_wrap(
        "add-request-header",
        |mut host: Caller<'_>, (name, value): (WasmStr, WasmList<u8>)| {
            let edit = edit(&host, &name, Some((&value, HeaderEditOperation::Add)))?;
            of_request(&mut host, "add-request-header", edit.1, |changes| {
                let edit = checked(edit.0)?;
                if edit.name.eq_ignore_ascii_case("host") {
                    return Err("a request has one `Host`: set it");
                }
                changes.request_headers.push(edit);
                Ok(())
            })
        },
    )?;
    changes.func_wrap(
        "remove-request-header",
        |mut host: Caller<'_>, (name,): (WasmStr,)| {
            let edit = edit(&host, &name, None)?;
            of_request(&mut host, "remove-request-header", edit.1, |changes| {
                let edit = checked(edit.0)?;
                if edit.name.eq_ignore_ascii_case("host") {
                    return Err("a request has one `Host`: set it");
                }
                changes.request_headers.push(edit);
                Ok(())
            })
        },
    )?;
    add_response_changes_to(changes)?;
    add_verdicts_to(changes)
}

fn add_response_changes_to(changes: &mut LinkerInstance<'_, HostState>) -> Result<()> {
    changes.func_wrap(
        "set-response-header",
        |mut host: Caller<'_>, (name, value): (WasmStr, WasmList<u8>)| {
            let edit = edit(&host, &name, Some((&value, HeaderEditOperation::Set)))?;
            of_response(&mut host, "set-response-header", edit)
        },
    )?;
    changes.func_wrap(
        "add-response-header",
        |mut host: Caller<'_>, (name, value): (WasmStr, WasmList<u8>)| {
            let edit = edit(&host, &name, Some((&value, HeaderEditOperation::Add)))?;
            of_response(&mut host, "add-response-header", edit)
        },
    )?;
    changes.func_wrap(
        "remove-response-header",
        |mut host: Caller<'_>, (name,): (WasmStr,)| {
            let edit = edit(&host, &name, None)?;
            of_response(&mut host, "remove-response-header", edit)
        },
    )?;
    changes.func_wrap(
        "set-attribute",
        |mut host: Caller<'_>, (name, value): (WasmStr, WasmList<u8>)| {
            let name = name.to_str(&host)?.into_owned();
            let value = value.as_le_slice(&host).to_vec();
            let phases = [Phase::Request, Phase::Response];
            change(
                &mut host,
                "set-attribute",
                &phases,
                name.len() + value.len(),
                |changes| {
                    if !is_attribute_name(&name) {
                        return Err("its name is no attribute's: `a-z`, `0-9` and `_`, 64 at most");
                    }
                    changes.attributes.retain(|(known, _)| *known != name);
                    if changes.attributes.len() >= ATTRIBUTES {
                        return Err("an exchange has 32 attributes at most");
                    }
                    changes.attributes.push((name, value));
                    Ok(())
                },
            )
        },
    )
}

fn add_verdicts_to(changes: &mut LinkerInstance<'_, HostState>) -> Result<()> {
    changes.func_wrap(
        "answer",
        |mut host: Caller<'_>, (status, body): (u16, WasmList<u8>)| {
            let body = body.as_le_slice(&host).to_vec();
            of_request(&mut host, "answer", body.len(), |changes| {
                match (200..=599).contains(&status) {
                    true => changes.answer = Some(HookAnswer { status, body }),
                    false => return Err("a status is from 200 to 599"),
                }
                Ok(())
            })
        },
    )?;
    changes.func_wrap("delay", |mut host: Caller<'_>, (us,): (u64,)| {
        of_request(&mut host, "delay", 0, |changes| {
            let delay = Duration::from_micros(us);
            match delay <= LONGEST_DELAY {
                true => changes.delay = delay,
                false => return Err("a delay is an hour at most"),
            }
            Ok(())
        })
    })?;
    changes.func_wrap("take-route", |mut host: Caller<'_>, (name,): (WasmStr,)| {
        let route = {
            let name = name.to_str(&host)?;
            at_hand(|exchange| exchange.route_named(&name))
        };
        of_request(&mut host, "take-route", 0, |changes| {
            changes.route = Some(route.ok_or("this listener has no route of that name")?);
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
            of_request(&mut host, "take-upstream", 0, |changes| {
                changes.upstream = Some(upstream.ok_or("there is no upstream of that name")?);
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
            // A longer one is none that a person has; the check fails.
            let password = password[..password.len().min(PASSWORD)].to_vec();
            if host.data().call.phase == Phase::Request {
                host.data_mut().call.check = Some(Check { hash, password });
            }
            Ok(())
        },
    )
}

type Operation = fn(Vec<u8>) -> HeaderEditOperation;

/// A change to a header, and how long it is.
fn edit(
    host: &Caller<'_>,
    name: &WasmStr,
    value: Option<(&WasmList<u8>, Operation)>,
) -> Result<(HeaderEdit, usize)> {
    let name = name.to_str(host)?.into_owned();
    let (operation, length) = match value {
        Some((value, operation)) => {
            let value = value.as_le_slice(host);
            (operation(value.to_vec()), value.len())
        }
        None => (HeaderEditOperation::Remove, 0),
    };
    let length = length + name.len();
    Ok((HeaderEdit { name, operation }, length))
}

fn checked(edit: HeaderEdit) -> std::result::Result<HeaderEdit, Refusal> {
    if !headers::is_token(edit.name.as_bytes()) {
        return Err("its name is no header's");
    }
    if headers::is_framing(edit.name.as_bytes()) {
        return Err("how messages are framed is not a hook's to say");
    }
    match &edit.operation {
        HeaderEditOperation::Set(value) | HeaderEditOperation::Add(value)
            if !headers::is_value(value) =>
        {
            Err("http does not allow its value")
        }
        _ => Ok(edit),
    }
}

fn is_attribute_name(name: &str) -> bool {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
    !name.is_empty() && name.len() <= ATTRIBUTE_NAME && name.bytes().all(allowed)
}

/// A change to the request, which `on-request` alone can make.
fn of_request(
    host: &mut Caller<'_>,
    function: &'static str,
    bytes: usize,
    make: impl FnOnce(&mut Changes) -> std::result::Result<(), Refusal>,
) -> Result<(bool,)> {
    change(host, function, &[Phase::Request], bytes, make)
}

fn of_response(
    host: &mut Caller<'_>,
    function: &'static str,
    (edit, bytes): (HeaderEdit, usize),
) -> Result<(bool,)> {
    let phases = [Phase::Request, Phase::Response];
    change(host, function, &phases, bytes, |changes| {
        changes.response_headers.push(checked(edit)?);
        Ok(())
    })
}

/// Makes a change, or logs why it is refused.
fn change(
    host: &mut Caller<'_>,
    function: &'static str,
    phases: &[Phase],
    bytes: usize,
    make: impl FnOnce(&mut Changes) -> std::result::Result<(), Refusal>,
) -> Result<(bool,)> {
    let HostState { log, call, .. } = host.data_mut();
    let made = match call.phase {
        phase if phases.contains(&phase) => match call.changes.take_room(bytes + OVERHEAD) {
            true => make(&mut call.changes),
            false => Err(NO_ROOM),
        },
        Phase::Response | Phase::End => Err(TOO_LATE),
        _ => Err(NOT_HERE),
    };
    if let Err(why) = made {
        let message = Untrusted::message(format_args!("`changes.{function}` refused: {why}"));
        log.write(Level::WARN, message, "");
    }
    Ok((made.is_ok(),))
}
