//! `[traces]`: which requests are traced, and where their spans go.

use std::sync::Arc;
use std::time::Duration;

use super::{NamedFile, Resolver, SourceUrl};
use crate::http::definition::Share;
use crate::http::template::Template;
use crate::http::trace_context::{Parent, TraceId};

/// `[traces]`.
#[derive(Debug, Clone)]
pub struct TracesConfig {
    pub export: Arc<TraceExport>,
    /// What holds where a listener and a route say nothing.
    pub rule: Arc<TraceRule>,
}

/// Where spans go, and as what.
#[derive(Clone, PartialEq)]
pub struct TraceExport {
    /// With the whole path.
    pub url: SourceUrl,
    pub protocol: TraceProtocol,
    /// `service.name`, default `waypost`.
    pub service_name: String,
    /// What else is said of the process that all spans are of.
    pub resource: Vec<(String, String)>,
    /// Sent with each batch: tokens.
    pub headers: Vec<(String, String)>,
    /// The authorities that the collector's certificate is verified by; `None`: those of the system.
    pub ca: Option<NamedFile>,
    /// For an answer, connecting included, default 10 s.
    pub timeout: Duration,
    /// Spans that wait to be sent at most, default 2048.
    pub queue: usize,
    /// How its name is resolved.
    pub resolver: Arc<Resolver>,
}

impl TraceExport {
    /// A word about the port, where it is the one that collectors have for the other protocol: what
    /// comes of that tells nobody why.
    pub fn doubt_about_port(&self) -> Option<String> {
        let (own, other) = (self.protocol, self.protocol.other());
        (self.url.port == other.port()).then(|| {
            format!(
                "port {} is usually that of `protocol = \"{}\"`, and {} that of `{}`",
                other.port(),
                other.word(),
                own.port(),
                own.word()
            )
        })
    }
}

/// Without what is sent as tokens.
impl std::fmt::Debug for TraceExport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} by {}", self.url, self.protocol.word())
    }
}

/// How spans are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceProtocol {
    /// OTLP over HTTP/1.1, in Protobuf.
    Http,
    /// OTLP over gRPC.
    Grpc,
}

impl TraceProtocol {
    pub const WORDS: &'static [&'static str] = &["http", "grpc"];

    pub fn word(self) -> &'static str {
        match self {
            TraceProtocol::Http => "http",
            TraceProtocol::Grpc => "grpc",
        }
    }

    fn other(self) -> TraceProtocol {
        match self {
            TraceProtocol::Http => TraceProtocol::Grpc,
            TraceProtocol::Grpc => TraceProtocol::Http,
        }
    }

    /// Of OTLP, where an endpoint names none.
    pub fn port(self) -> u16 {
        match self {
            TraceProtocol::Http => 4318,
            TraceProtocol::Grpc => 4317,
        }
    }
}

/// Which requests are traced, and how they are joined to traces of others.
#[derive(Debug)]
pub struct TraceRule {
    pub sample: TraceSample,
    pub context: TraceContext,
    /// Attributes of the span of a request, beside those that all have.
    pub attributes: Vec<(Arc<str>, Template)>,
}

/// The part of traces that are recorded, of those that begin here.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TraceSample {
    All,
    Share(Share),
    /// Only what a caller records.
    None,
}

/// What becomes of `traceparent` and `tracestate` (nginx: `otel_trace_context`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceContext {
    /// The client's is heeded, and passed on as it came.
    Extract,
    /// The client's is not heeded, and servers get ours in its place.
    Inject,
    /// Both: the client's is heeded, and servers get ours, of the same trace.
    Propagate,
    /// Neither: the client's is passed on as it came, and nothing else.
    Ignore,
}

impl TraceContext {
    pub const WORDS: &'static [&'static str] = &["inject", "extract", "propagate", "ignore"];

    pub fn word(self) -> &'static str {
        match self {
            TraceContext::Extract => "extract",
            TraceContext::Inject => "inject",
            TraceContext::Propagate => "propagate",
            TraceContext::Ignore => "ignore",
        }
    }

    /// Whether what a client says is heeded.
    pub fn extracts(self) -> bool {
        matches!(self, TraceContext::Extract | TraceContext::Propagate)
    }

    /// Whether servers get a context of ours.
    pub fn injects(self) -> bool {
        matches!(self, TraceContext::Inject | TraceContext::Propagate)
    }
}

impl TraceRule {
    /// Whether a trace is recorded: as the caller does, if it is heeded, and else by the share.
    pub fn samples(&self, trace: &TraceId, parent: Option<&Parent>) -> bool {
        match (parent, self.sample) {
            (Some(parent), _) => parent.sampled,
            (None, TraceSample::All) => true,
            (None, TraceSample::Share(share)) => share.has(trace.draw()),
            (None, TraceSample::None) => false,
        }
    }
}
