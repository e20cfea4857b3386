//! Hooks: plugins that decide about a request before it is balanced, and see its response and its
//! end (`hooks` in the WIT).
//!
//! A [`Hook`](SharedHook) is a plugin with its settings and all places that use it; a
//! [`WorkerHook`] is a worker's way to it. What a hook decides is data ([`Asked`]): it is the data
//! plane that carries it out.

use wasmtime::component::{ComponentType, Lift, Lower};

mod attributes; // named values
mod body; // what it wants of bodies, and is asked about them
mod changes; // what a call wants changed
mod world; // what a hook exports
mod instance; // its calls
mod slot; // an instance that comes back after faults
mod shared; // a hook as all workers share it
mod worker; // and as one worker asks it: start here

pub use self::attributes::{Attributes, BadAttribute};
pub use self::body::{Beyond, BodyCall, BodySide, BodyWish, Bound, Form, Manner};
pub use self::changes::{Changes, Check, HookAnswer, PooledChanges};
pub use self::shared::{HookContext, SharedHook};
pub use self::worker::{Asked, Ran, Unasked, WorkerHook};

pub(super) use self::body::MOST_AT_ONCE;
pub(super) use self::changes::LONGEST_DELAY;
pub(super) use self::world::{Hook, HookExports};

/// What a call of a hook is about: see `on-request` in the WIT.
#[derive(Debug, Clone, Copy)]
pub struct HookCall {
    /// Names the exchange; unique among those under way.
    pub exchange: u64,
    /// Which use of the hook this is.
    pub place: u32,
    /// A monotonic clock, in microseconds.
    pub now_us: u64,
}

/// A check is done: see `on-check` in the WIT.
#[derive(Debug, Clone, Copy)]
pub struct Checked {
    pub passed: bool,
    /// It was begun in a call about the body of a request, so that this can still be replaced.
    pub behind_body: bool,
}

/// What a hook that waits is asked about an exchange.
#[derive(Debug, Clone, Copy)]
pub enum Question<'a> {
    /// `on-request`.
    Request,
    /// `on-check`: the check that it waited for is done.
    Check(Checked),
    /// `on-request-body`, about the whole of it. Pieces are asked about without waiting.
    Body(&'a BodyCall<'a>),
}

/// What a hook decided: see `types.verdict` in the WIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lift)]
#[component(enum)]
#[repr(u8)]
pub enum Verdict {
    #[component(name = "proceed")]
    Proceed,
    #[component(name = "answer")]
    Answer,
    #[component(name = "reroute")]
    Reroute,
    #[component(name = "wait")]
    Wait,
}

/// What became of an exchange: see `on-end.summary` in the WIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ComponentType, Lower)]
#[component(record)]
pub struct ExchangeSummary {
    pub status: u16,
    pub complete: bool,
    #[component(name = "duration-us")]
    pub duration_us: u64,
    #[component(name = "bytes-sent")]
    pub bytes_sent: u64,
    #[component(name = "bytes-received")]
    pub bytes_received: u64,
}
