//! Runs plugins. The only module that knows wasmtime.
//!
//! A [`Runtime`] loads [`Plugin`]s. What they are good for is a world's part ([`world`]): policies,
//! filters and scorers in `policy`, hooks in `hook`. All else, here, is the same for all of them.

mod engine_config; // how code is compiled and run; shared with the build script
mod engine; // the engine and the plugins at hand: start here
mod clock; // stops calls that run on
mod options; // what a plugin may do and use up
mod file; // its bytes
mod hash; // the name of its content
mod trust; // whether that is what the operator trusts
mod inspect; // what is in it, before anything is compiled
mod compile_process; // compiled in a process of its own
mod debug_lines; // where in its sources a fault is
mod cache; // compiled code that is kept
mod world; // kinds of plugins
mod common; // what all kinds export
mod component; // compiled code becomes a plugin
mod interfaces; // what it may import
mod context; // what it is told about
mod imports; // what it may ask
mod settings_texts; // what its settings name
mod files; // files among that
mod destinations; // routes and upstreams that they name
mod wasi; // a WASI that reaches nothing
mod stubs; // what of it is there only so that components load
mod waiting; // what hooks that ask upstreams have instead
mod host_state; // what the host keeps for an instance
mod guest_log; // what plugins have to say
mod limits; // what an instance may use up
mod stats; // what plugins cost
mod instance; // one instance and its calls
mod slot; // keeps an instance through faults
mod pool; // several, of those whose calls wait
mod role; // a use of a plugin, for all workers
mod worker_role; // ... and for one of them
mod policy; // plugins that choose endpoints
mod hook; // plugins that decide about requests
mod handler; // components that answer them
pub mod checks; // passwords that they have checked
mod history; // what happened to a plugin
mod budget; // how much of a worker's time a plugin may take
mod trial; // one version beside another
mod rails; // what the difference may be
mod beside; // an exchange that must not change
mod untrusted; // text of plugins, bounded and escaped
mod error;

#[cfg(test)]
mod tests;

pub use self::beside::Beside;
pub use self::cache::default_cache_directory;
pub use self::common::About;
pub use self::compile_process::{COMMAND, compile_plugin};
pub use self::component::Plugin;
pub use self::context::{
    AttemptFacts, EndpointView, ExchangeAtHand, ExchangeContext, FailureKind, FleetView,
    HttpVersion, ServerView, UpstreamTraits,
};
pub use self::destinations::DestinationNames;
pub use self::engine::{Compiler, Runtime};
pub use self::error::{ConfigureError, FaultKind, PluginError, PluginFault};
pub use self::files::PluginFiles;
pub use self::handler::{
    AnswerBody, AnswerPart, Answered, ClientBody, ClientBodyGone, ClientBodySender, Handling,
    NoAnswer, SharedHandler, Unfinished, WorkerHandler, client_body,
};
pub use self::hash::Hash;
pub use self::history::{PluginEvent, PluginEventKind, PluginHistory};
pub use self::hook::{
    Asked, Attributes, BadAttribute, Beyond, BodyCall, BodySide, BodyWish, Bound, Changes, Check,
    Checked, ExchangeSummary, Form, HookAnswer, HookCall, HookContext, Manner, PooledChanges,
    Question, Ran, SharedHook, Unasked, Verdict, WorkerHook,
};
pub use self::inspect::{Inspection, PluginKind};
pub use self::interfaces::grants_needed;
pub use self::options::PluginOptions;
pub use self::policy::{
    Balancer, BalancerParts, ChosenBy, Ending, Outcome, Pick, Picked, PolicyContext, ScorerPart,
    WorkerBalancer,
};
pub use self::settings_texts::each_text;
pub use self::stats::{Cost, PluginCounters};
pub use self::trial::{Picks, Trial, Version, lot, lot_of_client};
pub use self::trust::{SIGNATURE_SIZE, SignedIn};
pub use self::untrusted::Untrusted;
pub use self::waiting::{
    BodyBroken, CountedRequest, FieldLines, HookRequest, HookRequestSender, HookRequests,
    HookResponse, RefusedRequest, RequestAnswer, RequestBody, RequestsUnderWay, Timeouts,
    hook_requests,
};
pub use self::worker_role::deliver_late_reports;
pub use self::world::Kind;
