//! OTLP's messages, as `opentelemetry/proto/collector/trace/v1/trace_service.proto` (1.9) and what it
//! imports have them, as far as they are written or read here; and of gRPC's `google/rpc`, what says
//! when a call may be made again.
//!
//! The crate `opentelemetry-proto` has all of them, and brings the whole SDK with it.

use prost::Message;

use super::span::{FinishedTrace, Span as OwnSpan, SpanKind, Value};
use crate::config::model::TraceExport;

/// Of the attributes' names.
const SCHEMA: &str = "https://opentelemetry.io/schemas/1.37.0";
/// A flag of spans: the trace is sampled, as all that are sent (`W3C trace flags`).
const SAMPLED: u32 = 1;
/// It is known whether the parent is remote, and it is (`SPAN_FLAGS_CONTEXT_*`).
const IS_KNOWN: u32 = 0x100;
const IS_REMOTE: u32 = 0x200;
/// `STATUS_CODE_ERROR`.
const ERROR: i32 = 2;

#[derive(Clone, PartialEq, Message)]
pub(super) struct ExportTraceServiceRequest {
    #[prost(message, repeated, tag = "1")]
    pub(super) resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    pub(super) resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    pub(super) scope_spans: Vec<ScopeSpans>,
    #[prost(string, tag = "3")]
    pub(super) schema_url: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Resource {
    #[prost(message, repeated, tag = "1")]
    pub(super) attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    pub(super) scope: Option<InstrumentationScope>,
    #[prost(message, repeated, tag = "2")]
    pub(super) spans: Vec<Span>,
    #[prost(string, tag = "3")]
    pub(super) schema_url: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct InstrumentationScope {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) version: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Span {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    pub(super) trace_state: String,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    pub(super) name: String,
    #[prost(int32, tag = "6")]
    pub(super) kind: i32,
    #[prost(fixed64, tag = "7")]
    pub(super) start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    pub(super) end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    pub(super) attributes: Vec<KeyValue>,
    #[prost(message, optional, tag = "15")]
    pub(super) status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    pub(super) flags: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Status {
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(int32, tag = "3")]
    pub(super) code: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct KeyValue {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(message, optional, tag = "2")]
    pub(super) value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AnyValue {
    #[prost(oneof = "AValue", tags = "1, 2, 3")]
    pub(super) value: Option<AValue>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum AValue {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Flag(bool),
    #[prost(int64, tag = "3")]
    Number(i64),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ExportTraceServiceResponse {
    #[prost(message, optional, tag = "1")]
    pub(super) partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PartialSuccess {
    #[prost(int64, tag = "1")]
    pub(super) rejected_spans: i64,
    #[prost(string, tag = "2")]
    pub(super) error_message: String,
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    pub(super) details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Any {
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    pub(super) retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Delay {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(super) nanos: i32,
}

/// A request that has these traces, in bytes.
pub(super) fn request(settings: &TraceExport, traces: Vec<FinishedTrace>) -> Vec<u8> {
    let own = [
        ("service.name", settings.service_name.as_str()),
        ("telemetry.sdk.name", "waypost"),
        ("telemetry.sdk.language", "rust"),
        ("telemetry.sdk.version", env!("CARGO_PKG_VERSION")),
    ];
    let given = settings.resource.iter();
    let given: Vec<(&str, &str)> = given.map(|(key, value)| (&**key, &**value)).collect();
    let is_given = |key: &str| given.iter().any(|(known, _)| *known == key);
    let attributes = own.into_iter().filter(|(key, _)| !is_given(key));
    let attributes = attributes.chain(given.iter().copied());
    let attributes = attributes.map(|(key, value)| {
        let value = Value::Text(value.to_owned());
        key_value(key.to_owned(), value)
    });
    let spans = traces.into_iter().flat_map(|trace| {
        let FinishedTrace {
            trace,
            state,
            spans,
        } = trace;
        let spans = spans.into_iter();
        spans.map(move |one| span(trace.bytes(), &state, one))
    });
    let request = ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: attributes.collect(),
            }),
            scope_spans: vec![ScopeSpans {
                scope: Some(InstrumentationScope {
                    name: "waypost".to_owned(),
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                }),
                spans: spans.collect(),
                schema_url: SCHEMA.to_owned(),
            }],
            schema_url: SCHEMA.to_owned(),
        }],
    };
    request.encode_to_vec()
}

fn span(trace: &[u8; 16], state: &str, span: OwnSpan) -> Span {
    let attributes = span.attributes.into_iter();
    let attributes =
        attributes.map(|attribute| key_value(attribute.key.into_owned(), attribute.value));
    let remote = if span.is_parent_remote { IS_REMOTE } else { 0 };
    Span {
        trace_id: trace.to_vec(),
        span_id: span.id.bytes().to_vec(),
        trace_state: state.to_owned(),
        parent_span_id: span.parent.map_or(Vec::new(), |id| id.bytes().to_vec()),
        name: span.name,
        kind: match span.kind {
            SpanKind::Internal => 1,
            SpanKind::Server => 2,
            SpanKind::Client => 3,
        },
        start_time_unix_nano: span.start,
        end_time_unix_nano: span.end.max(span.start),
        attributes: attributes.collect(),
        status: span.error.map(|message| Status {
            message,
            code: ERROR,
        }),
        flags: SAMPLED | IS_KNOWN | remote,
    }
}

fn key_value(key: String, value: Value) -> KeyValue {
    let value = match value {
        Value::Text(text) => AValue::Text(text),
        Value::Number(number) => AValue::Number(number),
        Value::Flag(flag) => AValue::Flag(flag),
    };
    KeyValue {
        key,
        value: Some(AnyValue { value: Some(value) }),
    }
}
