//! What a connection costs that is carried as it is and rests: no buffer, only what is known of it.

use waypost_tests::admin::ADMIN;
use waypost_tests::{Client, Origin, Proxy, origin, proxy};

const ASK: &str = "GET /chat HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCH: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";

/// Connections that are opened before any is counted: they pay for what all of them share.
const BEFORE: usize = 100;
const COUNTED: usize = 200;
/// KiB that one may cost. A tunnel costs about 14 in a debug build; one buffer would be 16 more.
const MOST: u64 = 28;

/// Echoes lines, after a 101 where it is asked for an upgrade.
async fn echo(upgrades: bool) -> Origin {
    origin::speaks(move |mut wire, _| async move {
        if upgrades {
            let Ok(_) = wire.head().await else { return };
            wire.send(SWITCH).await;
        }
        while let Ok(line) = wire.until(b"\n").await {
            wire.send(line).await;
        }
    })
    .await
}

/// Opens so many connections, on each of which bytes have passed both ways.
async fn open(proxy: &Proxy, upgrades: bool, number: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    for _ in 0..number {
        let mut client = Client::connect(proxy.address()).await;
        if upgrades {
            client.send(ASK).await;
            assert_eq!(client.response_head().await.status, 101);
        }
        let line = [&[b'x'; 20_000][..], b"\n"].concat();
        client.send(&line).await;
        assert_eq!(client.wire.until(b"\n").await.unwrap(), line);
        clients.push(client);
    }
    clients
}

/// KiB for each connection that rests.
async fn cost(mut proxy: Proxy, upgrades: bool) -> u64 {
    let _before = open(&proxy, upgrades, BEFORE).await;
    let before = proxy.process().memory();
    let _counted = open(&proxy, upgrades, COUNTED).await;
    let after = proxy.process().memory();
    after.saturating_sub(before) / COUNTED as u64
}

#[tokio::test]
async fn a_web_socket_that_rests_holds_no_buffer() {
    let origin = echo(true).await;
    let proxy = proxy::to([&origin]).server("workers = 1").start().await;
    let cost = cost(proxy, true).await;
    assert!(cost <= MOST, "{cost} KiB for each");
}

#[tokio::test]
async fn a_session_of_a_stream_that_rests_holds_no_buffer() {
    let origin = echo(false).await;
    let file = format!(
        "[server]\nworkers = 1\n[[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"{}\"\n{ADMIN}",
        origin.address()
    );
    let cost = cost(proxy::run(&file, &[]).await, false).await;
    assert!(cost <= MOST, "{cost} KiB for each");
}
