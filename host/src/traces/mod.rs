//! Spans of requests on their way to a collector: gathered by workers, sent by a thread of its own
//! in OTLP.
//!
//! A worker never waits for a collector: what there is no room for is dropped, counted and told.

mod span; // what is told of a part of a request
mod otlp; // the same in OpenTelemetry's protocol
mod exporter; // a bounded queue, and who is at its end
mod sending; // the thread: batches, and further tries
mod transport; // one batch to one collector
mod grpc; // ... as a call of gRPC

pub(crate) use self::exporter::{Exporter, Exporters};
pub(crate) use self::span::{FinishedTrace, Span, SpanKind, Value, bounded, name_of_method};

#[cfg(test)]
mod tests;
