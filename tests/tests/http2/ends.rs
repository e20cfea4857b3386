//! Connections that are to end while streams are under way: every one of them is carried to its own
//! end.

use rustix::process::Signal;
use waypost_tests::Wire;

use super::*;

/// A stream under way, on a connection by hand.
async fn under_way(proxy: &Proxy, origin: &Origin) -> Raw {
    let mut raw = Raw::connect(proxy.address()).await;
    raw.get(1, "/").await;
    origin.received(1).await;
    raw
}

/// The proxy says that it takes no more streams, finishes the one under way, and closes.
async fn finished(mut raw: Raw, gate: &Gate) {
    let goaway = raw.until_kind(kind::GOAWAY).await;
    assert_eq!(goaway.reason(), Reason::NO_ERROR);
    // Nothing is refused yet: requests may be on their way (RFC 9113, section 6.8).
    assert_eq!(goaway.last_stream(), 0x7fff_ffff);
    gate.open();
    assert_eq!(raw.outcome(1).await, Outcome::Status(200));
    let body = raw.until_kind(kind::DATA).await;
    assert_eq!(body.payload, b"done");
    assert_eq!(raw.given_up().await, Reason::NO_ERROR);
    let last = raw.goaway.expect("there was one").last_stream();
    assert_eq!(last, 1, "the last stream that was worked on");
}

#[tokio::test]
async fn quit_lets_a_stream_under_way_finish() {
    let (origin, gate) = held().await;
    let mut proxy = proxy::to([&origin]).start().await;
    let raw = under_way(&proxy, &origin).await;
    proxy.signal(Signal::QUIT);
    eventually("the listener to close", async || {
        Wire::connect(proxy.address()).await.is_err()
    })
    .await;
    assert!(proxy.process().runs());
    finished(raw, &gate).await;
    assert_eq!(proxy.process().ended().await.code(), Some(0));
}

#[tokio::test]
async fn quit_ends_an_idle_connection() {
    let (_origin, mut proxy) = hello().await;
    let mut raw = Raw::connect(proxy.address()).await;
    raw.still_works(1).await;
    proxy.signal(Signal::QUIT);
    assert_eq!(raw.given_up().await, Reason::NO_ERROR);
    assert_eq!(proxy.process().ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_request_that_crosses_the_goodbye_is_answered_or_known_to_be_unprocessed() {
    let (origin, proxy) = hello().await;
    let mut raw = Raw::connect(proxy.address()).await;
    raw.still_works(1).await;
    proxy.signal(Signal::QUIT);
    raw.try_send(Frame::headers(
        3,
        flag::WHOLE,
        &[
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "t"),
            (":path", "/crossed"),
        ],
    ))
    .await;
    let (mut answered, mut last) = (false, u32::MAX);
    while let Some(frame) = raw.next().await {
        match frame.kind {
            kind::HEADERS if frame.stream == 3 => answered = frame.status() == 200,
            kind::GOAWAY => last = frame.last_stream(),
            _ => {}
        }
    }
    let reached = origin
        .requests()
        .iter()
        .any(|request| request.target == "/crossed");
    assert!(
        answered || (last < 3 && !reached),
        "answered: {answered}, last: {last}, reached: {reached}"
    );
}

#[tokio::test]
async fn a_listener_that_goes_lets_its_streams_finish() {
    let (origin, gate) = held().await;
    let second = "[[listen]]\naddress = \"127.0.0.2:0\"\n";
    let proxy = proxy::to([&origin]).more(ADMIN).more(second).start().await;
    let mut raw = Raw::connect(proxy.listener(1)).await;
    raw.get(1, "/").await;
    origin.received(1).await;
    proxy.edit(second, "");
    proxy.reload().await;
    finished(raw, &gate).await;
}

#[tokio::test]
async fn a_reload_is_noticed_by_new_streams_of_an_old_connection() {
    let (old, new) = (origin::says("old").await, origin::says("new").await);
    let proxy = proxy::to([&old]).more(ADMIN).start().await;
    let mut client = Http2::connect(proxy.address()).await;
    assert_eq!(client.get("/").await.text(), "old");
    proxy.edit(old.address(), new.address());
    proxy.reload().await;
    assert_eq!(client.get("/").await.text(), "new");
    assert!(client.is_open());
}

#[tokio::test]
async fn a_stream_keeps_the_configuration_that_it_began_with() {
    let (origin, gate) = held().await;
    let other = origin::says("other").await;
    let proxy = proxy::to([&origin]).more(ADMIN).start().await;
    let mut client = Http2::connect(proxy.address()).await;
    let request = client.request("GET", "/", &[]);
    let mut stream = client.open(request, true).await;
    origin.received(1).await;
    proxy.edit(origin.address(), other.address());
    proxy.reload().await;
    assert_eq!(client.get("/").await.text(), "other");
    gate.open();
    assert_eq!(stream.response().await.text(), "done");
}

#[tokio::test]
async fn a_load_of_streams_survives_reloads() {
    let origins = [origin::named().await, origin::named().await];
    let proxy = proxy::to(&origins).more(ADMIN).start().await;
    let address = proxy.address().to_owned();
    let load = tokio::spawn(async move {
        let mut answered = 0;
        for _ in 0..40 {
            let mut client = Http2::connect(&address).await;
            let mut streams = Vec::new();
            for _ in 0..25 {
                let request = client.request("GET", "/", &[]);
                streams.push(client.open(request, true).await);
            }
            for stream in &mut streams {
                assert_eq!(stream.response().await.status, 200);
                answered += 1;
            }
        }
        answered
    });
    while !load.is_finished() {
        proxy.reload().await;
    }
    assert_eq!(load.await.unwrap(), 1000);
}

#[tokio::test]
async fn an_upgrade_of_the_binary_lets_streams_finish() {
    let (origin, gate) = held().await;
    let proxy = proxy::to([&origin]).start().await;
    let raw = under_way(&proxy, &origin).await;
    let successor = proxy.upgrade().await;
    proxy.signal(Signal::QUIT);
    finished(raw, &gate).await;
    assert_eq!(
        Http2::connect(proxy.address()).await.get("/").await.text(),
        "done"
    );
    successor.signal(Signal::QUIT);
    successor.ended().await;
}
