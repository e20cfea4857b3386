//! Heads between HTTP/2 and text: nothing is lost on the way, nothing comes in, and what one
//! version cannot say is refused.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, StatusCode, Uri};

use crate::http::head::{
    Fields, RequestHead, ResponseHead, http2_request, http2_response, http2_trailers, trailer_lines,
};
use crate::http::headers::is_token;
use crate::http::target::RequestTarget;

const MAX_HEADERS: usize = 100;

/// Field lines of HTTP/2, `name: value` each, pseudo-header fields among them: a response where
/// there is a `:status`.
pub(super) fn run(bytes: &[u8]) {
    // Text that is none: refused in peace.
    let _ = http2_request(bytes, "http", None);
    let _ = http2_response(bytes);
    let _ = http2_trailers(bytes);

    let sent = Sent::of(bytes);
    trailers(&sent.fields);
    match &sent.status {
        Some(status) => response(*status, &sent.fields),
        None => request(sent),
    }
}

/// What h2 hands over, checked by the same types.
#[derive(Default)]
struct Sent {
    method: Method,
    uri: http::uri::Parts,
    protocol: Option<String>,
    status: Option<StatusCode>,
    fields: HeaderMap,
}

impl Sent {
    fn of(bytes: &[u8]) -> Sent {
        let mut sent = Sent::default();
        for line in bytes.split(|byte| *byte == b'\n') {
            let Some(at) = line.iter().skip(1).position(|byte| *byte == b':') else {
                continue;
            };
            let (name, value) = (&line[..=at], &line[at + 2..]);
            let value = value.strip_prefix(b" ").unwrap_or(value);
            match name {
                b":method" => sent.method = Method::from_bytes(value).unwrap_or_default(),
                b":path" => sent.uri.path_and_query = PathAndQuery::try_from(value).ok(),
                b":authority" => sent.uri.authority = Authority::try_from(value).ok(),
                b":protocol" => sent.protocol = String::from_utf8(value.to_vec()).ok(),
                b":status" => sent.status = StatusCode::from_bytes(value).ok(),
                _ => {
                    let name = HeaderName::from_lowercase(name);
                    if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value)) {
                        sent.fields.append(name, value);
                    }
                }
            }
        }
        sent
    }
}

fn request(mut sent: Sent) {
    sent.uri.scheme = sent.uri.authority.is_some().then_some(Scheme::HTTPS);
    if sent.uri.authority.is_some() && sent.uri.path_and_query.is_none() {
        sent.uri.path_and_query = Some(PathAndQuery::from_static("/"));
    }
    let Ok(uri) = Uri::from_parts(sent.uri) else {
        return;
    };
    // h2 hands on any text.
    let protocol = sent.protocol.as_deref();
    let mut request = http::Request::new(());
    *request.method_mut() = match protocol {
        Some(_) => Method::CONNECT,
        None => sent.method,
    };
    (*request.uri_mut(), *request.headers_mut()) = (uri, sent.fields);
    let (parts, ()) = request.into_parts();

    let mut head = RequestHead::default();
    let hosts = parts.headers.get_all("host").iter().count();
    if head.take_http2(&parts, protocol, MAX_HEADERS).is_err() {
        let authority = parts.uri.authority();
        let host = parts.headers.get("host");
        let conflict = authority.zip(host).is_some_and(|(asked, host)| {
            !asked
                .as_str()
                .as_bytes()
                .eq_ignore_ascii_case(host.as_bytes())
        });
        let no_protocol =
            protocol.is_some_and(|name| !name.split('/').all(|part| is_token(part.as_bytes())));
        let many = parts.headers.len() + 3 > MAX_HEADERS;
        assert!(hosts > 1 || conflict || many || no_protocol || !are_tokens(&parts.headers));
        return;
    }

    // Every field is there once, by its own name.
    let mut expected: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut add = |name: &str, value: &[u8]| {
        expected.push((name.as_bytes().to_vec(), value.trim_ascii().to_vec()));
    };
    let crumbs: Vec<&[u8]> = parts
        .headers
        .get_all("cookie")
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    for (name, value) in &parts.headers {
        if name != "cookie" && name != "host" {
            add(name.as_str(), value.as_bytes());
        }
    }
    let cookie = joined(&crumbs);
    if !cookie.is_empty() {
        add("cookie", &cookie);
    }
    match (parts.uri.authority(), parts.headers.get("host")) {
        (Some(authority), _) => add("host", authority.as_str().as_bytes()),
        (None, Some(host)) => add("host", host.as_bytes()),
        (None, None) => {}
    }
    if let Some(protocol) = protocol {
        add("upgrade", protocol.as_bytes());
    }
    expected.sort();
    assert_eq!(sorted(head.fields()), expected);

    // As text, a strict reader finds the same head: nothing in it can be taken for a line's end.
    if head.target().is_empty() {
        assert!(RequestTarget::parse(head.method(), head.target()).is_err());
        return;
    }
    let text = text_of(
        &[head.method(), b" ", head.target(), b" HTTP/1.1"],
        head.fields(),
    );
    let mut read = RequestHead::default();
    read.parse(&text, MAX_HEADERS + 3).unwrap();
    assert_eq!(
        (read.method(), read.target()),
        (head.method(), head.target())
    );
    assert_eq!(sorted(read.fields()), expected);

    // What goes on by HTTP/2 has lost what HTTP/1 has for itself, and nothing else.
    let own = |name: &[u8]| {
        const OWN: [&[u8]; 6] = [
            b"host",
            b"connection",
            b"keep-alive",
            b"proxy-connection",
            b"transfer-encoding",
            b"upgrade",
        ];
        OWN.contains(&name)
    };
    if let Ok(on) = http2_request(&text, "https", protocol) {
        expected.retain(|(name, _)| !own(name));
        assert_eq!(map_sorted(on.headers()), expected);
        assert_eq!(
            on.uri().path_and_query().unwrap().as_str().as_bytes(),
            head.target()
        );
        assert_eq!(
            on.method().as_str().as_bytes(),
            match protocol {
                Some(_) => b"CONNECT",
                None => head.method(),
            }
        );
    }
}

fn joined(crumbs: &[&[u8]]) -> Vec<u8> {
    let mut cookie = Vec::new();
    for crumb in crumbs {
        if !cookie.is_empty() {
            cookie.extend_from_slice(b"; ");
        }
        cookie.extend_from_slice(crumb);
    }
    cookie
}

fn response(status: StatusCode, fields: &HeaderMap) {
    let mut head = ResponseHead::default();
    if head.take_http2(status, fields, MAX_HEADERS).is_err() {
        assert!(fields.len() > MAX_HEADERS || !are_tokens(fields));
        return;
    }
    assert_eq!(head.status(), status.as_u16());
    let expected = map_sorted(fields);
    assert_eq!(sorted(head.fields()), expected);
    let line = format!("HTTP/1.1 {} ", status.as_u16());
    let text = text_of(&[line.as_bytes(), head.reason()], head.fields());
    let mut read = ResponseHead::default();
    read.parse(&text, MAX_HEADERS).unwrap();
    assert_eq!(
        (read.status(), read.reason()),
        (head.status(), head.reason())
    );
    assert_eq!(sorted(read.fields()), expected);
    let again = http2_response(&text).unwrap();
    assert_eq!(again.status(), status);
    assert_eq!(map_sorted(again.headers()), expected);
}

fn trailers(fields: &HeaderMap) {
    let again = http2_trailers(&trailer_lines(fields));
    if are_tokens(fields) {
        assert_eq!(map_sorted(&again.unwrap()), map_sorted(fields));
    } else {
        assert!(again.is_err());
    }
}

/// The `http` crate takes names for HTTP/2 that HTTP does not have.
fn are_tokens(fields: &HeaderMap) -> bool {
    fields.keys().all(|name| is_token(name.as_str().as_bytes()))
}

fn text_of(line: &[&[u8]], fields: &Fields) -> Vec<u8> {
    let mut text = line.concat();
    text.extend_from_slice(b"\r\n");
    for field in fields.iter() {
        for part in [field.name, b": ", field.value, b"\r\n"] {
            text.extend_from_slice(part);
        }
    }
    text.extend_from_slice(b"\r\n");
    text
}

fn sorted(fields: &Fields) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut list: Vec<_> = fields
        .iter()
        .map(|field| (field.name.to_vec(), field.value.to_vec()))
        .collect();
    list.sort();
    list
}

fn map_sorted(fields: &HeaderMap) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut list: Vec<_> = fields
        .iter()
        .map(|(name, value)| {
            (
                name.as_str().as_bytes().to_vec(),
                value.as_bytes().trim_ascii().to_vec(),
            )
        })
        .collect();
    list.sort();
    list
}
