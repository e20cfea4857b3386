//! What one version of HTTP can say and the other cannot: put into other words, or refused, and
//! never an endpoint's fault.

use waypost_tests::Response;

use super::upstream_faults::to;
use super::*;

/// A request in HTTP/1, as it is written, to an endpoint of HTTP/2 that answers everybody.
async fn asked(request: &str) -> (Response, Origin) {
    let origin = http2::says("hello").await;
    let proxy = to(&origin).await;
    let response = proxy.exchange(request).await;
    (response, origin)
}

#[tokio::test]
async fn a_target_that_no_uri_has_is_escaped() {
    let (response, origin) = asked(
        "GET /a\"<b>`{|}^\\[]?q=<\"x\">&`{|}^\\[] HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert_eq!(response.text(), "hello");
    assert_eq!(
        origin.request().target,
        "/a%22%3Cb%3E%60{|}^\\[]?q=%3C%22x%22%3E&%60{|}^\\[]"
    );
}

#[tokio::test]
async fn where_no_host_is_asked_for_the_upstream_is() {
    let (response, origin) = asked("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!(response.text(), "hello");
    assert_eq!(origin.request().header(":authority"), "backend");
}

#[tokio::test]
async fn a_request_that_cannot_be_said_is_the_clients_fault() {
    let servers = [http2::says("hello").await, http2::says("hello").await];
    let proxy = proxy::to(
        servers
            .each_ref()
            .map(|origin| origin.with("max_fails = 1")),
    )
    .server("workers = 1")
    .upstream("http2 = true")
    .start()
    .await;
    // An escape in a host: a URI may have it, but the library cannot put it into `:authority`.
    for _ in 0..4 {
        let request = "GET / HTTP/1.1\r\nHost: a%41b\r\nConnection: close\r\n\r\n";
        assert_eq!(proxy.exchange(request).await.status, 400);
    }
    for _ in 0..4 {
        assert_eq!(proxy.get("/").await.text(), "hello");
    }
    let counts = servers.each_ref().map(|origin| origin.requests().len());
    assert_eq!(counts, [2, 2], "none of them is out of rotation");
}

#[tokio::test]
async fn fields_that_only_http_1_has_do_not_cost_a_client_of_http_2_its_answer() {
    let origin = origin::answers(|_| {
        Answer::ok("hello")
            .header("TE", "gzip")
            .header("Upgrade", "h2c")
            .header("Proxy-Connection", "close")
    })
    .await;
    let proxy = proxy::to([&origin]).start().await;
    let mut client = Http2::connect(proxy.address()).await;
    let response = client.get("/").await;
    assert_eq!(response.text(), "hello");
    for name in ["te", "upgrade", "proxy-connection"] {
        assert_eq!(response.headers.get(name), None, "{name}");
    }
}

#[tokio::test]
async fn the_scheme_that_a_client_claims_is_not_believed() {
    let (origin, proxy) = hello().await;
    let mut raw = Raw::connect(proxy.address()).await;
    let fields = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "test"),
        (":path", "/"),
    ];
    raw.send(Frame::headers(1, flag::WHOLE, &fields)).await;
    assert_eq!(raw.outcome(1).await, Outcome::Status(200));
    assert_eq!(origin.request().header("X-Forwarded-Proto"), "http");
}

#[tokio::test]
async fn trailers_of_a_request_reach_a_server_of_http_2_from_either_version() {
    for buffer in ["", "body_buffer_size = 0"] {
        let origin = http2::says("hello").await;
        let proxy = proxy::to([&origin])
            .upstream("http2 = true")
            .upstream(buffer)
            .start()
            .await;
        let request = "POST / HTTP/1.1\r\nHost: t\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n\
                       4\r\nbody\r\n0\r\nX-Sum: 42\r\nContent-Length: 7\r\nConnection: close\r\nHost: other\r\n\r\n";
        assert_eq!(proxy.exchange(request).await.status, 200);
        let mut client = Http2::connect(proxy.address()).await;
        let mut stream = client.begin("POST", "/", &[]).await;
        stream.send("body", false);
        let trailers = [
            ("x-sum", "42"),
            ("host", "other"),
            ("x-forwarded-for", "192.0.2.1"),
        ];
        let trailers = trailers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        stream.finish(waypost_tests::Fields(trailers.to_vec()).to_map());
        assert_eq!(stream.response().await.status, 200);
        for request in origin.requests() {
            assert_eq!(request.body, b"body");
            let trailers = [("x-sum".to_owned(), "42".to_owned())];
            assert_eq!(request.trailers.0, trailers, "{buffer:?}");
        }
        assert_eq!(origin.requests().len(), 2);
    }
}

#[tokio::test]
async fn bodies_of_responses_that_have_none_end_in_nobodys_hands() {
    let origin = super::upstream_faults::by_hand(|mut raw, _| async move {
        while let Some(frame) = raw.next().await {
            if frame.kind != kind::HEADERS {
                continue;
            }
            let status = ["204", "304"][frame.stream as usize / 2 % 2];
            raw.try_send(Frame::headers(
                frame.stream,
                flag::END_HEADERS,
                &[(":status", status)],
            ))
            .await;
            raw.try_send(Frame::data(frame.stream, flag::END_STREAM, "forged"))
                .await;
        }
    })
    .await;
    let proxy = to(&origin).await;
    let mut client = proxy.client().await;
    for status in [204, 304, 204, 304] {
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
        assert_eq!(client.response().await.status, status);
    }
    let mut client = Http2::connect(proxy.address()).await;
    for status in [204, 304] {
        let response = client.get("/").await;
        assert_eq!((response.status, &*response.text()), (status, ""));
    }
}

#[tokio::test]
async fn interim_responses_without_end_are_a_502() {
    let interim = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(1000);
    let by_one = origin::answers(move |_| Answer::raw(&interim).then_hang()).await;
    let by_two = super::upstream_faults::by_hand(|mut raw, _| async move {
        while let Some(frame) = raw.next().await {
            if frame.kind == kind::HEADERS {
                let interim = || {
                    let fields = [(":status", "103"), ("link", "</a>")];
                    Frame::headers(frame.stream, flag::END_HEADERS, &fields)
                };
                raw.flood((0..1000).map(|_| interim())).await;
            }
        }
    })
    .await;
    for (origin, http2) in [(&by_one, false), (&by_two, true)] {
        let proxy = proxy::to([origin])
            .upstream(&format!("http2 = {http2}"))
            .start()
            .await;
        let mut client = Http2::connect(proxy.address()).await;
        assert_eq!(client.get("/").await.status, 502);
        proxy.log_contains("too many interim responses").await;
    }
}
