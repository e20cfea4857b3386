//! The span of a session, where it is traced: made once the session is over, and nothing before.

use std::time::{Instant, SystemTime};

use super::session::{SessionStatus, TcpSession};
use crate::config::model::StreamConfig;
use crate::data_plane::worker_config::WorkerConfig;
use crate::http::trace_context::TraceId;
use crate::http::variable::{Variable, VariableSource};
use crate::traces::{FinishedTrace, Span, SpanKind, Value};

/// Hands the span of a session over that has ended.
pub(super) fn finish(worker_config: &WorkerConfig, config: &StreamConfig, session: &TcpSession) {
    let Some(exporter) = &worker_config.snapshot.traces else {
        return;
    };
    let trace = TraceId::random();
    let rule = config.traces.as_ref();
    if !rule.is_some_and(|rule| rule.samples(&trace, None)) {
        return;
    }
    exporter.send(FinishedTrace {
        trace,
        state: String::new(),
        spans: vec![span(worker_config, config, session)],
    });
}

fn span(worker_config: &WorkerConfig, config: &StreamConfig, session: &TcpSession) -> Span {
    let nanos = |nanos: u128| u64::try_from(nanos).unwrap_or(u64::MAX);
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let took = Instant::now().saturating_duration_since(session.client.accepted);
    let name = format!("TCP {}", config.address);
    let start = nanos(now.saturating_sub(took).as_nanos());
    let mut span = Span::begun(None, SpanKind::Server, &name, start);
    span.end = nanos(now.as_nanos());
    let tls = session.client.tls.as_ref();
    span.set("network.transport", Value::text(b"tcp"));
    let mut text = Vec::new();
    for (key, variable) in [
        ("client.address", Variable::RemoteAddr),
        ("server.address", Variable::ServerAddr),
        ("waypost.note", Variable::PluginNote),
    ] {
        text.clear();
        if session.append(&variable, &mut text) && !text.is_empty() {
            span.set(key, Value::text(&text));
        }
    }
    if let Some(port) = session.client.local_port() {
        span.set("server.port", Value::number(port));
    }
    let ended_here = tls.and_then(|tls| tls.server_name.as_deref());
    if let Some(name) = ended_here.or(session.server_name.as_deref()) {
        span.set("tls.client.server_name", Value::text(name.as_bytes()));
    }
    if let Some(upstream) = session.upstream.get() {
        let upstream = &worker_config.snapshot.config.upstreams[upstream];
        span.set("waypost.upstream", Value::text(upstream.name.as_bytes()));
    }
    let (attempts, last) = session.tried();
    if let Some(address) = last {
        span.set("waypost.endpoint", Value::text(address.as_bytes()));
        span.set("waypost.attempts", Value::number(attempts));
    }
    let (status, summary) = (session.status.get(), session.summary());
    span.set("waypost.status", Value::number(status.code()));
    span.set(
        "waypost.bytes_received",
        Value::number(summary.bytes_received),
    );
    span.set("waypost.bytes_sent", Value::number(summary.bytes_sent));
    if status.code() >= 500 {
        let kind = match status {
            SessionStatus::NoEndpoint => "no_endpoint",
            SessionStatus::Overloaded => "overloaded",
            _ => "internal",
        };
        span.set("error.type", Value::text(kind.as_bytes()));
        span.error = Some(String::new());
    }
    span
}
