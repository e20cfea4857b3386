//! The client's side: connections, what comes in on them, what goes out.

mod incoming; // request heads and bodies
mod outgoing; // responses
mod session; // a connection and its requests, one after the other

pub(crate) use incoming::{
    BodyError, BodyProgress, CHUNK_FRAMING, Coding, Incoming, append, append_end,
};
pub(crate) use outgoing::Outgoing;
pub(crate) use session::{Client, Session, run};
