//! Bounds on what one connection may ask for. Each is met by a client that goes past it, while
//! another one is served.

use super::*;

/// A proxy with small limits before an origin, and the connection of a client that keeps to them.
pub(super) struct Bounded {
    pub(super) origin: Origin,
    gate: Gate,
    pub(super) proxy: Proxy,
    neighbour: Http2,
}

impl Bounded {
    /// `/held` is answered when the gate opens, everything else at once.
    pub(super) async fn start(listen: &str) -> Bounded {
        let gate = Gate::closed();
        let held = gate.clone();
        let origin = origin::answers(move |request| match &*request.target {
            "/held" => Answer::ok("done").when(&held),
            "/large" => Answer::ok("x".repeat(1_000_000)),
            _ => Answer::ok("hello"),
        })
        .await;
        let proxy = proxy::to([&origin])
            .server("workers = 1")
            .listen(listen)
            .start()
            .await;
        let neighbour = Http2::connect(proxy.address()).await;
        Bounded {
            origin,
            gate,
            proxy,
            neighbour,
        }
    }

    pub(super) async fn raw(&self) -> Raw {
        Raw::connect(self.proxy.address()).await
    }

    /// The neighbour is served as if nothing had happened.
    pub(super) async fn neighbour_is_served(&mut self) {
        assert_eq!(self.neighbour.get("/").await.text(), "hello");
    }

    /// Repeats frames until the connection is given up; the reason.
    pub(super) async fn repeated(
        &mut self,
        first: Vec<Frame>,
        frame: impl Fn(u32) -> Vec<Frame>,
    ) -> Reason {
        let mut raw = self.raw().await;
        raw.flood(first).await;
        // Far beyond every limit; written in parts, so that both sides have something to do.
        for part in 0..60 {
            raw.flood((0..100).flat_map(|at| frame(part * 100 + at)))
                .await;
        }
        let reason = raw.given_up().await;
        self.neighbour_is_served().await;
        reason
    }
}

pub(super) fn request(
    method: &'static str,
    path: &'static str,
) -> Vec<(&'static str, &'static str)> {
    vec![
        (":method", method),
        (":scheme", "http"),
        (":authority", "test"),
        (":path", path),
    ]
}

#[tokio::test]
async fn more_streams_than_allowed_are_refused() {
    let mut bounded = Bounded::start("http2 = { max_concurrent_streams = 4 }").await;
    let mut raw = bounded.raw().await;
    for stream in [1, 3, 5, 7] {
        raw.get(stream, "/held").await;
    }
    bounded.origin.received(4).await;
    raw.get(9, "/held").await;
    assert_eq!(raw.outcome(9).await, Outcome::Reset(Reason::REFUSED_STREAM));
    assert_eq!(bounded.origin.requests().len(), 4);
    bounded.neighbour_is_served().await;
    bounded.gate.open();
    let mut answered = 0;
    while answered < 4 {
        let frame = raw.until_kind(kind::HEADERS).await;
        assert_eq!(frame.status(), 200);
        answered += 1;
    }
    raw.still_works(11).await;
}

#[tokio::test]
async fn the_limit_on_streams_is_announced() {
    let bounded = Bounded::start("http2 = { max_concurrent_streams = 7 }").await;
    let mut client = Http2::connect(bounded.proxy.address()).await;
    client.get("/").await;
    assert_eq!(client.allowed_streams(), 7);
    // Without the key: 128.
    let bounded = Bounded::start("").await;
    let mut client = Http2::connect(bounded.proxy.address()).await;
    client.get("/").await;
    assert_eq!(client.allowed_streams(), 128);
}

#[tokio::test]
async fn streams_beyond_the_limit_in_a_loop_end_the_connection() {
    let mut bounded = Bounded::start("http2 = { max_concurrent_streams = 2 }").await;
    let held = [1, 3].map(|stream| Frame::headers(stream, flag::WHOLE, &request("GET", "/held")));
    let reason = bounded
        .repeated(held.to_vec(), |at| {
            vec![Frame::headers(
                5 + 2 * at,
                flag::WHOLE,
                &request("GET", "/held"),
            )]
        })
        .await;
    assert_eq!(reason, Reason::ENHANCE_YOUR_CALM);
    assert!(
        bounded.origin.requests().len() <= 3,
        "{:?}",
        bounded.origin.requests()
    );
}

#[tokio::test]
async fn a_header_larger_than_allowed_reaches_no_server() {
    let mut bounded = Bounded::start("client_header_size = \"4k\"").await;
    let large = "x".repeat(5_000);
    let mut fields = request("GET", "/");
    fields.push(("x-large", &large));
    let mut raw = bounded.raw().await;
    raw.send(Frame::headers(1, flag::WHOLE, &fields)).await;
    let outcome = raw.outcome(1).await;
    assert_eq!(outcome, Outcome::Status(431), "{outcome:?}");
    raw.still_works(3).await;
    bounded.neighbour_is_served().await;
    let targets = bounded.origin.requests();
    assert!(
        targets
            .iter()
            .all(|request| request.header("x-large").is_empty())
    );
}

#[tokio::test]
async fn more_fields_than_allowed_are_refused() {
    let bounded = Bounded::start("max_headers = 20").await;
    let mut raw = bounded.raw().await;
    let mut fields = request("GET", "/");
    fields.extend([("x-a", "b"); 21]);
    raw.send(Frame::headers(1, flag::WHOLE, &fields)).await;
    let outcome = raw.outcome(1).await;
    assert!(matches!(outcome, Outcome::Status(400 | 431)), "{outcome:?}");
    raw.still_works(3).await;
    assert_eq!(bounded.origin.requests().len(), 1);
}

/// A field that fills the table is named again by one byte, a thousand times (RFC 7541, section
/// 7.3).
#[tokio::test]
async fn a_header_that_grows_when_it_is_decoded_is_bounded() {
    let mut bounded = Bounded::start("").await;
    let mut raw = bounded.raw().await;
    let mut payload = block(&request("GET", "/"));
    let value = [b'x'; 4000];
    payload.extend([0x40, 3, b'x', b'-', b'b', 0x7f, 0xa1, 0x1e]);
    payload.extend(value);
    payload.extend([0xbe; 10_000]);
    raw.send(Frame::new(kind::HEADERS, flag::WHOLE, 1, payload))
        .await;
    let outcome = raw.outcome(1).await;
    assert!(
        matches!(
            outcome,
            Outcome::Status(431) | Outcome::Goaway(_) | Outcome::Reset(_)
        ),
        "{outcome:?}"
    );
    bounded.neighbour_is_served().await;
    assert_eq!(bounded.origin.requests().len(), 1);
}

#[tokio::test]
async fn rapid_resets_end_the_connection() {
    let mut bounded = Bounded::start("http2 = { max_resets = 50 }").await;
    let began = |stream| Frame::headers(stream, flag::WHOLE, &request("GET", "/held"));
    let reason = bounded
        .repeated(vec![], |at| {
            let stream = 1 + 2 * at;
            vec![began(stream), Frame::reset(stream, Reason::CANCEL)]
        })
        .await;
    assert_eq!(reason, Reason::ENHANCE_YOUR_CALM);
    let reached = bounded.origin.requests().len();
    assert!(reached < 100, "{reached} requests reached the server");
}

/// h2 has a bound of its own on resets of streams that were not accepted yet: these requests have
/// reached the server.
#[tokio::test]
async fn resets_of_requests_under_way_end_the_connection() {
    let mut bounded = Bounded::start("http2 = { max_resets = 20 }").await;
    let mut raw = bounded.raw().await;
    for at in 0..25 {
        let stream = 1 + 2 * at;
        raw.try_send(Frame::headers(
            stream,
            flag::WHOLE,
            &request("GET", "/held"),
        ))
        .await;
        if at < 20 {
            bounded.origin.received(at as usize + 1).await;
        }
        raw.try_send(Frame::reset(stream, Reason::CANCEL)).await;
    }
    assert_eq!(raw.given_up().await, Reason::ENHANCE_YOUR_CALM);
    bounded.proxy.log_contains("max_resets").await;
    bounded.neighbour_is_served().await;
}

#[tokio::test]
async fn resets_now_and_then_are_every_clients_right() {
    let bounded = Bounded::start("http2 = { max_resets = 20 }").await;
    let mut client = Http2::connect(bounded.proxy.address()).await;
    // More in all than at once, beside as many that are read to their ends.
    for _ in 0..60 {
        let request = client.request("GET", "/held", &[]);
        let mut stream = client.open(request, true).await;
        stream.reset(Reason::CANCEL);
        for _ in 0..2 {
            assert_eq!(client.get("/").await.text(), "hello");
        }
    }
}

#[tokio::test]
async fn resets_that_we_are_made_to_send_end_the_connection() {
    type Wrong = fn(u32) -> Frame;
    let wrongs: [(&str, Wrong); 3] = [
        ("a window moved by nothing", |stream| {
            Frame::window_update(stream, 0)
        }),
        ("a window that overflows", |stream| {
            Frame::window_update(stream, 0x7fff_ffff)
        }),
        ("a body that is too long", |stream| {
            Frame::data(stream, flag::NONE, "xx")
        }),
    ];
    for (what, wrong) in wrongs {
        let mut bounded = Bounded::start("").await;
        let mut fields = request("POST", "/held");
        fields.push(("content-length", "1"));
        let reason = bounded
            .repeated(vec![], move |at| {
                let stream = 1 + 2 * at;
                let began = Frame::headers(stream, flag::END_HEADERS, &fields);
                vec![began, wrong(stream)]
            })
            .await;
        let expected = [
            Reason::ENHANCE_YOUR_CALM,
            Reason::PROTOCOL_ERROR,
            Reason::FLOW_CONTROL_ERROR,
        ];
        assert!(expected.contains(&reason), "{what}: {reason:?}");
        let reached = bounded.origin.requests().len();
        assert!(
            reached < 1100,
            "{what}: {reached} requests reached the server"
        );
    }
}

#[tokio::test]
async fn malformed_requests_in_a_loop_end_the_connection() {
    let mut bounded = Bounded::start("").await;
    let mut fields = request("GET", "/");
    fields.push(("connection", "close"));
    let reason = bounded
        .repeated(vec![], move |at| {
            vec![Frame::headers(1 + 2 * at, flag::WHOLE, &fields)]
        })
        .await;
    assert_eq!(reason, Reason::ENHANCE_YOUR_CALM);
    assert_eq!(bounded.origin.requests().len(), 1);
}

#[tokio::test]
async fn a_flood_of_continuations_ends_the_connection() {
    for payload in [vec![], block(&[("x-a", "b")]), vec![0x82]] {
        let mut bounded = Bounded::start("").await;
        let first = vec![Frame::headers(1, flag::END_STREAM, &request("GET", "/"))];
        let reason = bounded
            .repeated(first, |_| {
                vec![Frame::new(kind::CONTINUATION, flag::NONE, 1, &payload)]
            })
            .await;
        let expected = [
            Reason::ENHANCE_YOUR_CALM,
            Reason::COMPRESSION_ERROR,
            Reason::PROTOCOL_ERROR,
        ];
        assert!(expected.contains(&reason), "{reason:?}");
        assert_eq!(bounded.origin.requests().len(), 1);
    }
}

#[tokio::test]
async fn responses_that_nobody_reads_use_little_memory() {
    let mut bounded = Bounded::start("").await;
    bounded.neighbour_is_served().await;
    let before = bounded.proxy.process().memory();
    let mut connections = Vec::new();
    for _ in 0..4 {
        let settings = [(setting::INITIAL_WINDOW_SIZE, 0)];
        let mut raw = Raw::connect_with(bounded.proxy.address(), &settings).await;
        for stream in (1..200).step_by(2) {
            raw.get(stream, "/large").await;
        }
        connections.push(raw);
    }
    bounded.origin.received(401).await;
    bounded.neighbour_is_served().await;
    let grown = bounded.proxy.process().memory().saturating_sub(before);
    // 400 megabytes would be there to be had: at most what a stream may buffer is taken.
    assert!(grown < 80 << 10, "{grown} KiB for 400 streams");
}
