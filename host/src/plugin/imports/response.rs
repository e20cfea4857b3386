//! `response` in the WIT.

use wasmtime::Result;
use wasmtime::component::{LinkerInstance, WasmStr};

use super::answers::{first_value, values};
use super::{Caller, Phase, at_hand};
use crate::plugin::host_state::HostState;

pub(super) fn add_to(response: &mut LinkerInstance<'_, HostState>) -> Result<()> {
    response.func_wrap("status", |host: Caller<'_>, (): ()| {
        let status = has_response(&host).then(|| at_hand(|exchange| exchange.response_status()));
        Ok((status.unwrap_or(0),))
    })?;
    response.func_wrap("header", |mut host: Caller<'_>, (name,): (WasmStr,)| {
        let has_response = has_response(&host);
        let value = first_value(&mut host, &name, |exchange, name, each| {
            if has_response {
                exchange.response_header(name, each);
            }
        })?;
        Ok((value,))
    })?;
    response.func_wrap("header-all", |mut host: Caller<'_>, (name,): (WasmStr,)| {
        let has_response = has_response(&host);
        let values = values(&mut host, &name, |exchange, name, each| {
            if has_response {
                exchange.response_header(name, each);
            }
        })?;
        Ok((values,))
    })?;
    response.func_wrap("is-local", |host: Caller<'_>, (): ()| {
        Ok((has_response(&host) && at_hand(|exchange| exchange.is_response_local()),))
    })
}

fn has_response(host: &Caller<'_>) -> bool {
    matches!(
        host.data().call.phase,
        Phase::Done | Phase::Response | Phase::ResponseBody | Phase::End
    )
}
