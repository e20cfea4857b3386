//! A client that never reads holds its connection for no longer than `send_timeout`, however its
//! exchange ends: what TLS has not sent yet cannot be waited for without end.

use std::sync::Arc;

use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;
use waypost_tests::eventually;

use super::*;

/// More than the kernel takes for a client that reads nothing.
const LARGE: usize = 8 << 20;

/// Sends a request over TLS, and reads nothing of what comes back.
async fn asks_and_never_reads(
    proxy: &Proxy,
    authority: &Authority,
    request: &str,
) -> tokio_rustls::client::TlsStream<tokio::net::TcpStream> {
    use tokio::io::AsyncWriteExt;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let socket = socket.connect(proxy.address().parse().unwrap()).await;
    let connector = TlsConnector::from(Arc::new(authority.trusting()));
    let name = "a.example".try_into().unwrap();
    let mut stream = connector.connect(name, socket.unwrap()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    stream
}

/// Has each request asked by a client that never reads, and waits until their connections are gone.
async fn are_let_go(more: &str, requests: &[&str]) {
    let (authority, origin) = (Authority::new("Specs"), origin::says("hello").await);
    let own = authority.certificate(&["a.example"]);
    let proxy = with(&origin, &own, "")
        .listen("send_timeout = \"300ms\"")
        .more(ADMIN)
        .more(more)
        .start()
        .await;
    let mut clients = Vec::new();
    for request in requests {
        clients.push(asks_and_never_reads(&proxy, &authority, request).await);
    }
    eventually("all connections to be gone", async || {
        proxy.shows("/status").await["connections"] == 0
    })
    .await;
    assert_eq!(proxy.shows("/status").await["accepted"], requests.len());
}

#[tokio::test]
async fn a_client_that_never_reads_its_refusal_is_let_go() {
    // The body is never read: that is why the connection is to linger.
    let large = format!(
        "[[route]]\npath = \"/small\"\nclient_max_body_size = 10\nproxy = \"backend\"\n\
         response_headers = {{ add = {{ X-Large = \"{}\" }} }}",
        "x".repeat(LARGE)
    );
    let length = "POST /small HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1000\r\n\r\n";
    let chunked =
        "POST /small HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n";
    let chunked = format!("{chunked}{}", "x".repeat(32));
    are_let_go(&large, &[length, &chunked]).await;
}

#[tokio::test]
async fn a_client_that_never_reads_a_fixed_answer_is_let_go() {
    let fixed = format!(
        "[[route]]\npath = \"/fixed\"\nreturn = {{ status = 200, body = \"{}\" }}",
        "x".repeat(LARGE)
    );
    let get = "GET /fixed HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let post = "POST /fixed HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1000\r\n\r\n";
    are_let_go(&fixed, &[get, post]).await;
}
