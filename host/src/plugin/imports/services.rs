//! `files`, `clock` and `metrics` in the WIT.

use std::time::{SystemTime, UNIX_EPOCH};

use wasmtime::Result;
use wasmtime::component::{LinkerInstance, WasmStr};

use super::{Caller, Phase};
use crate::plugin::host_state::HostState;
use crate::plugin::stats::NO_COUNTER;

pub(super) fn add_files_to(files: &mut LinkerInstance<'_, HostState>) -> Result<()> {
    files.func_wrap("read", |host: Caller<'_>, (path,): (WasmStr,)| {
        let path = path.to_str(&host)?;
        let state = host.data();
        let files = state.surroundings.files.as_ref();
        Ok((match files {
            Some(files) if state.call.phase == Phase::Setup => files.read(&path),
            Some(_) => Err("files are read while a plugin is configured".to_owned()),
            None => Err("there are no files here".to_owned()),
        },))
    })?;
    files.func_wrap("is-there", |host: Caller<'_>, (path,): (WasmStr,)| {
        let path = path.to_str(&host)?;
        let state = host.data();
        let files = state.surroundings.files.as_ref();
        let may_look = state.call.phase == Phase::Setup;
        Ok((files.is_some_and(|files| files.is_there(&path, may_look)),))
    })
}

pub(super) fn add_clock_to(clock: &mut LinkerInstance<'_, HostState>) -> Result<()> {
    clock.func_wrap("wall-ms", |_: Caller<'_>, (): ()| {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let millis = since.map_or(0, |since| since.as_millis());
        Ok((u64::try_from(millis).unwrap_or(u64::MAX),))
    })
}

pub(super) fn add_metrics_to(metrics: &mut LinkerInstance<'_, HostState>) -> Result<()> {
    metrics.func_wrap("counter", |host: Caller<'_>, (name,): (WasmStr,)| {
        let name = name.to_str(&host)?;
        let figures = host.data().figures.as_ref();
        Ok((figures.map_or(NO_COUNTER, |figures| figures.counter(&name)),))
    })?;
    metrics.func_wrap("add", |host: Caller<'_>, (counter, value): (u32, u64)| {
        if let Some(figures) = &host.data().figures {
            figures.add(counter, value);
        }
        Ok(())
    })
}
