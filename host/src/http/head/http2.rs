//! Heads between the fields of HTTP/2 and the text that a head is kept as here (RFC 9113 section
//! 8).
//!
//! Whatever version a head came in, it is examined, logged and passed on as text: the rules about
//! hosts, framing and hop-by-hop fields exist once. What HTTP/2 alone can say (`:authority`, crumbs
//! of cookies, extended CONNECT) is put into words that HTTP/1.1 has; what HTTP/1.1 alone can say
//! ends here.

use ::http as fields;
use bytes::Bytes;
use fields::header::{HeaderMap, HeaderName, HeaderValue};
use fields::uri::PathAndQuery;
use fields::{Method, StatusCode, Uri};

use super::fields::append;
use super::{BadHead, FieldName, HeadPart, RequestHead, ResponseHead, Version};
use crate::http::authority::Authority;
use crate::http::headers::is_token;

impl RequestHead {
    /// Takes over a request of HTTP/2. One for another protocol (RFC 8441) becomes a GET with
    /// `Upgrade`, which no other request of HTTP/2 can have.
    ///
    /// # Errors
    /// [`BadHead`], as [`RequestHead::parse`].
    pub fn take_http2(
        &mut self,
        parts: &fields::request::Parts,
        protocol: Option<&str>,
        max_headers: usize,
    ) -> Result<(), BadHead> {
        self.clear();
        self.version = Version::Http2;
        let method = match protocol {
            Some(_) => "GET",
            None => parts.method.as_str(),
        };
        let target = match (parts.uri.path_and_query(), parts.uri.authority()) {
            (Some(path), _) => path.as_str(),
            (None, Some(authority)) if parts.method == Method::CONNECT => authority.as_str(),
            (None, _) => "",
        };
        let bytes = &mut self.fields.bytes;
        self.method = append(bytes, method.as_bytes());
        bytes.push(b' ');
        self.target = append(bytes, target.as_bytes());
        bytes.extend_from_slice(b" HTTP/2.0\r\n");
        let taken = self.take_http2_fields(parts, protocol, max_headers);
        if taken.is_err() {
            self.fields.index.clear();
        }
        self.len = self.fields.bytes.len() as u32;
        taken
    }

    fn take_http2_fields(
        &mut self,
        parts: &fields::request::Parts,
        protocol: Option<&str>,
        max_headers: usize,
    ) -> Result<(), BadHead> {
        // Pseudo-header fields are no fields of HTTP/1, in which the same bound counts.
        if parts.headers.len() > max_headers {
            return Err(BadHead::TooManyHeaders);
        }
        if !protocol.is_none_or(is_protocol) {
            return Err(BadHead::Malformed(HeadPart::Protocol));
        }
        let authority = parts
            .uri
            .authority()
            .map(|authority| authority.as_str().as_bytes());
        if parts.headers.get_all("host").iter().count() > 1 {
            return Err(BadHead::Malformed(HeadPart::Hosts));
        }
        let default_port = match parts.uri.scheme_str() {
            Some("https") => 443,
            _ => 80,
        };
        let mut cookies = Vec::new();
        for (name, value) in &parts.headers {
            let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
            match (FieldName::of(name), authority) {
                (FieldName::Host, Some(asked)) if same_host(asked, value, default_port) => {}
                (FieldName::Host, Some(_)) => {
                    return Err(BadHead::Malformed(HeadPart::OtherHost));
                }
                // HTTP/2 may split `Cookie` into several fields; they are joined again for HTTP/1
                // and for all other readers (RFC 9113 section 8.2.3).
                (FieldName::Cookie, _) => {
                    if !cookies.is_empty() {
                        cookies.extend_from_slice(b"; ");
                    }
                    cookies.extend_from_slice(value);
                }
                _ => self.fields.push(checked(name)?, value),
            }
        }
        if !cookies.is_empty() {
            self.fields.push(b"cookie", &cookies);
        }
        if let Some(authority) = authority {
            self.fields.push(b"host", authority);
        }
        if let Some(protocol) = protocol {
            self.fields.push(b"upgrade", protocol.as_bytes());
        }
        self.fields.bytes.extend_from_slice(b"\r\n");
        Ok(())
    }
}

/// Whether `Host` names what `:authority` does, as far as the scheme makes no difference (RFC 9113
/// section 8.3.1).
fn same_host(authority: &[u8], host: &[u8], default_port: u16) -> bool {
    if authority.eq_ignore_ascii_case(host) {
        return true;
    }
    match (Authority::parse(authority), Authority::parse(host)) {
        (Ok(one), Ok(other)) => {
            one.host == other.host
                && one.port.unwrap_or(default_port) == other.port.unwrap_or(default_port)
        }
        _ => false,
    }
}

impl ResponseHead {
    /// Takes over a response of HTTP/2.
    ///
    /// # Errors
    /// [`BadHead`], as [`ResponseHead::parse`].
    pub fn take_http2(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
        max_headers: usize,
    ) -> Result<(), BadHead> {
        self.clear();
        if headers.len() > max_headers {
            return Err(BadHead::TooManyHeaders);
        }
        let bytes = &mut self.fields.bytes;
        bytes.extend_from_slice(b"HTTP/2.0 ");
        bytes.extend_from_slice(status.as_str().as_bytes());
        bytes.push(b' ');
        let reason = append(
            bytes,
            status.canonical_reason().unwrap_or_default().as_bytes(),
        );
        bytes.extend_from_slice(b"\r\n");
        for (name, value) in headers {
            match checked(name.as_str().as_bytes()) {
                Ok(name) => self.fields.push(name, value.as_bytes()),
                Err(bad) => {
                    self.clear();
                    return Err(bad);
                }
            }
        }
        self.fields.bytes.extend_from_slice(b"\r\n");
        (self.status, self.reason, self.version) = (status.as_u16(), reason, Version::Http2);
        Ok(())
    }
}

/// A name that is one: `http` takes `"` in a name of HTTP/2.
fn checked(name: &[u8]) -> Result<&[u8], BadHead> {
    match is_token(name) {
        true => Ok(name),
        false => Err(BadHead::Malformed(HeadPart::FieldName)),
    }
}

/// Whether a `:protocol` is the name of one (RFC 9110 section 7.8), where h2 takes any text, line
/// ends included. HTTP/2 is nothing to change to from itself (RFC 9113 section 3.1).
fn is_protocol(text: &str) -> bool {
    let is_name = text.split('/').all(|part| is_token(part.as_bytes()));
    is_name && !text.eq_ignore_ascii_case("h2c")
}

/// A response's head as HTTP/2 sends it, from the text of one.
///
/// # Errors
/// [`BadHead`] where the text is none.
pub fn response(text: &[u8]) -> Result<fields::Response<()>, BadHead> {
    let text = Bytes::copy_from_slice(text);
    let mut lines = FieldLines { text, at: 0 };
    let status = lines.next().and_then(|line| {
        let status = line.split(|byte| *byte == b' ').nth(1)?;
        StatusCode::from_bytes(status).ok()
    });
    let mut response = fields::Response::new(());
    *response.status_mut() = status.ok_or(BadHead::Malformed(HeadPart::StatusLine))?;
    *response.version_mut() = fields::Version::HTTP_2;
    // Dropped here, whether they come from the endpoint or from the configuration: h2 refuses a
    // head that has one of them.
    lines.fields_into(response.headers_mut(), |known, _| {
        !known.is_of_connection() && known != FieldName::Te
    })?;
    Ok(response)
}

/// A request's head as HTTP/2 sends it, from the text of one. With a `protocol`, it becomes an
/// extended CONNECT.
///
/// # Errors
/// [`BadHead`] where the text is none.
pub fn request(
    text: &[u8],
    scheme: &'static str,
    protocol: Option<&str>,
) -> Result<fields::Request<()>, BadHead> {
    let text = Bytes::copy_from_slice(text);
    let mut lines = FieldLines { text, at: 0 };
    let line = lines.next().unwrap_or_default();
    let mut parts = line.split(|byte| *byte == b' ');
    let malformed = || BadHead::Malformed(HeadPart::RequestLine);
    let method = parts
        .next()
        .and_then(|method| Method::from_bytes(method).ok());
    let target = parts
        .next()
        .map(|target| lines.text.slice_ref(target))
        .ok_or_else(malformed)?;
    let mut request = fields::Request::new(());
    *request.method_mut() = method.ok_or_else(malformed)?;
    *request.version_mut() = fields::Version::HTTP_2;
    if let Some(protocol) = protocol {
        *request.method_mut() = Method::CONNECT;
        request
            .extensions_mut()
            .insert(h2::ext::Protocol::from(protocol));
    }
    let mut authority = None;
    lines.fields_into(request.headers_mut(), |known, value| match known {
        FieldName::Host => {
            authority = Some(value.clone());
            false
        }
        known => !known.is_of_connection(),
    })?;
    let mut uri = fields::uri::Parts::default();
    uri.scheme = Some(if scheme == "https" {
        fields::uri::Scheme::HTTPS
    } else {
        fields::uri::Scheme::HTTP
    });
    uri.authority =
        authority.and_then(|authority| fields::uri::Authority::try_from(authority.as_bytes()).ok());
    uri.path_and_query = Some(path_and_query(target).ok_or_else(malformed)?);
    if uri.authority.is_none() {
        return Err(BadHead::Malformed(HeadPart::Host));
    }
    *request.uri_mut() = Uri::from_parts(uri).map_err(|_| malformed())?;
    Ok(request)
}

/// A target as a `:path`. What no URI has and clients send all the same (see
/// [`crate::http::target`]) is escaped where it has to be.
fn path_and_query(target: Bytes) -> Option<PathAndQuery> {
    PathAndQuery::from_maybe_shared(target.clone())
        .or_else(|_| {
            let mut escaped = Vec::with_capacity(target.len() + 16);
            for byte in target {
                match byte {
                    b'"' | b'<' | b'>' | b'`' => {
                        escaped.extend_from_slice(format!("%{byte:02X}").as_bytes());
                    }
                    byte => escaped.push(byte),
                }
            }
            PathAndQuery::from_maybe_shared(Bytes::from(escaped))
        })
        .ok()
}

/// Trailer lines from the fields behind a body.
pub fn trailer_lines(trailers: &HeaderMap) -> Vec<u8> {
    let mut lines = Vec::new();
    for (name, value) in trailers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            lines.extend_from_slice(part);
        }
    }
    lines
}

/// The fields of trailer lines.
///
/// # Errors
/// [`BadHead`] where they are none.
pub fn trailers(lines: &[u8]) -> Result<HeaderMap, BadHead> {
    let text = Bytes::copy_from_slice(lines);
    let mut trailers = HeaderMap::new();
    FieldLines { text, at: 0 }.fields_into(&mut trailers, |_, _| true)?;
    Ok(trailers)
}

/// The lines of a head; values are parts of it, not copies.
struct FieldLines {
    text: Bytes,
    at: usize,
}

impl FieldLines {
    /// The next line, if it is not the empty one.
    fn next(&mut self) -> Option<Bytes> {
        let rest = self.text.get(self.at..)?;
        let end = memchr::memchr(b'\r', rest)?;
        let line = self.text.slice(self.at..self.at + end);
        self.at += end + 2;
        (!line.is_empty()).then_some(line)
    }

    fn fields_into(
        mut self,
        map: &mut HeaderMap,
        mut wanted: impl FnMut(FieldName, &HeaderValue) -> bool,
    ) -> Result<(), BadHead> {
        while let Some(line) = self.next() {
            let colon =
                memchr::memchr(b':', &line).ok_or(BadHead::Malformed(HeadPart::FieldLine))?;
            let name = HeaderName::from_bytes(&line[..colon])
                .map_err(|_| BadHead::Malformed(HeadPart::FieldName))?;
            let value = line.slice_ref(line[colon + 1..].trim_ascii());
            let value = HeaderValue::from_maybe_shared(value)
                .map_err(|_| BadHead::Malformed(HeadPart::FieldValue))?;
            if wanted(FieldName::of(name.as_str().as_bytes()), &value) {
                map.try_append(name, value)
                    .map_err(|_| BadHead::TooManyHeaders)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]
mod tests {
    use proptest::prelude::*;

    use super::super::Fields;
    use super::*;

    fn request_of(uri: &str, headers: &[(&str, &str)]) -> fields::request::Parts {
        let mut request = fields::Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn taken(
        parts: &fields::request::Parts,
        protocol: Option<&str>,
    ) -> Result<RequestHead, BadHead> {
        let mut head = RequestHead::default();
        head.take_http2(parts, protocol, 100).map(|()| head)
    }

    fn named(head: &Fields, name: &str) -> Vec<String> {
        let values = head.named(name.as_bytes());
        values
            .map(|value| String::from_utf8_lossy(value).into_owned())
            .collect()
    }

    #[test]
    fn the_authority_is_the_host() {
        let head = taken(&request_of("https://a.example:8443/x?y", &[]), None).unwrap();
        assert_eq!(head.line(), b"GET /x?y HTTP/2.0");
        assert_eq!(named(head.fields(), "host"), ["a.example:8443"]);
    }

    #[test]
    fn a_host_beside_the_authority_says_the_same_or_is_refused() {
        let same = request_of("https://a.example/", &[("host", "A.example")]);
        assert_eq!(
            named(taken(&same, None).unwrap().fields(), "host"),
            ["a.example"]
        );
        let other = request_of("https://a.example/", &[("host", "b.example")]);
        assert!(taken(&other, None).is_err());
        let alone = request_of("/", &[("host", "b.example")]);
        assert_eq!(
            named(taken(&alone, None).unwrap().fields(), "host"),
            ["b.example"]
        );
    }

    #[test]
    fn crumbs_of_cookies_become_one_field() {
        let crumbs = request_of("https://a/", &[("cookie", "a=1"), ("cookie", "b=2; c=3")]);
        assert_eq!(
            named(taken(&crumbs, None).unwrap().fields(), "cookie"),
            ["a=1; b=2; c=3"]
        );
    }

    #[test]
    fn an_extended_connect_becomes_an_upgrade_and_back() {
        let mut parts = request_of("https://a/chat", &[]);
        parts.method = Method::CONNECT;
        let head = taken(&parts, Some("websocket")).unwrap();
        assert_eq!(head.method(), b"GET");
        assert_eq!(named(head.fields(), "upgrade"), ["websocket"]);

        let text =
            b"GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
        let request = request(text, "https", Some("websocket")).unwrap();
        assert_eq!(request.method(), Method::CONNECT);
        assert_eq!(request.uri(), "https://a/chat");
        assert_eq!(
            request
                .extensions()
                .get::<h2::ext::Protocol>()
                .unwrap()
                .as_str(),
            "websocket"
        );
        assert!(request.headers().is_empty());
    }

    #[test]
    fn a_protocol_is_a_name_and_no_way_to_write_further_lines() {
        let mut parts = request_of("https://a/", &[]);
        parts.method = Method::CONNECT;
        for name in ["websocket", "connect-udp", "IRC/6.9"] {
            assert!(taken(&parts, Some(name)).is_ok(), "{name}");
        }
        for bad in [
            "",
            "a\r\nX-Real-IP: 1",
            "a\rb",
            "a\nb",
            "a b",
            "a\0",
            "\u{e9}",
            "/",
            "a/",
            "a:b",
            "h2c",
            "H2C",
        ] {
            assert!(taken(&parts, Some(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_name_that_is_no_token_is_refused_though_http_takes_it() {
        let mut parts = request_of("https://a/", &[]);
        let name = HeaderName::from_lowercase(b"a\"b").unwrap();
        let value = HeaderValue::from_static("c");
        parts.headers.append(name, value);
        assert!(taken(&parts, None).is_err());
        let mut head = ResponseHead::default();
        assert!(
            head.take_http2(StatusCode::OK, &parts.headers, 100)
                .is_err()
        );
    }

    #[test]
    fn what_belongs_to_a_connection_of_http1_does_not_reach_http2() {
        let text = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nKeep-Alive: 1\r\nTE: trailers\r\nX: y\r\n\r\n";
        let request = request(text, "http", None).unwrap();
        let names: Vec<&str> = request.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["te", "x"]);
    }

    #[test]
    fn text_that_is_cut_short_within_a_line_end_is_no_panic() {
        assert!(response(b"HTTP/1.1 200 OK\r").is_ok());
        assert!(request(b"GET / HTTP/1.1\r", "http", None).is_err());
        assert!(trailers(b"A: b\r").is_ok());
    }

    #[test]
    fn more_fields_than_a_header_map_holds_are_refused() {
        let text = (0..40_000).map(|number| format!("a{number}: b\r\n"));
        let text = text.collect::<String>() + "\r\n";
        assert!(trailers(text.as_bytes()).is_err());
    }

    #[test]
    fn every_target_that_http1_may_bring_has_a_path_in_http2() {
        let all: String = (0x21..0x7f_u8)
            .map(char::from)
            .filter(|c| *c != '#')
            .collect();
        for target in [format!("/{}", all.replace('?', "")), format!("/?{all}")] {
            let text = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            let request = request(text.as_bytes(), "http", None).unwrap();
            let escapes = [('"', "%22"), ('<', "%3C"), ('>', "%3E"), ('`', "%60")];
            let escaped = escapes.iter().fold(target, |target, (byte, escape)| {
                target.replace(*byte, escape)
            });
            assert_eq!(request.uri().path_and_query().unwrap().as_str(), escaped);
        }
    }

    #[test]
    fn what_belongs_to_a_connection_of_http1_does_not_end_an_answer_in_http2() {
        let text = b"HTTP/1.1 200 OK\r\nTE: gzip\r\nUpgrade: h2c\r\nKeep-Alive: 1\r\nX: y\r\n\r\n";
        let response = response(text).unwrap();
        let names: Vec<&str> = response.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["x"]);
    }

    #[test]
    fn too_many_fields_are_refused_and_pseudo_fields_do_not_count() {
        let parts = request_of(
            "https://a/",
            &[("x", "1"), ("cookie", "2"), ("cookie", "3")],
        );
        let mut head = RequestHead::default();
        assert_eq!(head.take_http2(&parts, Some("websocket"), 3), Ok(()));
        let refused = head.take_http2(&parts, None, 2);
        assert_eq!(refused, Err(BadHead::TooManyHeaders));
        assert_eq!(head.line(), b"GET / HTTP/2.0");
        assert_eq!(head.fields().iter().count(), 0);
    }

    #[test]
    fn a_default_port_makes_no_other_host() {
        for (uri, host, same) in [
            ("http://a:80/", "a", true),
            ("http://a/", "a:80", true),
            ("https://a/", "A.:443", true),
            ("https://a:8443/", "a:8443", true),
            ("https://a/", "a:80", false),
            ("http://a:8080/", "a", false),
            ("http://a/", "", false),
            ("http://a/", "a b", false),
        ] {
            let parts = request_of(uri, &[("host", host)]);
            assert_eq!(taken(&parts, None).is_ok(), same, "{uri} {host}");
        }
    }

    /// Names and values as HTTP/2 may bring them; those that are treated specially have tests of
    /// their own.
    fn any_fields() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
        let name = "x-[a-z0-9!#$%&'*+.^_`|~-]{1,12}";
        let value =
            proptest::collection::vec(prop_oneof![8 => 0x20_u8..0x7f, 1 => Just(b'\t')], 0..24);
        proptest::collection::vec((name, value), 0..8)
    }

    proptest! {
        /// What HTTP/2 brought is what a strict reader of HTTP/1 finds in the text: nothing lost,
        /// nothing forged.
        #[test]
        fn a_request_is_the_same_in_both_versions(fields in any_fields(), path in "/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]{0,24}") {
            let mut request = fields::Request::builder().uri(format!("https://h{path}"));
            for (name, value) in &fields {
                request = request.header(name.as_str(), value.as_slice());
            }
            let (parts, ()) = request.body(()).unwrap().into_parts();
            let taken = taken(&parts, None).unwrap();

            let text = String::from_utf8_lossy(&taken.fields.bytes).replacen("HTTP/2.0", "HTTP/1.1", 1);
            let mut read = RequestHead::default();
            read.parse(text.as_bytes(), 100).unwrap();
            prop_assert_eq!(read.target(), path.as_bytes());
            let list = |head: &RequestHead| -> Vec<(Vec<u8>, Vec<u8>)> {
                head.fields().iter().map(|field| (field.name.to_vec(), field.value.to_vec())).collect()
            };
            prop_assert_eq!(list(&read), list(&taken));
            prop_assert_eq!(list(&read).len(), fields.len() + 1);
        }

        #[test]
        fn a_response_keeps_its_fields_through_http2(fields in any_fields(), status in 200_u16..600) {
            let mut text = format!("HTTP/1.1 {status} Some Words\r\n").into_bytes();
            for (name, value) in &fields {
                for part in [name.as_bytes(), b": ", value, b"\r\n"] {
                    text.extend_from_slice(part);
                }
            }
            text.extend_from_slice(b"\r\n");
            let sent = response(&text).unwrap();
            prop_assert_eq!(sent.status().as_u16(), status);
            let mut read = ResponseHead::default();
            read.take_http2(sent.status(), sent.headers(), 100).unwrap();
            prop_assert_eq!(read.status(), status);
            let mut expected: Vec<_> = fields
                .iter()
                .map(|(name, value)| (name.as_bytes().to_vec(), value.trim_ascii().to_vec()))
                .collect();
            let mut found: Vec<_> = read
                .fields()
                .iter()
                .map(|field| (field.name.to_vec(), field.value.to_vec()))
                .collect();
            expected.sort();
            found.sort();
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn text_that_is_no_head_is_refused_without_a_panic(text in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = response(&text);
            let _ = request(&text, "http", None);
            let _ = trailers(&text);
        }
    }
}
