//! Message bodies on their way: how far one was read, and how it is framed for the way on.

mod incoming; // what a client sends, head and body
mod response; // a response's, decoded and coded anew

pub(crate) use incoming::{
    BodyError, BodyProgress, CHUNK_FRAMING, Coding, Incoming, MAX_DROPPED, append, append_end,
};
pub(crate) use response::{ResponseBody, TakenBody};

/// Tells by its name whether a trailer goes on.
pub(crate) type PassesTrailer<'a> = &'a dyn Fn(&[u8]) -> bool;
