//! Compressed bodies on their way: live, whole or known to be cut.

use std::io::Write;

use flate2::{Decompress, FlushDecompress};
use waypost_tests::{Answer, Client, Gate, Http2, Response, origin, proxy};

use super::{compressing, get, plain, text};

const EVENTS: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                      Transfer-Encoding: chunked\r\n\r\n";

/// Decodes what has come so far.
enum Decoder {
    Gzip(Box<Decompress>),
    Brotli(Box<brotli::DecompressorWriter<Vec<u8>>>),
    Zstd(Box<zstd::stream::write::Decoder<'static, Vec<u8>>>),
}

impl Decoder {
    fn of(coding: &str) -> Decoder {
        match coding {
            "gzip" => Decoder::Gzip(Box::new(Decompress::new_gzip(15))),
            "zstd" => {
                let decoder = zstd::stream::write::Decoder::new(Vec::new());
                Decoder::Zstd(Box::new(decoder.expect("a decoder")))
            }
            _ => Decoder::Brotli(Box::new(brotli::DecompressorWriter::new(Vec::new(), 4096))),
        }
    }

    /// What more of it can be told.
    fn decoded(&mut self, part: &[u8]) -> String {
        let plain = match self {
            Decoder::Gzip(inflate) => {
                let mut plain = Vec::with_capacity(4096);
                let none = FlushDecompress::None;
                let inflated = inflate.decompress_vec(part, &mut plain, none);
                inflated.expect("a part of gzip");
                plain
            }
            Decoder::Brotli(writer) => {
                writer.write_all(part).expect("a part of brotli");
                writer.flush().expect("into memory");
                std::mem::take(writer.get_mut())
            }
            Decoder::Zstd(writer) => {
                writer.write_all(part).expect("a part of zstd");
                writer.flush().expect("into memory");
                std::mem::take(writer.get_mut())
            }
        };
        String::from_utf8(plain).expect("text")
    }
}

/// The next chunk of a body.
async fn chunk(client: &mut Client) -> Vec<u8> {
    let size = client.wire.until(b"\r\n").await.expect("a size");
    let size = String::from_utf8(size).expect("hex");
    let size = usize::from_str_radix(size.trim(), 16).expect("hex");
    let chunk = client.wire.exactly(size + 2).await.expect("a chunk");
    chunk[..size].to_vec()
}

#[tokio::test]
async fn each_event_is_with_the_client_before_the_next_one_is_sent() {
    for coding in ["gzip", "br", "zstd"] {
        let seen = Gate::closed();
        let next = seen.clone();
        let origin = origin::speaks(move |mut wire, _| {
            let next = next.clone();
            async move {
                wire.head().await.expect("a request");
                wire.send(EVENTS).await;
                wire.send("7\r\ndata: 1\r\n").await;
                next.opened().await;
                wire.send("7\r\ndata: 2\r\n0\r\n\r\n").await;
                wire.rest().await;
            }
        })
        .await;
        let proxy = compressing(&origin, "compression = true").await;
        let mut client = Client::connect(proxy.address()).await;
        let request = format!("GET / HTTP/1.1\r\nHost: t\r\nAccept-Encoding: {coding}\r\n\r\n");
        client.send(request).await;
        let head = client.response_head().await;
        assert_eq!(head.header("Content-Encoding"), coding);
        let (mut decoder, mut got) = (Decoder::of(coding), String::new());
        while got != "data: 1" {
            got += &decoder.decoded(&chunk(&mut client).await);
        }
        seen.open();
        while got != "data: 1data: 2" {
            got += &decoder.decoded(&chunk(&mut client).await);
        }
    }
}

#[tokio::test]
async fn each_event_is_with_a_client_of_http_2_before_the_next_one_is_sent() {
    let seen = Gate::closed();
    let next = seen.clone();
    let origin = origin::speaks(move |mut wire, _| {
        let next = next.clone();
        async move {
            wire.head().await.expect("a request");
            wire.send(EVENTS).await;
            wire.send("7\r\ndata: 1\r\n").await;
            next.opened().await;
            wire.send("7\r\ndata: 2\r\n0\r\n\r\n").await;
            wire.rest().await;
        }
    })
    .await;
    let proxy = compressing(&origin, "compression = true").await;
    let mut client = Http2::connect(proxy.address()).await;
    let lines = [("accept-encoding", "gzip")];
    let request = client.request("GET", "/", &lines);
    let mut stream = client.open(request, true).await;
    assert_eq!(stream.head().await.header("content-encoding"), "gzip");
    let (mut decoder, mut got) = (Decoder::of("gzip"), String::new());
    while got != "data: 1" {
        got += &decoder.decoded(&stream.part().await);
    }
    seen.open();
    while got != "data: 1data: 2" {
        got += &decoder.decoded(&stream.part().await);
    }
}

/// The head alone, of a server that has nothing else to say yet.
#[tokio::test]
async fn a_head_does_not_wait_for_a_body() {
    let gate = Gate::closed();
    let seen = gate.clone();
    let origin = origin::speaks(move |mut wire, _| {
        let seen = seen.clone();
        async move {
            wire.head().await.expect("a request");
            wire.send(EVENTS).await;
            seen.opened().await;
            wire.send("1\r\nx\r\n0\r\n\r\n").await;
            wire.rest().await;
        }
    })
    .await;
    let proxy = compressing(&origin, "compression = true").await;
    let mut client = Client::connect(proxy.address()).await;
    let request = "GET / HTTP/1.1\r\nHost: t\r\nAccept-Encoding: gzip\r\n\r\n";
    client.send(request).await;
    client.response_head().await;
    gate.open();
    let mut decoder = Decoder::of("gzip");
    while decoder.decoded(&chunk(&mut client).await) != "x" {}
}

#[tokio::test]
async fn a_body_is_the_same_however_it_was_framed_and_in_either_version() {
    let body = text(700_000);
    for framing in ["length", "chunked", "close"] {
        let sent = body.clone();
        let origin = origin::speaks(move |mut wire, _| {
            let body = sent.clone();
            async move {
                wire.head().await.expect("a request");
                let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
                let message = match framing {
                    "length" => format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()),
                    "chunked" => {
                        let (one, two) = body.split_at(123_456);
                        let (first, second) = (one.len(), two.len());
                        format!(
                            "{head}Transfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
                             {first:x}\r\n{one}\r\n{second:x}\r\n{two}\r\n0\r\nX-Sum: 9\r\n\r\n"
                        )
                    }
                    _ => format!("{head}\r\n{body}"),
                };
                // A client that knows the length may have left before the end.
                let _ = wire.try_send(message).await;
            }
        })
        .await;
        let proxy = compressing(&origin, "compression = true").await;
        let check = |response: Response, coding: &str| {
            assert_eq!(response.header("Content-Encoding"), coding, "{framing}");
            assert!(plain(&response) == body.as_bytes(), "{framing} {coding}");
            let trailer = response.trailers.get("X-Sum");
            assert_eq!(trailer, (framing == "chunked").then_some("9"), "{framing}");
        };
        for coding in ["gzip", "br", "zstd"] {
            check(get(&proxy, "/", coding).await, coding);
            let mut client = Http2::connect(proxy.address()).await;
            let lines = [("accept-encoding", coding)];
            check(client.ask("GET", "/", &lines).await, coding);
        }
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_taken_for_a_whole_one() {
    for body in ["800\r\n", "400\r\n"] {
        let sent = format!("{EVENTS}{body}{}", text(0x400));
        let origin = origin::answers(move |_| Answer::raw(&sent).then_close()).await;
        let proxy = compressing(&origin, "compression = true").await;
        let mut client = Client::connect(proxy.address()).await;
        let request = "GET / HTTP/1.1\r\nHost: t\r\nAccept-Encoding: gzip\r\n\r\n";
        client.send(request).await;
        let response = client.cut_response().await;
        assert_eq!(response.header("Content-Encoding"), "gzip");
        assert!(!response.complete);
        proxy.log_contains("upstream prematurely closed").await;
        let mut client = Http2::connect(proxy.address()).await;
        let lines = [("accept-encoding", "gzip")];
        let request = client.request("GET", "/", &lines);
        let (_, reason) = client.open(request, true).await.failure().await;
        assert!(reason.is_some());
    }
}

#[tokio::test]
async fn the_server_is_left_alone_once_its_client_has_left() {
    let origin = origin::speaks(|mut wire, _| async move {
        wire.head().await.expect("a request");
        wire.send(EVENTS).await;
        let chunk = format!("400\r\n{}\r\n", text(0x400));
        while wire.try_send(&chunk).await.is_ok() {}
    })
    .await;
    let proxy = compressing(&origin, "compression = true").await;
    let mut client = Client::connect(proxy.address()).await;
    let request = "GET / HTTP/1.1\r\nHost: t\r\nAccept-Encoding: br\r\n\r\n";
    client.send(request).await;
    client.response_head().await;
    drop(client);
    origin.has_open(0).await;
}

#[tokio::test]
async fn the_connection_serves_the_next_request() {
    let body = text(20_000);
    let sent = body.clone();
    let origin =
        origin::answers(move |_| Answer::ok(&sent).header("Content-Type", "text/css")).await;
    let proxy = proxy::to([&origin])
        .server("workers = 1")
        .listen("compression = true")
        .start()
        .await;
    let mut client = Client::connect(proxy.address()).await;
    let request = "GET / HTTP/1.1\r\nHost: t\r\nAccept-Encoding: gzip\r\n\r\n";
    for _ in 0..20 {
        client.send(request).await;
        assert!(plain(&client.response().await) == body.as_bytes());
    }
    assert_eq!(origin.connections(), 1);
}

/// nginx: `gzip_http_version 1.1`.
#[tokio::test]
async fn a_client_of_http_1_0_gets_the_answer_as_it_is() {
    let body = text(2000);
    let sent = body.clone();
    let origin =
        origin::answers(move |_| Answer::ok(&sent).header("Content-Type", "text/css")).await;
    let proxy = compressing(&origin, "compression = true").await;
    let request = "GET / HTTP/1.0\r\nHost: t\r\nAccept-Encoding: gzip\r\n\r\n";
    let response = proxy.exchange(request).await;
    assert_eq!(response.header("Content-Encoding"), "");
    assert_eq!(response.header("Vary"), "Accept-Encoding");
    assert_eq!(response.text(), body);
}
