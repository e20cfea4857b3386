//! Handshakes that do not go well: each is cut within its bounds, and nobody else notices.

use super::*;
use std::time::{Duration, Instant};
use waypost_tests::Client;

/// Serves others as before.
async fn is_well(proxy: &Proxy, authority: &Authority) {
    let response = tls::get(proxy.address(), authority.trusting(), "a.example", "/").await;
    assert_eq!(response.text(), "hello");
}

/// A record that begins a handshake message of this length, and its first bytes.
fn beginning(length: u32) -> Vec<u8> {
    let [_, a, b, c] = length.to_be_bytes();
    vec![22, 3, 1, 0, 8, 1, a, b, c, 3, 3, 0, 0]
}

#[tokio::test]
async fn a_handshake_that_takes_too_long_is_cut() {
    let authority = Authority::new("Specs");
    let origin = origin::says("hello").await;
    let own = authority.certificate(&["a.example"]);
    let proxy = with(&origin, &own, "handshake_timeout = \"2s\"")
        .start()
        .await;
    for first in [Vec::new(), beginning(500)] {
        let began = Instant::now();
        let mut slow = Client::connect(proxy.address()).await;
        slow.send(&first).await;
        slow.wire.rest().await;
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(1900), "{took:?}");
        assert!(took < Duration::from_secs(20), "{took:?}");
    }
    proxy
        .log_contains("client timed out (110: Connection timed out) while SSL handshaking")
        .await;
    is_well(&proxy, &authority).await;
}

#[tokio::test]
async fn what_is_no_handshake_gets_an_alert_or_an_answer_and_the_end() {
    let (authority, _origin, proxy) = simple().await;
    let mut random: Vec<u8> = (0..517).map(|_| fastrand::u8(..)).collect();
    random.splice(0..5, [22, 3, 1, 2, 0]); // one record of 512 bytes
    // A message larger than any ends without an alert; what is told of all others is told.
    for (sent, answer) in [
        (random, vec![]),
        (beginning(0xff_ffff), vec![]),
        (vec![22, 3, 1, 0xff, 0xff, 1], vec![21]), // a record larger than any
        (vec![0x80, 46, 1, 3, 1, 0, 0, 0], vec![21]), // SSL 2
        (b"\0\0\0\0\r\n\r\n".to_vec(), b"HTTP/1.1 400".to_vec()),
    ] {
        let mut client = Client::connect(proxy.address()).await;
        client.send(&sent).await;
        let got = client.wire.rest().await.got;
        assert!(got.starts_with(&answer), "{got:?} after {:?}", &sent[..5]);
    }
    is_well(&proxy, &authority).await;
}

#[tokio::test]
async fn who_comes_while_too_many_shake_hands_waits_for_a_turn() {
    let authority = Authority::new("Specs");
    let origin = origin::says("hello").await;
    let own = authority.certificate(&["a.example"]);
    let proxy = with(&origin, &own, "max_handshakes = 2").start().await;
    let mut slow = Vec::new();
    for _ in 0..2 {
        let mut client = Client::connect(proxy.address()).await;
        client.send(beginning(500)).await;
        slow.push(client);
    }
    // Both have a turn once nobody else gets one for many times as long as a handshake takes.
    let short = Duration::from_secs(1);
    waypost_tests::eventually("all turns to be taken", async || {
        let served = tokio::time::timeout(short, is_well(&proxy, &authority));
        served.await.is_err()
    })
    .await;
    let mut waiting = std::pin::pin!(is_well(&proxy, &authority));
    waypost_tests::not_yet("two are still under way", waiting.as_mut()).await;
    drop(slow);
    waiting.await;
    // Nobody's turn was lost.
    for _ in 0..5 {
        is_well(&proxy, &authority).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_in_its_handshake_costs_nothing() {
    let (authority, _origin, proxy) = simple().await;
    is_well(&proxy, &authority).await;
    let before = proxy.descriptors();
    for _ in 0..20 {
        let mut client = Client::connect(proxy.address()).await;
        client.send(beginning(500)).await;
        client.wire.reset();
        drop(Client::connect(proxy.address()).await);
    }
    waypost_tests::eventually("all to be closed", async || proxy.descriptors() <= before).await;
    is_well(&proxy, &authority).await;
}
