//! Answers in gzip are decompressed for clients that do not take it.

use waypost_tests::{Answer, Client, Http2, Origin, origin};

use super::{compressing, get, gzipped, plain, text};

const LIMIT: usize = 16 << 20;

async fn sends_gzip(body: Vec<u8>) -> Origin {
    origin::answers(move |request| {
        let answer = match request.method.as_str() {
            "HEAD" => Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"),
            _ => Answer::ok(&body),
        };
        let answer = answer.header("Content-Type", "text/html");
        let answer = answer.header("Content-Encoding", "gzip");
        match request.target.as_str() {
            "/kept" => answer.header("Cache-Control", "no-transform"),
            _ => answer.header("ETag", "\"a\""),
        }
    })
    .await
}

#[tokio::test]
async fn a_client_that_does_not_take_gzip_gets_what_it_stands_for() {
    let body = text(100_000);
    let origin = sends_gzip(gzipped(&body)).await;
    let proxy = compressing(&origin, "gunzip = true").await;
    for accepts in ["br", "gzip;q=0", ""] {
        let response = get(&proxy, "/", accepts).await;
        assert_eq!(response.header("Content-Encoding"), "", "{accepts}");
        assert_eq!(response.header("Content-Length"), "", "{accepts}");
        assert_eq!(response.header("ETag"), "W/\"a\"", "{accepts}");
        assert_eq!(response.header("Vary"), "Accept-Encoding", "{accepts}");
        assert!(response.text() == body, "{accepts}");
    }
    let taken = get(&proxy, "/", "gzip").await;
    assert_eq!(taken.header("Content-Encoding"), "gzip");
    assert_eq!(taken.header("ETag"), "\"a\"");
    assert_eq!(taken.header("Vary"), "Accept-Encoding");
    assert!(taken.body == gzipped(&body));
    let kept = proxy.get("/kept").await;
    assert_eq!(kept.header("Content-Encoding"), "gzip");
    let mut client = Http2::connect(proxy.address()).await;
    assert!(client.get("/").await.text() == body);
    let head = proxy.exchange("HEAD / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    assert_eq!(head.await.header("Content-Encoding"), "");
}

#[tokio::test]
async fn without_the_key_it_is_passed_on() {
    let origin = sends_gzip(gzipped("a")).await;
    let proxy = compressing(&origin, "compression = true").await;
    let response = proxy.get("/").await;
    assert_eq!(response.header("Content-Encoding"), "gzip");
    assert_eq!(response.body, gzipped("a"));
}

#[tokio::test]
async fn it_is_compressed_anew_for_a_client_that_takes_another_coding() {
    let body = text(100_000);
    let origin = sends_gzip(gzipped(&body)).await;
    let proxy = compressing(&origin, "gunzip = true\ncompression = true").await;
    let response = get(&proxy, "/", "br").await;
    assert_eq!(response.header("Content-Encoding"), "br");
    assert!(plain(&response) == body.as_bytes());
    let response = get(&proxy, "/", "br, gzip;q=0.1").await;
    assert_eq!(response.header("Content-Encoding"), "gzip");
}

/// RFC 1952 section 2.2.
#[tokio::test]
async fn several_members_are_one_body() {
    let origin = sends_gzip([gzipped("one "), gzipped(""), gzipped("two")].concat()).await;
    let proxy = compressing(&origin, "gunzip = true").await;
    assert_eq!(proxy.get("/").await.text(), "one two");
}

/// Only the end of the connection tells it where the body ends.
#[tokio::test]
async fn a_client_of_http_1_0_gets_it_to_the_end_of_its_connection() {
    let origin = sends_gzip(gzipped("hello")).await;
    let proxy = compressing(&origin, "gunzip = true").await;
    let mut client = Client::connect(proxy.address()).await;
    client
        .send("GET / HTTP/1.0\r\nHost: t\r\nConnection: keep-alive\r\n\r\n")
        .await;
    let response = client.response().await;
    assert_eq!(response.headers.all("Connection"), ["close"]);
    assert_eq!(response.text(), "hello");
    client.closed().await;
}

/// RFC 9110 section 9.3.2.
#[tokio::test]
async fn the_header_of_a_head_in_http_1_0_is_that_of_a_get() {
    let origin = sends_gzip(gzipped("hello")).await;
    let proxy = compressing(&origin, "gunzip = true").await;
    let mut heads = Vec::new();
    for method in ["GET", "HEAD"] {
        let mut client = Client::connect(proxy.address()).await;
        let head = "/ HTTP/1.0\r\nHost: t\r\nConnection: keep-alive\r\n\r\n";
        client.send(format!("{method} {head}")).await;
        let response = match method {
            "GET" => client.response().await,
            _ => client.response_to_head().await,
        };
        let fields = response.headers.0.into_iter();
        heads.push(
            fields
                .filter(|(name, _)| name != "Date")
                .collect::<Vec<_>>(),
        );
        client.closed().await;
    }
    assert_eq!(heads[1], heads[0]);
}

#[tokio::test]
async fn what_is_no_gzip_is_an_error_and_what_breaks_off_no_whole_answer() {
    let origin = sends_gzip(b"hello, not gzip".to_vec()).await;
    let proxy = compressing(&origin, "gunzip = true").await;
    assert_eq!(proxy.get("/").await.status, 502);
    proxy
        .log_contains("upstream sent an invalid gzip body while reading upstream")
        .await;
    assert!(!proxy.log().contains("chunked"), "{}", proxy.log());
    let whole = gzipped(text(500_000));
    for broken in [
        whole[..whole.len() - 9].to_vec(),
        [&whole[..], b"more"].concat(),
    ] {
        let origin = sends_gzip(broken).await;
        let proxy = compressing(&origin, "gunzip = true").await;
        let mut client = Client::connect(proxy.address()).await;
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
        let response = client.cut_response().await;
        assert_eq!(response.status, 200);
        assert!(!response.complete);
        proxy.log_contains("upstream sent").await;
    }
}

/// A thousand times what was received, of which no more is held than of any other body.
#[tokio::test]
async fn a_bomb_goes_off_piece_by_piece_at_its_client() {
    let zeros = 32 << 20;
    let origin = sends_gzip(gzipped(vec![0; zeros])).await;
    let mut proxy = compressing(&origin, "gunzip = true").await;
    let before = resident(proxy.process().id());
    let mut client = Client::connect(proxy.address()).await;
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
    client.response_head().await;
    let mut body = Vec::new();
    client.wire.chunked(&mut body).await.expect("a whole body");
    assert_eq!(body.len(), zeros);
    let grown = resident(proxy.process().id()).saturating_sub(before);
    assert!(grown < LIMIT, "{grown} bytes more");
}

/// Bytes of memory that a process has had at most.
fn resident(id: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmHWM"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number
        .and_then(|number| number.parse::<usize>().ok())
        .expect("a number")
        << 10
}
