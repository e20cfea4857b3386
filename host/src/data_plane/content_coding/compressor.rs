//! Compresses a body.

use brotli::enc::StandardAlloc;
use brotli::enc::encode::{
    BrotliEncoderDestroyInstance, BrotliEncoderOperation, BrotliEncoderParameter,
    BrotliEncoderStateStruct,
};
use flate2::{Compress, Compression, FlushCompress, Status};
use zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer};

use super::{BadContent, Operation, Step};
use crate::http::content_coding::ContentCoding;

/// As zlib has it at most: 32 KiB.
pub(super) const GZIP_WINDOW_BITS: u8 = 15;
/// 256 KiB: what a page refers to is within it, and a body does not take more than some megabytes.
const BROTLI_WINDOW_BITS: u32 = 18;
/// The smallest that there is: 64 KiB where quality is low.
const BROTLI_LEAST_BITS: u32 = 10;
/// As brotli's, for the same reason; clients need not have more than 8 MiB (RFC 9659).
const ZSTD_WINDOW_BITS: u32 = 18;

/// The state of one body.
pub(super) enum Compressor {
    Gzip(Compress, u8),
    Brotli(Box<Brotli>),
    Zstd(CCtx<'static>, u8),
}

/// Gives its memory back by a call of its own.
pub(super) struct Brotli(BrotliEncoderStateStruct<StandardAlloc>);

impl Drop for Brotli {
    fn drop(&mut self) {
        BrotliEncoderDestroyInstance(&mut self.0);
    }
}

impl Compressor {
    pub(super) fn gzip(level: u8) -> Compressor {
        let deflate = Compress::new_gzip(Compression::new(u32::from(level)), GZIP_WINDOW_BITS);
        Compressor::Gzip(deflate, level)
    }

    /// `length`: of the body, where it is known; a short one takes less.
    pub(super) fn brotli(level: u8, length: Option<u64>) -> Compressor {
        let mut state = BrotliEncoderStateStruct::new(StandardAlloc::default());
        let needed = length.map_or(BROTLI_WINDOW_BITS, |length| {
            // The window is 16 bytes less than a power of two (RFC 7932 section 9.1).
            u64::BITS - length.saturating_add(16).leading_zeros()
        });
        let bits = needed.clamp(BROTLI_LEAST_BITS, BROTLI_WINDOW_BITS);
        use BrotliEncoderParameter::{
            BROTLI_PARAM_LGWIN, BROTLI_PARAM_QUALITY, BROTLI_PARAM_SIZE_HINT,
        };
        state.set_parameter(BROTLI_PARAM_QUALITY, u32::from(level));
        state.set_parameter(BROTLI_PARAM_LGWIN, bits);
        if let Some(length) = length {
            let hint = u32::try_from(length).unwrap_or(u32::MAX);
            state.set_parameter(BROTLI_PARAM_SIZE_HINT, hint);
        }
        Compressor::Brotli(Box::new(Brotli(state)))
    }

    pub(super) fn zstd(level: u8) -> Option<Compressor> {
        let mut state = CCtx::try_create()?;
        let mut parameters = vec![
            CParameter::CompressionLevel(i32::from(level)),
            CParameter::WindowLog(ZSTD_WINDOW_BITS),
        ];
        if level > 4 {
            // Of higher levels they would be larger than such a window can use.
            parameters.push(CParameter::HashLog(ZSTD_WINDOW_BITS + 1));
            parameters.push(CParameter::ChainLog(ZSTD_WINDOW_BITS));
        }
        let set = |parameter| state.set_parameter(parameter).is_ok();
        parameters.into_iter().all(set).then_some(())?;
        Some(Compressor::Zstd(state, level))
    }

    /// Begins a body whose length may be known: a short one takes less. Only of zstd, whose encoders
    /// are used again.
    pub(super) fn begin(&mut self, length: Option<u64>) {
        if let Compressor::Zstd(state, _) = self {
            // At the beginning of a body it is never refused.
            let _ = state.set_pledged_src_size(length);
        }
    }

    /// Bytes that its state is counted with: an estimate from above, by the sizes of the windows and
    /// hash tables that the coding has (RFC 1951; RFC 7932 and RFC 8878, with the windows chosen
    /// here).
    pub(super) fn memory(coding: ContentCoding) -> usize {
        match coding {
            ContentCoding::Gzip => 320 << 10,
            ContentCoding::Brotli | ContentCoding::Zstd => 4 << 20,
        }
    }

    /// Takes bytes of `input`, and writes coded ones into `out`.
    ///
    /// # Errors
    /// [`BadContent::Encoder`], which would be a mistake of ours.
    pub(super) fn code(
        &mut self,
        input: &[u8],
        operation: Operation,
        out: &mut [u8],
    ) -> Result<Step, BadContent> {
        match self {
            Compressor::Gzip(deflate, _) => gzip(deflate, input, operation, out),
            Compressor::Brotli(state) => brotli(&mut state.0, input, operation, out),
            Compressor::Zstd(state, _) => zstd(state, input, operation, out),
        }
    }
}

fn gzip(
    deflate: &mut Compress,
    input: &[u8],
    operation: Operation,
    out: &mut [u8],
) -> Result<Step, BadContent> {
    let (taken, written) = (deflate.total_in(), deflate.total_out());
    let flush = match operation {
        Operation::Take => FlushCompress::None,
        Operation::Flush => FlushCompress::Sync,
        Operation::Finish => FlushCompress::Finish,
    };
    let status = deflate.compress(input, out, flush);
    let status = status.map_err(|_| BadContent::Encoder)?;
    let taken = (deflate.total_in() - taken) as usize;
    let written = (deflate.total_out() - written) as usize;
    let done = match operation {
        Operation::Take => taken == input.len(),
        // zlib.h: a flush is complete where room is left.
        Operation::Flush => taken == input.len() && written < out.len(),
        Operation::Finish => status == Status::StreamEnd,
    };
    Ok(Step {
        taken,
        written,
        between: 0,
        done,
    })
}

fn brotli(
    state: &mut BrotliEncoderStateStruct<StandardAlloc>,
    input: &[u8],
    operation: Operation,
    out: &mut [u8],
) -> Result<Step, BadContent> {
    let brotli_operation = match operation {
        Operation::Take => BrotliEncoderOperation::BROTLI_OPERATION_PROCESS,
        Operation::Flush => BrotliEncoderOperation::BROTLI_OPERATION_FLUSH,
        Operation::Finish => BrotliEncoderOperation::BROTLI_OPERATION_FINISH,
    };
    let (mut left, mut taken) = (input.len(), 0);
    let (mut room, mut written) = (out.len(), 0);
    let coded = state.compress_stream(
        brotli_operation,
        &mut left,
        input,
        &mut taken,
        &mut room,
        out,
        &mut written,
        &mut None,
        &mut |_, _, _, _| (),
    );
    if !coded {
        return Err(BadContent::Encoder);
    }
    let done = left == 0
        && match operation {
            Operation::Take => true,
            Operation::Flush => !state.has_more_output(),
            Operation::Finish => state.is_finished(),
        };
    Ok(Step {
        taken,
        written,
        between: 0,
        done,
    })
}

fn zstd(
    state: &mut CCtx<'static>,
    input: &[u8],
    operation: Operation,
    out: &mut [u8],
) -> Result<Step, BadContent> {
    let directive = match operation {
        Operation::Take => ZSTD_EndDirective::ZSTD_e_continue,
        Operation::Flush => ZSTD_EndDirective::ZSTD_e_flush,
        Operation::Finish => ZSTD_EndDirective::ZSTD_e_end,
    };
    let (mut from, mut into) = (InBuffer::around(input), OutBuffer::around(out));
    let left = state
        .compress_stream2(&mut into, &mut from, directive)
        .map_err(|_| BadContent::Encoder)?;
    let (taken, written) = (from.pos(), into.pos());
    let done = taken == input.len() && (operation == Operation::Take || left == 0);
    Ok(Step {
        taken,
        written,
        between: 0,
        done,
    })
}
