//! Bodies in chunks: however they are cut, they are what a plain decoder makes of the whole, and
//! coded anew they are the same.

use crate::http::framing::{BadChunk, Chunk, ChunkedDecoder, MAX_TRAILERS, write_chunk_size};
use crate::http::head::RequestHead;

use super::{pieces, single_bytes};

/// A body, and what follows it.
#[derive(Debug, PartialEq, Eq)]
struct Body {
    bytes: Vec<u8>,
    /// Bytes of the input that are the body's.
    consumed: usize,
    trailers: Vec<u8>,
}

/// A body in chunks, and what comes behind it.
pub(super) fn run(bytes: &[u8]) {
    let whole = decode(std::iter::once(bytes));
    assert_eq!(decode(single_bytes(bytes)), whole);
    assert_eq!(decode(pieces(bytes)), whole);
    let plainly = plain(bytes);
    let Ok(Some(body)) = whole else {
        assert_eq!(plainly, None, "{}", bytes.escape_ascii());
        return;
    };
    assert_eq!(plainly.as_ref(), Some(&body), "{}", bytes.escape_ascii());

    let mut coded = Vec::new();
    for piece in pieces(&body.bytes) {
        write_chunk_size(piece.len(), &mut coded);
        coded.extend_from_slice(piece);
        coded.extend_from_slice(b"\r\n");
    }
    for part in [b"0\r\n", &body.trailers[..], b"\r\n"] {
        coded.extend_from_slice(part);
    }
    let again = decode(std::iter::once(&coded[..]));
    let consumed = coded.len();
    assert_eq!(again, Ok(Some(Body { consumed, ..body })));
}

/// None while it has not ended.
fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Result<Option<Body>, BadChunk> {
    let mut decoder = ChunkedDecoder::default();
    let (mut bytes, mut consumed) = (Vec::new(), 0);
    for mut piece in pieces {
        while !piece.is_empty() {
            let end = match decoder.next(piece)? {
                Chunk::Data { start, end } => {
                    assert!(start < end, "data without a byte");
                    bytes.extend_from_slice(&piece[start..end]);
                    end
                }
                Chunk::More => piece.len(),
                Chunk::End { end } => {
                    return Ok(Some(Body {
                        bytes,
                        consumed: consumed + end,
                        trailers: decoder.trailers().to_vec(),
                    }));
                }
            };
            consumed += end;
            piece = &piece[end..];
        }
    }
    Ok(None)
}

/// As RFC 9112 section 7.1 has it, for a body that is there as a whole.
fn plain(bytes: &[u8]) -> Option<Body> {
    let (mut body, mut rest) = (Vec::new(), bytes);
    loop {
        let (line, after) = line(rest)?;
        let (digits, extension) = match line.iter().position(|byte| *byte == b';') {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (line, &[][..]),
        };
        let text = std::str::from_utf8(digits).ok()?;
        let is_size =
            (1..=15).contains(&text.len()) && text.bytes().all(|digit| digit.is_ascii_hexdigit());
        let is_extension = |byte: &u8| *byte == b'\t' || *byte >= b' ' && *byte != 0x7f;
        if !is_size || extension.len() > 1024 || !extension.iter().all(is_extension) {
            return None;
        }
        let size = usize::try_from(u64::from_str_radix(text, 16).ok()?).ok()?;
        rest = after;
        if size == 0 {
            break;
        }
        let (data, after) = rest.split_at_checked(size)?;
        body.extend_from_slice(data);
        rest = after.strip_prefix(b"\r\n")?;
    }
    let section = rest;
    loop {
        let (line, after) = line(rest)?;
        rest = after;
        if line.is_empty() {
            break;
        }
    }
    let section = &section[..section.len() - rest.len()];
    Some(Body {
        bytes: body,
        consumed: bytes.len() - rest.len(),
        trailers: trailers(section)?,
    })
}

/// Up to the first CR, which an LF must follow; no LF comes before.
fn line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes
        .iter()
        .position(|byte| matches!(byte, b'\r' | b'\n'))?;
    Some((&bytes[..at], bytes[at..].strip_prefix(b"\r\n")?))
}

/// What may be passed on of a trailer section, its empty line included, which is read as a head's
/// fields are.
fn trailers(section: &[u8]) -> Option<Vec<u8>> {
    const DROPPED: &str = " connection content-length forwarded host keep-alive proxy-connection te \
        trailer transfer-encoding upgrade x-forwarded x-real-ip ";
    if section.len() - 2 > MAX_TRAILERS {
        return None;
    }
    let mut head = RequestHead::default();
    head.parse(&[b"GET / HTTP/1.1\r\n", section].concat(), MAX_TRAILERS)
        .ok()?;
    let mut kept = Vec::new();
    for field in head.fields().iter() {
        // As PHP folds names.
        let name = String::from_utf8_lossy(field.name).to_ascii_lowercase();
        let name = name.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        if !name.starts_with("x-forwarded-") && !DROPPED.contains(&format!(" {name} ")) {
            for part in [field.name, b": ", field.value, b"\r\n"] {
                kept.extend_from_slice(part);
            }
        }
    }
    Some(kept)
}
