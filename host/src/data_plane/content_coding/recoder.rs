//! The way of a body from one content coding to another: decompressed, compressed, or both.

use std::ops::Range;
use std::rc::Rc;

use super::compressor::Compressor;
use super::gunzip::Gunzip;
use super::spare::{Share, Spare};
use super::{BadContent, Operation, Step};
use crate::http::content_coding::ContentCoding;

/// What is to be done with a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recoding {
    /// It is in gzip, and is decompressed.
    pub(crate) gunzip: bool,
    /// What it is compressed to then, and how well: 1 to 9.
    pub(crate) compress: Option<(ContentCoding, u8)>,
    /// Of what is compressed, where that is known.
    pub(crate) length: Option<u64>,
}

/// One body on its way.
pub(crate) struct Recoder {
    gunzip: Option<Gunzip>,
    /// There until it is given back.
    compressor: Option<Compressor>,
    /// Where both have work: what is decompressed and not yet compressed.
    between: Option<Between>,
    /// What comes out is written here.
    out: Option<Box<[u8]>>,
    spare: Rc<Spare>,
    /// Of the memory that all of them may take.
    _share: Share,
}

struct Between {
    bytes: Box<[u8]>,
    filled: Range<usize>,
}

impl Recoder {
    /// None where those under way take all the memory that they may.
    pub(crate) fn new(recoding: &Recoding, spare: &Rc<Spare>) -> Option<Recoder> {
        let both = recoding.gunzip && recoding.compress.is_some();
        let memory = Spare::memory(recoding);
        let share = Share::of(spare, memory)?;
        let compressor = match recoding.compress {
            None => None,
            Some((ContentCoding::Gzip, level)) => Some(spare.take_gzip(level)),
            Some((ContentCoding::Brotli, level)) => {
                Some(Compressor::brotli(level, recoding.length))
            }
            Some((ContentCoding::Zstd, level)) => Some(spare.take_zstd(level, recoding.length)?),
        };
        Some(Recoder {
            gunzip: recoding.gunzip.then(Gunzip::new),
            compressor,
            between: both.then(|| Between {
                bytes: spare.take_output(),
                filled: 0..0,
            }),
            out: Some(spare.take_output()),
            spare: spare.clone(),
            _share: share,
        })
    }

    /// Takes bytes of `input`, and writes what comes of them behind the first `filled` bytes of
    /// [`Recoder::output`]. With [`Operation::Flush`] and [`Operation::Finish`], to be called again
    /// with room until it is done.
    ///
    /// # Errors
    /// [`BadContent`]
    pub(crate) fn code(
        &mut self,
        input: &[u8],
        operation: Operation,
        filled: usize,
    ) -> Result<Step, BadContent> {
        let out = self.out.as_deref_mut().unwrap_or_default();
        let out = out.get_mut(filled..).unwrap_or_default();
        match (&mut self.gunzip, &mut self.compressor) {
            (Some(gunzip), Some(compressor)) => {
                let between = self.between.as_mut().ok_or(BadContent::Encoder)?;
                through_both(gunzip, between, compressor, input, operation, out)
            }
            (Some(gunzip), None) => gunzip.code(input, operation, out),
            (None, Some(compressor)) => compressor.code(input, operation, out),
            (None, None) => Err(BadContent::Encoder),
        }
    }

    /// What came out since it was last asked for all of it, and what room there is.
    pub(crate) fn output(&self) -> &[u8] {
        self.out.as_deref().unwrap_or_default()
    }
}

impl Drop for Recoder {
    fn drop(&mut self) {
        let between = self.between.take().map(|between| between.bytes);
        for output in self.out.take().into_iter().chain(between) {
            self.spare.give_output(output);
        }
        if let Some(compressor) = self.compressor.take() {
            self.spare.give(compressor);
        }
    }
}

fn through_both(
    gunzip: &mut Gunzip,
    between: &mut Between,
    compressor: &mut Compressor,
    input: &[u8],
    operation: Operation,
    out: &mut [u8],
) -> Result<Step, BadContent> {
    let mut step = Step {
        taken: 0,
        written: 0,
        between: 0,
        done: false,
    };
    let mut drained = false;
    if between.filled.is_empty() {
        let plain = gunzip.code(input, operation, &mut between.bytes)?;
        between.filled = 0..plain.written;
        (step.taken, step.between, drained) = (plain.taken, plain.written, plain.done);
    }
    if !between.filled.is_empty() {
        let plain = &between.bytes[between.filled.clone()];
        let coded = compressor.code(plain, Operation::Take, out)?;
        between.filled.start += coded.taken;
        step.written = coded.written;
    }
    if !between.filled.is_empty() || !drained {
        return Ok(step);
    }
    if operation == Operation::Take {
        step.done = true;
        return Ok(step);
    }
    let last = compressor.code(&[], operation, &mut out[step.written..])?;
    step.written += last.written;
    step.done = last.done;
    Ok(step)
}
