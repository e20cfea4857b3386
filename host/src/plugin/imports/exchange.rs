//! `exchange` in the WIT.

use wasmtime::Result;
use wasmtime::component::{LinkerInstance, WasmStr};

use super::answers::{key, value};
use super::{Caller, at_hand};
use crate::plugin::host_state::HostState;

/// Bytes of one note that are looked at; the exchange has a bound of its own.
const NOTE: usize = 1024;

pub(super) fn add_to(exchange: &mut LinkerInstance<'_, HostState>) -> Result<()> {
    exchange.func_wrap("attribute", |mut host: Caller<'_>, (name,): (WasmStr,)| {
        let value = value(&mut host, &name, |exchange, _, name, out| {
            exchange.attribute(name, out)
        })?;
        Ok((value,))
    })?;
    exchange.func_wrap("key", |mut host: Caller<'_>, (): ()| Ok((key(&mut host),)))?;
    exchange.func_wrap("note", |host: Caller<'_>, (text,): (WasmStr,)| {
        if at_hand(|exchange| exchange.is_note_wanted()) {
            let text = text.to_str(&host)?;
            let text = &text[..text.floor_char_boundary(NOTE)];
            at_hand(|exchange| exchange.note(text));
        }
        Ok(())
    })?;
    exchange.func_wrap("is-note-wanted", |_: Caller<'_>, (): ()| {
        Ok((at_hand(|exchange| exchange.is_note_wanted()),))
    })
}
