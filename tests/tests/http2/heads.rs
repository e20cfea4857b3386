//! Header fields on their way between the versions, and those that are refused (RFC 9113, section
//! 8).

use super::*;

/// The fields of a valid request, with `change` applied.
fn fields<'a>(change: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let usual = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "test"),
        (":path", "/"),
    ];
    let changed = |name: &str| change.iter().any(|(other, _)| *other == name);
    let kept = usual.into_iter().filter(|(name, _)| !changed(name));
    // Pseudo fields go first; one that is changed to nothing is left out.
    let (pseudo, regular): (Vec<_>, Vec<_>) = change
        .iter()
        .copied()
        .partition(|(name, _)| name.starts_with(':'));
    let pseudo = pseudo.into_iter().filter(|(_, value)| *value != "absent");
    kept.chain(pseudo).chain(regular).collect()
}

/// Sends a request that must not reach the origin, and tells what became of it.
async fn sent(proxy: &Proxy, fields: &[(&str, &str)]) -> Outcome {
    let mut raw = Raw::connect(proxy.address()).await;
    raw.send(Frame::headers(1, flag::WHOLE, fields)).await;
    raw.outcome(1).await
}

/// A request is refused with a 400 or as malformed, and the connection serves others afterwards
/// unless it was given up.
async fn refused(what: &str, change: &[(&str, &str)]) {
    let (origin, proxy) = hello().await;
    let outcome = sent(&proxy, &fields(change)).await;
    let malformed = matches!(
        outcome,
        Outcome::Status(400)
            | Outcome::Reset(Reason::PROTOCOL_ERROR)
            | Outcome::Goaway(Reason::PROTOCOL_ERROR)
    );
    assert!(malformed, "{what}: {outcome:?}");
    assert!(
        origin.requests().is_empty(),
        "{what}: {:?}",
        origin.requests()
    );
    // The refusal is this one's.
    assert_eq!(sent(&proxy, &fields(&[])).await, Outcome::Status(200));
}

#[tokio::test]
async fn hop_by_hop_fields_are_refused() {
    for (name, value) in [
        ("connection", "close"),
        ("connection", "x-secret"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
        ("te", "trailers, gzip"),
    ] {
        refused(&format!("{name}: {value}"), &[(name, value)]).await;
    }
}

#[tokio::test]
async fn methods_with_small_letters_are_refused() {
    for method in ["delete", "Get", "GET1"] {
        refused(method, &[(":method", method)]).await;
    }
}

#[tokio::test]
async fn names_and_values_that_http_1_would_misread_are_refused() {
    for (name, value) in [
        ("X-Upper", "a"),
        ("x space", "a"),
        ("x:colon", "a"),
        ("x\"quote", "a"),
        ("", "a"),
        ("x\r\ny", "a"),
        ("x-a", "b\r\ny: z"),
        ("x-a", "b\nc"),
        ("x-a", "b\rc"),
        ("x-a", "b\0c"),
        (":path", "/ HTTP/1.1\r\nx: y\r\n\r\nGET /"),
        (":path", "/a b"),
        (":path", "/a\tb"),
        (":method", "GET / HTTP/1.1\r\n"),
        (":method", "GET x"),
        (":method", ""),
        (":authority", "a b"),
        (":authority", "te\r\nst"),
        (":authority", "user@test"),
    ] {
        refused(&format!("{name:?}: {value:?}"), &[(name, value)]).await;
    }
}

#[tokio::test]
async fn pseudo_fields_are_complete_single_and_first() {
    refused("no method", &[(":method", "absent")]).await;
    refused("no path", &[(":path", "absent")]).await;
    refused("no scheme", &[(":scheme", "absent")]).await;
    refused("an empty path", &[(":path", "")]).await;
    refused("two methods", &[(":method", "GET"), (":method", "POST")]).await;
    refused("two paths", &[(":path", "/a"), (":path", "/b")]).await;
    refused(
        "two authorities",
        &[(":authority", "a"), (":authority", "b")],
    )
    .await;
    refused("an unknown one", &[(":unknown", "x")]).await;
    refused("one of responses", &[(":status", "200")]).await;
    refused(":protocol without CONNECT", &[(":protocol", "websocket")]).await;
    let late = [
        fields(&[("x-a", "b"), (":path", "absent")]),
        vec![(":path", "/late")],
    ]
    .concat();
    let (origin, proxy) = hello().await;
    let outcome = sent(&proxy, &late).await;
    assert!(
        !matches!(outcome, Outcome::Status(200..=399)),
        "{outcome:?}"
    );
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn a_path_is_absolute() {
    for path in ["relative", "http://other/", "?query", "*"] {
        refused(path, &[(":path", path)]).await;
    }
    // It has no path, and no route is for it, in either version.
    let (_origin, proxy) = hello().await;
    let options = fields(&[(":method", "OPTIONS"), (":path", "*")]);
    assert_eq!(sent(&proxy, &options).await, Outcome::Status(404));
    let request = "OPTIONS * HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
    assert_eq!(proxy.exchange(request).await.status, 404);
}

#[tokio::test]
async fn authority_and_host_agree_or_the_request_is_refused() {
    refused("a conflict", &[("host", "other")]).await;
    refused("neither", &[(":authority", "absent")]).await;
    let two = [(":authority", "absent"), ("host", "test"), ("host", "test")];
    refused("two hosts", &two).await;
    for agreeing in [
        vec![("host", "test")],
        vec![(":authority", "absent"), ("host", "test")],
    ] {
        let (origin, proxy) = hello().await;
        assert_eq!(sent(&proxy, &fields(&agreeing)).await, Outcome::Status(200));
        assert_eq!(origin.request().headers.all("X-Forwarded-Host"), ["test"]);
    }
}

#[tokio::test]
async fn fields_are_counted_as_in_http_1_pseudo_fields_aside() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin]).listen("max_headers = 3").start().await;
    for (extra, status) in [(3, 200), (4, 431)] {
        let names = ["x-a", "x-b", "x-c", "x-d"];
        let sent_fields: Vec<_> = names[..extra].iter().map(|name| (*name, "1")).collect();
        let outcome = sent(&proxy, &fields(&sent_fields)).await;
        assert_eq!(outcome, Outcome::Status(status), "{extra} fields");
    }
    for (lines, status) in [("A: 1\r\n", 200), ("A: 1\r\nB: 1\r\n", 431)] {
        // With `Host` and `Connection`, which count in HTTP/1.1.
        assert_eq!(proxy.get_with("/", lines).await.status, status);
    }
}

#[tokio::test]
async fn fields_of_which_there_is_one_are_given_once() {
    for name in ["authorization", "content-range", "expect", "if-range"] {
        refused(name, &[(name, "100-continue"), (name, "100-continue")]).await;
    }
}

#[tokio::test]
async fn connect_without_a_protocol_is_refused() {
    let (origin, proxy) = hello().await;
    let fields = [(":method", "CONNECT"), (":authority", "test:443")];
    let outcome = sent(&proxy, &fields).await;
    assert!(
        matches!(
            outcome,
            Outcome::Status(400 | 405 | 501) | Outcome::Reset(_)
        ),
        "{outcome:?}"
    );
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn crumbs_of_a_cookie_are_joined() {
    let (origin, proxy) = hello().await;
    let crumbs = fields(&[
        ("cookie", "a=1"),
        ("x-a", "b"),
        ("cookie", "c=2"),
        ("cookie", "d=3"),
    ]);
    assert_eq!(sent(&proxy, &crumbs).await, Outcome::Status(200));
    assert_eq!(origin.request().headers.all("cookie"), ["a=1; c=2; d=3"]);
}

#[tokio::test]
async fn other_fields_arrive_as_they_are_in_number_and_order() {
    let (origin, proxy) = hello().await;
    let request = fields(&[
        ("x-a", "1"),
        ("x-b", ""),
        ("x-a", "2"),
        ("te", "trailers"),
        ("x-c", "\u{e9} \t;"),
    ]);
    assert_eq!(sent(&proxy, &request).await, Outcome::Status(200));
    let request = origin.request();
    assert_eq!(request.headers.all("x-a"), ["1", "2"]);
    assert_eq!(request.headers.all("x-b"), [""]);
    assert_eq!(request.headers.all("x-c"), ["\u{c3}\u{a9} \t;"]);
    let raw = String::from_utf8_lossy(&request.raw_head).to_lowercase();
    assert!(!raw.contains("\r\n:"), "{raw}");
    assert_eq!(raw.matches("\r\nhost:").count(), 1, "{raw}");
}

#[tokio::test]
async fn what_servers_learn_of_the_client_is_the_same_as_in_http_1() {
    let (origin, proxy) = hello().await;
    Http2::connect(proxy.address()).await.get("/").await;
    proxy.get_with("/", "").await;
    let requests = origin.requests();
    for name in [
        "X-Forwarded-For",
        "X-Forwarded-Proto",
        "X-Forwarded-Host",
        "X-Real-IP",
        "Host",
    ] {
        assert_eq!(requests[0].header(name), requests[1].header(name), "{name}");
        assert!(!requests[0].header(name).is_empty(), "{name}");
    }
}

#[tokio::test]
async fn framing_fields_of_http_1_stay_there() {
    let origin = origin::answers(|_| {
        Answer::raw(
            "HTTP/1.1 200 Fine\r\nConnection: keep-alive, X-Hop\r\nX-Hop: gone\r\nKeep-Alive: timeout=5\r\n\
             Proxy-Connection: keep-alive\r\nX-Kept: Value\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
             Trailer: x-check\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-Check: sum\r\n\r\n",
        )
    })
    .await;
    let proxy = proxy::to([&origin]).start().await;
    let response = Http2::connect(proxy.address()).await.get("/").await;
    assert_eq!(response.text(), "abcde");
    for name in [
        "connection",
        "keep-alive",
        "proxy-connection",
        "transfer-encoding",
        "x-hop",
    ] {
        assert_eq!(response.headers.get(name), None, "{name}");
    }
    assert_eq!(response.headers.all("x-kept"), ["Value"]);
    assert_eq!(response.headers.all("set-cookie"), ["a=1", "b=2"]);
    assert_eq!(response.headers.all("date").len(), 1);
    assert_eq!(response.trailers.get("x-check"), Some("sum"));
}

#[tokio::test]
async fn the_servers_date_is_kept() {
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    let origin = origin::answers(move |_| Answer::ok("").header("Date", date)).await;
    let proxy = proxy::to([&origin]).start().await;
    let response = Http2::connect(proxy.address()).await.get("/").await;
    assert_eq!(response.headers.all("date"), [date]);
}

#[tokio::test]
async fn interim_responses_pass() {
    let origin = origin::answers(|_| {
        Answer::raw(
            "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n\
             HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone",
        )
    })
    .await;
    let proxy = proxy::to([&origin]).start().await;
    let mut client = Http2::connect(proxy.address()).await;
    let request = client.request("GET", "/", &[]);
    let mut stream = client.open(request, true).await;
    let interim = stream.interim().await;
    assert_eq!(interim.status, 103);
    assert_eq!(interim.header("link"), "</style.css>; rel=preload");
    assert_eq!(stream.response().await.text(), "done");
}

#[tokio::test]
async fn an_expectation_is_met() {
    let origin = origin::answers(|request| Answer::ok(&request.body)).await;
    let proxy = proxy::to([&origin]).start().await;
    let mut client = Http2::connect(proxy.address()).await;
    let mut stream = client
        .begin("POST", "/", &[("expect", "100-continue")])
        .await;
    assert_eq!(stream.interim().await.status, 100);
    stream.send("as promised", true);
    assert_eq!(stream.response().await.text(), "as promised");
}
