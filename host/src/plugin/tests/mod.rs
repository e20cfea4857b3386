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
mod changes;
mod contract;
mod counters;
mod endings;
mod faults;
mod files;
mod generated;
mod hook_endings;
mod hooks;
mod host_calls;
mod keys;
mod kinds;
mod lines;
mod loading;
mod members;
mod narrowing;
mod reading;
mod refusals;
mod scopes;
mod store;
mod ticks;
mod wasi;
