//! More clients than `max_connections`: an idle connection is closed for each new one.

use std::time::Duration;

use waypost_tests::admin::ADMIN;
use waypost_tests::tls::{self, Authority};
use waypost_tests::{Answer, Client, Gate, Http2, Proxy, origin, proxy};

/// Clients that were answered, in this order, and stay connected.
async fn answered(proxy: &Proxy, number: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..number {
        let mut client = proxy.client().await;
        assert_eq!(client.get("/").await.text(), "hello");
        clients.push(client);
    }
    clients
}

#[tokio::test]
async fn the_next_client_is_served_in_the_place_of_the_longest_idle_one() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin])
        .server("workers = 1\nmax_connections = 50")
        .start()
        .await;
    let mut clients = answered(&proxy, 50).await;
    // The first two are no longer those that have been idle for longest.
    for client in &mut clients[..2] {
        assert_eq!(client.get("/").await.text(), "hello");
    }
    let mut next = answered(&proxy, 3).await;
    for client in &mut clients[2..5] {
        client.closed().await;
    }
    clients.drain(2..5);
    for client in clients.iter_mut().chain(&mut next) {
        assert_eq!(client.get("/").await.text(), "hello");
    }
}

#[tokio::test]
async fn a_worker_without_idle_clients_has_another_one_make_room() {
    let gate = Gate::closed();
    let origin = origin::holds(&gate).await;
    let proxy = proxy::to([&origin])
        .server("workers = 4\nmax_connections = 40")
        .start()
        .await;
    let _idle = answered(&proxy, 40).await;
    // Each takes the place of an idle one and stays: sooner or later its worker has no idle
    // connections left.
    let mut busy = Vec::new();
    for number in 1..=40 {
        let mut client = proxy.client().await;
        client.send("GET /held HTTP/1.1\r\nHost: t\r\n\r\n").await;
        origin.received(40 + number).await;
        busy.push(client);
    }
    // Now no connection is idle: the next one waits.
    let mut next = proxy.client().await;
    next.send("GET /held HTTP/1.1\r\nHost: t\r\n\r\n").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(origin.requests().len(), 80);
    gate.open();
    for client in busy.iter_mut().chain([&mut next]) {
        assert_eq!(client.response().await.text(), "held");
    }
}

#[tokio::test]
async fn clients_that_do_not_say_a_whole_request_make_room_after_a_while() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin])
        .server("workers = 2\nmax_connections = 4")
        .listen("client_header_timeout = \"1h\"")
        .start()
        .await;
    let mut slow = Vec::new();
    for begun in ["", "GET / HTTP/1.1\r\nHost", "GET /", "POST / HTTP/1.1\r\n"] {
        let mut client = proxy.client().await;
        client.send(begun).await;
        slow.push(client);
    }
    assert_eq!(proxy.get("/").await.text(), "hello");
    assert_eq!(proxy.get("/").await.text(), "hello");
}

/// The beginning of a request that comes with a whole one before it is no more than a beginning.
#[tokio::test]
async fn half_a_request_behind_an_answered_one_makes_room_after_a_while() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin])
        .server("workers = 1\nmax_connections = 4")
        .listen("client_header_timeout = \"1h\"")
        .start()
        .await;
    let mut slow = Vec::new();
    for begun in ["G", "\r\n", "GET / HTTP/1.1\r\nX: ", "POST / HTTP/1.1\r\n"] {
        let mut client = proxy.client().await;
        let request = format!("GET / HTTP/1.1\r\nHost: t\r\n\r\n{begun}");
        client.send(request).await;
        assert_eq!(client.response().await.text(), "hello");
        slow.push(client);
    }
    assert_eq!(proxy.get("/").await.text(), "hello");
}

/// It has its answer. What it goes on sending is read so that it can read that (a large rest), or so
/// that its connection can be kept (a small one).
#[tokio::test]
async fn a_client_whose_upload_is_dropped_makes_room() {
    let proxy = proxy::to([&origin::says("hello").await])
        .server("workers = 1\nmax_connections = 1")
        .more("[[route]]\npath = \"/fixed\"\nreturn = { status = 200, body = \"fixed\" }")
        .start()
        .await;
    for length in [900_000, 1000] {
        let mut client = proxy.client().await;
        let head = format!("POST /fixed HTTP/1.1\r\nHost: t\r\nContent-Length: {length}\r\n\r\n");
        client.send(head).await;
        assert_eq!(client.response().await.text(), "fixed");
        let trickle = async {
            // A pace that holds up the connection for as long as it may last, 30 s.
            for _ in 0..100 {
                if client.wire.try_send("x").await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            panic!("the next client waits for one that has its answer, {length} bytes");
        };
        let (next, ()) = tokio::join!(proxy.get("/fixed"), trickle);
        assert_eq!(next.text(), "fixed", "{length} bytes");
    }
}

#[tokio::test]
async fn clients_in_a_handshake_make_room_after_a_while() {
    let (authority, origin) = (Authority::new("Specs"), origin::says("hello").await);
    let proxy = proxy::to([&origin]).server("workers = 1\nmax_connections = 2");
    let own = authority.certificate(&["a.example"]);
    own.write(proxy.directory(), "own");
    let proxy = proxy
        .listen(
            "tls = { certificate = \"own.pem\", key = \"own.key\", handshake_timeout = \"1h\" }",
        )
        .start()
        .await;
    let mut slow = Vec::new();
    for begun in [&b""[..], &[22, 3, 1, 0, 200, 1]] {
        let mut client = proxy.client().await;
        client.send(begun).await;
        slow.push(client);
    }
    let response = tls::get(proxy.address(), authority.trusting(), "a.example", "/").await;
    assert_eq!(response.text(), "hello");
}

#[tokio::test]
async fn an_idle_connection_of_http2_makes_room_and_a_busy_one_does_not() {
    let gate = Gate::closed();
    let origin = origin::holds(&gate).await;
    let proxy = proxy::to([&origin])
        .server("workers = 1\nmax_connections = 2")
        .start()
        .await;
    let mut busy = Http2::connect(proxy.address()).await;
    let request = busy.request("GET", "/held", &[]);
    let mut stream = busy.open(request, true).await;
    origin.received(1).await;
    let mut idle = Http2::connect(proxy.address()).await;
    assert_eq!(idle.get("/").await.text(), "hello");
    assert_eq!(proxy.get("/").await.text(), "hello");
    assert_eq!(idle.ended().await, None, "in good order");
    gate.open();
    assert_eq!(stream.response().await.text(), "held");
}

#[tokio::test]
async fn a_client_that_waits_for_its_answer_makes_room_for_nobody() {
    let gate = Gate::closed();
    let held = gate.clone();
    let origin = origin::answers(move |_| Answer::ok("hello").when(&held)).await;
    let proxy = proxy::to([&origin])
        .server("workers = 1\nmax_connections = 1")
        .more(ADMIN)
        .start()
        .await;
    let mut first = proxy.client().await;
    first.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
    origin.received(1).await;
    let mut second = proxy.client().await;
    second.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
    // It would have been closed by then if it could be.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(proxy.shows("/status").await["connections"], 1);
    gate.open();
    assert_eq!(first.response().await.text(), "hello");
    assert_eq!(second.response().await.text(), "hello");
}
