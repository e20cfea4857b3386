//! Turns a configuration into something that serves, and stops it again.

mod assemble; // plugins loaded, policies configured, logs opened: a snapshot
mod error_log; // where `tracing` writes
mod sockets; // listeners bound
mod serve; // workers started, signals heeded
mod demo; // a proxy to look at

pub use assemble::check;
pub use demo::demo;
pub use serve::run;
