//! How body bytes are framed for the way on (RFC 9112 section 7.1).

use crate::http::framing::write_chunk_size;

/// How body bytes are written on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    /// As they are: the length is known or does not matter.
    Plain,
    Chunked,
}

/// Writes a body for the way on.
#[derive(Clone, Copy)]
pub(crate) struct Encoder<'a> {
    pub(crate) coding: Coding,
    /// Tells by its name whether a trailer goes on.
    pub(crate) passes_trailer: PassesTrailer<'a>,
}

pub(crate) type PassesTrailer<'a> = &'a dyn Fn(&[u8]) -> bool;

/// Bytes that the chunked coding adds to one piece at most: a size of 16 digits and two line ends.
pub(super) const CHUNK_FRAMING: usize = 20;

impl Encoder<'_> {
    /// Of bytes as they are, with all of their trailers.
    pub(crate) const PLAIN: Encoder<'static> = Encoder {
        coding: Coding::Plain,
        passes_trailer: &|_| true,
    };
}

/// Appends body bytes in a coding; nothing for no bytes, which would end a chunked body.
pub(crate) fn append(data: &[u8], coding: Coding, out: &mut Vec<u8>) {
    match coding {
        _ if data.is_empty() => {}
        Coding::Plain => out.extend_from_slice(data),
        Coding::Chunked => {
            write_chunk_size(data.len(), out);
            out.extend_from_slice(data);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Appends what ends a body in a coding.
pub(crate) fn append_end(trailers: &[u8], coding: Coding, out: &mut Vec<u8>) {
    if coding == Coding::Chunked {
        out.extend_from_slice(b"0\r\n");
        out.extend_from_slice(trailers);
        out.extend_from_slice(b"\r\n");
    }
}
