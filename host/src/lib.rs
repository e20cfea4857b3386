//! Waypost: a reverse proxy and load balancer whose balancing decisions are WebAssembly components.
//!
//! Declared in reading order. `ARCHITECTURE.md` has the whole picture; the way of a request begins
//! in [`data_plane`].

mod fault_injection; // for specs, in debug builds
pub mod stock; // the names of the plugins that come with the host
pub mod cli;
mod admin_api;
mod metrics; // what is counted, for those who watch
pub mod config;
pub mod import; // what nginx's configuration is here
#[allow(
    clippy::disallowed_methods,
    reason = "waits without a bound are the data plane's concern: this waits for orders"
)]
pub mod control_plane;
pub mod data_plane;
#[allow(
    clippy::disallowed_methods,
    reason = "each probe has its time; beside that it waits for what is to be looked after"
)]
mod health; // of endpoints: probes, and who is ejected
pub mod http;
pub mod tls;
#[allow(
    clippy::disallowed_methods,
    reason = "each question has its time; beside that it waits for what is to be asked"
)]
mod names; // what the names of servers stand for
#[allow(
    clippy::disallowed_methods,
    reason = "each request has its time; beside that it waits for what is to be read"
)]
mod discovery; // servers that are listed elsewhere
#[allow(
    clippy::disallowed_methods,
    reason = "each question has its time; beside that its thread waits for what is asked"
)]
pub mod store; // what plugins share
#[allow(
    clippy::disallowed_methods,
    reason = "each request has its time; beside that it waits for what is due"
)]
mod acme; // certificates that are ordered
pub mod plugin;
pub mod testbed; // plugins tried without a proxy
pub mod scaffold; // the files of a new plugin
pub mod access_log;
#[allow(
    clippy::disallowed_methods,
    reason = "each batch has its time; beside that its thread waits for what workers hand over"
)]
mod traces; // spans of requests, for a collector
mod files; // that routes answer with
#[allow(
    clippy::disallowed_methods,
    reason = "each connection has its time, which whoever makes it says"
)]
mod outgoing; // connections of the process itself
mod event_loop; // of a thread that goes on after a panic
mod file; // opened without waiting, read up to a bound
pub use allocator::Allocator;
mod allocator; // of the binary
#[cfg(any(fuzzing, test))]
pub mod fuzz; // hostile input, for `tests/fuzz`
