//! Whatever begins ends: nothing is left in flight, however a request ends.

use waypost_tests::admin::ADMIN;
use waypost_tests::http2::Reason;
use waypost_tests::{Answer, Client, Gate, Http2, Metrics, Proxy, origin, proxy};

/// Waits until nothing is in flight any more, and all of this was counted.
async fn settles(proxy: &Proxy, requests: f64) -> Metrics {
    proxy
        .counts("nothing in flight", |metrics| {
            metrics.sum("waypost_requests_in_flight") == 0.0
                && metrics.sum("waypost_upstream_requests_in_flight") == 0.0
                && metrics.sum("waypost_requests_total") == requests
        })
        .await
}

#[tokio::test]
async fn clients_that_leave_end_their_requests() {
    let gate = Gate::closed();
    let origin = origin::holds(&gate).await;
    let proxy = proxy::to([&origin]).more(ADMIN).start().await;
    let mut held = Client::connect(proxy.address()).await;
    held.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let mut http2 = Http2::connect(proxy.address()).await;
    let request = http2.request("GET", "/held", &[]);
    let mut stream = http2.open(request.clone(), true).await;
    let other = http2.open(request, true).await;
    origin.received(3).await;
    let endpoint = origin.address();
    let in_flight = format!(
        r#"waypost_upstream_requests_in_flight{{upstream="backend",endpoint="{endpoint}"}}"#
    );
    let busy = proxy.metrics().await;
    assert_eq!(busy.value(&in_flight), 3.0);
    assert_eq!(busy.value("waypost_requests_in_flight"), 3.0);
    assert_eq!(busy.value(r#"waypost_connections{state="busy"}"#), 2.0);
    stream.reset(Reason::CANCEL);
    drop(held);
    let one_left = |metrics: &Metrics| metrics.value(&in_flight) == 1.0;
    proxy.counts("one request in flight", one_left).await;
    drop((stream, other, http2));
    let metrics = settles(&proxy, 3.0).await;
    let left = r#"waypost_requests_total{route="/",method="GET",code="4xx"}"#;
    assert_eq!(metrics.value(left), 3.0);
    let none = format!(
        r#"waypost_upstream_requests_total{{upstream="backend",endpoint="{endpoint}",code="none"}}"#
    );
    assert_eq!(metrics.value(&none), 3.0);
    let none_is_open = |metrics: &Metrics| metrics.sum("waypost_connections{") == 0.0;
    proxy.counts("no connection", none_is_open).await;
}

#[tokio::test]
async fn servers_that_fail_end_their_attempts() {
    let resets = origin::answers(|_| Answer::raw("").then_reset()).await;
    let cut = origin::answers(|_| {
        Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").then_close()
    })
    .await;
    let well = origin::says("hello").await;
    let proxy = proxy::to([resets.with("max_fails = 0"), well.with("backup = true")])
        .more(&format!(
            "[[route]]\npath = \"/cut\"\nproxy = \"http://{}\"\n{ADMIN}",
            cut.address()
        ))
        .start()
        .await;
    assert_eq!(proxy.get("/").await.text(), "hello");
    let mut client = proxy.client().await;
    client.send("GET /cut HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(!client.cut_response().await.complete);
    let metrics = settles(&proxy, 2.0).await;
    assert_eq!(metrics.sum("waypost_upstream_requests_total"), 3.0);
}

#[tokio::test]
async fn tunnels_end_with_their_peers() {
    let origin = origin::speaks(|mut wire, _| async move {
        let Ok(_) = wire.head().await else { return };
        wire.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
            .await;
        while let Ok(line) = wire.until(b"\n").await {
            wire.send(line).await;
        }
    })
    .await;
    let proxy = proxy::to([&origin]).more(ADMIN).start().await;
    let mut client = proxy.client().await;
    client
        .send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        .await;
    assert_eq!(client.response_head().await.status, 101);
    client.send("hello\n").await;
    client.wire.until(b"\n").await.unwrap();
    let busy = proxy.metrics().await;
    assert_eq!(busy.value("waypost_requests_in_flight"), 1.0);
    assert_eq!(busy.sum("waypost_upstream_requests_in_flight"), 1.0);
    drop(client);
    let metrics = settles(&proxy, 1.0).await;
    let upgraded = r#"waypost_requests_total{route="/",method="GET",code="1xx"}"#;
    assert_eq!(metrics.value(upgraded), 1.0);
}

#[tokio::test]
async fn a_panic_ends_its_request_and_its_attempt() {
    let origin = origin::says("hello").await;
    let file = format!(
        "[server]\nworkers = 1\naccess_log = false\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
         [upstream.backend]\nservers = [\"{}\"]\n[[route]]\nproxy = \"backend\"\n{ADMIN}",
        origin.address()
    );
    let proxy = proxy::run(&file, &[("WAYPOST_FAULTS", "exchange")]).await;
    let proxy = proxy.panicking(1);
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    client.closed().await;
    let metrics = settles(&proxy, 1.0).await;
    let failed = r#"waypost_requests_total{route="/",method="GET",code="5xx"}"#;
    assert_eq!(metrics.value(failed), 1.0);
    assert_eq!(metrics.value("waypost_panics_total"), 1.0);
    let attempts = metrics.all("waypost_upstream_requests_total");
    assert!(matches!(attempts[..], [(sample, 1.0)] if sample.contains("code=\"none\"")));
}
