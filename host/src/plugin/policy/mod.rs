//! Plugins that choose endpoints: policies, and the filters and scorers before them (`endpoints` in
//! the WIT).
//!
//! A [`Balancer`] is a policy with its settings, its filters, scorers and fallback, over one fleet;
//! a [`WorkerBalancer`] is a worker's way to it. Whatever a plugin does, `pick` answers with a
//! candidate while there is one, unless it is refused.

use std::path::PathBuf;
use std::sync::Arc;

use wasmtime::component::{ComponentType, Lower};

mod world; // what they export
mod instance; // their calls
mod slot; // an instance that comes back after faults
mod plugin; // what is asked of one as a whole
mod rehearsal; // a pick before there is a request
mod narrowing; // filters and scorers before a policy
mod balancer; // a policy and all that goes with it: start here

pub use self::balancer::{Balancer, BalancerParts, ChosenBy, Picked, WorkerBalancer};
pub use self::narrowing::ScorerPart;
pub(super) use self::world::{Filter, FilterExports, Policy, PolicyExports, Scorer, ScorerExports};

use super::context::UpstreamTraits;
use crate::http::variable::KnownNames;

/// What a policy is configured for, beside its settings and endpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyContext {
    /// The upstream's name.
    pub upstream: String,
    pub traits: UpstreamTraits,
    /// Those that its settings may name, beside nginx's own.
    pub variables: Arc<KnownNames>,
    /// Tells one list of endpoints of the upstream from the next: see `members.update` in the WIT.
    pub generation: u64,
    /// How many workers there are.
    pub workers: usize,
    /// What paths in settings are relative to.
    pub directory: PathBuf,
}

impl Default for PolicyContext {
    fn default() -> PolicyContext {
        PolicyContext {
            upstream: String::new(),
            traits: UpstreamTraits::default(),
            variables: Arc::default(),
            generation: 1,
            workers: 1,
            directory: PathBuf::new(),
        }
    }
}

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
    #[component(name = "unused")]
    Unused,
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
