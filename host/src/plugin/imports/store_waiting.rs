//! `store` in the WIT, for plugins whose calls may be suspended: what is elsewhere is waited for.
//!
//! Only where the call can wait; what is in this process is there at once.

use std::future::Future;
use std::sync::Arc;

use wasmtime::Result;
use wasmtime::component::{ComponentNamedList, Lift, LinkerInstance, Lower};

use super::Caller;
use super::store::{self, Answer, Bytes, Error};
use crate::plugin::host_state::HostState;
use crate::store::{PluginStore, Pour, RemoteEntries, StoreError};

pub(super) fn add_to(store: &mut LinkerInstance<'_, HostState>) -> Result<()> {
    store::add_is_elsewhere_to(store)?;
    wrap(store, "get", store::get, |there, host, (key,): (Bytes,)| {
        let key = key.as_le_slice(host).to_vec();
        async move {
            let value = there.get(&key).await?;
            Ok(value.map(Arc::new))
        }
    })?;
    wrap(
        store,
        "set",
        store::set,
        |there, host, (key, value, ttl_ms): (Bytes, Bytes, u64)| {
            let [key, value] = [key, value].map(|each| each.as_le_slice(host).to_vec());
            async move { there.set(&key, value, ttl_ms).await }
        },
    )?;
    wrap(
        store,
        "add",
        store::add,
        |there, host, (key, amount, ttl_ms): (Bytes, i64, u64)| {
            let key = key.as_le_slice(host).to_vec();
            async move { there.add(&key, amount, ttl_ms).await }
        },
    )?;
    wrap(
        store,
        "compare-and-swap",
        store::compare_and_swap,
        |there, host, (key, expected, value, ttl_ms): (Bytes, Option<Bytes>, Bytes, u64)| {
            let [key, value] = [key, value].map(|each| each.as_le_slice(host).to_vec());
            let expected = expected.map(|expected| expected.as_le_slice(host).to_vec());
            async move { there.compare_and_swap(&key, expected, value, ttl_ms).await }
        },
    )?;
    wrap(
        store,
        "delete",
        store::delete,
        |there, host, (key,): (Bytes,)| {
            let key = key.as_le_slice(host).to_vec();
            async move { there.delete(&key).await }
        },
    )?;
    wrap(
        store,
        "fill",
        store::fill,
        |there, host, (key, amount, leak, capacity): (Bytes, u64, u64, u64)| {
            let key = key.as_le_slice(host).to_vec();
            let pour = Pour {
                amount,
                leak,
                capacity,
            };
            async move { there.fill(&key, pour).await }
        },
    )
}

/// Adds a function that asks `there` where the store is elsewhere, and else does what it does `here`.
fn wrap<Params, T, Asking>(
    store: &mut LinkerInstance<'_, HostState>,
    name: &str,
    here: fn(&mut Caller<'_>, Params) -> Answer<T>,
    there: impl Fn(RemoteEntries, &Caller<'_>, Params) -> Asking + Copy + Send + Sync + 'static,
) -> Result<()>
where
    Params: ComponentNamedList + Lift + Send + 'static,
    T: Send + 'static,
    (Answer<T>,): ComponentNamedList + Lower,
    Asking: Future<Output = std::result::Result<T, StoreError>> + Send,
{
    store.func_wrap_async(name, move |mut host: Caller<'_>, params: Params| {
        Box::new(async move {
            let state = host.data();
            let elsewhere = match &state.store {
                Some(PluginStore::Remote(elsewhere)) => elsewhere.clone(),
                _ => return Ok((here(&mut host, params),)),
            };
            if !state.call_watch.is_under_way() {
                return Ok((Err(Error::Unavailable),)); // this call cannot wait
            }
            let asking = there(elsewhere, &host, params);
            Ok((asking.await.map_err(Error::from),))
        })
    })
}
