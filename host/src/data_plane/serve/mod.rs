//! The roof of the data plane: a worker's thread with its orders, the connections that it accepts,
//! and the protocols that it speaks on them.

mod thread; // a worker's event loop, and what it is told to do
mod accept; // connections from the listeners
mod room; // for clients that wait
mod connection; // what comes before the requests of one
mod http1; // requests one after the other
mod discard; // what is still sent behind an answer
mod http2; // requests side by side
mod stream_task; // each of these

pub(crate) use thread::{Order, ServeOrder, run};

#[cfg(test)]
mod tests;
