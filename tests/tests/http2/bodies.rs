//! Where a body ends: what HTTP/2 says by its frames and HTTP/1 by its fields must never come to
//! mean two things.

use super::*;

/// A POST with fields and DATA frames, and what became of it.
async fn posted(proxy: &Proxy, fields: &[(&str, &str)], parts: &[&str]) -> Outcome {
    let mut raw = Raw::connect(proxy.address()).await;
    let mut all = vec![
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "test"),
        (":path", "/"),
    ];
    all.extend(fields);
    raw.send(Frame::headers(1, flag::END_HEADERS, &all)).await;
    for (at, part) in parts.iter().enumerate() {
        let last = at + 1 == parts.len();
        let flags = if last { flag::END_STREAM } else { flag::NONE };
        // It may have been refused already.
        raw.try_send(Frame::data(1, flags, part)).await;
    }
    raw.outcome(1).await
}

/// What reached the origin is at most one request, which is not the one in the body.
fn nothing_smuggled(origin: &Origin, what: &str) {
    let requests = origin.requests();
    let smuggled = requests
        .iter()
        .any(|request| request.target.contains("smuggled"));
    assert!(!smuggled && requests.len() <= 1, "{what}: {requests:?}");
}

const SECOND: &str = "GET /smuggled HTTP/1.1\r\nHost: t\r\n\r\n";

#[tokio::test]
async fn a_length_that_the_frames_do_not_keep_is_an_error() {
    for (length, parts) in [
        ("0", vec![SECOND]),
        ("5", vec![SECOND]),
        ("5", vec!["abcd", "ef"]),
        ("5", vec!["abcde", SECOND]),
        ("5", vec!["abcd"]),
        ("1000", vec!["abc", ""]),
    ] {
        for buffer in ["", "body_buffer_size = 0"] {
            let origin = origin::says("hello").await;
            let proxy = proxy::to([&origin]).upstream(buffer).start().await;
            let outcome = posted(&proxy, &[("content-length", length)], &parts).await;
            assert!(
                !matches!(outcome, Outcome::Status(200)),
                "{length}, {parts:?}: {outcome:?}"
            );
            // Without a buffer, a server may have what was right of it before the rest has come.
            let may_have_begun = !buffer.is_empty() && length != "0";
            for request in origin.requests() {
                let is_the_beginning = request.body == b"abcde" && request.target == "/";
                assert!(
                    may_have_begun && is_the_beginning,
                    "{length}, {parts:?}: {request:?}"
                );
            }
        }
    }
}

/// The frames come one by one, and the first ones alone could be a whole request.
#[tokio::test]
async fn a_request_that_says_it_has_no_body_is_whole_once_its_stream_has_ended() {
    for buffer in ["", "body_buffer_size = 0"] {
        let origin = origin::says("hello").await;
        let proxy = proxy::to([&origin]).upstream(buffer).start().await;
        let mut raw = Raw::connect(proxy.address()).await;
        let fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "test"),
            (":path", "/"),
            ("content-length", "0"),
        ];
        raw.send(Frame::headers(1, flag::END_HEADERS, &fields))
            .await;
        // A request behind it is answered: it had its time to be forwarded.
        raw.get(3, "/behind").await;
        assert_eq!(raw.outcome(3).await, Outcome::Status(200));
        let targets = |origin: &Origin| -> Vec<String> {
            let requests = origin.requests();
            requests
                .iter()
                .map(|request| request.target.clone())
                .collect()
        };
        assert_eq!(targets(&origin), ["/behind"]);
        raw.send(Frame::data(1, flag::END_STREAM, "")).await;
        assert_eq!(raw.outcome(1).await, Outcome::Status(200));
        assert_eq!(targets(&origin), ["/behind", "/"]);
    }
}

#[tokio::test]
async fn a_length_that_is_no_number_or_is_said_twice_is_refused() {
    for lengths in [
        vec!["-1"],
        vec!["+5"],
        vec!["5a"],
        vec!["0x5"],
        vec![""],
        vec!["5, 5"],
        vec!["5", "6"],
        vec!["99999999999999999999999"],
    ] {
        let (origin, proxy) = hello().await;
        let fields: Vec<_> = lengths
            .iter()
            .map(|length| ("content-length", *length))
            .collect();
        let outcome = posted(&proxy, &fields, &["abcde"]).await;
        assert!(
            !matches!(outcome, Outcome::Status(200)),
            "{lengths:?}: {outcome:?}"
        );
        assert!(origin.requests().is_empty(), "{lengths:?}");
    }
}

#[tokio::test]
async fn transfer_encoding_never_reaches_a_server() {
    for fields in [
        vec![("transfer-encoding", "chunked")],
        vec![("transfer-encoding", "chunked"), ("content-length", "5")],
        vec![("transfer-encoding", "identity")],
        vec![("x", "y\r\ntransfer-encoding: chunked")],
        vec![("transfer-encoding ", "chunked")],
        vec![("transfer_encoding", "chunked")],
    ] {
        let (origin, proxy) = hello().await;
        posted(&proxy, &fields, &["0\r\n\r\n", SECOND]).await;
        nothing_smuggled(&origin, &format!("{fields:?}"));
        let coding =
            |request: &waypost_tests::Request| request.headers.all("transfer-encoding").len();
        // Our own, at most.
        assert!(origin.requests().iter().all(|request| coding(request) <= 1));
    }
}

#[tokio::test]
async fn a_body_without_a_length_is_one_request_all_the_same() {
    for buffer in ["", "body_buffer_size = 0"] {
        let origin = origin::answers(|request| Answer::ok(&request.body)).await;
        let proxy = proxy::to([&origin]).upstream(buffer).start().await;
        assert_eq!(
            posted(&proxy, &[], &[SECOND, SECOND]).await,
            Outcome::Status(200)
        );
        let request = origin.request();
        assert_eq!(request.body, SECOND.repeat(2).as_bytes());
    }
}

#[tokio::test]
async fn a_get_with_a_body_is_one_request() {
    let origin = origin::answers(|request| Answer::ok(&request.body)).await;
    let proxy = proxy::to([&origin]).start().await;
    let mut client = Http2::connect(proxy.address()).await;
    let mut stream = client.begin("GET", "/", &[]).await;
    stream.send(SECOND, true);
    assert_eq!(stream.response().await.text(), SECOND);
    nothing_smuggled(&origin, "GET");
}

#[tokio::test]
async fn a_body_that_is_cut_is_no_request() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin])
        .upstream("body_buffer_size = 0")
        .start()
        .await;
    let mut client = Http2::connect(proxy.address()).await;
    let mut stream = client.begin("POST", "/", &[]).await;
    stream.send("first half", false);
    eventually("the request to be on its way", async || {
        origin.connections() == 1
    })
    .await;
    stream.reset(Reason::CANCEL);
    origin.has_open(0).await;
    assert!(
        origin.requests().is_empty(),
        "half a body was taken for a whole one"
    );
}

#[tokio::test]
async fn trailers_of_a_request_pass() {
    for buffer in ["", "body_buffer_size = 0"] {
        let origin = origin::says("hello").await;
        let proxy = proxy::to([&origin]).upstream(buffer).start().await;
        let mut client = Http2::connect(proxy.address()).await;
        let mut stream = client.begin("POST", "/", &[("te", "trailers")]).await;
        stream.send("body", false);
        stream.finish(waypost_tests::Fields(vec![("x-sum".into(), "42".into())]).to_map());
        assert_eq!(stream.response().await.status, 200);
        let request = origin.request();
        assert_eq!(request.body, b"body");
        assert_eq!(request.trailers.get("x-sum"), Some("42"), "{buffer:?}");
    }
}

#[tokio::test]
async fn trailers_carry_no_framing_and_no_pseudo_fields() {
    for trailer in [
        (":path", "/smuggled"),
        ("transfer-encoding", "chunked"),
        ("content-length", "100"),
        ("host", "other"),
        ("connection", "close"),
        ("x", "y\r\nz: a"),
    ] {
        let (origin, proxy) = hello().await;
        let mut raw = Raw::connect(proxy.address()).await;
        let fields = [
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "test"),
            (":path", "/"),
        ];
        raw.send(Frame::headers(1, flag::END_HEADERS, &fields))
            .await;
        raw.send(Frame::data(1, flag::NONE, "body")).await;
        raw.try_send(Frame::headers(1, flag::WHOLE, &[trailer]))
            .await;
        raw.outcome(1).await;
        nothing_smuggled(&origin, &format!("{trailer:?}"));
        for request in origin.requests() {
            assert!(request.trailers.0.is_empty(), "{trailer:?}: {request:?}");
        }
    }
}

#[tokio::test]
async fn a_body_larger_than_allowed_is_a_413() {
    let (origin, proxy) = {
        let origin = origin::says("hello").await;
        let proxy = proxy::to([&origin])
            .listen("client_max_body_size = 1000")
            .start()
            .await;
        (origin, proxy)
    };
    assert_eq!(
        posted(&proxy, &[("content-length", "1001")], &[]).await,
        Outcome::Status(413)
    );
    let large = "x".repeat(1001);
    assert_eq!(posted(&proxy, &[], &[&large]).await, Outcome::Status(413));
    assert!(origin.requests().is_empty());
    let allowed = "x".repeat(1000);
    assert_eq!(posted(&proxy, &[], &[&allowed]).await, Outcome::Status(200));
}

#[tokio::test]
async fn a_body_that_grows_too_large_on_its_way_is_no_request_to_either_kind_of_server() {
    for http2 in [false, true] {
        let origin = match http2 {
            true => http2::says("hello").await,
            false => origin::says("hello").await,
        };
        let proxy = proxy::to([&origin])
            .listen("client_max_body_size = 50000")
            .upstream(&format!("body_buffer_size = 1000\nhttp2 = {http2}"))
            .start()
            .await;
        let mut client = Http2::connect(proxy.address()).await;
        let mut stream = client.begin("POST", "/", &[]).await;
        stream.send("x".repeat(40_000), false);
        eventually("the request to be on its way", async || {
            origin.connections() == 1
        })
        .await;
        stream.send("x".repeat(20_000), true);
        assert_eq!(stream.response().await.status, 413);
        assert!(origin.requests().is_empty(), "{:?}", origin.requests());
        assert_eq!(client.get("/").await.text(), "hello");
    }
}

#[tokio::test]
async fn responses_without_a_body_have_none() {
    let origin = origin::answers(|request| match &*request.target {
        "/204" => Answer::raw("HTTP/1.1 204 No Content\r\n\r\n"),
        "/304" => {
            Answer::raw("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: \"a\"\r\n\r\n")
        }
        _ => Answer::ok("12345"),
    })
    .await;
    let proxy = proxy::to([&origin]).start().await;
    let mut client = Http2::connect(proxy.address()).await;
    for (method, target, status, length) in [
        ("HEAD", "/", 200, Some("5")),
        ("GET", "/204", 204, None),
        ("GET", "/304", 304, Some("5")),
    ] {
        let response = client.ask(method, target, &[]).await;
        assert_eq!(
            (response.status, response.body.len()),
            (status, 0),
            "{target}"
        );
        assert_eq!(response.headers.get("content-length"), length, "{target}");
    }
    assert_eq!(client.get("/").await.text(), "12345");
}

#[tokio::test]
async fn a_response_that_ends_with_its_connection_is_whole() {
    let origin =
        origin::answers(|_| Answer::raw("HTTP/1.1 200 OK\r\n\r\nto the end").then_close()).await;
    let proxy = proxy::to([&origin]).start().await;
    let response = Http2::connect(proxy.address()).await.get("/").await;
    assert_eq!(response.text(), "to the end");
}

#[tokio::test]
async fn a_response_that_is_cut_does_not_look_whole() {
    for answer in [
        Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").then_close(),
        Answer::raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n")
            .then_close(),
    ] {
        let origin = origin::answers(move |_| answer.clone()).await;
        let proxy = proxy::to([&origin]).start().await;
        let mut client = Http2::connect(proxy.address()).await;
        let request = client.request("GET", "/", &[]);
        let mut stream = client.open(request, true).await;
        // Where nothing was sent yet, a 502 says it best. A reset may overtake the head at the
        // client.
        match stream.try_response().await {
            Ok(response) => assert_eq!(response.status, 502),
            Err((response, error)) => {
                assert!([200, 0].contains(&response.status), "{response:?}");
                assert!(error.is_reset(), "{error}");
            }
        }
        // One stream's failure is not the others'.
        assert!(client.is_open());
    }
}

#[tokio::test]
async fn a_response_that_is_broken_before_anything_was_sent_is_a_502() {
    let broken = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nzz\r\n";
    let origin = origin::answers(move |_| Answer::raw(broken).then_hang()).await;
    let proxy = proxy::to([&origin]).start().await;
    let response = Http2::connect(proxy.address()).await.get("/").await;
    assert_eq!(response.status, 502);
}
