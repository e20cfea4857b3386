//! What one client may have, so that others have something as well.

use std::net::Ipv4Addr;

use waypost_tests::Http2;

use super::*;

const TRUSTS: &str = "trusted_proxies = [\"127.0.0.1\"]";

/// A request of a client behind a proxy that says who it is.
async fn begin_as(proxy: &Proxy, who: &str, target: &str) -> Client {
    let mut client = proxy.client().await;
    let request = format!("GET /{target} HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: {who}\r\n\r\n");
    client.send(request).await;
    client
}

#[tokio::test]
async fn a_client_has_no_more_than_its_share_of_what_servers_take() {
    let (origin, gates) = gated(1).await;
    let lines = "limits = { client_share = \"50%\" }";
    let setup = proxy::to([origin.with("max_conns = 4")]).upstream(lines);
    let proxy = setup.server(TRUSTS).more(ADMIN).start().await;
    let mut clients = Vec::new();
    for number in 1..=2 {
        clients.push(begin_as(&proxy, "10.0.0.1", "0").await);
        origin.received(number).await;
    }
    let mut third = begin_as(&proxy, "10.0.0.1", "third").await;
    assert_eq!(third.response().await.status, 503);
    let line = "client has its share of 2 requests in progress while connecting to upstream";
    proxy.log_contains(line).await;
    let mut other = begin_as(&proxy, "10.0.0.2", "other").await;
    assert_eq!(other.response().await.text(), "other");
    assert_eq!(refused(&proxy, "client_requests").await, 1);
    gates[0].open();
    for client in &mut clients {
        assert_eq!(client.response().await.text(), "0");
    }
    is_at_rest(&proxy).await;
    let mut again = begin_as(&proxy, "10.0.0.1", "again").await;
    assert_eq!(again.response().await.text(), "again");
}

#[tokio::test]
async fn a_client_has_no_more_than_its_share_of_the_places_in_the_queue() {
    let (origin, gates) = gated(1).await;
    let lines = "queue = { size = 4, timeout = \"1h\" }\nlimits = { client_share = \"50%\" }";
    let setup = proxy::to([origin.with("max_conns = 8")]).upstream(lines);
    let proxy = setup.server(TRUSTS).more(ADMIN).start().await;
    let mut held = Vec::new();
    for number in 0..8 {
        held.push(begin_as(&proxy, &format!("10.0.1.{number}"), "0").await);
        origin.received(number + 1).await;
    }
    let mut clients = Vec::new();
    for number in 1..=2 {
        clients.push(begin_as(&proxy, "10.0.0.1", "one").await);
        waiting(&proxy, number).await;
    }
    let mut third = begin_as(&proxy, "10.0.0.1", "third").await;
    assert_eq!(third.response().await.status, 503);
    let line = "client has its share of 2 places in upstream queue while connecting to upstream";
    proxy.log_contains(line).await;
    clients.push(begin_as(&proxy, "10.0.0.2", "other").await);
    waiting(&proxy, 3).await;
    // One that leaves has its places again.
    drop(clients.remove(0));
    waiting(&proxy, 2).await;
    clients.push(begin_as(&proxy, "10.0.0.1", "one").await);
    waiting(&proxy, 3).await;
    gates[0].open();
    for client in held.iter_mut().chain(&mut clients) {
        assert_eq!(client.response().await.status, 200);
    }
    is_at_rest(&proxy).await;
}

/// A thousand streams, ten connections, one address, and servers that never answer them.
#[tokio::test]
async fn one_client_of_http2_cannot_have_all_connections_to_servers() {
    let (origin, _gates) = gated(1).await;
    let proxy = proxy::to([&origin])
        .server("workers = 2")
        .upstream("read_timeout = \"1h\"")
        .through_shell("ulimit -n 256; exec \"$@\"")
        .more(ADMIN)
        .start()
        .await;
    let mut hostile = Vec::new();
    let mut streams = Vec::new();
    for _ in 0..10 {
        let mut http2 = Http2::connect(proxy.address()).await;
        for _ in 0..100 {
            streams.push(open(&mut http2, "/0").await);
        }
        hostile.push(http2);
    }
    proxy
        .log_contains("client has its share of connections to upstreams")
        .await;
    eventually("what is too much to be refused", async || {
        refused(&proxy, "client_connections").await + origin.open() as u64 >= 1000
    })
    .await;
    let taken = origin.open();
    assert!(taken < 160, "{taken} of 256");
    // Clients from elsewhere find connections, of either version.
    for number in 2..12 {
        let from = Ipv4Addr::new(127, 0, 0, number);
        let mut http2 = Http2::connect_from(from, proxy.address()).await;
        assert_eq!(http2.get("/hello").await.text(), "hello");
    }
    assert_eq!(proxy.get("/hello").await.text(), "hello");
    drop((streams, hostile));
    is_at_rest(&proxy).await;
}

/// Where connections are not short, a client has as many as it wants.
#[tokio::test]
async fn one_client_alone_is_not_bounded_while_there_are_enough() {
    let (origin, gates) = gated(1).await;
    let proxy = proxy::to([&origin])
        .server("workers = 1")
        .more(ADMIN)
        .start()
        .await;
    let mut http2 = Http2::connect(proxy.address()).await;
    let mut streams = Vec::new();
    for _ in 0..100 {
        streams.push(open(&mut http2, "/0").await);
    }
    origin.received(100).await;
    gates[0].open();
    for stream in &mut streams {
        assert_eq!(stream.response().await.text(), "0");
    }
}
