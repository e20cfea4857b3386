//! Servers that are spoken to in HTTP/2: many exchanges on few connections.

use super::*;

/// A proxy of one worker, so that connections can be counted, to servers that speak HTTP/2.
async fn to(servers: &[&Origin], upstream: &str) -> Proxy {
    before(servers.iter().copied(), upstream).start().await
}

/// An HTTP/2 origin that holds its answers.
async fn held_http2(settings: h2::server::Builder) -> (Origin, Gate) {
    let gate = Gate::closed();
    let held = gate.clone();
    let origin = http2::answers_with(settings, move |_| Answer::ok("done").when(&held)).await;
    (origin, gate)
}

/// Starts that many requests at once, each on a connection of its own in HTTP/1.1.
async fn at_once(proxy: &Proxy, number: usize) -> Vec<waypost_tests::Client> {
    let mut clients = Vec::new();
    for _ in 0..number {
        let mut client = proxy.client().await;
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
        clients.push(client);
    }
    clients
}

#[tokio::test]
async fn a_request_of_http_1_becomes_one_of_http_2() {
    let origin =
        http2::answers(|request| Answer::ok(&request.body).header("X-From", "origin")).await;
    let proxy = to(&[&origin], "").await;
    let response = proxy
        .exchange(
            "POST /a?b HTTP/1.1\r\nHost: Test:80\r\nX-A: 1\r\nx-a: 2\r\nConnection: close, X-Hop\r\nX-Hop: gone\r\n\
             Keep-Alive: timeout=1\r\nTE: trailers, gzip\r\nCookie: a=1; b=2\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        )
        .await;
    assert_eq!((response.status, &*response.text()), (200, "body"));
    assert_eq!(response.header("X-From"), "origin");
    let request = origin.request();
    assert_eq!(
        (&*request.method, &*request.target, &*request.version),
        ("POST", "/a?b", "HTTP/2.0")
    );
    assert_eq!(request.headers.all("x-a"), ["1", "2"]);
    assert_eq!(request.headers.all("cookie"), ["a=1; b=2"]);
    for name in [
        "connection",
        "keep-alive",
        "transfer-encoding",
        "x-hop",
        "upgrade",
    ] {
        assert_eq!(request.headers.get(name), None, "{name}");
    }
    assert!(
        ["", "trailers"].contains(&request.header("te")),
        "{}",
        request.header("te")
    );
    assert!(
        !request.header(":authority").is_empty(),
        "{:?}",
        request.headers
    );
    assert_eq!(
        request.headers.get("host"),
        None,
        "said once, by :authority"
    );
    assert_eq!(request.body, b"body");
}

#[tokio::test]
async fn http_2_on_both_sides() {
    let origin = http2::answers(|request| Answer::ok(&request.body)).await;
    let proxy = to(&[&origin], "").await;
    let mut client = Http2::connect(proxy.address()).await;
    let body = "x".repeat(900_000);
    assert!(client.post("/", &body).await.text() == body);
    assert_eq!(client.get("/").await.text(), "");
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn exchanges_share_a_connection() {
    let (origin, gate) = held_http2(h2::server::Builder::new()).await;
    let proxy = to(&[&origin], "").await;
    let mut clients = at_once(&proxy, 40).await;
    origin.received(40).await;
    // Some may have begun before the first connection stood.
    assert!(
        origin.connections() <= 2,
        "{} connections",
        origin.connections()
    );
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response().await.text(), "done");
    }
}

#[tokio::test]
async fn no_more_streams_than_the_server_allows() {
    let mut settings = h2::server::Builder::new();
    settings.max_concurrent_streams(5);
    let (origin, gate) = held_http2(settings).await;
    let proxy = to(&[&origin], "").await;
    let mut clients = at_once(&proxy, 20).await;
    origin.received(20).await;
    assert!(
        origin.connections() >= 4,
        "{} connections",
        origin.connections()
    );
    for connection in 0..origin.connections() {
        let requests = origin.requests();
        let here = requests
            .iter()
            .filter(|request| request.connection == connection);
        assert!(here.count() <= 5);
    }
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response().await.text(), "done");
    }
}

#[tokio::test]
async fn no_more_streams_than_the_configuration_allows() {
    let (origin, gate) = held_http2(h2::server::Builder::new()).await;
    let proxy = proxy::to([&origin])
        .server("workers = 1")
        .upstream("http2 = { max_concurrent_streams = 4 }")
        .start()
        .await;
    let mut clients = at_once(&proxy, 12).await;
    origin.received(12).await;
    assert!(
        origin.connections() >= 3,
        "{} connections",
        origin.connections()
    );
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response().await.text(), "done");
    }
}

#[tokio::test]
async fn least_conn_counts_exchanges_and_not_connections() {
    let (a, gate) = held_http2(h2::server::Builder::new()).await;
    let held = gate.clone();
    let b = http2::answers(move |_| Answer::ok("done").when(&held)).await;
    let proxy = to(&[&a, &b], "policy = \"least_conn\"").await;
    let mut client = Http2::connect(proxy.address()).await;
    let mut streams = Vec::new();
    for number in 1..=10 {
        let request = client.request("GET", "/", &[]);
        streams.push(client.open(request, true).await);
        eventually("the request to arrive", async || {
            a.requests().len() + b.requests().len() == number
        })
        .await;
    }
    assert_eq!((a.requests().len(), b.requests().len()), (5, 5));
    gate.open();
    for stream in &mut streams {
        assert_eq!(stream.response().await.text(), "done");
    }
}

#[tokio::test]
async fn max_conns_bounds_exchanges() {
    let (origin, gate) = held_http2(h2::server::Builder::new()).await;
    let proxy = before([origin.with("max_conns = 2")], "").start().await;
    let mut clients = at_once(&proxy, 2).await;
    origin.received(2).await;
    assert_eq!(proxy.get("/").await.status, 502);
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response().await.text(), "done");
    }
}

#[tokio::test]
async fn trailers_and_interim_responses_come_through() {
    let origin = http2::serves(h2::server::Builder::new(), |mut exchange| async move {
        exchange.read().await;
        let hints = http::Response::builder()
            .status(103)
            .header("link", "</a>")
            .body(())
            .unwrap();
        exchange.respond.send_informational(hints).unwrap();
        let mut body = exchange.begin(200, &[("trailer", "x-sum")]).unwrap();
        body.send_data("body".into(), false).unwrap();
        body.send_trailers(waypost_tests::Fields(vec![("x-sum".into(), "7".into())]).to_map())
            .unwrap();
    })
    .await;
    let proxy = to(&[&origin], "").await;

    let mut client = Http2::connect(proxy.address()).await;
    let request = client.request("GET", "/", &[("te", "trailers")]);
    let mut stream = client.open(request, true).await;
    assert_eq!(stream.interim().await.header("link"), "</a>");
    let response = stream.response().await;
    assert_eq!(
        (&*response.text(), response.trailers.get("x-sum")),
        ("body", Some("7"))
    );

    let mut client = proxy.client().await;
    client
        .send("GET / HTTP/1.1\r\nHost: test\r\nTE: trailers\r\nConnection: TE\r\n\r\n")
        .await;
    let interim = client.response_head().await;
    assert_eq!((interim.status, interim.header("link")), (103, "</a>"));
    let response = client.response().await;
    assert_eq!(
        (&*response.text(), response.trailers.get("x-sum")),
        ("body", Some("7"))
    );
}

#[tokio::test]
async fn responses_without_a_body_end_at_once() {
    let origin = http2::answers(|request| match &*request.target {
        "/204" => Answer::raw("HTTP/1.1 204 No Content\r\n\r\n"),
        "/304" => Answer::raw("HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\n\r\n"),
        _ => Answer::ok("12345"),
    })
    .await;
    let proxy = to(&[&origin], "").await;
    let mut client = proxy.client().await;
    for (method, target, status) in [
        ("GET", "/204", 204),
        ("GET", "/304", 304),
        ("HEAD", "/", 200),
    ] {
        client
            .send(format!("{method} {target} HTTP/1.1\r\nHost: test\r\n\r\n"))
            .await;
        assert_eq!(client.response_to_head().await.status, status);
    }
    assert_eq!(client.get("/").await.text(), "12345");
}

#[tokio::test]
async fn a_slow_client_of_one_exchange_does_not_stop_the_others() {
    let origin = http2::answers(|request| match &*request.target {
        "/large" => Answer::ok("x".repeat(20_000_000)),
        _ => Answer::ok("small"),
    })
    .await;
    let proxy = to(&[&origin], "").await;
    let mut slow = proxy.client().await;
    slow.wire.read_little();
    slow.send("GET /large HTTP/1.1\r\nHost: test\r\n\r\n").await;
    assert_eq!(slow.response_head().await.status, 200);
    for _ in 0..20 {
        assert_eq!(proxy.get("/").await.text(), "small");
    }
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_time() {
    let origin = http2::says("hello").await;
    let proxy = to(&[&origin], "keepalive_timeout = \"1s\"").await;
    assert_eq!(proxy.get("/").await.text(), "hello");
    assert_eq!(proxy.get("/").await.text(), "hello");
    assert_eq!(origin.connections(), 1);
    origin.has_open(0).await;
    assert_eq!(proxy.get("/").await.text(), "hello");
    assert_eq!(origin.connections(), 2);
}

#[tokio::test]
async fn a_client_that_leaves_resets_its_stream_and_no_other() {
    let (origin, gate) = held_http2(h2::server::Builder::new()).await;
    let proxy = to(&[&origin], "").await;
    let mut clients = at_once(&proxy, 2).await;
    origin.received(2).await;
    drop(clients.remove(0));
    gate.open();
    assert_eq!(clients[0].response().await.text(), "done");
}

#[tokio::test]
async fn a_request_given_up_by_its_client_is_given_up_at_the_server() {
    let reset = Gate::closed();
    let noticed = reset.clone();
    let origin = http2::serves(h2::server::Builder::new(), move |mut exchange| {
        let noticed = noticed.clone();
        async move {
            exchange.record();
            if exchange.given_up().await.is_some() {
                noticed.open();
            }
        }
    })
    .await;
    let proxy = to(&[&origin], "").await;
    let clients = at_once(&proxy, 1).await;
    origin.received(1).await;
    drop(clients);
    in_time("the reset", reset.opened()).await;
}

#[tokio::test]
async fn without_the_key_servers_are_spoken_to_in_http_1() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin]).start().await;
    Http2::connect(proxy.address()).await.get("/").await;
    assert_eq!(origin.request().version, "HTTP/1.1");
}

/// Such an answer says neither its length nor that there is a body: what the client gets has to.
#[tokio::test]
async fn an_answer_that_ends_with_its_header_is_framed_for_a_client_of_http_1() {
    let origin = http2::serves(h2::server::Builder::new(), |mut exchange| async move {
        exchange.read().await;
        let mut answer = http::Response::builder().status(200);
        answer = answer.header("x-target", exchange.request.target.as_str());
        let _ = exchange
            .respond
            .send_response(answer.body(()).unwrap(), true);
    })
    .await;
    let proxy = to(&[&origin], "").await;
    let mut client = proxy.client().await;
    for target in ["/first", "/second"] {
        let response = client.get(target).await;
        assert_eq!(
            (response.header("x-target"), &*response.text()),
            (target, "")
        );
    }
    let response = proxy
        .exchange("GET /last HTTP/1.0\r\nHost: t\r\n\r\n")
        .await;
    assert_eq!(
        (response.header("x-target"), &*response.text()),
        ("/last", "")
    );
}

/// The upload then finds that its stream has ended. That is no idle connection that was closed
/// meanwhile, which would give the try back.
#[tokio::test]
async fn a_stream_that_is_reset_while_the_request_goes_up_is_not_asked_for_ever() {
    let requests = Arc::new(AtomicUsize::new(0));
    let seen = requests.clone();
    let origin = origin::speaks(move |wire, _| {
        let seen = seen.clone();
        async move {
            // A window that the body does not fit into.
            let mut raw = Raw::accept(wire, &[(setting::INITIAL_WINDOW_SIZE, 1000)]).await;
            while let Some(frame) = raw.next().await {
                match frame.kind {
                    kind::HEADERS if frame.has(flag::END_STREAM) => {
                        let answer = [(":status", "204")];
                        let flags = flag::END_HEADERS | flag::END_STREAM;
                        raw.send(Frame::headers(frame.stream, flags, &answer)).await;
                    }
                    kind::DATA => {
                        seen.fetch_add(1, Relaxed);
                        raw.send(Frame::reset(frame.stream, Reason::INTERNAL_ERROR))
                            .await;
                    }
                    _ => {}
                }
            }
        }
    })
    .await;
    let proxy = to(&[&origin], "").await;
    // So that the connection is one that other requests were on.
    assert_eq!(proxy.get("/").await.status, 204);
    let body = "x".repeat(8000);
    let head = "PUT / HTTP/1.1\r\nHost: t\r\nContent-Length: 8000\r\n\r\n";
    assert_eq!(proxy.exchange(format!("{head}{body}")).await.status, 502);
    assert_eq!(requests.load(Relaxed), 1);
}
