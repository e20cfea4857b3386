//! Servers that speak HTTP/2 badly, or stop: what was not worked on is tried again, and nothing
//! looks whole that is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use waypost_tests::Response;

use super::*;

/// An origin of frames by hand: what it does with each connection, by its number.
pub(super) async fn by_hand<F: Future<Output = ()> + Send + 'static>(
    converse: impl Fn(Raw, usize) -> F + Send + Sync + 'static,
) -> Origin {
    let converse = Arc::new(converse);
    origin::speaks(move |wire, number| {
        let converse = converse.clone();
        async move { converse(Raw::accept(wire, &[]).await, number).await }
    })
    .await
}

/// Waits for a request, and returns its stream.
pub(super) async fn request(raw: &mut Raw) -> Option<u32> {
    loop {
        let frame = raw.next().await?;
        if frame.kind == kind::HEADERS {
            return Some(frame.stream);
        }
    }
}

/// Begins an answer whose body is to follow.
pub(super) async fn begin_answer(raw: &mut Raw, stream: u32) {
    let head = Frame::headers(stream, flag::END_HEADERS, &[(":status", "200")]);
    raw.try_send(head).await;
}

/// Answers a request with a body.
pub(super) async fn answer(raw: &mut Raw, stream: u32, body: &str) {
    begin_answer(raw, stream).await;
    raw.try_send(Frame::data(stream, flag::END_STREAM, body))
        .await;
}

/// Answers every further request with a body.
pub(super) async fn answer_all(mut raw: Raw, body: &str) {
    while let Some(stream) = request(&mut raw).await {
        answer(&mut raw, stream, body).await;
    }
}

pub(super) async fn to(origin: &Origin) -> Proxy {
    before([origin], "").start().await
}

/// A POST in HTTP/1.1, which must not be sent twice unless no server has worked on it.
pub(super) async fn post(proxy: &Proxy) -> Response {
    proxy
        .exchange(
            "POST / HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody",
        )
        .await
}

#[tokio::test]
async fn a_refused_stream_is_tried_again_even_for_a_post() {
    let refusals = Arc::new(AtomicUsize::new(0));
    let refused = refusals.clone();
    let refusing = by_hand(move |mut raw, _| {
        let refused = refused.clone();
        async move {
            while let Some(stream) = request(&mut raw).await {
                refused.fetch_add(1, Ordering::SeqCst);
                raw.try_send(Frame::reset(stream, Reason::REFUSED_STREAM))
                    .await;
            }
        }
    })
    .await;
    let willing = http2::says("willing").await;
    let proxy = proxy::to([&refusing, &willing])
        .upstream("http2 = true")
        .start()
        .await;
    for _ in 0..4 {
        let response = post(&proxy).await;
        assert_eq!((response.status, &*response.text()), (200, "willing"));
    }
    assert!(refusals.load(Ordering::SeqCst) > 0);
    assert_eq!(willing.requests().len(), 4);
}

#[tokio::test]
async fn after_a_goaway_new_exchanges_take_a_new_connection() {
    let origin = by_hand(|mut raw, number| async move {
        if number == 0 {
            let stream = request(&mut raw).await.unwrap();
            raw.send(Frame::goaway(stream, Reason::NO_ERROR)).await;
            answer(&mut raw, stream, "last words").await;
            // Open, but not for further streams.
            while raw.next().await.is_some() {}
        } else {
            answer_all(raw, "new").await;
        }
    })
    .await;
    let proxy = to(&origin).await;
    assert_eq!(post(&proxy).await.text(), "last words");
    for _ in 0..3 {
        assert_eq!(post(&proxy).await.text(), "new");
    }
    assert_eq!(origin.connections(), 2);
}

#[tokio::test]
async fn streams_beyond_the_last_one_of_a_goaway_are_tried_again() {
    let origin = by_hand(|mut raw, number| async move {
        if number == 0 {
            let mut streams = Vec::new();
            while streams.len() < 3 {
                streams.push(request(&mut raw).await.unwrap());
            }
            raw.send(Frame::goaway(streams[0], Reason::NO_ERROR)).await;
            answer(&mut raw, streams[0], "first").await;
            while raw.next().await.is_some() {}
        } else {
            answer_all(raw, "again").await;
        }
    })
    .await;
    let proxy = to(&origin).await;
    let mut client = Http2::connect(proxy.address()).await;
    let answers = posted_at_once(&mut client, 3).await;
    assert_eq!(answers, ["again", "again", "first"]);
}

#[tokio::test]
async fn a_body_of_which_a_part_is_gone_is_not_sent_again() {
    let refusing = by_hand(|mut raw, _| async move {
        while let Some(stream) = request(&mut raw).await {
            raw.until("a part of the body", |frame| {
                frame.kind == kind::DATA && !frame.payload.is_empty()
            })
            .await;
            raw.send(Frame::reset(stream, Reason::REFUSED_STREAM)).await;
        }
    })
    .await;
    let other = http2::says("other").await;
    let proxy = proxy::to([refusing.with(""), other.with("backup = true")])
        .upstream("http2 = true\nbody_buffer_size = 0")
        .start()
        .await;
    let mut client = Http2::connect(proxy.address()).await;
    let mut stream = client.begin("POST", "/", &[]).await;
    stream.send("first half", false);
    let response = stream.response().await;
    assert_eq!(response.status, 502);
    assert!(other.requests().is_empty(), "{:?}", other.requests());
}

#[tokio::test]
async fn a_server_that_dies_before_an_answer_is_a_502_for_a_post_and_retried_for_a_get() {
    let dying = by_hand(|mut raw, _| async move {
        request(&mut raw).await;
    })
    .await;
    let alive = http2::says("alive").await;
    let proxy = proxy::to([&dying, &alive])
        .upstream("http2 = true\nnext_upstream = [\"error\"]")
        .start()
        .await;
    let mut statuses = Vec::new();
    for _ in 0..2 {
        statuses.push(post(&proxy).await.status);
    }
    statuses.sort();
    // It may have worked on it: only the one that went to the other server at once is answered.
    assert_eq!(statuses, [200, 502]);
    for _ in 0..4 {
        assert_eq!(proxy.get("/").await.text(), "alive");
    }
}

#[tokio::test]
async fn a_body_that_is_cut_does_not_look_whole() {
    for how in 0..3 {
        let origin = by_hand(move |mut raw, _| async move {
            while let Some(stream) = request(&mut raw).await {
                let fields = [(":status", "200"), ("content-length", "100")];
                // With a length and without one.
                let fields = if how == 2 { &fields[..1] } else { &fields[..] };
                raw.send(Frame::headers(stream, flag::END_HEADERS, fields))
                    .await;
                raw.send(Frame::data(stream, flag::NONE, "half")).await;
                // So that the half goes on to the client before the end comes; nothing tells that
                // it did.
                pause().await;
                match how {
                    0 => raw.send(Frame::reset(stream, Reason::INTERNAL_ERROR)).await,
                    1 => raw.send(Frame::data(stream, flag::END_STREAM, "")).await,
                    _ => return, // the connection ends
                }
            }
        })
        .await;
        let proxy = to(&origin).await;
        let mut client = proxy.client().await;
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
        let response = client.cut_response().await;
        assert_eq!((response.status, response.complete), (200, false), "{how}");
        let mut client = Http2::connect(proxy.address()).await;
        let request = client.request("GET", "/", &[]);
        let mut stream = client.open(request, true).await;
        let (response, _) = stream.failure().await;
        assert_eq!(response.status, 200, "{how}");
        assert!(client.is_open());
    }
}

#[tokio::test]
async fn answers_that_make_no_sense_are_a_502() {
    let heads: [&[(&str, &str)]; 8] = [
        &[],
        &[("x-a", "b")],
        &[(":status", "abc")],
        &[(":status", "99")],
        &[(":status", "200"), (":status", "200")],
        &[(":status", "200"), ("X-Upper", "a")],
        &[(":status", "200"), ("x-a", "b\r\nc: d")],
        &[(":status", "101")],
    ];
    for head in heads {
        let owned: Vec<(String, String)> = head
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_string()))
            .collect();
        let head_again = owned.clone();
        let origin = by_hand(move |mut raw, _| {
            let owned = owned.clone();
            async move {
                while let Some(stream) = request(&mut raw).await {
                    let fields: Vec<_> = owned
                        .iter()
                        .map(|(name, value)| (&**name, &**value))
                        .collect();
                    raw.try_send(Frame::headers(stream, flag::WHOLE, &fields))
                        .await;
                }
            }
        })
        .await;
        let proxy = to(&origin).await;
        assert_eq!(post(&proxy).await.status, 502, "{head_again:?}");
    }
}

#[tokio::test]
async fn frames_that_make_no_sense_are_a_502() {
    for wrong in [
        Frame::data(1, flag::END_STREAM, "before any head"),
        Frame::new(kind::HEADERS, flag::WHOLE, 1, [0x80]),
        Frame::new(kind::PUSH_PROMISE, flag::END_HEADERS, 1, [0, 0, 0, 2, 0x82]),
        Frame::window_update(0, 0),
        Frame::new(kind::SETTINGS, flag::NONE, 0, [0; 5]),
        Frame::goaway(0, Reason::INTERNAL_ERROR),
    ] {
        let sent = wrong.clone();
        let origin = by_hand(move |mut raw, _| {
            let sent = sent.clone();
            async move {
                if request(&mut raw).await.is_some() {
                    raw.try_send(sent).await;
                    while raw.next().await.is_some() {}
                }
            }
        })
        .await;
        let proxy = to(&origin).await;
        assert_eq!(post(&proxy).await.status, 502, "{wrong:?}");
    }
}

#[tokio::test]
async fn a_server_that_speaks_http_1_only_is_a_502() {
    let origin = origin::speaks(|mut wire, _| async move {
        // What such a server says to a preface.
        let _ = wire.exactly(24).await;
        let _ = wire
            .try_send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .await;
    })
    .await;
    let proxy = to(&origin).await;
    assert_eq!(post(&proxy).await.status, 502);
    assert_eq!(proxy.get("/").await.status, 502);
}

#[tokio::test]
async fn a_server_that_says_nothing_is_a_504() {
    let origin = by_hand(|mut raw, _| async move { while raw.next().await.is_some() {} }).await;
    let proxy = proxy::to([&origin])
        .upstream("http2 = true\nread_timeout = \"300ms\"")
        .start()
        .await;
    assert_eq!(post(&proxy).await.status, 504);
}

#[tokio::test]
async fn a_server_that_takes_no_body_is_a_504() {
    // Its windows stay as they are: 65,535 bytes.
    let origin = by_hand(|mut raw, _| async move { while raw.next().await.is_some() {} }).await;
    let proxy = proxy::to([&origin])
        .upstream("http2 = true\nsend_timeout = \"300ms\"\nbody_buffer_size = 0")
        .start()
        .await;
    let body = "x".repeat(200_000);
    let request = format!(
        "POST / HTTP/1.1\r\nHost: test\r\nConnection: close\r\nContent-Length: 200000\r\n\r\n{body}"
    );
    let mut client = proxy.client().await;
    let _ = client.wire.try_send(request).await;
    assert_eq!(client.response().await.status, 504);
}

#[tokio::test]
async fn a_flood_from_a_server_ends_its_connection_and_harms_nobody() {
    let flooding = by_hand(|mut raw, _| async move {
        if request(&mut raw).await.is_some() {
            for _ in 0..200 {
                raw.flood((0..1000).map(|_| Frame::ping())).await;
            }
        }
    })
    .await;
    let alive = http2::says("alive").await;
    let proxy = before([&flooding, &alive], "read_timeout = \"3s\"")
        .start()
        .await;
    for _ in 0..3 {
        assert_eq!(proxy.get("/").await.text(), "alive");
    }
    flooding.has_open(0).await;
}

#[tokio::test]
async fn a_response_header_with_more_than_we_allow_is_a_502() {
    let origin = http2::answers(|request| match &*request.target {
        "/large" => Answer::ok("hello").header("X-Large", &"x".repeat(200_000)),
        _ => (0..1100).fold(Answer::ok("hello"), |answer, _| answer.header("x", "")),
    })
    .await;
    let proxy = proxy::to([&origin])
        .upstream("http2 = true\nresponse_header_size = \"100k\"")
        .start()
        .await;
    assert_eq!(proxy.get("/large").await.status, 502);
    assert_eq!(proxy.get("/many").await.status, 502);
}

#[tokio::test]
async fn failures_count_as_they_do_for_http_1() {
    let dead = origin::refuses();
    let alive = http2::says("alive").await;
    let proxy = before([dead.with("max_fails = 1"), alive.with("")], "")
        .start()
        .await;
    for _ in 0..6 {
        assert_eq!(post(&proxy).await.text(), "alive");
    }
    proxy
        .log_contains("upstream server temporarily disabled")
        .await;
}
