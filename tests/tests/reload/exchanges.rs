//! A request is served by the configuration that was in force when it began, to its end.

use super::*;

#[tokio::test]
async fn the_next_request_on_a_connection_takes_the_new_route_and_server() {
    let (a, b) = (origin::says("a").await, origin::says("b").await);
    let proxy = proxy::to([&a]).more(ADMIN).start().await;
    let mut client = proxy.client().await;
    assert_eq!(kept(&mut client, "/").await, "a");
    assert_eq!(kept(&mut client, "/new").await, "a");
    proxy.edit(a.address(), b.address());
    proxy.append(NEW);
    proxy.reload().await;
    assert_eq!(kept(&mut client, "/").await, "b");
    assert_eq!(kept(&mut client, "/new").await, "new");
}

#[tokio::test]
async fn hup_reloads() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin]).start().await;
    let mut client = proxy.client().await;
    assert_eq!(kept(&mut client, "/new").await, "hello");
    proxy.append(NEW);
    proxy.signal(Signal::HUP);
    proxy.log_contains("reloaded: generation 2").await;
    assert_eq!(kept(&mut client, "/new").await, "new");
}

#[tokio::test]
async fn an_exchange_under_way_finishes_as_it_began_even_if_its_upstream_and_route_are_gone() {
    let gate = Gate::closed();
    let origin = holding(Answer::ok("done"), &gate).await;
    let proxy = proxy::to([&origin])
        .route("response_headers = { set = { X-Route = \"old\" } }")
        .more(ADMIN)
        .start()
        .await;
    let mut client = waiting(proxy.address(), &origin).await;
    proxy.write(&format!(
        "[server]\nworkers = 2\n[[listen]]\naddress = \"127.0.0.1:0\"\n{NEW}{ADMIN}"
    ));
    proxy.reload().await;
    gate.open();
    let response = client.response().await;
    assert_eq!(
        (response.text().as_str(), response.header("X-Route")),
        ("done", "old")
    );
    assert_eq!(response.headers.get("Connection"), None);
    assert_eq!(kept(&mut client, "/new").await, "new");
    assert_eq!(client.get("/").await.status, 404);
    // Nothing is left of the upstream, its connections included.
    origin.has_open(0).await;
}

#[tokio::test]
async fn an_exchange_under_way_is_retried_on_the_servers_that_it_began_with() {
    let gate = Gate::closed();
    let fails = holding(Answer::raw("").then_reset(), &gate).await;
    let (old, new) = (origin::says("old").await, origin::says("new").await);
    let proxy = proxy::to([&fails, &old]).more(ADMIN).start().await;
    let mut client = waiting(proxy.address(), &fails).await;
    proxy.edit(old.address(), new.address());
    proxy.reload().await;
    gate.open();
    assert_eq!(client.response().await.text(), "old");
    assert_eq!(kept(&mut client, "/").await, "new");
}

#[tokio::test]
async fn a_tunnel_lives_through_reloads_and_counts_as_load() {
    let origin = origin::speaks(|mut wire, _| async move {
        let Ok(_) = wire.head().await else { return };
        wire.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n",
        )
        .await;
        while let Ok(line) = wire.until(b"\n").await {
            wire.send(line).await;
        }
    })
    .await;
    let other = origin::says("other").await;
    let proxy = proxy::to([&origin]).more(ADMIN).start().await;
    let mut client = proxy.client().await;
    client
        .send("GET / HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        .await;
    assert_eq!(client.response_head().await.status, 101);
    let mut echoes = async |line: &str| {
        client.send(line).await;
        assert_eq!(client.wire.until(b"\n").await.unwrap(), line.as_bytes());
    };
    echoes("before\n").await;
    proxy.edit("[[route]]", "keepalive = 7\n[[route]]");
    proxy.reload().await;
    echoes("upstream changed\n").await;
    assert_eq!(proxy.server(origin.address()).await["in_flight"], 1);
    proxy.edit(origin.address(), other.address());
    proxy.reload().await;
    echoes("server gone\n").await;
    assert_eq!(proxy.get("/").await.text(), "other");
    drop(client);
    origin.has_open(0).await;
}
