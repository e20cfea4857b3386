//! W3C Trace Context: which trace a request belongs to, in `traceparent` and `tracestate`.
//!
//! <https://www.w3.org/TR/trace-context-1/>. What is malformed is as good as absent: a trace begins
//! anew then, and no request is refused for it.

use std::fmt;

/// Bytes of a `traceparent` of version 00.
pub const TRACEPARENT: usize = 55;
/// Where the ids stand in it.
const TRACE_AT: usize = 3;
const SPAN_AT: usize = 36;
/// Bytes of a `tracestate` that are passed on, as many as every reader takes (section 3.3.1.5).
const LONGEST_STATE: usize = 512;
/// Members of it (section 3.3.1.1).
const MOST_MEMBERS: usize = 32;

/// Names a trace. Never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceId([u8; 16]);

/// Names a span of a trace. Never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanId([u8; 8]);

/// The span that a request was sent by, as its `traceparent` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parent {
    pub trace: TraceId,
    pub span: SpanId,
    /// The caller records the trace.
    pub sampled: bool,
}

impl TraceId {
    pub fn random() -> TraceId {
        // Zero means none.
        TraceId(fastrand::u128(1..).to_be_bytes())
    }

    pub fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// A number by which a share of traces is sampled: the same for each that has the id. Traces that
    /// other samplers by ratio take (OpenTelemetry's `TraceIdRatioBased`) are those of the lowest.
    pub fn draw(&self) -> u32 {
        let [.., a, b, c, d, _, _, _, _] = self.0;
        u32::from_be_bytes([a, b, c, d])
    }
}

impl SpanId {
    pub fn random() -> SpanId {
        SpanId(fastrand::u64(1..).to_be_bytes())
    }

    pub fn bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", u64::from_be_bytes(self.0))
    }
}

impl Parent {
    /// What the only `traceparent` of a request says; none where there are several, or it is
    /// malformed.
    pub fn of_fields<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Option<Parent> {
        let value = values.next()?;
        match values.next() {
            None => Parent::parse(value),
            Some(_) => None,
        }
    }

    /// Later versions may have more behind a dash (section 3.2.4).
    pub fn parse(value: &[u8]) -> Option<Parent> {
        let (known, rest) = value.split_first_chunk::<TRACEPARENT>()?;
        let version = hex::<1>(&known[..2])?[0];
        let fits = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => rest.first().is_none_or(|byte| *byte == b'-'),
        };
        let dashes = [2, 35, 52].iter().all(|at| known[*at] == b'-');
        if !fits || !dashes {
            return None;
        }
        let trace = hex(&known[TRACE_AT..35])?;
        let span = hex(&known[SPAN_AT..52])?;
        let flags = hex::<1>(&known[53..])?[0];
        if trace == [0; 16] || span == [0; 8] {
            return None;
        }
        Some(Parent {
            trace: TraceId(trace),
            span: SpanId(span),
            sampled: flags & 1 != 0,
        })
    }

    /// Appends it as version 00 has it. Flags that this version does not know are not passed on.
    pub fn append(&self, out: &mut Vec<u8>) {
        let mut text = *b"00-................................-................-00";
        write_hex(&self.trace.0, &mut text[TRACE_AT..]);
        write_hex(&self.span.0, &mut text[SPAN_AT..]);
        text[TRACEPARENT - 1] = b'0' + u8::from(self.sampled);
        out.extend_from_slice(&text);
    }
}

/// Puts another span into a `traceparent` that [`Parent::append`] has written.
pub fn set_span(traceparent: &mut [u8], span: SpanId) {
    if let Some(place) = traceparent.get_mut(SPAN_AT..) {
        write_hex(&span.0, place);
    }
}

/// As many digits as there is room for.
fn write_hex(bytes: &[u8], place: &mut [u8]) {
    for (place, byte) in place.chunks_exact_mut(2).zip(bytes) {
        place.copy_from_slice(&digits(*byte));
    }
}

fn digits(byte: u8) -> [u8; 2] {
    [byte >> 4, byte & 15].map(|digit| match digit {
        0..10 => b'0' + digit,
        _ => b'a' + digit - 10,
    })
}

/// The bytes of lower-case hexadecimal digits; others are not allowed.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    (digits.len() == 2 * N).then_some(bytes)
}

/// Whether the `tracestate` of a request is passed on: its fields together are a list as the
/// specification has it, no longer than is to be passed on. An empty one says nothing, and may go on.
pub fn is_state<'a>(values: impl Iterator<Item = &'a [u8]>) -> bool {
    let (mut length, mut keys) = (0, smallvec::SmallVec::<[&[u8]; 8]>::new());
    for value in values {
        length += value.len() + usize::from(length > 0);
        for member in value.split(|byte| *byte == b',') {
            let member = member.trim_ascii();
            if member.is_empty() {
                continue;
            }
            let mut parts = member.splitn(2, |byte| *byte == b'=');
            let (Some(key), Some(value)) = (parts.next(), parts.next()) else {
                return false;
            };
            if !is_key(key) || !is_value(value) || keys.contains(&key) {
                return false;
            }
            keys.push(key);
        }
    }
    length <= LONGEST_STATE && keys.len() <= MOST_MEMBERS
}

fn is_key(key: &[u8]) -> bool {
    let rest =
        |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/' | b'@');
    let first = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    key.len() <= 256 && key.first().is_some_and(first) && key.iter().all(rest)
}

fn is_value(value: &[u8]) -> bool {
    let allowed = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b',' | b'=');
    (1..=256).contains(&value.len()) && value.iter().all(allowed)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http::definition::Shares;

    const EXAMPLE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_names_the_trace_the_span_and_what_the_caller_does() {
        let parent = Parent::parse(EXAMPLE.as_bytes()).unwrap();
        assert_eq!(parent.trace.to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(parent.span.to_string(), "b7ad6b7169203331");
        assert!(parent.sampled);
        let unsampled = EXAMPLE.replace("-01", "-00");
        assert!(!Parent::parse(unsampled.as_bytes()).unwrap().sampled);
        // Flags of later levels say nothing of sampling.
        let random = EXAMPLE.replace("-01", "-02");
        assert!(!Parent::parse(random.as_bytes()).unwrap().sampled);
    }

    #[test]
    fn a_malformed_traceparent_is_none() {
        let with = |from: &str, to: &str| EXAMPLE.replacen(from, to, 1);
        for wrong in [
            String::new(),
            EXAMPLE[..54].to_owned(),
            format!("{EXAMPLE}-"),
            format!("{EXAMPLE}0"),
            EXAMPLE.to_uppercase(),
            with("00-", "ff-"),
            with("00-", "0g-"),
            with("00-", "000"),
            with("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            with("b7ad6b7169203331", &"0".repeat(16)),
            with("-01", "-0x"),
            with("-01", "_01"),
            with("0a", " a"),
        ] {
            assert_eq!(Parent::parse(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(Parent::of_fields([EXAMPLE.as_bytes(); 2].into_iter()), None);
    }

    #[test]
    fn a_later_version_may_have_more_behind_a_dash() {
        let later = EXAMPLE.replacen("00-", "cc-", 1);
        let known = Parent::parse(EXAMPLE.as_bytes());
        for text in [
            later.clone(),
            format!("{later}-"),
            format!("{later}-what.the-future"),
        ] {
            assert_eq!(Parent::parse(text.as_bytes()), known, "{text}");
        }
        assert_eq!(Parent::parse(format!("{later}.x").as_bytes()), None);
    }

    #[test]
    fn a_tracestate_is_a_list_within_its_bounds() {
        let is_state = |text: &str| super::is_state(text.split('\n').map(str::as_bytes));
        let many = |count: usize| {
            let members: Vec<_> = (0..count).map(|number| format!("k{number}=v")).collect();
            members.join(",")
        };
        let long = |length: usize| format!("a={},b={}", "x".repeat(200), "x".repeat(length - 205));
        for right in [
            "",
            "a=b",
            "a=b,,c@d=e f",
            " a=b ,\tc=d",
            "a=b\nc=d",
            "0/*-_=~!",
            &many(32),
            &long(405),
        ] {
            assert!(is_state(right), "{right}");
        }
        for wrong in [
            "a",
            "a=",
            "=b",
            "A=b",
            "a b=c",
            "a=b=c",
            "a=b,a=c",
            "a=b\na=c",
            "a=\u{e9}",
            "a=\x7f",
            &many(33),
            &long(462),
            &format!("{},c={}", long(400), "y".repeat(111)),
        ] {
            assert!(!is_state(wrong), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(trace: u128, span: u64, other: u64, sampled: bool) {
            prop_assume!(trace != 0 && span != 0 && other != 0);
            let [span, other] = [span, other].map(|id| SpanId(id.to_be_bytes()));
            let parent = Parent { trace: TraceId(trace.to_be_bytes()), span, sampled };
            let mut written = Vec::new();
            parent.append(&mut written);
            prop_assert_eq!(Parent::parse(&written), Some(parent));
            set_span(&mut written, other);
            prop_assert_eq!(Parent::parse(&written), Some(Parent { span: other, ..parent }));
        }

        /// Who samples 1 % has only traces that whoever samples 10 % has as well.
        #[test]
        fn a_sample_is_the_same_wherever_an_id_comes_and_grows_with_its_share(trace: u128) {
            let id = TraceId(trace.to_be_bytes());
            let share = |text: &str| Shares::default().next(text).unwrap();
            let taken = ["0.01%", "1%", "10%", "99.99%"].map(|text| share(text).has(id.draw()));
            prop_assert!(taken.is_sorted());
            prop_assert_eq!(taken, ["0.01%", "1%", "10%", "99.99%"].map(|text| share(text).has(id.draw())));
            // As OpenTelemetry has it: the last eight bytes, less one bit, against the ratio.
            let number = (trace as u64) >> 1;
            if number < (0.0999 * (1_u64 << 63) as f64) as u64 {
                prop_assert!(taken[2]);
            }
            if number > (0.1001 * (1_u64 << 63) as f64) as u64 {
                prop_assert!(!taken[2]);
            }
        }
    }
}
