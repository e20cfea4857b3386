//! Runs a policy natively, against endpoints, figures and requests that a test makes up.
//!
//! ```
//! # use waypost_sdk::{Endpoint, Pick, Policy, Scope, Settings, SettingsError};
//! # struct First;
//! # impl Policy for First {
//! #     fn configure(_: Settings) -> Result<Self, SettingsError> { Ok(First) }
//! #     fn scope(&self) -> Scope { Scope::Worker }
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
mod endpoint;
mod request;
mod upstream;
mod simulation;

pub use damage::damaged;
pub use endpoint::{EndpointBuilder, endpoint};
pub use request::{Request, Response};
pub use simulation::{Service, Simulated, Traffic};
pub use upstream::{Exchange, Upstream};
