//! One connection to a server and many exchanges on it: none of them is disturbed by another one,
//! nor for the connection's end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::upstream_faults::{answer, answer_all, begin_answer, by_hand, post, request, to};
use super::*;

/// A client of frames that opens no window: its responses stay where they are.
async fn reads_nothing(proxy: &Proxy) -> Raw {
    Raw::connect_with(proxy.address(), &[(setting::INITIAL_WINDOW_SIZE, 0)]).await
}

#[tokio::test]
async fn clients_that_read_nothing_do_not_stop_those_that_do() {
    let origin = http2::answers(|request| match &*request.target {
        "/large" => Answer::ok("x".repeat(1_000_000)),
        _ => Answer::ok("small"),
    })
    .await;
    let proxy = to(&origin).await;
    let mut slow = reads_nothing(&proxy).await;
    for stream in (1..100).step_by(2) {
        slow.get(stream, "/large").await;
    }
    origin.received(50).await;
    for _ in 0..10 {
        assert_eq!(proxy.get("/").await.text(), "small");
    }
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn small_messages_that_somebody_does_not_read_end_no_connection() {
    let origin = by_hand(|mut raw, _| async move {
        let stream = request(&mut raw).await.unwrap();
        begin_answer(&mut raw, stream).await;
        // As many as fit into the stream's window.
        raw.flood((0..25_000).map(|_| Frame::data(stream, flag::NONE, "ten bytes.")))
            .await;
        answer_all(raw, "small").await;
    })
    .await;
    let proxy = proxy::to([&origin])
        .server("workers = 1")
        .upstream("http2 = { max_concurrent_streams = 2 }")
        .start()
        .await;
    let mut slow = reads_nothing(&proxy).await;
    slow.get(1, "/").await;
    slow.until_kind(kind::HEADERS).await;
    for _ in 0..10 {
        assert_eq!(proxy.get("/").await.text(), "small");
    }
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn small_messages_that_a_server_does_not_take_end_no_connection_of_a_client() {
    // Its window stays shut.
    let origin = origin::speaks(|wire, _| async move {
        let settings = [(setting::INITIAL_WINDOW_SIZE, 0)];
        let mut raw = Raw::accept(wire, &settings).await;
        while raw.next().await.is_some() {}
    })
    .await;
    let proxy = proxy::to([&origin])
        .upstream("http2 = true\nbody_buffer_size = 0")
        .more(FIXED)
        .start()
        .await;
    let mut raw = Raw::connect(proxy.address()).await;
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "test"),
        (":path", "/"),
    ];
    raw.send(Frame::headers(1, flag::END_HEADERS, &fields))
        .await;
    raw.flood((0..7_000).map(|_| Frame::data(1, flag::NONE, "x")))
        .await;
    raw.get(3, "/fixed").await;
    assert_eq!(raw.outcome(3).await, Outcome::Status(200));
}

#[tokio::test]
async fn a_connection_that_is_to_end_takes_no_exchange_while_others_finish_on_it() {
    let (told, gate) = (Gate::closed(), Gate::closed());
    let gates = (told.clone(), gate.clone());
    let origin = by_hand(move |mut raw, number| {
        let (told, held) = gates.clone();
        async move {
            if number > 0 {
                return answer_all(raw, "new").await;
            }
            let stream = request(&mut raw).await.unwrap();
            raw.send(Frame::goaway(stream, Reason::NO_ERROR)).await;
            // Once this is answered, the proxy knows.
            raw.send(Frame::ping()).await;
            raw.until_kind(kind::PING).await;
            told.open();
            held.opened().await;
            answer(&mut raw, stream, "last words").await;
            while raw.next().await.is_some() {}
        }
    })
    .await;
    let proxy = to(&origin).await;
    let mut client = Http2::connect(proxy.address()).await;
    let long = client.request("GET", "/", &[]);
    let mut long = client.open(long, true).await;
    in_time("the goodbye", told.opened()).await;
    for _ in 0..20 {
        assert_eq!(post(&proxy).await.text(), "new");
    }
    gate.open();
    assert_eq!(long.response().await.text(), "last words");
    assert_eq!(origin.connections(), 2);
}

#[tokio::test]
async fn a_stream_that_a_goaway_includes_is_not_sent_again() {
    let posts = Arc::new(AtomicUsize::new(0));
    let counted = posts.clone();
    let origin = by_hand(move |mut raw, _| {
        let counted = counted.clone();
        async move {
            let stream = request(&mut raw).await.unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            raw.until("the end of the request", |frame| {
                frame.kind == kind::DATA && frame.has(flag::END_STREAM)
            })
            .await;
            raw.send(Frame::goaway(stream, Reason::NO_ERROR)).await;
        }
    })
    .await;
    let other = http2::says("other").await;
    let proxy = before([origin.with(""), other.with("backup = true")], "")
        .start()
        .await;
    assert_eq!(post(&proxy).await.status, 502);
    assert_eq!(posts.load(Ordering::SeqCst), 1);
    assert!(other.requests().is_empty());
}

#[tokio::test]
async fn streams_beyond_a_goaway_are_sent_again_whatever_its_reason() {
    for reason in [Reason::ENHANCE_YOUR_CALM, Reason::INTERNAL_ERROR] {
        let origin = by_hand(move |mut raw, number| async move {
            if number > 0 {
                return answer_all(raw, "again").await;
            }
            let first = request(&mut raw).await.unwrap();
            request(&mut raw).await.unwrap();
            raw.send(Frame::goaway(first, reason)).await;
            answer(&mut raw, first, "first").await;
            while raw.next().await.is_some() {}
        })
        .await;
        let proxy = to(&origin).await;
        let mut client = Http2::connect(proxy.address()).await;
        let answers = posted_at_once(&mut client, 2).await;
        assert_eq!(answers, ["again", "first"], "{reason:?}");
    }
}

#[tokio::test]
async fn exchanges_do_not_wait_for_a_server_that_floods_their_connection() {
    let origin = by_hand(|mut raw, _| async move {
        if request(&mut raw).await.is_some() {
            for _ in 0..200 {
                raw.flood((0..1000).map(|_| Frame::ping())).await;
            }
            raw.wire.rest().await;
        }
    })
    .await;
    let proxy = to(&origin).await;
    // Far sooner than `read_timeout`.
    assert_eq!(post(&proxy).await.status, 502);
    let said = "upstream sent too many frames that carry nothing";
    proxy.log_contains(said).await;
    origin.has_open(0).await;
}

#[tokio::test]
async fn as_many_requests_as_allowed_and_then_another_connection() {
    let origin = http2::says("hello").await;
    let proxy = before([&origin], "keepalive_requests = 3").start().await;
    for _ in 0..7 {
        assert_eq!(post(&proxy).await.text(), "hello");
    }
    let requests = origin.requests();
    let connections: Vec<usize> = requests.iter().map(|request| request.connection).collect();
    assert_eq!(connections, [0, 0, 0, 1, 1, 1, 2]);
    origin.has_open(1).await;
}

#[tokio::test]
async fn a_connection_that_has_had_its_time_finishes_what_is_on_it() {
    let gate = Gate::closed();
    let held = gate.clone();
    let origin = http2::answers(move |request| match &*request.target {
        "/held" => Answer::ok("done").when(&held),
        _ => Answer::ok("hello"),
    })
    .await;
    let proxy = before([&origin], "keepalive_time = \"1s\"").start().await;
    let mut client = Http2::connect(proxy.address()).await;
    let long = client.request("GET", "/held", &[]);
    let mut long = client.open(long, true).await;
    origin.received(1).await;
    outlast(Duration::from_secs(1)).await;
    assert_eq!(post(&proxy).await.text(), "hello");
    assert_eq!(origin.requests()[1].connection, 1);
    gate.open();
    assert_eq!(long.response().await.text(), "done");
    origin.has_open(1).await;
}

#[tokio::test]
async fn a_server_that_does_not_introduce_itself_is_not_waited_for_longer_than_for_a_connection() {
    let origin = origin::speaks(|mut wire, _| async move {
        wire.rest().await;
    })
    .await;
    let proxy = proxy::to([&origin])
        .upstream("http2 = true\nconnect_timeout = \"300ms\"")
        .start()
        .await;
    assert_eq!(post(&proxy).await.status, 504);
    origin.has_open(0).await;
}

#[tokio::test]
async fn settings_are_heeded_once_all_of_them_have_come() {
    let origin = origin::speaks(|mut wire, _| async move {
        wire.exactly(http2::PREFACE.len()).await.unwrap();
        let settings = [
            (setting::MAX_CONCURRENT_STREAMS, 10),
            (setting::ENABLE_CONNECT_PROTOCOL, 1),
        ];
        let bytes = Frame::settings(&settings).bytes();
        wire.send(&bytes[..12]).await;
        // So that the first part is read by itself; nothing tells that it was.
        pause().await;
        wire.send(&bytes[12..]).await;
        let mut raw = Raw::over(wire);
        let stream = request(&mut raw).await.unwrap();
        begin_answer(&mut raw, stream).await;
        while raw.next().await.is_some() {}
    })
    .await;
    let proxy = to(&origin).await;
    let mut client = proxy.client().await;
    client
        .send("GET / HTTP/1.1\r\nHost: t\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        .await;
    assert_eq!(client.response_head().await.status, 101);
}

#[tokio::test]
async fn a_server_that_allows_no_stream_is_waited_for() {
    let origin = origin::speaks(|wire, _| async move {
        let none = [(setting::MAX_CONCURRENT_STREAMS, 0)];
        let mut raw = Raw::accept(wire, &none).await;
        // Lets requests begin to wait for a stream; there is no event for that.
        pause().await;
        let some = [(setting::MAX_CONCURRENT_STREAMS, 5)];
        raw.try_send(Frame::settings(&some)).await;
        answer_all(raw, "at last").await;
    })
    .await;
    let proxy = to(&origin).await;
    for _ in 0..3 {
        assert_eq!(post(&proxy).await.text(), "at last");
    }
}

#[tokio::test]
async fn an_answer_that_comes_before_the_end_of_the_request_is_whole() {
    let origin = by_hand(|mut raw, _| async move {
        while let Some(stream) = request(&mut raw).await {
            // All at once, as servers do that have seen enough (RFC 9113, section 8.1).
            raw.flood([
                Frame::headers(stream, flag::END_HEADERS, &[(":status", "413")]),
                Frame::data(stream, flag::END_STREAM, "too much"),
                Frame::reset(stream, Reason::NO_ERROR),
            ])
            .await;
        }
    })
    .await;
    let proxy = proxy::to([&origin])
        .upstream("http2 = true\nbody_buffer_size = 0")
        .start()
        .await;
    let mut client = Http2::connect(proxy.address()).await;
    for _ in 0..10 {
        let mut stream = client.begin("POST", "/", &[]).await;
        stream.send("first half", false);
        let response = stream.response().await;
        assert_eq!((response.status, &*response.text()), (413, "too much"));
    }
    assert!(client.is_open());
}

#[tokio::test]
async fn a_server_that_reads_nothing_any_more_does_not_keep_its_connection() {
    let origin = origin::speaks(|wire, _| async move {
        let settings = [(setting::INITIAL_WINDOW_SIZE, 0x7fff_ffff)];
        let mut raw = Raw::accept(wire, &settings).await;
        raw.send(Frame::window_update(0, 0x7000_0000)).await;
        request(&mut raw).await;
        std::future::pending::<()>().await;
    })
    .await;
    let proxy = before([&origin], "send_timeout = \"300ms\"\nbody_buffer_size = 0")
        .listen("client_max_body_size = 0")
        .more(FIXED)
        .start()
        .await;
    let mut client = Http2::connect(proxy.address()).await;
    assert_eq!(client.get("/fixed").await.text(), "fixed");
    let before = proxy.descriptors();
    let mut stream = client.begin("POST", "/", &[]).await;
    stream.send("x".repeat(30_000_000), true);
    assert_eq!(stream.response().await.status, 504);
    eventually("the connection to be given up", async || {
        proxy.descriptors() <= before
    })
    .await;
}
