//! A process that is to end answers the requests under way, and then ends.

use super::*;

/// Has it drain, by a signal or through the API, and waits until it does.
async fn drain(proxy: &Proxy, by_signal: bool) {
    match by_signal {
        true => proxy.signal(Signal::QUIT),
        false => assert_eq!(proxy.admin("POST", "/drain", "").await.status, 202),
    }
    eventually("the drain", async || {
        proxy.shows("/status").await["state"] == "draining"
    })
    .await;
}

#[tokio::test]
async fn an_idle_connection_may_bring_one_more_request_within_about_a_second() {
    for by_signal in [true, false] {
        let origin = origin::says("hello").await;
        let mut proxy = proxy::to([&origin]).more(ADMIN).start().await;
        assert_eq!(proxy.shows("/status").await["state"], "serving");
        let (mut quiet, mut busy) = (proxy.client().await, proxy.client().await);
        for client in [&mut quiet, &mut busy] {
            assert_eq!(client.get("/").await.headers.get("Connection"), None);
        }
        let since = Instant::now();
        drain(&proxy, by_signal).await;
        pause().await;
        let response = busy.get("/").await;
        assert_eq!(
            (response.text().as_str(), response.header("Connection")),
            ("hello", "close")
        );
        busy.closed().await;
        quiet.closed().await;
        let took = since.elapsed();
        assert!(took >= Duration::from_millis(900), "closed after {took:?}");
        assert!(took < Duration::from_secs(10), "closed after {took:?}");
        assert_eq!(proxy.process().ended().await.code(), Some(0));
    }
}

#[tokio::test]
async fn those_who_wait_to_be_accepted_are_served() {
    let gate = Gate::closed();
    let origin = holding(&gate).await;
    let mut proxy = proxy::to([&origin])
        .server("workers = 1\nmax_connections = 1")
        .more(FRONT)
        .more(ADMIN)
        .start()
        .await;
    let mut first = waiting(&proxy, &origin).await;
    let mut waiting = Vec::new();
    for index in [0, 1, 0, 1] {
        let mut client = Client::connect(proxy.listener(index)).await;
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
        waiting.push(client);
    }
    drain(&proxy, true).await;
    for client in &mut waiting {
        assert_eq!(client.response().await.text(), "at once");
        client.closed().await;
    }
    gate.open();
    assert_eq!(first.response().await.text(), "done");
    assert_eq!(proxy.process().ended().await.code(), Some(0));
    assert!(!proxy.directory().join("front.sock").exists());
}

#[tokio::test]
async fn nothing_is_changed_any_more() {
    let gate = Gate::closed();
    let origin = holding(&gate).await;
    let mut proxy = proxy::to([&origin]).more(ADMIN).start().await;
    let mut client = waiting(&proxy, &origin).await;
    drain(&proxy, true).await;
    for (method, path, body) in [
        ("POST", "/reload", ""),
        (
            "POST",
            "/upstreams/backend/servers",
            "{\"address\": \"127.0.0.1:1\"}",
        ),
    ] {
        let response = proxy.admin(method, path, body).await;
        assert_eq!(response.status, 409, "{response:?}");
    }
    // Twice is as good as once.
    drain(&proxy, true).await;
    drain(&proxy, false).await;
    gate.open();
    assert_eq!(client.response().await.text(), "done");
    assert_eq!(proxy.process().ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_reload_that_is_under_way_when_it_begins_is_given_up() {
    let gate = Gate::closed();
    let origin = holding(&gate).await;
    let mut proxy = proxy::to([&origin]).more(ADMIN).start().await;
    let mut client = waiting(&proxy, &origin).await;
    proxy.append(FRONT);
    let mut held = proxy.hold_file();
    let mut asker = Client::connect(&proxy.admin_address()).await;
    asker.send(request("POST", "/reload", "")).await;
    held.is_read().await;
    drain(&proxy, true).await;
    held.release();
    assert_eq!(asker.response().await.status, 409);
    assert!(!proxy.directory().join("front.sock").exists());
    assert!(Wire::connect(proxy.address()).await.is_err());
    gate.open();
    assert_eq!(client.response().await.text(), "done");
    assert_eq!(proxy.process().ended().await.code(), Some(0));
}

#[tokio::test]
async fn stop_through_the_api_is_at_once_and_answered() {
    let gate = Gate::closed();
    let origin = holding(&gate).await;
    let mut proxy = proxy::to([&origin]).more(ADMIN).start().await;
    let mut client = waiting(&proxy, &origin).await;
    assert_eq!(proxy.admin("POST", "/stop", "").await.status, 202);
    assert_eq!(proxy.process().ended().await.code(), Some(0));
    client.wire.rest().await;
    assert!(!proxy.directory().join("admin.sock").exists());
}
