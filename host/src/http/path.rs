//! Paths: decoded and normalised for finding a route, and written anew for an upstream.
//!
//! Both as nginx does it (`ngx_http_parse_complex_uri` with `merge_slashes on`, and
//! `ngx_http_proxy_create_request`), so that routes mean what its locations mean.

use std::borrow::Cow;

use super::byte_set;
use super::target::BadTarget;

/// What `ngx_escape_uri` escapes with `NGX_ESCAPE_URI`: these, control characters and bytes from
/// 0x7f on.
const KEPT: [bool; 256] =
    byte_set(b"!$&'()*+,-./0123456789:;=@ABCDEFGHIJKLMNOPQRSTUVWXYZ[]_abcdefghijklmnopqrstuvwxyz~");

/// The path that routes are asked about: `%XX` decoded, `.` and `..` resolved, repeated `/` merged.
/// What is decoded to `/` or `.` counts as such. Any byte but NUL may come out. Borrowed where
/// there is nothing to do, which is usual.
///
/// `path` begins with `/` and has neither `?` nor `#`, as
/// [`RequestTarget::path`](super::target::Target::path) gives it; the `*` of asterisk-form stays
/// what it is.
pub fn normalise(path: &[u8]) -> Result<Cow<'_, [u8]>, BadTarget> {
    if is_normal(path) {
        Ok(Cow::Borrowed(path))
    } else {
        resolve(path).map(Cow::Owned)
    }
}

/// True only if normalising would change nothing; names that begin with a dot are left to
/// [`resolve`].
fn is_normal(path: &[u8]) -> bool {
    let mut after_slash = false;
    for byte in path {
        match byte {
            b'%' => return false,
            b'/' | b'.' if after_slash => return false,
            _ => after_slash = *byte == b'/',
        }
    }
    true
}

fn resolve(path: &[u8]) -> Result<Vec<u8>, BadTarget> {
    let mut out = Vec::with_capacity(path.len());
    let mut rest = path.iter().copied();
    while let Some(byte) = rest.next() {
        let byte = if byte == b'%' {
            decode(rest.next(), rest.next())?
        } else {
            byte
        };
        if byte == b'/' {
            close_segment(&mut out)?;
            if out.last() == Some(&b'/') {
                continue;
            }
        }
        out.push(byte);
    }
    close_segment(&mut out)?;
    Ok(out)
}

fn decode(high: Option<u8>, low: Option<u8>) -> Result<u8, BadTarget> {
    let digit = |byte: Option<u8>| {
        char::from(byte?)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    match (digit(high), digit(low)) {
        (Some(0), Some(0)) | (None, _) | (_, None) => Err(BadTarget::Escape),
        (Some(high), Some(low)) => Ok(high << 4 | low),
    }
}

/// Resolves the last segment of `out` if it is `.` or `..`, leaving the slash before it.
fn close_segment(out: &mut Vec<u8>) -> Result<(), BadTarget> {
    if out.ends_with(b"/.") {
        out.truncate(out.len() - 1);
    } else if out.ends_with(b"/..") {
        out.truncate(out.len() - 3);
        let parent = memchr::memrchr(b'/', out).ok_or(BadTarget::AboveRoot)?;
        out.truncate(parent + 1);
    }
    Ok(())
}

/// Whether a path leads to a parent directory anywhere on its way, escapes decoded.
pub fn climbs(path: &[u8]) -> bool {
    let mut rest = path.iter().copied();
    let decoded = std::iter::from_fn(|| match rest.next()? {
        b'%' => decode(rest.next(), rest.next()).ok(),
        byte => Some(byte),
    });
    let decoded: Vec<u8> = decoded.collect();
    let mut segments = decoded.split(|byte| *byte == b'/');
    segments.any(|segment| segment == b"..")
}

/// Appends `path` with every byte escaped that a path cannot have.
pub fn escape(path: &[u8], out: &mut Vec<u8>) {
    escape_all_but(|byte| KEPT[usize::from(byte)], path, out);
}

/// Appends bytes, those escaped that are not kept (RFC 3986 section 2.1).
pub fn escape_all_but(is_kept: impl Fn(u8) -> bool, bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in bytes.iter().copied() {
        if is_kept(byte) {
            out.push(byte);
        } else {
            out.extend([
                b'%',
                DIGITS[usize::from(byte >> 4)],
                DIGITS[usize::from(byte & 15)],
            ]);
        }
    }
}

/// Where the request goes on, if the route's `proxy` has a URI part.
#[derive(Debug, Clone, Copy)]
pub struct Rewrite<'a> {
    /// The path as received: as in nginx, a path without `%` is not escaped anew.
    pub received: &'a [u8],
    /// The same, normalised.
    pub path: &'a [u8],
    /// How much of `path` the route's pattern is, which the URI part replaces.
    pub prefix_len: usize,
    /// The URI part of `proxy`.
    pub replacement: &'a str,
    /// Without `?`; empty for none.
    pub query: &'a [u8],
}

impl Rewrite<'_> {
    /// Appends the new target (`ngx_http_proxy_create_request`).
    pub fn append_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.replacement.as_bytes());
        let rest = self.path.get(self.prefix_len..).unwrap_or_default();
        append_rest(rest, self.received, self.query, out);
    }
}

/// Where the request goes on, if the route takes a prefix off its path or puts one before.
#[derive(Debug, Clone, Copy)]
pub struct Prefixes<'a> {
    /// As in [`Rewrite`], as are the next and the last.
    pub received: &'a [u8],
    pub path: &'a [u8],
    /// Taken off where `path` is it or goes on behind it with a slash. Without one at its end, and
    /// empty for nothing; so is the next.
    pub strip: &'a str,
    pub add: &'a str,
    pub query: &'a [u8],
}

impl Prefixes<'_> {
    /// Appends the new target, decoded and escaped as that of a [`Rewrite`].
    pub fn append_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.add.as_bytes());
        let rest = self.path.strip_prefix(self.strip.as_bytes());
        let rest = rest.filter(|rest| rest.is_empty() || rest.starts_with(b"/"));
        let rest = match rest.unwrap_or(self.path) {
            b"" if self.add.is_empty() => b"/",
            rest => rest,
        };
        append_rest(rest, self.received, self.query, out);
    }
}

/// Appends what is left of a path, and the query. A path that was received without `%` is not
/// escaped anew.
fn append_rest(rest: &[u8], received: &[u8], query: &[u8], out: &mut Vec<u8>) {
    if memchr::memchr(b'%', received).is_some() {
        escape(rest, out);
    } else {
        out.extend_from_slice(rest);
    }
    if !query.is_empty() {
        out.push(b'?');
        out.extend_from_slice(query);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_path_climbs_where_a_segment_of_it_leads_up_however_it_is_escaped() {
        for path in ["/..", "/a/../b", "/%2e./a", "/a%2f.%2E", "..", "/a/..%2fb"] {
            assert!(climbs(path.as_bytes()), "{path}");
        }
        for path in ["/", "/a..b", "/.../a", "/..a/", "/%252e%252e/", "/a/.b"] {
            assert!(!climbs(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn paths_are_normalised_as_nginx_does() {
        // Answers of nginx 1.22.1 for `$uri`.
        let cases: [(&str, &[u8]); 20] = [
            ("/a/./b", b"/a/b"),
            ("/a/../b", b"/b"),
            ("/a/..", b"/"),
            ("//a///b", b"/a/b"),
            ("/a/.", b"/a/"),
            ("/a/b/..", b"/a/"),
            ("/.../x", b"/.../x"),
            ("/a/%2e%2E/b", b"/b"),
            ("/a%2Fb%2f%2fc", b"/a/b/c"),
            ("/a%2f..%2fb", b"/b"),
            ("/%3F%23%25", b"/?#%"),
            ("/%252e%252e/", b"/%2e%2e/"),
            ("/%ff%0a", b"/\xff\n"),
            ("/a+b%2B", b"/a+b+"),
            ("/.a/..b/c.", b"/.a/..b/c."),
            ("/a/.%2e/b", b"/b"),
            ("/a\"<>\\^`{|}", b"/a\"<>\\^`{|}"),
            ("/%5C", b"/\\"),
            ("/a/b/../../", b"/"),
            ("*", b"*"),
        ];
        for (path, normal) in cases {
            let answer = normalise(path.as_bytes()).unwrap();
            assert_eq!(
                answer.escape_ascii().to_string(),
                normal.escape_ascii().to_string(),
                "{path}"
            );
        }
    }

    #[test]
    fn paths_above_the_root_and_bad_escapes_are_refused() {
        for path in [
            "/..",
            "/../",
            "/a/../..",
            "/%2e%2e/",
            "/a/..//../b",
            "/a/../../b",
        ] {
            assert_eq!(
                normalise(path.as_bytes()),
                Err(BadTarget::AboveRoot),
                "{path}"
            );
        }
        for path in ["/%00", "/%zz", "/%4", "/%", "/%2", "/%g0", "/% 1", "/%é"] {
            assert_eq!(normalise(path.as_bytes()), Err(BadTarget::Escape), "{path}");
        }
    }

    #[test]
    fn a_plain_path_is_not_copied() {
        assert!(matches!(
            normalise(b"/api/v1/users.json"),
            Ok(Cow::Borrowed(_))
        ));
    }

    fn rewritten(received: &str, prefix: &str, replacement: &str, query: &str) -> String {
        let path = normalise(received.as_bytes()).unwrap();
        let mut out = Vec::new();
        let (prefix_len, query) = (prefix.len(), query.as_bytes());
        Rewrite {
            received: received.as_bytes(),
            path: &path,
            prefix_len,
            replacement,
            query,
        }
        .append_to(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_uri_part_replaces_the_prefix_as_in_nginx() {
        // Answers of nginx 1.22.1 for `location /px/ { proxy_pass http://.../new/; }`.
        let cases = [
            ("/px/a%20b", "x=1", "/new/a%20b?x=1"),
            ("/px/a{b}", "", "/new/a{b}"),
            ("/px/a{b}%20", "", "/new/a%7Bb%7D%20"),
            (
                "/px/%7e%22%3c%3e%5c%5e%60%7b%7c%7d%7f%25%3f%23%0a%ff%2b+&;=:@!$'()*,[]~",
                "",
                "/new/~%22%3C%3E%5C%5E%60%7B%7C%7D%7F%25%3F%23%0A%FF++&;=:@!$'()*,[]~",
            ),
            ("/px//x", "", "/new/x"),
            ("/px/", "%zz", "/new/?%zz"),
            ("/px/../px/z", "", "/new/z"),
        ];
        for (received, query, target) in cases {
            assert_eq!(rewritten(received, "/px/", "/new/", query), target);
        }
        assert_eq!(rewritten("/ex", "/ex", "/q", "y"), "/q?y");
    }

    #[test]
    fn a_prefix_is_taken_off_in_whole_segments_and_another_put_before() {
        let cases = [
            ("/api/x", "/api", "", "/x"),
            ("/api/", "/api", "", "/"),
            ("/api", "/api", "", "/"),
            ("/apix", "/api", "", "/apix"),
            ("/other", "/api", "", "/other"),
            ("/api/api/x", "/api", "", "/api/x"),
            ("/%61pi/a%2Fb", "/api", "", "/a/b"),
            ("/api%2Fb%20c", "/api", "", "/b%20c"),
            ("/api//evil.example/x", "/api", "", "/evil.example/x"),
            ("/api/../x", "/api", "", "/x"),
            ("/api/a{b}", "/api", "", "/a{b}"),
            ("/api/x", "/api", "/v1", "/v1/x"),
            ("/api", "/api", "/v1", "/v1"),
            ("/x", "", "/v1", "/v1/x"),
            ("/", "", "/v1", "/v1/"),
        ];
        for (received, strip, add, target) in cases {
            let path = normalise(received.as_bytes()).unwrap();
            for (query, behind) in [("", ""), ("a=%2F&b", "?a=%2F&b")] {
                let mut out = Vec::new();
                let prefixes = Prefixes {
                    received: received.as_bytes(),
                    path: &path,
                    strip,
                    add,
                    query: query.as_bytes(),
                };
                prefixes.append_to(&mut out);
                let out = String::from_utf8(out).unwrap();
                assert_eq!(
                    out,
                    format!("{target}{behind}"),
                    "{received} - {strip} + {add}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn normalising_leaves_no_way_up_and_is_idempotent(
            tail in "([a-c./%]|%2[eEfF]|%[0-9a-fA-F]{2}|\\.\\.|//){0,12}",
        ) {
            let path = format!("/{tail}");
            if let Ok(normal) = normalise(path.as_bytes()) {
                prop_assert_eq!(normal.first(), Some(&b'/'));
                for bad in ["//", "/./", "/../"] {
                    prop_assert!(memchr::memmem::find(&normal, bad.as_bytes()).is_none(), "{}", bad);
                }
                prop_assert!(!normal.ends_with(b"/.") && !normal.ends_with(b"/.."));
                let mut escaped = Vec::new();
                escape(&normal, &mut escaped);
                prop_assert_eq!(normalise(&escaped).unwrap(), normal);
            }
        }

        #[test]
        fn normalising_arbitrary_bytes_does_not_panic(path in proptest::collection::vec(any::<u8>(), 0..32)) {
            let _ = normalise(&path);
        }

        #[test]
        fn the_fast_way_out_changes_nothing(tail in "[ab./]{0,8}") {
            let path = format!("/{tail}");
            if is_normal(path.as_bytes()) {
                prop_assert_eq!(resolve(path.as_bytes()).unwrap(), path.as_bytes());
            }
        }
    }
}
