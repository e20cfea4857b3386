//! Deadlines: of a connection without streams, and of each stream.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn an_idle_connection_is_told_and_closed() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin])
        .listen("keepalive_timeout = \"1s\"")
        .start()
        .await;
    let began = Instant::now();
    let mut raw = Raw::connect(proxy.address()).await;
    raw.still_works(1).await;
    assert_eq!(raw.given_up().await, Reason::NO_ERROR);
    assert!(began.elapsed() >= Duration::from_millis(900));
}

#[tokio::test]
async fn a_connection_with_a_stream_under_way_is_not_idle() {
    let (origin, gate) = held().await;
    let proxy = proxy::to([&origin])
        .listen("keepalive_timeout = \"1s\"")
        .start()
        .await;
    let mut client = Http2::connect(proxy.address()).await;
    let request = client.request("GET", "/", &[]);
    let mut stream = client.open(request, true).await;
    outlast(SECOND).await;
    gate.open();
    assert_eq!(stream.response().await.text(), "done");
}

#[tokio::test]
async fn pings_do_not_keep_a_connection_for_ever() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin])
        .listen("keepalive_timeout = \"1s\"")
        .start()
        .await;
    let mut raw = Raw::connect(proxy.address()).await;
    raw.still_works(1).await;
    in_time("the end of a connection that only pings", async {
        while raw.try_send(Frame::ping()).await {
            pause().await;
        }
    })
    .await;
}

#[tokio::test]
async fn as_many_requests_as_allowed_and_then_goodbye() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin])
        .listen("keepalive_requests = 3")
        .start()
        .await;
    let mut raw = Raw::connect(proxy.address()).await;
    for stream in [1, 3, 5] {
        raw.still_works(stream).await;
    }
    assert_eq!(raw.given_up().await, Reason::NO_ERROR);
    assert_eq!(origin.requests().len(), 3);
}

#[tokio::test]
async fn a_connection_that_has_had_its_time_serves_one_more_request_and_says_goodbye() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin])
        .listen("keepalive_time = \"1s\"")
        .start()
        .await;
    let mut raw = Raw::connect(proxy.address()).await;
    raw.still_works(1).await;
    assert!(raw.goaway.is_none());
    outlast(SECOND).await;
    raw.still_works(3).await;
    assert_eq!(raw.given_up().await, Reason::NO_ERROR);
}

#[tokio::test]
async fn a_preface_that_does_not_come_is_not_waited_for() {
    for begun in [&b""[..], b"PRI * HTTP/2.0\r\n\r\n", http2::PREFACE] {
        let origin = origin::says("hello").await;
        let proxy = proxy::to([&origin])
            .listen("client_header_timeout = \"300ms\"")
            .start()
            .await;
        let mut client = proxy.client().await;
        client.send(begun).await;
        client.wire.rest().await;
    }
}

#[tokio::test]
async fn a_header_that_does_not_end_is_not_waited_for() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin])
        .listen("client_header_timeout = \"300ms\"\nkeepalive_timeout = \"1s\"")
        .start()
        .await;
    let mut raw = Raw::connect(proxy.address()).await;
    raw.send(Frame::headers(1, flag::END_STREAM, &[(":method", "GET")]))
        .await;
    raw.wire.rest().await;
}

#[tokio::test]
async fn a_body_that_does_not_come_is_a_408_and_the_other_streams_go_on() {
    for buffer in ["", "body_buffer_size = 0"] {
        let origin = origin::says("hello").await;
        let proxy = proxy::to([&origin])
            .listen("client_body_timeout = \"300ms\"")
            .upstream(buffer)
            .start()
            .await;
        let mut client = Http2::connect(proxy.address()).await;
        let mut stuck = client.begin("POST", "/", &[]).await;
        stuck.send("first half", false);
        match stuck.try_response().await {
            Ok(response) => assert_eq!(response.status, 408),
            Err((_, error)) => assert!(error.is_reset(), "{error}"),
        }
        assert!(origin.requests().is_empty());
        assert_eq!(client.get("/").await.text(), "hello");
    }
}

#[tokio::test]
async fn a_stream_whose_window_stays_shut_ends_and_the_others_go_on() {
    for window in [0, 1] {
        let origin = origin::answers(|_| Answer::ok("x".repeat(1_000_000))).await;
        let proxy = proxy::to([&origin])
            .listen("send_timeout = \"1s\"")
            .start()
            .await;
        let settings = [(setting::INITIAL_WINDOW_SIZE, window)];
        let mut raw = Raw::connect_with(proxy.address(), &settings).await;
        raw.get(1, "/").await;
        raw.get(3, "/").await;
        raw.send(Frame::window_update(3, 30_000)).await;
        assert_eq!(
            raw.until("a head", |frame| frame.kind == kind::HEADERS
                && frame.stream == 1)
                .await
                .status(),
            200
        );
        raw.until("the end of stream 1", |frame| {
            frame.kind == kind::RST_STREAM && frame.stream == 1
        })
        .await;
        // What has a window is served meanwhile and afterwards.
        raw.get(5, "/").await;
        raw.send(Frame::window_update(5, 10)).await;
        raw.until("a part of stream 5", |frame| {
            frame.kind == kind::DATA && frame.stream == 5
        })
        .await;
    }
}

#[tokio::test]
async fn a_client_that_reads_nothing_at_all_is_let_go() {
    let origin = origin::answers(|_| Answer::ok("x".repeat(5_000_000))).await;
    let proxy = proxy::to([&origin])
        .listen("send_timeout = \"400ms\"\nkeepalive_timeout = \"1s\"")
        .start()
        .await;
    let settings = [(setting::INITIAL_WINDOW_SIZE, 0x7fff_ffff)];
    let mut raw = Raw::connect_with(proxy.address(), &settings).await;
    raw.wire.read_little();
    raw.send(Frame::window_update(0, 0x7000_0000)).await;
    for stream in [1, 3, 5] {
        raw.get(stream, "/").await;
    }
    origin.received(3).await;
    // The proxy lets go of the servers, whether the client ever reads or not.
    origin.has_open(0).await;
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_a_504_on_its_stream() {
    let (origin, _gate) = held().await;
    let proxy = proxy::to([&origin])
        .upstream("read_timeout = \"300ms\"")
        .start()
        .await;
    let mut client = Http2::connect(proxy.address()).await;
    assert_eq!(client.get("/").await.status, 504);
    assert_eq!(client.get("/").await.status, 504);
}
