//! What plugins may do to us, and what we do then.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test reports by panicking"
)]

mod guests; // plugins written by hand, most of them broken
mod peers; // an exchange, a fleet and a log to look into

mod budgets;
mod cache;
mod endings;
mod faults;
mod generated;
mod host_calls;
mod lines;
mod loading;
mod reading;
mod refusals;
mod scopes;
mod wasi;
mod worlds;
