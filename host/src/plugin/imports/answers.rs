//! Buffers for answers, kept from call to call.

use std::sync::Arc;

use wasmtime::Result;
use wasmtime::component::WasmStr;

use super::{Caller, at_hand};
use crate::http::variable::Variable;
use crate::plugin::context::ExchangeContext;
use crate::plugin::host_state::HostState;

/// Names of variables that an instance keeps parsed; a plugin reads one or two. Longer ones than so
/// many bytes are not kept: no header, cookie or argument has such a name.
const VARIABLES: usize = 64;
pub(super) const VARIABLE_NAME: usize = 256;

/// Those of one instance.
#[derive(Default)]
pub(in crate::plugin) struct Answers {
    bytes: Kept<Vec<u8>>,
    text: Kept<String>,
    pub(super) words: Kept<Vec<u64>>,
    pub(super) numbers: Kept<Vec<u32>>,
    values: Values,
    variables: Variables,
}

/// A buffer for answers. The engine has copied an answer into the plugin and released it before the
/// next host call.
#[derive(Default)]
pub(super) struct Kept<T>(Option<Arc<T>>);

impl<T: Clone + Default> Kept<T> {
    /// The buffer, filled anew. It holds the last answer until then.
    pub(super) fn fill(&mut self, fill: impl FnOnce(&mut T)) -> Arc<T> {
        let buffer = self.0.get_or_insert_default();
        fill(Arc::make_mut(buffer));
        buffer.clone()
    }
}

/// Buffers for all values of a header.
#[derive(Default)]
struct Values {
    values: Kept<Vec<Vec<u8>>>,
    /// Those that the last answer had no use for.
    spare: Vec<Vec<u8>>,
}

/// A string of the exchange at hand.
pub(super) fn text(
    host: &mut Caller<'_>,
    ask: impl FnOnce(&dyn ExchangeContext) -> &str,
) -> Arc<String> {
    host.data_mut().answers.text.fill(|out| {
        out.clear();
        at_hand(|exchange| out.push_str(ask(exchange)));
    })
}

/// Text that `ask` appends, if it says so. Bytes that are no UTF-8 are replaced.
pub(super) fn appended_text(
    host: &mut Caller<'_>,
    ask: impl FnOnce(&dyn ExchangeContext, &mut Vec<u8>) -> bool,
) -> Option<Arc<String>> {
    let answers = &mut host.data_mut().answers;
    let mut found = false;
    let bytes = answers.bytes.fill(|out| {
        out.clear();
        found = at_hand(|exchange| ask(exchange, out));
    });
    found.then(|| {
        answers.text.fill(|text| {
            text.clear();
            text.push_str(&String::from_utf8_lossy(&bytes));
        })
    })
}

/// What a variable says as text; none where it has no value, or an empty one.
pub(super) fn variable_text(host: &mut Caller<'_>, variable: &Variable) -> Option<Arc<String>> {
    appended_text(host, |exchange, out| {
        exchange.append(variable, out) && !out.is_empty()
    })
}

/// Bytes that `fill` appends.
pub(super) fn bytes(host: &mut Caller<'_>, fill: impl FnOnce(&mut Vec<u8>)) -> Arc<Vec<u8>> {
    host.data_mut().answers.bytes.fill(|out| {
        out.clear();
        fill(out);
    })
}

/// Bytes that `fill` appends, if it says so.
pub(super) fn found_bytes(
    host: &mut Caller<'_>,
    fill: impl FnOnce(&Caller<'_>, &mut Vec<u8>) -> bool,
) -> Option<Arc<Vec<u8>>> {
    // It leaves the state for a moment, as in `value`.
    let mut kept = std::mem::take(&mut host.data_mut().answers.bytes);
    let mut found = false;
    let bytes = kept.fill(|out| {
        out.clear();
        found = fill(host, out);
    });
    host.data_mut().answers.bytes = kept;
    found.then_some(bytes)
}

/// The key of the exchange at hand.
pub(super) fn key(host: &mut Caller<'_>) -> Arc<Vec<u8>> {
    let HostState { answers, call, .. } = host.data_mut();
    answers.bytes.fill(|out| {
        out.clear();
        out.extend_from_slice(&call.key);
    })
}

/// All values of a header of the exchange at hand.
pub(super) fn values(
    host: &mut Caller<'_>,
    name: &WasmStr,
    ask: impl FnOnce(&dyn ExchangeContext, &str, &mut dyn FnMut(&[u8])),
) -> Result<Arc<Vec<Vec<u8>>>> {
    // It leaves the state for a moment, as in `value`.
    let mut kept = std::mem::take(&mut host.data_mut().answers.values);
    let values = kept.fill(&name.to_str(&*host)?, ask);
    host.data_mut().answers.values = kept;
    Ok(values)
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
pub(super) fn value(
    host: &mut Caller<'_>,
    name: &WasmStr,
    ask: impl FnOnce(&dyn ExchangeContext, &mut Variables, &str, &mut Vec<u8>) -> bool,
) -> Result<Option<Arc<Vec<u8>>>> {
    // Both leave the state for a moment: the name lies in the plugin's memory, which is borrowed
    // with the state.
    let mut kept = std::mem::take(&mut host.data_mut().answers.bytes);
    let mut variables = std::mem::take(&mut host.data_mut().answers.variables);
    let mut found = false;
    let value = {
        let name = name.to_str(&*host)?;
        kept.fill(|out| {
            out.clear();
            found = at_hand(|exchange| ask(exchange, &mut variables, &name, out));
        })
    };
    let answers = &mut host.data_mut().answers;
    (answers.bytes, answers.variables) = (kept, variables);
    Ok(found.then_some(value))
}

/// The first value that `ask` calls back with.
pub(super) fn first_value(
    host: &mut Caller<'_>,
    name: &WasmStr,
    ask: impl FnOnce(&dyn ExchangeContext, &str, &mut dyn FnMut(&[u8])),
) -> Result<Option<Arc<Vec<u8>>>> {
    value(host, name, |exchange, _, name, out| {
        let mut found = false;
        ask(exchange, name, &mut |value| {
            if !std::mem::replace(&mut found, true) {
                out.extend_from_slice(value);
            }
        });
        found
    })
}

/// Names of variables that the plugin has asked for, parsed.
pub(super) type Variables = Vec<(Box<str>, Option<Variable>)>;

/// The variable of that name. Names are parsed once, as many as an instance keeps.
pub(super) fn parsed<'a>(variables: &'a mut Variables, name: &str) -> Option<&'a Variable> {
    if name.len() > VARIABLE_NAME {
        return None;
    }
    let place = match variables.iter().position(|(known, _)| **known == *name) {
        Some(place) => place,
        None => {
            variables.truncate(VARIABLES - 1);
            variables.push((name.into(), Variable::parse_or_named(name)));
            variables.len() - 1
        }
    };
    variables[place].1.as_ref()
}
