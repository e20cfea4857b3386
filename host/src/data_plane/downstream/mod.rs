//! The client's side: who it is, its handshake, what goes out to it.

mod proxy_header; // whom a connection's first bytes say that it speaks for
mod tls; // the handshake, and what came of it
mod outgoing; // responses
mod session; // a connection, and what an exchange sees of it

pub(crate) use outgoing::Outgoing;
pub(crate) use proxy_header::read_proxy_header;
pub(crate) use session::{Client, ClientConnection, Session, append_binary};
pub(crate) use tls::accept as accept_tls;
