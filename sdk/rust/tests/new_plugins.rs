//! What `waypost plugin new --lang rust` begins with passes the tests that come with it, compiled
//! here with the SDK as it is.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "../../new/rust/policy.rs"]
mod policy;

#[path = "../../new/rust/hook.rs"]
mod hook;

#[path = "../../new/rust/filter.rs"]
mod filter;

#[path = "../../new/rust/scorer.rs"]
mod scorer;
