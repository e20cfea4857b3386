//! `request` in the WIT.

use std::net::IpAddr;

use twox_hash::XxHash64;
use wasmtime::Result;
use wasmtime::component::{ComponentType, Lift, LinkerInstance, WasmStr};

use super::answers::{appended_text, first_value, text, value, values};
use super::{Caller, at_hand};
use crate::http::variable::Variable;
use crate::plugin::context::{ExchangeContext, HttpVersion};
use crate::plugin::host_state::HostState;

/// `request.part` in the WIT.
#[derive(ComponentType, Lift)]
#[component(variant)]
#[allow(
    dead_code,
    reason = "the engine makes these, from what the plugin passes"
)]
enum Part {
    #[component(name = "authority")]
    Authority,
    #[component(name = "path")]
    Path,
    #[component(name = "query")]
    Query,
    #[component(name = "header")]
    Header(WasmStr),
    #[component(name = "cookie")]
    Cookie(WasmStr),
    #[component(name = "client-address")]
    ClientAddress,
}

pub(super) fn add_to(request: &mut LinkerInstance<'_, HostState>) -> Result<()> {
    request.func_wrap("method", |mut host: Caller<'_>, (): ()| {
        Ok((text(&mut host, |exchange| exchange.method()),))
    })?;
    request.func_wrap("scheme", |mut host: Caller<'_>, (): ()| {
        Ok((text(&mut host, |exchange| exchange.scheme()),))
    })?;
    request.func_wrap("authority", |mut host: Caller<'_>, (): ()| {
        let authority = appended_text(&mut host, |exchange, out| {
            out.extend_from_slice(exchange.authority());
            true
        });
        Ok((authority.unwrap_or_default(),))
    })?;
    request.func_wrap("path", |mut host: Caller<'_>, (): ()| {
        Ok((text(&mut host, |exchange| exchange.path()),))
    })?;
    request.func_wrap("query", |mut host: Caller<'_>, (): ()| {
        Ok((text(&mut host, |exchange| exchange.query()),))
    })?;
    request.func_wrap("decoded-path", |mut host: Caller<'_>, (): ()| {
        let path = appended_text(&mut host, |exchange, out| {
            exchange.append(&Variable::Uri, out)
        });
        Ok((path.unwrap_or_default(),))
    })?;
    request.func_wrap("version", |_: Caller<'_>, (): ()| {
        let version = at_hand(|exchange| Some(exchange.version()));
        Ok((version.unwrap_or(HttpVersion::Http11),))
    })?;
    request.func_wrap("header", |mut host: Caller<'_>, (name,): (WasmStr,)| {
        let value = first_value(&mut host, &name, |exchange, name, each| {
            exchange.request_header(name, each);
        })?;
        Ok((value,))
    })?;
    request.func_wrap("header-all", |mut host: Caller<'_>, (name,): (WasmStr,)| {
        let values = values(&mut host, &name, |exchange, name, each| {
            exchange.request_header(name, each);
        })?;
        Ok((values,))
    })?;
    request.func_wrap("headers", |_: Caller<'_>, (): ()| {
        let mut all = Vec::new();
        at_hand(|exchange| {
            exchange.request_headers(&mut |name, value| {
                all.push((String::from_utf8_lossy(name).into_owned(), value.to_vec()));
            });
        });
        Ok((all,))
    })?;
    request.func_wrap("cookie", |mut host: Caller<'_>, (name,): (WasmStr,)| {
        let value = value(&mut host, &name, |exchange, _, name, out| {
            let value = exchange.cookie(name);
            value.map(|value| out.extend_from_slice(value)).is_some()
        })?;
        Ok((value,))
    })?;
    request.func_wrap("hash", |host: Caller<'_>, (part, seed): (Part, u64)| {
        let hash = match part {
            Part::Header(name) => of_header(&name.to_str(&host)?, seed),
            Part::Cookie(name) => {
                let name = name.to_str(&host)?;
                of(seed, |exchange| exchange.cookie(&name).unwrap_or_default())
            }
            Part::Authority => of(seed, |exchange| exchange.authority()),
            Part::Path => of(seed, |exchange| exchange.path().as_bytes()),
            Part::Query => of(seed, |exchange| exchange.query().as_bytes()),
            Part::ClientAddress => match at_hand(|exchange| exchange.client_address()) {
                Some(IpAddr::V4(address)) => XxHash64::oneshot(seed, &address.octets()),
                Some(IpAddr::V6(address)) => XxHash64::oneshot(seed, &address.octets()),
                None => XxHash64::oneshot(seed, b""),
            },
        };
        Ok((hash,))
    })
}

/// The hash of a part of the exchange at hand.
fn of(seed: u64, part: impl FnOnce(&dyn ExchangeContext) -> &[u8]) -> u64 {
    let hash = at_hand(|exchange| Some(XxHash64::oneshot(seed, part(exchange))));
    hash.unwrap_or_else(|| XxHash64::oneshot(seed, b""))
}

fn of_header(name: &str, seed: u64) -> u64 {
    let mut hash = None;
    at_hand(|exchange| {
        exchange.request_header(name, &mut |value| {
            hash.get_or_insert_with(|| XxHash64::oneshot(seed, value));
        });
    });
    hash.unwrap_or_else(|| XxHash64::oneshot(seed, b""))
}
