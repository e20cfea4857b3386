//! Write Waypost policies in Rust.
//!
//! A policy chooses the endpoint that a request is sent to. It is a type that implements
//! [`Policy`], and one line that exports it:
//!
//! ```
//! use waypost_sdk::{Endpoint, Pick, Policy, Scope, Settings, SettingsError};
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
//!     fn scope(&self) -> Scope {
//!         Scope::Worker // no memory of earlier choices, so every worker may have its own
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
//! Built with `crate-type = ["cdylib"]` for `wasm32-wasip2` or `wasm32-unknown-unknown`, the crate
//! is a plugin. The stock policies in `plugins/` are written with this SDK and with nothing else.
//! [`testing`] runs a policy natively.

mod policy;
mod pick;
mod host;
mod settings;
mod units;
mod template;
mod shares;
mod hash64;
mod crc32;
mod ring;
mod state;
mod smooth;
mod draws;
pub mod log;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
#[doc(hidden)]
pub mod bindings;
#[doc(hidden)]
pub mod guest;

pub use bindings::observer::exports::waypost::plugin::observer::{Ending, Outcome};
pub use bindings::policy::exports::waypost::plugin::balancer::{Scope, SettingsError};
pub use bindings::policy::waypost::plugin::fleet::Endpoint;
pub use crc32::Crc32;
pub use draws::Draws;
pub use hash64::{endpoint_hashes, hash64};
pub use host::{Exchange, Fleet, Request, Response};
pub use pick::{Candidates, Pick};
pub use policy::{Done, Failures, Keeper, Observer, Policy};
pub use ring::Ring;
pub use serde_json::Value;
pub use settings::Settings;
pub use shares::Shares;
pub use smooth::{Round, SmoothWeighted};
pub use state::{StateEntries, StateReader, StateWriter};
pub use template::Template;
pub use units::{parse_duration, parse_size};

/// Makes a type the policy of this plugin, with the optional exports it has a use for.
///
/// `export!(Mine)` needs [`Policy`]; `export!(Mine, failures)` also [`Failures`];
/// `export!(Mine, failures, observer)` also [`Observer`]; `export!(Mine, keeper)` also [`Keeper`];
/// in any combination. What is not named is not exported, and the host does not call it. Once per
/// crate; outside of WebAssembly it only checks the types, so that unit tests of several policies
/// link into one program.
#[macro_export]
macro_rules! export {
    ($policy:ident $(, $extra:ident)* $(,)?) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            ::std::thread_local! {
                static INSTANCE: $crate::guest::Slot<$policy> = const { $crate::guest::Slot::new(None) };
            }
            struct Component;
            impl $crate::guest::Component for Component {
                type Policy = $policy;
                fn slot() -> &'static ::std::thread::LocalKey<$crate::guest::Slot<$policy>> {
                    &INSTANCE
                }
            }
            $crate::bindings::policy::export_policy!(Component with_types_in $crate::bindings::policy);
            $($crate::export!(@ $extra Component);)*
        };
        #[cfg(not(target_arch = "wasm32"))]
        const _: () = {
            const fn exports<P: $crate::Policy>() {}
            exports::<$policy>();
            $($crate::export!(@ $extra for $policy);)*
        };
    };
    (@ failures $component:ident) => {
        $crate::bindings::failures::export_failures!($component with_types_in $crate::bindings::failures);
    };
    (@ observer $component:ident) => {
        $crate::bindings::observer::export_observer!($component with_types_in $crate::bindings::observer);
    };
    (@ keeper $component:ident) => {
        $crate::bindings::keeper::export_keeper!($component with_types_in $crate::bindings::keeper);
    };
    (@ failures for $policy:ident) => {
        const fn hears_failures<P: $crate::Failures>() {}
        hears_failures::<$policy>();
    };
    (@ observer for $policy:ident) => {
        const fn observes<P: $crate::Observer>() {}
        observes::<$policy>();
    };
    (@ keeper for $policy:ident) => {
        const fn keeps<P: $crate::Keeper>() {}
        keeps::<$policy>();
    };
}
