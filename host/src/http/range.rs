//! `Range`: which parts of a representation a client asks for (RFC 9110 section 14), read as nginx
//! reads it (`ngx_http_range_parse`).

use smallvec::SmallVec;

/// Ranges of one request at most. Who asks for more gets all of it.
const MOST_RANGES: usize = 64;

/// Bytes from the first one to behind the last one. Never empty.
pub type ByteRange = std::ops::Range<u64>;

/// What of a representation is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ranges {
    /// All of it.
    Whole,
    /// These parts, in the order in which they were asked for.
    Parts(SmallVec<[ByteRange; 1]>),
    /// Nothing: none of the parts is there, or what is asked for cannot be read (416).
    NotSatisfiable,
}

/// What a `Range` asks for of so many bytes. Another unit than bytes asks for all; so does a set of
/// ranges that together are longer than that.
pub fn parse(value: &[u8], length: u64) -> Ranges {
    let unit = value.get(..6).unwrap_or_default();
    if value.len() == 6 || !unit.eq_ignore_ascii_case(b"bytes=") {
        return Ranges::Whole;
    }
    let (mut parts, mut total) = (SmallVec::<[ByteRange; 1]>::new(), 0_u64);
    for spec in value[6..].split(|byte| *byte == b',') {
        let Some(range) = range(spec, length) else {
            return Ranges::NotSatisfiable;
        };
        if range.start < range.end {
            if parts.len() == MOST_RANGES {
                return Ranges::Whole;
            }
            total = total.saturating_add(range.end - range.start);
            parts.push(range);
        } else if range.start == 0 {
            // Of nothing: there is nothing to leave out.
            return Ranges::Whole;
        }
    }
    if parts.is_empty() {
        return Ranges::NotSatisfiable;
    }
    match total > length {
        true => Ranges::Whole,
        false => Ranges::Parts(parts),
    }
}

/// `first-last`, `first-` or `-suffix`; none for anything else. Empty where the first byte is not
/// there, or lies behind the last one.
fn range(spec: &[u8], length: u64) -> Option<ByteRange> {
    let spec = trimmed(spec);
    let dash = memchr::memchr(b'-', spec)?;
    let (first, last) = (trimmed(&spec[..dash]), trimmed(&spec[dash + 1..]));
    if dash == 0 {
        let suffix = number(last)?;
        return Some(length.saturating_sub(suffix)..length);
    }
    let start = number(first)?;
    let end = match last {
        [] => length,
        last => number(last)?.saturating_add(1).min(length),
    };
    Some(start..end)
}

fn trimmed(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| *byte != b' ');
    let text = &text[start.unwrap_or(text.len())..];
    let end = text.iter().rposition(|byte| *byte != b' ');
    &text[..end.map_or(0, |end| end + 1)]
}

fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(ranges: &[(u64, u64)]) -> Ranges {
        Ranges::Parts(ranges.iter().map(|(start, end)| *start..*end).collect())
    }

    #[test]
    fn ranges_are_read_as_nginx_reads_them() {
        use Ranges::{NotSatisfiable, Whole};
        let cases = [
            ("bytes=0-4", parts(&[(0, 5)])),
            ("BYTES=2-", parts(&[(2, 10)])),
            ("bytes=-3", parts(&[(7, 10)])),
            ("bytes=-30", parts(&[(0, 10)])),
            ("bytes= 1 - 2 , 4-4", parts(&[(1, 3), (4, 5)])),
            ("bytes=5-99", parts(&[(5, 10)])),
            ("bytes=5-3,1-1", parts(&[(1, 2)])),
            ("bytes=8-9,0-0", parts(&[(8, 10), (0, 1)])),
            ("bytes=5-3", NotSatisfiable),
            ("bytes=10-", NotSatisfiable),
            ("bytes=-0", NotSatisfiable),
            ("bytes=", Whole),
            ("bytes=a-b", NotSatisfiable),
            ("bytes=1-2,", NotSatisfiable),
            ("bytes=1", NotSatisfiable),
            ("bytes=--1", NotSatisfiable),
            ("bytes=0-99999999999999999999", NotSatisfiable),
            ("items=0-1", Whole),
            ("bytes", Whole),
            ("bytes=0-9,0-0", Whole),
        ];
        for (value, expected) in cases {
            assert_eq!(parse(value.as_bytes(), 10), expected, "{value}");
        }
        assert_eq!(parse(b"bytes=0-0", 0), Whole);
        assert_eq!(parse(b"bytes=-5", 0), Whole);
        let many = format!("bytes=0-0{}", ",0-0".repeat(MOST_RANGES));
        assert_eq!(parse(many.as_bytes(), 1000), Whole);
    }

    proptest! {
        #[test]
        fn no_range_reaches_beyond_what_there_is(
            value in "bytes=([0-9]{0,20} ?- ?[0-9]{0,20},?){0,5}",
            length in any::<u64>(),
        ) {
            if let Ranges::Parts(parts) = parse(value.as_bytes(), length) {
                let total: u64 = parts.iter().map(|part| part.end - part.start).sum();
                prop_assert!(total <= length && !parts.is_empty());
                for part in parts {
                    prop_assert!(part.start < part.end && part.end <= length);
                }
            }
        }
    }
}
