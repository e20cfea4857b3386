//! Answers that hooks give in place of a server.

use waypost_tests::{Http2, origin, proxy};

use super::{asked, at_listener, at_route, told};

#[tokio::test]
async fn a_hook_answers_with_status_body_and_headers_and_no_server_is_asked() {
    let origin = origin::says("hello").await;
    let proxy = at_route(proxy::to([&origin])).start().await;
    let response = asked(&proxy, "/", "answer 403 keep out").await;
    assert_eq!(
        (response.status, response.text().as_str()),
        (403, "keep out")
    );
    assert_eq!(response.header("Content-Type"), "text/plain");
    let told = "answer 200 <p> | answer_set Content-Type text/html";
    let response = asked(&proxy, "/", told).await;
    assert_eq!((response.status, response.text().as_str()), (200, "<p>"));
    assert_eq!(response.headers.all("Content-Type"), ["text/html"]);
    let mut http2 = Http2::connect(proxy.address()).await;
    let response = http2
        .ask("GET", "/", &[("x-probe", "answer 418 teapot")])
        .await;
    assert_eq!((response.status, response.text().as_str()), (418, "teapot"));
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn a_listener_s_hook_answers_where_there_is_no_route_as_well() {
    let origin = origin::says("hello").await;
    let proxy = at_listener(proxy::to([&origin]))
        .route("path = \"/only\"")
        .start()
        .await;
    assert_eq!(asked(&proxy, "/", "answer 200 here").await.text(), "here");
}

#[tokio::test]
async fn an_error_without_a_body_is_answered_as_one_of_the_host_s_own() {
    let origin = origin::says("hello").await;
    let proxy = at_route(proxy::to([&origin])).start().await;
    let response = asked(&proxy, "/", "answer 403").await;
    assert_eq!(
        (response.status, response.text().as_str()),
        (403, "403 Forbidden\n")
    );
    let response = asked(&proxy, "/", "answer 204").await;
    assert_eq!((response.status, response.text().as_str()), (204, ""));
    assert!(response.headers.all("Content-Length").is_empty());
}

#[tokio::test]
async fn statuses_that_are_no_answers_fail_the_hook() {
    let origin = origin::says("hello").await;
    let proxy = at_route(proxy::to([&origin])).start().await;
    for status in ["100", "199", "600", "0"] {
        let response = asked(&proxy, "/", &format!("answer {status} no")).await;
        assert_eq!(response.status, 500, "{status}");
        proxy
            .log_contains("answered `answer` without `changes.answer`")
            .await;
        next_instance(&proxy).await;
    }
}

/// Waits until the hook is back after a fault.
async fn next_instance(proxy: &waypost_tests::Proxy) {
    waypost_tests::eventually("the next instance", async || {
        proxy.get("/").await.status == 200
    })
    .await;
}

#[tokio::test]
async fn a_head_request_gets_the_head_of_a_hook_s_answer() {
    let origin = origin::says("hello").await;
    let proxy = at_route(proxy::to([&origin])).start().await;
    let mut client = proxy.client().await;
    let head = told("answer 200 four");
    client
        .send(format!("HEAD / HTTP/1.1\r\nHost: test\r\n{head}\r\n"))
        .await;
    let response = client.response_to_head().await;
    assert_eq!(
        (response.status, response.header("Content-Length")),
        (200, "4")
    );
    // Nothing stands between it and the next answer.
    assert_eq!(client.get("/").await.text(), "hello");
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_a_hook_s_answer() {
    let origin = origin::says("hello").await;
    let proxy = at_route(proxy::to([&origin])).start().await;
    let head = format!("GET / HTTP/1.0\r\n{}\r\n", told("answer 200 old"));
    let response = proxy.exchange(head).await;
    assert_eq!((response.status, response.text().as_str()), (200, "old"));
    assert_eq!(response.header("Content-Length"), "3");
}

#[tokio::test]
async fn a_connection_stays_usable_behind_an_answer_that_came_before_the_body() {
    let origin = origin::says("hello").await;
    let proxy = at_route(proxy::to([&origin])).start().await;
    let mut client = proxy.client().await;
    for framing in ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"] {
        let head = told("answer 403 no");
        client
            .send(format!(
                "POST / HTTP/1.1\r\nHost: test\r\n{framing}{head}\r\n"
            ))
            .await;
        client
            .send(if framing.starts_with('C') {
                "hello"
            } else {
                "5\r\nhello\r\n0\r\n\r\n"
            })
            .await;
        assert_eq!(client.response().await.status, 403);
        assert_eq!(client.get("/").await.text(), "hello");
    }
    assert_eq!(origin.requests().len(), 2);
}

#[tokio::test]
async fn a_client_that_expects_100_continue_gets_the_answer_instead() {
    let origin = origin::says("hello").await;
    let proxy = at_route(proxy::to([&origin])).start().await;
    let mut client = proxy.client().await;
    let head = told("answer 403 no");
    let expect = "Expect: 100-continue\r\nContent-Length: 5\r\n";
    client
        .send(format!(
            "POST / HTTP/1.1\r\nHost: test\r\n{expect}{head}\r\n"
        ))
        .await;
    let response = client.response_head().await;
    assert_eq!(response.status, 403);
    // One that is let through is asked for its body by the server, or by the host.
    let mut client = proxy.client().await;
    client
        .send(format!("POST / HTTP/1.1\r\nHost: test\r\n{expect}\r\n"))
        .await;
    assert_eq!(client.response_head().await.status, 100);
    client.send("hello").await;
    assert_eq!(client.response().await.text(), "hello");
}

#[tokio::test]
async fn a_444_closes_the_connection_without_an_answer_or_resets_the_stream() {
    let origin = origin::says("hello").await;
    let proxy = at_route(proxy::to([&origin])).start().await;
    let mut client = proxy.client().await;
    let head = told("answer 444 nothing");
    client
        .send(format!("GET / HTTP/1.1\r\nHost: test\r\n{head}\r\n"))
        .await;
    client.closed().await;
    let mut http2 = Http2::connect(proxy.address()).await;
    let mut stream = http2.begin("GET", "/", &[("x-probe", "answer 444")]).await;
    assert!(stream.try_head().await.is_err());
    assert_eq!(http2.get("/").await.text(), "hello");
}

#[tokio::test]
async fn a_grpc_call_is_told_of_an_error_without_a_body_in_its_own_way() {
    let origin = origin::says("hello").await;
    let proxy = at_route(proxy::to([&origin])).start().await;
    let mut http2 = Http2::connect(proxy.address()).await;
    let lines = [
        ("content-type", "application/grpc"),
        ("x-probe", "answer 403 | answer_set X-Seen yes"),
    ];
    let mut stream = http2.begin("POST", "/service/method", &lines).await;
    stream.send("", true);
    let response = stream.response().await;
    assert_eq!(
        (response.status, response.header("grpc-status")),
        (200, "7")
    );
    assert_eq!(response.header("X-Seen"), "yes");
}
