//! Message heads: the start line and the header fields of an HTTP/1 request or response.
//!
//! A head is kept as the bytes that were received plus a table of where each field stands, so that
//! a proxy passes fields on by copying slices and never builds a map. The bytes are checked
//! strictly (RFC 9112 with none of its leniencies) before anything is believed: a lone CR or LF, an
//! obsolete line fold, a blank before a colon or a control byte is a refusal.

mod field_name; // which fields are known
mod fields; // where each field stands
mod changes; // ... and what is changed of them
mod request_changes; // ... and of a request as a whole
mod trailers; // fields behind a body
mod http2; // to and from HTTP/2

use std::fmt;
use std::ops::Range;

pub use changes::{BadChange, FieldChange, FieldChanges, FieldOperation, HeadSide};
#[cfg(any(test, fuzzing))]
pub(crate) use changes::{MAX_CHANGES, check_method};
pub use field_name::{FieldName, fold_alike};
pub use fields::{Field, Fields, append_line, list_members};
pub use http2::{
    request as http2_request, response as http2_response, trailer_lines, trailers as http2_trailers,
};
pub use request_changes::RequestChanges;
pub use trailers::{clean_trailers, retain_trailers};

use fields::Span;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Version {
    Http10,
    #[default]
    Http11,
    Http2,
}

impl Version {
    /// httparse tells the minor version.
    fn of_httparse(minor: u8) -> Version {
        match minor {
            0 => Version::Http10,
            _ => Version::Http11,
        }
    }
}

/// The head of a request. One that was refused has its start line alone, for the log, and no
/// fields.
#[derive(Debug, Default)]
pub struct RequestHead {
    fields: Fields,
    method: Span,
    target: Span,
    version: Version,
    /// Bytes as received.
    len: u32,
}

impl RequestHead {
    /// Parses a complete head, as [`HeadEnd`] delimits it, into `self`, whose buffers are reused.
    ///
    /// # Errors
    /// [`BadHead`], which the client is told with a 400 (or 505, 431); `self` is then as
    /// [`RequestHead::set_unparsed`] leaves it.
    pub fn parse(&mut self, bytes: &[u8], max_headers: usize) -> Result<(), BadHead> {
        self.set_unparsed(bytes);
        let Fields { bytes, index } = &mut self.fields;
        let bytes = bytes.as_slice();
        let parsed = with_header_slots(max_headers, |slots| {
            let mut request = httparse::Request::new(&mut []);
            match request.parse_with_uninit_headers(bytes, slots) {
                Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
                Ok(_) => return Err(BadHead::Malformed(HeadPart::RequestLine)),
                Err(httparse::Error::Version) if !ends_in_version(bytes) => {
                    return Err(BadHead::Malformed(HeadPart::RequestLine));
                }
                Err(error) => return Err(error.into()),
            }
            index.note(bytes, request.headers)?;
            let (Some(method), Some(target), Some(version)) =
                (request.method, request.path, request.version)
            else {
                return Err(BadHead::Malformed(HeadPart::RequestLine));
            };
            let method = Span::of(bytes, method.as_bytes());
            let target = Span::of(bytes, target.as_bytes());
            // httparse takes any blanks between the parts; one space is what RFC 9112 section 3
            // has.
            let line = (method.len + 1 + target.len + 1) as usize;
            if method.start != 0
                || target.start != method.len + 1
                || bytes.get(line..line + 5) != Some(b"HTTP/")
            {
                return Err(BadHead::Malformed(HeadPart::RequestLine));
            }
            Ok((method, target, Version::of_httparse(version)))
        });
        match parsed {
            Ok(line) => {
                (self.method, self.target, self.version) = line;
                Ok(())
            }
            Err(bad) => {
                index.clear();
                Err(bad)
            }
        }
    }

    /// Keeps bytes that are no head, or not yet one, for the log: [`RequestHead::line`] and
    /// [`RequestHead::len`] tell of them, and nothing is left of what was there before.
    pub fn set_unparsed(&mut self, bytes: &[u8]) {
        self.clear();
        self.fields.bytes.extend_from_slice(bytes);
        self.len = bytes.len() as u32;
    }

    /// Forgets the request, and keeps its buffers for another.
    pub fn clear(&mut self) {
        self.fields.clear();
        (self.method, self.target) = (Span::default(), Span::default());
        (self.version, self.len) = (Version::default(), 0);
    }

    pub fn method(&self) -> &[u8] {
        self.method.in_bytes(&self.fields.bytes)
    }

    /// As received.
    pub fn target(&self) -> &[u8] {
        self.target.in_bytes(&self.fields.bytes)
    }

    /// The first line as received, without its line end.
    pub fn line(&self) -> &[u8] {
        let received = &self.fields.bytes[..self.len as usize];
        let end = memchr::memchr2(b'\r', b'\n', received).unwrap_or(received.len());
        &received[..end]
    }

    pub fn version(&self) -> Version {
        self.version
    }

    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// Puts a part of the target in the place of `Host`, whether there was one or not (RFC 9112
    /// section 3.2.2).
    pub fn set_host(&mut self, part: Range<usize>) {
        self.fields.set_host(Span {
            start: self.target.start + part.start as u32,
            len: part.len() as u32,
        });
    }

    /// Drops the fields whose names have an underscore; how many they were.
    pub fn drop_underscored(&mut self) -> usize {
        self.fields.drop_underscored()
    }

    /// Bytes of the head as received.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// True before anything was received.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// The head of a response. One that was refused is empty.
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
    /// [`BadHead`]: the upstream's answer is invalid, and `self` is empty.
    pub fn parse(&mut self, bytes: &[u8], max_headers: usize) -> Result<(), BadHead> {
        self.clear();
        self.fields.bytes.extend_from_slice(bytes);
        let Fields { bytes, index } = &mut self.fields;
        let bytes = bytes.as_slice();
        let parsed = with_header_slots(max_headers, |slots| {
            let mut response = httparse::Response::new(&mut []);
            let config = httparse::ParserConfig::default();
            match config.parse_response_with_uninit_headers(&mut response, bytes, slots) {
                Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
                Ok(_) => return Err(BadHead::Malformed(HeadPart::StatusLine)),
                Err(error) => return Err(error.into()),
            }
            index.note(bytes, response.headers)?;
            let (Some(status @ 100..=999), Some(version)) = (response.code, response.version)
            else {
                return Err(BadHead::Malformed(HeadPart::StatusLine));
            };
            let reason = match response.reason {
                // httparse answers with a static "" where a reason has obs-text or is missing.
                None | Some("") => Span::default(),
                Some(reason) => Span::of(bytes, reason.as_bytes()),
            };
            Ok((status, reason, Version::of_httparse(version)))
        });
        match parsed {
            Ok(line) => {
                (self.status, self.reason, self.version) = line;
                Ok(())
            }
            Err(bad) => {
                self.clear();
                Err(bad)
            }
        }
    }

    /// Forgets the response, and keeps its buffers for another.
    pub fn clear(&mut self) {
        self.fields.clear();
        (self.status, self.reason, self.version) = (0, Span::default(), Version::default());
    }

    /// 100 to 999; 0 while there is none.
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

/// Whether a request line has three parts, the last of them a version, even an unknown one.
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
                return Err(BadHead::Malformed(HeadPart::LineEnd));
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
    /// The part that is not as RFC 9112, or RFC 9113 section 8, has it.
    Malformed(HeadPart),
    UnsupportedVersion,
    TooManyHeaders,
}

/// A part of a head that can be malformed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadPart {
    RequestLine,
    StatusLine,
    LineEnd,
    FieldLine,
    FieldName,
    FieldValue,
    Trailer,
    /// `:protocol` of HTTP/2.
    Protocol,
    /// There is no host that HTTP/2 could name.
    Host,
    /// There are several.
    Hosts,
    /// `Host` names another one than `:authority`.
    OtherHost,
}

impl From<httparse::Error> for BadHead {
    fn from(error: httparse::Error) -> BadHead {
        BadHead::Malformed(match error {
            httparse::Error::HeaderName => HeadPart::FieldName,
            httparse::Error::HeaderValue => HeadPart::FieldValue,
            httparse::Error::NewLine => HeadPart::LineEnd,
            httparse::Error::Status => HeadPart::StatusLine,
            httparse::Error::Token => HeadPart::RequestLine,
            httparse::Error::TooManyHeaders => return BadHead::TooManyHeaders,
            httparse::Error::Version => return BadHead::UnsupportedVersion,
        })
    }
}

impl fmt::Display for BadHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadHead::Malformed(HeadPart::Hosts) => write!(f, "several \"Host\" headers"),
            BadHead::Malformed(HeadPart::OtherHost) => {
                write!(f, "\":authority\" and \"Host\" header in conflict")
            }
            BadHead::Malformed(part) => write!(f, "invalid {part}"),
            BadHead::UnsupportedVersion => write!(f, "unsupported HTTP version"),
            BadHead::TooManyHeaders => write!(f, "too many header fields"),
        }
    }
}

impl fmt::Display for HeadPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HeadPart::RequestLine => "request line",
            HeadPart::StatusLine => "status line",
            HeadPart::LineEnd => "line end",
            HeadPart::FieldLine => "header line",
            HeadPart::FieldName => "header name",
            HeadPart::FieldValue => "header value",
            HeadPart::Trailer => "trailer",
            HeadPart::Protocol => "\":protocol\"",
            HeadPart::Host | HeadPart::Hosts | HeadPart::OtherHost => "\"Host\" header",
        })
    }
}

#[cfg(test)]
mod tests;
