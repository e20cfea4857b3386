//! The trace that an exchange belongs to, and what is recorded of it so far.

use std::cell::RefCell;
use std::time::Instant;

use crate::config::model::TraceContext;
use crate::http::trace_context::{Parent, SpanId, TraceId};
use crate::plugin::{FailureKind, Plugin};
use crate::traces::{Span, SpanKind, Value, bounded};

/// Spans of one exchange at most. What comes beyond them is left out.
const MOST_SPANS: usize = 128;

/// The trace of an exchange.
pub(super) struct ExchangeTrace {
    /// By which its rule was found: counts that all workers share are left alone.
    pub(super) route: Option<usize>,
    pub(super) context: TraceContext,
    pub(super) id: TraceId,
    /// Of the exchange itself.
    pub(super) span: SpanId,
    /// The caller's, where it is heeded.
    pub(super) parent: Option<Parent>,
    /// The caller's `tracestate` goes on.
    pub(super) passes_state: bool,
    /// None where it is not sampled.
    pub(super) recording: Option<Box<Recording>>,
}

pub(super) struct Recording {
    /// The beginning of the exchange, by either clock.
    pub(super) began: (Instant, u64),
    pub(super) recorded: RefCell<Recorded>,
}

#[derive(Default)]
pub(super) struct Recorded {
    pub(super) spans: Vec<Span>,
    /// The attempt that is under way.
    pub(super) attempt: Option<Span>,
    /// Why the exchange could not be carried through.
    pub(super) fault: Option<&'static str>,
    pub(super) left_out: usize,
}

/// A step of an exchange that is recorded.
pub(super) struct Measured {
    pub(super) began: Instant,
    /// Bytes of what plugins have said before.
    pub(super) notes: usize,
}

impl ExchangeTrace {
    /// What servers are told; none where that is left to the client.
    pub(super) fn injected(&self) -> Option<Parent> {
        self.context.injects().then_some(Parent {
            trace: self.id,
            span: self.span,
            sampled: self.recording.is_some(),
        })
    }

    /// Whether a field of the client's goes on to servers.
    pub(super) fn passes(&self, name: &[u8]) -> bool {
        match name.len() {
            10 if name.eq_ignore_ascii_case(b"tracestate") => self.passes_state,
            11 if name.eq_ignore_ascii_case(b"traceparent") => false,
            _ => true,
        }
    }
}

impl Recording {
    pub(super) fn nanos(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.began.0).as_nanos();
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        self.began.1.saturating_add(since)
    }

    pub(super) fn span(
        &self,
        parent: SpanId,
        kind: SpanKind,
        name: String,
        began: Instant,
    ) -> Span {
        Span {
            id: SpanId::random(),
            parent: Some(parent),
            is_parent_remote: false,
            name: bounded(name.as_bytes()),
            kind,
            start: self.nanos(began),
            end: 0,
            attributes: Vec::with_capacity(8),
            error: None,
        }
    }

    pub(super) fn add(&self, mut span: Span, ended: Instant) {
        span.end = self.nanos(ended);
        let mut recorded = self.recorded.borrow_mut();
        match recorded.spans.len() < MOST_SPANS {
            true => recorded.spans.push(span),
            false => recorded.left_out += 1,
        }
    }
}

pub(super) fn set_plugin(span: &mut Span, plugin: &Plugin) {
    span.set("waypost.plugin", Value::text(plugin.name().as_bytes()));
    span.set("waypost.plugin.version", Value::number(plugin.version()));
}

pub(super) fn set_method(span: &mut Span, received: &[u8]) {
    let known = method(received);
    span.set("http.request.method", Value::text(known.as_bytes()));
    if known == "_OTHER" {
        span.set("http.request.method_original", Value::text(received));
    }
}

/// Those of RFC 9110 and RFC 5789, as the conventions have them; others are one.
pub(super) fn method(received: &[u8]) -> &'static str {
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
        _ => "_OTHER",
    }
}

/// Host and port of a server, as the configuration and name servers have it.
pub(super) fn address(endpoint: &str) -> (&str, Option<u16>) {
    let parts = endpoint.rsplit_once(':');
    let parts = parts.and_then(|(host, port)| Some((host, port.parse().ok()?)));
    match parts {
        Some((host, port)) => (host.trim_matches(['[', ']']), Some(port)),
        None => (endpoint, None),
    }
}

/// In the words of figures.
pub(super) fn kind(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Connect => "connect",
        FailureKind::Tls => "tls",
        FailureKind::ConnectTimeout => "connect_timeout",
        FailureKind::Timeout => "timeout",
        FailureKind::Reset => "reset",
        FailureKind::Protocol => "protocol",
        FailureKind::Status => "status",
        FailureKind::None | FailureKind::Other => "other",
    }
}
