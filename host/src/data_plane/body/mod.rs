//! Message bodies on their way: how far one was read, and how it is framed for the way on.

mod incoming; // what a client sends, head and body

pub(crate) use incoming::{
    BodyError, BodyProgress, CHUNK_FRAMING, Coding, Incoming, MAX_DROPPED, append, append_end,
};
