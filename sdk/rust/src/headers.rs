//! Which headers a value from elsewhere may be written to.

/// Headers that belong to one connection (RFC 9110, section 7.6.1), delimit the message or say when
/// its body comes. As `is_framing` of the host has them.
const FRAMING: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Whether a header, a cookie or a method may have this name: a token (RFC 9110, section 5.6.2; RFC
/// 6265, section 4.1.1).
pub fn is_name(name: impl AsRef<[u8]>) -> bool {
    let name = name.as_ref();
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !name.is_empty() && name.iter().all(allowed)
}

/// Whether a header frames its message or belongs to one connection, if only for a reader that
/// takes other characters for dashes: only the host writes it, and
/// [`Changes`](crate::Changes) answer `false` to such a name.
pub fn is_framing(name: &str) -> bool {
    let alike = |known: &&str| {
        let fold = |byte: u8| match byte.is_ascii_alphanumeric() {
            true => byte.to_ascii_lowercase(),
            false => b'-',
        };
        known.len() == name.len() && known.bytes().eq(name.bytes().map(fold))
    };
    FRAMING.iter().any(alike)
}

/// Whether a header frames its message or names its server: settings should refuse to have
/// something else written to it.
///
/// ```
/// use waypost_sdk::headers;
///
/// assert!(headers::frames_or_routes("Host") && headers::frames_or_routes("content_length"));
/// assert!(!headers::frames_or_routes("X-User"));
/// ```
pub fn frames_or_routes(name: &str) -> bool {
    is_framing(name) || name.eq_ignore_ascii_case("host")
}

#[cfg(test)]
mod tests {
    use super::{frames_or_routes, is_framing, is_name};

    #[test]
    fn what_frames_a_message_does_so_under_names_that_pass_for_it() {
        for name in [
            "Connection",
            "Content-Length",
            "content_length",
            "Expect",
            "HTTP2_Settings",
            "Keep.Alive",
            "Proxy-Connection",
            "TE",
            "Trailer",
            "Transfer-Encoding",
            "Upgrade",
        ] {
            assert!(is_framing(name) && frames_or_routes(name), "{name}");
        }
        for name in ["Content-Type", "X-Forwarded-For", "Connections", "", "é"] {
            assert!(!is_framing(name) && !frames_or_routes(name), "{name}");
        }
        assert!(!is_framing("host") && frames_or_routes("host"));
    }

    #[test]
    fn a_name_is_one_or_more_token_characters() {
        assert!(is_name("X-Forwarded-For") && is_name("!#$%&'*+-.^_`|~aZ09"));
        for name in ["", "a b", "a:", "a\t", "a\0", "é", "a/b", "a\""] {
            assert!(!is_name(name), "{name:?}");
        }
    }
}
