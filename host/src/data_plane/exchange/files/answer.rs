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
use crate::data_plane::exchange::error_page;
use crate::data_plane::exchange::fault::{Fault, reason};
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
/// A [`Fault`] where it cannot be read, and nothing was sent yet.
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
        Precondition::Failed => {
            let delivered = refused(session, exchange, (site, file), 412, request_body).await;
            return Ok(Served::Delivered(delivered));
        }
        Precondition::NotModified => {
            let delivered = refused(session, exchange, (site, file), 304, request_body).await;
            return Ok(Served::Delivered(delivered));
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
            let delivered = refused(session, exchange, (site, file), 416, request_body).await;
            return Ok(Served::Delivered(delivered));
        }
        Ranges::Whole => None,
        Ranges::Parts(ranges) => Some(ranges),
    };
    let plan = Plan::of(file, ranges.as_deref());
    let length = plan.length;
    let mut body = FileBody::new(held.clone(), site.clone(), plan.parts);
    if is_head {
        body = FileBody::new(held.clone(), site.clone(), VecDeque::new());
    } else {
        // The first piece leaves with the head, and can still be answered with an error.
        let first = body.read(&session.worker.buffers).await;
        first.map_err(|failure| Fault::of_file(failure.status(), &failure))?;
    }
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

/// What is sent of a file.
struct Plan {
    content_type: String,
    /// Of a single range; else empty.
    content_range: String,
    length: u64,
    parts: VecDeque<Part>,
}

impl Plan {
    fn of(file: &OpenFile, ranges: Option<&[ByteRange]>) -> Plan {
        let mut parts = VecDeque::new();
        match ranges {
            None => {
                if file.length > 0 {
                    parts.push_back(Part::Bytes(0..file.length));
                }
                Plan {
                    content_type: file.content_type.clone(),
                    content_range: String::new(),
                    length: file.length,
                    parts,
                }
            }
            Some([range]) => {
                parts.push_back(Part::Bytes(range.clone()));
                Plan {
                    content_type: file.content_type.clone(),
                    content_range: content_range(range, file),
                    length: range.end - range.start,
                    parts,
                }
            }
            Some(ranges) => Plan::multipart(file, ranges),
        }
    }

    /// Several ranges (RFC 9110 section 14.6), laid out as nginx does.
    fn multipart(file: &OpenFile, ranges: &[ByteRange]) -> Plan {
        let boundary = format!("{:020}", fastrand::u64(..));
        let (mut parts, mut length) = (VecDeque::new(), 0);
        for range in ranges {
            let head = format!(
                "\r\n--{boundary}\r\nContent-Type: {}\r\nContent-Range: {}\r\n\r\n",
                file.content_type,
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

/// Answers without a part of the file: 304, 412, 416.
async fn refused(
    session: &mut Session<'_>,
    exchange: &Rc<Exchange>,
    (site, file): (&Files, &OpenFile),
    status: u16,
    request_body: &mut BodyPipe,
) -> Delivered {
    if status == 304 {
        let head = FileHead {
            status,
            content_type: "",
            content_range: "",
            length: None,
        };
        let body = LocalBody::Bytes(b"");
        return head
            .send(session, exchange, (site, file), request_body, body)
            .await;
    }
    let content_range = match status {
        416 => format!("bytes */{}", file.length),
        _ => String::new(),
    };
    let lines = [("Content-Range", content_range.as_bytes())];
    status_page(session, exchange, status, &lines, request_body).await
}

pub(in super::super) async fn method_not_allowed(
    session: &mut Session<'_>,
    exchange: &Rc<Exchange>,
    request_body: &mut BodyPipe,
) -> Delivered {
    let lines = [("Allow", &b"GET, HEAD"[..])];
    status_page(session, exchange, 405, &lines, request_body).await
}

/// A status and its name, with further lines in the head.
async fn status_page(
    session: &mut Session<'_>,
    exchange: &Rc<Exchange>,
    status: u16,
    lines: &[(&str, &[u8])],
    request_body: &mut BodyPipe,
) -> Delivered {
    let mut request_body = Some(request_body);
    let page = error_page::send(session, exchange, &mut request_body, status, true);
    if let Some(sent) = page.await {
        return sent;
    }
    let text = format!("{status} {}\n", reason(status));
    let length = text.len().to_string();
    let mut all = vec![
        ("Server", &b"waypost"[..]),
        ("Content-Type", b"text/plain"),
        ("Content-Length", length.as_bytes()),
    ];
    all.extend_from_slice(lines);
    let head = OwnHead {
        status,
        lines: &all,
        keep: true,
        held: None,
    };
    let body = match exchange.request.method() {
        b"HEAD" => LocalBody::Bytes(b""),
        _ => LocalBody::Bytes(text.as_bytes()),
    };
    let length = body.unread().len() as u64;
    local::send(session, exchange, request_body, &head, (body, length)).await
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
        let held = (self.status == 304).then(|| HeldAnswer {
            content_type: file.content_type.as_bytes(),
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
