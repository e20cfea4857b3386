//! Request targets: which form they have, and where path and query are.
//!
//! Nothing is decoded here: the path that routes are found by comes from [`path`](super::path).

use std::borrow::Cow;
use std::ops::Range;

use super::authority::{Authority, BadAuthority};
use super::byte_set;

/// Bytes that a target may have. RFC 3986 excludes `"<>\^` `` ` `` `{|}` too, but clients send them
/// and nginx lets them pass; control characters, space, `#` and bytes from 0x80 on are where
/// parsers disagree.
const TARGET: [bool; 256] = byte_set(
    b"!\"$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~",
);

/// A request target, checked and taken apart (RFC 9112, 3.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestTarget<'a> {
    pub form: TargetForm<'a>,
    /// Path and query as received (`$request_uri`), a missing path written as `/`. `*` in
    /// asterisk-form, empty in authority-form. Always ASCII.
    pub uri: Cow<'a, str>,
    /// Length of the path in `uri`.
    path_len: usize,
}

/// The form of a request target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetForm<'a> {
    /// `/path?query`
    Origin,
    /// `http://host/path?query`: the host takes the place of `Host` (RFC 9112, 3.2.2). With the
    /// bytes of the target that name it.
    Absolute(Authority<'a>, Range<usize>),
    /// `host:port`, with CONNECT and only there.
    Authority(Authority<'a>),
    /// `*`, with OPTIONS only.
    Asterisk,
}

/// Why a request target is none: answered with 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    #[error("the request target contains byte {0:#04x}")]
    Byte(u8),
    #[error("the request target is neither a path nor an http URI")]
    TargetForm,
    #[error("the request target has a bad host: {0}")]
    Authority(#[from] BadAuthority),
    #[error("the path has a `%` without two hexadecimal digits, or `%00`")]
    Escape,
    #[error("the path leads above the root")]
    AboveRoot,
}

impl<'a> RequestTarget<'a> {
    /// Takes a target apart. `method` decides which forms are allowed.
    pub fn parse(method: &[u8], target: &'a [u8]) -> Result<RequestTarget<'a>, BadTarget> {
        check_bytes(target)?;
        let text = std::str::from_utf8(target).map_err(|_| BadTarget::Byte(0x80))?;
        if method == b"CONNECT" {
            let form = TargetForm::Authority(Authority::parse(target)?);
            return Ok(RequestTarget {
                form,
                uri: Cow::Borrowed(""),
                path_len: 0,
            });
        }
        if text.starts_with('/') {
            return Ok(RequestTarget::with_uri(
                TargetForm::Origin,
                Cow::Borrowed(text),
            ));
        }
        if text == "*" && method == b"OPTIONS" {
            return Ok(RequestTarget {
                form: TargetForm::Asterisk,
                uri: Cow::Borrowed(text),
                path_len: 1,
            });
        }
        let rest = strip_scheme(text).ok_or(BadTarget::TargetForm)?;
        let (authority, uri) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let start = text.len() - rest.len();
        let form = TargetForm::Absolute(
            Authority::parse(authority.as_bytes())?,
            start..start + authority.len(),
        );
        let uri = match uri {
            "" => Cow::Borrowed("/"),
            uri if uri.starts_with('?') => Cow::Owned(format!("/{uri}")),
            uri => Cow::Borrowed(uri),
        };
        Ok(RequestTarget::with_uri(form, uri))
    }

    fn with_uri(form: TargetForm<'a>, uri: Cow<'a, str>) -> RequestTarget<'a> {
        let path_len = memchr::memchr(b'?', uri.as_bytes()).unwrap_or(uri.len());
        RequestTarget {
            form,
            uri,
            path_len,
        }
    }

    /// The path as received.
    pub fn path(&self) -> &str {
        &self.uri[..self.path_len]
    }

    /// What follows the first `?`; none without one.
    pub fn query(&self) -> Option<&str> {
        self.uri.get(self.path_len + 1..)
    }

    /// The host that the target names, if it does.
    pub fn authority(&self) -> Option<&Authority<'a>> {
        match &self.form {
            TargetForm::Absolute(authority, _) | TargetForm::Authority(authority) => {
                Some(authority)
            }
            TargetForm::Origin | TargetForm::Asterisk => None,
        }
    }
}

/// Whether this is a path as a target in origin-form begins with, percent-encoded.
///
/// # Errors
/// [`BadTarget`]
pub fn check_path(path: &[u8]) -> Result<(), BadTarget> {
    if path.first() != Some(&b'/') {
        return Err(BadTarget::TargetForm);
    }
    match memchr::memchr(b'?', path) {
        Some(_) => Err(BadTarget::Byte(b'?')),
        None => check_bytes(path),
    }
}

/// Whether this is what may follow the `?` of a target.
///
/// # Errors
/// [`BadTarget`]
pub fn check_query(query: &[u8]) -> Result<(), BadTarget> {
    check_bytes(query)
}

fn check_bytes(target: &[u8]) -> Result<(), BadTarget> {
    match target.iter().find(|byte| !TARGET[usize::from(**byte)]) {
        Some(byte) => Err(BadTarget::Byte(*byte)),
        None => Ok(()),
    }
}

/// Those of WebSocket are HTTP's on the wire (RFC 6455 section 3).
fn strip_scheme(text: &str) -> Option<&str> {
    ["http://", "https://", "ws://", "wss://"]
        .iter()
        .find_map(|scheme| {
            let (start, rest) = text.split_at_checked(scheme.len())?;
            start.eq_ignore_ascii_case(scheme).then_some(rest)
        })
}

/// The first argument called `name` in a query, in any case, as received: nginx's `$arg_NAME`
/// (`ngx_http_arg`). One without `=` is none.
pub fn argument<'a>(query: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    query.split(|byte| *byte == b'&').find_map(|pair| {
        let (start, rest) = pair.split_at_checked(name.len())?;
        let value = rest.strip_prefix(b"=")?;
        start.eq_ignore_ascii_case(name).then_some(value)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn get(target: &str) -> Result<RequestTarget<'_>, BadTarget> {
        RequestTarget::parse(b"GET", target.as_bytes())
    }

    #[test]
    fn a_path_and_its_query_are_kept_as_received() {
        let target = get("/a%20b/../c?x=%zz?y").unwrap();
        assert_eq!(target.form, TargetForm::Origin);
        assert_eq!(
            (target.path(), target.query()),
            ("/a%20b/../c", Some("x=%zz?y"))
        );
        assert_eq!(target.uri, "/a%20b/../c?x=%zz?y");
        assert!(matches!(target.uri, Cow::Borrowed(_)));
        assert_eq!(get("/a").unwrap().query(), None);
        assert_eq!(get("/a?").unwrap().query(), Some(""));
    }

    #[test]
    fn an_absolute_target_names_the_host() {
        let target = get("http://H.x:8080/a?b").unwrap();
        let authority = target.authority().unwrap();
        assert_eq!((&*authority.host, authority.port), ("h.x", Some(8080)));
        assert_eq!(
            (target.path(), target.query(), &*target.uri),
            ("/a", Some("b"), "/a?b")
        );
        for (target, place) in [
            ("HTTPS://h/", 8..9),
            ("ws://h:1?q", 5..8),
            ("wss://h", 6..7),
        ] {
            let parsed = get(target).unwrap();
            assert_eq!(parsed.authority().unwrap().host, "h");
            let TargetForm::Absolute(_, found) = parsed.form else {
                panic!("{target}")
            };
            assert_eq!(found, place, "{target}");
        }
    }

    #[test]
    fn an_absolute_target_without_a_path_means_the_root() {
        let target = get("http://h").unwrap();
        assert_eq!(
            (target.path(), target.query(), &*target.uri),
            ("/", None, "/")
        );
        let target = get("http://h?q").unwrap();
        assert_eq!(
            (target.path(), target.query(), &*target.uri),
            ("/", Some("q"), "/?q")
        );
    }

    #[test]
    fn the_asterisk_belongs_to_options() {
        let target = RequestTarget::parse(b"OPTIONS", b"*").unwrap();
        assert_eq!(
            (&target.form, target.path(), target.query()),
            (&TargetForm::Asterisk, "*", None)
        );
        assert_eq!(get("*"), Err(BadTarget::TargetForm));
        assert_eq!(
            RequestTarget::parse(b"OPTIONS", b"*x"),
            Err(BadTarget::TargetForm)
        );
    }

    #[test]
    fn a_bare_authority_belongs_to_connect() {
        let target = RequestTarget::parse(b"CONNECT", b"h:443").unwrap();
        assert_eq!(target.authority().unwrap().port, Some(443));
        assert_eq!((target.path(), target.query()), ("", None));
        assert_eq!(get("h:443"), Err(BadTarget::TargetForm));
        assert!(matches!(
            RequestTarget::parse(b"CONNECT", b"/a"),
            Err(BadTarget::Authority(_))
        ));
    }

    #[test]
    fn what_is_no_target_is_refused() {
        let cases: [(&[u8], BadTarget); 11] = [
            (b"", BadTarget::TargetForm),
            (b"foo", BadTarget::TargetForm),
            (b"ftp://h/", BadTarget::TargetForm),
            (b"?a", BadTarget::TargetForm),
            (b"/a#b", BadTarget::Byte(b'#')),
            (b"/a b", BadTarget::Byte(b' ')),
            (b"/a\x80", BadTarget::Byte(0x80)),
            (b"/a\x7f", BadTarget::Byte(0x7f)),
            (b"/a?\x01", BadTarget::Byte(1)),
            (b"http:///a", BadTarget::Authority(BadAuthority::Empty)),
            (
                b"http://u@h/",
                BadTarget::Authority(BadAuthority::Byte(b'@')),
            ),
        ];
        for (target, problem) in cases {
            assert_eq!(
                RequestTarget::parse(b"GET", target),
                Err(problem),
                "{}",
                target.escape_ascii()
            );
        }
        assert!(get("/a\"<>\\^`{|}").is_ok());
    }

    #[test]
    fn arguments_are_found_as_nginx_finds_them() {
        // Answers of nginx 1.22.1 for `$arg_b`.
        let cases: [(&str, Option<&str>); 13] = [
            ("b=1", Some("1")),
            ("B=1", Some("1")),
            ("ab=1&b=2", Some("2")),
            ("b&b=3", Some("3")),
            ("b=", Some("")),
            ("a=b=1&b=2", Some("2")),
            ("b=1&b=2", Some("1")),
            ("b=%20+", Some("%20+")),
            ("b", None),
            ("&b=1", Some("1")),
            ("bb=1", None),
            ("b=1=2&c", Some("1=2")),
            (";b=1", None),
        ];
        for (query, value) in cases {
            assert_eq!(
                argument(query.as_bytes(), b"b"),
                value.map(str::as_bytes),
                "{query}"
            );
        }
    }

    proptest! {
        #[test]
        fn an_accepted_target_has_a_path_and_no_forbidden_byte(
            method in "GET|OPTIONS|CONNECT",
            target in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..12),
                "(https?://)?[a-z:/?*#%.]{0,16}".prop_map(String::into_bytes),
            ],
        ) {
            if let Ok(target) = RequestTarget::parse(method.as_bytes(), &target) {
                prop_assert!(target.uri.bytes().all(|byte| byte > 0x20 && byte < 0x7f && byte != b'#'));
                prop_assert!(target.path().starts_with('/') || method != "GET");
            }
        }
    }
}
