//! Policies: plugins that choose the endpoint for each attempt (`world policy` in the WIT).
//!
//! A [`Balancer`] is a policy with its settings, and its fallback, over one fleet; a
//! [`WorkerBalancer`] is a worker's way to it. Whatever a plugin does, `pick` answers with a
//! candidate while there is one.

use std::rc::Rc;

use wasmtime::component::{ComponentType, Lift, Lower};

use crate::http::variable::VariableSource;

mod world; // what a policy exports
mod host_calls; // what it may ask of the host
mod instance; // its calls
mod slot; // an instance that comes back after faults
mod plugin; // what is asked of one as a whole
mod rehearsal; // a pick before there is a request
mod worker_role; // a policy as a worker asks it
mod balancer; // a policy and its fallback: start here

pub use self::balancer::{Balancer, Picked, WorkerBalancer};
#[cfg(test)]
pub(super) use self::host_calls::PolicyState;
pub(super) use self::host_calls::add_to;
pub(super) use self::world::Policy;

/// What the host knows of the endpoints that one policy balances. Live figures, shared by all
/// workers.
#[allow(
    clippy::len_without_is_empty,
    reason = "nobody asks whether a fleet is empty"
)]
pub trait FleetView: Send + Sync {
    /// The endpoints as `update` passes them, in order.
    fn endpoints(&self) -> Vec<EndpointView>;
    /// Attempts in progress; 0 for an index that does not exist.
    fn in_flight(&self, index: u32) -> u32;
    /// Mean time to the response header in microseconds, 0 if unknown.
    fn latency_us(&self, index: u32) -> u32;
    /// `fail_timeout` in whole seconds; 0 for an index that does not exist.
    fn fail_timeout(&self, index: u32) -> u64;
    /// How many endpoints there are.
    fn len(&self) -> u32;
}

/// What a policy is configured for, beside its settings and endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyContext {
    pub upstream: UpstreamTraits,
    /// Tells one list of endpoints of the upstream from the next: see `balancer.update` in the WIT.
    pub generation: u64,
    /// How many workers there are.
    pub workers: usize,
}

impl Default for PolicyContext {
    fn default() -> PolicyContext {
        PolicyContext {
            upstream: UpstreamTraits::default(),
            generation: 1,
            workers: 1,
        }
    }
}

/// What the settings of an upstream's policy have to fit: see `upstream` in the WIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpstreamTraits {
    pub has_backups: bool,
    pub carries_requests: bool,
    pub carries_streams: bool,
}

impl Default for UpstreamTraits {
    /// Requests only, and no backups.
    fn default() -> UpstreamTraits {
        UpstreamTraits {
            has_backups: false,
            carries_requests: true,
            carries_streams: false,
        }
    }
}

/// One endpoint as a policy sees it: see `fleet.endpoint` in the WIT.
#[derive(Debug, Clone, PartialEq, Eq, ComponentType, Lower)]
#[component(record)]
pub struct EndpointView {
    pub server: String,
    pub address: String,
    pub weight: u32,
    #[component(name = "max-fails")]
    pub max_fails: u32,
    pub down: bool,
    pub route: String,
}

/// The exchange at hand, as policies see it. [`VariableSource`] answers for `request.variable`.
pub trait ExchangeContext: VariableSource {
    /// See `fleet.candidates` in the WIT. Of the fleet being balanced at this moment.
    fn candidates(&self, word: u32) -> u64;
    fn method(&self) -> &str;
    fn path(&self) -> &str;
    fn query(&self) -> &str;
    /// Calls `each` with every value of a request header; the name in any case.
    fn request_header(&self, name: &str, each: &mut dyn FnMut(&[u8]));
    fn cookie(&self, name: &str) -> Option<&[u8]>;
    fn client_address(&self) -> Option<std::net::IpAddr>;
    fn memo(&self) -> u64;
    fn set_memo(&self, value: u64);
    /// False where HTTP does not allow the name or value.
    fn add_response_header(&self, name: &str, value: &[u8]) -> bool;
    /// Drops the headers that were added for the current attempt.
    fn forget_response_headers(&self);
    /// 0 where no response header arrived.
    fn response_status(&self) -> u16;
    fn response_header(&self, name: &str, each: &mut dyn FnMut(&[u8]));
}

/// The exchange at hand is shared between its task and the plugin call.
pub type ExchangeAtHand = Rc<dyn ExchangeContext>;

/// One attempt for which an endpoint is wanted: see `balancer.pick` in the WIT.
#[derive(Debug, Clone, Copy)]
pub struct Pick {
    /// Names the attempt; unique among those of an instance that have not ended.
    pub lease: u64,
    /// 0 for the first of an exchange, then 1, 2...
    pub attempt: u32,
    /// A monotonic clock, in microseconds.
    pub now_us: u64,
    /// Uniform over all 64 bits.
    pub random: u64,
}

/// How many instances a policy wants: see `balancer.scope` in the WIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
pub enum InstanceScope {
    /// One per worker thread.
    #[component(name = "worker")]
    Worker,
    /// One for the whole process.
    #[component(name = "process")]
    Process,
}

/// How an attempt ended: see `observer.ending` in the WIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lower)]
#[component(enum)]
#[repr(u8)]
pub enum Ending {
    #[component(name = "completed")]
    Completed,
    #[component(name = "failed")]
    Failed,
    #[component(name = "passed-over")]
    PassedOver,
    #[component(name = "abandoned")]
    Abandoned,
}

/// What became of an attempt: see `observer.outcome` in the WIT. Times in microseconds, 0 for what
/// was not reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lower)]
#[component(record)]
pub struct Outcome {
    pub ending: Ending,
    pub status: u16,
    #[component(name = "connect-us")]
    pub connect_us: u32,
    #[component(name = "header-us")]
    pub header_us: u32,
    #[component(name = "total-us")]
    pub total_us: u32,
}
