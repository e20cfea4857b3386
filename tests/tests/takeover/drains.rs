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

/// Sends a byte now and then until the connection is closed.
async fn trickles(mut client: Client) {
    while client.wire.try_send("x").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Its upload, of which this much is announced, is read and dropped.
async fn answered(proxy: &Proxy, announced: usize) -> Client {
    let mut client = proxy.client().await;
    let head = format!("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: {announced}\r\n\r\n");
    client.send(head).await;
    assert_eq!(client.response().await.text(), "fixed");
    client
}

#[tokio::test]
async fn a_client_that_has_its_answer_is_waited_for_a_second_or_two() {
    // A connection that will be closed, and one that is kept for another request.
    for announced in [900_000, 1000] {
        let mut proxy = seconds_at_most().start().await;
        let client = answered(&proxy, announced).await;
        let sending = tokio::spawn(trickles(client));
        drain(&proxy, true).await;
        let since = Instant::now();
        assert_eq!(proxy.process().ended().await.code(), Some(0));
        let took = since.elapsed();
        assert!(took < Duration::from_secs(15), "{announced}: {took:?}");
        in_time("the end of its upload", sending).await.unwrap();
    }
}

/// A proxy that answers by itself, on listeners of every kind. They give their clients an hour.
fn seconds_at_most() -> Setup {
    let setup = proxy::to([String::from("\"127.0.0.1:1\"")])
        .server("workers = 1\nclient_header_timeout = \"1h\"")
        .more("[[listen]]\naddress = \"127.0.0.1:0\"\nproxy_protocol = true")
        .more("[[listen]]\naddress = \"127.0.0.1:0\"\n[listen.tls]\ncertificate = \"own.pem\"\nkey = \"own.key\"\nhandshake_timeout = \"1h\"")
        .more("[[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"backend\"\nsni = [{ host = \"a.example\", proxy = \"backend\" }]\npreread_timeout = \"1h\"")
        .more("[[route]]\npath = \"/\"\nreturn = { status = 200, body = \"fixed\" }")
        .route("host = \"elsewhere\"")
        .more(ADMIN);
    let own = Authority::new("Specs").certificate(&["a.example"]);
    own.write(setup.directory(), "own");
    setup
}

#[tokio::test]
async fn a_client_that_has_not_sent_a_whole_request_is_waited_for_some_seconds() {
    let mut proxy = seconds_at_most().start().await;
    let mut silent = proxy.client().await;
    let mut kept = proxy.client().await;
    assert_eq!(kept.get("/").await.text(), "fixed");
    let mut begun = vec![("a kept connection", kept, &b"GET / HTTP/1.1\r\nHo"[..])];
    for (name, listener, bytes) in [
        ("a header", 0, &b"GET / HTTP/1.1\r\nHo"[..]),
        ("a preface", 0, b"PRI * HTTP/2.0\r\n\r\nSM\r\n"),
        ("a PROXY header", 1, b"PROXY TCP4 192"),
        ("a handshake", 2, &[22, 3, 1, 0, 200, 1]),
        ("a ClientHello", 3, &[22, 3, 1, 0, 200, 1]),
    ] {
        let client = Client::connect(proxy.listener(listener)).await;
        begun.push((name, client, bytes));
    }
    for (_, client, bytes) in &mut begun {
        client.send(bytes).await;
        client.wire.was_read().await;
    }
    eventually("all to be accepted", async || {
        proxy.shows("/status").await["connections"] == begun.len() + 1
    })
    .await;
    // The rest of this one comes soon.
    let mut soon = proxy.client().await;
    soon.send("GET / HTTP/1.1\r\nHo").await;
    soon.wire.was_read().await;
    drain(&proxy, true).await;
    pause().await;
    soon.send("st: t\r\n\r\n").await;
    assert_eq!(soon.response().await.header("Connection"), "close");
    for (name, client, _) in &mut begun {
        in_time(name, client.wire.rest()).await;
    }
    silent.closed().await;
    assert_eq!(proxy.process().ended().await.code(), Some(0));
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
    // Each worker closes its own.
    eventually("the listeners to be closed", async || {
        Wire::connect(proxy.address()).await.is_err()
    })
    .await;
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
