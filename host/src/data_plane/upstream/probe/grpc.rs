//! The messages of gRPC's health service (`grpc.health.v1`, grpc/doc/health-checking.md), two small
//! ones of protobuf: a library for these would bring a compiler for them along.

use super::ProbeFailure;
use crate::http::head::ResponseHead;

/// `HealthCheckResponse.ServingStatus.SERVING`.
const SERVING: u64 = 1;
/// A message's length comes behind one byte of flags.
const PREFIX: usize = 5;

/// `HealthCheckRequest { service }`, with the prefix that each message has.
pub(super) fn request(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        // Field 1, a string.
        message.push(0x0a);
        varint(service.len() as u64, &mut message);
        message.extend_from_slice(service.as_bytes());
    }
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&[0], &length.to_be_bytes()[..], &message].concat()
}

/// What an answer says of the service.
///
/// # Errors
/// It does not serve, or the call has failed.
pub(super) fn judged(
    head: &ResponseHead,
    body: &[u8],
    trailers: &[u8],
) -> Result<String, ProbeFailure> {
    if head.status() != 200 {
        return Err(ProbeFailure::Status(head.status()));
    }
    // Of a call without a message, it is in the head.
    let in_head = head.fields().named(b"grpc-status").next();
    let status = in_trailers(trailers).or(in_head).and_then(number);
    match status {
        None => return Err(ProbeFailure::NoGrpcStatus),
        Some(0) => {}
        Some(status) => return Err(ProbeFailure::GrpcStatus(status)),
    }
    match serving(body) {
        None => Err(ProbeFailure::Message),
        Some(SERVING) => Ok(serving_status(SERVING)),
        Some(other) => Err(ProbeFailure::NotServing(other)),
    }
}

fn in_trailers(lines: &[u8]) -> Option<&[u8]> {
    let mut lines = lines.split(|byte| *byte == b'\n');
    lines.find_map(|line| {
        let (name, value) = line.split_at_checked(line.iter().position(|byte| *byte == b':')?)?;
        let is_status = name.eq_ignore_ascii_case(b"grpc-status");
        is_status.then(|| value[1..].trim_ascii())
    })
}

fn number(text: &[u8]) -> Option<u32> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The status in a `HealthCheckResponse`, 0 where it says none; none where it is no such message.
fn serving(body: &[u8]) -> Option<u64> {
    let (prefix, rest) = body.split_at_checked(PREFIX)?;
    let length = u32::from_be_bytes(prefix[1..].try_into().ok()?);
    // Compressed ones were not asked for.
    if prefix[0] != 0 || rest.len() != length as usize {
        return None;
    }
    let (mut rest, mut status) = (rest, 0);
    while !rest.is_empty() {
        let tag = take_varint(&mut rest)?;
        match (tag >> 3, tag & 7) {
            (1, 0) => status = take_varint(&mut rest)?,
            (_, 0) => drop(take_varint(&mut rest)?),
            (_, 1) => rest = rest.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(take_varint(&mut rest)?).ok()?;
                rest = rest.get(length..)?;
            }
            (_, 5) => rest = rest.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The name of a status, in brackets and behind a space; nothing for one that has none.
pub(super) fn status_name(status: u32) -> &'static str {
    match status {
        1 => " (CANCELLED)",
        2 => " (UNKNOWN)",
        3 => " (INVALID_ARGUMENT)",
        4 => " (DEADLINE_EXCEEDED)",
        5 => " (NOT_FOUND: it does not know the service)",
        7 => " (PERMISSION_DENIED)",
        8 => " (RESOURCE_EXHAUSTED)",
        12 => " (UNIMPLEMENTED: it has no health service)",
        13 => " (INTERNAL)",
        14 => " (UNAVAILABLE)",
        16 => " (UNAUTHENTICATED)",
        _ => "",
    }
}

/// A `ServingStatus` in words.
pub(super) fn serving_status(status: u64) -> String {
    match status {
        0 => "UNKNOWN".to_owned(),
        SERVING => "SERVING".to_owned(),
        2 => "NOT_SERVING".to_owned(),
        3 => "SERVICE_UNKNOWN".to_owned(),
        other => format!("serving status {other}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_request_names_its_service() {
        assert_eq!(request(""), [0, 0, 0, 0, 0]);
        assert_eq!(request("ab"), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let long = "x".repeat(300);
        assert_eq!(request(&long)[..8], [0, 0, 0, 1, 47, 0x0a, 0xac, 0x02]);
    }

    #[test]
    fn the_status_of_an_answer_is_found() {
        assert_eq!(serving(&[0, 0, 0, 0, 2, 8, 1]), Some(1));
        assert_eq!(serving(&[0, 0, 0, 0, 0]), Some(0), "left out: UNKNOWN");
        let with_more = [
            0, 0, 0, 0, 11, 0x12, 3, b'a', b'b', b'c', 0x1d, 1, 2, 3, 4, 8,
        ];
        assert_eq!(serving(&with_more), None, "a cut message");
        let with_more = [
            0, 0, 0, 0, 12, 0x12, 3, b'a', b'b', b'c', 0x1d, 1, 2, 3, 4, 8, 2,
        ];
        assert_eq!(serving(&with_more), Some(2), "unknown fields are skipped");
        assert_eq!(serving(&[1, 0, 0, 0, 2, 8, 1]), None, "compressed");
        assert_eq!(serving(b"<html>"), None);
    }

    #[test]
    fn a_status_is_read_from_trailers() {
        let lines = b"a: b\r\ngrpc-status: 12\r\n";
        assert_eq!(in_trailers(lines).and_then(number), Some(12));
        assert_eq!(in_trailers(b"grpc-statuses: 1\r\n"), None);
    }

    proptest! {
        #[test]
        fn no_message_is_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            serving(&bytes);
            let framed = [&[0, 0, 0, 0, bytes.len() as u8], &bytes[..]].concat();
            serving(&framed);
            in_trailers(&bytes);
        }
    }
}
