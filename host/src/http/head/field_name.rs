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

/// A name that is known, as it is found.
struct Spelling {
    length: usize,
    words: [u64; 3],
    known: FieldName,
}

impl Spelling {
    const fn new(name: &[u8], known: FieldName) -> Spelling {
        Spelling {
            length: name.len(),
            words: words(name),
            known,
        }
    }
}

/// The names that are known, by length.
const KNOWN: [Spelling; 26] = [
    Spelling::new(b"te", FieldName::Te),
    Spelling::new(b"host", FieldName::Host),
    Spelling::new(b"date", FieldName::Date),
    Spelling::new(b"cookie", FieldName::Cookie),
    Spelling::new(b"expect", FieldName::Expect),
    Spelling::new(b"server", FieldName::Server),
    Spelling::new(b"trailer", FieldName::Trailer),
    Spelling::new(b"upgrade", FieldName::Upgrade),
    Spelling::new(b"if-range", FieldName::IfRange),
    Spelling::new(b"forwarded", FieldName::Forwarded),
    Spelling::new(b"x-real-ip", FieldName::XRealIp),
    Spelling::new(b"connection", FieldName::Connection),
    Spelling::new(b"keep-alive", FieldName::KeepAlive),
    Spelling::new(b"x-forwarded", FieldName::XForwarded),
    Spelling::new(b"authorization", FieldName::Authorization),
    Spelling::new(b"content-range", FieldName::ContentRange),
    Spelling::new(b"content-length", FieldName::ContentLength),
    Spelling::new(b"x-forwarded-for", FieldName::XForwardedFor),
    Spelling::new(b"x-forwarded-host", FieldName::XForwardedHost),
    Spelling::new(b"proxy-connection", FieldName::ProxyConnection),
    Spelling::new(b"x-forwarded-proto", FieldName::XForwardedProto),
    Spelling::new(b"transfer-encoding", FieldName::TransferEncoding),
    Spelling::new(b"if-modified-since", FieldName::IfModifiedSince),
    Spelling::new(b"sec-websocket-key", FieldName::SecWebSocketKey),
    Spelling::new(b"if-unmodified-since", FieldName::IfUnmodifiedSince),
    Spelling::new(b"sec-websocket-accept", FieldName::SecWebSocketAccept),
];

/// For each length, where the names in [`KNOWN`] begin that are as long, and where they end.
const OF_LENGTH: [(usize, usize); KNOWN[KNOWN.len() - 1].length + 1] = {
    let mut of_length = [(0, 0); _];
    let mut at = 0;
    while at < KNOWN.len() {
        let (from, behind) = of_length[KNOWN[at].length];
        let from = if behind == 0 { at } else { from };
        of_length[KNOWN[at].length] = (from, at + 1);
        at += 1;
    }
    of_length
};

/// All bytes of a name of 2 to 24, in lower case; those of any other length are of no known name.
/// Pieces from its beginning and its end overlap, which spares a loop: each field of each head is
/// looked up.
const fn words(name: &[u8]) -> [u64; 3] {
    if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
        let middle = match name.split_at(8).1.first_chunk() {
            Some(middle) => u64::from_le_bytes(*middle),
            None => 0,
        };
        let (first, last) = (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
        return [lower_case(first), lower_case(last), lower_case(middle)];
    }
    let word = if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
        (u32::from_le_bytes(*first) as u64) << 32 | u32::from_le_bytes(*last) as u64
    } else if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
        (u16::from_le_bytes(*first) as u64) << 16 | u16::from_le_bytes(*last) as u64
    } else {
        0
    };
    [lower_case(word), 0, 0]
}

/// Eight bytes of ASCII in lower case; others stay.
const fn lower_case(word: u64) -> u64 {
    const EACH: u64 = u64::from_le_bytes([1; 8]);
    let low = word & (0x7f * EACH);
    // The top bit of each byte: whether it is at least `A`, and more than `Z`.
    let from_a = low + (0x80 - b'A' as u64) * EACH;
    let behind_z = low + (0x7f - b'Z' as u64) * EACH;
    let upper = (from_a ^ behind_z) & !word & (0x80 * EACH);
    word | upper >> 2
}

impl FieldName {
    /// By name, in any case.
    pub fn of(name: &[u8]) -> FieldName {
        let Some((from, behind)) = OF_LENGTH.get(name.len()) else {
            return FieldName::of_family(name);
        };
        let words = words(name);
        let mut of_length = KNOWN[*from..*behind].iter();
        let found = of_length.find(|spelling| spelling.words == words);
        found.map_or_else(|| FieldName::of_family(name), |spelling| spelling.known)
    }

    fn of_family(name: &[u8]) -> FieldName {
        const FAMILY: &[u8; 12] = b"x-forwarded-";
        const WORDS: [u64; 3] = words(FAMILY);
        match name.first_chunk::<{ FAMILY.len() }>() {
            Some(start) if words(start) == WORDS => FieldName::XForwarded,
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
    name.iter().all(|byte| PLAIN[usize::from(*byte)])
}

/// Letters, digits and the dash, by their code.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        plain[byte as usize] = fold(byte) == byte;
        byte += 1;
    }
    plain
};

const fn fold(byte: u8) -> u8 {
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

    /// Every name that is known, with one byte that is another.
    #[test]
    fn a_name_that_differs_in_any_one_byte_is_another() {
        let known = [
            "te",
            "host",
            "date",
            "cookie",
            "expect",
            "server",
            "trailer",
            "upgrade",
            "if-range",
            "forwarded",
            "x-real-ip",
            "connection",
            "keep-alive",
            "x-forwarded",
            "authorization",
            "content-range",
            "content-length",
            "x-forwarded-for",
            "x-forwarded-host",
            "proxy-connection",
            "x-forwarded-proto",
            "transfer-encoding",
            "if-modified-since",
            "sec-websocket-key",
            "if-unmodified-since",
            "sec-websocket-accept",
        ];
        for name in known {
            let of_name = FieldName::of(name.as_bytes());
            assert_ne!(of_name, FieldName::Other, "{name}");
            assert_eq!(FieldName::of(name.to_uppercase().as_bytes()), of_name);
            for at in 0..name.len() {
                for byte in 0..=255_u8 {
                    let mut other = name.as_bytes().to_vec();
                    other[at] = byte;
                    let is_alike = other.eq_ignore_ascii_case(name.as_bytes());
                    let found = FieldName::of(&other);
                    match (is_alike, found) {
                        (true, found) => assert_eq!(found, of_name, "{name}: {byte} at {at}"),
                        // A family has many names.
                        (false, FieldName::XForwarded) => {
                            assert!(other.to_ascii_lowercase().starts_with(b"x-forwarded-"));
                        }
                        (false, found) => {
                            assert_eq!(found, FieldName::Other, "{name}: {byte} at {at}");
                        }
                    }
                }
            }
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
        for byte in 0..=255_u8 {
            let expected = byte.is_ascii_alphanumeric() || byte == b'-';
            assert_eq!(is_plain(&[b'a', byte]), expected, "{byte}");
        }
    }
}
