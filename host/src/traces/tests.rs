//! What becomes of traces that are handed over.

#![allow(clippy::unwrap_used, reason = "a test's unwrap is its failure")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::config::model::TraceExport;
use crate::http::trace_context::{SpanId, TraceId};

fn settings(endpoint: &str, lines: &str) -> Arc<TraceExport> {
    let text = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nreturn = {{ status = 204 }}\n\
         [traces]\nendpoint = \"{endpoint}\"\n{lines}"
    );
    let config = crate::config::parse(&text, Path::new("test.toml")).unwrap();
    config.traces.unwrap().export
}

fn trace(spans: usize, bytes: usize) -> FinishedTrace {
    let span = |_| Span {
        id: SpanId::random(),
        parent: None,
        is_parent_remote: false,
        name: "x".repeat(bytes),
        kind: SpanKind::Server,
        start: 1,
        end: 2,
        attributes: Vec::new(),
        error: None,
    };
    FinishedTrace {
        trace: TraceId::random(),
        state: String::new(),
        spans: (0..spans).map(span).collect(),
    }
}

/// A place that takes connections, and says nothing.
fn silent() -> (std::net::TcpListener, String) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    (listener, endpoint)
}

fn count(exporters: &Exporters, outcome: &str) -> u64 {
    let figures = exporters.figures();
    let mut spans = figures.spans.into_iter();
    spans.find(|(name, _)| *name == outcome).unwrap().1
}

#[test]
fn what_waits_has_a_bound_in_spans_and_in_bytes() {
    let (_silent, endpoint) = silent();
    let exporters = Exporters::new(None);
    let exporter = exporters.open(&settings(&endpoint, "queue = 10")).unwrap();
    for _ in 0..6 {
        exporter.send(trace(3, 1));
    }
    assert_eq!(count(&exporters, "dropped"), 9);
    assert_eq!(exporters.figures().queued, 9);

    let exporters = Exporters::new(None);
    let exporter = exporters
        .open(&settings(&endpoint, "queue = 1000"))
        .unwrap();
    for _ in 0..6 {
        exporter.send(trace(1, 4 << 20));
    }
    assert_eq!(count(&exporters, "dropped"), 3);
}

#[test]
fn the_end_waits_for_a_silent_collector_no_longer_than_it_says() {
    let (_silent, endpoint) = silent();
    let exporters = Exporters::new(None);
    let exporter = exporters.open(&settings(&endpoint, "")).unwrap();
    exporter.send(trace(1, 1));
    let began = Instant::now();
    exporters.close();
    assert!(began.elapsed() < Duration::from_secs(20));
    exporter.send(trace(1, 1));
    assert_eq!(count(&exporters, "exported"), 0);
}

#[test]
fn the_same_settings_have_one_queue_and_others_another() {
    let (_silent, endpoint) = silent();
    let exporters = Exporters::new(None);
    let one = exporters.open(&settings(&endpoint, "")).unwrap();
    let same = exporters.open(&settings(&endpoint, "")).unwrap();
    let other = exporters
        .open(&settings(&endpoint, "service_name = \"b\""))
        .unwrap();
    assert!(Arc::ptr_eq(&one, &same) && !Arc::ptr_eq(&one, &other));
}

#[test]
fn texts_are_cut_and_what_is_no_utf_8_is_replaced() {
    assert_eq!(bounded(b"a\xff"), "a\u{fffd}");
    let cut = bounded("\u{e9}".repeat(1000).as_bytes());
    assert_eq!(cut, "\u{e9}".repeat(512));
    assert!(bounded(&[0xff; 5000]).len() <= 1024);
}
