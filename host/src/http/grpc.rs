//! What a proxy has to know of gRPC: which calls are some, how long they may take, and how a fault
//! is told.
//!
//! Source: "gRPC over HTTP2" and "HTTP to gRPC Status Code Mapping", github.com/grpc/grpc, doc/.

use std::time::Duration;

/// Whether a `Content-Type` is gRPC's: `application/grpc`, perhaps with `+proto` or the like.
/// gRPC-Web is not, it has its own framing.
pub fn is_content_type(value: &[u8]) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    value.len() >= GRPC.len()
        && value[..GRPC.len()].eq_ignore_ascii_case(GRPC)
        && matches!(value.get(GRPC.len()), None | Some(b'+' | b';' | b' '))
}

/// The `grpc-timeout` of a call: at most eight digits and a unit. None for anything else, which
/// callees judge.
pub fn timeout(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let amount: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(amount * 3600),
        b'M' => Duration::from_secs(amount * 60),
        b'S' => Duration::from_secs(amount),
        b'm' => Duration::from_millis(amount),
        b'u' => Duration::from_micros(amount),
        b'n' => Duration::from_nanos(amount),
        _ => return None,
    })
}

/// The `grpc-status` of a fault that HTTP has a status for.
pub fn status(http: u16) -> u8 {
    match http {
        400 => 13,             // INTERNAL
        401 => 16,             // UNAUTHENTICATED
        403 => 7,              // PERMISSION_DENIED
        404 => 12,             // UNIMPLEMENTED
        413 | 431 => 8,        // RESOURCE_EXHAUSTED
        408 | 504 => 4,        // DEADLINE_EXCEEDED
        429 | 502 | 503 => 14, // UNAVAILABLE
        499 => 1,              // CANCELLED
        _ => 2,                // UNKNOWN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_is_told_by_its_content_type() {
        for grpc in [
            "application/grpc",
            "application/grpc+proto",
            "Application/GRPC; x=y",
        ] {
            assert!(is_content_type(grpc.as_bytes()), "{grpc}");
        }
        for other in [
            "",
            "application/json",
            "application/grpc-web",
            "application/grpcx",
        ] {
            assert!(!is_content_type(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn a_timeout_has_a_unit() {
        assert_eq!(timeout(b"1S"), Some(Duration::from_secs(1)));
        assert_eq!(timeout(b"250m"), Some(Duration::from_millis(250)));
        assert_eq!(
            timeout(b"99999999H"),
            Some(Duration::from_secs(99_999_999 * 3600))
        );
        for bad in ["", "S", "1", "1s", "123456789S", "-1S", "1.5S"] {
            assert_eq!(timeout(bad.as_bytes()), None, "{bad}");
        }
    }
}
