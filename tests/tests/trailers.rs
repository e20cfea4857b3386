//! Fields behind a body (RFC 9110 section 6.5): metadata passes under any name, and fields that
//! frame or route a message do not.

use waypost_tests::http2::{self, Exchange};
use waypost_tests::{Answer, Fields, Http2, Origin, Proxy, origin, proxy};

/// Names that mean something in a header and are metadata here.
const METADATA: [&str; 14] = [
    "age",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expires",
    "grpc-status",
    "location",
    "server",
    "set-cookie",
    "x-anything",
];

/// Names that would frame or route a message in the eyes of a reader that joins trailers to the
/// header.
const FRAMING: [&str; 15] = [
    "connection",
    "content-length",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-real-ip",
];

/// As many bytes as a trailer section may have.
const BOUND: usize = 32 << 10;

fn lines<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let line = |name| format!("{name}: of {name}\r\n");
    names.into_iter().map(line).collect()
}

/// Trailer lines that are one section of just that many bytes.
fn lines_of(bytes: usize) -> String {
    let line = format!("x: {}\r\n", "y".repeat(95));
    let mut lines = line.repeat(bytes / line.len());
    let rest = bytes - lines.len();
    if rest > 0 {
        // A line needs six bytes around its value.
        lines.truncate(lines.len() - line.len());
        let value = "z".repeat(rest + line.len() - 5);
        lines.push_str(&format!("x: {value}\r\n"));
    }
    assert_eq!(lines.len(), bytes);
    lines
}

async fn answering(trailers: String) -> (Origin, Proxy) {
    let origin = origin::answers(move |_| {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        Answer::raw(format!("{head}4\r\nbody\r\n0\r\n{trailers}\r\n"))
    })
    .await;
    let proxy = proxy::to([&origin]).server("workers = 1").start().await;
    (origin, proxy)
}

fn names(fields: &Fields) -> Vec<String> {
    let mut names: Vec<String> = fields.0.iter().map(|(name, _)| name.clone()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn metadata_of_a_server_passes_and_what_frames_or_routes_does_not() {
    let all = METADATA.iter().chain(&FRAMING).copied();
    let (_origin, proxy) = answering(lines(all)).await;
    let mut client = proxy.client().await;
    let by_one = client.get("/").await;
    let by_two = Http2::connect(proxy.address()).await.get("/").await;
    for response in [by_one, by_two] {
        assert_eq!(response.text(), "body");
        assert_eq!(names(&response.trailers), METADATA, "{}", response.version);
        for name in METADATA {
            let value = response.trailers.get(name);
            assert_eq!(value, Some(&*format!("of {name}")), "{name}");
        }
    }
}

#[tokio::test]
async fn metadata_of_a_server_of_http_2_passes() {
    let origin = http2::serves(
        h2::server::Builder::new(),
        |mut exchange: Exchange| async move {
            exchange.read().await;
            let mut body = exchange.begin(200, &[]).expect("a client");
            let field = |name: &str| (name.to_owned(), format!("of {name}"));
            let all = METADATA.iter().chain(&FRAMING).copied();
            // What HTTP/2 itself forbids would never be read (RFC 9113 section 8.2.2).
            let own = [
                "connection",
                "keep-alive",
                "proxy-connection",
                "transfer-encoding",
                "upgrade",
            ];
            let sent = all.filter(|name| !own.contains(name) && *name != "te");
            drop(body.send_data("body".into(), false));
            drop(body.send_trailers(Fields(sent.map(field).collect()).to_map()));
        },
    )
    .await;
    let proxy = proxy::to([&origin]).upstream("http2 = true").start().await;
    let response = Http2::connect(proxy.address()).await.get("/").await;
    assert_eq!(names(&response.trailers), METADATA);
}

#[tokio::test]
async fn metadata_of_a_client_passes_and_what_frames_or_routes_does_not() {
    for buffer in ["", "body_buffer_size = 0"] {
        let origin = origin::says("served").await;
        let proxy = proxy::to([&origin]).upstream(buffer).start().await;
        let all = METADATA.iter().chain(&FRAMING).copied();
        let forged = ["X_Forwarded_For", "x_real-ip", "content_length"];
        let request = format!(
            "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
             4\r\nbody\r\n0\r\n{}\r\n",
            lines(all.chain(forged))
        );
        assert_eq!(proxy.exchange(request).await.status, 200);
        let request = origin.request();
        assert_eq!(request.body, b"body");
        assert_eq!(names(&request.trailers), METADATA, "{buffer:?}");
    }
}

/// What the route sets or removes, as it writes them and as a server that folds names reads them,
/// and what `Connection` names.
const REPLACED: [&str; 8] = [
    "x-client", "X_Client", "x.client", "X-Secret", "x_secret", "X-Listed", "X_Listed", "x-LISTED",
];

/// A server of either version that records requests with their trailers.
async fn recording(http2: bool) -> Origin {
    if !http2 {
        return origin::says("served").await;
    }
    let settings = h2::server::Builder::new();
    http2::serves(settings, |mut exchange: Exchange| async move {
        exchange.read().await;
        drop(
            exchange
                .begin(200, &[])
                .expect("a client")
                .send_data("served".into(), true),
        );
    })
    .await
}

#[tokio::test]
async fn what_the_route_sets_or_removes_does_not_come_back_behind_a_body() {
    for (upstream, http2) in [
        ("", false),
        ("body_buffer_size = 0", false),
        ("http2 = true", true),
        ("http2 = true\nbody_buffer_size = 0", true),
    ] {
        let origin = recording(http2).await;
        let proxy = proxy::to([&origin])
            .upstream(upstream)
            .route(
                "request_headers = { set = { X-Client = \"ours\" }, remove = [\"X-Secret\"], \
                 add = { X-Anything = \"ours\" } }",
            )
            .start()
            .await;
        let names_sent = REPLACED.into_iter().chain(["x-anything", "user_id"]);
        let request = format!(
            "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\
             Connection: close, x-listed\r\n\r\n4\r\nbody\r\n0\r\n{}\r\n",
            lines(names_sent.clone())
        );
        assert_eq!(proxy.exchange(request).await.text(), "served", "{upstream}");
        let mut client = Http2::connect(proxy.address()).await;
        let mut stream = client.begin("POST", "/", &[]).await;
        stream.send("body", false);
        // `Connection` is not a field of HTTP/2: what it names is only forbidden above.
        let sent = names_sent.filter(|name| !name.to_lowercase().contains("listed"));
        let sent = sent.map(|name| (name.to_lowercase(), "forged".to_owned()));
        stream.finish(Fields(sent.collect()).to_map());
        assert_eq!(stream.response().await.text(), "served", "{upstream}");
        let requests = origin.requests();
        assert_eq!(requests.len(), 2);
        for request in requests {
            assert_eq!(request.body, b"body");
            assert_eq!(request.header("X-Client"), "ours");
            assert_eq!(
                names(&request.trailers),
                ["user_id", "x-anything"],
                "{upstream}"
            );
        }
    }
}

#[tokio::test]
async fn what_the_route_sets_or_removes_of_an_answer_does_not_come_back_behind_its_body() {
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: x-listed\r\n\r\n";
    let sent = ["X-Server", "x-secret", "X-Listed", "x-anything"];
    let one = origin::answers(move |_| {
        Answer::raw(format!("{head}4\r\nbody\r\n0\r\n{}\r\n", lines(sent)))
    });
    let settings = h2::server::Builder::new();
    let two = http2::serves(settings, move |mut exchange: Exchange| async move {
        exchange.read().await;
        let mut body = exchange.begin(200, &[]).expect("a client");
        let field = |name: &str| (name.to_lowercase(), "forged".to_owned());
        let sent = sent.iter().copied().filter(|name| *name != "X-Listed");
        drop(body.send_data("body".into(), false));
        drop(body.send_trailers(Fields(sent.map(field).collect()).to_map()));
    });
    for (origin, upstream) in [(one.await, ""), (two.await, "http2 = true")] {
        let proxy = proxy::to([&origin])
            .upstream(upstream)
            .route(
                "response_headers = { set = { X-Server = \"ours\" }, remove = [\"X-Secret\"], \
                 add = { X-Anything = \"ours\" } }",
            )
            .start()
            .await;
        let by_one = proxy.client().await.get("/").await;
        let by_two = Http2::connect(proxy.address()).await.get("/").await;
        for response in [by_one, by_two] {
            assert_eq!(
                (response.text(), response.header("X-Server")),
                ("body".to_owned(), "ours")
            );
            assert_eq!(
                names(&response.trailers),
                ["x-anything"],
                "{upstream} {}",
                response.version
            );
        }
    }
}

#[tokio::test]
async fn trailers_are_bounded_by_their_bytes_and_not_by_their_number() {
    let many = (0..1000).map(|number| format!("x-{number}: y\r\n"));
    for trailers in [many.collect::<String>(), lines_of(BOUND)] {
        let expected = trailers.matches("\r\n").count();
        let (_origin, proxy) = answering(trailers).await;
        let mut client = proxy.client().await;
        assert_eq!(client.get("/").await.trailers.0.len(), expected);
        let response = Http2::connect(proxy.address()).await.get("/").await;
        assert_eq!(response.trailers.0.len(), expected);
    }
}

#[tokio::test]
async fn trailers_of_a_server_beyond_the_bound_are_dropped_and_the_answer_stays() {
    for bytes in [BOUND + 1, 10 * BOUND] {
        let (origin, proxy) = answering(lines_of(bytes)).await;
        let mut client = proxy.client().await;
        for _ in 0..2 {
            let response = client.get("/").await;
            assert_eq!((response.status, &*response.text()), (200, "body"));
            assert!(response.trailers.0.is_empty());
        }
        let response = Http2::connect(proxy.address()).await.get("/").await;
        assert_eq!((response.status, &*response.text()), (200, "body"));
        assert!(response.trailers.0.is_empty());
        // The server's connection is used again: the proxy knows where the answer ends.
        assert_eq!(origin.connections(), 1);
        proxy
            .log_contains("upstream sent trailers of more than 32768 bytes")
            .await;
    }
}

#[tokio::test]
async fn trailers_of_a_client_beyond_the_bound_are_refused() {
    let origin = origin::says("served").await;
    let proxy = proxy::to([&origin]).start().await;
    let request = |bytes| {
        format!(
            "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
             4\r\nbody\r\n0\r\n{}\r\n",
            lines_of(bytes)
        )
    };
    assert_eq!(proxy.exchange(request(BOUND)).await.status, 200);
    assert_eq!(proxy.exchange(request(BOUND + 1)).await.status, 400);
    assert_eq!(origin.requests().len(), 1);
}
