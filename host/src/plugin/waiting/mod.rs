//! Hooks that wait: what is different for plugins that are granted `http`.
//!
//! Such a plugin is the same code on the same engine, linked to WASI's own `io`, `clocks` and `http`
//! ([`linker`]) instead of the [WASI that reaches nothing](super::wasi). A call of it runs on a stack
//! of its own, which is left while it waits ([`call`]), and given up to the event loop at each tick of
//! the clock while it computes: neither holds up the worker for longer than a tick. What it asks of
//! upstreams goes to whoever made the call ([`requests`]), over the worker's own connections.

mod call; // a call that may be left and come back to
mod fields; // what its requests say beside their target
mod linker; // what it may import
mod requests; // what it asks of upstreams
mod stdio; // what it prints
mod under_way; // how much of what it asks is under way

use std::sync::Arc;

use wasmtime::component::ResourceTable;
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::p2::body::HostOutgoingBody;
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use self::fields::FIELDS;
use super::host_state::HostState;

pub(super) use self::call::{CallWatch, at_once, run};
pub use self::fields::FieldLines;
pub(super) use self::linker::{add_to, is_waiting};
pub(super) use self::requests::{Answered, NotSent, Outgoing, Patience, Reachable, RequestPort};
pub use self::requests::{
    BodyBroken, HookRequest, HookRequestSender, HookRequests, HookResponse, RefusedRequest,
    RequestAnswer, RequestBody, Timeouts, hook_requests,
};
pub use self::under_way::{CountedRequest, RequestsUnderWay};

/// What the host keeps for one instance that may wait.
pub(super) struct Waiting {
    wasi: WasiCtx,
    table: ResourceTable,
    http: WasiHttpCtx,
    pub(super) port: RequestPort,
}

/// Host resources of one instance at a time.
const RESOURCES: usize = 4096;

impl Waiting {
    pub(super) fn new(plugin: &Arc<str>, reachable: Reachable) -> Waiting {
        let mut wasi = WasiCtxBuilder::new();
        stdio::log_to(&mut wasi, plugin);
        let mut table = ResourceTable::new();
        table.set_max_capacity(RESOURCES);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(FIELDS);
        Waiting {
            wasi: wasi.build(),
            table,
            http,
            port: RequestPort::new(plugin, reachable),
        }
    }

    /// Whether the guest holds a body that it has not finished.
    pub(super) fn has_open_body(&mut self) -> bool {
        let mut resources = self.table.iter_mut();
        resources.any(|resource| resource.is::<HostOutgoingBody>())
    }
}

impl WasiView for HostState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let waiting = self.waiting();
        WasiCtxView {
            ctx: &mut waiting.wasi,
            table: &mut waiting.table,
        }
    }
}

impl WasiHttpView for HostState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let waiting = self.waiting();
        WasiHttpCtxView {
            ctx: &mut waiting.http,
            table: &mut waiting.table,
            hooks: &mut waiting.port,
        }
    }
}
