//! `[traces]`, and `traces` of listeners and routes.

use super::WAIT;
use crate::config::key::{Default, Key, Table, ValueKind};
use crate::config::model::{TraceContext, TraceProtocol};

/// `traces` of a listener or a route.
pub(super) const TRACES_THERE: ValueKind =
    ValueKind::Either(&[ValueKind::Boolean, ValueKind::Table(&TRACE_RULE)]);

/// `traces` of a stream.
pub(super) const TRACES_OF_STREAM: ValueKind =
    ValueKind::Either(&[ValueKind::Boolean, ValueKind::Table(&STREAM_TRACE_RULE)]);

const SAMPLE: Key = Key::new(
    "sample",
    ValueKind::Text,
    "The share of requests that are recorded, of those whose caller does not decide: `\"1%\"`, with two decimals at \
     most; `\"0%\"` for what a caller records alone. By the id of the trace: whoever samples by ratio takes the same.",
)
.or(Default::Text("100%"));

/// Which requests are traced.
const RULE: &[Key] = &[
    SAMPLE,
    Key::new(
        "context",
        ValueKind::Word(TraceContext::WORDS),
        "What becomes of `traceparent` and `tracestate` (nginx: `otel_trace_context`, `ignore`). `\"inject\"` heeds no client \
         and has servers get a trace that begins here; `\"propagate\"` goes on with the client's trace and does as its \
         caller does about recording: for callers that are trusted; `\"extract\"` likewise, but servers get what the client \
         has sent; `\"ignore\"` neither heeds nor sends.",
    )
    .or(Default::Text("inject")),
    Key::new(
        "attributes",
        ValueKind::Named(&ValueKind::Text),
        "Further attributes of a request's span, with variables: `{ \"app.tenant\" = \"$http_x_tenant\" }` \
         (`otel_span_attr`).",
    ),
];

pub(in crate::config) static TRACES: Table = Table {
    title: "[traces]",
    doc: "Where spans of requests go, by OTLP: see `docs/traces.md`. Without it nothing is traced. `traces` of a `[[listen]]` \
          or a `[[route]]` turns it off there, or has another `sample`, `context` or `attributes`; that of a `[[stream]]` \
          another `sample`.",
    groups: &[
        &[
            Key::new(
                "endpoint",
                ValueKind::Text,
                "The collector: `http://127.0.0.1:4318`, `https://` with TLS. Without a path, `http` sends to `/v1/traces`; \
                 without a port, to 4318, `grpc` to 4317.",
            )
            .required(),
            Key::new(
                "protocol",
                ValueKind::Word(TraceProtocol::WORDS),
                "OTLP over `\"http\"`, in Protobuf, or over `\"grpc\"`.",
            )
            .or(Default::Text("http")),
            Key::new(
                "service_name",
                ValueKind::Text,
                "What the process is called: the resource's `service.name` (`otel_service_name`).",
            )
            .or(Default::Text("waypost")),
            Key::new(
                "resource",
                ValueKind::Named(&ValueKind::Text),
                "What else is said of the process (`otel_resource_attr`): \
                 `{ \"deployment.environment.name\" = \"production\" }`.",
            ),
            Key::new(
                "headers",
                ValueKind::Named(&ValueKind::Text),
                "Sent with each batch, as tokens are: `{ authorization = \"Bearer ${env:TOKEN}\" }`.",
            ),
            Key::new(
                "ca",
                ValueKind::Text,
                "PEM file of the authorities that `https://` is verified by; those of the system without it.",
            ),
            Key::new(
                "timeout",
                WAIT,
                "For the answer to a batch, connecting included. What is not taken for now is sent again for a minute.",
            )
            .or(Default::Text("10s")),
            Key::new(
                "queue",
                ValueKind::Integer {
                    min: 1,
                    max: 1_000_000,
                },
                "Spans that wait to be sent, 16 MiB at most. What comes beyond them is dropped and counted: no request waits.",
            )
            .or(Default::Integer(2048)),
        ],
        RULE,
    ],
    open: false,
};

pub(in crate::config) static TRACE_RULE: Table = Table {
    title: "traces",
    doc: "Of a `[[listen]]` or a `[[route]]`. What it does not say is as in `[traces]`.",
    groups: &[RULE],
    open: false,
};

pub(in crate::config) static STREAM_TRACE_RULE: Table = Table {
    title: "traces of a [[stream]]",
    doc: "Of a `[[stream]]`, whose sessions have neither context nor attributes of requests.",
    groups: &[&[SAMPLE]],
    open: false,
};
