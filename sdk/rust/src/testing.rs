//! Runs plugins natively, against endpoints, files and requests that a test makes up: a policy in an
//! [`Upstream`], a hook as a [`Hooked`] place.
//!
//! ```
//! # use waypost_sdk::{Endpoint, Pick, Policy, Settings, SettingsError, Sharing};
//! # struct First;
//! # impl Policy for First {
//! #     fn configure(_: Settings) -> Result<Self, SettingsError> { Ok(First) }
//! #     fn sharing(&self) -> Sharing { Sharing::PerWorker }
//! #     fn update(&mut self, _: Vec<Endpoint>) {}
//! #     fn pick(&mut self, pick: &Pick) -> Option<usize> { pick.candidates().iter().next() }
//! # }
//! use waypost_sdk::testing::{Request, Upstream};
//!
//! let mut upstream = Upstream::<First>::of("{}", 3);
//! upstream.rotate_out(0);
//! let mut exchange = upstream.exchange(Request::get("/"));
//! assert_eq!(exchange.pick(), Some(1));
//! assert_eq!(exchange.pick(), Some(2)); // the retry: 1 was tried
//! assert_eq!(exchange.pick(), None);    // nothing left, so the policy is not asked
//! ```

mod damage;
mod description;
mod endpoint;
mod first;
mod services;
mod store;
mod request;
mod changed;
pub(crate) mod host;
mod preparation;
mod upstream;
mod hooked;
pub mod outgoing;
mod simulation;

pub use changed::Changed;
pub use damage::damaged;
pub use description::{check_filter_description, check_scorer_description};
pub(crate) use endpoint::Facts;
pub use endpoint::{EndpointBuilder, endpoint};
pub use first::First;
pub use hooked::{HookExchange, Hooked};
pub use request::{Request, Response};
pub use services::Services;
pub use simulation::{Service, Simulated, Traffic};
pub use store::Store;
pub use upstream::{Exchange, Upstream};
