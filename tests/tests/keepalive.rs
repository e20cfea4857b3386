//! Connections are kept and reused by nginx's rules, on both sides.

use std::time::Duration;

use waypost_tests::admin::ADMIN;
use waypost_tests::proxy::Setup;
use waypost_tests::tls::Authority;
use waypost_tests::{Answer, Gate, Origin, Proxy, eventually, origin, outlast, pause, proxy};

const ONE: &str = "workers = 1";
const SECOND: Duration = Duration::from_secs(1);

/// A proxy before an origin that says hello, with these lines in its listener.
async fn listening(listen: &str) -> (Origin, Proxy) {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin]).listen(listen).start().await;
    (origin, proxy)
}

/// One worker, so that all requests share its idle connections, before this origin.
fn one_worker(origin: &Origin, upstream: &str) -> Setup {
    proxy::to([origin.with("max_fails = 0")])
        .server(ONE)
        .upstream(upstream)
}

/// As [`one_worker`], before an origin that says hello.
async fn pooled(upstream: &str) -> (Origin, Proxy) {
    let origin = origin::says("hello").await;
    let proxy = one_worker(&origin, upstream).start().await;
    (origin, proxy)
}

/// The connections on which the origin's requests arrived, in order.
fn used(origin: &Origin) -> Vec<usize> {
    let requests = origin.requests();
    requests.iter().map(|request| request.connection).collect()
}

#[tokio::test]
async fn a_client_s_connection_is_kept() {
    let (_origin, proxy) = listening("").await;
    let mut client = proxy.client().await;
    for _ in 0..20 {
        let response = client.get("/").await;
        assert_eq!(
            (response.text().as_str(), response.version.as_str()),
            ("hello", "HTTP/1.1")
        );
        assert!(!response.header("Connection").eq_ignore_ascii_case("close"));
    }
}

#[tokio::test]
async fn a_client_that_says_close_is_obeyed() {
    let (_origin, proxy) = listening("").await;
    let mut client = proxy.client().await;
    client
        .send("GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
        .await;
    assert_eq!(client.response().await.header("Connection"), "close");
    client.closed().await;
}

#[tokio::test]
async fn an_idle_client_is_closed_after_keepalive_timeout_which_begins_anew_with_each_request() {
    let (_origin, proxy) = listening("keepalive_timeout = \"1s\"").await;
    let mut client = proxy.client().await;
    // Longer than the timeout in all, and never idle for that long.
    for _ in 0..12 {
        client.get("/").await;
        pause().await;
    }
    client.closed().await;
}

/// The last response says so, and nothing follows it.
#[tokio::test]
async fn a_client_s_connection_ends_with_the_request_that_uses_up_its_bound() {
    for (bound, requests, wait) in [
        ("keepalive_timeout = \"0s\"", 1, Duration::ZERO),
        ("keepalive_requests = 3", 3, Duration::ZERO),
        ("keepalive_time = \"1s\"", 2, SECOND),
    ] {
        let (_origin, proxy) = listening(bound).await;
        let mut client = proxy.client().await;
        for _ in 1..requests {
            let response = client.get("/").await;
            assert_eq!(response.headers.get("Connection"), None, "{bound}");
        }
        outlast(wait).await;
        let last = client.get("/").await;
        assert_eq!(last.header("Connection"), "close", "{bound}");
        client.closed().await;
    }
}

#[tokio::test]
async fn an_upstream_connection_is_reused_by_whoever_comes_next() {
    let (origin, proxy) = pooled("").await;
    for _ in 0..10 {
        assert_eq!(proxy.get("/").await.text(), "hello");
    }
    assert_eq!(origin.connections(), 1);
    let request = &origin.requests()[0];
    assert_eq!(
        (request.version.as_str(), request.headers.get("Connection")),
        ("HTTP/1.1", None)
    );
}

#[tokio::test]
async fn an_upstream_connection_is_used_for_as_many_requests_as_its_bound_says() {
    for (bound, expected) in [
        ("keepalive = 0", [0, 1, 2, 3, 4, 5, 6]),
        ("keepalive_requests = 3", [0, 0, 0, 1, 1, 1, 2]),
    ] {
        let (origin, proxy) = pooled(bound).await;
        for _ in 0..expected.len() {
            proxy.get("/").await;
        }
        assert_eq!(used(&origin), expected, "{bound}");
        origin.has_open(usize::from(bound != "keepalive = 0")).await;
    }
}

#[tokio::test]
async fn keepalive_bounds_the_idle_connections_and_not_the_busy_ones() {
    let gate = Gate::closed();
    let held = gate.clone();
    let origin = origin::answers(move |_| Answer::ok("hello").when(&held)).await;
    let proxy = one_worker(&origin, "keepalive = 2").start().await;
    let mut clients = Vec::new();
    for number in 1..=5 {
        let mut client = proxy.client().await;
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
        origin.received(number).await;
        clients.push(client);
    }
    assert_eq!(origin.open(), 5);
    gate.open();
    for client in &mut clients {
        client.response().await;
    }
    origin.has_open(2).await;
}

#[tokio::test]
async fn an_idle_upstream_connection_is_closed_after_its_timeout() {
    let (origin, proxy) = pooled("keepalive_timeout = \"100ms\"").await;
    proxy.get("/").await;
    origin.has_open(0).await;
}

#[tokio::test]
async fn an_old_upstream_connection_is_not_reused() {
    let (origin, proxy) = pooled("keepalive_time = \"1s\"").await;
    proxy.get("/").await;
    outlast(SECOND).await;
    // The answer that finds the connection too old is its last.
    proxy.get("/").await;
    proxy.get("/").await;
    assert_eq!(used(&origin), [0, 0, 1]);
}

#[tokio::test]
async fn a_server_that_says_close_is_obeyed() {
    let origin = origin::answers(|_| Answer::ok("hello").header("Connection", "close")).await;
    let proxy = one_worker(&origin, "").start().await;
    proxy.get("/").await;
    proxy.get("/").await;
    assert_eq!(origin.connections(), 2);
    // The origin itself never closes.
    origin.has_open(0).await;
}

#[tokio::test]
async fn a_server_of_http_1_0_is_kept_only_if_it_says_so() {
    let origin = origin::answers(|request| match request.target.as_str() {
        "/keep" => {
            Answer::raw("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nok")
        }
        _ => Answer::raw("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"),
    })
    .await;
    let proxy = one_worker(&origin, "").start().await;
    for target in ["/keep", "/keep", "/once", "/once"] {
        assert_eq!(proxy.get(target).await.text(), "ok");
    }
    assert_eq!(used(&origin), [0, 0, 0, 1]);
}

#[tokio::test]
async fn a_kept_connection_that_died_costs_the_client_nothing() {
    // Closes each connection after one answer, without having announced it.
    let origin = origin::answers(|_| Answer::ok("hello").then_close()).await;
    let proxy = one_worker(&origin, "").start().await;
    for _ in 0..20 {
        let response = proxy.get("/").await;
        assert_eq!((response.status, response.text().as_str()), (200, "hello"));
    }
}

#[tokio::test]
async fn a_kept_connection_that_dies_with_the_request_is_replaced() {
    // The race that no peeking can avoid: the second request on a connection arrives and gets a
    // reset.
    let origin = origin::answers(|request| match request.number % 2 {
        0 => Answer::ok("hello"),
        _ => Answer::raw("").then_reset(),
    })
    .await;
    let proxy = one_worker(&origin, "").start().await;
    for _ in 0..10 {
        assert_eq!(proxy.get("/").await.status, 200);
    }
}

#[tokio::test]
async fn a_kept_connection_that_dies_does_not_repeat_a_post() {
    let origin = origin::answers(|request| match request.method.as_str() {
        "GET" => Answer::ok("hello"),
        _ => Answer::raw("").then_reset(),
    })
    .await;
    let proxy = one_worker(&origin, "").start().await;
    proxy.get("/").await;
    let post = "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\nConnection: close\r\n\r\nup";
    assert_eq!(proxy.exchange(post).await.status, 502);
    assert_eq!(
        origin
            .requests()
            .iter()
            .filter(|request| request.method == "POST")
            .count(),
        1
    );
}

#[tokio::test]
async fn the_connection_that_was_used_last_is_used_first() {
    let gate = Gate::closed();
    let held = gate.clone();
    let origin = origin::answers(move |request| match request.target.as_str() {
        "/hold" => Answer::ok("held").when(&held),
        _ => Answer::ok("hello"),
    })
    .await;
    let proxy = one_worker(&origin, "").start().await;
    let mut client = proxy.client().await;
    client.send("GET /hold HTTP/1.1\r\nHost: t\r\n\r\n").await;
    origin.received(1).await;
    proxy.get("/second").await; // on connection 1
    gate.open();
    client.response().await; // connection 0 is idle later than 1
    proxy.get("/third").await;
    assert_eq!(used(&origin), [0, 1, 0]);
}

#[tokio::test]
async fn a_connection_on_which_the_answer_came_before_the_body_is_not_reused() {
    let origin = origin::speaks(|mut wire, number| async move {
        if wire.head().await.is_err() {
            return;
        }
        wire.send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n{number}"
        ))
        .await;
        wire.rest().await;
    })
    .await;
    let proxy = one_worker(&origin, "body_buffer_size = 0").start().await;
    let mut client = proxy.client().await;
    client
        .send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 100\r\n\r\nhalf")
        .await;
    assert_eq!(client.response().await.text(), "0");
    drop(client);
    assert_eq!(proxy.get("/").await.text(), "1");
}

/// A proxy before an origin whose handshakes wait for the gate; so many clients have begun to
/// connect to it and have left, one after the other.
async fn left_while_connecting(gate: &Gate, clients: usize, upstream: &str) -> (Origin, Proxy) {
    let authority = Authority::new("Specs");
    let own = authority.certificate(&["127.0.0.1"]).server();
    let origin = origin::answers_with_once(gate, own, |_| Answer::ok("hello")).await;
    let setup = one_worker(&origin, upstream).upstream("tls = { ca = \"ca.pem\" }");
    std::fs::write(setup.directory().join("ca.pem"), authority.pem()).unwrap();
    let proxy = setup.more(ADMIN).start().await;
    let in_flight = async |number: u32| {
        eventually(&format!("{number} in flight"), async || {
            proxy.server(origin.address()).await["in_flight"] == number
        })
        .await;
    };
    for _ in 0..clients {
        let mut client = proxy.client().await;
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
        in_flight(1).await;
        drop(client);
        in_flight(0).await;
    }
    (origin, proxy)
}

/// Else clients with less patience than a handshake takes would never get a connection.
#[tokio::test]
async fn a_connection_whose_client_has_left_serves_the_next_one() {
    let gate = Gate::closed();
    let (origin, proxy) = left_while_connecting(&gate, 1, "").await;
    gate.open();
    origin.has_open(1).await;
    assert_eq!(proxy.get("/").await.text(), "hello");
    assert_eq!(origin.connections(), 1);
}

/// Else clients that leave could have us open any number.
#[tokio::test]
async fn of_connections_whose_clients_have_left_one_goes_on() {
    let gate = Gate::closed();
    let (origin, proxy) = left_while_connecting(&gate, 3, "").await;
    gate.open();
    origin.has_open(1).await;
    // Handshakes go on in the order of the connections: this one comes behind those of all three.
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = proxy.client().await;
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
        clients.push(client);
    }
    for client in &mut clients {
        assert_eq!(client.response().await.text(), "hello");
    }
    assert!(origin.connections() <= 2, "{}", origin.connections());
}

#[tokio::test]
async fn with_keepalive_0_no_connection_goes_on_without_its_client() {
    let gate = Gate::closed();
    let (origin, proxy) = left_while_connecting(&gate, 1, "keepalive = 0").await;
    gate.open();
    assert_eq!(proxy.get("/").await.text(), "hello");
    // The handshake of the client that left came first, and was not finished.
    assert_eq!(origin.connections(), 1);
}
