//! What becomes of the connection of a client whose request was answered early, or refused: the
//! table over all faults.

use super::*;

/// What becomes of a client's connection.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Then {
    Kept,
    Closed,
}
use Then::{Closed, Kept};

/// Sends a request, and one behind it in the same piece, and says what became of the connection.
async fn fate(mut client: Client, name: &str, request: &str, expected: u16) -> Then {
    client
        .send(format!("{request}GET /good HTTP/1.1\r\nHost: test\r\n\r\n"))
        .await;
    let response = client.response().await;
    assert_eq!(response.status, expected, "{name}");
    match response.header("Connection") {
        "close" => {
            client.closed().await;
            Closed
        }
        _ => {
            assert_eq!(client.response().await.text(), "served", "{name}");
            Kept
        }
    }
}

#[tokio::test]
async fn a_well_formed_request_that_is_refused_keeps_its_connection() {
    let (_servers, proxy) = everything("").await;
    let with = |start: &str, lines: &str| format!("{start} HTTP/1.1\r\nHost: test\r\n{lines}\r\n");
    let small = "Content-Length: 5\r\n";
    let body = |start: &str| with(start, small) + "hello";
    let chunked = |start: &str| {
        with(start, "Transfer-Encoding: chunked\r\n") + "5\r\nhello\r\n0\r\nX: y\r\n\r\n"
    };
    let long = format!(
        "GET /good HTTP/1.1\r\nHost: test\r\nX: {}\r\n\r\n",
        "x".repeat(40_000)
    );
    let no_host = "GET /good HTTP/1.1\r\n\r\n".to_owned();
    let cases = [
        // Read whole, and understood.
        ("no such path", with("GET /nowhere", ""), 404, Kept),
        ("no such path, and a body", body("POST /nowhere"), 404, Kept),
        (
            "no such path, and chunks",
            chunked("POST /nowhere"),
            404,
            Kept,
        ),
        (
            "no such host",
            with("GET /good", "").replace("test", "other"),
            404,
            Kept,
        ),
        ("`return`", with("GET /return", ""), 403, Kept),
        ("`return`, and a body", body("POST /return"), 403, Kept),
        ("`return`, and chunks", chunked("POST /return"), 403, Kept),
        ("no server", with("GET /dead", ""), 502, Kept),
        ("no server, and a body", body("POST /dead"), 502, Kept),
        ("a server that resets", with("GET /resets", ""), 502, Kept),
        (
            "another expectation",
            with("GET /good", "Expect: x\r\n"),
            417,
            Kept,
        ),
        ("another method", with("TRACE /good", ""), 405, Kept),
        // Beyond a limit, but not much to drop.
        (
            "too large a body",
            with("POST /limit", "Content-Length: 1025\r\n") + &"x".repeat(1025),
            413,
            Kept,
        ),
        // More than is read and dropped.
        (
            "a large body",
            with("POST /return", "Content-Length: 1000000\r\n"),
            403,
            Closed,
        ),
        // What follows CONNECT may be anything.
        (
            "CONNECT",
            "CONNECT test:80 HTTP/1.1\r\nHost: test:80\r\n\r\n".to_owned(),
            405,
            Closed,
        ),
        // Where the next request begins cannot be believed.
        ("no request", "BAD\x01\r\n\r\n".to_owned(), 400, Closed),
        (
            "two lengths",
            with("POST /good", &small.repeat(2)) + "hello",
            400,
            Closed,
        ),
        (
            "two framings",
            with(
                "POST /good",
                &format!("{small}Transfer-Encoding: chunked\r\n"),
            ),
            400,
            Closed,
        ),
        (
            "no chunk",
            with("POST /limit", "Transfer-Encoding: chunked\r\n") + "zz\r\n",
            400,
            Closed,
        ),
        ("no host", no_host, 400, Closed),
        (
            "another version",
            with("GET /good", "").replace("1.1", "3.0"),
            505,
            Closed,
        ),
        ("a long header", long, 431, Closed),
        (
            "a long target",
            with(&format!("GET /{}", "x".repeat(40_000)), ""),
            414,
            Closed,
        ),
        // The client said so itself.
        (
            "a last request",
            with("GET /nowhere", "Connection: close\r\n"),
            404,
            Closed,
        ),
        (
            "a last request, and a body",
            with("POST /return", &format!("Connection: close\r\n{small}")) + "hello",
            403,
            Closed,
        ),
    ];
    for (name, request, status, then) in cases {
        let fate = fate(proxy.client().await, name, &request, status).await;
        assert_eq!(fate, then, "{name}");
    }
}

/// Faults of TLS that are told by an answer: nginx's 421, and its 495 to 497, which are a 400 on
/// the wire.
#[tokio::test]
async fn a_host_of_another_certificate_keeps_the_connection_and_a_client_without_its_own_does_not()
{
    let authority = Authority::new("Specs");
    let origin = origin::says("served").await;
    let setup = proxy::to([&origin]).listen(
        "client_max_body_size = 0\n\
         tls = { certificates = [{ certificate = \"own.pem\", key = \"own.key\" }, \
         { certificate = \"other.pem\", key = \"other.key\" }], \
         client_certificate = \"require\", client_ca = \"ca.pem\" }",
    );
    for (name, file) in [("test", "own"), ("other", "other")] {
        let certificate = authority.certificate(&[name]);
        certificate.write(setup.directory(), file);
    }
    std::fs::write(setup.directory().join("ca.pem"), authority.pem()).unwrap();
    let proxy = setup.start().await;
    let alice = authority.client_certificate("alice");
    let mallory = Authority::new("Strangers").client_certificate("mallory");
    let known = authority.trusting_as(&alice);
    let body = "Content-Length: 5\r\n";
    for (name, config, host, lines, body, status, then) in [
        (
            "a valid certificate",
            known.clone(),
            "test",
            "",
            "",
            200,
            Kept,
        ),
        ("421", known.clone(), "other", "", "", 421, Kept),
        (
            "421, and a body",
            known.clone(),
            "other",
            body,
            "hello",
            421,
            Kept,
        ),
        (
            "421, and a large body",
            known,
            "other",
            "Content-Length: 1000000\r\n",
            "hello",
            421,
            Closed,
        ),
        (
            "495",
            authority.trusting_as(&mallory),
            "test",
            "",
            "",
            400,
            Closed,
        ),
        ("496", authority.trusting(), "test", "", "", 400, Closed),
        (
            "496, and a body",
            authority.trusting(),
            "test",
            body,
            "hello",
            400,
            Closed,
        ),
    ] {
        let connected = tls::connect(proxy.address(), config, "test").await;
        let client = connected.expect("a handshake");
        let request = format!("POST / HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n{body}");
        assert_eq!(fate(client, name, &request, status).await, then, "{name}");
    }
    for (name, lines, body) in [("497", "", ""), ("497, and a body", body, "hello")] {
        let request = format!("POST / HTTP/1.1\r\nHost: test\r\n{lines}\r\n{body}");
        let fate = fate(proxy.client().await, name, &request, 400).await;
        assert_eq!(fate, Closed, "{name}");
    }
}

#[tokio::test]
async fn a_redirect_to_https_keeps_the_connection_too() {
    let (_servers, proxy) = everything("").await;
    let mut client = Client::connect(proxy.listener(1)).await;
    for _ in 0..2 {
        client
            .send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhello")
            .await;
        let response = client.response().await;
        assert_eq!((response.status, response.header("Connection")), (308, ""));
    }
}

#[tokio::test]
async fn a_body_that_comes_after_its_answer_is_dropped_and_the_connection_goes_on() {
    let (_servers, proxy) = everything("").await;
    for framing in ["Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"] {
        let mut client = proxy.client().await;
        client
            .send(format!(
                "POST /return HTTP/1.1\r\nHost: test\r\n{framing}\r\n"
            ))
            .await;
        assert_eq!(client.response().await.status, 403);
        let body = match framing.starts_with('C') {
            true => "hello",
            false => "5\r\nhello\r\n0\r\n\r\n",
        };
        client.send(body).await;
        assert_eq!(client.get("/good").await.text(), "served");
    }
}

#[tokio::test]
async fn the_small_rest_of_a_request_that_a_server_answered_early_is_dropped() {
    let origin = origin::speaks(|mut wire, _| async move {
        while wire.head().await.is_ok() {
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly")
                .await;
            wire.exactly(50_000).await.ok();
        }
    })
    .await;
    let proxy = proxy::to([&origin])
        .upstream("body_buffer_size = 0")
        .start()
        .await;
    let mut client = proxy.client().await;
    for _ in 0..3 {
        client
            .send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 50000\r\n\r\n")
            .await;
        let response = client.response().await;
        assert_eq!(
            (&*response.text(), response.header("Connection")),
            ("early", "")
        );
        client.send("x".repeat(50_000)).await;
    }
}

#[tokio::test]
async fn a_client_that_waits_for_an_invitation_is_told_to_close() {
    // Whether its body will follow cannot be known (RFC 9110 section 10.1.1): the next request
    // could not be told from it.
    let (_servers, proxy) = everything("").await;
    for path in ["/return", "/nowhere", "/limit"] {
        let mut client = proxy.client().await;
        client
            .send(format!(
                "POST {path} HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\n\
                 Content-Length: 5000\r\n\r\n"
            ))
            .await;
        let response = client.response().await;
        assert!(response.status >= 400, "{path}: {response:?}");
        assert_eq!(response.header("Connection"), "close", "{path}");
        client.closed().await;
    }
}

#[tokio::test]
async fn chunks_without_end_are_not_dropped_for_ever() {
    let (_servers, proxy) = everything("").await;
    let mut client = proxy.client().await;
    client
        .send("POST /return HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    assert_eq!(client.response().await.status, 403);
    let chunk = format!("{:x}\r\n{}\r\n", 1 << 16, "x".repeat(1 << 16));
    for _ in 0..16 {
        // Some of them may already be refused.
        let _ = client.wire.try_send(&chunk).await;
    }
    client.closed().await;
}

#[tokio::test]
async fn a_rest_that_never_comes_is_not_waited_for() {
    let (_servers, proxy) = everything("client_body_timeout = \"300ms\"").await;
    let mut client = proxy.client().await;
    client
        .send("POST /return HTTP/1.1\r\nHost: test\r\nContent-Length: 5\r\n\r\nhe")
        .await;
    assert_eq!(client.response().await.status, 403);
    let waited = tokio::time::timeout(Duration::from_secs(3), client.closed()).await;
    assert!(waited.is_ok(), "still open after ten times its bound");
}

#[tokio::test]
async fn an_answer_behind_an_invitation_leaves_the_rest_to_be_dropped() {
    // Invited, the client sends its body, of which the server wants nothing.
    let gate = Gate::closed();
    let opened = gate.clone();
    let origin = origin::speaks(move |mut wire, _| {
        let gate = opened.clone();
        async move {
            while wire.head().await.is_ok() {
                gate.opened().await;
                wire.send("HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")
                    .await;
                wire.exactly(20_000).await.ok();
            }
        }
    })
    .await;
    let proxy = proxy::to([&origin])
        .upstream("body_buffer_size = 0")
        .start()
        .await;
    let mut client = proxy.client().await;
    client
        .send(
            "POST / HTTP/1.1\r\nHost: test\r\nExpect: 100-continue\r\n\
             Content-Length: 20000\r\n\r\n",
        )
        .await;
    assert_eq!(client.response_head().await.status, 100);
    gate.open();
    let response = client.response().await;
    assert_eq!((response.status, response.header("Connection")), (403, ""));
    client.send("x".repeat(20_000)).await;
    client
        .send("POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 20000\r\n\r\n")
        .await;
    assert_eq!(client.response().await.status, 403);
}

/// More than the sockets hold on the way to a client that reads little.
const LONG_ANSWER: usize = 300_000;

/// What is not read brings about a reset, which may take away the answer.
#[tokio::test]
async fn the_last_answer_of_a_connection_reaches_a_client_that_has_sent_more() {
    let origin = origin::says(&"a".repeat(LONG_ANSWER)).await;
    let proxy = proxy::to([&origin])
        .listen("keepalive_requests = 2")
        .start()
        .await;
    let get = "GET / HTTP/1.1\r\nHost: test\r\n\r\n";
    let post = "POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 30000\r\n\r\n";
    let requests = format!("{get}{get}{post}{}", "x".repeat(30_000));
    for _ in 0..10 {
        let mut client = proxy.client().await;
        client.wire.read_little();
        client.send(&requests).await;
        for _ in 0..2 {
            assert_eq!(client.response().await.body.len(), LONG_ANSWER);
        }
    }
}

/// The limit is on what a server gets, not on what is dropped for the sake of the next request.
#[tokio::test]
async fn a_body_that_is_dropped_is_not_too_large() {
    let origin = http2::serves(h2::server::Builder::new(), |mut exchange| async move {
        if exchange.request.method == "POST" {
            let answer = exchange.begin(200, &[("content-length", "16000000")]);
            let _ = answer.map(|mut body| body.send_data(vec![b'a'; 16_000_000].into(), true));
            // Its end gives up the rest of the request, without an error.
            return;
        }
        let _ = exchange
            .begin(200, &[])
            .map(|mut body| body.send_data("served".into(), true));
    })
    .await;
    let proxy = proxy::to([&origin])
        .server("client_max_body_size = \"100k\"")
        .upstream("http2 = true\nbody_buffer_size = 1000")
        .start()
        .await;
    let chunk = format!("{:x}\r\n{}\r\n", 10_000, "x".repeat(10_000));
    let body = format!("{}0\r\n\r\n", chunk.repeat(20));
    let head = "POST /fixed HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
    let request = format!("{head}{body}");
    let fate = fate(proxy.client().await, "chunks", &request, 200).await;
    assert_eq!(fate, Kept);
}

/// The connection cannot be kept, whatever was said, but the answer is not lost.
#[tokio::test]
async fn a_body_that_breaks_while_it_is_dropped_leaves_the_client_its_answer() {
    let answer = "a".repeat(LONG_ANSWER);
    let proxy = proxy::to([&origin::says("served").await])
        .more(&format!(
            "[[route]]\npath = \"/fixed\"\nreturn = {{ status = 200, body = \"{answer}\" }}"
        ))
        .start()
        .await;
    let head = "POST /fixed HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
    let broken = format!("{head}5\r\nhello\r\nno size\r\n{}", "x".repeat(600_000));
    for _ in 0..10 {
        let mut client = proxy.client().await;
        client.wire.read_little();
        let _ = client.wire.try_send(&broken).await;
        assert_eq!(client.response().await.body.len(), LONG_ANSWER);
    }
}
