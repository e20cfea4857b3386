//! What HTTP/1 messages look like on their way through: bodies and their ends, informational
//! answers, trailers, and the headers that belong to one connection only.
//!
//! RFC 9112 sections 6, 7 and 9; RFC 9110 sections 6.5, 7.6.1, 10.1.1 and 15.2.

use std::time::Duration;

use waypost_tests::{Answer, Gate, origin, proxy};

#[tokio::test]
async fn an_http_1_0_connection_is_kept_only_when_asked_for() {
    let origin = origin::says("served").await;
    let proxy = proxy::to([&origin]).start().await;
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(client.response().await.text(), "served");
    client.closed().await;

    let mut client = proxy.client().await;
    client
        .send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        .await;
    let response = client.response().await;
    assert_eq!(
        (response.text().as_str(), response.header("Connection")),
        ("served", "keep-alive")
    );
    client.send("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(client.response().await.text(), "served");
}

#[tokio::test]
async fn an_http_1_0_client_never_sees_chunks() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let origin = origin::answers(move |_| Answer::raw(chunked)).await;
    let proxy = proxy::to([&origin]).start().await;
    let mut client = proxy.client().await;
    client
        .send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        .await;
    let response = client.response().await;
    assert_eq!(
        (
            response.text().as_str(),
            response.headers.get("Transfer-Encoding")
        ),
        ("hello", None)
    );
}

#[tokio::test]
async fn an_answer_to_head_has_no_body_and_keeps_its_length() {
    let origin = origin::answers(|_| Answer::ok("twelve bytes")).await;
    let proxy = proxy::to([&origin]).start().await;
    let mut client = proxy.client().await;
    client.send("HEAD / HTTP/1.1\r\nHost: t\r\n\r\n").await;
    let response = client.response_to_head().await;
    assert_eq!(
        (response.status, response.header("Content-Length")),
        (200, "12")
    );
    // Bytes after the header would be taken for the next answer.
    assert_eq!(client.get("/").await.text(), "twelve bytes");
}

#[tokio::test]
async fn answers_without_a_body_end_with_their_header() {
    let origin = origin::answers(|request| match request.target.as_str() {
        "/204" => Answer::raw("HTTP/1.1 204 No Content\r\n\r\n"),
        "/304" => {
            Answer::raw("HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 12\r\n\r\n")
        }
        _ => Answer::ok("body"),
    })
    .await;
    let proxy = proxy::to([&origin]).start().await;
    let mut client = proxy.client().await;
    let response = client.get("/204").await;
    assert_eq!(
        (response.status, response.headers.get("Transfer-Encoding")),
        (204, None)
    );
    assert_eq!(response.headers.get("Content-Length"), None);
    assert_eq!(client.get("/304").await.status, 304);
    assert_eq!(client.get("/200").await.text(), "body");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let origin = origin::answers(|request| {
        let delay = if request.target == "/1" { 50 } else { 0 };
        Answer::ok(&request.target).after(Duration::from_millis(delay))
    })
    .await;
    let proxy = proxy::to([&origin]).start().await;
    let mut client = proxy.client().await;
    let post = "POST /2 HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello";
    let chunked =
        "POST /3 HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    client
        .send(format!(
            "GET /1 HTTP/1.1\r\nHost: t\r\n\r\n{post}{chunked}GET /4 HTTP/1.1\r\nHost: t\r\n\r\n"
        ))
        .await;
    for target in ["/1", "/2", "/3", "/4"] {
        assert_eq!(client.response().await.text(), target);
    }
}

#[tokio::test]
async fn a_body_that_nobody_reads_is_not_taken_for_a_request() {
    let origin = origin::says("served").await;
    let route = "[[route]]\npath = \"/here\"\nreturn = { status = 200, body = \"answered here\" }";
    let proxy = proxy::to([&origin]).more(route).start().await;
    let body = "GET /smuggled HTTP/1.1\r\nHost: t\r\n\r\n";
    let mut client = proxy.client().await;
    client
        .send(format!(
            "POST /here HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
    assert_eq!(client.response().await.text(), "answered here");
    // Either the connection goes on behind the body, or it ends; nothing else.
    let _ = client
        .wire
        .try_send("GET /next HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
        .await;
    let rest = client.wire.rest().await.got;
    assert!(rest.is_empty() || String::from_utf8_lossy(&rest).ends_with("served"));
    assert!(
        origin
            .requests()
            .iter()
            .all(|request| request.target == "/next"),
        "{:?}",
        origin.requests()
    );
}

#[tokio::test]
async fn a_client_that_expects_100_continue_gets_it() {
    let origin = origin::says("served").await;
    let proxy = proxy::to([&origin]).start().await;
    let mut client = proxy.client().await;
    client
        .send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        .await;
    assert_eq!(client.response_head().await.status, 100);
    client.send("hello").await;
    assert_eq!(client.response().await.text(), "served");
    assert_eq!(origin.request().body, b"hello");
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_no_100_continue() {
    let origin = origin::says("served").await;
    let proxy = proxy::to([&origin]).start().await;
    let mut client = proxy.client().await;
    client
        .send("POST / HTTP/1.0\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nhello")
        .await;
    assert_eq!(client.response().await.status, 200);
}

#[tokio::test]
async fn a_body_that_is_refused_needs_no_100_continue() {
    let origin = origin::says("served").await;
    let proxy = proxy::to([&origin])
        .listen("client_max_body_size = 4")
        .start()
        .await;
    let mut client = proxy.client().await;
    client
        .send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        .await;
    assert_eq!(client.response().await.status, 413);
}

#[tokio::test]
async fn early_hints_are_passed_on_before_the_answer() {
    let gate = Gate::closed();
    let held = gate.clone();
    let origin = origin::speaks(move |mut wire, _| {
        let gate = held.clone();
        async move {
            while wire.head().await.is_ok() {
                wire.send("HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n")
                    .await;
                gate.opened().await;
                wire.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
                    .await;
            }
        }
    })
    .await;
    let proxy = proxy::to([&origin]).start().await;
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
    let hints = client.response_head().await;
    assert_eq!(
        (hints.status, hints.header("Link")),
        (103, "</style.css>; rel=preload")
    );
    gate.open();
    assert_eq!(client.response().await.text(), "hello");
    // HTTP/1.0 knows no informational answers.
    assert_eq!(proxy.exchange("GET / HTTP/1.0\r\n\r\n").await.status, 200);
}

#[tokio::test]
async fn trailers_are_passed_on_both_ways() {
    let answer = "HTTP/1.1 200 OK\r\nTrailer: X-Down\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Down: 2\r\n\r\n";
    let origin = origin::answers(move |_| Answer::raw(answer)).await;
    let proxy = proxy::to([&origin]).start().await;
    let request = "POST / HTTP/1.1\r\nHost: t\r\nTE: trailers\r\nConnection: TE\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nup\r\n0\r\nX-Up: 1\r\n\r\n";
    let response = proxy.exchange(request).await;
    assert_eq!(
        (response.text().as_str(), response.trailers.get("X-Down")),
        ("ok", Some("2"))
    );
    let request = origin.request();
    assert_eq!(request.body, b"up");
    // A body that was kept for a retry has a length by now, and no place for trailers.
    assert!(
        request.trailers.get("X-Up") == Some("1")
            || request.headers.get("Content-Length") == Some("2")
    );
}

#[tokio::test]
async fn chunked_bodies_go_through_both_ways() {
    let origin = origin::speaks(|mut wire, _| async move {
        while let Ok(head) = wire.head().await {
            let mut body = Vec::new();
            if head.fields.get("Content-Length").is_some() {
                return;
            }
            if wire.chunked(&mut body).await.is_err() {
                return;
            }
            wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                .await;
            for part in body.chunks(10_000) {
                wire.send(format!("{:x}\r\n", part.len())).await;
                wire.send(part).await;
                wire.send("\r\n").await;
            }
            wire.send("0\r\n\r\n").await;
        }
    })
    .await;
    let proxy = proxy::to([&origin]).start().await;
    let body: Vec<u8> = (0..300_000u32).map(|n| (n % 251) as u8).collect();
    let mut client = proxy.client().await;
    for _ in 0..2 {
        client
            .send("POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n")
            .await;
        for part in body.chunks(7_000) {
            client
                .send(format!(
                    "{:X};extension=\"quoted; \\\"text\"\r\n",
                    part.len()
                ))
                .await;
            client.send(part).await;
            client.send("\r\n").await;
        }
        client.send("0\r\n\r\n").await;
        assert!(client.response().await.body == body, "the echo differs");
    }
}

#[tokio::test]
async fn chunk_extensions_are_not_passed_on() {
    let origin = origin::speaks(|mut wire, _| async move {
        let Ok(_) = wire.head().await else { return };
        if let Ok(bytes) = wire.until(b"0\r\n\r\n").await {
            let body = String::from_utf8_lossy(&bytes).into_owned();
            wire.send(format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ))
            .await;
        }
    })
    .await;
    let proxy = proxy::to([&origin])
        .upstream("body_buffer_size = 0")
        .start()
        .await;
    let request = "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n3;secret=1\r\nabc\r\n0;x\r\n\r\n";
    assert_eq!(
        proxy.exchange(request).await.text(),
        "3\r\nabc\r\n0\r\n\r\n"
    );
}

#[tokio::test]
async fn bodies_that_end_with_the_connection_go_through() {
    let origin =
        origin::answers(|_| Answer::raw("HTTP/1.0 200 OK\r\nX: y\r\n\r\nto the end").then_close())
            .await;
    let proxy = proxy::to([&origin]).start().await;
    let mut client = proxy.client().await;
    for _ in 0..2 {
        let response = client.get("/").await;
        assert_eq!(
            (response.text().as_str(), response.version.as_str()),
            ("to the end", "HTTP/1.1")
        );
        assert_eq!(response.header("Transfer-Encoding"), "chunked");
    }
}

#[tokio::test]
async fn hop_by_hop_headers_stop_here() {
    let origin = origin::answers(|_| {
        Answer::ok("served")
            .header("Connection", "X-Private, keep-alive")
            .header("X-Private", "1")
            .header("Keep-Alive", "timeout=5")
            .header("Proxy-Authenticate", "Basic")
            .header("X-Public", "2")
    })
    .await;
    let proxy = proxy::to([&origin]).start().await;
    let lines = "Connection: X-Hop, close\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\nTE: gzip\r\nUpgrade: h2c\r\n\
                 Proxy-Authorization: x\r\nX-End: 2\r\n";
    let response = proxy
        .exchange(format!("GET / HTTP/1.1\r\nHost: t\r\n{lines}\r\n"))
        .await;
    assert_eq!(response.header("X-Public"), "2");
    for name in ["X-Private", "Keep-Alive"] {
        assert_eq!(response.headers.get(name), None, "{response:?}");
    }
    let request = origin.request();
    assert_eq!(request.header("X-End"), "2");
    for name in ["X-Hop", "Keep-Alive", "Proxy-Connection", "TE", "Upgrade"] {
        assert_eq!(request.headers.get(name), None, "{request:?}");
    }
}

#[tokio::test]
async fn empty_lines_before_a_request_are_skipped() {
    let origin = origin::says("served").await;
    let proxy = proxy::to([&origin]).start().await;
    let mut client = proxy.client().await;
    assert_eq!(client.get("/").await.text(), "served");
    client.send("\r\n").await;
    assert_eq!(client.get("/").await.text(), "served");
}
