//! `bodies` in the WIT.

use wasmtime::Result;
use wasmtime::component::{LinkerInstance, WasmList};

use super::changes::{Refusal, change_by};
use super::{Caller, Phase};
use crate::plugin::hook::{BodyWish, Form, MOST_AT_ONCE, Manner};
use crate::plugin::host_state::HostState;

const WITH_BODY: &[Phase] = &[Phase::RequestBody, Phase::RequestPiece, Phase::ResponseBody];

pub(super) fn add_to(bodies: &mut LinkerInstance<'_, HostState>) -> Result<()> {
    bodies.func_wrap(
        "want-request-body",
        |mut host: Caller<'_>, (manner,): (Manner,)| {
            let phases = &[Phase::Request];
            let form = Form::AsSent;
            change_by(
                &mut host,
                ("bodies", "want-request-body"),
                phases,
                |changes, host| {
                    if !host.data().call.sees_bodies[0] {
                        return Err(Refusal::Other("the hook exports no `on-request-body`"));
                    }
                    changes.wish = Some(BodyWish { manner, form });
                    Ok(())
                },
            )
        },
    )?;
    bodies.func_wrap(
        "want-response-body",
        |mut host: Caller<'_>, (manner, form): (Manner, Form)| {
            let phases = &[Phase::Response];
            change_by(
                &mut host,
                ("bodies", "want-response-body"),
                phases,
                |changes, host| {
                    if !host.data().call.sees_bodies[1] {
                        return Err(Refusal::Other("the hook exports no `on-response-body`"));
                    }
                    changes.wish = Some(BodyWish { manner, form });
                    Ok(())
                },
            )
        },
    )?;
    bodies.func_wrap(
        "set-body",
        |mut host: Caller<'_>, (body,): (WasmList<u8>,)| {
            change_by(
                &mut host,
                ("bodies", "set-body"),
                WITH_BODY,
                |changes, host| {
                    if !host.data().call.may_set_body {
                        return Err(Refusal::Other("the body is only watched"));
                    }
                    let body = body.as_le_slice(host);
                    if body.len() > MOST_AT_ONCE {
                        // What the hook wants gone must not go on.
                        let why = "a hook gives 16777216 bytes of a body at once at most";
                        return Err(Refusal::Fatal(wasmtime::Error::msg(why)));
                    }
                    changes.body = Some(body.to_vec());
                    Ok(())
                },
            )
        },
    )?;
    bodies.func_wrap("trailers", |host: Caller<'_>, (): ()| {
        let lines = &host.data().call.trailers;
        let lines = lines.split(|byte| *byte == b'\n');
        let fields = lines.filter_map(|line| {
            let colon = memchr::memchr(b':', line)?;
            let name = String::from_utf8_lossy(&line[..colon]).into_owned();
            Some((name, line[colon + 1..].trim_ascii().to_vec()))
        });
        Ok((fields.collect::<Vec<(String, Vec<u8>)>>(),))
    })
}
