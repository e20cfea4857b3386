//! The answer that a file is: all of it, parts of it, or that the client has it already.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use super::Served;
use super::body::{FileBody, Part};
use crate::config::model::{Expires, Files};
use crate::data_plane::body::BodyPipe;
use crate::data_plane::downstream::Session;
use crate::data_plane::exchange::deliver::HeldAnswer;
use crate::data_plane::exchange::fault::Fault;
use crate::data_plane::exchange::kept::Kept;
use crate::data_plane::exchange::local::{self, OwnHead};
use crate::data_plane::exchange::rest::Delivered;
use crate::data_plane::exchange::source::LocalBody;
use crate::data_plane::exchange::state::Exchange;
use crate::data_plane::open_files::HeldFile;
use crate::files::OpenFile;
use crate::http::range::{self, ByteRange, Ranges};
use crate::http::validators::{Precondition, Validators};

/// Answers with an open file, as the request's conditions and ranges have it.
///
/// # Errors
/// A [`Fault`] where it cannot be read, or not as the request wants it; nothing was sent yet.
pub(super) async fn with_file(
    session: &mut Session<'_>,
    exchange: &Rc<Exchange>,
    site: &Arc<Files>,
    held: Rc<HeldFile>,
    request_body: &mut BodyPipe,
) -> Result<Served, Fault> {
    let file = &held.file.0;
    let validators = Validators {
        etag: file.etag.as_bytes(),
        modified: file.modified,
    };
    let fields = exchange.request.fields();
    let is_head = exchange.request.method() == b"HEAD";
    let ranges = match validators.judge(fields) {
        // In place of an error: the client has said nothing of this file.
        _ if exchange.in_place_of_error.get() => Ranges::Whole,
        Precondition::Failed => return Err(Fault::Said(412)),
        Precondition::NotModified => {
            let sent = not_modified(session, exchange, (site, file), request_body);
            return Ok(Served::Delivered(sent.await));
        }
        // A range means nothing to HEAD (RFC 9110 section 14.2).
        Precondition::Holds if is_head || !validators.may_continue(fields) => Ranges::Whole,
        Precondition::Holds => match fields.named(b"range").next() {
            Some(value) => range::parse(value, file.length),
            None => Ranges::Whole,
        },
    };
    let ranges = match ranges {
        Ranges::NotSatisfiable => {
            let content_range = format!("bytes */{}", file.length);
            return Err(Fault::Declined {
                status: 416,
                field: ("Content-Range", content_range.into()),
            });
        }
        Ranges::Whole => None,
        Ranges::Parts(ranges) => Some(ranges),
    };
    let plan = Plan::of(file, content_type(exchange, file), ranges.as_deref());
    let length = plan.length;
    let parts = if is_head { VecDeque::new() } else { plan.parts };
    let bare = session.outgoing.writer.is_bare();
    let mut body = FileBody::new(held.clone(), site.clone(), parts, bare);
    // The first piece leaves with the head, and can still be answered with an error.
    let begun = body.begin(&session.worker.buffers).await;
    begun.map_err(|failure| Fault::of_file(failure.status(), &failure))?;
    let head = FileHead {
        status: if ranges.is_some() { 206 } else { 200 },
        content_type: &plan.content_type,
        content_range: &plan.content_range,
        length: Some(length),
    };
    let body = LocalBody::File(body);
    let sent = head.send(session, exchange, (site, file), request_body, body);
    Ok(Served::Delivered(sent.await))
}

/// The type that its name tells, or the server that has led here.
fn content_type(exchange: &Exchange, file: &OpenFile) -> String {
    let kept = exchange.handed_on.borrow();
    let told = kept.as_ref().and_then(Kept::content_type);
    told.unwrap_or(&file.content_type).to_owned()
}

/// What is sent of a file.
struct Plan {
    content_type: String,
    /// Of a single range; else empty.
    content_range: String,
    length: u64,
    parts: VecDeque<Part>,
}

impl Plan {
    fn of(file: &OpenFile, content_type: String, ranges: Option<&[ByteRange]>) -> Plan {
        let mut parts = VecDeque::new();
        match ranges {
            None => {
                if file.length > 0 {
                    parts.push_back(Part::Bytes(0..file.length));
                }
                Plan {
                    content_type,
                    content_range: String::new(),
                    length: file.length,
                    parts,
                }
            }
            Some([range]) => {
                parts.push_back(Part::Bytes(range.clone()));
                Plan {
                    content_type,
                    content_range: content_range(range, file),
                    length: range.end - range.start,
                    parts,
                }
            }
            Some(ranges) => Plan::multipart(file, &content_type, ranges),
        }
    }

    /// Several ranges (RFC 9110 section 14.6), laid out as nginx does.
    fn multipart(file: &OpenFile, content_type: &str, ranges: &[ByteRange]) -> Plan {
        let boundary = format!("{:020}", fastrand::u64(..));
        let (mut parts, mut length) = (VecDeque::new(), 0);
        for range in ranges {
            let head = format!(
                "\r\n--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: {}\r\n\r\n",
                content_range(range, file)
            );
            length += head.len() as u64 + (range.end - range.start);
            parts.push_back(Part::Text(head.into_bytes()));
            parts.push_back(Part::Bytes(range.clone()));
        }
        let end = format!("\r\n--{boundary}--\r\n");
        length += end.len() as u64;
        parts.push_back(Part::Text(end.into_bytes()));
        Plan {
            content_type: format!("multipart/byteranges; boundary={boundary}"),
            content_range: String::new(),
            length,
            parts,
        }
    }
}

fn content_range(range: &ByteRange, file: &OpenFile) -> String {
    let last = range.end - 1;
    format!("bytes {}-{last}/{}", range.start, file.length)
}

/// Answers that the client has the file already.
async fn not_modified(
    session: &mut Session<'_>,
    exchange: &Rc<Exchange>,
    of_file: (&Files, &OpenFile),
    request_body: &mut BodyPipe,
) -> Delivered {
    let head = FileHead {
        status: 304,
        content_type: "",
        content_range: "",
        length: None,
    };
    let body = LocalBody::Bytes(b"");
    head.send(session, exchange, of_file, request_body, body)
        .await
}

/// That the request's method is none of those for files (RFC 9110 section 15.5.6).
pub(in super::super) fn method_not_allowed() -> Fault {
    Fault::Declined {
        status: 405,
        field: ("Allow", "GET, HEAD".into()),
    }
}

/// What the head of an answer says that is about a file.
struct FileHead<'a> {
    status: u16,
    content_type: &'a str,
    content_range: &'a str,
    /// None for an answer that has no body whatever its method is.
    length: Option<u64>,
}

impl FileHead<'_> {
    async fn send(
        &self,
        session: &mut Session<'_>,
        exchange: &Rc<Exchange>,
        (site, file): (&Files, &OpenFile),
        request_body: &mut BodyPipe,
        body: LocalBody<'_>,
    ) -> Delivered {
        let mut digits = itoa::Buffer::new();
        let length = self.length.map_or("", |length| digits.format(length));
        let cache_control = match site.expires {
            None => String::new(),
            Some(Expires::NoCache) => "no-cache".to_owned(),
            Some(Expires::MaxAge(age)) => format!("max-age={}", age.as_secs()),
        };
        let has_body = self.length.is_some();
        let coding = file.coding.filter(|_| has_body);
        let coding = coding.map_or("", |coding| coding.name());
        let of_whole = content_type(exchange, file);
        let held = matches!(self.status, 206 | 304).then(|| HeldAnswer {
            content_type: of_whole.as_bytes(),
            encoding: file.coding.map(|coding| coding.name().as_bytes()),
            length: file.length,
        });
        let varies = !site.precompressed.is_empty();
        let ranges = if self.status == 200 { "bytes" } else { "" };
        let lines = [
            ("Server", &b"waypost"[..]),
            ("Content-Type", self.content_type.as_bytes()),
            ("Content-Length", length.as_bytes()),
            ("Content-Encoding", coding.as_bytes()),
            ("Content-Range", self.content_range.as_bytes()),
            ("Last-Modified", file.last_modified.as_bytes()),
            ("ETag", file.etag.as_bytes()),
            ("Accept-Ranges", ranges.as_bytes()),
            ("Cache-Control", cache_control.as_bytes()),
            ("Vary", if varies { b"Accept-Encoding" } else { b"" }),
        ];
        let head = OwnHead {
            status: self.status,
            lines: &lines,
            keep: true,
            held,
        };
        let is_head = exchange.request.method() == b"HEAD";
        let sent = self.length.filter(|_| !is_head).unwrap_or(0);
        local::send(session, exchange, Some(request_body), &head, (body, sent)).await
    }
}
