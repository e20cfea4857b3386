//! What is told of a part of a request, before it is anything of a protocol: bounded, whatever
//! clients, servers and plugins have said.

use std::borrow::Cow;

use crate::http::trace_context::{SpanId, TraceId};

/// Bytes of a text at most.
const LONGEST_TEXT: usize = 1024;
/// As the conventions call a method that they do not know.
const OTHER_METHOD: &str = "_OTHER";
/// About what a span, or an attribute, takes beside its texts.
const OVERHEAD: usize = 64;

/// The spans of one request.
#[derive(Debug)]
pub(crate) struct FinishedTrace {
    pub(crate) trace: TraceId,
    /// `tracestate`, where the trace goes on from a caller.
    pub(crate) state: String,
    pub(crate) spans: Vec<Span>,
}

#[derive(Debug)]
pub(crate) struct Span {
    pub(crate) id: SpanId,
    pub(crate) parent: Option<SpanId>,
    /// The parent is a span of another process.
    pub(crate) is_parent_remote: bool,
    pub(crate) name: String,
    pub(crate) kind: SpanKind,
    /// Nanoseconds since 1970.
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) attributes: Vec<Attribute>,
    /// Why it is an error, if it is one; may be empty where an attribute tells.
    pub(crate) error: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SpanKind {
    Internal,
    Server,
    Client,
}

#[derive(Debug)]
pub(crate) struct Attribute {
    pub(crate) key: Cow<'static, str>,
    pub(crate) value: Value,
}

#[derive(Debug, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Number(i64),
    Flag(bool),
}

impl Value {
    /// As much of a text as is told. Bytes that are no UTF-8 are replaced.
    pub(crate) fn text(bytes: &[u8]) -> Value {
        Value::Text(bounded(bytes))
    }

    pub(crate) fn number(number: impl TryInto<i64>) -> Value {
        Value::Number(number.try_into().unwrap_or(i64::MAX))
    }
}

/// As much of a text as is told.
pub(crate) fn bounded(bytes: &[u8]) -> String {
    let taken = &bytes[..bytes.len().min(LONGEST_TEXT)];
    let mut text = String::from_utf8_lossy(taken).into_owned();
    text.truncate(text.floor_char_boundary(LONGEST_TEXT));
    text
}

/// The name of a span of a request with such a method, of which no more is known.
pub(crate) fn name_of_method(received: &[u8]) -> &'static str {
    match method_of(received) {
        OTHER_METHOD => "HTTP",
        method => method,
    }
}

/// Methods of RFC 9110 and RFC 5789, as the conventions have them; others are one.
fn method_of(received: &[u8]) -> &'static str {
    match received {
        b"GET" => "GET",
        b"HEAD" => "HEAD",
        b"POST" => "POST",
        b"PUT" => "PUT",
        b"DELETE" => "DELETE",
        b"CONNECT" => "CONNECT",
        b"OPTIONS" => "OPTIONS",
        b"TRACE" => "TRACE",
        b"PATCH" => "PATCH",
        _ => OTHER_METHOD,
    }
}

/// Host and port of a server, as the configuration and name servers have it.
fn server_of(endpoint: &str) -> (&str, Option<u16>) {
    let parts = endpoint.rsplit_once(':');
    let parts = parts.and_then(|(host, port)| Some((host, port.parse().ok()?)));
    match parts {
        Some((host, port)) => (host.trim_matches(['[', ']']), Some(port)),
        None => (endpoint, None),
    }
}

impl Span {
    /// One that begins then, in nanoseconds since 1970.
    pub(crate) fn begun(parent: Option<SpanId>, kind: SpanKind, name: &str, start: u64) -> Span {
        Span {
            id: SpanId::random(),
            parent,
            is_parent_remote: false,
            name: bounded(name.as_bytes()),
            kind,
            start,
            end: 0,
            attributes: Vec::with_capacity(8),
            error: None,
        }
    }

    /// The server that was asked.
    pub(crate) fn set_server(&mut self, endpoint: &str) {
        let (host, port) = server_of(endpoint);
        self.set("server.address", Value::text(host.as_bytes()));
        if let Some(port) = port {
            self.set("server.port", Value::number(port));
        }
    }

    pub(crate) fn set_method(&mut self, received: &[u8]) {
        let known = method_of(received);
        self.set("http.request.method", Value::text(known.as_bytes()));
        if known == OTHER_METHOD {
            self.set("http.request.method_original", Value::text(received));
        }
    }

    pub(crate) fn set(&mut self, key: impl Into<Cow<'static, str>>, value: Value) {
        let key = key.into();
        self.attributes.push(Attribute { key, value });
    }
}

impl FinishedTrace {
    /// About what it takes of memory.
    pub(super) fn bytes(&self) -> usize {
        let of_spans = self.spans.iter().map(|span| {
            let texts = span.attributes.iter().map(|attribute| {
                let text = match &attribute.value {
                    Value::Text(text) => text.len(),
                    Value::Number(_) | Value::Flag(_) => 0,
                };
                OVERHEAD + text
            });
            let error = span.error.as_ref().map_or(0, String::len);
            2 * OVERHEAD + span.name.len() + error + texts.sum::<usize>()
        });
        self.state.len() + of_spans.sum::<usize>()
    }
}
