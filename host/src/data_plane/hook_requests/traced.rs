//! The span of a request that a hook makes, where its exchange is traced.
//!
//! It goes to the collector by itself once the request has ended: one that its hook has left ends
//! after its exchange, whose spans are gone by then.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use crate::data_plane::worker_config::WorkerConfig;
use crate::http::trace_context::{Parent, SpanId, TraceId};
use crate::traces::{Exporter, FinishedTrace, Span, SpanKind, Value, bounded, name_of_method};

/// What requests of a hook have to know of the trace of its exchange.
#[derive(Clone, Copy)]
pub(crate) struct CallTrace {
    pub(crate) id: TraceId,
    /// Of the hook's call, or of the exchange where no call is recorded.
    pub(crate) span: SpanId,
    pub(crate) is_recorded: bool,
    /// Servers are told of it.
    pub(crate) injects: bool,
}

impl CallTrace {
    /// Begins the span of a request; none where it is not recorded.
    pub(super) fn begin(
        &self,
        config: &WorkerConfig,
        method: &str,
        upstream: &str,
    ) -> Option<RequestSpan> {
        let exporter = config.snapshot.traces.as_ref();
        let exporter = exporter.filter(|_| self.is_recorded)?.clone();
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        let start = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        let name = name_of_method(method.as_bytes());
        let mut span = Span::begun(Some(self.span), SpanKind::Client, name, start);
        span.set_method(method.as_bytes());
        span.set("waypost.upstream", Value::text(upstream.as_bytes()));
        Some(RequestSpan {
            exporter,
            trace: self.id,
            began: Instant::now(),
            recorded: RefCell::new(Some((span, Outcome::default()))),
        })
    }

    /// What the server is told; none where that is left to the hook.
    pub(super) fn told(&self, span: Option<&RequestSpan>) -> Option<Parent> {
        self.injects.then(|| Parent {
            trace: self.id,
            span: span.and_then(RequestSpan::id).unwrap_or(self.span),
            sampled: self.is_recorded,
        })
    }
}

/// A request under way. Dropped, it has ended.
pub(super) struct RequestSpan {
    exporter: Arc<Exporter>,
    trace: TraceId,
    began: Instant,
    recorded: RefCell<Option<(Span, Outcome)>>,
}

/// What its last attempt came to.
#[derive(Default)]
struct Outcome {
    endpoint: String,
    attempts: u32,
    status: u16,
    error: Option<(&'static str, String)>,
}

impl RequestSpan {
    fn id(&self) -> Option<SpanId> {
        self.recorded.borrow().as_ref().map(|(span, _)| span.id)
    }

    fn note(&self, note: impl FnOnce(&mut Outcome)) {
        if let Some((_, outcome)) = &mut *self.recorded.borrow_mut() {
            note(outcome);
        }
    }

    /// An endpoint is asked.
    pub(super) fn asks(&self, endpoint: &str) {
        self.note(|outcome| {
            *outcome = Outcome {
                endpoint: bounded(endpoint.as_bytes()),
                attempts: outcome.attempts + 1,
                ..Outcome::default()
            };
        });
    }

    pub(super) fn answered(&self, status: u16) {
        self.note(|outcome| outcome.status = status);
    }

    /// There is no answer.
    pub(super) fn failed(&self, kind: &'static str, why: &dyn std::fmt::Display) {
        let why = bounded(why.to_string().as_bytes());
        self.note(|outcome| outcome.error = Some((kind, why)));
    }
}

impl Drop for RequestSpan {
    fn drop(&mut self) {
        let Some((mut span, outcome)) = self.recorded.take() else {
            return;
        };
        let took = u64::try_from(self.began.elapsed().as_nanos());
        span.end = span.start.saturating_add(took.unwrap_or(u64::MAX));
        if !outcome.endpoint.is_empty() {
            span.set_server(&outcome.endpoint);
        }
        if outcome.attempts > 1 {
            span.set(
                "http.request.resend_count",
                Value::number(outcome.attempts - 1),
            );
        }
        let status = outcome.status;
        if status > 0 {
            span.set("http.response.status_code", Value::number(status));
        }
        let error = match outcome.error {
            Some((kind, why)) => Some((kind.to_owned(), why)),
            None if status == 0 => Some(("abandoned".to_owned(), String::new())),
            None if status >= 400 => Some((status.to_string(), String::new())),
            None => None,
        };
        if let Some((kind, why)) = error {
            span.set("error.type", Value::text(kind.as_bytes()));
            span.error = Some(why);
        }
        self.exporter.send(FinishedTrace {
            trace: self.trace,
            state: String::new(),
            spans: vec![span],
        });
    }
}
