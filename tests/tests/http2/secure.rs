//! HTTP/2 chosen by ALPN over TLS, by programs of others; a browser among them.

use std::process::Command;
use std::sync::Arc;

use waypost_tests::tls::{self, Authority};
use waypost_tests::{Nginx, Wire, nginx, peers, websocket};

use super::*;

/// A proxy with TLS, before an origin, and the authority behind its certificate for `a.example`.
async fn secure(origin: &Origin, listen: &str) -> (Authority, Proxy) {
    let setup = proxy::to([origin])
        .server("access_log = { path = \"stdout\", format = \"$server_protocol $request_uri $status\" }")
        .listen("tls = { certificate = \"own.pem\", key = \"own.key\" }\nclient_max_body_size = 0")
        .listen(listen);
    let authority = Authority::new("Specs");
    let own = authority.certificate(&["a.example"]);
    own.write(setup.directory(), "own");
    (authority, setup.start().await)
}

/// A connection on which these protocols were offered; the one that was chosen.
async fn offering(
    authority: &Authority,
    proxy: &Proxy,
    protocols: &[&str],
) -> (Wire, Option<String>) {
    let mut config = authority.trusting();
    config.alpn_protocols = protocols
        .iter()
        .map(|name| name.as_bytes().to_vec())
        .collect();
    let client = tls::connect(proxy.address(), config, "a.example")
        .await
        .unwrap();
    let chosen = client.wire.handshake().unwrap().alpn;
    (client.wire, chosen)
}

#[tokio::test]
async fn alpn_chooses_the_version() {
    let origin = origin::says("hello").await;
    let (authority, proxy) = secure(&origin, "").await;
    for (offered, chosen) in [
        (&["h2", "http/1.1"][..], Some("h2")),
        (&["http/1.1", "h2"], Some("h2")),
        (&["http/1.1"], Some("http/1.1")),
        (&[], None),
    ] {
        let (_wire, found) = offering(&authority, &proxy, offered).await;
        assert_eq!(found.as_deref(), chosen, "{offered:?}");
    }
    let (authority, proxy) = secure(&origin, "http2 = false").await;
    let (_wire, found) = offering(&authority, &proxy, &["h2", "http/1.1"]).await;
    assert_eq!(found.as_deref(), Some("http/1.1"));
}

#[tokio::test]
async fn large_bodies_pass_both_ways_over_tls() {
    let origin = origin::answers(|request| Answer::ok(&request.body)).await;
    let (authority, proxy) = secure(&origin, "").await;
    let (wire, _) = offering(&authority, &proxy, &["h2"]).await;
    let mut client = Http2::on(wire).await;
    let body: Vec<u8> = (0..3_000_000u32).map(|at| (at % 251) as u8).collect();
    let response = client.post("/", &body).await;
    assert!(response.body == body, "{} bytes", response.body.len());
    assert_eq!(client.get("/").await.text(), "");
}

#[tokio::test]
async fn where_h2_was_chosen_nothing_else_is_spoken() {
    let origin = origin::says("hello").await;
    let (authority, proxy) = secure(&origin, "").await;
    let (mut wire, _) = offering(&authority, &proxy, &["h2"]).await;
    wire.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n").await;
    let reason = Raw::over(wire).given_up().await;
    assert_eq!(reason, Reason::PROTOCOL_ERROR);
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn a_server_that_chooses_h2_by_alpn_is_spoken_to_in_it() {
    if !nginx::installed() {
        return;
    }
    let authority = Authority::new("Specs");
    let own = authority.certificate(&["a.example"]);
    let files = tempfile::TempDir::new().unwrap();
    own.write(files.path(), "own");
    std::fs::write(files.path().join("ca.pem"), authority.pem()).unwrap();
    let at = files.path().display();
    let lines = format!(
        "ssl_certificate {at}/own.pem; ssl_certificate_key {at}/own.key;
         location / {{ return 200 \"$server_protocol $https $request_uri\"; }}"
    );
    let nginx = Nginx::start_https2("", &lines).await;
    let proxy = proxy::to([format!("{{ address = \"https://{}\" }}", nginx.address())])
        .upstream("http2 = true")
        .upstream(&format!(
            "tls = {{ ca = \"{at}/ca.pem\", server_name = \"a.example\" }}"
        ))
        .start()
        .await;
    let mut client = Http2::connect(proxy.address()).await;
    for _ in 0..20 {
        assert_eq!(client.get("/a").await.text(), "HTTP/2.0 on /a");
    }
}

async fn curl(proxy: &Proxy, arguments: &[&str]) -> String {
    let mut command = Command::new("curl");
    command
        .args(["--silent", "--show-error", "--insecure", "--max-time", "8"])
        .args(["--write-out", "|%{http_version}"])
        .args(arguments)
        .arg(format!("https://{}/page", proxy.address()));
    peers::run_program(command).await
}

#[tokio::test]
async fn curl_is_offered_both_versions() {
    if !peers::installed("curl", "curl") {
        return;
    }
    let origin = origin::answers(|request| Answer::ok(request.header("X-Forwarded-Proto"))).await;
    let (_authority, proxy) = secure(&origin, "").await;
    assert_eq!(curl(&proxy, &["--http2"]).await, "https|2");
    assert_eq!(curl(&proxy, &["--http1.1"]).await, "https|1.1");
    assert_eq!(curl(&proxy, &["--no-alpn"]).await, "https|1.1");
    let (_authority, proxy) = secure(&origin, "http2 = false").await;
    assert_eq!(curl(&proxy, &["--http2"]).await, "https|1.1");
}

#[tokio::test]
async fn h2load_finds_every_request_answered() {
    if !peers::installed("h2load", "nghttp2-client") {
        return;
    }
    let origin = origin::answers(|_| Answer::ok("x".repeat(30_000))).await;
    let (_authority, proxy) = secure(&origin, "").await;
    let mut command = Command::new("h2load");
    command
        .args(["-n600", "-c4", "-m20"])
        .arg(format!("https://{}/", proxy.address()));
    let said = peers::run_program(command).await;
    assert!(said.contains("Application protocol: h2"), "{said}");
    assert!(
        said.contains("600 succeeded, 0 failed, 0 errored, 0 timeout"),
        "{said}"
    );
}

/// Opens a WebSocket, writes what it hears and over which protocol the page came, and is not loaded
/// before that.
const PAGE: &str = r#"<!doctype html><body>nothing<script>
const socket = new WebSocket(`wss://${location.host}/chat`);
socket.onmessage = (event) => {
  const came = performance.getEntriesByType("navigation")[0].nextHopProtocol;
  document.body.append(`[by ${came}, heard ${event.data}]`);
  socket.send("done");
};
socket.onerror = () => document.body.append("[no socket]");
</script><img src="/wait">"#;

/// Serves the page and the socket; the image waits until the page has heard from the socket.
async fn page(mut wire: Wire, heard: Gate) {
    while let Ok(head) = wire.head().await {
        match head.start.split(' ').nth(1).unwrap_or_default() {
            "/chat" => {
                let key = head.fields.get("Sec-WebSocket-Key").unwrap_or_default();
                let accept = websocket::accept(key);
                wire.send(format!(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Accept: {accept}\r\n\r\n\x01\x02he"
                ))
                .await;
                // The rest of a text message in two fragments.
                wire.send([&[0x80, 3][..], b"llo"].concat()).await;
                // Four bytes of mask and four of `done`.
                assert!(wire.exactly(2 + 4 + 4).await.is_ok(), "the page answers");
                heard.open();
                wire.rest().await;
            }
            "/wait" => {
                heard.opened().await;
                wire.send("HTTP/1.1 204 No Content\r\n\r\n").await;
            }
            "/" => {
                let length = PAGE.len();
                wire.send(format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n{PAGE}"
                ))
                .await;
            }
            _ => {
                wire.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                    .await
            }
        }
    }
}

#[tokio::test]
async fn chromium_loads_a_page_and_opens_a_websocket_on_one_connection() {
    if !peers::installed("chromium", "chromium") {
        return;
    }
    let heard = Gate::closed();
    let gate = Arc::new(heard);
    let origin = origin::speaks(move |wire, _| page(wire, Gate::clone(&gate))).await;
    let (_authority, proxy) = secure(&origin, "").await;
    let profile = tempfile::TempDir::new().unwrap();
    let mut command = Command::new("timeout");
    command
        .args([
            "60",
            "chromium",
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
        ])
        .args([
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
        ])
        .args([
            "--disable-sync",
            "--ignore-certificate-errors",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("https://{}/", proxy.address()));
    // A browser takes longer to start than anything else here.
    let run = tokio::task::spawn_blocking(move || command.output());
    let output = run.await.unwrap().unwrap();
    let page = String::from_utf8_lossy(&output.stdout);
    assert!(
        page.contains("[by h2, heard hello]"),
        "{page}\n{}\n{}",
        String::from_utf8_lossy(&output.stderr),
        proxy.stdout().text()
    );
    // The socket was a stream of the page's connection (RFC 8441).
    proxy.stdout().contains("HTTP/2.0 /chat 200\n").await;
}
