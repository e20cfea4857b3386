//! Answers are compressed for clients that take it, and decompressed for those that do not.

mod bodies;
mod gunzip;
mod parity;

use std::io::{Read, Write};
use std::process::Command;

use waypost_tests::{Answer, Client, Origin, Proxy, Response, origin, peers, proxy};

/// Text of some length that is worth compressing.
fn text(length: usize) -> String {
    let words = ["waypost", "endpoint", "lease", "fault", "snapshot", "route"];
    let mut rng = fastrand::Rng::with_seed(7);
    let mut text = String::new();
    while text.len() < length {
        text.push_str(words[rng.usize(0..words.len())]);
        text.push_str(&rng.u16(0..1000).to_string());
    }
    text.truncate(length);
    text
}

fn gunzipped(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut decoder = flate2::read::MultiGzDecoder::new(bytes);
    decoder.read_to_end(&mut plain).expect("whole gzip");
    plain
}

fn gzipped(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(bytes.as_ref()).expect("into memory");
    encoder.finish().expect("into memory")
}

/// What a response says, without its content coding.
fn plain(response: &Response) -> Vec<u8> {
    match response.header("Content-Encoding") {
        "" => response.body.clone(),
        "gzip" => gunzipped(&response.body),
        "br" => {
            let mut plain = Vec::new();
            brotli::BrotliDecompress(&mut &response.body[..], &mut plain).expect("whole brotli");
            plain
        }
        "zstd" => zstd::decode_all(&response.body[..]).expect("whole zstd"),
        other => panic!("unknown coding {other}"),
    }
}

/// An origin that answers `/html?TEXT` with header lines as the query has them, split at `|`.
async fn versatile(body: String) -> Origin {
    origin::answers(move |request| {
        let query = request
            .target
            .split_once('?')
            .map_or("", |(_, query)| query);
        let mut status = 200;
        let mut lines = vec![("Content-Type", "text/html")];
        for line in query.split('|').filter(|line| !line.is_empty()) {
            match line.split_once('=').expect("a name and a value") {
                ("status", code) => status = code.parse().expect("a status"),
                ("Content-Type", value) => lines[0].1 = value,
                field => lines.push(field),
            }
        }
        let body = match status {
            204 | 304 => String::new(),
            _ => body.clone(),
        };
        let mut answer = match (status, request.method.as_str()) {
            (204 | 304, _) => Answer::raw(format!("HTTP/1.1 {status} Status\r\n\r\n")),
            (_, "HEAD") => Answer::raw(format!(
                "HTTP/1.1 {status} Status\r\nContent-Length: {}\r\n\r\n",
                body.len()
            )),
            _ => Answer::status(status, body),
        };
        for (name, value) in lines {
            answer = answer.header(name, &value.replace("%20", " "));
        }
        answer
    })
    .await
}

async fn compressing(origin: &Origin, key: &str) -> Proxy {
    proxy::to([origin]).listen(key).start().await
}

async fn get(proxy: &Proxy, target: &str, accepts: &str) -> Response {
    let line = format!("Accept-Encoding: {accepts}\r\n");
    proxy.get_with(target, &line).await
}

#[tokio::test]
async fn the_client_chooses_the_coding() {
    let body = text(5000);
    let origin = versatile(body.clone()).await;
    let proxy = compressing(&origin, "compression = true").await;
    for (accepts, coding) in [
        ("gzip", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, br, zstd;q=0.9", "br"),
        ("zstd;q=0, *;q=0.1", "br"),
        ("br;q=0.5, gzip", "gzip"),
        ("*", "zstd"),
        ("gzip;q=0, zstd;q=0, *;q=0.1", "br"),
        ("identity, gzip;q=0.9", ""),
        ("deflate", ""),
        ("", ""),
    ] {
        let response = get(&proxy, "/", accepts).await;
        assert_eq!(response.header("Content-Encoding"), coding, "{accepts}");
        assert_eq!(
            response.headers.all("Vary"),
            ["Accept-Encoding"],
            "{accepts}"
        );
        assert_eq!(plain(&response), body.as_bytes(), "{accepts}");
        assert_eq!(coding.is_empty(), response.body.len() == 5000, "{accepts}");
    }
    let unasked = proxy.get("/").await;
    assert_eq!(unasked.header("Content-Encoding"), "");
    assert_eq!(unasked.header("Vary"), "Accept-Encoding");
    let preferring = compressing(&origin, "compression = { codings = [\"gzip\", \"br\"] }").await;
    let response = get(&preferring, "/", "br, gzip").await;
    assert_eq!(response.header("Content-Encoding"), "gzip");
}

#[tokio::test]
async fn what_gains_nothing_or_must_not_be_changed_goes_on_as_it_is() {
    let body = text(2000);
    let origin = versatile(body.clone()).await;
    let proxy = compressing(&origin, "compression = true").await;
    for query in [
        "Content-Type=image/png",
        "Content-Type=application/grpc+json",
        "Content-Encoding=br",
        "Cache-Control=max-age=1,%20no-transform",
        "Content-Range=bytes%200-1999/5000",
        "status=206",
        "status=204",
        "status=304",
    ] {
        let response = get(&proxy, &format!("/?{query}"), "gzip").await;
        assert_ne!(response.header("Content-Encoding"), "gzip", "{query}");
        assert_eq!(response.header("Vary"), "", "{query}");
        if !response.body.is_empty() {
            assert_eq!(response.text(), body, "{query}");
            assert_eq!(response.header("Content-Length"), "2000", "{query}");
        }
    }
    for query in [
        "Content-Type=application/ld%2Bjson",
        "status=404",
        "status=500",
    ] {
        let query = query.replace("%2B", "+");
        let response = get(&proxy, &format!("/?{query}"), "gzip").await;
        assert_eq!(response.header("Content-Encoding"), "gzip", "{query}");
        assert_eq!(plain(&response), body.as_bytes(), "{query}");
    }
}

#[tokio::test]
async fn a_short_answer_is_left_as_it_is_and_its_bound_and_its_types_can_be_said() {
    let origin = versatile(text(1023)).await;
    let proxy = compressing(&origin, "compression = true").await;
    assert_eq!(get(&proxy, "/", "gzip").await.header("Vary"), "");
    let said = "compression = { min_length = 1023, types = [\"image/*\"], gzip_level = 9 }";
    let proxy = compressing(&origin, said).await;
    let response = get(&proxy, "/?Content-Type=image/x", "gzip").await;
    assert_eq!(plain(&response), text(1023).as_bytes());
    assert_eq!(response.header("Content-Encoding"), "gzip");
    assert_eq!(
        get(&proxy, "/", "gzip").await.header("Content-Encoding"),
        ""
    );
}

#[tokio::test]
async fn a_header_tells_nothing_of_the_bytes_that_were_compressed() {
    let origin = versatile(text(2000)).await;
    let proxy = compressing(&origin, "compression = true").await;
    let fields = "/?ETag=\"a\"|Accept-Ranges=bytes|Content-MD5=x|Vary=Origin|X-Else=1";
    let of_get = get(&proxy, fields, "gzip").await;
    let mut client = Client::connect(proxy.address()).await;
    let head = format!("HEAD {fields} HTTP/1.1\r\nHost: t\r\nAccept-Encoding: gzip\r\n\r\n");
    client.send(head).await;
    let of_head = client.response_to_head().await;
    for response in [&of_get, &of_head] {
        assert_eq!(response.header("Content-Encoding"), "gzip");
        assert_eq!(response.header("ETag"), "W/\"a\"");
        assert_eq!(response.headers.all("Vary"), ["Origin", "Accept-Encoding"]);
        for name in ["Content-Length", "Accept-Ranges", "Content-MD5"] {
            assert_eq!(response.header(name), "", "{name}");
        }
        assert_eq!(response.header("X-Else"), "1");
    }
    assert_eq!(of_get.header("Transfer-Encoding"), "chunked");
    for (sent, expected) in [("W/\"a\"", "W/\"a\""), ("a", "")] {
        let response = get(&proxy, &format!("/?ETag={sent}|Vary=*"), "gzip").await;
        assert_eq!(response.header("ETag"), expected);
        assert_eq!(response.headers.all("Vary"), ["*"]);
    }
}

#[tokio::test]
async fn a_route_says_otherwise_than_its_listener_and_a_listener_than_the_server() {
    let origin = versatile(text(2000)).await;
    let long = text(1500);
    let proxy = proxy::to([&origin])
        .server("compression = { codings = [\"gzip\"] }")
        .more(&format!(
            "[[route]]\npath = \"/off\"\nproxy = \"backend\"\ncompression = false\n\
             [[route]]\npath = \"/ours\"\nreturn = {{ body = \"{long}\" }}\n\
             [[route]]\npath = \"/br\"\nproxy = \"backend\"\n\
             compression = {{ codings = [\"br\"] }}\n\
             [[listen]]\naddress = \"127.0.0.1:0\"\ncompression = false\n"
        ))
        .start()
        .await;
    for (target, coding) in [
        ("/", "gzip"),
        ("/off", ""),
        ("/ours", "gzip"),
        ("/br", "br"),
    ] {
        let response = get(&proxy, target, "gzip, br").await;
        assert_eq!(response.header("Content-Encoding"), coding, "{target}");
    }
    let ours = get(&proxy, "/ours", "gzip").await;
    assert_eq!(plain(&ours), long.as_bytes());
    let line = "Accept-Encoding: gzip\r\n";
    let other = waypost_tests::client::get_with(proxy.listener(1), "/", line).await;
    assert_eq!(other.header("Content-Encoding"), "");
}

/// Hooks and the route have the last word about the head that decides.
#[tokio::test]
async fn what_the_route_makes_of_a_header_counts() {
    let origin = versatile(text(2000)).await;
    let proxy = proxy::to([&origin])
        .listen("compression = true")
        .route("response_headers = { set = { Content-Type = \"image/png\" } }")
        .more(
            "[[route]]\npath = \"/kept\"\nproxy = \"backend\"\n\
             response_headers = { set = { Cache-Control = \"no-transform\" } }\n",
        )
        .start()
        .await;
    for target in ["/", "/kept"] {
        let response = get(&proxy, target, "gzip").await;
        assert_eq!(response.header("Content-Encoding"), "", "{target}");
    }
}

#[tokio::test]
async fn curl_decodes_what_it_gets_in_both_versions() {
    if !peers::installed("curl", "curl") {
        return;
    }
    let body = text(300_000);
    let origin = versatile(body.clone()).await;
    for codings in ["[\"br\"]", "[\"gzip\"]"] {
        let key = format!("compression = {{ codings = {codings} }}");
        let proxy = compressing(&origin, &key).await;
        for version in ["--http1.1", "--http2-prior-knowledge"] {
            let mut command = Command::new("curl");
            command
                .args([
                    "--silent",
                    "--show-error",
                    "--max-time",
                    "60",
                    "--compressed",
                ])
                .args([version, "--write-out", "|%{size_download}"])
                .arg(format!("http://{}/", proxy.address()));
            let output = peers::run_program(command).await;
            let (decoded, size) = output.rsplit_once('|').expect("it was written");
            assert!(decoded == body, "{codings} {version}");
            let size: usize = size.parse().expect("a number");
            assert!(size < body.len() / 2, "{codings} {version}: {size}");
        }
    }
}
