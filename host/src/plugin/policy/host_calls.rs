//! What plugins may ask of the host: the imports of `world policy` in the WIT.
//!
//! Each is infallible and returns at once. Buffers for answers are kept from call to call, so that
//! a plugin which reads a header for every request costs no allocation here.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use tracing::Level;
use wasmtime::component::{Linker, WasmList, WasmStr};
use wasmtime::{Result, StoreContextMut};

use super::super::host_state::HostState;
use super::super::untrusted::Untrusted;
use super::world::Policy;
use super::{ExchangeContext, FleetView, UpstreamTraits};
use crate::http::variable::{Scope, Variable};

scoped_tls::scoped_thread_local!(
    /// The exchange at hand, for the length of one `pick` or `done`. Not in the store, because an
    /// instance that all workers share moves between threads, and an exchange does not.
    pub(super) static AT_HAND: Rc<dyn ExchangeContext>
);

/// Names of variables that an instance keeps parsed; a policy reads one or two. Longer ones than so
/// many bytes are not kept: no header, cookie or argument has such a name.
const VARIABLES: usize = 64;
const VARIABLE_NAME: usize = 256;
/// Bytes of header lines that one `pick` may add to the response.
const RESPONSE_HEADERS: usize = 16 << 10;
/// Bytes of `: ` and the line's end.
const OF_A_HEADER_LINE: usize = 4;

/// What the host keeps for one instance of a policy.
#[derive(Default)]
pub(in crate::plugin) struct PolicyState {
    pub(super) fleet: Option<Arc<dyn FleetView>>,
    pub(super) upstream: UpstreamTraits,
    /// A `done` is under way: the only moment at which there is a response.
    pub(super) in_done: bool,
    bytes: Kept<Vec<u8>>,
    text: Kept<String>,
    loads: Kept<Vec<u32>>,
    values: Values,
    variables: Variables,
    /// Bytes of response headers that the call under way has added.
    added_headers: usize,
    /// The time of its last pick, in microseconds.
    latest_us: u64,
}

impl PolicyState {
    /// That of an instance for this fleet of this upstream; for a trial of settings there is none.
    pub(in crate::plugin) fn new(
        fleet: Option<Arc<dyn FleetView>>,
        upstream: UpstreamTraits,
    ) -> PolicyState {
        PolicyState {
            fleet,
            upstream,
            ..PolicyState::default()
        }
    }

    /// Before a `pick`: the time for it. A worker looks at the clock before it has its turn with an
    /// instance that all workers share, and time must not go back.
    #[inline]
    pub(super) fn begin_pick(&mut self, now_us: u64) -> u64 {
        self.added_headers = 0;
        self.latest_us = self.latest_us.max(now_us);
        self.latest_us
    }
}

/// A buffer for answers. The engine has copied an answer into the plugin and released it before the
/// next host call.
#[derive(Default)]
struct Kept<T>(Option<Arc<T>>);

impl<T: Clone + Default> Kept<T> {
    /// The buffer, filled anew. It holds the last answer until then.
    fn fill(&mut self, fill: impl FnOnce(&mut T)) -> Arc<T> {
        let buffer = self.0.get_or_insert_default();
        fill(Arc::make_mut(buffer));
        buffer.clone()
    }
}

type Caller<'a> = StoreContextMut<'a, HostState<Policy>>;

/// Adds everything that `world policy` imports.
pub(in crate::plugin) fn add_to(linker: &mut Linker<HostState<Policy>>) -> Result<()> {
    fleet(linker)?;
    request(linker)?;
    exchange(linker)?;
    response(linker)?;
    upstream(linker)?;
    variables(linker)
}

/// Asks the exchange at hand; the answer is `T`'s empty value where there is none.
fn at_hand<T: Default>(ask: impl FnOnce(&dyn ExchangeContext) -> T) -> T {
    match AT_HAND.is_set() {
        true => AT_HAND.with(|exchange| ask(&**exchange)),
        false => T::default(),
    }
}

fn fleet(linker: &mut Linker<HostState<Policy>>) -> Result<()> {
    let mut fleet = linker.instance("waypost:plugin/fleet@0.1.0")?;
    fleet.func_wrap("candidates", |_: Caller<'_>, (word,): (u32,)| {
        Ok((at_hand(|e| e.candidates(word)),))
    })?;
    fleet.func_wrap("in-flight", |host: Caller<'_>, (index,): (u32,)| {
        Ok((host
            .data()
            .world
            .fleet
            .as_ref()
            .map_or(0, |fleet| fleet.in_flight(index)),))
    })?;
    fleet.func_wrap("in-flight-all", |mut host: Caller<'_>, (): ()| {
        let PolicyState { fleet, loads, .. } = &mut host.data_mut().world;
        let loads = loads.fill(|loads| {
            loads.clear();
            if let Some(fleet) = fleet {
                loads.extend((0..fleet.len()).map(|index| fleet.in_flight(index)));
            }
        });
        Ok((loads,))
    })?;
    fleet.func_wrap("latency-us", |host: Caller<'_>, (index,): (u32,)| {
        Ok((host
            .data()
            .world
            .fleet
            .as_ref()
            .map_or(0, |fleet| fleet.latency_us(index)),))
    })?;
    fleet.func_wrap("fail-timeout", |host: Caller<'_>, (index,): (u32,)| {
        Ok((host
            .data()
            .world
            .fleet
            .as_ref()
            .map_or(0, |fleet| fleet.fail_timeout(index)),))
    })
}

fn request(linker: &mut Linker<HostState<Policy>>) -> Result<()> {
    let mut request = linker.instance("waypost:plugin/request@0.1.0")?;
    request.func_wrap("method", |mut host: Caller<'_>, (): ()| {
        Ok((text(&mut host, |e| e.method()),))
    })?;
    request.func_wrap("path", |mut host: Caller<'_>, (): ()| {
        Ok((text(&mut host, |e| e.path()),))
    })?;
    request.func_wrap("query", |mut host: Caller<'_>, (): ()| {
        Ok((text(&mut host, |e| e.query()),))
    })?;
    request.func_wrap("header", |mut host: Caller<'_>, (name,): (WasmStr,)| {
        let values = values(&mut host, &name, |e, name, each| {
            e.request_header(name, each)
        })?;
        Ok((values,))
    })?;
    request.func_wrap("cookie", |mut host: Caller<'_>, (name,): (WasmStr,)| {
        let value = value(&mut host, &name, |exchange, _, name, out| {
            match exchange.cookie(name) {
                Some(value) => {
                    out.extend_from_slice(value);
                    true
                }
                None => false,
            }
        })?;
        Ok((value,))
    })?;
    request.func_wrap("client-address", |mut host: Caller<'_>, (): ()| {
        let address = at_hand(|e| e.client_address());
        let bytes = host.data_mut().world.bytes.fill(|out| {
            out.clear();
            match address {
                Some(IpAddr::V4(address)) => out.extend_from_slice(&address.octets()),
                Some(IpAddr::V6(address)) => out.extend_from_slice(&address.octets()),
                None => {}
            }
        });
        Ok((bytes,))
    })?;
    request.func_wrap("variable", |mut host: Caller<'_>, (name,): (WasmStr,)| {
        let value = value(
            &mut host,
            &name,
            |exchange, variables, name, out| match parsed(variables, name) {
                Some(variable) => exchange.append(variable, out),
                None => false,
            },
        )?;
        Ok((value,))
    })
}

fn exchange(linker: &mut Linker<HostState<Policy>>) -> Result<()> {
    let mut exchange = linker.instance("waypost:plugin/exchange@0.1.0")?;
    exchange.func_wrap("memo", |_: Caller<'_>, (): ()| Ok((at_hand(|e| e.memo()),)))?;
    exchange.func_wrap("set-memo", |_: Caller<'_>, (value,): (u64,)| {
        at_hand(|e| e.set_memo(value));
        Ok(())
    })?;
    exchange.func_wrap(
        "add-response-header",
        |mut host: Caller<'_>, (name, value): (WasmStr, WasmList<u8>)| {
            let before = host.data().world.added_headers;
            let (added, ignored) = {
                let (name, value) = (name.to_str(&host)?, value.as_le_slice(&host));
                let length = name.len() + value.len() + OF_A_HEADER_LINE;
                match before + length <= RESPONSE_HEADERS {
                    true if at_hand(|e| e.add_response_header(&name, value)) => (length, None),
                    true => (0, Some(Untrusted::name(name))),
                    false => (length, None),
                }
            };
            let HostState { log, world, .. } = host.data_mut();
            let added_headers = &mut world.added_headers;
            *added_headers = before.saturating_add(added);
            if let Some(name) = ignored {
                let why = "http does not allow its name or value";
                log.write(
                    Level::WARN,
                    format_args!("response header `{name}` ignored: {why}"),
                );
            }
            // Said once for a call: what comes after it is ignored as well.
            if before <= RESPONSE_HEADERS && *added_headers > RESPONSE_HEADERS {
                let most = RESPONSE_HEADERS;
                log.write(
                    Level::WARN,
                    format_args!("response headers of more than {most} bytes ignored"),
                );
            }
            Ok(())
        },
    )
}

fn response(linker: &mut Linker<HostState<Policy>>) -> Result<()> {
    let mut response = linker.instance("waypost:plugin/response@0.1.0")?;
    response.func_wrap("status", |host: Caller<'_>, (): ()| {
        Ok((if host.data().world.in_done {
            at_hand(|e| e.response_status())
        } else {
            0
        },))
    })?;
    response.func_wrap("header", |mut host: Caller<'_>, (name,): (WasmStr,)| {
        let in_done = host.data().world.in_done;
        let values = values(&mut host, &name, |e, name, each| {
            if in_done {
                e.response_header(name, each);
            }
        })?;
        Ok((values,))
    })
}

fn upstream(linker: &mut Linker<HostState<Policy>>) -> Result<()> {
    let mut upstream = linker.instance("waypost:plugin/upstream@0.1.0")?;
    upstream.func_wrap("has-backups", |host: Caller<'_>, (): ()| {
        Ok((host.data().world.upstream.has_backups,))
    })?;
    upstream.func_wrap("carries-streams", |host: Caller<'_>, (): ()| {
        Ok((host.data().world.upstream.carries_streams,))
    })
}

fn variables(linker: &mut Linker<HostState<Policy>>) -> Result<()> {
    let mut variables = linker.instance("waypost:plugin/variables@0.1.0")?;
    variables.func_wrap("check", |host: Caller<'_>, (name,): (WasmStr,)| {
        let upstream = host.data().world.upstream;
        Ok((what_is_wrong_with(&name.to_str(&host)?, upstream, false),))
    })?;
    variables.func_wrap(
        "check-for-choice",
        |host: Caller<'_>, (name,): (WasmStr,)| {
            let upstream = host.data().world.upstream;
            Ok((what_is_wrong_with(&name.to_str(&host)?, upstream, true),))
        },
    )
}

/// What is wrong with a variable in the settings of a policy; none if nothing is. `for_choice`: it
/// is read before a server is chosen.
fn what_is_wrong_with(name: &str, upstream: UpstreamTraits, for_choice: bool) -> Option<String> {
    let shown = Untrusted::name(name);
    if name.len() > VARIABLE_NAME {
        return Some(format!("unknown variable `${shown}`"));
    }
    let variable = match Variable::look_up(name) {
        Ok(variable) => variable,
        Err(unknown) => {
            let meant = unknown.hint().map(|hint| format!("; {hint}"));
            return Some(format!(
                "unknown variable `${shown}`{}",
                meant.unwrap_or_default()
            ));
        }
    };
    let nowhere_in = [
        (upstream.carries_requests, Scope::Request, "for requests"),
        (upstream.carries_streams, Scope::Session, "in a stream"),
    ];
    let mut carried = nowhere_in.into_iter().filter(|(carried, ..)| *carried);
    carried.find_map(|(_, scope, place)| {
        if !variable.is_known_to(scope) {
            return Some(format!("the variable `${shown}` has no value {place}"));
        }
        let is_late = for_choice && !variable.has_value_in(scope.choice());
        is_late.then(|| {
            format!("the variable `${shown}` has no value {place} before a server is chosen")
        })
    })
}

/// A string of the exchange at hand.
fn text(host: &mut Caller<'_>, ask: impl FnOnce(&dyn ExchangeContext) -> &str) -> Arc<String> {
    host.data_mut().world.text.fill(|out| {
        out.clear();
        at_hand(|exchange| out.push_str(ask(exchange)));
    })
}

/// All values of a header of the exchange at hand.
fn values(
    host: &mut Caller<'_>,
    name: &WasmStr,
    ask: impl FnOnce(&dyn ExchangeContext, &str, &mut dyn FnMut(&[u8])),
) -> Result<Arc<Vec<Vec<u8>>>> {
    // It leaves the state for a moment, as in `value`.
    let mut kept = std::mem::take(&mut host.data_mut().world.values);
    let values = kept.fill(&name.to_str(&*host)?, ask);
    host.data_mut().world.values = kept;
    Ok(values)
}

/// Buffers for all values of a header, kept from call to call.
#[derive(Default)]
struct Values {
    values: Kept<Vec<Vec<u8>>>,
    /// Those that the last answer had no use for.
    spare: Vec<Vec<u8>>,
}

impl Values {
    fn fill(
        &mut self,
        name: &str,
        ask: impl FnOnce(&dyn ExchangeContext, &str, &mut dyn FnMut(&[u8])),
    ) -> Arc<Vec<Vec<u8>>> {
        let Values { values, spare } = self;
        values.fill(|values| {
            spare.append(values);
            at_hand(|exchange| {
                ask(exchange, name, &mut |value| {
                    let mut buffer = spare.pop().unwrap_or_default();
                    buffer.clear();
                    buffer.extend_from_slice(value);
                    values.push(buffer);
                });
            });
        })
    }
}

/// One value of the exchange at hand, if `ask` appends it and says so.
fn value(
    host: &mut Caller<'_>,
    name: &WasmStr,
    ask: impl FnOnce(&dyn ExchangeContext, &mut Variables, &str, &mut Vec<u8>) -> bool,
) -> Result<Option<Arc<Vec<u8>>>> {
    // Both leave the state for a moment: the name lies in the plugin's memory, which is borrowed
    // with the state.
    let mut kept = std::mem::take(&mut host.data_mut().world.bytes);
    let mut variables = std::mem::take(&mut host.data_mut().world.variables);
    let mut found = false;
    let value = {
        let name = name.to_str(&*host)?;
        kept.fill(|out| {
            out.clear();
            found = at_hand(|exchange| ask(exchange, &mut variables, &name, out));
        })
    };
    let state = &mut host.data_mut().world;
    (state.bytes, state.variables) = (kept, variables);
    Ok(found.then_some(value))
}

/// Names of variables that the plugin has asked for, parsed.
type Variables = Vec<(Box<str>, Option<Variable>)>;

/// The variable of that name. Names are parsed once, as many as an instance keeps.
fn parsed<'a>(variables: &'a mut Variables, name: &str) -> Option<&'a Variable> {
    if name.len() > VARIABLE_NAME {
        return None;
    }
    let place = match variables.iter().position(|(known, _)| **known == *name) {
        Some(place) => place,
        None => {
            variables.truncate(VARIABLES - 1);
            variables.push((name.into(), Variable::parse(name)));
            variables.len() - 1
        }
    };
    variables[place].1.as_ref()
}
