//! What a body goes through between its decoding and its coding, piece by piece.

use crate::data_plane::buffers::BODY;
use crate::plugin::{HookAnswer, Untrusted};

/// Bytes of a body that go through it at once.
pub(crate) const PIECE: usize = BODY;

/// A stage on the way of one body.
pub(crate) trait Stage {
    /// Takes a piece, and appends what goes on of it to `out`. `end`: nothing follows but these
    /// trailer lines; once, with the last piece or none.
    ///
    /// # Errors
    /// [`Stopped`]; nothing else is to go through it.
    fn pass(&mut self, piece: &[u8], end: Option<&[u8]>, out: &mut Vec<u8>) -> Result<(), Stopped>;

    /// Whether bytes may be others behind it than before it.
    fn changes(&self) -> bool;
}

/// Why a body goes no further.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stopped {
    /// A hook has failed.
    #[error("{0}")]
    Hook(Untrusted),
    /// A hook answers in its place.
    #[error("a hook has answered")]
    Answer(HookAnswer),
    /// It is larger than a hook takes it.
    #[error("the body has more than {0} bytes, which a hook takes at most")]
    TooLarge(usize),
}
