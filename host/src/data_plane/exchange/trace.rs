//! What is told of the trace of an exchange: by the client, to servers, and to a collector.
//!
//! Names of attributes are those of OpenTelemetry's conventions for HTTP; what these know nothing of
//! begins with `waypost.`. Nothing of this is there without `[traces]`, and next to nothing where a
//! trace is not sampled.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::time::{Instant, SystemTime};

use super::fault_class::{FAULT_CLASSES, FaultClass};
use super::state::Exchange;
use super::traced::{ExchangeTrace, Measured, Recording, set_plugin};
use crate::data_plane::hook_requests::CallTrace;
use crate::data_plane::upstream::{Failure, Lease};
use crate::http::head::Version;
use crate::http::trace_context::{Parent, SpanId, TraceId, is_state};
use crate::plugin::SharedHook;
use crate::traces::{FinishedTrace, Span, SpanKind, Value, bounded, name_of_method};

impl Exchange {
    /// Begins its trace, unless it has begun: by what its route says, or its listener where it has
    /// none so far. It stays so, wherever the request is led.
    #[inline]
    pub(super) fn begin_trace(&self) {
        if self.worker_config.snapshot.traces.is_some() {
            self.trace.get_or_init(|| self.new_trace());
        }
    }

    fn new_trace(&self) -> Option<Box<ExchangeTrace>> {
        let route = self.stats.route.get();
        let rule = self.worker_config.trace_rule(self.listener, route)?;
        let fields = self.request.fields();
        let parent = match rule.context.extracts() {
            true => Parent::of_fields(fields.named(b"traceparent")),
            false => None,
        };
        let id = parent.map_or_else(TraceId::random, |parent| parent.trace);
        let span = SpanId::random();
        let recording = rule.samples(&id, parent.as_ref()).then(|| {
            let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
            let began = now.saturating_sub(self.began.elapsed()).as_nanos();
            Box::new(Recording {
                began: (self.began, u64::try_from(began).unwrap_or(u64::MAX)),
                step: Cell::new(span),
                recorded: RefCell::default(),
                decisions: RefCell::default(),
            })
        });
        Some(Box::new(ExchangeTrace {
            route,
            context: rule.context,
            id,
            span,
            passes_state: parent.is_some() && is_state(fields.named(b"tracestate")),
            parent,
            recording,
        }))
    }

    /// Its trace, if it has one by now.
    #[inline]
    pub(super) fn trace(&self) -> Option<&ExchangeTrace> {
        self.trace.get()?.as_deref()
    }

    #[inline]
    fn recording(&self) -> Option<(&ExchangeTrace, &Recording)> {
        let trace = self.trace()?;
        Some((trace, trace.recording.as_deref()?))
    }

    /// Whether what plugins say of their decisions is recorded.
    pub(super) fn is_recorded(&self) -> bool {
        self.recording().is_some()
    }

    /// Begins a step; none where it is not recorded.
    #[inline]
    pub(super) fn begin_step(&self) -> Option<Measured> {
        let measured = self.begin_calls()?;
        let (_, recording) = self.recording()?;
        recording.step.set(measured.id);
        Some(measured)
    }

    /// Begins a step of several calls, between which there may be others.
    pub(super) fn begin_calls(&self) -> Option<Measured> {
        self.recording()?;
        Some(Measured {
            id: SpanId::random(),
            began: Instant::now(),
            notes: self.hooked.bytes_of_notes(),
        })
    }

    /// The trace that a request belongs to which a hook makes now; none where there is none to tell of.
    pub(super) fn call_trace(&self) -> Option<CallTrace> {
        let trace = self.trace()?;
        let recording = trace.recording.as_deref();
        Some(CallTrace {
            id: trace.id,
            span: recording.map_or(trace.span, |recording| recording.step.get()),
            is_recorded: recording.is_some(),
            injects: trace.context.injects(),
        })
    }

    /// A hook was asked. `phase`: about what; `verdict`: in one word, and why there is none.
    pub(super) fn end_hook(
        &self,
        step: Option<Measured>,
        hook: &SharedHook,
        phase: &'static str,
        verdict: (&'static str, Option<&str>),
    ) {
        if let Some(step) = step {
            let note = self.note_since(step.notes);
            let span = self.hook_span(&step, hook, phase, verdict, &note);
            self.add_hook_span(span, Instant::now());
        }
    }

    /// The span of a hook that was asked, until it has ended.
    pub(super) fn hook_span(
        &self,
        step: &Measured,
        hook: &SharedHook,
        phase: &'static str,
        (verdict, failure): (&'static str, Option<&str>),
        note: &str,
    ) -> Option<Span> {
        let (trace, recording) = self.recording()?;
        let title = format!("hook {}", hook.name());
        let mut span = recording.span(trace.span, SpanKind::Internal, &title, step.began);
        span.id = step.id;
        span.set("waypost.hook", Value::text(hook.name().as_bytes()));
        set_plugin(&mut span, hook.plugin());
        span.set("waypost.phase", Value::text(phase.as_bytes()));
        span.set("waypost.verdict", Value::text(verdict.as_bytes()));
        if !note.is_empty() {
            span.set("waypost.note", Value::text(note.as_bytes()));
        }
        if let Some(failure) = failure {
            span.set("error.type", Value::text(b"hook"));
            span.error = Some(bounded(failure.as_bytes()));
        }
        Some(span)
    }

    pub(super) fn add_hook_span(&self, span: Option<Span>, ended: Instant) {
        if let (Some(span), Some((trace, recording))) = (span, self.recording()) {
            recording.step.set(trace.span);
            recording.add(span, ended);
        }
    }

    /// An endpoint of an upstream was chosen for an attempt, or none.
    pub(super) fn end_pick(
        &self,
        step: Option<Measured>,
        (upstream, attempt): (&str, u32),
        leased: Result<&Lease, u16>,
    ) {
        let (Some(step), Some((trace, recording))) = (step, self.recording()) else {
            return;
        };
        recording.step.set(trace.span);
        let title = format!("pick {upstream}");
        let mut span = recording.span(trace.span, SpanKind::Internal, &title, step.began);
        span.id = step.id;
        span.set("waypost.upstream", Value::text(upstream.as_bytes()));
        span.set("waypost.attempt", Value::number(attempt));
        let note = self.note_since(step.notes);
        match leased {
            Ok(lease) => {
                let choice = lease.choice();
                let (policy, word) = (choice.policy().name(), choice.word());
                let (endpoint, candidates) = (&lease.endpoint().name, lease.candidates());
                span.set("waypost.policy", Value::text(policy.as_bytes()));
                set_plugin(&mut span, choice.policy());
                span.set("waypost.candidates", Value::number(candidates));
                span.set("waypost.endpoint", Value::text(endpoint.as_bytes()));
                span.set("waypost.decision", Value::text(word.as_bytes()));
                recording.note_decision(format_args!(
                    "{word} {policy} of {candidates}: {endpoint}{}",
                    Noted(&note)
                ));
            }
            Err(status) => {
                span.set("waypost.decision", Value::text(b"none"));
                span.set("error.type", Value::text(status.to_string().as_bytes()));
                span.error = Some(String::new());
                recording.note_decision(format_args!("none: {status}{}", Noted(&note)));
            }
        }
        if !note.is_empty() {
            span.set("waypost.note", Value::text(note.as_bytes()));
        }
        recording.add(span, Instant::now());
    }

    /// How endpoints were chosen for it, an attempt after the other; false where that is not recorded.
    pub(super) fn append_decisions(&self, out: &mut Vec<u8>) -> bool {
        let Some((_, recording)) = self.recording() else {
            return false;
        };
        let decisions = recording.decisions.borrow();
        out.extend_from_slice(decisions.as_bytes());
        !decisions.is_empty()
    }

    /// Begins an attempt at an endpoint: the span that the server is told of, if it is told of any.
    pub(super) fn begin_attempt_span(
        &self,
        lease: &Lease,
        number: u32,
        http2: bool,
    ) -> Option<SpanId> {
        let (trace, recording) = self.recording()?;
        let method = self.request.method();
        let (name, began) = (name_of_method(method), lease.picked_at);
        let mut span = recording.span(trace.span, SpanKind::Client, name, began);
        span.set_method(method);
        let endpoint = &*lease.endpoint().name;
        span.set_server(endpoint);
        let scheme = if self.to_tls.get() { "https" } else { "http" };
        span.set("url.scheme", Value::text(scheme.as_bytes()));
        let uri = self.uri.sent.borrow();
        let uri = if uri.is_empty() { self.uri() } else { &uri };
        let path = uri.split(|byte| *byte == b'?').next().unwrap_or_default();
        let url = [scheme.as_bytes(), b"://", endpoint.as_bytes(), path].concat();
        span.set("url.full", Value::text(&url));
        let version: &[u8] = if http2 { b"2" } else { b"1.1" };
        span.set("network.protocol.version", Value::text(version));
        if number > 0 {
            span.set("http.request.resend_count", Value::number(number));
        }
        let id = span.id;
        recording.recorded.borrow_mut().attempt = Some(span);
        Some(id)
    }

    /// Why the attempt under way has come to nothing.
    pub(super) fn note_attempt_failure(&self, failure: &Failure) {
        let Some((_, recording)) = self.recording() else {
            return;
        };
        if let Some(attempt) = &mut recording.recorded.borrow_mut().attempt {
            let kind = match failure {
                Failure::ClientGone => "client_gone",
                failure => failure.word(),
            };
            attempt.set("error.type", Value::text(kind.as_bytes()));
            attempt.error = Some(bounded(failure.to_string().as_bytes()));
        }
    }

    /// The attempt under way has ended. `cut`: with the exchange.
    pub(super) fn end_attempt_span(&self, cut: bool) {
        let Some((_, recording)) = self.recording() else {
            return;
        };
        let Some(mut span) = recording.recorded.borrow_mut().attempt.take() else {
            return;
        };
        if span.error.is_none() {
            let attempts = self.stats.attempts.borrow();
            let status = attempts.last().map_or(0, |attempt| attempt.status);
            if status > 0 {
                span.set("http.response.status_code", Value::number(status));
            }
            if cut {
                span.set("error.type", Value::text(b"abandoned"));
                span.error = Some(String::new());
            } else if status >= 400 {
                span.set("error.type", Value::text(status.to_string().as_bytes()));
                span.error = Some(String::new());
            }
        }
        recording.add(span, Instant::now());
    }

    /// Why it could not be carried through.
    pub(super) fn note_fault(&self, class: FaultClass) {
        if let Some((_, recording)) = self.recording() {
            recording.recorded.borrow_mut().fault = Some(FAULT_CLASSES[class as usize]);
        }
    }

    /// Hands its spans over, once all is over.
    pub(super) fn finish_trace(&self, now: Instant) {
        self.end_attempt_span(true);
        let Some((trace, recording)) = self.recording() else {
            return;
        };
        let mut span = self.own_span(trace, recording, now);
        let recorded = recording.recorded.take();
        if recorded.left_out > 0 {
            span.set("waypost.spans_left_out", Value::number(recorded.left_out));
        }
        let status = self.stats.status.get();
        if status >= 500 {
            let kind = recorded
                .fault
                .map_or_else(|| status.to_string(), str::to_owned);
            span.set("error.type", Value::text(kind.as_bytes()));
            span.error = Some(String::new());
        }
        let mut spans = recorded.spans;
        spans.push(span);
        let mut state = Vec::new();
        if trace.passes_state {
            for value in self.request.fields().named(b"tracestate") {
                if !state.is_empty() {
                    state.push(b',');
                }
                state.extend_from_slice(value);
            }
        }
        if let Some(exporter) = &self.worker_config.snapshot.traces {
            exporter.send(FinishedTrace {
                trace: trace.id,
                state: bounded(&state),
                spans,
            });
        }
    }

    fn own_span(&self, trace: &ExchangeTrace, recording: &Recording, now: Instant) -> Span {
        // As it came, whatever hooks have made of it.
        let received = self.request.received_method();
        let name = name_of_method(received);
        let route = self.taken_route().map(|route| match &route.name {
            Some(name) => name.clone(),
            None => route.path.spelling(),
        });
        let title = match &route {
            Some(route) => format!("{name} {route}"),
            None => name.to_owned(),
        };
        let mut span = recording.span(trace.span, SpanKind::Server, &title, self.began);
        (span.id, span.end) = (trace.span, recording.nanos(now));
        span.parent = trace.parent.map(|parent| parent.span);
        span.is_parent_remote = trace.parent.is_some();
        span.set_method(received);
        let path = self.received_uri().split(|byte| *byte == b'?').next();
        span.set("url.path", Value::text(path.unwrap_or_default()));
        span.set("url.scheme", Value::text(self.client_scheme().as_bytes()));
        if !self.host.is_empty() {
            span.set("server.address", Value::text(self.host.as_bytes()));
        }
        if let Some(port) = self.client.local_port() {
            span.set("server.port", Value::number(port));
        }
        let version: &[u8] = match self.request.version() {
            Version::Http10 => b"1.0",
            Version::Http11 => b"1.1",
            Version::Http2 => b"2",
        };
        span.set("network.protocol.version", Value::text(version));
        span.set(
            "client.address",
            Value::text(self.remote_address().as_bytes()),
        );
        if let Some(agent) = self.request.fields().named(b"user-agent").next() {
            span.set("user_agent.original", Value::text(agent));
        }
        if let Some(route) = route {
            span.set("http.route", Value::text(route.as_bytes()));
        }
        let stats = &self.stats;
        span.set(
            "http.response.status_code",
            Value::number(stats.status.get()),
        );
        span.set(
            "http.response.body.size",
            Value::number(stats.body_sent.get()),
        );
        if stats.body_received.get() > 0 {
            span.set(
                "http.request.body.size",
                Value::number(stats.body_received.get()),
            );
        }
        if !stats.complete.get() {
            span.set("waypost.complete", Value::Flag(false));
        }
        let mut value = Vec::new();
        let rule = self.worker_config.trace_rule(self.listener, trace.route);
        for (key, template) in rule.iter().flat_map(|rule| &rule.attributes) {
            value.clear();
            template.render(self, &mut value);
            if !value.is_empty() {
                span.set(key.to_string(), Value::text(&value));
            }
        }
        span
    }

    /// What plugins have said since they had said so many bytes.
    pub(super) fn note_since(&self, notes: usize) -> String {
        let note = self.hooked.notes_from(notes);
        note.trim_start_matches("; ").to_owned()
    }
}

/// ` (why)`, or nothing.
struct Noted<'a>(&'a str);

impl fmt::Display for Noted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.is_empty() {
            true => Ok(()),
            false => write!(f, " ({})", self.0),
        }
    }
}
