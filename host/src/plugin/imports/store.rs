//! `store` in the WIT, for plugins whose calls return without waiting.

use std::sync::Arc;

use wasmtime::Result;
use wasmtime::component::{ComponentType, LinkerInstance, Lower, WasmList};

use super::answers::found_bytes;
use super::{Caller, Phase};
use crate::plugin::host_state::HostState;
use crate::store::{EmbeddedEntries, PluginStore, Pour, StoreError};

/// `store.error` in the WIT.
#[derive(ComponentType, Lower, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
pub(super) enum Error {
    #[component(name = "full")]
    Full,
    #[component(name = "unavailable")]
    Unavailable,
    #[component(name = "too-large")]
    TooLarge,
    #[component(name = "wrong-kind")]
    WrongKind,
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Error {
        match error {
            StoreError::Full => Error::Full,
            StoreError::Unavailable => Error::Unavailable,
            StoreError::TooLarge => Error::TooLarge,
            StoreError::WrongKind => Error::WrongKind,
        }
    }
}

pub(super) type Bytes = WasmList<u8>;
pub(super) type Answer<T> = std::result::Result<T, Error>;

pub(super) fn add_to(store: &mut LinkerInstance<'_, HostState>) -> Result<()> {
    add_is_elsewhere_to(store)?;
    store.func_wrap("get", |mut host: Caller<'_>, params| {
        Ok((get(&mut host, params),))
    })?;
    store.func_wrap("set", |mut host: Caller<'_>, params| {
        Ok((set(&mut host, params),))
    })?;
    store.func_wrap("add", |mut host: Caller<'_>, params| {
        Ok((add(&mut host, params),))
    })?;
    store.func_wrap("compare-and-swap", |mut host: Caller<'_>, params| {
        Ok((compare_and_swap(&mut host, params),))
    })?;
    store.func_wrap("delete", |mut host: Caller<'_>, params| {
        Ok((delete(&mut host, params),))
    })?;
    store.func_wrap("fill", |mut host: Caller<'_>, params| {
        Ok((fill(&mut host, params),))
    })
}

pub(super) fn add_is_elsewhere_to(store: &mut LinkerInstance<'_, HostState>) -> Result<()> {
    store.func_wrap("is-elsewhere", |host: Caller<'_>, (): ()| {
        let store = host.data().store.as_ref();
        Ok((store.is_some_and(PluginStore::is_elsewhere),))
    })
}

pub(super) fn get(host: &mut Caller<'_>, (key,): (Bytes,)) -> Answer<Option<Arc<Vec<u8>>>> {
    let mut failed = None;
    let value = found_bytes(host, |host, out| {
        let key = key.as_le_slice(host);
        let found = ask(host, |store| store.entries.get(store.now_ms(), key, out));
        found.unwrap_or_else(|error| {
            failed = Some(error);
            false
        })
    });
    failed.map_or(Ok(value), Err)
}

pub(super) fn set(host: &mut Caller<'_>, (key, value, ttl_ms): (Bytes, Bytes, u64)) -> Answer<()> {
    let (key, value) = (key.as_le_slice(&*host), value.as_le_slice(&*host));
    ask(host, |store| {
        store.entries.set(store.now_ms(), key, value, ttl_ms)
    })
}

pub(super) fn add(host: &mut Caller<'_>, (key, amount, ttl_ms): (Bytes, i64, u64)) -> Answer<i64> {
    let key = key.as_le_slice(&*host);
    ask(host, |store| {
        store.entries.add(store.now_ms(), key, amount, ttl_ms)
    })
}

pub(super) fn compare_and_swap(
    host: &mut Caller<'_>,
    (key, expected, value, ttl_ms): (Bytes, Option<Bytes>, Bytes, u64),
) -> Answer<bool> {
    let (key, value) = (key.as_le_slice(&*host), value.as_le_slice(&*host));
    let expected = expected.as_ref();
    let expected = expected.map(|expected| expected.as_le_slice(&*host));
    ask(host, |store| {
        let (now_ms, entries) = (store.now_ms(), &store.entries);
        entries.compare_and_swap(now_ms, key, expected, value, ttl_ms)
    })
}

pub(super) fn delete(host: &mut Caller<'_>, (key,): (Bytes,)) -> Answer<bool> {
    let key = key.as_le_slice(&*host);
    ask(host, |store| store.entries.delete(store.now_ms(), key))
}

pub(super) fn fill(
    host: &mut Caller<'_>,
    (key, amount, leak, capacity): (Bytes, u64, u64, u64),
) -> Answer<u64> {
    let key = key.as_le_slice(&*host);
    let pour = Pour {
        amount,
        leak,
        capacity,
    };
    ask(host, |store| store.entries.fill(store.now_ms(), key, pour))
}

/// Asks the store of the plugin at hand, in calls in which there is one, and where it is in this
/// process.
fn ask<T>(
    host: &Caller<'_>,
    ask: impl FnOnce(&EmbeddedEntries) -> std::result::Result<T, StoreError>,
) -> Answer<T> {
    let HostState { store, call, .. } = host.data();
    match store {
        Some(PluginStore::Embedded(store)) if call.phase != Phase::Setup => {
            ask(store).map_err(Error::from)
        }
        Some(PluginStore::Untold(store)) if call.phase != Phase::Setup => {
            store.note_asked();
            Err(Error::Unavailable)
        }
        _ => Err(Error::Unavailable),
    }
}
