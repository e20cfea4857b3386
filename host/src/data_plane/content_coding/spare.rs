//! What a worker keeps for the next body, and the bound on what all bodies at once may take.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use zstd_safe::ResetDirective;

use super::compressor::Compressor;
use super::recoder::Recoding;

/// What comes out of a step at most.
const OUTPUT: usize = 32 << 10;
/// What decompressing takes: its window and its tables.
const GUNZIP: usize = 64 << 10;
/// What all recoders of a worker may take: some 400 in gzip, or 30 in another coding.
const MEMORY: usize = 128 << 20;
/// Encoders and outputs of each kind that are kept; the rest goes back to the allocator.
const KEPT: usize = 8;
/// Of zstd, which takes more for each.
const ZSTD_KEPT: usize = 4;

/// The spare encoders of one worker.
#[derive(Default)]
pub(crate) struct Spare {
    gzip: RefCell<Vec<Compressor>>,
    zstd: RefCell<Vec<Compressor>>,
    outputs: RefCell<Vec<Box<[u8]>>>,
    /// Bytes that those under way take.
    taken: Cell<usize>,
}

impl Spare {
    /// Bytes that a recoding takes at most.
    pub(super) fn memory(recoding: &Recoding) -> usize {
        let compress = recoding
            .compress
            .map_or(0, |(coding, _)| Compressor::memory(coding) + OUTPUT);
        compress + if recoding.gunzip { GUNZIP + OUTPUT } else { 0 }
    }

    pub(super) fn take_gzip(&self, level: u8) -> Compressor {
        let mut kept = self.gzip.borrow_mut();
        let fits = |kept: &Compressor| matches!(kept, Compressor::Gzip(_, of) if *of == level);
        match kept.iter().position(fits) {
            Some(at) => kept.swap_remove(at),
            None => Compressor::gzip(level),
        }
    }

    /// None where there is no memory for one.
    pub(super) fn take_zstd(&self, level: u8, length: Option<u64>) -> Option<Compressor> {
        let mut kept = self.zstd.borrow_mut();
        let fits = |kept: &Compressor| matches!(kept, Compressor::Zstd(_, of) if *of == level);
        let mut taken = match kept.iter().position(fits) {
            Some(at) => kept.swap_remove(at),
            None => Compressor::zstd(level)?,
        };
        taken.begin(length);
        Some(taken)
    }

    /// Takes an encoder back. Those of brotli cannot be used again.
    pub(super) fn give(&self, compressor: Compressor) {
        match compressor {
            Compressor::Gzip(mut deflate, level) => {
                let mut kept = self.gzip.borrow_mut();
                if kept.len() < KEPT {
                    deflate.reset();
                    kept.push(Compressor::Gzip(deflate, level));
                }
            }
            Compressor::Zstd(mut state, level) => {
                let mut kept = self.zstd.borrow_mut();
                let is_new = state.reset(ResetDirective::SessionOnly).is_ok();
                if is_new && kept.len() < ZSTD_KEPT {
                    kept.push(Compressor::Zstd(state, level));
                }
            }
            Compressor::Brotli(_) => {}
        }
    }

    pub(super) fn take_output(&self) -> Box<[u8]> {
        let kept = self.outputs.borrow_mut().pop();
        kept.unwrap_or_else(|| vec![0; OUTPUT].into())
    }

    pub(super) fn give_output(&self, output: Box<[u8]>) {
        let mut kept = self.outputs.borrow_mut();
        if kept.len() < KEPT {
            kept.push(output);
        }
    }
}

/// A part of the memory that there is for all; free again when it is dropped.
pub(super) struct Share {
    spare: Rc<Spare>,
    memory: usize,
}

impl Share {
    /// None where there is not so much left.
    pub(super) fn of(spare: &Rc<Spare>, memory: usize) -> Option<Share> {
        let taken = spare.taken.get() + memory;
        if taken > MEMORY {
            return None;
        }
        spare.taken.set(taken);
        Some(Share {
            spare: spare.clone(),
            memory,
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.spare.taken.set(self.spare.taken.get() - self.memory);
    }
}
