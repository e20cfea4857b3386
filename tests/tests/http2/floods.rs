//! Control frames and empty frames: a peer may send as many as normal use needs, then the
//! connection ends.

use super::limits::{Bounded, request};
use super::*;

#[tokio::test]
async fn floods_of_frames_that_carry_nothing_end_the_connection() {
    let held = || {
        vec![Frame::headers(
            1,
            flag::END_HEADERS,
            &request("POST", "/held"),
        )]
    };
    type Nothing = fn(u32) -> Frame;
    let floods: [(&str, Nothing); 7] = [
        ("SETTINGS", |_| Frame::settings(&[])),
        ("SETTINGS that change something", |at| {
            Frame::settings(&[(setting::INITIAL_WINDOW_SIZE, 1000 + at % 2)])
        }),
        ("PING", |_| Frame::ping()),
        ("PRIORITY", |at| {
            Frame::new(kind::PRIORITY, flag::NONE, 3 + 2 * at, [0, 0, 0, 0, 16])
        }),
        ("WINDOW_UPDATE", |_| Frame::window_update(1, 1)),
        ("unknown types", |_| Frame::new(0xfa, flag::NONE, 0, [])),
        ("empty DATA", |_| Frame::data(1, flag::NONE, [])),
    ];
    for (what, frame) in floods {
        let mut bounded = Bounded::start("http2 = { max_control_frames = 100 }").await;
        let reason = bounded.repeated(held(), |at| vec![frame(at)]).await;
        assert_eq!(reason, Reason::ENHANCE_YOUR_CALM, "{what}");
        bounded.proxy.log_contains("max_control_frames").await;
    }
}

#[tokio::test]
async fn a_download_in_tiny_windows_is_no_flood() {
    let bounded = Bounded::start("http2 = { max_control_frames = 100 }").await;
    let settings = [(setting::INITIAL_WINDOW_SIZE, 16_384)];
    let mut raw = Raw::connect_with(bounded.proxy.address(), &settings).await;
    raw.get(1, "/large").await;
    let mut length = 0;
    while length < 1_000_000 {
        let frame = raw.until_kind(kind::DATA).await;
        length += frame.payload.len();
        // Two for every frame, as clients do that keep both windows full.
        let increment = frame.payload.len() as u32;
        raw.try_send(Frame::window_update(1, increment)).await;
        raw.try_send(Frame::window_update(0, increment)).await;
    }
}

#[tokio::test]
async fn a_client_that_measures_the_way_with_each_message_is_no_flood() {
    // As gRPC's libraries do.
    let origin = origin::speaks(|mut wire, _| async move {
        wire.head().await.unwrap();
        wire.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
            .await;
        for _ in 0..3000 {
            wire.send("message").await;
            // A message at a time, as they come about. Longer pauses are no flood either.
            tokio::time::sleep(Duration::from_micros(300)).await;
        }
        wire.send("end").await;
    })
    .await;
    let proxy = proxy::to([&origin])
        .listen("http2 = { max_control_frames = 100 }")
        .start()
        .await;
    let mut raw = Raw::connect(proxy.address()).await;
    raw.get(1, "/").await;
    loop {
        let frame = raw.until_kind(kind::DATA).await;
        if frame.has(flag::END_STREAM) {
            break;
        }
        raw.send(Frame::ping()).await;
    }
}

#[tokio::test]
async fn requests_pay_for_frames_that_go_with_them() {
    let bounded = Bounded::start("http2 = { max_control_frames = 20 }").await;
    let mut raw = bounded.raw().await;
    for at in 0..50 {
        for _ in 0..4 {
            raw.send(Frame::ping()).await;
        }
        raw.still_works(1 + 2 * at).await;
    }
}

#[tokio::test]
async fn a_tenth_of_the_frames_comes_back_each_second() {
    let bounded = Bounded::start("http2 = { max_control_frames = 40 }").await;
    let mut raw = bounded.raw().await;
    // With the acknowledgement of our settings, and these themselves.
    raw.flood((0..36).map(|_| Frame::ping())).await;
    raw.still_works(1).await;
    // The request has paid for ten.
    raw.flood((0..10).map(|_| Frame::ping())).await;
    // Four each second, and two more than are needed. More time brings more of them.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    raw.flood((0..8).map(|_| Frame::ping())).await;
    raw.still_works(3).await;
}

#[tokio::test]
async fn pings_that_nobody_reads_the_answers_of_use_no_memory() {
    let mut bounded = Bounded::start("http2 = { max_control_frames = 1000000 }").await;
    let before = bounded.proxy.process().memory();
    let mut raw = bounded.raw().await;
    raw.wire.read_little();
    let pings: Vec<u8> = (0..10_000).flat_map(|_| Frame::ping().bytes()).collect();
    // Stops being taken at some point, since nothing is read here.
    let flood = async {
        for _ in 0..100 {
            let _ = raw.wire.try_send(&pings).await;
        }
    };
    // What is not sent in that time would only make the flood larger.
    let _ = tokio::time::timeout(Duration::from_secs(2), flood).await;
    bounded.neighbour_is_served().await;
    let grown = bounded.proxy.process().memory().saturating_sub(before);
    assert!(grown < 16 << 10, "{grown} KiB");
}
