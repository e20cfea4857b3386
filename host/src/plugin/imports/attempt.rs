//! `attempt` in the WIT.

use tracing::Level;
use wasmtime::Result;
use wasmtime::component::{LinkerInstance, WasmList, WasmStr};

use super::{Caller, Phase, at_hand};
use crate::plugin::context::{AttemptFacts, ExchangeContext};
use crate::plugin::host_state::HostState;
use crate::plugin::untrusted::Untrusted;

/// Bytes of header lines that one `pick` may add to the response.
const RESPONSE_HEADERS: usize = 16 << 10;
/// Bytes of `: ` and the line's end.
const OF_A_HEADER_LINE: usize = 4;

pub(super) fn add_to(attempt: &mut LinkerInstance<'_, HostState>) -> Result<()> {
    attempt.func_wrap("memo", |host: Caller<'_>, (): ()| {
        Ok((of_attempt(&host, |exchange| exchange.memo()),))
    })?;
    attempt.func_wrap("set-memo", |host: Caller<'_>, (value,): (u64,)| {
        of_attempt(&host, |exchange| exchange.set_memo(value));
        Ok(())
    })?;
    attempt.func_wrap(
        "add-response-header",
        |mut host: Caller<'_>, (name, value): (WasmStr, WasmList<u8>)| {
            add_response_header(&mut host, &name, &value)
        },
    )?;
    attempt.func_wrap(
        "set-refusal-status",
        |mut host: Caller<'_>, (status,): (u16,)| {
            if (400..=599).contains(&status) {
                host.data_mut().call.refusal_status = Some(status);
            }
            Ok(())
        },
    )?;
    attempt.func_wrap("failure", |host: Caller<'_>, (): ()| {
        Ok((facts(&host).failure,))
    })?;
    attempt.func_wrap("bytes-sent", |host: Caller<'_>, (): ()| {
        Ok((facts(&host).bytes_sent,))
    })?;
    attempt.func_wrap("bytes-received", |host: Caller<'_>, (): ()| {
        Ok((facts(&host).bytes_received,))
    })
}

/// Asks about an attempt, where there is one at hand: a hook has none.
fn of_attempt<T: Default>(host: &Caller<'_>, ask: impl FnOnce(&dyn ExchangeContext) -> T) -> T {
    match host.data().call.phase {
        Phase::Choice | Phase::Done => at_hand(ask),
        _ => T::default(),
    }
}

fn facts(host: &Caller<'_>) -> AttemptFacts {
    match host.data().call.phase {
        Phase::Done => at_hand(|exchange| exchange.attempt_facts()),
        _ => AttemptFacts::default(),
    }
}

fn add_response_header(host: &mut Caller<'_>, name: &WasmStr, value: &WasmList<u8>) -> Result<()> {
    if host.data().call.phase != Phase::Choice {
        let why = "response headers are added in `pick`";
        let message = format_args!("response header ignored: {why}");
        host.data_mut().log.write(Level::WARN, message, "");
        return Ok(());
    }
    let before = host.data().call.added_headers;
    let (added, ignored) = {
        let (name, value) = (name.to_str(&*host)?, value.as_le_slice(&*host));
        let length = name.len() + value.len() + OF_A_HEADER_LINE;
        match before + length <= RESPONSE_HEADERS {
            true if at_hand(|e| e.add_response_header(&name, value)) => (length, None),
            true => (0, Some(Untrusted::name(name))),
            false => (length, None),
        }
    };
    let HostState { log, call, .. } = host.data_mut();
    call.added_headers = before.saturating_add(added);
    if let Some(name) = ignored {
        let why = "http does not allow its name or value";
        log.write(
            Level::WARN,
            format_args!("response header `{name}` ignored: {why}"),
            "",
        );
    }
    // Said once for a call: what comes after it is ignored as well.
    if before <= RESPONSE_HEADERS && call.added_headers > RESPONSE_HEADERS {
        let most = RESPONSE_HEADERS;
        log.write(
            Level::WARN,
            format_args!("response headers of more than {most} bytes ignored"),
            "",
        );
    }
    Ok(())
}
