//! Handshakes that do not go well: each is cut within its bounds, and other connections go on.

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
    // One record of 512 bytes with one whole ClientHello, of which nothing makes sense.
    random.splice(0..9, [22, 3, 1, 2, 0, 1, 0, 1, 252]);
    for (sent, answer) in [
        (random, vec![21]),
        (beginning(0xff_ffff), vec![21]), // a message larger than any
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
async fn a_first_record_that_is_no_client_hello_is_an_unexpected_message() {
    let (authority, origin, proxy) = simple().await;
    let own = authority.certificate(&["a.example"]);
    let setup = with(&origin, &own, "");
    let stream = "[[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"backend\"\n\
         tls = { certificate = \"own.pem\", key = \"own.key\" }\n";
    let with_stream = setup.more(stream).start().await;
    for address in [proxy.address(), with_stream.listener(1)] {
        for record in [
            vec![22, 3, 3, 0, 4, 0, 0, 0, 0],    // HelloRequest
            vec![22, 3, 3, 0, 4, 14, 0, 0, 0],   // ServerHelloDone
            vec![20, 3, 3, 0, 1, 1],             // ChangeCipherSpec
            vec![21, 3, 3, 0, 2, 1, 90],         // an alert
            vec![23, 3, 3, 0, 5, 1, 2, 3, 4, 5], // application data
        ] {
            let mut client = Client::connect(address).await;
            client.send(&record).await;
            let got = client.wire.rest().await.got;
            // RFC 8446 section 6.2: fatal, unexpected_message.
            assert!(
                got.len() == 7 && got.starts_with(&[21, 3]) && got.ends_with(&[0, 2, 2, 10]),
                "{got:?} after {record:?}"
            );
        }
    }
    is_well(&proxy, &authority).await;
}

/// A whole ClientHello, in its record.
fn client_hello(authority: &Authority) -> Vec<u8> {
    let name = "a.example".try_into().expect("a name");
    let config = std::sync::Arc::new(authority.trusting());
    let mut client = rustls::ClientConnection::new(config, name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

#[tokio::test]
async fn a_client_that_is_waited_for_keeps_no_other_from_shaking_hands() {
    let authority = Authority::new("Specs");
    let origin = origin::says("hello").await;
    let own = authority.certificate(&["a.example"]);
    let proxy = with(&origin, &own, "max_handshakes = 1").start().await;
    let mut waited_for = Vec::new();
    for sent in [beginning(500), client_hello(&authority)] {
        for _ in 0..3 {
            let mut client = Client::connect(proxy.address()).await;
            client.send(&sent).await;
            if sent.len() > 100 {
                // Our part of the handshake is on its way: theirs never comes.
                assert_eq!(client.wire.exactly(1).await.unwrap(), [22]);
            }
            waited_for.push(client);
        }
        is_well(&proxy, &authority).await;
    }
    // Many at once have their turns one after the other.
    let all = (0..20).map(|_| is_well(&proxy, &authority));
    side_by_side(all).await;
    drop(waited_for);
    is_well(&proxy, &authority).await;
}

/// Waits for all of them, which go on side by side.
async fn side_by_side(futures: impl Iterator<Item = impl Future<Output = ()>>) {
    let mut all: Vec<_> = futures.map(Box::pin).collect();
    std::future::poll_fn(|cx| {
        all.retain_mut(|one| one.as_mut().poll(cx).is_pending());
        match all.is_empty() {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
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
