//! Decompresses a body in gzip (RFC 1952): one member after the other.

use flate2::{Decompress, FlushDecompress, Status};

use super::compressor::GZIP_WINDOW_BITS;
use super::{BadContent, Operation, Step};

/// The state of one body.
pub(super) struct Gunzip {
    inflate: Decompress,
    /// A member has begun, and not ended.
    within: bool,
}

impl Gunzip {
    pub(super) fn new() -> Gunzip {
        Gunzip {
            inflate: Decompress::new_gzip(GZIP_WINDOW_BITS),
            within: false,
        }
    }

    /// Takes bytes of `input`, and writes what they stand for into `out`.
    ///
    /// # Errors
    /// [`BadContent`] where they are no gzip, or end before it does.
    pub(super) fn code(
        &mut self,
        input: &[u8],
        operation: Operation,
        out: &mut [u8],
    ) -> Result<Step, BadContent> {
        if !self.within && !input.is_empty() {
            // The first one finds the state as it was made; all others follow a member.
            if self.inflate.total_in() > 0 {
                self.inflate = Decompress::new_gzip(GZIP_WINDOW_BITS);
            }
            self.within = true;
        }
        let (mut taken, mut written) = (0, 0);
        if self.within {
            let (total_in, total_out) = (self.inflate.total_in(), self.inflate.total_out());
            let inflated = self.inflate.decompress(input, out, FlushDecompress::None);
            let status = inflated.map_err(|_| BadContent::Gzip)?;
            taken = (self.inflate.total_in() - total_in) as usize;
            written = (self.inflate.total_out() - total_out) as usize;
            self.within = status != Status::StreamEnd;
        }
        // Where room is left, nothing more is to come of what was taken.
        let drained = taken == input.len() && (written < out.len() || !self.within);
        if operation == Operation::Finish && drained && self.within {
            return Err(BadContent::Cut);
        }
        let done = match operation {
            Operation::Take => taken == input.len(),
            Operation::Flush | Operation::Finish => drained,
        };
        Ok(Step {
            taken,
            written,
            between: 0,
            done,
        })
    }
}
