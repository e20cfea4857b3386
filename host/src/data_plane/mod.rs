//! Carries exchanges. Declared from the ground up: a room may know those above it in this list, and
//! none below. A test holds the order. The way of a request begins in [`serve`].
//!
//! Nothing here reads a file, waits on a lock or knows TOML: a worker is handed a
//! [`Snapshot`](worker_config::Snapshot).

mod turn; // the time, read once in a turn of a task
pub(crate) mod wanted; // upstreams that requests have named, asked for
pub(crate) mod scrapes; // what is counted, asked for by routes
pub(crate) mod standing; // what requests and clients are doing, counted by each worker
pub(crate) mod process; // what all workers share: bounds, counters, the clock
mod unwinding; // destructors that must not panic
pub(crate) mod proxy_protocol; // the header that names the client of a proxy
pub(crate) mod stream; // a connection's two directions, and the clock on each wait
mod buffers; // lent to connections while they need them, pipes in the kernel among them
mod body; // message bodies and their framing
mod content_coding; // ... compressed and decompressed
mod copy; // one direction of a connection that is carried as it is
pub(crate) mod upstream; // choose an endpoint, send, try again
pub(crate) mod worker_config; // a configuration as a worker uses it
mod slots; // connections by what they are doing
mod drain; // connections that are to end
mod open_files; // that a worker answers with
mod request_ids; // that nobody can guess
mod host_names; // that were parsed before
mod worker; // what the connections of one thread share
mod hooked; // what hooks have to do with an exchange
mod downstream; // the client's side of a connection
mod hook_requests; // what hooks ask of upstreams
pub(crate) mod exchange; // carry one request through, and its response back
pub(crate) mod relay; // carry a connection of a stream as it is
pub(crate) mod serve; // a worker's thread, the connections it accepts and what they speak
