//! Small rules about header fields: what a name and a value may be, and how nginx finds a cookie.
//!
//! Holds no header table: see where heads are parsed.

use super::byte_set;
use super::head::{FieldName, fold_alike};

/// RFC 9110, 5.6.2 (`tchar`).
const TOKEN: [bool; 256] =
    byte_set(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");

/// Whether a header may have this name, or a request this method (RFC 9110, 5.1 and 9.1).
pub fn is_token(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| TOKEN[usize::from(*byte)])
}

/// Whether a request may have this method: capital letters, `-` and `_`, as nginx has it
/// (`ngx_http_parse_request_line`). Methods are told apart by case (RFC 9110, 9.1), and none that is
/// registered has others; servers that take `delete` for `DELETE` would do what a condition for the
/// latter was to prevent.
pub fn is_method(method: &[u8]) -> bool {
    let is_letter = |byte: &u8| byte.is_ascii_uppercase() || matches!(byte, b'-' | b'_');
    !method.is_empty() && method.iter().all(is_letter)
}

/// Whether a header may have this value: no control character but the tab (RFC 9110, 5.5). Bytes
/// from 0x80 on are allowed, being found in the wild; space around the value is the caller's to
/// strip.
pub fn is_value(value: &[u8]) -> bool {
    value
        .iter()
        .all(|byte| (*byte >= 0x20 && *byte != 0x7f) || *byte == b'\t')
}

/// The value of a cookie in a request's `Cookie` headers, as nginx's `$cookie_NAME` has it
/// (`ngx_http_parse_multi_header_lines`): the first of that name in any case, up to the next `;`
/// and not unquoted. A cookie begins after `;`, `,` or at the start.
///
/// Departure: nginx jumps over what follows a `name` without `=`, so that it finds no `a` in
/// `a; a=1`.
pub fn cookie<'a>(lines: impl IntoIterator<Item = &'a [u8]>, name: &[u8]) -> Option<&'a [u8]> {
    lines
        .into_iter()
        .find_map(|line| cookie_in_line(line, name))
}

fn cookie_in_line<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut rest = line;
    while !rest.is_empty() {
        rest = skip_spaces(rest);
        if let Some(value) = value_of(rest, name) {
            let end = memchr::memchr(b';', value).unwrap_or(value.len());
            return Some(&value[..end]);
        }
        let next = memchr::memchr2(b';', b',', rest).map_or(rest.len(), |at| at + 1);
        rest = &rest[next..];
    }
    None
}

/// What follows `name=`, where `pair` begins so.
fn value_of<'a>(pair: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = pair.split_at_checked(name.len())?;
    if !start.eq_ignore_ascii_case(name) {
        return None;
    }
    skip_spaces(rest).strip_prefix(b"=").map(skip_spaces)
}

fn skip_spaces(bytes: &[u8]) -> &[u8] {
    let spaces = bytes.iter().take_while(|byte| **byte == b' ').count();
    &bytes[spaces..]
}

/// The value that a `Set-Cookie` line gives to a cookie of this name, without its attributes (RFC
/// 6265 section 5.2).
pub fn set_cookie<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let value = value_of(skip_spaces(line), name)?;
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    Some(value[..end].trim_ascii_end())
}

/// Whether a field says something of the bytes of a body beside how many they are (RFC 9530 section
/// 6.5, and what that replaces): it says it of no others.
pub fn is_of_bytes(name: &[u8]) -> bool {
    const OF_BYTES: [&[u8]; 4] = [b"content-md5", b"digest", b"content-digest", b"repr-digest"];
    OF_BYTES
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known))
}

/// Whether a header belongs to one connection (RFC 9110 section 7.6.1), delimits the message or
/// says when its body comes, if only for a reader that folds names: only the proxy itself writes
/// it. A value from elsewhere would let two peers disagree on where a message ends.
pub fn is_framing(name: &[u8]) -> bool {
    let known = FieldName::folded(name);
    known.is_of_connection()
        || matches!(
            known,
            FieldName::ContentLength | FieldName::Expect | FieldName::Te | FieldName::Trailer
        )
        || fold_alike(name, b"http2-settings")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_or_more_token_characters() {
        assert!(is_token(b"X-Forwarded-For"));
        assert!(is_token(b"!#$%&'*+-.^_`|~aZ09"));
        for name in [
            "", "a b", "a:", "a\t", "a\0", "a\x7f", "é", "(a)", "a/b", "a\"", "a@b", "a[b]",
            "a{b}", "a\\",
        ] {
            assert!(!is_token(name.as_bytes()), "{name:?}");
        }
    }

    #[test]
    fn a_value_has_no_control_character_but_the_tab() {
        assert!(is_value(b""));
        assert!(is_value(b"a\tb \xff~"));
        for byte in (0..0x20).chain([0x7f]).filter(|byte| *byte != b'\t') {
            assert!(!is_value(&[b'a', byte]), "{byte:#x}");
        }
    }

    #[test]
    fn what_frames_a_message_does_so_under_names_that_pass_for_it() {
        for name in [
            "Connection",
            "Content-Length",
            "content_length",
            "Expect",
            "HTTP2_Settings",
            "Keep.Alive",
            "TE",
            "Trailer",
            "Transfer-Encoding",
            "Upgrade",
        ] {
            assert!(is_framing(name.as_bytes()), "{name}");
        }
        for name in ["Content-Type", "Host", "X-Forwarded-For", "Connections", ""] {
            assert!(!is_framing(name.as_bytes()), "{name}");
        }
    }

    /// Plugins refuse by the SDK what the host would refuse.
    #[test]
    fn the_sdk_tells_names_apart_as_the_host_does() {
        let names = [
            "accept",
            "authorization",
            "connection",
            "content-length",
            "content-type",
            "cookie",
            "date",
            "expect",
            "forwarded",
            "host",
            "http2-settings",
            "keep-alive",
            "proxy-authenticate",
            "proxy-authorization",
            "proxy-connection",
            "range",
            "server",
            "set-cookie",
            "te",
            "trailer",
            "trailers",
            "transfer-encoding",
            "upgrade",
            "via",
            "x-forwarded-for",
            "a b",
            "a:",
            "",
        ];
        let forms = |name: &str| [name.to_owned(), name.to_uppercase(), name.replace('-', "_")];
        for name in names.into_iter().flat_map(forms) {
            let bytes = name.as_bytes();
            assert_eq!(
                waypost_sdk::headers::is_framing(&name),
                is_framing(bytes),
                "{name}"
            );
            assert_eq!(
                waypost_sdk::headers::is_name(&name),
                is_token(bytes),
                "{name}"
            );
        }
        for byte in 0..=u8::MAX {
            assert_eq!(
                waypost_sdk::headers::is_name([byte]),
                is_token(&[byte]),
                "{byte:#x}"
            );
        }
    }

    #[test]
    fn cookies_are_found_as_nginx_finds_them() {
        // Answers of nginx 1.22.1 for `$cookie_a`.
        let cases: [(&str, Option<&str>); 14] = [
            ("a=1", Some("1")),
            ("A=1", Some("1")),
            ("b=2; a=3", Some("3")),
            ("b=2,a=3", Some("3")),
            ("b=2;a=3", Some("3")),
            ("a = 4 ; b", Some("4 ")),
            ("xa=5; a=6", Some("6")),
            ("ab=1; a=2", Some("2")),
            ("a=", Some("")),
            ("b=a=9; a=8", Some("8")),
            ("a=\"q;r\"", Some("\"q")),
            (";a=1", Some("1")),
            ("a=1,2", Some("1,2")),
            ("b=x a=3", None),
        ];
        for (line, value) in cases {
            assert_eq!(
                cookie([line.as_bytes()], b"a"),
                value.map(str::as_bytes),
                "{line}"
            );
        }
    }

    #[test]
    fn cookies_are_sought_in_every_line() {
        assert_eq!(cookie([&b"b=1"[..], b"a=2", b"a=3"], b"a"), Some(&b"2"[..]));
        assert_eq!(cookie([], b"a"), None);
    }

    #[test]
    fn a_name_without_a_value_hides_no_later_cookie() {
        assert_eq!(cookie([&b"a; a=7"[..]], b"a"), Some(&b"7"[..]));
    }
}
