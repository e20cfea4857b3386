//! Names of header fields: those that the proxy knows, and how others read a name.
//!
//! CGI (RFC 3875 section 4.1.18), WSGI and Rack hand a field to the program as a variable in whose
//! name `-` is `_`, and PHP folds further characters: to them `X_Real-IP` and `X-Real-IP` are one
//! field.

use std::fmt;

use smallvec::SmallVec;

/// Fields that the proxy itself reads, drops or writes anew; told apart once, when the head is
/// parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldName {
    Other,
    Authorization,
    Connection,
    ContentLength,
    ContentRange,
    Cookie,
    Date,
    Expect,
    Forwarded,
    Host,
    IfModifiedSince,
    IfRange,
    IfUnmodifiedSince,
    KeepAlive,
    ProxyConnection,
    SecWebSocketAccept,
    SecWebSocketKey,
    Server,
    Te,
    Trailer,
    TransferEncoding,
    Upgrade,
    /// Any other `X-Forwarded-*` than the following.
    XForwarded,
    XForwardedFor,
    XForwardedHost,
    XForwardedProto,
    XRealIp,
}

impl FieldName {
    /// By name, in any case.
    pub fn of(name: &[u8]) -> FieldName {
        let (spelling, known): (&[u8], FieldName) =
            match (name.len(), name.first().map(u8::to_ascii_lowercase)) {
                (2, _) => (b"te", FieldName::Te),
                (4, Some(b'h')) => (b"host", FieldName::Host),
                (4, _) => (b"date", FieldName::Date),
                (6, Some(b'c')) => (b"cookie", FieldName::Cookie),
                (6, Some(b'e')) => (b"expect", FieldName::Expect),
                (6, _) => (b"server", FieldName::Server),
                (7, Some(b't')) => (b"trailer", FieldName::Trailer),
                (7, _) => (b"upgrade", FieldName::Upgrade),
                (8, _) => (b"if-range", FieldName::IfRange),
                (9, Some(b'f')) => (b"forwarded", FieldName::Forwarded),
                (9, _) => (b"x-real-ip", FieldName::XRealIp),
                (10, Some(b'c')) => (b"connection", FieldName::Connection),
                (10, _) => (b"keep-alive", FieldName::KeepAlive),
                (11, _) => (b"x-forwarded", FieldName::XForwarded),
                (13, Some(b'a')) => (b"authorization", FieldName::Authorization),
                (13, Some(b'c')) => (b"content-range", FieldName::ContentRange),
                (14, Some(b'c')) => (b"content-length", FieldName::ContentLength),
                (15, _) => (b"x-forwarded-for", FieldName::XForwardedFor),
                (16, Some(b'p')) => (b"proxy-connection", FieldName::ProxyConnection),
                (16, _) => (b"x-forwarded-host", FieldName::XForwardedHost),
                (17, Some(b'i')) => (b"if-modified-since", FieldName::IfModifiedSince),
                (17, Some(b's')) => (b"sec-websocket-key", FieldName::SecWebSocketKey),
                (17, Some(b't')) => (b"transfer-encoding", FieldName::TransferEncoding),
                (17, _) => (b"x-forwarded-proto", FieldName::XForwardedProto),
                (19, Some(b'i')) => (b"if-unmodified-since", FieldName::IfUnmodifiedSince),
                (20, Some(b's')) => (b"sec-websocket-accept", FieldName::SecWebSocketAccept),
                _ => return FieldName::of_family(name),
            };
        if name.eq_ignore_ascii_case(spelling) {
            known
        } else {
            FieldName::of_family(name)
        }
    }

    fn of_family(name: &[u8]) -> FieldName {
        const FAMILY: &[u8] = b"x-forwarded-";
        match name.get(..FAMILY.len()) {
            Some(start) if start.eq_ignore_ascii_case(FAMILY) => FieldName::XForwarded,
            _ => FieldName::Other,
        }
    }

    /// The field that a reader which folds names takes this one for.
    pub fn folded(name: &[u8]) -> FieldName {
        let dashed: SmallVec<[u8; 32]> = name.iter().map(|byte| fold(*byte)).collect();
        FieldName::of(&dashed)
    }

    /// Whether such a field is about one connection of HTTP/1 and ends with it (RFC 9110 section
    /// 7.6.1, RFC 9113 section 8.2.2).
    pub fn is_of_connection(self) -> bool {
        matches!(
            self,
            FieldName::Connection
                | FieldName::KeepAlive
                | FieldName::ProxyConnection
                | FieldName::TransferEncoding
                | FieldName::Upgrade
        )
    }

    /// Whether such a field says where a message ends, where it goes or which way it came: read
    /// behind a body, it would be too late or a forgery (RFC 9110 section 6.5.1).
    pub fn frames_or_routes(self) -> bool {
        self.is_of_connection()
            || matches!(
                self,
                FieldName::ContentLength
                    | FieldName::Forwarded
                    | FieldName::Host
                    | FieldName::Te
                    | FieldName::Trailer
                    | FieldName::XForwarded
                    | FieldName::XForwardedFor
                    | FieldName::XForwardedHost
                    | FieldName::XForwardedProto
                    | FieldName::XRealIp
            )
    }

    /// Whether a request has one such field at most.
    pub(super) fn is_singleton(self) -> bool {
        SINGLETONS.contains(&self)
    }

    /// Its place in a set of names.
    pub(super) fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// Fields of which a request has one at most: of several, two readers would heed different ones
/// (RFC 9110 section 5.3; nginx: `ngx_http_process_unique_header_line`). `Host` and what frames a
/// message are checked where they are read.
pub(super) const SINGLETONS: [FieldName; 6] = [
    FieldName::Authorization,
    FieldName::ContentRange,
    FieldName::Expect,
    FieldName::IfModifiedSince,
    FieldName::IfRange,
    FieldName::IfUnmodifiedSince,
];

/// As the RFC spells a singleton; other fields are not told of.
impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FieldName::Authorization => "Authorization",
            FieldName::ContentRange => "Content-Range",
            FieldName::Expect => "Expect",
            FieldName::IfModifiedSince => "If-Modified-Since",
            FieldName::IfRange => "If-Range",
            FieldName::IfUnmodifiedSince => "If-Unmodified-Since",
            other => return fmt::Debug::fmt(other, f),
        })
    }
}

/// Whether a reader that folds names takes one for the other.
pub fn fold_alike(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len()
        && one
            .iter()
            .zip(other)
            .all(|(one, other)| fold(*one).eq_ignore_ascii_case(&fold(*other)))
}

/// Whether a name has no character that servers fold (`fold`).
pub(super) fn is_plain(name: &[u8]) -> bool {
    name.iter().all(|byte| fold(*byte) == *byte)
}

fn fold(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() {
        byte
    } else {
        b'-'
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_known_in_any_case() {
        for (name, known) in [
            ("te", FieldName::Te),
            ("Host", FieldName::Host),
            ("COOKIE", FieldName::Cookie),
            ("if-range", FieldName::IfRange),
            ("Forwarded", FieldName::Forwarded),
            ("X-Real-IP", FieldName::XRealIp),
            ("x-forwarded", FieldName::XForwarded),
            ("Authorization", FieldName::Authorization),
            ("Content-Range", FieldName::ContentRange),
            ("X-Forwarded-For", FieldName::XForwardedFor),
            ("X-Forwarded-Ssl", FieldName::XForwarded),
            ("X-Forwarded-Port", FieldName::XForwarded),
            ("X-Forwarded-Prefix", FieldName::XForwarded),
            ("X-Forwarded-", FieldName::XForwarded),
            ("Transfer-Encoding", FieldName::TransferEncoding),
            ("X-Forwardedness", FieldName::Other),
            ("Tee", FieldName::Other),
            ("", FieldName::Other),
        ] {
            assert_eq!(FieldName::of(name.as_bytes()), known, "{name}");
        }
    }

    #[test]
    fn a_name_is_folded_as_the_most_eager_reader_does() {
        for name in [
            "X_Real-IP",
            "x_real_ip",
            "X.Real.IP",
            "X~Real-ip",
            "X-Real-IP",
        ] {
            assert_eq!(FieldName::folded(name.as_bytes()), FieldName::XRealIp);
            assert!(fold_alike(name.as_bytes(), b"x-real-ip"), "{name}");
        }
        for name in ["XReal-IP", "X--Real-IP", "X-Real-IP-", "X_Real"] {
            assert_eq!(FieldName::folded(name.as_bytes()), FieldName::Other);
            assert!(!fold_alike(name.as_bytes(), b"x-real-ip"), "{name}");
        }
    }

    #[test]
    fn only_letters_digits_and_dashes_are_plain() {
        assert!(is_plain(b"X-Forwarded-For1"));
        for name in ["a_b", "a.b", "a~b", "a!"] {
            assert!(!is_plain(name.as_bytes()), "{name}");
        }
    }
}
