//! What plugins may ask of the host: the interfaces that `world imports` in the WIT imports, a file
//! for each group of them.
//!
//! Each function is infallible and returns at once. Buffers for answers are kept from call to call,
//! so that a plugin which reads a header for every request costs no allocation here.

use std::rc::Rc;
use std::sync::Arc;

use wasmtime::component::{Linker, LinkerInstance};
use wasmtime::{Result, StoreContextMut};

use super::context::{ExchangeContext, FleetView, UpstreamTraits};
use super::destinations::Destinations;
use super::files::PluginFiles;
use super::guest_log;
use super::hook::{Check, PooledChanges};
use super::host_state::HostState;
use super::interfaces::{PACKAGE, VERSION};
use super::waiting::Reachable;
use crate::http::variable::KnownNames;

mod answers; // buffers that are kept
mod connection; // the client's connection
mod request; // what it asks for
mod response; // what it is answered
mod exchange; // what belongs to both
mod nginx; // nginx's words
mod fleet; // endpoints
mod attempt; // one way to an endpoint
mod bodies; // what they want of bodies, and make of them
mod changes; // what hooks change
mod services; // files, the time of day, counters
mod store; // what all instances share
mod store_waiting; // ... and what is waited for
mod upstream_requests; // what they ask of upstreams

pub(super) use self::answers::Answers;

scoped_tls::scoped_thread_local!(
    /// The exchange at hand, for the length of one call. Not in the store, because an instance that
    /// all workers share moves between threads, and an exchange does not.
    pub(super) static AT_HAND: Rc<dyn ExchangeContext>
);

/// What an instance is there for.
#[derive(Default, Clone)]
pub(super) struct Surroundings {
    /// The upstream's name, and its endpoints; none for hooks and for trials of settings.
    pub(super) upstream: Option<Arc<str>>,
    pub(super) fleet: Option<Arc<dyn FleetView>>,
    /// What its variables are about, too.
    pub(super) traits: UpstreamTraits,
    /// Those that are not nginx's own.
    pub(super) variables: Arc<KnownNames>,
    pub(super) files: Option<Arc<PluginFiles>>,
    pub(super) destinations: Option<Arc<Destinations>>,
    /// The upstreams that it may ask.
    pub(super) reachable: Reachable,
}

/// What a call is about: which questions have answers in it, and what it may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Phase {
    /// Whatever is not one of the others.
    #[default]
    Other,
    /// `configure` and `attach`.
    Setup,
    /// `pick`, `narrow`, `score`.
    Choice,
    /// `done`.
    Done,
    /// `on-request` and `on-check`.
    Request,
    /// `on-request-body` with all of it, and `on-check` behind that.
    RequestBody,
    /// `on-request-body` with a piece.
    RequestPiece,
    /// `on-response`.
    Response,
    /// `on-response-body`.
    ResponseBody,
    /// `on-end`.
    End,
}

/// What the host keeps for the call under way.
#[derive(Default)]
pub(super) struct CallState {
    pub(super) phase: Phase,
    /// The value of the key by which instances are told apart.
    key: Vec<u8>,
    /// Bytes of response headers that it has added.
    added_headers: usize,
    /// What an attempt that it refuses ends with, if it has said so.
    pub(super) refusal_status: Option<u16>,
    /// None before it changes something.
    pub(super) changes: Option<PooledChanges>,
    pub(super) check: Option<Check>,
    /// It may replace the body at hand.
    pub(super) may_set_body: bool,
    /// Lines behind the body at hand.
    pub(super) trailers: Vec<u8>,
    /// Of which bodies it can be asked: those of requests, those of answers. The same in all calls.
    pub(super) sees_bodies: [bool; 2],
}

impl CallState {
    /// A call of traffic begins.
    #[inline]
    pub(super) fn begin(&mut self, phase: Phase) {
        self.phase = phase;
        self.added_headers = 0;
        self.refusal_status = None;
        self.may_set_body = false;
        self.trailers.clear();
        self.key.clear();
    }

    /// A call about an exchange with this key begins.
    #[inline]
    pub(super) fn begin_about(&mut self, phase: Phase, key: &[u8]) {
        self.begin(phase);
        self.key.extend_from_slice(key);
    }
}

type Caller<'a> = StoreContextMut<'a, HostState>;

/// Adds everything that `world imports` imports. `waits`: for plugins whose calls may be suspended.
pub(super) fn add_to(linker: &mut Linker<HostState>, waits: bool) -> Result<()> {
    connection::add_to(&mut interface(linker, "connection")?)?;
    request::add_to(&mut interface(linker, "request")?)?;
    response::add_to(&mut interface(linker, "response")?)?;
    exchange::add_to(&mut interface(linker, "exchange")?)?;
    nginx::add_variables_to(&mut interface(linker, "variables")?)?;
    nginx::add_to(&mut interface(linker, "nginx")?)?;
    fleet::add_to(&mut interface(linker, "fleet")?)?;
    fleet::add_upstream_to(&mut interface(linker, "upstream")?)?;
    attempt::add_to(&mut interface(linker, "attempt")?)?;
    bodies::add_to(&mut interface(linker, "bodies")?)?;
    changes::add_to(&mut interface(linker, "changes")?)?;
    changes::add_checks_to(&mut interface(linker, "checks")?)?;
    services::add_files_to(&mut interface(linker, "files")?)?;
    match waits {
        false => store::add_to(&mut interface(linker, "store")?)?,
        true => store_waiting::add_to(&mut interface(linker, "store")?)?,
    }
    let requests = &mut interface(linker, "upstream-requests")?;
    match waits {
        false => upstream_requests::refuse_in(requests)?,
        true => upstream_requests::add_to(requests)?,
    }
    services::add_clock_to(&mut interface(linker, "clock")?)?;
    services::add_metrics_to(&mut interface(linker, "metrics")?)?;
    guest_log::add_to(&mut interface(linker, "log")?)
}

fn interface<'a>(
    linker: &'a mut Linker<HostState>,
    name: &str,
) -> Result<LinkerInstance<'a, HostState>> {
    linker.instance(&format!("{PACKAGE}/{name}@{VERSION}"))
}

/// Asks the exchange at hand; the answer is `T`'s empty value where there is none.
pub(super) fn at_hand<T: Default>(ask: impl FnOnce(&dyn ExchangeContext) -> T) -> T {
    match AT_HAND.is_set() {
        true => AT_HAND.with(|exchange| ask(&**exchange)),
        false => T::default(),
    }
}
