//! Sessions of a `[[stream]]` wait like requests.

use waypost_tests::{Wire, not_yet};

use super::*;

/// A server that says `hello` to each connection and keeps it open.
async fn greets() -> Origin {
    origin::speaks(|mut wire, _| async move {
        if wire.try_send("hello\n").await.is_ok() {
            wire.rest().await;
        }
    })
    .await
}

async fn stream_to(origin: &Origin, upstream: &str) -> Proxy {
    let file = format!(
        "[server]\nworkers = 2\n[[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"backend\"\n\
         access_log = {{ path = \"stdout\", format = \"session $status.\" }}\n\
         [upstream.backend]\nservers = [{}]\n{upstream}\n{ADMIN}",
        origin.with("max_conns = 1")
    );
    proxy::run(&file, &[("WAYPOST_FAULTS", WITHOUT_LOOKS)]).await
}

async fn connected(proxy: &Proxy) -> Wire {
    Wire::connect(proxy.address()).await.expect("it listens")
}

#[tokio::test]
async fn sessions_wait_for_their_turn_and_those_who_leave_are_skipped() {
    let origin = greets().await;
    let proxy = stream_to(&origin, "queue = { size = 9, timeout = \"1h\" }").await;
    let mut wires = Vec::new();
    for number in 0..5 {
        wires.push(connected(&proxy).await);
        match number {
            0 => origin.has_open(1).await,
            _ => waiting(&proxy, number).await,
        }
    }
    let leaves = wires.remove(2);
    leaves.reset();
    waiting(&proxy, 3).await;
    proxy
        .log_contains("client prematurely closed connection while waiting in upstream queue")
        .await;
    for number in 0..4 {
        let mut wire = wires.remove(0);
        assert_eq!(wire.until(b"\n").await.expect("a greeting"), b"hello\n");
        if let Some(next) = wires.first_mut() {
            not_yet("a greeting", next.until(b"\n")).await;
        }
        drop(wire);
        assert_eq!(wires.len(), 3 - number);
    }
    is_at_rest(&proxy).await;
}

#[tokio::test]
async fn sessions_beyond_the_queue_are_closed_with_their_reason_in_the_log() {
    let origin = greets().await;
    let proxy = stream_to(&origin, "queue = { size = 1, timeout = \"1s\" }").await;
    let _first = connected(&proxy).await;
    origin.has_open(1).await;
    let mut waits = connected(&proxy).await;
    waiting(&proxy, 1).await;
    let mut refused = connected(&proxy).await;
    assert!(refused.rest().await.got.is_empty());
    proxy
        .log_contains("upstream queue is full (1 requests wait)")
        .await;
    assert!(waits.rest().await.got.is_empty());
    proxy.log_contains("while waiting in upstream queue").await;
    proxy.stdout().contains("session 502.").await;
}

#[tokio::test]
async fn sessions_beyond_a_limit_are_503s() {
    let origin = greets().await;
    let proxy = stream_to(&origin, "limits = { requests = 1 }").await;
    let _first = connected(&proxy).await;
    origin.has_open(1).await;
    let mut refused = connected(&proxy).await;
    assert!(refused.rest().await.got.is_empty());
    proxy.stdout().contains("session 503.").await;
}
