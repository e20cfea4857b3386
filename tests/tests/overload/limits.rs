//! What an upstream may have at all.

use std::time::Instant;

use waypost_tests::{Http2, Load};

use super::*;

#[tokio::test]
async fn requests_beyond_their_limit_are_503s_at_once() {
    let (one, gates) = gated(2).await;
    let other = origin::says("other").await;
    let setup = proxy::to([&one, &other]).upstream("limits = { requests = 2 }");
    let proxy = setup.server("workers = 1").more(ADMIN).start().await;
    let mut first = begin(&proxy, 0).await;
    one.received(1).await;
    assert_eq!(proxy.get("/").await.text(), "other", "one is left");
    let mut second = begin(&proxy, 1).await;
    one.received(2).await;
    for _ in 0..3 {
        assert_eq!(proxy.get("/").await.status, 503);
    }
    let line = "limit of 2 requests in progress is reached while connecting to upstream, client: 127.0.0.1";
    proxy.log_contains(line).await;
    assert_eq!(refused(&proxy, "requests").await, 3);
    let shown = load(&proxy).await;
    assert_eq!(
        (&shown["requests"], &shown["max_requests"]),
        (&2.into(), &2.into())
    );
    gates.iter().for_each(Gate::open);
    assert_eq!(first.response().await.text(), "0");
    assert_eq!(second.response().await.text(), "1");
    is_at_rest(&proxy).await;
    assert_eq!(proxy.get("/").await.status, 200);
}

/// In any order of answers, faults and clients that leave, all that was counted is counted out.
#[tokio::test]
async fn what_is_counted_is_counted_out_on_all_ways() {
    let fails = origin::answers(|_| Answer::raw("").then_close()).await;
    let (full, gates) = gated(1).await;
    let servers = [
        fails.with("max_fails = 0"),
        full.with("max_fails = 0, max_conns = 2"),
    ];
    let lines = "limits = { requests = 3, client_share = \"99%\" }\nqueue = { size = 2, timeout = \"100ms\" }";
    let proxy = proxy::to(servers).upstream(lines).more(ADMIN).start().await;
    let held = begin(&proxy, 0).await;
    for number in 0..40 {
        match number % 4 {
            0 => drop(begin(&proxy, 0).await),
            1 => drop(begin(&proxy, "x").await),
            _ => drop(proxy.get("/").await),
        }
    }
    drop(held);
    gates[0].open();
    is_at_rest(&proxy).await;
    // One of two would be left out for ever by a count that is too high.
    eventually("three at once", async || {
        let ask = || proxy.get("/");
        let all = tokio::join!(ask(), ask());
        all.0.status == 200 && all.1.status == 200
    })
    .await;
}

#[tokio::test]
async fn an_idle_connection_makes_room_for_one_to_another_server() {
    let (a, b) = (origin::named().await, origin::named().await);
    let setup = proxy::to([&a, &b]).upstream("limits = { connections = 1 }");
    let proxy = setup.server("workers = 1").more(ADMIN).start().await;
    for _ in 0..6 {
        assert_eq!(proxy.get("/").await.status, 200);
    }
    assert_eq!((a.connections(), b.connections()), (3, 3));
    assert_eq!(load(&proxy).await["connections"], 1);
}

#[tokio::test]
async fn a_request_that_finds_no_connection_within_a_second_is_a_503() {
    let (origin, gates) = gated(1).await;
    let setup = proxy::to([&origin]).upstream("limits = { connections = 1 }");
    let proxy = setup.more(ADMIN).start().await;
    let mut first = begin(&proxy, 0).await;
    origin.received(1).await;
    assert_eq!(proxy.get("/").await.status, 503);
    proxy
        .log_contains("limit of 1 open connections is reached while connecting to upstream")
        .await;
    assert_eq!(refused(&proxy, "connections").await, 1);
    // One that is waited for serves.
    let mut waits = begin(&proxy, "waits").await;
    gates[0].open();
    assert_eq!(first.response().await.text(), "0");
    drop(first);
    let status = waits.response().await.status;
    assert!([200, 503].contains(&status), "{status}");
    eventually("the connection to be free", async || {
        proxy.get("/").await.status == 200
    })
    .await;
    // It is no fault of the server's.
    assert_eq!(proxy.server(origin.address()).await["fails"], 0);
}

#[tokio::test]
async fn never_are_there_more_connections_than_the_limit() {
    let origin = origin::says("hello").await;
    let setup = proxy::to([&origin]).upstream("limits = { connections = 3 }");
    let proxy = setup.more(ADMIN).start().await;
    let began = Instant::now();
    let load = Load::start(proxy.address(), 8);
    eventually("some load", async || began.elapsed().as_millis() > 300).await;
    let report = load.stop().await;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    assert!(origin.open() <= 3, "{}", origin.open());
}

/// Streams share a connection, and only that one counts.
#[tokio::test]
async fn streams_to_a_server_share_a_connection() {
    let origin = waypost_tests::http2::says("hello").await;
    let lines = "http2 = true\nlimits = { connections = 1 }";
    let setup = proxy::to([&origin]).upstream(lines).server("workers = 1");
    let proxy = setup.more(ADMIN).start().await;
    let mut http2 = Http2::connect(proxy.address()).await;
    for _ in 0..5 {
        assert_eq!(http2.get("/").await.text(), "hello");
    }
    assert_eq!(load(&proxy).await["connections"], 1);
}
