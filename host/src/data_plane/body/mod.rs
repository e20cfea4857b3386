//! Message bodies on their way: how they are received, how far one has come, and how it is framed
//! for the way on.

mod coding; // how a body is framed
mod receive; // the buffer that either side's bytes come in
mod pipe; // decoded as it came, coded for the way on
mod stage; // what it goes through between the two
mod incoming; // what a client sends, head and body

pub(crate) use coding::{Coding, Encoder, append, append_end};
pub(crate) use incoming::{BodyError, Incoming};
pub(crate) use pipe::{BadBody, BodyPipe, MAX_DROPPED, Taken, is_worth_splicing};
pub(crate) use receive::ReceiveBuffer;
pub(crate) use stage::{PIECE, Stage, Stopped};
