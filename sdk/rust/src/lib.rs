//! Write Waypost plugins in Rust.
//!
//! A policy chooses the endpoint that a request is sent to. It is a type that implements
//! [`Policy`], and one line that exports it:
//!
//! ```
//! use waypost_sdk::{Endpoint, Pick, Policy, Settings, SettingsError, Sharing};
//!
//! /// Sends everything to the first server that can take it.
//! pub struct First;
//!
//! impl Policy for First {
//!     fn configure(settings: Settings) -> Result<Self, SettingsError> {
//!         settings.finish()?; // there are no settings: whatever was written is a mistake
//!         Ok(First)
//!     }
//!
//!     fn sharing(&self) -> Sharing {
//!         Sharing::PerWorker // no memory of earlier choices, so every worker may have its own
//!     }
//!
//!     fn update(&mut self, _endpoints: Vec<Endpoint>) {}
//!
//!     fn pick(&mut self, pick: &Pick) -> Option<usize> {
//!         pick.candidates().iter().next()
//!     }
//! }
//!
//! waypost_sdk::export!(First);
//! # fn main() {}
//! ```
//!
//! A hook decides about requests before they are balanced. It implements [`Hook`], and a trait for
//! each phase that it has a use for:
//!
//! ```
//! use waypost_sdk::{Call, Hook, OnRequest, Settings, SettingsError, Sharing, Verdict};
//!
//! /// Turns away requests without the right key.
//! pub struct ApiKey {
//!     key: String,
//! }
//!
//! impl Hook for ApiKey {
//!     fn configure(mut settings: Settings) -> Result<Self, SettingsError> {
//!         let key = settings.text("key")?.ok_or_else(|| settings.missing("key"))?;
//!         settings.finish()?;
//!         Ok(ApiKey { key })
//!     }
//!
//!     fn sharing(&self) -> Sharing {
//!         Sharing::PerWorker
//!     }
//! }
//!
//! impl OnRequest for ApiKey {
//!     fn on_request(&mut self, call: &Call) -> Verdict {
//!         if call.request().header("x-api-key").as_deref() == Some(self.key.as_bytes()) {
//!             return Verdict::Proceed;
//!         }
//!         call.changes().answer(401, "this needs a key\n");
//!         Verdict::Answer
//!     }
//! }
//!
//! waypost_sdk::export_hook!(ApiKey, on_request);
//! # fn main() {}
//! ```
//!
//! Built with `crate-type = ["cdylib"]` for `wasm32-wasip2` or `wasm32-unknown-unknown`, the crate
//! is a plugin. The stock plugins in `plugins/` are written with this SDK and with nothing else.
//! [`testing`] runs a plugin natively.

mod policy;
mod pick;
mod endpoint;
mod hook;
mod call;
mod exchange;
mod common;
mod settings;
mod units;
mod network;
mod template;
mod schema;
mod shares;
mod hash64;
mod crc32;
mod ring;
mod state;
mod key_table;
mod smooth;
mod draws;
mod export;
pub mod clock;
pub mod files;
pub mod headers;
pub mod http;
pub mod log;
pub mod metrics;
pub mod store;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
#[doc(hidden)]
pub mod bindings;
#[doc(hidden)]
pub mod guest;

pub use bindings::imported::attempt::FailureKind;
pub use bindings::imported::bodies::{Beyond, Bound, Form, Manner};
pub use bindings::imported::request::{HttpVersion, Part};
pub use bindings::imported::types::{SettingsError, Sharing, Verdict};
pub use bindings::observer::exports::waypost::plugin::observer::{Ending, Outcome};
pub use bindings::on_end::exports::waypost::plugin::on_end::Summary;
pub use call::{Bodies, Body, Call, Changes, Checks};
pub use common::{Describe, FileChanges, Keeper, Ticker};
pub use crc32::Crc32;
pub use draws::Draws;
pub use endpoint::{Endpoint, Fleet};
pub use exchange::{Connection, Exchange, Request, Response};
pub use hash64::{endpoint_hashes, hash64};
pub use hook::{Hook, OnCheck, OnEnd, OnRequest, OnRequestBody, OnResponse, OnResponseBody};
pub use key_table::{Entry, KeyTable};
pub use network::Network;
pub use pick::{Candidates, Choice, Pick};
pub use policy::{Done, Failures, Filter, MemberChanges, Observer, Policy, Scorer};
pub use ring::Ring;
pub use schema::{About, Schema};
pub use serde_json::Value;
pub use settings::{File, Item, Settings};
pub use shares::Shares;
pub use smooth::{Round, SmoothWeighted};
pub use state::{StateEntries, StateReader, StateWriter};
pub use template::Template;
pub use units::{parse_duration, parse_size};

/// The host's functions. In a component they are called directly, so that what a plugin never asks
/// for is not imported.
#[cfg(target_arch = "wasm32")]
use bindings::imported as host;
/// The host's functions: in unit tests, answered from what the test has set up.
#[cfg(not(target_arch = "wasm32"))]
use testing::host;

/// The hook that the cookbook shows compiles.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/cookbook.md")]
struct Cookbook;
