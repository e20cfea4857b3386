//! Protocol upgrades: after a 101 that was asked for, bytes pass both ways, in any protocol.

use waypost_tests::{Answer, Client, Origin, eventually, origin, pause, proxy};

const ASK: &str = "GET /chat HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";
const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: y\r\n\r\n";

/// Upgrades, then echoes each line, and answers `end` with `goodbye`.
async fn echo() -> Origin {
    origin::speaks(|mut wire, _| async move {
        let Ok(head) = wire.head().await else { return };
        if head.fields.get("Upgrade") != Some("websocket") {
            return wire
                .send("HTTP/1.1 400 No Upgrade\r\nContent-Length: 0\r\n\r\n")
                .await;
        }
        // The first word comes in one piece with the header.
        wire.send(format!("{SWITCH}welcome\n")).await;
        while let Ok(line) = wire.until(b"\n").await {
            if line == b"end\n" {
                return wire.send("goodbye\n").await;
            }
            wire.send(line).await;
        }
    })
    .await
}

async fn upgraded(address: &str) -> Client {
    let mut client = Client::connect(address).await;
    // The first word comes in one piece with the request.
    client.send(format!("{ASK}early\n")).await;
    let response = client.response_head().await;
    assert_eq!(
        (response.status, response.header("Upgrade")),
        (101, "websocket")
    );
    assert_eq!(response.header("Sec-WebSocket-Accept"), "y");
    assert_eq!(
        response.header("Connection").to_ascii_lowercase(),
        "upgrade"
    );
    assert_eq!(client.wire.until(b"\n").await.unwrap(), b"welcome\n");
    assert_eq!(client.wire.until(b"\n").await.unwrap(), b"early\n");
    client
}

#[tokio::test]
async fn after_a_101_bytes_pass_both_ways() {
    let origin = echo().await;
    let proxy = proxy::to([&origin]).start().await;
    let mut client = upgraded(proxy.address()).await;
    let long = format!("{}\n", "x".repeat(200_000));
    for line in ["one\n", "\0\x01\n", "GET / HTTP/1.1\r\n", &long] {
        client.send(line).await;
        assert_eq!(client.wire.until(b"\n").await.unwrap(), line.as_bytes());
    }
}

#[tokio::test]
async fn a_tunnel_ends_when_the_server_ends_it() {
    let origin = echo().await;
    let proxy = proxy::to([&origin]).start().await;
    let mut client = upgraded(proxy.address()).await;
    client.send("end\n").await;
    assert_eq!(client.wire.rest().await.got, b"goodbye\n");
    origin.has_open(0).await;
}

#[tokio::test]
async fn a_tunnel_ends_when_the_client_ends_it() {
    let origin = echo().await;
    let proxy = proxy::to([&origin]).start().await;
    drop(upgraded(proxy.address()).await);
    origin.has_open(0).await;
}

#[tokio::test]
async fn a_tunnel_ends_after_silence() {
    let origin = echo().await;
    let proxy = proxy::to([&origin])
        .upstream("read_timeout = \"1s\"")
        .start()
        .await;
    let mut client = upgraded(proxy.address()).await;
    // Words keep it open for longer than that...
    for _ in 0..12 {
        pause().await;
        client.send("still here\n").await;
        assert_eq!(client.wire.until(b"\n").await.unwrap(), b"still here\n");
    }
    // ...and silence ends it.
    client.wire.rest().await;
    origin.has_open(0).await;
}

#[tokio::test]
async fn a_200_to_an_upgrade_is_a_plain_answer() {
    let origin = origin::says("no thanks").await;
    let proxy = proxy::to([&origin]).start().await;
    let mut client = proxy.client().await;
    client.send(ASK).await;
    let response = client.response().await;
    assert_eq!(
        (response.status, response.text().as_str()),
        (200, "no thanks")
    );
    assert_eq!(response.headers.get("Upgrade"), None);
    // The connection speaks HTTP as before.
    assert_eq!(client.get("/next").await.text(), "no thanks");
    assert_eq!(origin.requests()[0].header("Upgrade"), "websocket");
}

#[tokio::test]
async fn bytes_sent_too_early_are_not_tunnelled_when_the_server_declines() {
    let origin = origin::answers(|request| Answer::ok(&request.target)).await;
    let proxy = proxy::to([&origin]).start().await;
    let mut client = proxy.client().await;
    client
        .send(format!("{ASK}GET /second HTTP/1.1\r\nHost: t\r\n\r\n"))
        .await;
    assert_eq!(client.response().await.text(), "/chat");
    assert_eq!(client.response().await.text(), "/second");
}

#[tokio::test]
async fn an_upgrade_not_named_in_connection_is_not_asked_for() {
    let origin = echo().await;
    let proxy = proxy::to([&origin]).start().await;
    let response = proxy
        .exchange("GET /chat HTTP/1.1\r\nHost: t\r\nUpgrade: websocket\r\n\r\n")
        .await;
    assert_eq!(response.status, 400);
}

#[tokio::test]
async fn an_http_1_0_client_cannot_upgrade() {
    let origin = echo().await;
    let proxy = proxy::to([&origin]).start().await;
    let request = ASK.replace("HTTP/1.1", "HTTP/1.0");
    assert_eq!(proxy.exchange(request).await.status, 400);
}

#[tokio::test]
async fn a_tunnel_counts_as_load() {
    let (a, b) = (echo().await, echo().await);
    let proxy = proxy::to([&a, &b])
        .upstream("policy = \"least_conn\"")
        .start()
        .await;
    let first = upgraded(proxy.address()).await;
    let _second = upgraded(proxy.address()).await;
    assert_eq!((a.open(), b.open()), (1, 1));
    drop(first);
    a.has_open(0).await;
    eventually(
        "the next tunnel to go where the first one ended",
        async || {
            let _third = upgraded(proxy.address()).await;
            a.open() == 1
        },
    )
    .await;
}

/// The protocol changes behind the request: what of it was still to come would be lost, or pass for
/// something else.
#[tokio::test]
async fn a_request_whose_body_is_still_to_come_cannot_change_the_protocol() {
    let origin = origin::answers(|_| Answer::ok("no")).await;
    let proxy = proxy::to([&origin])
        .upstream("body_buffer_size = 10")
        .start()
        .await;
    for (body, kept) in [("short", true), ("too long for the buffer", false)] {
        let mut client = proxy.client().await;
        let length = body.len();
        let lines = format!("Connection: Upgrade\r\nUpgrade: other\r\nContent-Length: {length}");
        client
            .send(format!(
                "POST / HTTP/1.1\r\nHost: t\r\n{lines}\r\n\r\n{body}"
            ))
            .await;
        assert_eq!(client.response().await.text(), "no");
        let requests = origin.requests();
        let request = requests.last().unwrap();
        assert_eq!(request.headers.get("Upgrade").is_some(), kept, "{body}");
        assert_eq!(request.body, body.as_bytes());
    }
}
