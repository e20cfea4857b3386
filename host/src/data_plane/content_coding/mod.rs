//! Bodies in another content coding: compressed for a client that takes it, decompressed for one
//! that does not. Knows no messages: what is to be recoded, and how, is decided by whoever asks.
//!
//! Works piece by piece, on what it is given and within the room that it is given.

mod compressor; // plain bytes in, coded ones out
mod gunzip; // the other way
mod recoder; // one of them, or both
mod spare; // what is kept of it for the next body, and what all of it may take

pub(crate) use recoder::{Recoder, Recoding};
pub(crate) use spare::Spare;

/// What is done with the bytes that are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// They are taken; what comes of them may come later.
    Take,
    /// All that was taken is to come out.
    Flush,
    /// Nothing follows.
    Finish,
}

/// How far a step has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    /// Bytes taken.
    pub(crate) taken: usize,
    /// Bytes that came out.
    pub(crate) written: usize,
    /// Bytes that came out of a first step and went into a second one.
    pub(crate) between: usize,
    /// The operation is done; else it wants more room.
    pub(crate) done: bool,
}

/// A body cannot be recoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadContent {
    #[error("upstream sent an invalid gzip body")]
    Gzip,
    #[error("upstream sent a gzip body that breaks off")]
    Cut,
    #[error("a body could not be compressed")]
    Encoder,
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests;
