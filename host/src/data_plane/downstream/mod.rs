//! The client's side of an exchange: its address and identity, its handshake, the responses to it.

mod proxy_header; // the client that a PROXY header names
mod tls; // the handshake, and what came of it
mod outgoing; // responses
mod session; // a connection, and what an exchange sees of it

pub(crate) use outgoing::{Outgoing, Unsent};
pub(crate) use proxy_header::read_proxy_header;
pub(crate) use session::{Client, ClientConnection, LocalEnd, Session, append_binary};
pub(crate) use tls::accept as accept_tls;
