//! What components get of requests.

use waypost_tests::{Http2, eventually, not_yet, origin};

use super::answered_by_probe;

#[tokio::test]
async fn a_component_sees_a_request_as_a_server_would() {
    let headers =
        "request_headers = { set = { \"X-Set\" = \"$request_method\" } }\npath = \"/seen\"";
    let proxy = answered_by_probe("", headers, "").await;
    let answer = proxy
        .exchange(
            "OPTIONS /seen?a=b%20c HTTP/1.1\r\nHost: app.test:81\r\nX-Own: 1\r\nConnection: close, x-hop\r\n\
             X-Hop: 1\r\nTE: trailers\r\n\r\n",
        )
        .await;
    let text = answer.text();
    assert!(
        text.starts_with("OPTIONS http app.test:81 /seen?a=b%20c\n"),
        "{text}"
    );
    for line in [
        "host: app.test:81",
        "x-own: 1",
        "x-set: OPTIONS",
        "x-real-ip: 127.0.0.1",
        "x-forwarded-proto: http",
    ] {
        assert!(
            text.lines().any(|seen| seen == line),
            "no {line} in\n{text}"
        );
    }
    for name in ["x-hop", "connection", "transfer-encoding"] {
        assert!(!text.contains(&format!("\n{name}:")), "{name} in\n{text}");
    }
}

#[tokio::test]
async fn a_request_that_names_no_host_has_one_for_a_component() {
    let proxy = answered_by_probe("", "", "").await;
    let answer = proxy.exchange("GET /seen HTTP/1.0\r\n\r\n").await;
    assert!(
        answer.text().starts_with("GET http localhost /seen\n"),
        "{}",
        answer.text()
    );
}

#[tokio::test]
async fn a_body_goes_to_a_component_as_it_comes_and_so_does_its_answer() {
    let proxy = answered_by_probe("", "body_buffer_size = \"0\"", "").await;
    let mut client = proxy.client().await;
    client
        .send("POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n5\r\nfirst\r\n")
        .await;
    assert_eq!(
        client.response_head().await.header("transfer-encoding"),
        "chunked"
    );
    assert_eq!(client.wire.exactly(10).await.unwrap(), b"5\r\nfirst\r\n");
    client.send("6\r\nsecond\r\n0\r\nx-sum: 11\r\n\r\n").await;
    let mut rest = Vec::new();
    let trailers = client.wire.chunked(&mut rest).await.unwrap();
    assert_eq!(rest, b"second");
    assert_eq!(trailers.get("x-sum"), Some("11"));
    // The connection is there for another request.
    assert_eq!(client.get("/status/200").await.status, 200);
}

#[tokio::test]
async fn clients_that_send_little_and_slowly_hold_no_instance() {
    let proxy = answered_by_probe("limits = { instances = 1 }", "", "").await;
    let mut slow = proxy.client().await;
    slow.send("POST /echo HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum\r\n\r\n5\r\nfirst\r\n")
        .await;
    let mut slower = proxy.client().await;
    slower
        .send("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 16384\r\n\r\nx")
        .await;
    for _ in 0..3 {
        assert_eq!(proxy.get("/status/200").await.status, 200);
    }
    slow.send("6\r\nsecond\r\n0\r\nx-sum: 11\r\n\r\n").await;
    let answer = slow.response().await;
    assert_eq!(answer.text(), "firstsecond");
    assert_eq!(answer.trailers.get("x-sum"), Some("11"));
    slower.send(vec![b'x'; 16383]).await;
    assert_eq!(slower.response().await.body.len(), 16384);
}

#[tokio::test]
async fn a_component_gets_the_trailers_that_a_server_would() {
    let route = "body_buffer_size = \"0\"\nrequest_headers = { set = { X-Conf = \"1\" }, remove = [\"X-Gone\"] }";
    for route in [route, route.split_once('\n').unwrap().1] {
        let proxy = answered_by_probe("", route, "").await;
        let mut client = proxy.client().await;
        client
            .send("POST /echo HTTP/1.1\r\nHost: test\r\nConnection: x-listed\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
            .await;
        client
            .send("0\r\nX-Conf: 2\r\nX-Gone: 3\r\nX-Listed: 4\r\nX-Other: 5\r\n\r\n")
            .await;
        let answer = client.response().await;
        assert_eq!(answer.text(), "first");
        let trailers = ["x-conf", "x-gone", "x-listed", "x-other"];
        let trailers = trailers.map(|name| answer.trailers.get(name));
        assert_eq!(trailers, [None, None, None, Some("5")]);
    }
}

#[tokio::test]
async fn a_body_goes_through_http2_with_its_trailers() {
    let proxy = answered_by_probe("", "", "").await;
    let mut http2 = Http2::connect(proxy.address()).await;
    let body = vec![b'x'; 300_000];
    assert_eq!(http2.post("/echo", &body).await.body, body);
    let answer = http2.get("/trailers").await;
    assert_eq!(
        (answer.text(), answer.trailers.get("x-sum")),
        ("a body".to_owned(), Some("6"))
    );
}

#[tokio::test]
async fn a_large_body_is_taken_no_faster_than_the_component_takes_it() {
    let proxy = answered_by_probe("", "client_max_body_size = \"0\"", "").await;
    let mut client = proxy.client().await;
    let length = 64 << 20;
    client
        .send(format!(
            "POST /sleep/600000 HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n"
        ))
        .await;
    let body = vec![b'x'; length];
    not_yet(
        "a component that reads nothing has it all",
        client.wire.send(&body),
    )
    .await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_however_it_is_framed() {
    let proxy = answered_by_probe("", "client_max_body_size = \"10\"", "").await;
    let told = proxy
        .exchange("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 11\r\n\r\n")
        .await;
    assert_eq!(told.status, 413);
    let mut client = proxy.client().await;
    client
        .send("POST /sleep/600000 HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\n\r\n")
        .await;
    assert_eq!(client.response().await.status, 413);
}

#[tokio::test]
async fn a_client_that_is_too_slow_with_its_body_is_told_so() {
    let proxy = answered_by_probe("", "client_body_timeout = \"200ms\"", "").await;
    let mut client = proxy.client().await;
    client
        .send("POST /sleep/600000 HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\n12")
        .await;
    assert_eq!(client.response().await.status, 408);
}

#[tokio::test]
async fn a_component_finds_what_its_route_says_in_its_environment() {
    let route = "component = { plugin = \"probe\", environment = { GREETING = \"hello\", NUMBER = \"1\" } }";
    let proxy = answered_by_probe("", route, "").await;
    let text = proxy.get("/environment").await.text();
    assert_eq!(text, "[(\"GREETING\", \"hello\"), (\"NUMBER\", \"1\")]");
}

#[tokio::test]
async fn a_component_asks_the_upstreams_that_its_route_names_and_no_others() {
    let (app, other) = (origin::says("app").await, origin::says("other").await);
    let route = "component = { plugin = \"probe\", upstreams = [\"app\"] }";
    let upstreams = format!(
        "[upstream.app]\nservers = [{}]\n[upstream.other]\nservers = [{}]\n",
        app.with(""),
        other.with("")
    );
    let proxy = answered_by_probe("", route, &upstreams).await;
    assert_eq!(proxy.get("/ask/app/hello").await.text(), "200 app");
    assert_eq!(app.request().target, "/hello");
    for denied in ["other", "127.0.0.1"] {
        let text = proxy.get(&format!("/ask/{denied}/hello")).await.text();
        assert!(text.contains("HttpRequestDenied"), "{text}");
    }
    proxy.log_contains("asked upstream `other`").await;
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn a_client_that_leaves_ends_what_a_component_does_for_it() {
    let gate = waypost_tests::Gate::closed();
    let held = origin::holds(&gate).await;
    let route = "component = { plugin = \"probe\", upstreams = [\"app\"] }";
    let upstream = format!("[upstream.app]\nservers = [{}]\n", held.with(""));
    let proxy = answered_by_probe("", route, &upstream).await;
    let mut client = proxy.client().await;
    client
        .send("GET /ask/app/x HTTP/1.1\r\nHost: test\r\n\r\n")
        .await;
    held.received(1).await;
    drop(client);
    held.has_open(0).await;
    eventually("499", async || super::logged(&proxy) == "499 0\n").await;

    let mut http2 = Http2::connect(proxy.address()).await;
    let request = http2.request("GET", "/ask/app/x", &[]);
    let stream = http2.open(request, true).await;
    held.received(2).await;
    drop(stream);
    held.has_open(0).await;
    gate.open();
    assert_eq!(proxy.get("/status/200").await.status, 200);
}
