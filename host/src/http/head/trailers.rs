//! Trailer lines (RFC 9112 section 7.1.2), and which of them pass.

use super::fields::Fields;
use super::{BadHead, FieldName, HeadPart};

/// Writes the trailer lines of `bytes` that may be passed on: all but those that frame or route a
/// message, also in the eyes of a reader that folds names. Everything else is metadata, whatever it
/// would mean in a header.
///
/// # Errors
/// [`BadHead`] where they are no header lines.
pub fn clean_trailers(bytes: &[u8]) -> Result<Vec<u8>, BadHead> {
    let mut fields = Fields::default();
    parse(bytes, &mut fields)?;
    let mut kept = Vec::with_capacity(bytes.len());
    for field in fields.iter() {
        let known = match field.plain {
            true => field.known,
            false => FieldName::folded(field.name),
        };
        if !known.frames_or_routes() {
            for part in [field.name, b": ", field.value, b"\r\n"] {
                kept.extend_from_slice(part);
            }
        }
    }
    Ok(kept)
}

/// Drops those lines of [`clean_trailers`] whose names do not pass.
pub fn retain_trailers(lines: &mut Vec<u8>, passes: impl Fn(&[u8]) -> bool) {
    let name = |line: &[u8]| memchr::memchr(b':', line).unwrap_or(line.len());
    let all = std::mem::take(lines);
    for line in all.split_inclusive(|byte| *byte == b'\n') {
        if passes(&line[..name(line)]) {
            lines.extend_from_slice(line);
        }
    }
}

/// Parses the fields of a trailer section. Its bytes are bounded where they are received, and their
/// number with them.
fn parse(lines: &[u8], fields: &mut Fields) -> Result<(), BadHead> {
    fields.bytes.extend_from_slice(lines);
    fields.bytes.extend_from_slice(b"\r\n");
    let bytes = &fields.bytes;
    let most = memchr::memchr_iter(b'\n', lines).count();
    let mut slots = vec![httparse::EMPTY_HEADER; most];
    match httparse::parse_headers(bytes, &mut slots)? {
        httparse::Status::Complete((length, headers)) if length == bytes.len() => {
            fields.index.note(bytes, headers)
        }
        _ => Err(BadHead::Malformed(HeadPart::Trailer)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_passes_and_what_frames_or_routes_does_not() {
        let lines = b"Location: a\r\nX_Forwarded_For: b\r\nHost: c\r\nuser_id: d\r\nTE: e\r\n";
        let kept = clean_trailers(lines);
        assert_eq!(kept, Ok(b"Location: a\r\nuser_id: d\r\n".to_vec()));
    }

    #[test]
    fn lines_are_retained_by_their_names() {
        let mut lines = b"a: b\r\nb: a: b\r\na: c\r\n".to_vec();
        retain_trailers(&mut lines, |name| name != b"a");
        assert_eq!(lines, b"b: a: b\r\n");
        retain_trailers(&mut lines, |_| false);
        assert!(lines.is_empty());
        retain_trailers(&mut lines, |_| true);
        assert!(lines.is_empty());
    }

    #[test]
    fn their_number_has_no_bound_of_its_own() {
        let lines = b"a: b\r\n".repeat(5000);
        assert_eq!(clean_trailers(&lines), Ok(lines));
    }

    #[test]
    fn what_is_no_line_is_refused() {
        for bad in [
            &b"a b: c\r\n"[..],
            b"a\r\n",
            b": b\r\n",
            b"\r\n",
            b"a: b\r\n\r\nc: d\r\n",
        ] {
            assert!(clean_trailers(bad).is_err(), "{}", bad.escape_ascii());
        }
        assert_eq!(clean_trailers(b""), Ok(Vec::new()));
    }
}
