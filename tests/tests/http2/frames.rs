//! Frames that no peer should send: each ends its stream or its connection with the reason that RFC
//! 9113 names.

use super::*;

/// Sends frames after an ordinary start, and returns the reason for which the connection was given
/// up.
async fn given_up(frames: impl IntoIterator<Item = Frame>) -> Reason {
    let (origin, proxy) = hello().await;
    let mut raw = Raw::connect(proxy.address()).await;
    raw.flood(frames).await;
    let reason = raw.given_up().await;
    assert!(origin.requests().is_empty(), "{:?}", origin.requests());
    // Other connections go on.
    assert_eq!(
        Http2::connect(proxy.address()).await.get("/").await.text(),
        "hello"
    );
    reason
}

/// The first frame of a request with a body.
fn post(stream: u32) -> Frame {
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "test"),
        (":path", "/"),
    ];
    Frame::headers(stream, flag::END_HEADERS, &fields)
}

fn with_length(length: u32, kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = length.to_be_bytes()[1..].to_vec();
    bytes.extend([kind, 0]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

#[tokio::test]
async fn frames_above_the_size_that_we_allow() {
    for kind in [kind::DATA, kind::HEADERS, kind::SETTINGS, 0x77] {
        let (_origin, proxy) = hello().await;
        let mut raw = Raw::connect(proxy.address()).await;
        let stream = u32::from(kind != kind::SETTINGS && kind != 0x77);
        if kind == kind::DATA {
            raw.send(post(1)).await;
        }
        // The default: 16,384.
        let _ = raw
            .wire
            .try_send(with_length(16_385, kind, stream, &[0; 16_385]))
            .await;
        assert_eq!(
            raw.given_up().await,
            Reason::FRAME_SIZE_ERROR,
            "type {kind}"
        );
    }
}

#[tokio::test]
async fn frames_of_the_wrong_size() {
    for (kind, stream, length) in [
        (kind::SETTINGS, 0, 5),
        (kind::PING, 0, 7),
        (kind::WINDOW_UPDATE, 0, 3),
        (kind::GOAWAY, 0, 7),
        (kind::RST_STREAM, 1, 3),
    ] {
        let mut frames = vec![Frame::new(kind, flag::NONE, stream, vec![0; length])];
        if stream == 1 {
            frames.insert(0, post(1));
        }
        let reason = given_up(frames).await;
        // h2 calls a short GOAWAY a bad frame like any other.
        let expected = [Reason::FRAME_SIZE_ERROR, Reason::PROTOCOL_ERROR];
        assert!(expected.contains(&reason), "type {kind}: {reason:?}");
    }
}

#[tokio::test]
async fn frames_on_the_wrong_stream() {
    for frame in [
        Frame::data(0, flag::NONE, "x"),
        Frame::headers(0, flag::WHOLE, &[(":method", "GET")]),
        Frame::reset(0, Reason::CANCEL),
        Frame::new(kind::SETTINGS, flag::NONE, 1, []),
        Frame::new(kind::PING, flag::NONE, 1, [0; 8]),
        Frame::new(kind::GOAWAY, flag::NONE, 1, [0; 8]),
        // For streams that were never opened.
        Frame::data(1, flag::END_STREAM, "x"),
        Frame::reset(1, Reason::CANCEL),
        Frame::window_update(1, 1),
        // Of streams that only a server may open.
        Frame::headers(
            2,
            flag::WHOLE,
            &[
                (":method", "GET"),
                (":scheme", "http"),
                (":authority", "t"),
                (":path", "/"),
            ],
        ),
        Frame::new(kind::PUSH_PROMISE, flag::END_HEADERS, 1, [0, 0, 0, 2]),
    ] {
        assert_eq!(
            given_up([frame.clone()]).await,
            Reason::PROTOCOL_ERROR,
            "{frame:?}"
        );
    }
}

#[tokio::test]
async fn stream_numbers_that_go_backwards() {
    let (_origin, proxy) = hello().await;
    let mut raw = Raw::connect(proxy.address()).await;
    raw.get(5, "/").await;
    assert_eq!(raw.outcome(5).await, Outcome::Status(200));
    raw.get(3, "/").await;
    let reason = raw.given_up().await;
    assert!(
        [Reason::PROTOCOL_ERROR, Reason::STREAM_CLOSED].contains(&reason),
        "{reason:?}"
    );
}

#[tokio::test]
async fn header_blocks_that_are_interrupted_or_continue_nothing() {
    let begun = |stream| Frame::headers(stream, flag::END_STREAM, &[(":method", "GET")]);
    for frames in [
        vec![begun(1), Frame::ping()],
        vec![begun(1), Frame::data(1, flag::NONE, "x")],
        vec![
            begun(1),
            Frame::headers(3, flag::WHOLE, &[(":method", "GET")]),
        ],
        vec![
            begun(1),
            Frame::new(kind::CONTINUATION, flag::END_HEADERS, 3, []),
        ],
        vec![Frame::new(kind::CONTINUATION, flag::END_HEADERS, 1, [])],
    ] {
        assert_eq!(
            given_up(frames.clone()).await,
            Reason::PROTOCOL_ERROR,
            "{frames:?}"
        );
    }
}

#[tokio::test]
async fn header_blocks_that_cannot_be_decoded() {
    for garbage in [
        // An index that no table has.
        vec![0xff, 0xff, 0xff, 0x0f],
        vec![0x80],
        // A dynamic entry, and there is none.
        vec![0xbe],
        // A string longer than the block.
        vec![0x00, 0x7f, 0x00, b'a'],
        // Huffman code that ends in the middle of nothing.
        vec![0x00, 0x84, 0xff, 0xff, 0xff, 0xff, 0x01, b'a'],
        // A table larger than we allow.
        vec![0x3f, 0xff, 0xff, 0xff, 0x7f],
        // An integer without end.
        vec![
            0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00,
        ],
    ] {
        let frame = Frame::new(kind::HEADERS, flag::WHOLE, 1, &garbage);
        let given = given_up([frame]).await;
        // h2 calls some of them PROTOCOL_ERROR; the connection, whose tables are lost, ends in any
        // case.
        let expected = [Reason::COMPRESSION_ERROR, Reason::PROTOCOL_ERROR];
        assert!(expected.contains(&given), "{garbage:02x?}: {given:?}");
    }
}

#[tokio::test]
async fn padding_that_is_longer_than_its_frame() {
    let data = Frame::data(1, flag::PADDED, [10, 0, 0]);
    assert_eq!(given_up([post(1), data]).await, Reason::PROTOCOL_ERROR);
    let headers = Frame::new(kind::HEADERS, flag::WHOLE | flag::PADDED, 1, [200, 0]);
    assert_eq!(given_up([headers]).await, Reason::PROTOCOL_ERROR);
}

#[tokio::test]
async fn padding_is_no_part_of_the_body() {
    let origin = origin::answers(|request| Answer::ok(&request.body)).await;
    let proxy = proxy::to([&origin]).start().await;
    let mut raw = Raw::connect(proxy.address()).await;
    raw.send(post(1)).await;
    raw.send(Frame::data(
        1,
        flag::PADDED | flag::END_STREAM,
        [2, b'o', b'k', 0, 0],
    ))
    .await;
    assert_eq!(raw.outcome(1).await, Outcome::Status(200));
    assert_eq!(raw.until_kind(kind::DATA).await.payload, b"ok");
}

#[tokio::test]
async fn windows_that_overflow() {
    assert_eq!(
        given_up([Frame::window_update(0, 0x7fff_ffff)]).await,
        Reason::FLOW_CONTROL_ERROR
    );
    assert_eq!(
        given_up([Frame::window_update(0, 0)]).await,
        Reason::PROTOCOL_ERROR
    );
    let (_origin, proxy) = hello().await;
    let mut raw = Raw::connect(proxy.address()).await;
    raw.send(post(1)).await;
    raw.send(Frame::window_update(1, 0x7fff_ffff)).await;
    let outcome = raw.outcome(1).await;
    let expected = [
        Outcome::Reset(Reason::FLOW_CONTROL_ERROR),
        Outcome::Goaway(Reason::FLOW_CONTROL_ERROR),
    ];
    assert!(expected.contains(&outcome), "{outcome:?}");
}

#[tokio::test]
async fn a_client_that_ignores_our_windows() {
    let (origin, _gate) = held().await;
    let proxy = proxy::to([&origin])
        .upstream("body_buffer_size = 0")
        .listen("client_max_body_size = 0")
        .start()
        .await;
    let mut raw = Raw::connect(proxy.address()).await;
    // Far more than any window that we open; each stream that is ended for it is followed by
    // another one.
    for stream in (1..41).step_by(2) {
        raw.flood([post(stream)]).await;
        raw.flood((0..64).map(|_| Frame::data(stream, flag::NONE, vec![b'x'; 16_384])))
            .await;
    }
    let mut ended = None;
    while let Some(frame) = raw.next().await {
        if [kind::GOAWAY, kind::RST_STREAM].contains(&frame.kind) {
            ended = Some(frame.reason());
            break;
        }
    }
    assert_eq!(ended, Some(Reason::FLOW_CONTROL_ERROR));
}

#[tokio::test]
async fn settings_that_make_no_sense() {
    for (setting, value, reason) in [
        (
            setting::INITIAL_WINDOW_SIZE,
            0x8000_0000,
            Reason::FLOW_CONTROL_ERROR,
        ),
        (setting::MAX_FRAME_SIZE, 1000, Reason::PROTOCOL_ERROR),
        (setting::MAX_FRAME_SIZE, 0x0100_0000, Reason::PROTOCOL_ERROR),
        (setting::ENABLE_PUSH, 2, Reason::PROTOCOL_ERROR),
    ] {
        let given = given_up([Frame::settings(&[(setting, value)])]).await;
        // h2 says PROTOCOL_ERROR for all of them.
        assert!(
            [reason, Reason::PROTOCOL_ERROR].contains(&given),
            "{setting}: {given:?}"
        );
    }
    let acknowledged = Frame::new(kind::SETTINGS, flag::ACK, 0, [0; 6]);
    let given = given_up([acknowledged]).await;
    let expected = [Reason::FRAME_SIZE_ERROR, Reason::PROTOCOL_ERROR];
    assert!(expected.contains(&given), "{given:?}");
}

#[tokio::test]
async fn unknown_settings_and_frames_are_ignored() {
    let (_origin, proxy) = hello().await;
    let mut raw = Raw::connect_with(
        proxy.address(),
        &[(0x1234, 5), (setting::HEADER_TABLE_SIZE, 0)],
    )
    .await;
    raw.send(Frame::new(0xfe, 0xff, 0, "whatever")).await;
    raw.still_works(1).await;
}

#[tokio::test]
async fn a_ping_is_answered_with_what_it_carried() {
    let (_origin, proxy) = hello().await;
    let mut raw = Raw::connect(proxy.address()).await;
    raw.send(Frame::ping()).await;
    let pong = raw.until_kind(kind::PING).await;
    assert!(pong.has(flag::ACK));
    assert_eq!(pong.payload, Frame::ping().payload);
}

#[tokio::test]
async fn data_after_the_end_of_a_stream() {
    let (origin, gate) = held().await;
    let proxy = proxy::to([&origin]).start().await;
    let mut raw = Raw::connect(proxy.address()).await;
    raw.get(1, "/").await;
    origin.received(1).await;
    raw.send(Frame::data(1, flag::END_STREAM, "more")).await;
    gate.open();
    let outcome = raw.outcome(1).await;
    assert!(
        matches!(
            outcome,
            Outcome::Reset(Reason::STREAM_CLOSED) | Outcome::Goaway(_)
        ),
        "{outcome:?}"
    );
    assert_eq!(origin.request().body, b"");
}

#[tokio::test]
async fn anything_but_the_preface_is_answered_and_closed() {
    for bytes in [
        "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nGET / HTTP/1.1\r\nHost: t\r\n\r\n",
        "PRI * HTTP/2.0\r\nHost: t\r\n\r\n",
    ] {
        let (origin, proxy) = hello().await;
        let mut client = proxy.client().await;
        client.send(bytes).await;
        let answer = client.wire.rest().await.got;
        // Frames, if it was taken for HTTP/2 already; else an answer in HTTP/1.1.
        let goaway = Frame::goaway(0, Reason::PROTOCOL_ERROR).bytes();
        let refused = answer.starts_with(b"HTTP/1.1 400 ")
            || answer.starts_with(b"HTTP/1.1 505 ")
            || answer.windows(goaway.len()).any(|part| part == goaway);
        assert!(refused, "{bytes:?}: {answer:?}");
        assert!(origin.requests().is_empty());
    }
}

#[tokio::test]
async fn a_first_frame_that_is_no_settings() {
    let (origin, proxy) = hello().await;
    let mut client = proxy.client().await;
    client.send(http2::PREFACE).await;
    let mut raw = Raw::over(client.wire);
    raw.flood([Frame::headers(
        1,
        flag::WHOLE,
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "t"),
            (":path", "/"),
        ],
    )])
    .await;
    // The RFC asks for an error; a server that answers it all the same does no harm.
    let outcome = raw.outcome(1).await;
    let expected = [
        Outcome::Goaway(Reason::PROTOCOL_ERROR),
        Outcome::Status(200),
    ];
    assert!(expected.contains(&outcome), "{outcome:?}");
    drop(origin);
}

#[tokio::test]
async fn frames_at_random_harm_nobody() {
    let (_origin, mut proxy) = {
        let (origin, proxy) = hello().await;
        (origin, proxy)
    };
    let mut random = fastrand::Rng::with_seed(7540);
    for _ in 0..150 {
        let mut raw = Raw::connect(proxy.address()).await;
        let mut frames = Vec::new();
        for _ in 0..random.usize(1..40) {
            let payload: Vec<u8> = match random.u8(0..3) {
                0 => block(&[
                    (":method", "GET"),
                    (":scheme", "http"),
                    (":authority", "t"),
                    (":path", "/"),
                ]),
                _ => (0..random.usize(0..40)).map(|_| random.u8(..)).collect(),
            };
            frames.push(Frame::new(
                random.u8(0..12),
                random.u8(..),
                random.u32(0..8),
                payload,
            ));
        }
        raw.flood(frames).await;
        raw.wire.finish_sending().await;
        raw.wire.rest().await;
    }
    assert!(proxy.process().runs());
    assert_eq!(
        Http2::connect(proxy.address()).await.get("/").await.text(),
        "hello"
    );
}
