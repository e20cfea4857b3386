//! Answers that leave while the request is still coming in. Each reaches the client, even one that
//! sends all before it reads; and what is left of a small request is read and dropped, so that the
//! client keeps its connection.

mod connections; // what becomes of them

use std::time::Duration;

use waypost_tests::http2::{self, Frame, Raw, Reason, flag, kind};
use waypost_tests::tls::{self, Authority};
use waypost_tests::{Client, Gate, Http2, Origin, Proxy, origin, proxy};

/// More than the buffers of all sockets between client and server hold.
const LARGE: usize = 8 << 20;

/// An origin that answers as soon as it has a request's header, says that it will close, and does.
async fn in_a_hurry() -> Origin {
    origin::speaks(|mut wire, _| async move {
        if wire.head().await.is_ok() {
            let answer =
                "HTTP/1.1 413 Enough\r\nContent-Length: 6\r\nConnection: close\r\n\r\nenough";
            wire.send(answer).await;
        }
    })
    .await
}

/// As [`in_a_hurry`], but it neither reads on nor closes.
async fn indifferent() -> Origin {
    origin::speaks(|mut wire, _| async move {
        if wire.head().await.is_ok() {
            wire.send("HTTP/1.1 413 Enough\r\nContent-Length: 6\r\n\r\nenough")
                .await;
            std::future::pending::<()>().await;
        }
    })
    .await
}

/// Reads a request's header and resets the connection.
async fn resetting() -> Origin {
    origin::speaks(|mut wire, _| async move {
        if wire.head().await.is_ok() {
            wire.reset();
        }
    })
    .await
}

/// The servers behind [`everything`], which live as long as the proxy does.
struct Servers(#[allow(dead_code, reason = "held, not read")] [Origin; 4]);

/// A proxy with a route for each way in which an answer can leave early, for the host `test` alone.
async fn everything(listen: &str) -> (Servers, Proxy) {
    let servers = [
        in_a_hurry().await,
        indifferent().await,
        resetting().await,
        origin::says("served").await,
    ];
    let [hurry, indifferent, resets, good] = &servers;
    let dead = origin::refuses();
    let route = |path: &str, lines: &str| {
        format!("[[route]]\nhost = \"test\"\npath = \"{path}\"\n{lines}\n")
    };
    let to = |origin: &Origin| format!("proxy = \"http://{}\"", origin.address());
    let file = [
        "[server]\naccess_log = false\nworkers = 1\n".to_owned(),
        format!(
            "[[listen]]\naddress = \"127.0.0.1:0\"\nclient_max_body_size = 0\n{listen}\n\
             [[listen]]\naddress = \"127.0.0.1:0\"\nredirect_to_https = true\n"
        ),
        route("/good", &to(good)),
        route(
            "/limit",
            &format!("{}\nclient_max_body_size = \"1k\"", to(good)),
        ),
        route("/hurry", &to(hurry)),
        route("/indifferent", &to(indifferent)),
        route("/resets", &to(resets)),
        route("/dead", &to(&dead)),
        route("/return", "return = { status = 403, body = \"ours\" }"),
        route("/moved", "return = { location = \"https://$host/\" }"),
    ]
    .concat();
    (Servers(servers), proxy::run(&file, &[]).await)
}

/// Sends a header and then bytes that the proxy has to take, and only then reads.
async fn sends_all_then_reads(client: &mut Client, name: &str, head: &str, body: &[u8]) -> u16 {
    client.send(head).await;
    for part in body.chunks(1 << 20) {
        let sent = client.wire.try_send(part).await;
        assert!(sent.is_ok(), "{name}: the proxy reads no more: {sent:?}");
    }
    let response = client.response().await;
    response.status
}

/// A request's header with a body of [`LARGE`] bytes to come.
fn large(start: &str) -> String {
    format!("{start} HTTP/1.1\r\nHost: test\r\nContent-Length: {LARGE}\r\n\r\n")
}

#[tokio::test]
async fn a_client_that_sends_all_before_it_reads_gets_every_early_answer() {
    let (_servers, proxy) = everything("").await;
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 16, "x".repeat(1 << 16));
    let chunked =
        "POST /limit HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
    let bad_chunk = "POST /good HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n";
    let cases: [(&str, String, u16); 14] = [
        (
            "a server that answers at once and closes",
            large("POST /hurry"),
            413,
        ),
        (
            "a server that answers at once and stays",
            large("POST /indifferent"),
            413,
        ),
        ("a server that resets", large("POST /resets"), 502),
        ("no server", large("POST /dead"), 502),
        ("`return`", large("POST /return"), 403),
        ("`return` with a location", large("POST /moved"), 302),
        ("a limit, and a length beyond it", large("POST /limit"), 413),
        ("no such path", large("POST /nowhere"), 404),
        (
            "no such host",
            large("POST /good").replace("Host: test", "Host: other"),
            404,
        ),
        (
            "another expectation",
            large("POST /good").replace("\r\n\r\n", "\r\nExpect: x\r\n\r\n"),
            417,
        ),
        ("another method", large("TRACE /good"), 405),
        (
            "no host",
            large("POST /good").replace("Host: test\r\n", ""),
            400,
        ),
        (
            "another version",
            large("POST /good").replace("1.1", "3.0"),
            505,
        ),
        ("no chunk", bad_chunk.to_owned(), 400),
    ];
    let body = vec![b'x'; LARGE];
    for (name, head, expected) in cases {
        let mut client = proxy.client().await;
        let status = sends_all_then_reads(&mut client, name, &head, &body).await;
        assert_eq!(status, expected, "{name}");
    }
    let mut client = proxy.client().await;
    let chunks = chunk.repeat(LARGE / chunk.len());
    let status = sends_all_then_reads(&mut client, "chunks", &chunked, chunks.as_bytes()).await;
    assert_eq!(status, 413, "a limit, and chunks beyond it");
    let mut client = Client::connect(proxy.listener(1)).await;
    let status = sends_all_then_reads(&mut client, "https", &large("POST /"), &body).await;
    assert_eq!(status, 308, "a redirect to https");
}

#[tokio::test]
async fn over_tls_it_gets_them_too() {
    let authority = Authority::new("Specs");
    let origin = in_a_hurry().await;
    let setup = proxy::to([&origin]);
    authority
        .certificate(&["test"])
        .write(setup.directory(), "own");
    let proxy = setup
        .listen("client_max_body_size = 0\ntls = { certificate = \"own.pem\", key = \"own.key\" }")
        .more("[[route]]\npath = \"/return\"\nreturn = { status = 403, body = \"ours\" }")
        .start()
        .await;
    let body = vec![b'x'; LARGE];
    for (name, expected) in [("POST /hurry", 413), ("POST /return", 403)] {
        let config = authority.trusting();
        let connected = tls::connect(proxy.address(), config, "test").await;
        let mut client = connected.expect("a handshake");
        let status = sends_all_then_reads(&mut client, name, &large(name), &body).await;
        assert_eq!(status, expected, "{name}");
    }
}

#[tokio::test]
async fn an_answer_that_fills_the_client_s_window_waits_for_nothing_but_the_request() {
    // The client reads nothing before it has sent all, and the answer is more than the sockets
    // hold: the proxy has to take the request while it writes.
    let text = "y".repeat(LARGE);
    let file = format!(
        "[server]\naccess_log = false\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
         client_max_body_size = 0\n\
         [[route]]\nreturn = {{ status = 200, body = \"{text}\" }}\n"
    );
    let proxy = proxy::run(&file, &[]).await;
    let mut client = proxy.client().await;
    client.send(large("POST /")).await;
    for part in vec![b'x'; 4 * LARGE].chunks(1 << 20).take(LARGE >> 20) {
        client.send(part).await;
    }
    assert_eq!(client.response().await.body.len(), LARGE);
}

#[tokio::test]
async fn in_http2_an_early_answer_is_whole_and_the_connection_goes_on() {
    let (_servers, proxy) = everything("").await;
    let mut client = Http2::connect(proxy.address()).await;
    let cases = [
        ("/hurry", 413),
        ("/indifferent", 413),
        ("/resets", 502),
        ("/dead", 502),
        ("/return", 403),
        ("/moved", 302),
        ("/limit", 413),
        ("/nowhere", 404),
    ];
    for (path, expected) in cases {
        let mut stream = client.begin("POST", path, &[]).await;
        // The client has a window's worth on its way before it looks for the answer.
        stream.send(vec![b'x'; 1 << 20], false);
        let response = stream.response().await;
        assert_eq!(response.status, expected, "{path}");
    }
    assert_eq!(client.get("/good").await.text(), "served");
}

#[tokio::test]
async fn in_http2_the_rest_of_an_answered_request_is_declined_without_an_error() {
    let (_servers, proxy) = everything("").await;
    let mut client = Raw::connect(proxy.address()).await;
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", "test"),
        (":path", "/return"),
    ];
    client
        .send(Frame::headers(1, flag::END_HEADERS, &fields))
        .await;
    client.send(Frame::data(1, flag::NONE, "some")).await;
    let head = client.until_kind(kind::HEADERS).await;
    assert_eq!(head.status(), 403);
    let last = client
        .until("the end of the answer", |frame| frame.has(flag::END_STREAM))
        .await;
    assert_eq!(last.payload, b"ours");
    // RFC 9113 section 8.1: after a whole response, NO_ERROR asks the client to send no more.
    let reset = client.until_kind(kind::RST_STREAM).await;
    assert_eq!(reset.reason(), Reason::NO_ERROR);
}

#[tokio::test]
async fn a_server_of_http2_that_has_answered_may_decline_the_rest_of_a_request() {
    // Its answer tells no length: its end is all that says that it is whole.
    let origin = origin::speaks(|wire, _| async move {
        let mut server = Raw::accept(wire, &[]).await;
        server.until_kind(kind::HEADERS).await;
        let fields = [(":status", "413"), ("content-type", "text/plain")];
        server
            .send(Frame::headers(1, flag::END_HEADERS, &fields))
            .await;
        server
            .send(Frame::data(1, flag::END_STREAM, "enough"))
            .await;
        server.send(Frame::reset(1, Reason::NO_ERROR)).await;
        while server.next().await.is_some() {}
    })
    .await;
    let proxy = proxy::to([&origin])
        .listen("client_max_body_size = 0")
        .upstream("http2 = true")
        .start()
        .await;
    let body = vec![b'x'; LARGE];
    let mut client = proxy.client().await;
    client.send(large("POST /")).await;
    for part in body.chunks(1 << 20) {
        client.send(part).await;
    }
    let response = client.response().await;
    assert_eq!((response.status, &*response.text()), (413, "enough"));
}
