//! Message heads: the start line and the header fields of an HTTP/1 request or response.
//!
//! A head is kept as the bytes that were received plus a table of where each field stands, so that
//! a proxy passes fields on by copying slices and never builds a map. The bytes are checked
//! strictly (RFC 9112 with none of its leniencies) before anything is believed: a lone CR or LF, an
//! obsolete line fold, a blank before a colon or a control byte is a refusal.

mod http2; // to and from HTTP/2

use std::fmt;

pub use http2::{
    request as http2_request, response as http2_response, trailer_lines, trailers as http2_trailers,
};

/// A part of a head's bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Span {
    start: u32,
    len: u32,
}

impl Span {
    fn of(bytes: &[u8], part: &[u8]) -> Span {
        let start = part.as_ptr() as usize - bytes.as_ptr() as usize;
        Span {
            start: start as u32,
            len: part.len() as u32,
        }
    }

    fn in_bytes(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..(self.start + self.len) as usize]
    }
}

/// Fields that the proxy itself reads, drops or writes anew; told apart once, when the head is
/// parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldName {
    Other,
    Connection,
    ContentLength,
    Cookie,
    Date,
    Expect,
    Host,
    KeepAlive,
    ProxyConnection,
    SecWebSocketAccept,
    SecWebSocketKey,
    Server,
    Te,
    Trailer,
    TransferEncoding,
    Upgrade,
    XForwardedFor,
    XForwardedHost,
    XForwardedProto,
    XRealIp,
}

impl FieldName {
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
                (9, _) => (b"x-real-ip", FieldName::XRealIp),
                (10, Some(b'c')) => (b"connection", FieldName::Connection),
                (10, _) => (b"keep-alive", FieldName::KeepAlive),
                (14, _) => (b"content-length", FieldName::ContentLength),
                (15, _) => (b"x-forwarded-for", FieldName::XForwardedFor),
                (16, Some(b'p')) => (b"proxy-connection", FieldName::ProxyConnection),
                (16, _) => (b"x-forwarded-host", FieldName::XForwardedHost),
                (17, Some(b's')) => (b"sec-websocket-key", FieldName::SecWebSocketKey),
                (20, _) => (b"sec-websocket-accept", FieldName::SecWebSocketAccept),
                (17, Some(b't')) => (b"transfer-encoding", FieldName::TransferEncoding),
                (17, _) => (b"x-forwarded-proto", FieldName::XForwardedProto),
                _ => return FieldName::Other,
            };
        if name.eq_ignore_ascii_case(spelling) {
            known
        } else {
            FieldName::Other
        }
    }
}

/// One header field, borrowed from its head.
#[derive(Debug, Clone, Copy)]
pub struct Field<'a> {
    pub name: &'a [u8],
    /// Without the blanks around it.
    pub value: &'a [u8],
    pub known: FieldName,
}

#[derive(Debug, Clone, Copy)]
struct FieldSpan {
    name: Span,
    value: Span,
    known: FieldName,
}

/// Header fields in the order received.
#[derive(Debug, Default)]
pub struct Fields {
    bytes: Vec<u8>,
    table: Vec<FieldSpan>,
}

impl Fields {
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        self.table.iter().map(|field| Field {
            name: field.name.in_bytes(&self.bytes),
            value: field.value.in_bytes(&self.bytes),
            known: field.known,
        })
    }

    /// All values of a known field.
    pub fn known(&self, known: FieldName) -> impl Iterator<Item = &[u8]> {
        self.table
            .iter()
            .filter(move |field| field.known == known)
            .map(|field| field.value.in_bytes(&self.bytes))
    }

    /// All values of a field by name, in any case.
    pub fn named(&self, name: &[u8]) -> impl Iterator<Item = &[u8]> {
        self.iter()
            .filter(move |field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value)
    }

    /// Whether a comma-separated field lists a token, in any case (RFC 9110 section 5.6.1).
    pub fn lists(&self, known: FieldName, token: &[u8]) -> bool {
        self.known(known)
            .flat_map(list_members)
            .any(|member| member.eq_ignore_ascii_case(token))
    }
}

/// The members of a comma-separated field value, without blanks, empty ones left out.
pub fn list_members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|&byte| byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Version {
    Http10,
    #[default]
    Http11,
    Http2,
}

/// The head of a request.
#[derive(Debug, Default)]
pub struct RequestHead {
    fields: Fields,
    method: Span,
    target: Span,
    version: Version,
}

impl RequestHead {
    /// Parses a complete head, as [`HeadEnd`] delimits it, into `self`, whose buffers are reused.
    ///
    /// # Errors
    /// [`BadHead`], which the client is told with a 400 (or 505, 431), and `self` is then without
    /// meaning.
    pub fn parse(&mut self, bytes: &[u8], max_headers: usize) -> Result<(), BadHead> {
        self.fields.bytes.clear();
        self.fields.bytes.extend_from_slice(bytes);
        let bytes = &self.fields.bytes;
        let table = &mut self.fields.table;
        let (method, target, version) = with_header_slots(max_headers, |slots| {
            let mut request = httparse::Request::new(&mut []);
            match request.parse_with_uninit_headers(bytes, slots) {
                Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
                Ok(_) => return Err(BadHead::Malformed("request line")),
                Err(httparse::Error::Version) if !ends_in_version(bytes) => {
                    return Err(BadHead::Malformed("request line"));
                }
                Err(error) => return Err(error.into()),
            }
            note_fields(bytes, request.headers, table)?;
            let (Some(method), Some(target), Some(version)) =
                (request.method, request.path, request.version)
            else {
                return Err(BadHead::Malformed("request line"));
            };
            let version = if version == 0 {
                Version::Http10
            } else {
                Version::Http11
            };
            Ok((
                Span::of(bytes, method.as_bytes()),
                Span::of(bytes, target.as_bytes()),
                version,
            ))
        })?;
        // httparse takes any blanks between the parts; one space is what RFC 9112 section 3 has.
        let line = method.len + 1 + target.len + 1;
        if method.start != 0
            || target.start != method.len + 1
            || bytes.get(line as usize..line as usize + 5) != Some(b"HTTP/")
        {
            return Err(BadHead::Malformed("request line"));
        }
        (self.method, self.target, self.version) = (method, target, version);
        Ok(())
    }

    pub fn method(&self) -> &[u8] {
        self.method.in_bytes(&self.fields.bytes)
    }

    pub fn target(&self) -> &[u8] {
        self.target.in_bytes(&self.fields.bytes)
    }

    /// The request line as received, without its CRLF.
    pub fn line(&self) -> &[u8] {
        let end = memchr::memchr(b'\r', &self.fields.bytes).unwrap_or(0);
        &self.fields.bytes[..end]
    }

    pub fn version(&self) -> Version {
        self.version
    }

    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// Bytes of the head as received.
    pub fn len(&self) -> usize {
        self.fields.bytes.len()
    }

    /// True before anything was parsed.
    pub fn is_empty(&self) -> bool {
        self.fields.bytes.is_empty()
    }
}

/// The head of a response.
#[derive(Debug, Default)]
pub struct ResponseHead {
    fields: Fields,
    status: u16,
    reason: Span,
    version: Version,
}

impl ResponseHead {
    /// As [`RequestHead::parse`].
    ///
    /// # Errors
    /// [`BadHead`]: the upstream's answer is invalid.
    pub fn parse(&mut self, bytes: &[u8], max_headers: usize) -> Result<(), BadHead> {
        self.fields.bytes.clear();
        self.fields.bytes.extend_from_slice(bytes);
        let bytes = &self.fields.bytes;
        let table = &mut self.fields.table;
        (self.status, self.reason, self.version) = with_header_slots(max_headers, |slots| {
            let mut response = httparse::Response::new(&mut []);
            let config = httparse::ParserConfig::default();
            match config.parse_response_with_uninit_headers(&mut response, bytes, slots) {
                Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
                Ok(_) => return Err(BadHead::Malformed("status line")),
                Err(error) => return Err(error.into()),
            }
            note_fields(bytes, response.headers, table)?;
            let (Some(status @ 100..=999), Some(version)) = (response.code, response.version)
            else {
                return Err(BadHead::Malformed("status line"));
            };
            let reason = match response.reason {
                // httparse answers with a static "" where a reason has obs-text or is missing.
                None | Some("") => Span::default(),
                Some(reason) => Span::of(bytes, reason.as_bytes()),
            };
            Ok((
                status,
                reason,
                if version == 0 {
                    Version::Http10
                } else {
                    Version::Http11
                },
            ))
        })?;
        Ok(())
    }

    /// 100 to 999.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// As received; may be empty.
    pub fn reason(&self) -> &[u8] {
        self.reason.in_bytes(&self.fields.bytes)
    }

    pub fn version(&self) -> Version {
        self.version
    }

    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// Bytes of the head as received.
    pub fn len(&self) -> usize {
        self.fields.bytes.len()
    }

    /// True before anything was parsed.
    pub fn is_empty(&self) -> bool {
        self.fields.bytes.is_empty()
    }
}

/// Writes the trailer lines of `bytes` (RFC 9112 section 7.1.2) that may be passed on. What frames
/// or routes a message, or says who asks, means something to whoever reads it late: that ends here
/// (RFC 9110 section 6.5.1).
///
/// # Errors
/// [`BadHead`] where they are no header lines.
pub fn clean_trailers(bytes: &[u8]) -> Result<Vec<u8>, BadHead> {
    let mut fields = Fields::default();
    parse_trailers(&[bytes, b"\r\n"].concat(), &mut fields)?;
    let mut kept = Vec::with_capacity(bytes.len());
    for field in fields
        .iter()
        .filter(|field| field.known == FieldName::Other && !is_early(field.name))
    {
        for part in [field.name, b": ", field.value, b"\r\n"] {
            kept.extend_from_slice(part);
        }
    }
    Ok(kept)
}

/// Fields that are of no use behind a body, or of too much.
fn is_early(name: &[u8]) -> bool {
    const EARLY: [&str; 11] = [
        "age",
        "authorization",
        "cache-control",
        "content-encoding",
        "content-range",
        "content-type",
        "expires",
        "location",
        "max-forwards",
        "proxy-authorization",
        "set-cookie",
    ];
    EARLY
        .iter()
        .any(|early| name.eq_ignore_ascii_case(early.as_bytes()))
}

/// Parses the fields of a trailer section, its closing empty line included.
///
/// # Errors
/// [`BadHead`], as for a head.
fn parse_trailers(bytes: &[u8], fields: &mut Fields) -> Result<(), BadHead> {
    fields.bytes.clear();
    fields.bytes.extend_from_slice(bytes);
    let bytes = &fields.bytes;
    let mut slots = [httparse::EMPTY_HEADER; FEW_HEADERS];
    match httparse::parse_headers(bytes, &mut slots)? {
        httparse::Status::Complete((length, headers)) if length == bytes.len() => {
            note_fields(bytes, headers, &mut fields.table)
        }
        _ => Err(BadHead::Malformed("trailer")),
    }
}

/// Whether a request line has three parts, the last of them a version, be it one that nobody
/// speaks.
fn ends_in_version(bytes: &[u8]) -> bool {
    let line = &bytes[..memchr::memchr(b'\r', bytes).unwrap_or(bytes.len())];
    let mut parts = line.split(|byte| *byte == b' ');
    let version = (parts.next(), parts.next(), parts.next(), parts.next());
    matches!(
        version,
        (
            Some([_, ..]),
            Some([_, ..]),
            Some([b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9']),
            None
        )
    )
}

/// What most heads stay below; their slots live on the stack.
const FEW_HEADERS: usize = 64;

type Slot<'b> = std::mem::MaybeUninit<httparse::Header<'b>>;

/// Calls `parse` with slots for a few headers, and again with the most that are allowed if those
/// were not enough.
fn with_header_slots<'b, T>(
    max_headers: usize,
    mut parse: impl FnMut(&mut [Slot<'b>]) -> Result<T, BadHead>,
) -> Result<T, BadHead> {
    let mut few = [const { Slot::uninit() }; FEW_HEADERS];
    match parse(&mut few[..max_headers.min(FEW_HEADERS)]) {
        Err(BadHead::TooManyHeaders) if max_headers > FEW_HEADERS => {
            let mut many = Vec::new();
            many.resize_with(max_headers, Slot::uninit);
            parse(&mut many)
        }
        result => result,
    }
}

fn note_fields(
    bytes: &[u8],
    headers: &[httparse::Header<'_>],
    table: &mut Vec<FieldSpan>,
) -> Result<(), BadHead> {
    table.clear();
    for header in headers {
        let name = header.name.as_bytes();
        if name.is_empty() {
            return Err(BadHead::Malformed("header name"));
        }
        // A value without bytes points nowhere in particular.
        let value = header.value.trim_ascii();
        let value = if value.is_empty() {
            Span::default()
        } else {
            Span::of(bytes, value)
        };
        table.push(FieldSpan {
            name: Span::of(bytes, name),
            value,
            known: FieldName::of(name),
        });
    }
    Ok(())
}

/// Finds where a head ends, over as many reads as it takes, looking at each byte once.
#[derive(Debug, Default)]
pub struct HeadEnd {
    /// Bytes already looked at.
    scanned: usize,
    /// Where the line that is being read begins.
    line_start: usize,
}

impl HeadEnd {
    /// The length of the head at the start of `bytes`, its closing empty line included; none while
    /// it is incomplete. Each call sees the same bytes as the one before, and perhaps more.
    ///
    /// # Errors
    /// A line that ends in a bare LF (RFC 9112 section 2.2 lets a server accept it; two parsers
    /// that differ here are how requests are smuggled).
    pub fn find(&mut self, bytes: &[u8]) -> Result<Option<usize>, BadHead> {
        for offset in memchr::memchr_iter(b'\n', &bytes[self.scanned..]) {
            let newline = self.scanned + offset;
            if newline == 0 || bytes[newline - 1] != b'\r' {
                return Err(BadHead::Malformed("line end"));
            }
            if newline - self.line_start == 1 {
                return Ok(Some(newline + 1));
            }
            self.line_start = newline + 1;
        }
        self.scanned = bytes.len();
        Ok(None)
    }
}

/// Why a head was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadHead {
    /// The part that is not as RFC 9112 has it.
    Malformed(&'static str),
    UnsupportedVersion,
    TooManyHeaders,
}

impl From<httparse::Error> for BadHead {
    fn from(error: httparse::Error) -> BadHead {
        match error {
            httparse::Error::HeaderName => BadHead::Malformed("header name"),
            httparse::Error::HeaderValue => BadHead::Malformed("header value"),
            httparse::Error::NewLine => BadHead::Malformed("line end"),
            httparse::Error::Status => BadHead::Malformed("status line"),
            httparse::Error::Token => BadHead::Malformed("request line"),
            httparse::Error::TooManyHeaders => BadHead::TooManyHeaders,
            httparse::Error::Version => BadHead::UnsupportedVersion,
        }
    }
}

impl fmt::Display for BadHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadHead::Malformed(part) => write!(f, "invalid {part}"),
            BadHead::UnsupportedVersion => write!(f, "unsupported HTTP version"),
            BadHead::TooManyHeaders => write!(f, "too many header fields"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(text: &str) -> Result<RequestHead, BadHead> {
        let mut head = RequestHead::default();
        head.parse(text.as_bytes(), 100).map(|()| head)
    }

    #[test]
    fn a_request_is_taken_apart() {
        let head =
            request("GET /a?b HTTP/1.1\r\nHost: x\r\nX-Empty:\r\nACCEPT: \t a, b \t\r\n\r\n")
                .unwrap();
        assert_eq!(head.method(), b"GET");
        assert_eq!(head.target(), b"/a?b");
        assert_eq!(head.line(), b"GET /a?b HTTP/1.1");
        assert_eq!(head.version(), Version::Http11);
        let fields: Vec<_> = head
            .fields()
            .iter()
            .map(|field| (field.name, field.value))
            .collect();
        assert_eq!(
            fields,
            [
                (&b"Host"[..], &b"x"[..]),
                (b"X-Empty", b""),
                (b"ACCEPT", b"a, b")
            ]
        );
        assert_eq!(
            head.fields().known(FieldName::Host).collect::<Vec<_>>(),
            [b"x"]
        );
    }

    #[test]
    fn what_parsers_disagree_on_is_refused() {
        for text in [
            "GET  / HTTP/1.1\r\n\r\n",
            "GET /  HTTP/1.1\r\n\r\n",
            " GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1 \r\n\r\n",
            "GET / HTTP/1.1\r\nName : x\r\n\r\n",
            "GET / HTTP/1.1\r\n: x\r\n\r\n",
            "GET / HTTP/1.1\r\nName\r\n\r\n",
            "GET / HTTP/1.1\r\nName: a\r\n b\r\n\r\n",
            "GET / HTTP/1.1\r\nNa(me: a\r\n\r\n",
            "GET / HTTP/1.1\r\nName: a\0b\r\n\r\n",
            "GET / HTTP/1.1\r\nName: a\x07b\r\n\r\n",
            "GET / HTTP/1.1\r\nName: a\rb\r\n\r\n",
            "GET / HTTP/1.1\r\nName: a\x7fb\r\n\r\n",
            "GET / http/1.1\r\n\r\n",
            "GET / HTTP/2.0\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\nmore",
        ] {
            assert!(request(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn more_headers_than_allowed_are_refused_and_as_many_are_not() {
        let with = |count: usize| format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(count));
        assert_eq!(request(&with(100)).unwrap().fields().iter().count(), 100);
        assert!(matches!(request(&with(101)), Err(BadHead::TooManyHeaders)));
    }

    #[test]
    fn a_head_is_reused_without_a_trace_of_the_one_before() {
        let mut head = request("POST /long HTTP/1.1\r\nHost: x\r\nCookie: y\r\n\r\n").unwrap();
        head.parse(b"GET / HTTP/1.0\r\n\r\n", 100).unwrap();
        assert_eq!(
            (head.method(), head.target(), head.version()),
            (&b"GET"[..], &b"/"[..], Version::Http10)
        );
        assert_eq!(head.fields().iter().count(), 0);
    }

    #[test]
    fn a_response_may_lack_a_reason() {
        for (text, reason) in [
            ("HTTP/1.1 200 OK\r\n\r\n", "OK"),
            ("HTTP/1.1 200 \r\n\r\n", ""),
            ("HTTP/1.0 200\r\n\r\n", ""),
        ] {
            let mut head = ResponseHead::default();
            head.parse(text.as_bytes(), 10).unwrap();
            assert_eq!(
                (head.status(), head.reason()),
                (200, reason.as_bytes()),
                "{text:?}"
            );
        }
    }

    #[test]
    fn a_bare_line_feed_is_refused_as_soon_as_it_is_seen() {
        assert!(HeadEnd::default().find(b"GET / HTTP/1.1\nHost: x").is_err());
        assert!(HeadEnd::default().find(b"\n").is_err());
    }

    #[test]
    fn a_list_is_searched_member_by_member() {
        let head =
            request("GET / HTTP/1.1\r\nConnection: keep-alive, Upgrade\r\nConnection: x\r\n\r\n")
                .unwrap();
        assert!(head.fields().lists(FieldName::Connection, b"upgrade"));
        assert!(head.fields().lists(FieldName::Connection, b"x"));
        assert!(!head.fields().lists(FieldName::Connection, b"close"));
    }

    proptest! {
        #[test]
        fn the_end_of_a_head_is_the_same_however_it_arrives(cuts in proptest::collection::vec(0_usize..60, 0..8)) {
            let bytes = b"GET / HTTP/1.1\r\nHost: example\r\nAccept: */*\r\n\r\nbody\r\n\r\n";
            let whole = HeadEnd::default().find(bytes).unwrap();
            let mut end = HeadEnd::default();
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            cuts.push(bytes.len());
            let found = cuts.into_iter().find_map(|cut| end.find(&bytes[..cut]).unwrap());
            prop_assert_eq!(found, whole);
        }

        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = RequestHead::default().parse(&bytes, 10);
            let _ = ResponseHead::default().parse(&bytes, 10);
            let _ = HeadEnd::default().find(&bytes);
        }

        #[test]
        fn what_is_accepted_holds_no_control_byte(noise in proptest::collection::vec(any::<u8>(), 0..20), at in 0_usize..60) {
            let mut bytes = b"GET /path HTTP/1.1\r\nHost: example\r\nAccept: text\r\n\r\n".to_vec();
            let at = at.min(bytes.len());
            bytes.splice(at..at, noise);
            let mut head = RequestHead::default();
            if head.parse(&bytes, 10).is_ok() {
                for field in head.fields().iter() {
                    prop_assert!(crate::http::headers::is_token(field.name));
                    prop_assert!(crate::http::headers::is_value(field.value));
                }
            }
        }
    }
}
