//! Listeners come and go; those that stay do not notice.

use super::*;

const SECOND: &str = "[[listen]]\naddress = \"127.0.0.2:0\"\n";

/// The address of a listener by its number.
async fn address(proxy: &Proxy, index: usize) -> String {
    let status = proxy.shows("/status").await;
    status["listeners"][index].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_new_one_serves_and_a_removed_one_finishes_what_is_under_way() {
    let gate = Gate::closed();
    let origin = holding(Answer::ok("done"), &gate).await;
    let proxy = proxy::to([&origin]).more(ADMIN).start().await;
    let mut other = proxy.client().await;
    kept(&mut other, "/").await;

    proxy.append(SECOND);
    proxy.reload().await;
    let second = address(&proxy, 1).await;
    let mut idle = Client::connect(&second).await;
    kept(&mut idle, "/").await;
    let mut busy = waiting(&second, &origin).await;

    proxy.edit(SECOND, "");
    proxy.reload().await;
    refuses(&second).await;
    proxy
        .log_contains(&format!("no longer listening on {second}"))
        .await;
    gate.open();
    let response = busy.response().await;
    assert_eq!(
        (response.text().as_str(), response.header("Connection")),
        ("done", "close")
    );
    busy.closed().await;
    idle.closed().await;
    assert_eq!(kept(&mut other, "/").await, "at once");
    assert_eq!(address(&proxy, 0).await, proxy.address());
}

#[tokio::test]
async fn a_request_that_meets_the_end_of_its_listener_is_answered() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin]).more(ADMIN).more(SECOND).start().await;
    let second = proxy.listener(1);
    let mut kept_open = Client::connect(second).await;
    kept(&mut kept_open, "/").await;
    let mut fresh = Client::connect(second).await;
    eventually("both to be accepted", async || {
        proxy.shows("/status").await["connections"] == 2
    })
    .await;
    proxy.edit(SECOND, "");
    proxy.reload().await;
    // Neither has to be quick: an idle connection has a second.
    pause().await;
    for client in [&mut kept_open, &mut fresh] {
        let response = client.get("/").await;
        assert_eq!(
            (response.text().as_str(), response.header("Connection")),
            ("hello", "close")
        );
        client.closed().await;
    }
}

#[tokio::test]
async fn those_who_wait_to_be_accepted_when_it_goes_are_served() {
    let gate = Gate::closed();
    let origin = origin::holds(&gate).await;
    let proxy = proxy::to([&origin])
        .server("workers = 1\nmax_connections = 1")
        .more(ADMIN)
        .more(SECOND)
        .start()
        .await;
    let mut first = proxy.client().await;
    first.send("GET /held HTTP/1.1\r\nHost: t\r\n\r\n").await;
    origin.received(1).await;
    // The bound is reached, and the first one is busy: these wait.
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let mut client = Client::connect(proxy.listener(1)).await;
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
        waiting.push(client);
    }
    proxy.edit(SECOND, "");
    proxy.reload().await;
    for client in &mut waiting {
        assert_eq!(client.response().await.text(), "hello");
        client.closed().await;
    }
    gate.open();
    assert_eq!(first.response().await.text(), "held");
    assert_eq!(kept(&mut first, "/").await, "hello");
}

#[tokio::test]
async fn their_order_in_the_file_is_nothing_to_their_connections() {
    let origin = origin::says("hello").await;
    let first = "[[listen]]\naddress = \"127.0.0.1:0\"\n";
    let route =
        "[[route]]\nlisten = \"127.0.0.2:0\"\nreturn = { status = 200, body = \"second\" }\n";
    let proxy = proxy::to([&origin])
        .more(ADMIN)
        .more(SECOND)
        .more(route)
        .route("listen = \"127.0.0.1:0\"")
        .start()
        .await;
    let mut one = Client::connect(proxy.listener(0)).await;
    let mut two = Client::connect(proxy.listener(1)).await;
    assert_eq!(kept(&mut one, "/").await, "hello");
    assert_eq!(kept(&mut two, "/").await, "second");
    proxy.edit(SECOND, "");
    proxy.edit(first, &format!("{SECOND}{first}"));
    proxy.reload().await;
    assert_eq!(address(&proxy, 0).await, proxy.listener(1));
    assert_eq!(address(&proxy, 1).await, proxy.listener(0));
    assert_eq!(kept(&mut one, "/").await, "hello");
    assert_eq!(kept(&mut two, "/").await, "second");
    for (listener, says) in [(0, "hello"), (1, "second")] {
        let mut client = Client::connect(proxy.listener(listener)).await;
        assert_eq!(kept(&mut client, "/").await, says);
    }
}

#[tokio::test]
async fn unix_sockets_come_and_go_with_their_files() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin]).more(ADMIN).start().await;
    let path = proxy.directory().join("front.sock");
    let unix = format!("unix:{}", path.display());
    for _ in 0..2 {
        proxy.append(FRONT);
        proxy.reload().await;
        let mut client = Client::connect(&unix).await;
        assert_eq!(kept(&mut client, "/").await, "hello");
        proxy.edit(FRONT, "");
        proxy.reload().await;
        assert!(!path.exists());
        client.closed().await;
    }
    assert_eq!(proxy.get("/").await.text(), "hello");
}

#[tokio::test]
async fn their_limits_hold_from_the_next_request_on() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin])
        .listen("client_max_body_size = 10")
        .more(ADMIN)
        .start()
        .await;
    let mut client = proxy.client().await;
    kept(&mut client, "/").await;
    proxy.edit("client_max_body_size = 10", "client_max_body_size = 3");
    proxy.reload().await;
    client
        .send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello")
        .await;
    assert_eq!(client.response().await.status, 413);
}
