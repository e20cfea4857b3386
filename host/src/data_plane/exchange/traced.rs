//! The trace that an exchange belongs to, and what is recorded of it so far.

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::time::Instant;

use crate::config::model::TraceContext;
use crate::http::trace_context::{Parent, SpanId, TraceId};
use crate::plugin::Plugin;
use crate::traces::{Span, SpanKind, Value};

/// Spans of one exchange at most. What comes beyond them is left out.
const MOST_SPANS: usize = 128;
/// Bytes of what is told of decisions.
const MOST_OF_DECISIONS: usize = 1024;

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
    /// The span of the hook that is asked now, or else that of the exchange.
    pub(super) step: Cell<SpanId>,
    pub(super) recorded: RefCell<Recorded>,
    /// How endpoints were chosen, for logs: these are written once the spans have gone.
    pub(super) decisions: RefCell<String>,
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
    pub(super) id: SpanId,
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

    pub(super) fn span(&self, parent: SpanId, kind: SpanKind, name: &str, began: Instant) -> Span {
        Span::begun(Some(parent), kind, name, self.nanos(began))
    }

    /// Adds how an endpoint was chosen, as far as there is room.
    pub(super) fn note_decision(&self, decision: std::fmt::Arguments<'_>) {
        let mut decisions = self.decisions.borrow_mut();
        if decisions.len() >= MOST_OF_DECISIONS {
            return;
        }
        if !decisions.is_empty() {
            decisions.push_str(", ");
        }
        // Writing to a string cannot fail.
        let _ = decisions.write_fmt(decision);
        let whole = decisions.floor_char_boundary(MOST_OF_DECISIONS);
        decisions.truncate(whole);
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
