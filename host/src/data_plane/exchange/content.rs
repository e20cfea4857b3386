//! Whether an answer is sent in another content coding than it has, and what its head says then.
//!
//! Looks at the head as it is to be sent: so it does not matter who gave it its fields, and all
//! kinds of answers are treated alike.

use super::deliver::{Delivery, HeldAnswer};
use super::request::line;
use super::state::Exchange;
use crate::config::model::Compression;
use crate::data_plane::body::{BodyPipe, Coding};
use crate::data_plane::content_coding::{Recoder, Recoding};
use crate::http::content_coding::ContentCoding;
use crate::http::head::{FieldChanges, Version, append_line, list_members};
use crate::http::headers;

/// What the route, or else the listener, says of recoding.
struct Rules<'a> {
    compression: Option<&'a Compression>,
    gunzip: bool,
}

/// What of a head counts.
#[derive(Default)]
struct Seen<'a> {
    status: &'a [u8],
    content_type: &'a [u8],
    /// Of the body; without meaning where there is none.
    encoding: Option<&'a [u8]>,
    encoded_twice: bool,
    length: Option<u64>,
    is_part: bool,
    /// The others are told of the whole, of which a part is sent.
    part_is_sent: bool,
    no_transform: bool,
    varies: bool,
}

/// What becomes of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Decision {
    /// Other clients get it in another coding.
    varies: bool,
    recoding: Option<Recoding>,
}

/// Decides about an answer whose head is all of `out`, and writes anew what the head has to say of
/// it. None where the body goes on as it is, or there is none.
pub(super) fn prepare(
    delivery: &mut Delivery<'_>,
    body: &BodyPipe,
    out: &mut Vec<u8>,
) -> Option<Box<Recoder>> {
    let exchange = delivery.exchange;
    let rules = rules(exchange);
    if rules.compression.is_none() && !rules.gunzip {
        return None;
    }
    let Decision {
        varies,
        mut recoding,
    } = decision(&rules, exchange, &Seen::of_answer(out, delivery.held));
    let mut recoder = None;
    // A HEAD request is answered with the header that a GET would be (RFC 9110 section 9.3.2).
    if let (Some(found), false) = (&recoding, body.is_done()) {
        recoder = Recoder::new(found, &exchange.worker.encoders);
        recoding = recoding.filter(|_| recoder.is_some());
    }
    if !varies && recoding.is_none() {
        return None;
    }
    let is_sent = delivery.held.is_none();
    if recoding.is_some() && is_sent && delivery.encoder.coding == Coding::Plain {
        match exchange.request.version() {
            Version::Http11 if recoder.is_some() => delivery.encoder.coding = Coding::Chunked,
            // That of a HEAD says so as well.
            Version::Http10 => delivery.closes = true,
            Version::Http11 | Version::Http2 => {}
        }
    }
    let chunked = delivery.encoder.coding == Coding::Chunked;
    let mut head = delivery.buffers.take_head();
    let anew = NewHead {
        other_bytes: recoding.is_some(),
        other_coding: recoding.is_some(),
        compress: recoding
            .filter(|_| is_sent)
            .and_then(|recoding| recoding.compress)
            .map(|(coding, _)| coding),
        vary: varies,
        chunked: chunked && recoder.is_some(),
        closes: delivery.closes,
        length: None,
        hooks: None,
    };
    anew.write(out, &mut head);
    delivery.buffers.give(std::mem::replace(out, head));
    recoder.map(Box::new)
}

fn rules(exchange: &Exchange) -> Rules<'_> {
    let config = &exchange.worker_config.snapshot.config;
    let listener = &config.listeners[exchange.listener];
    let route = exchange
        .stats
        .route
        .get()
        .map(|route| &config.routes[route]);
    let compression = match route.and_then(|route| route.compression.as_ref()) {
        Some(of_route) => of_route,
        None => &listener.compression,
    };
    Rules {
        compression: compression.as_ref(),
        gunzip: route
            .and_then(|route| route.gunzip)
            .unwrap_or(listener.gunzip),
    }
}

fn decision(rules: &Rules<'_>, exchange: &Exchange, seen: &Seen<'_>) -> Decision {
    let mut decision = Decision {
        varies: false,
        recoding: None,
    };
    // A part of a coded body is of no use by itself, and a partial one cannot be coded as a whole
    // (RFC 9110 section 14.4); the others have no body. RFC 9111 section 5.2.2.6: no-transform.
    let bodiless = matches!(seen.status, b"204" | b"205" | b"206" | b"304");
    if bodiless || seen.is_part || seen.no_transform || seen.length == Some(0) {
        return decision;
    }
    let lines = || exchange.request.fields().named(b"accept-encoding");
    let in_gzip = !seen.encoded_twice
        && (seen.encoding).is_some_and(|encoding| ContentCoding::Gzip.is_named(encoding));
    let gunzip = in_gzip && rules.gunzip;
    if seen.encoding.is_some() && !gunzip {
        return decision;
    }
    decision.varies = gunzip;
    let accepted: Vec<&[u8]> = lines().collect();
    let accepted = || accepted.iter().copied();
    if gunzip && ContentCoding::Gzip.is_accepted(accepted()) {
        return decision;
    }
    let length = seen.length.filter(|_| !gunzip);
    let compression = rules.compression.filter(|compression| {
        compression.is_for(seen.content_type)
            && length.is_none_or(|length| length >= compression.min_length)
    });
    decision.varies |= compression.is_some();
    if seen.part_is_sent {
        return decision;
    }
    // As nginx (`gzip_http_version 1.1`): what speaks HTTP/1.0 says little of what it can do, and
    // would lose its connection.
    let compression = compression.filter(|_| exchange.request.version() != Version::Http10);
    let compress = compression.and_then(|compression| {
        let coding = ContentCoding::chosen(&compression.codings, accepted())?;
        Some(match coding {
            ContentCoding::Gzip => (coding, compression.gzip_level),
            ContentCoding::Brotli => (coding, compression.brotli_level),
            ContentCoding::Zstd => (coding, compression.zstd_level),
        })
    });
    decision.recoding = (gunzip || compress.is_some()).then_some(Recoding {
        gunzip,
        compress,
        length,
    });
    decision
}

/// The lines of a head that we have written, as names and values; the first line is the status
/// line, and the last one, which is empty, is left out.
fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    head.split_inclusive(|byte| *byte == b'\n')
        .filter(|line| *line != b"\r\n")
}

/// Names and values of a head that we have written.
pub(super) fn fields(head: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    lines(head).filter_map(field)
}

/// Name and value of a line; none of the status line.
fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = memchr::memchr(b':', line)?;
    let (name, value) = line.split_at(colon);
    (!name.contains(&b' ')).then(|| (name, value[1..].trim_ascii()))
}

impl<'a> Seen<'a> {
    /// Of a head; of a 304 and a 206 as of the 200 that they stand for: they say the same of `Vary`,
    /// and a 304 of `ETag` (RFC 9110 sections 15.3.7 and 15.4.5).
    fn of_answer(head: &'a [u8], held: Option<HeldAnswer<'a>>) -> Seen<'a> {
        let seen = Seen::of(head);
        match held {
            Some(held) => Seen {
                status: b"200",
                is_part: false,
                part_is_sent: seen.status == b"206",
                content_type: held.content_type,
                encoding: held.encoding,
                length: Some(held.length),
                ..seen
            },
            None => seen,
        }
    }

    fn of(head: &'a [u8]) -> Seen<'a> {
        let mut seen = Seen {
            status: head.get(b"HTTP/1.1 ".len()..12).unwrap_or_default(),
            ..Seen::default()
        };
        for (name, value) in lines(head).filter_map(field) {
            let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
            let lists = |word: &[u8]| list_members(value).any(|one| one.eq_ignore_ascii_case(word));
            if is("content-type") {
                seen.content_type = value;
            } else if is("content-encoding") {
                let mut codings =
                    list_members(value).filter(|name| !name.eq_ignore_ascii_case(b"identity"));
                let first = codings.next();
                seen.encoded_twice |=
                    codings.next().is_some() || (first.is_some() && seen.encoding.is_some());
                seen.encoding = seen.encoding.or(first);
            } else if is("content-length") {
                let text = std::str::from_utf8(value).ok();
                seen.length = text.and_then(|text| text.parse().ok());
            } else if is("content-range") {
                seen.is_part = true;
            } else if is("cache-control") {
                seen.no_transform |= lists(b"no-transform");
            } else if is("vary") {
                seen.varies |= lists(b"accept-encoding") || lists(b"*");
            }
        }
        seen
    }
}

/// In which coding the body behind a head is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coded {
    Plainly,
    InGzip,
    Otherwise,
}

/// See [`Coded`].
pub(super) fn coded(head: &[u8]) -> Coded {
    match Seen::of(head) {
        Seen { encoding: None, .. } => Coded::Plainly,
        Seen {
            encoding: Some(encoding),
            encoded_twice: false,
            ..
        } if ContentCoding::Gzip.is_named(encoding) => Coded::InGzip,
        _ => Coded::Otherwise,
    }
}

/// Whether a body that hooks may see is behind a head that we have written.
pub(super) fn has_body(head: &[u8], method: &[u8]) -> bool {
    method != b"HEAD" && !matches!(status(head), 204 | 205 | 206 | 304)
}

/// Whether a head without a body tells of one that hooks would have seen.
pub(super) fn stands_for_one(head: &[u8]) -> bool {
    !matches!(status(head), 204..=206)
}

/// The status that a head has.
pub(super) fn status(head: &[u8]) -> u16 {
    let status = std::str::from_utf8(Seen::of(head).status).ok();
    status.and_then(|status| status.parse().ok()).unwrap_or(0)
}

/// What hooks change of a head, and whether the configuration has the last word about a field.
type HookFields<'a> = (&'a FieldChanges, &'a dyn Fn(&[u8]) -> bool);

/// How a head is written anew.
struct NewHead<'a> {
    /// The client gets other bytes than the head tells of, in another coding.
    other_bytes: bool,
    other_coding: bool,
    compress: Option<ContentCoding>,
    vary: bool,
    chunked: bool,
    closes: bool,
    length: Option<u64>,
    hooks: Option<HookFields<'a>>,
}

/// What hooks make of a head whose body goes through them.
pub(super) struct HookedHead<'a> {
    /// The body may be another one.
    pub(super) changes: bool,
    /// It was in gzip, and is not any more.
    pub(super) decoded: bool,
    /// Of the body, where all of it is there.
    pub(super) length: Option<u64>,
    pub(super) fields: &'a FieldChanges,
    /// Whether the configuration has the last word about a field.
    pub(super) is_settled: &'a dyn Fn(&[u8]) -> bool,
    /// There is a body.
    pub(super) is_sent: bool,
}

impl HookedHead<'_> {
    /// Writes the head that is all of `out` anew, and frames the body for the client.
    pub(super) fn write(&self, delivery: &mut Delivery<'_>, out: &mut Vec<u8>) {
        if self.changes && self.is_sent {
            match (self.length, delivery.exchange.request.version()) {
                (Some(_), _) => delivery.encoder.coding = Coding::Plain,
                (None, Version::Http11) => delivery.encoder.coding = Coding::Chunked,
                (None, Version::Http10) => delivery.closes = true,
                (None, Version::Http2) => {}
            }
        }
        let chunked = self.is_sent && delivery.encoder.coding == Coding::Chunked;
        let mut head = match chunked {
            true => delivery.buffers.take_body(),
            false => delivery.buffers.take_head(),
        };
        let anew = NewHead {
            other_bytes: self.changes,
            other_coding: self.decoded,
            compress: None,
            vary: self.decoded,
            chunked,
            closes: delivery.closes,
            length: self.length.filter(|_| self.changes),
            hooks: Some((self.fields, self.is_settled)),
        };
        anew.write(out, &mut head);
        delivery.buffers.give(std::mem::replace(out, head));
    }
}

impl NewHead<'_> {
    fn write(&self, head: &[u8], out: &mut Vec<u8>) {
        for each in lines(head) {
            match field(each) {
                Some((name, _)) if self.is_set_by_hooks(name) => {}
                Some((name, value)) if self.other_bytes => self.write_field(name, value, each, out),
                _ => out.extend_from_slice(each),
            }
        }
        if let Some((fields, is_settled)) = self.hooks {
            for field in fields.remaining().filter(|field| !is_settled(field.name)) {
                append_line(field.name, field.value, out);
            }
        }
        if let Some(length) = self.length {
            let mut text = itoa::Buffer::new();
            line("Content-Length", text.format(length).as_bytes(), out);
        }
        if let Some(coding) = self.compress {
            line("Content-Encoding", coding.name().as_bytes(), out);
        }
        if self.vary && !Seen::of(head).varies {
            out.extend_from_slice(b"Vary: Accept-Encoding\r\n");
        }
        let is_chunked =
            |(name, _): (&[u8], &[u8])| name.eq_ignore_ascii_case(b"transfer-encoding");
        if self.chunked && !lines(head).filter_map(field).any(is_chunked) {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        if self.closes {
            out.extend_from_slice(b"Connection: close\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }

    fn is_set_by_hooks(&self, name: &[u8]) -> bool {
        (self.hooks).is_some_and(|(fields, is_settled)| fields.replaces(name) && !is_settled(name))
    }

    /// Writes a field of an answer whose bytes are others.
    fn write_field(&self, name: &[u8], value: &[u8], line: &[u8], out: &mut Vec<u8>) {
        let is = |known: &&[u8]| name.eq_ignore_ascii_case(known);
        if headers::is_of_bytes(name)
            || is(&&b"content-length"[..])
            || is(&&b"accept-ranges"[..])
            || (self.other_coding && is(&&b"content-encoding"[..]))
            || (self.closes && is(&&b"connection"[..]))
            || (self.length.is_some() && is(&&b"transfer-encoding"[..]))
        {
            return;
        }
        if is(&&b"etag"[..]) && !value.starts_with(b"W/") {
            // The bytes may differ each time: a validator that promises them the same may not stay
            // strong (RFC 9110 section 8.8.1, `ngx_http_weak_etag`).
            if value.starts_with(b"\"") {
                out.extend_from_slice(b"ETag: W/");
                out.extend_from_slice(value);
                out.extend_from_slice(b"\r\n");
            }
            return;
        }
        out.extend_from_slice(line);
    }
}
