//! Headers that we send to servers.

use std::sync::{Arc, Mutex};

use super::*;

/// What each connection to a server began with, before its request.
type Began = Arc<Mutex<Vec<Vec<u8>>>>;

/// A server that wants a PROXY header, whose end it knows by its version, and then answers
/// requests.
async fn wants_header(length: usize) -> (Origin, Began) {
    let began = Began::default();
    let seen = began.clone();
    let origin = origin::speaks(move |mut wire, _| {
        let seen = seen.clone();
        async move {
            let header = match length {
                0 => wire.until(b"\r\n").await,
                length => wire.exactly(length).await,
            };
            let Ok(header) = header else { return };
            seen.lock().unwrap().push(header);
            while wire.head().await.is_ok() {
                let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
                if wire.try_send(answer).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    (origin, began)
}

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

#[tokio::test]
async fn the_clients_address_is_the_source_and_the_listeners_the_destination() {
    let (origin, began) = wants_header(0).await;
    let proxy = proxy::to([&origin])
        .upstream("proxy_protocol = \"v1\"")
        .start()
        .await;
    let mut client = proxy.client().await;
    let port = client.wire.local_port();
    assert_eq!(client.get("/").await.text(), "ok");
    let listens = proxy.address().rsplit(':').next().unwrap();
    let expected = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {port} {listens}\r\n");
    assert_eq!(text(&began.lock().unwrap()[0]), text(expected.as_bytes()));
}

#[tokio::test]
async fn version_2_says_the_same_in_28_bytes() {
    let (origin, began) = wants_header(28).await;
    let proxy = proxy::to([&origin])
        .upstream("proxy_protocol = \"v2\"")
        .start()
        .await;
    let mut client = proxy.client().await;
    let port = client.wire.local_port().to_be_bytes();
    assert_eq!(client.get("/").await.text(), "ok");
    let listens: u16 = proxy.address().rsplit(':').next().unwrap().parse().unwrap();
    let addresses = [127, 0, 0, 1, 127, 0, 0, 1];
    let expected = [
        SIGNATURE,
        &[0x21, 0x11, 0, 12],
        &addresses,
        &port,
        &listens.to_be_bytes(),
    ]
    .concat();
    assert_eq!(text(&began.lock().unwrap()[0]), text(&expected));
}

#[tokio::test]
async fn a_connection_that_names_its_client_serves_no_other_request() {
    let (origin, began) = wants_header(0).await;
    let proxy = proxy::to([&origin])
        .server("workers = 1")
        .upstream("proxy_protocol = \"v1\"\nkeepalive = 8")
        .start()
        .await;
    let mut client = proxy.client().await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.text(), "ok");
    }
    assert_eq!(proxy.get("/").await.text(), "ok");
    assert_eq!(began.lock().unwrap().len(), 4);
    origin.has_open(0).await;
}

#[tokio::test]
async fn whom_a_proxy_before_us_names_is_named_again() {
    let (origin, began) = wants_header(0).await;
    let proxy = proxy::to([&origin])
        .server(TRUST)
        .listen("proxy_protocol = true")
        .upstream("proxy_protocol = \"v1\"")
        .start()
        .await;
    let listens = proxy.address().rsplit(':').next().unwrap().to_owned();
    for (header, expected) in [
        (
            VERSION_1.to_vec(),
            format!("TCP4 192.0.2.7 127.0.0.1 4000 {listens}"),
        ),
        (
            b"PROXY TCP6 2001:db8::7 2001:db8::9 4000 443\r\n".to_vec(),
            format!("TCP6 2001:db8::7 ::ffff:127.0.0.1 4000 {listens}"),
        ),
    ] {
        proxy
            .exchange([&header[..], REQUEST.as_bytes()].concat())
            .await;
        let said = began.lock().unwrap().pop().unwrap();
        assert_eq!(
            text(&said),
            text(format!("PROXY {expected}\r\n").as_bytes())
        );
    }
    // So is the client that a trusted proxy's `X-Forwarded-For` names; its port is not known.
    let proxy = proxy::to([&origin])
        .server(TRUST)
        .upstream("proxy_protocol = \"v1\"")
        .start()
        .await;
    proxy.get_with("/", "X-Forwarded-For: 192.0.2.8\r\n").await;
    let said = began.lock().unwrap().pop().unwrap();
    assert!(
        said.starts_with(b"PROXY TCP4 192.0.2.8 127.0.0.1 0 "),
        "{}",
        text(&said)
    );
}

#[tokio::test]
async fn a_client_without_an_address_is_named_as_nobody() {
    for (version, length, expected) in [
        ("v1", 0, b"PROXY UNKNOWN\r\n".to_vec()),
        ("v2", 16, [SIGNATURE, &[0x20, 0, 0, 0]].concat()),
    ] {
        let (origin, began) = wants_header(length).await;
        let proxy = proxy::to([&origin])
            .listen("address = \"unix:{dir}/front.sock\"")
            .upstream(&format!("proxy_protocol = \"{version}\""))
            .start()
            .await;
        assert_eq!(proxy.get("/").await.text(), "ok");
        assert_eq!(text(&began.lock().unwrap()[0]), text(&expected));
    }
}

#[tokio::test]
async fn idle_connections_from_before_are_not_used_once_headers_are_wanted() {
    let origin = origin::answers(|_| Answer::ok("hello")).await;
    let proxy = proxy::to([&origin])
        .server("workers = 1")
        .more(waypost_tests::admin::ADMIN)
        .start()
        .await;
    assert_eq!(proxy.get("/").await.text(), "hello");
    proxy.edit(
        "[upstream.backend]",
        "[upstream.backend]\nproxy_protocol = \"v1\"",
    );
    proxy.reload().await;
    // This origin takes the header for a request that makes no sense.
    assert_ne!(proxy.get("/").await.text(), "hello");
    assert_eq!(origin.connections(), 2);
}

#[tokio::test]
async fn streams_send_headers_before_the_clients_first_byte() {
    let server = origin::speaks(|mut wire, _| async move {
        let said = wire.rest().await.got;
        let _ = wire.try_send(said).await;
    })
    .await;
    let file = format!(
        "[[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"backend\"\n[upstream.backend]\nproxy_protocol = \"v1\"\n\
         servers = [\"{}\"]\n",
        server.address()
    );
    let proxy = proxy::run(&file, &[]).await;
    let mut wire = Wire::connect(proxy.address()).await.unwrap();
    wire.send("data").await;
    wire.finish_sending().await;
    let listens = proxy.address().rsplit(':').next().unwrap();
    let expected = format!(
        "PROXY TCP4 127.0.0.1 127.0.0.1 {} {listens}\r\ndata",
        wire.local_port()
    );
    assert_eq!(text(&wire.rest().await.got), text(expected.as_bytes()));
}
