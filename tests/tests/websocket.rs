//! WebSocket: with programs of others over HTTP/1.1, and over HTTP/2 as RFC 8441 has it.

use rustix::process::Signal;
use waypost_tests::admin::ADMIN;
use waypost_tests::http2::{self, Frame, Outcome, Raw, Reason, Stream, flag, kind};
use waypost_tests::websocket::accept;
use waypost_tests::{
    Answer, Http2, Origin, Proxy, eventually, in_time, origin, pause, peers, proxy,
};

/// An origin that upgrades in HTTP/1.1 and echoes lines; it closes its side after `end`.
async fn echo() -> Origin {
    origin::speaks(|mut wire, _| async move {
        let Ok(head) = wire.head().await else { return };
        let key = head.fields.get("Sec-WebSocket-Key").unwrap_or_default();
        let version = head.fields.get("Sec-WebSocket-Version");
        let asked = head.fields.get("Upgrade") == Some("websocket")
            && head.start == "GET /chat HTTP/1.1"
            && version == Some("13")
            && key.len() == 24;
        if !asked {
            let refusal = "HTTP/1.1 403 No Upgrade\r\nContent-Length: 2\r\n\r\nno";
            return wire.send(refusal).await;
        }
        let protocol = head.fields.get("Sec-WebSocket-Protocol").unwrap_or("none");
        let accept = accept(key);
        wire.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {protocol}\r\n\r\nwelcome\n"
        ))
        .await;
        while let Ok(line) = wire.until(b"\n").await {
            if line == b"end\n" {
                return wire.send("goodbye\n").await;
            }
            wire.send(line).await;
        }
        // The client has said its last word; so do we.
        let _ = wire.try_send("closed\n").await;
    })
    .await
}

/// An extended CONNECT for a WebSocket.
async fn ask(client: &mut Http2, path: &str, protocol: &str) -> Stream {
    client.offers_extended_connect().await;
    let mut request = client.request(
        "CONNECT",
        path,
        &[
            ("sec-websocket-version", "13"),
            ("sec-websocket-protocol", "chat"),
        ],
    );
    request
        .extensions_mut()
        .insert(h2::ext::Protocol::from(protocol));
    client.open(request, false).await
}

/// An open WebSocket over HTTP/2, and its connection.
async fn open(address: &str) -> (Http2, Stream) {
    let mut client = Http2::connect(address).await;
    let mut stream = ask(&mut client, "/chat", "websocket").await;
    let head = stream.head().await;
    assert_eq!(head.status, 200, "{head:?}");
    for name in [
        "connection",
        "upgrade",
        "sec-websocket-accept",
        "transfer-encoding",
        "content-length",
    ] {
        assert_eq!(head.headers.get(name), None, "{name}");
    }
    assert_eq!(head.header("sec-websocket-protocol"), "chat");
    assert_eq!(line(&mut stream).await, "welcome\n");
    (client, stream)
}

/// Reads up to the end of a line; all that had come by then.
async fn line(stream: &mut Stream) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"\n") {
        text.extend(stream.part().await);
    }
    String::from_utf8(text).unwrap()
}

async fn says(stream: &mut Stream, word: &str) {
    stream.send(word, false);
    assert_eq!(line(stream).await, word);
}

#[tokio::test]
async fn a_client_and_a_server_of_others_understand_each_other() {
    let Some(python) = peers::python(&["websockets"]) else {
        return;
    };
    let server = peers::Server::start(&python, "websocket_server.py").await;
    let proxy = proxy::to([format!("{{ address = \"{}\" }}", server.address())])
        .start()
        .await;
    let said = peers::run(&python, "websocket_client.py", &[proxy.address()]).await;
    assert!(said.contains("all messages are well"), "{said}");
    server.said().contains("closed 4001").await;
    server.said().contains("closed 1000").await;
}

#[tokio::test]
async fn over_http_2_a_server_of_http_1_is_asked_to_upgrade() {
    let origin = echo().await;
    let proxy = proxy::to([&origin]).start().await;
    let (_client, mut stream) = open(proxy.address()).await;
    let long = format!("{}\n", "x".repeat(300_000));
    for word in ["one\n", "\0\x01\n", "GET / HTTP/1.1\r\n", &long] {
        says(&mut stream, word).await;
    }
}

#[tokio::test]
async fn many_sockets_and_requests_share_a_connection() {
    let origin = echo().await;
    let proxy = proxy::to([&origin])
        .route("path = \"/chat\"")
        .more("[[route]]\npath = \"/\"\nreturn = { status = 200, body = \"page\" }")
        .start()
        .await;
    let mut client = Http2::connect(proxy.address()).await;
    let mut sockets = Vec::new();
    for _ in 0..10 {
        let mut stream = ask(&mut client, "/chat", "websocket").await;
        assert_eq!(stream.head().await.status, 200);
        assert_eq!(line(&mut stream).await, "welcome\n");
        sockets.push(stream);
    }
    assert_eq!(client.get("/").await.text(), "page");
    for socket in &mut sockets {
        says(socket, "still here\n").await;
    }
    // One that ends takes no other along.
    sockets.remove(0).reset(Reason::CANCEL);
    origin.has_open(9).await;
    says(&mut sockets[0], "and here\n").await;
}

#[tokio::test]
async fn a_server_of_http_2_gets_an_extended_connect() {
    let mut settings = h2::server::Builder::new();
    settings.enable_connect_protocol();
    let origin = http2::serves(settings, |mut exchange| async move {
        exchange.record();
        let mut body = exchange
            .begin(200, &[("sec-websocket-protocol", "chat")])
            .unwrap();
        body.send_data("welcome\n".into(), false).unwrap();
        while let Some(part) = exchange.part().await {
            drop(body.send_data(part, false));
        }
        drop(body.send_data("closed\n".into(), true));
    })
    .await;
    let proxy = proxy::to([&origin]).upstream("http2 = true").start().await;
    let (_client, mut stream) = open(proxy.address()).await;
    says(&mut stream, "hello\n").await;
    let request = origin.request();
    assert_eq!((&*request.method, &*request.target), ("CONNECT", "/chat"));
    assert_eq!(request.header(":protocol"), "websocket");
    assert_eq!(request.header("sec-websocket-version"), "13");
    stream.send("", true);
    assert_eq!(line(&mut stream).await, "closed\n");
    assert!(stream.try_part().await.is_none());

    // From HTTP/1.1 as well: the key is answered by us, since HTTP/2 has none.
    let mut client = proxy.client().await;
    client
        .send(
            "GET /chat HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        )
        .await;
    let response = client.response_head().await;
    assert_eq!(response.status, 101);
    assert_eq!(
        response.header("Sec-WebSocket-Accept"),
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    );
    assert_eq!(client.wire.until(b"\n").await.unwrap(), b"welcome\n");
    client.send("from one to two\n").await;
    assert_eq!(
        client.wire.until(b"\n").await.unwrap(),
        b"from one to two\n"
    );
    assert_eq!(origin.requests()[1].headers.get("sec-websocket-key"), None);
}

#[tokio::test]
async fn a_server_that_declines_answers_in_its_own_words() {
    let origin = echo().await;
    let proxy = proxy::to([&origin]).start().await;
    let mut client = Http2::connect(proxy.address()).await;
    let mut stream = ask(&mut client, "/other", "websocket").await;
    let response = stream.response().await;
    assert_eq!((response.status, &*response.text()), (403, "no"));
    assert!(client.is_open());
}

/// An origin that answers each request on its connection with these bytes.
async fn declining(answer: &'static str) -> Origin {
    origin::answers(move |_| Answer::raw(answer)).await
}

/// In HTTP/2, 2xx opens the tunnel (RFC 8441 section 5); in HTTP/1.1 it is a page.
#[tokio::test]
async fn a_server_that_ignores_the_upgrade_opens_nothing() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npage",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-0/2\r\nContent-Length: 1\r\n\r\np",
    ] {
        let origin = declining(answer).await;
        let proxy = proxy::to([&origin]).start().await;
        let mut client = Http2::connect(proxy.address()).await;
        for _ in 0..2 {
            let mut stream = ask(&mut client, "/chat", "websocket").await;
            let response = stream.response().await;
            assert_eq!(response.status, 502, "{answer}");
            assert_ne!(response.text(), "page");
        }
        // The server did nothing wrong: it stays in rotation.
        assert_eq!(client.get("/").await.status / 100, 2, "{answer}");
        assert_eq!(origin.requests().len(), 3);
        proxy.log_contains("instead of changing the protocol").await;
    }
}

#[tokio::test]
async fn over_http_2_a_client_has_no_key_of_its_own() {
    let origin = echo().await;
    let proxy = proxy::to([&origin]).start().await;
    let mut client = Http2::connect(proxy.address()).await;
    client.offers_extended_connect().await;
    let fields = [
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "AAAAAAAAAAAAAAAAAAAAAA=="),
    ];
    let mut request = client.request("CONNECT", "/chat", &fields);
    let protocol = h2::ext::Protocol::from("websocket");
    request.extensions_mut().insert(protocol);
    let mut stream = client.open(request, false).await;
    // The harness's origin fails the spec if a request has two of them.
    assert_eq!(stream.head().await.status, 200);
    assert_eq!(line(&mut stream).await, "welcome\n");
}

#[tokio::test]
async fn an_answer_with_another_key_opens_nothing() {
    let origin = origin::speaks(|mut wire, _| async move {
        let Ok(_) = wire.head().await else { return };
        wire.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
        )
        .await;
        wire.rest().await;
    })
    .await;
    let proxy = proxy::to([&origin]).start().await;
    let mut client = Http2::connect(proxy.address()).await;
    let mut stream = ask(&mut client, "/chat", "websocket").await;
    assert_eq!(stream.response().await.status, 502);
}

#[tokio::test]
async fn other_protocols_are_for_the_server_to_judge() {
    let origin = echo().await;
    let proxy = proxy::to([&origin]).start().await;
    let mut client = Http2::connect(proxy.address()).await;
    let mut stream = ask(&mut client, "/chat", "connect-udp").await;
    let response = stream.response().await;
    assert_eq!((response.status, &*response.text()), (403, "no"));
}

#[tokio::test]
async fn what_is_no_protocol_reaches_no_server() {
    let mut settings = h2::server::Builder::new();
    settings.enable_connect_protocol();
    let by_one = echo().await;
    let by_two = http2::serves(settings, |mut exchange| async move { exchange.record() }).await;
    for (origin, http2) in [(&by_one, false), (&by_two, true)] {
        let proxy = proxy::to([origin])
            .upstream(&format!("http2 = {http2}"))
            .start()
            .await;
        for protocol in [
            "websocket\r\nx-forged: 1",
            "websocket\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: t\r\n\r\n",
            "web\rsocket",
            "web\nsocket",
            "web socket",
            "",
            "h2c",
        ] {
            let fields = [
                (":method", "CONNECT"),
                (":protocol", protocol),
                (":scheme", "http"),
                (":authority", "test"),
                (":path", "/chat"),
                ("sec-websocket-version", "13"),
            ];
            let mut raw = Raw::connect(proxy.address()).await;
            raw.send(Frame::headers(1, flag::END_HEADERS, &fields))
                .await;
            let outcome = raw.outcome(1).await;
            assert_eq!(outcome, Outcome::Status(400), "{protocol:?}");
        }
        assert_eq!(origin.connections(), 0);
    }
}

#[tokio::test]
async fn an_upgrade_to_http_2_reaches_no_server() {
    let by_one = origin::says("plain").await;
    let by_two = http2::says("plain").await;
    for (origin, http2) in [(&by_one, false), (&by_two, true)] {
        let proxy = proxy::to([origin])
            .upstream(&format!("http2 = {http2}"))
            .start()
            .await;
        for upgrade in ["h2c", "H2C", "websocket, h2c"] {
            let lines = format!(
                "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: {upgrade}\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
            );
            assert_eq!(proxy.get_with("/", &lines).await.text(), "plain");
        }
        for request in origin.requests() {
            assert_eq!(request.headers.get("upgrade"), None);
            assert_eq!(request.headers.get("http2-settings"), None);
        }
    }
}

#[tokio::test]
async fn a_server_of_http_2_that_offers_no_sockets_is_not_out_of_order() {
    let servers = [http2::says("plain").await, http2::says("plain").await];
    let proxy = proxy::to(
        servers
            .each_ref()
            .map(|origin| origin.with("max_fails = 1")),
    )
    .server("workers = 1")
    .upstream("http2 = true")
    .start()
    .await;
    let lines = "Connection: Upgrade\r\nUpgrade: websocket\r\n";
    for _ in 0..4 {
        assert_eq!(proxy.get_with("/", lines).await.status, 502);
    }
    proxy.log_contains("does not let WebSocket through").await;
    for _ in 0..4 {
        assert_eq!(proxy.get("/").await.text(), "plain");
    }
    assert!(!proxy.log().contains("disabled"), "{}", proxy.log());
    // A list of protocols cannot be said in HTTP/2 (`:protocol` has one), and an `Upgrade` may be
    // ignored.
    let lines = "Connection: Upgrade\r\nUpgrade: websocket, other/1\r\n";
    assert_eq!(proxy.get_with("/", lines).await.text(), "plain");
}

#[tokio::test]
async fn protocols_without_a_key_are_not_asked_for_one() {
    let origin = origin::speaks(|mut wire, _| async move {
        let head = wire.head().await.unwrap();
        assert_eq!(head.fields.get("Upgrade"), Some("connect-udp"));
        assert_eq!(head.fields.get("Sec-WebSocket-Key"), None);
        wire.send(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: connect-udp\r\n\r\nwelcome\n",
        )
        .await;
        wire.rest().await;
    })
    .await;
    let proxy = proxy::to([&origin]).start().await;
    let mut client = Http2::connect(proxy.address()).await;
    let mut stream = ask(&mut client, "/chat", "connect-udp").await;
    assert_eq!(stream.head().await.status, 200);
    assert_eq!(line(&mut stream).await, "welcome\n");
}

#[tokio::test]
async fn a_version_that_the_server_does_not_speak_is_its_business() {
    let origin =
        origin::answers(|_| Answer::status(426, "try 13").header("Sec-WebSocket-Version", "13, 8"))
            .await;
    let proxy = proxy::to([&origin]).start().await;
    let lines = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 7\r\n";
    let by_one = proxy.get_with("/", lines).await;
    let mut client = Http2::connect(proxy.address()).await;
    let by_two = ask(&mut client, "/", "websocket").await.response().await;
    for response in [by_one, by_two] {
        assert_eq!((response.status, &*response.text()), (426, "try 13"));
        assert_eq!(response.header("Sec-WebSocket-Version"), "13, 8");
    }
}

#[tokio::test]
async fn the_end_of_either_direction_is_passed_on() {
    let origin = echo().await;
    let proxy = proxy::to([&origin]).start().await;
    let (_client, mut stream) = open(proxy.address()).await;
    stream.send("last words\n", true);
    let mut rest = Vec::new();
    while let Some(part) = stream.try_part().await {
        rest.extend(part.unwrap());
    }
    assert_eq!(rest, b"last words\nclosed\n");
    origin.has_open(0).await;

    let (_client, mut stream) = open(proxy.address()).await;
    stream.send("end\n", false);
    assert_eq!(line(&mut stream).await, "goodbye\n");
    assert!(stream.try_part().await.is_none_or(|part| part.is_err()));
    origin.has_open(0).await;
}

#[tokio::test]
async fn a_server_that_keeps_its_half_open_is_left_and_the_connection_goes_on() {
    let origin = origin::speaks(|mut wire, _| async move {
        let Ok(head) = wire.head().await else { return };
        let accept = accept(head.fields.get("Sec-WebSocket-Key").unwrap_or_default());
        wire.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: chat\r\n\r\nwelcome\n"
        ))
        .await;
        wire.rest().await;
        std::future::pending::<()>().await;
    })
    .await;
    let proxy = proxy::to([&origin])
        .upstream("read_timeout = \"1h\"\nhalf_close_timeout = \"300ms\"")
        .more(ADMIN)
        .start()
        .await;
    let (mut client, mut stream) = open(proxy.address()).await;
    stream.send("last words\n", true);
    // It was cut off, and does not look complete.
    assert!(stream.try_part().await.is_some_and(|part| part.is_err()));
    eventually("its lease to end", async || {
        proxy.server(origin.address()).await["in_flight"] == 0
    })
    .await;
    let mut next = ask(&mut client, "/chat", "websocket").await;
    assert_eq!(next.head().await.status, 200);
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_sockets() {
    let origin = echo().await;
    let proxy = proxy::to([&origin]).start().await;
    let (client, stream) = open(proxy.address()).await;
    drop((client, stream));
    origin.has_open(0).await;
}

#[tokio::test]
async fn silence_ends_a_socket_and_not_its_connection() {
    let origin = echo().await;
    let proxy = proxy::to([&origin])
        .upstream("read_timeout = \"1s\"")
        .start()
        .await;
    let (mut client, mut stream) = open(proxy.address()).await;
    // Longer than the timeout in all, and never silent for that long.
    for _ in 0..12 {
        pause().await;
        says(&mut stream, "still here\n").await;
    }
    assert!(stream.try_part().await.is_none_or(|part| part.is_err()));
    origin.has_open(0).await;
    let mut next = ask(&mut client, "/chat", "websocket").await;
    assert_eq!(next.head().await.status, 200);
}

#[tokio::test]
async fn a_socket_counts_as_load() {
    let (a, b) = (echo().await, echo().await);
    let proxy = proxy::to([&a, &b])
        .upstream("policy = \"least_conn\"")
        .start()
        .await;
    let first = open(proxy.address()).await;
    let _second = open(proxy.address()).await;
    assert_eq!((a.open(), b.open()), (1, 1));
    drop(first);
    a.has_open(0).await;
    eventually(
        "the next socket to go where the first one ended",
        async || {
            let _third = open(proxy.address()).await;
            a.open() == 1
        },
    )
    .await;
}

#[tokio::test]
async fn sockets_survive_a_reload_and_hold_a_graceful_end() {
    let origin = echo().await;
    let mut proxy = proxy::to([&origin]).more(ADMIN).start().await;
    let (client, mut stream) = open(proxy.address()).await;
    proxy.append("[upstream.more]\nservers = [\"127.0.0.1:9\"]\n");
    proxy.reload().await;
    says(&mut stream, "after the reload\n").await;
    proxy.signal(Signal::QUIT);
    proxy.log_contains("draining").await;
    says(&mut stream, "before the end\n").await;
    assert!(proxy.process().runs());
    drop((client, stream));
    in_time("the end", proxy.process().ended()).await;
}

#[tokio::test]
async fn many_bytes_pass_both_ways_at_once() {
    let origin = echo().await;
    let proxy = proxy::to([&origin]).start().await;
    let (_client, mut stream) = open(proxy.address()).await;
    let mut random = fastrand::Rng::with_seed(8441);
    let mut sent = Vec::new();
    for _ in 0..300 {
        let line: String = (0..random.usize(0..20_000))
            .map(|_| random.alphanumeric())
            .collect();
        sent.extend(format!("{line}\n").bytes());
        stream.send(format!("{line}\n"), false);
    }
    let mut received = Vec::new();
    while received.len() < sent.len() {
        received.extend(stream.part().await);
    }
    assert!(
        received == sent,
        "{} of {} bytes",
        received.len(),
        sent.len()
    );
}

#[tokio::test]
async fn frames_by_hand_show_the_offer_and_the_tunnel() {
    let origin = echo().await;
    let proxy = proxy::to([&origin]).start().await;
    let mut raw = Raw::connect(proxy.address()).await;
    let settings = raw.until_kind(kind::SETTINGS).await;
    let offer = [&8u16.to_be_bytes()[..], &1u32.to_be_bytes()].concat();
    assert!(
        settings.payload.chunks(6).any(|setting| setting == offer),
        "{settings:?}"
    );
    let fields = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":authority", "test"),
        (":path", "/chat"),
        ("sec-websocket-version", "13"),
    ];
    raw.send(Frame::headers(1, flag::END_HEADERS, &fields))
        .await;
    assert_eq!(raw.outcome(1).await, Outcome::Status(200));
    assert_eq!(raw.until_kind(kind::DATA).await.payload, b"welcome\n");
    proxy_is_not_confused(&proxy).await;
}

/// A CONNECT for a WebSocket whose fields pretend to be something else reaches no server.
async fn proxy_is_not_confused(proxy: &Proxy) {
    for extra in [
        (":method", "GET"),
        ("upgrade", "h2c"),
        ("connection", "upgrade"),
        ("transfer-encoding", "chunked"),
    ] {
        let mut fields = vec![
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":authority", "test"),
            (":path", "/chat"),
        ];
        if extra.0.starts_with(':') {
            fields[0] = extra;
        } else {
            fields.push(extra);
        }
        let mut raw = Raw::connect(proxy.address()).await;
        raw.send(Frame::headers(1, flag::END_HEADERS, &fields))
            .await;
        let outcome = raw.outcome(1).await;
        assert!(
            !matches!(outcome, Outcome::Status(200)),
            "{extra:?}: {outcome:?}"
        );
    }
}
