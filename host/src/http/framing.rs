//! Where a message's body ends (RFC 9112 section 6), decided here and nowhere else.
//!
//! Stricter than the RFC allows where leniency has let requests be smuggled: `Transfer-Encoding`
//! must be exactly one `chunked`, it never stands beside `Content-Length`, and a length is given
//! once, in digits.

use super::head::{FieldName, Fields, RequestHead, ResponseHead, Version, clean_trailers};

/// How a body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// That many bytes, perhaps 0.
    Length(u64),
    Chunked,
    /// To the end of the connection: responses only.
    UntilClose,
    /// To the end of a stream of HTTP/2, which may announce its length. Whether it keeps to that is
    /// checked there.
    Stream(Option<u64>),
}

impl Framing {
    /// Bytes of the body, where they are known.
    pub fn length(self) -> Option<u64> {
        match self {
            Framing::Length(length) | Framing::Stream(Some(length)) => Some(length),
            Framing::Chunked | Framing::UntilClose | Framing::Stream(None) => None,
        }
    }
}

/// Why framing was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadFraming {
    #[error("invalid \"Content-Length\" header")]
    ContentLength,
    #[error("more than one \"Content-Length\" header")]
    SeveralContentLengths,
    #[error("unsupported \"Transfer-Encoding\" header")]
    TransferEncoding,
    #[error("\"Content-Length\" and \"Transfer-Encoding\" headers at the same time")]
    Both,
    #[error("\"Transfer-Encoding\" header in an HTTP/1.0 message")]
    ChunkedBeforeHttp11,
}

/// The framing of a request's body.
///
/// # Errors
/// [`BadFraming`]: answered with a 400 and a closed connection.
pub fn of_request(head: &RequestHead) -> Result<Framing, BadFraming> {
    Ok(declared(head.fields(), head.version())?.unwrap_or(Framing::Length(0)))
}

/// The framing of a response's body, given the request's method.
///
/// # Errors
/// [`BadFraming`]: the upstream's answer is invalid.
pub fn of_response(head: &ResponseHead, method: &[u8]) -> Result<Framing, BadFraming> {
    let declared = declared(head.fields(), head.version())?;
    if method == b"HEAD" || matches!(head.status(), 100..=199 | 204 | 304) {
        return Ok(Framing::Length(0));
    }
    Ok(declared.unwrap_or(Framing::UntilClose))
}

fn declared(fields: &Fields, version: Version) -> Result<Option<Framing>, BadFraming> {
    let (mut length, mut chunked) = (None, false);
    for value in fields.known(FieldName::ContentLength) {
        if length.is_some() {
            return Err(BadFraming::SeveralContentLengths);
        }
        length = Some(decimal(value).ok_or(BadFraming::ContentLength)?);
    }
    for value in fields.known(FieldName::TransferEncoding) {
        if chunked || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(BadFraming::TransferEncoding);
        }
        chunked = true;
    }
    if version == Version::Http2 {
        return match chunked {
            true => Err(BadFraming::TransferEncoding),
            false => Ok(Some(Framing::Stream(length))),
        };
    }
    match (length, chunked) {
        (Some(_), true) => Err(BadFraming::Both),
        (_, true) if version == Version::Http10 => Err(BadFraming::ChunkedBeforeHttp11),
        (_, true) => Ok(Some(Framing::Chunked)),
        (Some(length), false) => Ok(Some(Framing::Length(length))),
        (None, false) => Ok(None),
    }
}

/// Digits only: no sign, no blank, no list. Bounded so that sums cannot overflow.
fn decimal(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(
        value
            .iter()
            .fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')),
    )
}

/// Digits of a chunk's size, so that sums cannot overflow.
const MAX_SIZE_DIGITS: u8 = 15;
/// Bytes of extensions on one chunk's size line. They are dropped, so a bound only keeps a peer
/// from sending nothing else.
const MAX_CHUNK_EXTENSION: usize = 1024;
/// Bytes of a trailer section that are kept.
pub const MAX_TRAILERS: usize = 32 << 10;
/// Bytes of a trailer section that are read beyond that, only to drop it.
const MAX_DROPPED_TRAILERS: usize = 1 << 20;

/// Takes the chunked coding off a body, fed in pieces as they arrive (RFC 9112 section 7.1).
#[derive(Debug)]
pub struct ChunkedDecoder {
    state: ChunkState,
    trailers: Vec<u8>,
    /// Trailers that are too large are dropped, and the body is none the worse for it.
    drops_trailers: bool,
    /// Bytes of trailers that were dropped.
    dropped: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChunkState {
    /// Before the first digit of a size.
    SizeStart,
    /// With the digits so far: zeros before it are no way to keep sending nothing.
    Size(u64, u8),
    /// With the chunk's size and the bytes of extension so far.
    Extension(u64, usize),
    SizeLf(u64),
    Data(u64),
    DataCr,
    DataLf,
    /// At the start of a trailer line, or of the empty line that ends the body.
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
    Done,
}

/// What stands next in the input of a [`ChunkedDecoder`].
#[derive(Debug, PartialEq, Eq)]
pub enum Chunk {
    /// Body bytes: from `start` to `end` of the input; the input is consumed up to `end`.
    Data { start: usize, end: usize },
    /// The input is used up; more is needed.
    More,
    /// The body ended; the input is consumed up to `end`.
    End { end: usize },
}

/// The chunked coding is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadChunk {
    #[error("invalid chunked body: chunk size")]
    Size,
    #[error("invalid chunked body: chunk too large")]
    TooLarge,
    #[error("invalid chunked body: chunk extension")]
    Extension,
    #[error("invalid chunked body: line end after a chunk size")]
    SizeLineEnd,
    #[error("invalid chunked body: line end after a chunk")]
    DataLineEnd,
    #[error("invalid chunked body: trailer")]
    Trailer,
    #[error("invalid chunked body: line end in trailers")]
    TrailerLineEnd,
    #[error("invalid chunked body: trailers too large")]
    TrailersTooLarge,
    #[error("invalid chunked body: end of body")]
    End,
}

/// Of a request, whose trailers are an error where they are more than [`MAX_TRAILERS`].
impl Default for ChunkedDecoder {
    fn default() -> Self {
        ChunkedDecoder {
            state: ChunkState::SizeStart,
            trailers: Vec::new(),
            drops_trailers: false,
            dropped: 0,
        }
    }
}

impl ChunkedDecoder {
    /// Of a response: what is wrong with the size of its trailers is no reason to lose its body,
    /// which the client may have already.
    pub fn of_response() -> ChunkedDecoder {
        ChunkedDecoder {
            drops_trailers: true,
            ..ChunkedDecoder::default()
        }
    }

    /// Reads on from `input`.
    ///
    /// # Errors
    /// [`BadChunk`]; the decoder is of no further use.
    pub fn next(&mut self, input: &[u8]) -> Result<Chunk, BadChunk> {
        let mut at = 0;
        while at < input.len() {
            let byte = input[at];
            self.state = match self.state {
                ChunkState::Data(left) => {
                    let take = left.min((input.len() - at) as u64);
                    self.state = if take == left {
                        ChunkState::DataCr
                    } else {
                        ChunkState::Data(left - take)
                    };
                    return Ok(Chunk::Data {
                        start: at,
                        end: at + take as usize,
                    });
                }
                ChunkState::SizeStart => ChunkState::Size(hex_digit(byte)?, 1),
                ChunkState::Size(size, digits) => match byte {
                    b'\r' => ChunkState::SizeLf(size),
                    b';' => ChunkState::Extension(size, 0),
                    _ if digits == MAX_SIZE_DIGITS => return Err(BadChunk::TooLarge),
                    _ => ChunkState::Size(size << 4 | hex_digit(byte)?, digits + 1),
                },
                ChunkState::Extension(size, length) => match byte {
                    b'\r' => ChunkState::SizeLf(size),
                    b'\t' | b' '..=b'~' | 0x80.. if length < MAX_CHUNK_EXTENSION => {
                        ChunkState::Extension(size, length + 1)
                    }
                    _ => return Err(BadChunk::Extension),
                },
                ChunkState::SizeLf(size) => match (byte, size) {
                    (b'\n', 0) => ChunkState::TrailerStart,
                    (b'\n', size) => ChunkState::Data(size),
                    _ => return Err(BadChunk::SizeLineEnd),
                },
                ChunkState::DataCr if byte == b'\r' => ChunkState::DataLf,
                ChunkState::DataLf if byte == b'\n' => ChunkState::SizeStart,
                ChunkState::DataCr | ChunkState::DataLf => {
                    return Err(BadChunk::DataLineEnd);
                }
                ChunkState::TrailerStart if byte == b'\r' => ChunkState::EndLf,
                ChunkState::TrailerStart | ChunkState::Trailer => {
                    self.keep_trailer(byte)?;
                    match byte {
                        b'\r' => ChunkState::TrailerLf,
                        b'\n' => return Err(BadChunk::TrailerLineEnd),
                        _ => ChunkState::Trailer,
                    }
                }
                ChunkState::TrailerLf if byte == b'\n' => {
                    self.keep_trailer(byte)?;
                    ChunkState::TrailerStart
                }
                ChunkState::TrailerLf => return Err(BadChunk::TrailerLineEnd),
                ChunkState::EndLf if byte == b'\n' => {
                    self.state = ChunkState::Done;
                    if !self.trailers.is_empty() {
                        self.trailers =
                            clean_trailers(&self.trailers).map_err(|_| BadChunk::Trailer)?;
                    }
                    return Ok(Chunk::End { end: at + 1 });
                }
                ChunkState::EndLf => return Err(BadChunk::End),
                ChunkState::Done => return Ok(Chunk::End { end: at }),
            };
            at += 1;
        }
        Ok(if self.state == ChunkState::Done {
            Chunk::End { end: at }
        } else {
            Chunk::More
        })
    }

    fn keep_trailer(&mut self, byte: u8) -> Result<(), BadChunk> {
        let room = self.dropped == 0 && self.trailers.len() < MAX_TRAILERS;
        if room {
            self.trailers.push(byte);
            return Ok(());
        }
        if !self.drops_trailers || self.dropped == MAX_DROPPED_TRAILERS {
            return Err(BadChunk::TrailersTooLarge);
        }
        self.trailers = Vec::new();
        self.dropped += 1;
        Ok(())
    }

    /// Whether there were more trailers than are kept.
    pub fn trailers_were_dropped(&self) -> bool {
        self.dropped > 0
    }

    /// The trailer lines that may be passed on, each with its CRLF, once the body has ended; empty
    /// where there were none.
    pub fn trailers(&self) -> &[u8] {
        &self.trailers
    }
}

fn hex_digit(byte: u8) -> Result<u64, BadChunk> {
    (byte as char)
        .to_digit(16)
        .map(u64::from)
        .ok_or(BadChunk::Size)
}

/// Appends a chunk's size line.
pub fn write_chunk_size(size: usize, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4).max(1);
    for digit in (0..digits).rev() {
        out.push(DIGITS[size >> (digit * 4) & 15]);
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(fields: &str) -> Result<Framing, BadFraming> {
        let mut head = RequestHead::default();
        head.parse(format!("POST / HTTP/1.1\r\n{fields}\r\n").as_bytes(), 10)
            .unwrap();
        of_request(&head)
    }

    #[test]
    fn a_request_without_framing_has_no_body() {
        assert_eq!(request(""), Ok(Framing::Length(0)));
    }

    #[test]
    fn a_length_is_digits_and_given_once() {
        assert_eq!(request("Content-Length: 12\r\n"), Ok(Framing::Length(12)));
        for bad in [
            "",
            "+1",
            "-1",
            "1 2",
            "1,1",
            "0x1",
            "1.0",
            "99999999999999999999",
        ] {
            assert_eq!(
                request(&format!("Content-Length: {bad}\r\n")),
                Err(BadFraming::ContentLength),
                "{bad}"
            );
        }
        let twice = request("Content-Length: 1\r\nContent-Length: 1\r\n");
        assert_eq!(twice, Err(BadFraming::SeveralContentLengths));
    }

    #[test]
    fn transfer_encoding_is_exactly_one_chunked() {
        assert_eq!(
            request("Transfer-Encoding: Chunked\r\n"),
            Ok(Framing::Chunked)
        );
        for bad in [
            "gzip, chunked",
            "identity",
            "identity, chunked",
            "chunked, chunked",
            "xchunked",
            "chunked;q=1",
            "",
        ] {
            let framing = request(&format!("Transfer-Encoding: {bad}\r\n"));
            assert_eq!(framing, Err(BadFraming::TransferEncoding), "{bad}");
        }
        let twice = request("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n");
        assert_eq!(twice, Err(BadFraming::TransferEncoding));
    }

    #[test]
    fn length_and_chunked_never_stand_together_in_either_order() {
        let (length, chunked) = ("Content-Length: 1\r\n", "Transfer-Encoding: chunked\r\n");
        assert_eq!(
            request(&format!("{length}{chunked}")),
            Err(BadFraming::Both)
        );
        assert_eq!(
            request(&format!("{chunked}{length}")),
            Err(BadFraming::Both)
        );
    }

    /// Decodes `input`, cut at `cuts`; the body, and what was left over behind it.
    fn decode(input: &[u8], cuts: &[usize]) -> Result<(Vec<u8>, Vec<u8>, bool), BadChunk> {
        let mut decoder = ChunkedDecoder::default();
        let (mut body, mut start) = (Vec::new(), 0);
        let mut bounds: Vec<_> = cuts.iter().map(|cut| (*cut).min(input.len())).collect();
        bounds.sort_unstable();
        bounds.push(input.len());
        for bound in bounds {
            while start < bound {
                match decoder.next(&input[start..bound])? {
                    Chunk::Data { start: from, end } => {
                        body.extend_from_slice(&input[start + from..start + end]);
                        start += end;
                    }
                    Chunk::More => start = bound,
                    Chunk::End { end } => return Ok((body, input[start + end..].to_vec(), true)),
                }
            }
        }
        Ok((body, Vec::new(), false))
    }

    #[test]
    fn chunks_are_joined_and_what_follows_is_left() {
        let (body, rest, done) =
            decode(b"4\r\nWiki\r\n5;a=b\r\npedia\r\n0\r\n\r\nGET", &[]).unwrap();
        assert_eq!(
            (&body[..], &rest[..], done),
            (&b"Wikipedia"[..], &b"GET"[..], true)
        );
    }

    #[test]
    fn trailers_are_kept_as_they_came() {
        let mut decoder = ChunkedDecoder::default();
        let input = b"0\r\nA: b\r\nC: d\r\n\r\n";
        assert_eq!(decoder.next(input), Ok(Chunk::End { end: input.len() }));
        assert_eq!(decoder.trailers(), b"A: b\r\nC: d\r\n");
    }

    #[test]
    fn trailers_that_frame_or_route_end_here() {
        let mut decoder = ChunkedDecoder::default();
        let input = b"0\r\nContent-Length: 5\r\nX-Sum: 1\r\nHost: x\r\nSet-Cookie: a=b\r\ntransfer-encoding: x\r\n\r\n";
        assert_eq!(decoder.next(input), Ok(Chunk::End { end: input.len() }));
        assert_eq!(decoder.trailers(), b"X-Sum: 1\r\nSet-Cookie: a=b\r\n");
        assert!(decode(b"0\r\nbad trailer\r\n\r\n", &[]).is_err());
    }

    #[test]
    fn broken_chunks_are_refused() {
        for bad in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "0x5\r\n",
            "5 \r\nhello\r\n",
            " 5\r\nhello\r\n",
            "5\nhello\r\n",
            "5\rxhello",
            "5\r\nhelloX",
            "5\r\nhello\n",
            "5\r\nhello\rX",
            "1111111111111111\r\n",
            "0000000000000005\r\nhello\r\n",
            "0\r\n\n",
            "0\r\nA: b\n\r\n",
            "5;\n\r\n",
            "5;a\0\r\n",
        ] {
            assert!(decode(bad.as_bytes(), &[]).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        assert!(decode(format!("5;{}", "a".repeat(5000)).as_bytes(), &[]).is_err());
        let most = MAX_TRAILERS / "A: b\r\n".len();
        let with = |count| format!("0\r\n{}\r\n", "A: b\r\n".repeat(count));
        assert!(decode(with(most).as_bytes(), &[]).is_ok());
        let refused = decode(with(most + 1).as_bytes(), &[]);
        assert_eq!(refused.unwrap_err(), BadChunk::TrailersTooLarge);
    }

    #[test]
    fn trailers_of_a_response_that_are_too_large_are_dropped() {
        for bytes in [MAX_TRAILERS + 1, MAX_TRAILERS + MAX_DROPPED_TRAILERS - 1] {
            let mut decoder = ChunkedDecoder::of_response();
            let input = format!("0\r\nA: {}\r\n\r\nnext", "b".repeat(bytes - 5));
            let end = input.len() - 4;
            assert_eq!(decoder.next(input.as_bytes()), Ok(Chunk::End { end }));
            assert!(decoder.trailers().is_empty() && decoder.trailers_were_dropped());
        }
        let mut decoder = ChunkedDecoder::of_response();
        let endless = format!("0\r\nA: {}", "b".repeat(2 * MAX_DROPPED_TRAILERS));
        let refused = decoder.next(endless.as_bytes());
        assert_eq!(refused, Err(BadChunk::TrailersTooLarge));
    }

    proptest! {
        #[test]
        fn what_was_chunked_is_what_is_decoded_however_it_arrives(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..300), 0..6),
            cuts in proptest::collection::vec(0_usize..2000, 0..10),
        ) {
            let mut coded = Vec::new();
            for chunk in &chunks {
                write_chunk_size(chunk.len(), &mut coded);
                coded.extend_from_slice(chunk);
                coded.extend_from_slice(b"\r\n");
            }
            coded.extend_from_slice(b"0\r\n\r\nnext");
            let (body, _, done) = decode(&coded, &cuts).unwrap();
            prop_assert!(done);
            prop_assert_eq!(body, chunks.concat());
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = decode(&bytes, &[]);
        }
    }
}
