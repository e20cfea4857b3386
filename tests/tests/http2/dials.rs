//! New connections to servers that speak HTTP/2: which requests wait for one, which may use it, and
//! what makes room for it.

use super::upstream_faults::{answer, answer_all, by_hand, post, request, to};
use super::*;
use std::net::Ipv4Addr;

use waypost_tests::Wire;

/// An origin of frames that sends its SETTINGS once the gate is open, and answers `body` to
/// everything from then on.
async fn settles_when(gate: &Gate, body: &'static str) -> Origin {
    let gate = gate.clone();
    origin::speaks(move |mut wire, _| {
        let gate = gate.clone();
        async move {
            if wire.exactly(http2::PREFACE.len()).await.is_err() {
                return;
            }
            gate.opened().await;
            let mut raw = Raw::over(wire);
            raw.try_send(Frame::settings(&[])).await;
            answer_all(raw, body).await;
        }
    })
    .await
}

/// Waits for a request without a word, not even an acknowledgement, and returns its stream.
async fn request_before_settings(wire: &mut Wire) -> Option<u32> {
    wire.exactly(http2::PREFACE.len()).await.ok()?;
    loop {
        let head = wire.exactly(9).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        wire.exactly(length as usize).await.ok()?;
        if head[3] == kind::HEADERS {
            return Some(u32::from_be_bytes([head[5], head[6], head[7], head[8]]));
        }
    }
}

/// RFC 9113 section 3.4: a client may send requests right behind its preface.
#[tokio::test]
async fn the_first_request_does_not_wait_for_the_servers_settings() {
    let origin = origin::speaks(|mut wire, _| async move {
        let Some(stream) = request_before_settings(&mut wire).await else {
            return;
        };
        let mut raw = Raw::over(wire);
        raw.try_send(Frame::settings(&[])).await;
        answer(&mut raw, stream, "hello").await;
        answer_all(raw, "hello").await;
    })
    .await;
    let proxy = before([&origin], "connect_timeout = \"2s\"").start().await;
    for _ in 0..3 {
        assert_eq!(post(&proxy).await.text(), "hello");
    }
    assert_eq!(origin.connections(), 1);
}

/// What a server allows is not known before: one request is a safe guess, more may be refused.
#[tokio::test]
async fn further_requests_wait_for_the_settings_and_heed_them() {
    let (gate, settled) = (Gate::closed(), Gate::closed());
    let (held, told) = (gate.clone(), settled.clone());
    let origin = origin::speaks(move |mut wire, number| {
        let (held, told) = (held.clone(), told.clone());
        async move {
            let Some(first) = request_before_settings(&mut wire).await else {
                return;
            };
            let mut raw = Raw::over(wire);
            if number == 0 {
                told.open();
                held.opened().await;
            }
            let one = [(setting::MAX_CONCURRENT_STREAMS, 1)];
            raw.try_send(Frame::settings(&one)).await;
            // The acknowledgement comes before any request that was sent with the limit in mind.
            let next = raw.until("another stream, or that there is none", |frame| {
                frame.kind == kind::HEADERS || frame.kind == kind::SETTINGS && frame.has(flag::ACK)
            });
            assert_eq!(next.await.kind, kind::SETTINGS, "a request too many");
            answer(&mut raw, first, "one").await;
            answer_all(raw, "one").await;
        }
    })
    .await;
    let proxy = to(&origin).await;
    let mut client = Http2::connect(proxy.address()).await;
    let mut streams = Vec::new();
    for _ in 0..4 {
        let request = client.request("GET", "/", &[]);
        streams.push(client.open(request, true).await);
        in_time("the first request", settled.opened()).await;
    }
    gate.open();
    for stream in &mut streams {
        assert_eq!(stream.response().await.text(), "one");
    }
}

#[tokio::test]
async fn a_server_that_never_settles_is_waited_for_as_for_a_connection() {
    let gate = Gate::closed();
    let origin = settles_when(&gate, "never").await;
    let proxy = before(
        [&origin],
        "connect_timeout = \"300ms\"\nread_timeout = \"60s\"",
    )
    .start()
    .await;
    let mut client = Http2::connect(proxy.address()).await;
    let mut streams = Vec::new();
    for _ in 0..3 {
        let request = client.request("GET", "/", &[]);
        streams.push(client.open(request, true).await);
    }
    for stream in &mut streams {
        assert_eq!(stream.response().await.status, 504);
    }
    proxy
        .log_contains("upstream timed out (110: Connection timed out) while connecting")
        .await;
}

/// A client whose patience is shorter than the handshake does not keep its server from ever being
/// connected to.
#[tokio::test]
async fn a_new_connection_outlives_the_client_that_began_it() {
    let gate = Gate::closed();
    let origin = settles_when(&gate, "hello").await;
    let proxy = before([&origin], "").more(FIXED).start().await;
    for _ in 0..3 {
        let mut client = proxy.client().await;
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
        eventually("a connection", async || origin.connections() > 0).await;
        drop(client);
        // The worker has seen the end of one connection before it is done with those that come
        // later.
        for _ in 0..3 {
            assert_eq!(proxy.get("/fixed").await.text(), "fixed");
        }
    }
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
    gate.open();
    assert_eq!(client.response().await.text(), "hello");
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn with_keepalive_0_a_connection_ends_with_its_last_exchange() {
    let origin = http2::says("hello").await;
    let proxy = before([&origin], "keepalive = 0").start().await;
    for number in 1..=3 {
        assert_eq!(post(&proxy).await.text(), "hello");
        origin.has_open(0).await;
        assert_eq!(origin.connections(), number);
    }
}

#[tokio::test]
async fn as_many_idle_connections_as_the_configuration_keeps() {
    let origins = [
        http2::says("a").await,
        http2::says("b").await,
        http2::says("c").await,
    ];
    let proxy = before(&origins, "keepalive = 2").start().await;
    for expected in ["a", "b", "c"] {
        assert_eq!(post(&proxy).await.text(), expected);
    }
    // The longest idle one makes room.
    origins[0].has_open(0).await;
    assert_eq!((origins[1].open(), origins[2].open()), (1, 1));
}

/// Without this, as many idle connections as there may be would be closed for one, and none of them
/// in time.
#[tokio::test]
async fn at_the_bound_of_descriptors_one_idle_connection_makes_room_and_the_others_stay() {
    let idle = [
        http2::says("idle").await,
        http2::says("idle").await,
        http2::says("idle").await,
        http2::says("idle").await,
    ];
    let gate = Gate::closed();
    let held = gate.clone();
    let busy = origin::answers(move |_| Answer::ok("held").when(&held)).await;
    let more = format!(
        "[upstream.busy]\nservers = [\"{}\"]\nkeepalive = 0\n[[route]]\npath = \"/busy\"\nproxy = \"busy\"",
        busy.address()
    );
    let proxy = before(&idle, "")
        .more(&more)
        .through_shell("ulimit -n 80; exec \"$@\"")
        .start()
        .await;
    let open = || idle.iter().map(Origin::open).sum::<usize>();
    for _ in &idle {
        assert_eq!(proxy.get("/").await.text(), "idle");
    }
    assert_eq!(open(), 4);
    // Requests that stay, until there is no descriptor left.
    // Of several clients, for one of them could not have so many.
    let mut clients = Vec::new();
    for number in 2..5 {
        let from = Ipv4Addr::new(127, 0, 0, number);
        clients.push(Http2::connect_from(from, proxy.address()).await);
    }
    let mut streams = Vec::new();
    let refused = "too many connections to upstreams";
    for left in [3, 2, 1, 0] {
        while open() > left {
            let client = &mut clients[streams.len() % 3];
            let request = client.request("GET", "/busy", &[]);
            streams.push(client.open(request, true).await);
            busy.received(streams.len()).await;
            assert!(streams.len() < 80, "no connection had to make room");
            // What was closed for this one is noticed soon.
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        }
        assert!(!proxy.log().contains(refused), "{}", proxy.log());
    }
    let client = &mut clients[0];
    let request = client.request("GET", "/busy", &[]);
    assert_eq!(
        client.open(request, true).await.response().await.status,
        503
    );
    proxy.log_contains(refused).await;
    gate.open();
    for stream in &mut streams {
        assert_eq!(stream.response().await.text(), "held");
    }
}

/// What is idle in one worker cannot make room for another one.
#[tokio::test]
async fn idle_connections_take_half_of_the_descriptors_at_most() {
    let mut origins = Vec::new();
    let gate = Gate::closed();
    for _ in 0..30 {
        let held = gate.clone();
        origins.push(http2::answers(move |_| Answer::ok("held").when(&held)).await);
    }
    let proxy = before(&origins, "")
        .through_shell("ulimit -n 96; exec \"$@\"")
        .start()
        .await;
    let mut client = Http2::connect(proxy.address()).await;
    let mut streams = Vec::new();
    for origin in &origins {
        let request = client.request("GET", "/", &[]);
        streams.push(client.open(request, true).await);
        origin.received(1).await;
    }
    gate.open();
    for stream in &mut streams {
        assert_eq!(stream.response().await.text(), "held");
    }
    // Of what the client's own connection leaves, which is fewer than the descriptors there are.
    let open = || origins.iter().map(Origin::open).sum::<usize>();
    eventually("some of them to be closed", async || open() <= 27).await;
    assert_eq!(client.get("/").await.text(), "held");
}

/// Each costs little, and nothing else bounds them: h2 reads what comes for a stream that we have
/// given up.
#[tokio::test]
async fn interim_responses_that_go_on_after_we_gave_up_end_the_connection() {
    let origin = by_hand(|mut raw, _| async move {
        let Some(stream) = request(&mut raw).await else {
            return;
        };
        let fields = [(":status", "103"), ("link", "</a>")];
        let hints = Frame::headers(stream, flag::END_HEADERS, &fields).bytes();
        let many = hints.repeat(1000);
        for _ in 0..400 {
            if raw.wire.try_send(&many).await.is_err() {
                return;
            }
        }
        raw.wire.rest().await;
    })
    .await;
    let proxy = to(&origin).await;
    let mut client = Http2::connect(proxy.address()).await;
    assert_eq!(client.get("/").await.status, 502);
    origin.has_open(0).await;
    proxy
        .log_contains("upstream sent too many frames that carry nothing")
        .await;
}

/// Responses with as many interim ones as are allowed are no flood.
#[tokio::test]
async fn interim_responses_within_bounds_harm_no_connection() {
    let origin = by_hand(|mut raw, _| async move {
        while let Some(stream) = request(&mut raw).await {
            let hints = Frame::headers(stream, flag::END_HEADERS, &[(":status", "103")]);
            raw.flood((0..60).map(|_| hints.clone())).await;
            answer(&mut raw, stream, "hello").await;
        }
    })
    .await;
    let proxy = proxy::to([&origin])
        .server("workers = 1")
        .upstream("http2 = { max_concurrent_streams = 2 }")
        .start()
        .await;
    let mut client = Http2::connect(proxy.address()).await;
    for _ in 0..50 {
        assert_eq!(client.get("/").await.text(), "hello");
    }
    assert_eq!(origin.connections(), 1);
}
