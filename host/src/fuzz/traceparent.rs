//! `traceparent` and `tracestate`: what is read is what the grammar of the specification has, read a
//! second time by expressions.

use regex::bytes::Regex;

use crate::http::trace_context::{Parent, is_state};

/// The first line is a `traceparent`, the others fields of `tracestate`.
pub(super) fn run(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let first = lines.next().unwrap_or_default();
    let plain = Regex::new(
        "(?s-u)^(?:00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})\
         |[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?)$",
    )
    .unwrap();
    let plainly = plain.captures(first).and_then(|found| {
        if first.starts_with(b"ff") || (first.starts_with(b"00") && first.len() != 55) {
            return None;
        }
        let group = |one, other| found.get(one).or(found.get(other)).unwrap().as_bytes();
        let (trace, span, flags) = (group(1, 4), group(2, 5), group(3, 6));
        let is_zero = |id: &[u8]| id.iter().all(|byte| *byte == b'0');
        let sampled = matches!(
            flags[1],
            b'1' | b'3' | b'5' | b'7' | b'9' | b'b' | b'd' | b'f'
        );
        (!is_zero(trace) && !is_zero(span)).then_some((trace, span, sampled))
    });
    let parsed = Parent::parse(first);
    let read = parsed.map(|read| (read.trace.to_string(), read.span.to_string(), read.sampled));
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let plainly = plainly.map(|(trace, span, sampled)| (text(trace), text(span), sampled));
    assert_eq!(read, plainly);
    if let Some(parent) = parsed {
        let mut written = Vec::new();
        parent.append(&mut written);
        assert_eq!(Parent::parse(&written), Some(parent));
    }

    let lines: Vec<&[u8]> = lines.collect();
    let joined = lines.join(&b","[..]);
    let member = "[\\t ]*(?:[a-z0-9][a-z0-9_*/@-]{0,255}=[ -+\\--<>-~]{1,256}[\\t ]*)?";
    let list = Regex::new(&format!("(?s-u)^{member}(?:,{member})*$")).unwrap();
    if is_state(lines.iter().copied()) {
        assert!(list.is_match(&joined), "{}", joined.escape_ascii());
        assert!(joined.len() <= 512 + lines.len());
    }
}
