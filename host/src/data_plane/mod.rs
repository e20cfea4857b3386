//! Carries exchanges. Declared in the order a request meets them.
//!
//! Nothing here reads a file, waits on a lock or knows TOML: a worker is handed a
//! [`Snapshot`](worker::Snapshot).

pub(crate) mod worker; // one thread, its event loop and all that it owns
mod drain; // connections that are to end
pub(crate) mod accept; // take connections from the listeners
pub(crate) mod stream; // a connection's two directions, and the clock on each wait
pub(crate) mod proxy_protocol; // whom a connection speaks for, in its first bytes
mod buffers; // lent to connections while they need them
mod copy; // one direction of a connection that is carried as it is
mod downstream; // requests in, responses out
pub(crate) mod relay; // carry a connection of a stream as it is
pub(crate) mod exchange; // carry one request through, and its response back: start here
pub(crate) mod upstream; // choose an endpoint, send, try again
