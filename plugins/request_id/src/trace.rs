//! The header `traceparent` of W3C's Trace Context (Recommendation of 23 November 2021), section
//! 3.2: version, trace, parent and flags, all in lower case hexadecimal.

use waypost_sdk::Draws;

use crate::write_hex;

/// `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01`
const LENGTH: usize = 55;

/// The one flag that version 00 knows.
const SAMPLED: u8 = 1;

/// A place in a trace, in its written form without version and flags.
pub(crate) struct TraceParent {
    trace_id: [u8; 32],
    parent_id: [u8; 16],
    sampled: bool,
}

impl TraceParent {
    /// What a peer has sent, if it is valid (sections 3.2.2 and 3.2.4). Of later versions the parts
    /// that version 00 has are taken.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let (known, more) = text.split_at_checked(LENGTH)?;
        let [v1, v2, b'-', rest @ ..] = known else {
            return None;
        };
        let version = hex_byte([*v1, *v2]).filter(|version| *version != 0xff)?;
        let is_more_allowed = more.is_empty() || version != 0 && more[0] == b'-';
        let (trace_id, rest) = rest.split_first_chunk::<32>()?;
        let (parent_id, rest) = rest.strip_prefix(b"-")?.split_first_chunk::<16>()?;
        let flags = hex_byte(rest.strip_prefix(b"-")?.try_into().ok()?)?;
        (is_more_allowed && is_id(trace_id) && is_id(parent_id)).then_some(TraceParent {
            trace_id: *trace_id,
            parent_id: *parent_id,
            sampled: flags & SAMPLED != 0,
        })
    }

    /// A new trace.
    pub(crate) fn begin(sampled: bool, draws: &mut Draws) -> Self {
        let mut trace_id = [0; 32];
        write_hex(other_than_0(draws), &mut trace_id[..16]);
        write_hex(draws.draw(), &mut trace_id[16..]);
        TraceParent {
            trace_id,
            parent_id: [b'0'; 16],
            sampled,
        }
        .continued(draws)
    }

    /// The same trace, with a parent of our own.
    pub(crate) fn continued(mut self, draws: &mut Draws) -> Self {
        write_hex(other_than_0(draws), &mut self.parent_id);
        self
    }

    pub(crate) fn trace_id(&self) -> &[u8] {
        &self.trace_id
    }

    /// In version 00.
    pub(crate) fn render(&self) -> [u8; LENGTH] {
        let mut text = [b'-'; LENGTH];
        text[..2].copy_from_slice(b"00");
        text[3..35].copy_from_slice(&self.trace_id);
        text[36..52].copy_from_slice(&self.parent_id);
        text[53..].copy_from_slice(if self.sampled { b"01" } else { b"00" });
        text
    }
}

/// Ids of zeros are not valid.
fn other_than_0(draws: &mut Draws) -> u64 {
    draws.draw().max(1)
}

/// Lower case only: `A` is not valid.
fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

fn hex_byte([high, low]: [u8; 2]) -> Option<u8> {
    Some(hex_digit(high)? << 4 | hex_digit(low)?)
}

fn is_id(digits: &[u8]) -> bool {
    digits.iter().all(|digit| hex_digit(*digit).is_some()) && digits.iter().any(|&d| d != b'0')
}
