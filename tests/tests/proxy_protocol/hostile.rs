//! Malformed headers, and headers of peers that are not trusted.

use super::*;

#[tokio::test]
async fn whom_an_untrusted_peer_names_is_known_but_not_believed() {
    let origin = origin::says("hello").await;
    for trust in ["", "trusted_proxies = [\"10.0.0.0/8\", \"unix:\"]"] {
        let proxy = proxy_to(&origin, trust).await;
        for header in [VERSION_1.to_vec(), version_2(1, b"")] {
            let response = proxy
                .exchange([&header[..], REQUEST.as_bytes()].concat())
                .await;
            assert_eq!(response.header("X-remote-addr"), "127.0.0.1");
            assert_eq!(response.header("X-proxy-protocol-addr"), "192.0.2.7");
            let request = origin.requests().pop().unwrap();
            assert_eq!(request.header("X-Forwarded-For"), "127.0.0.1");
            assert_eq!(request.header("X-Real-IP"), "127.0.0.1");
        }
    }
}

#[tokio::test]
async fn a_trusted_peer_does_not_lend_its_trust_to_the_client_that_it_names() {
    let origin = origin::says("hello").await;
    let proxy = proxy_to(&origin, TRUST).await;
    let request =
        "GET / HTTP/1.1\r\nHost: t\r\nX-Forwarded-For: 203.0.113.66\r\nConnection: close\r\n\r\n";
    let response = proxy
        .exchange([VERSION_1, request.as_bytes()].concat())
        .await;
    assert_eq!(response.header("X-remote-addr"), "192.0.2.7");
    assert_eq!(origin.request().header("X-Forwarded-For"), "192.0.2.7");
}

#[tokio::test]
async fn without_a_header_the_connection_is_closed_and_the_log_says_so_in_nginxs_words() {
    let origin = origin::says("hello").await;
    let proxy = proxy_to(&origin, TRUST).await;
    let too_long = version_2(1, &[0; 4096 - 16 - 12 + 1]);
    // But for its length it would be fine.
    let overlong_line = [b"PROXY UNKNOWN ", &[b'1'; 92][..], b"\r\n"].concat();
    assert_eq!(overlong_line.len(), 108);
    for bytes in [
        REQUEST.as_bytes(),
        b"PROXY TCP4 192.0.2.7 198.51.100.9 4000\r\n",
        b"PROXY TCP4 192.0.2.7 198.51.100.9 4000 443\n\n",
        b"PROXY TCP5 192.0.2.7 198.51.100.9 4000 443\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x04\x7f\0\0\x01",
        &too_long,
        &overlong_line,
    ] {
        let mut wire = Wire::connect(proxy.address()).await.unwrap();
        let _ = wire.try_send(bytes).await;
        assert_eq!(wire.rest().await.got, b"", "{}", bytes.escape_ascii());
    }
    proxy
        .log_contains("broken header: \"GET / HTTP/1.1\\r\\nHost: t\\r\\nConnection: close\\r\\n\\r\\n\" while reading PROXY protocol, client: 127.0.0.1, server: 127.0.0.1:")
        .await;
    let longest = proxy.log().lines().map(str::len).max();
    assert!(longest < Some(700), "{longest:?}");
    assert_eq!(origin.connections(), 0);
}

#[tokio::test]
async fn a_header_of_the_largest_size_is_taken() {
    let origin = origin::says("hello").await;
    let proxy = proxy_to(&origin, TRUST).await;
    let largest = version_2(1, &[0; 4096 - 16 - 12]);
    let response = proxy
        .exchange([&largest[..], REQUEST.as_bytes()].concat())
        .await;
    assert_eq!(response.header("X-remote-addr"), "192.0.2.7");
}

#[tokio::test]
async fn a_header_must_come_in_time() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin])
        .listen("proxy_protocol = true\nclient_header_timeout = \"200ms\"")
        .start()
        .await;
    for part in [&b""[..], b"PROXY TCP4 ", SIGNATURE] {
        let mut wire = Wire::connect(proxy.address()).await.unwrap();
        wire.send(part).await;
        assert_eq!(wire.rest().await.got, b"");
    }
    proxy
        .log_contains("client timed out (110: Connection timed out) while reading PROXY protocol, client: 127.0.0.1")
        .await;
}

#[tokio::test]
async fn random_bytes_bring_nothing_down() {
    let origin = origin::says("hello").await;
    let proxy = proxy_to(&origin, TRUST).await;
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..200 {
        let mut bytes = match random.u8(0..3) {
            0 => Vec::new(),
            1 => VERSION_1[..random.usize(..VERSION_1.len())].to_vec(),
            _ => {
                let header = version_2(1, b"");
                header[..random.usize(..header.len())].to_vec()
            }
        };
        // Ends with what no whole header can follow in time.
        bytes.extend((0..random.usize(1..64)).map(|_| random.u8(..)));
        let mut wire = Wire::connect(proxy.address()).await.unwrap();
        let _ = wire.try_send(&bytes).await;
        drop(wire);
    }
    let response = proxy
        .exchange([VERSION_1, REQUEST.as_bytes()].concat())
        .await;
    assert_eq!(
        (response.status, response.header("X-remote-addr")),
        (200, "192.0.2.7")
    );
}

#[tokio::test]
async fn a_listener_that_wants_no_header_takes_it_for_a_bad_request() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin]).start().await;
    let response = proxy
        .exchange([VERSION_1, REQUEST.as_bytes()].concat())
        .await;
    assert_eq!(response.status, 400);
    assert_eq!(origin.connections(), 0);
}

/// [`VERSION_1`] with another client.
const OTHER: &[u8] = b"PROXY TCP4 192.0.2.8 198.51.100.9 4000 443\r\n";

/// A stream that wants PROXY headers, before a server that no connection may reach. One worker, so
/// that its timers run in order.
async fn stream(server: &Origin, more: &str) -> Proxy {
    let file = format!(
        "[server]\nworkers = 1\n[[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"{}\"\nproxy_protocol = true\n{more}\n\
         access_log = {{ path = \"stream.log\", format = \"$remote_addr $proxy_protocol_addr\" }}\n{ADMIN}",
        server.address()
    );
    proxy::run(&file, &[]).await
}

#[tokio::test]
async fn a_stream_waits_for_header_and_name_together_no_longer_than_preread_timeout() {
    let server = origin::says("hello").await;
    let more =
        "preread_timeout = \"2s\"\nsni = [{ host = \"a.example\", proxy = \"127.0.0.1:1\" }]";
    let proxy = stream(&server, more).await;
    let open = |number: u64| {
        let proxy = &proxy;
        eventually("all to be accepted", async move || {
            proxy.shows("/status").await["connections"] == number
        })
    };
    let begun = b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03";
    let halves: [[&[u8]; 2]; 5] = [
        [b"", b""],
        [b"", &VERSION_1[..20]],
        [b"", VERSION_1],
        [&VERSION_1[..20], &VERSION_1[20..]],
        [b"", &[VERSION_1, begun].concat()],
    ];
    let mut slow = Vec::new();
    for [first, _] in halves {
        let mut wire = Wire::connect(proxy.address()).await.unwrap();
        wire.send(first).await;
        slow.push(wire);
    }
    open(5).await;
    pause().await;
    // One that comes later is closed later, but earlier than they would be if their time began anew
    // with their header.
    let mut later = Wire::connect(proxy.address()).await.unwrap();
    later.send(OTHER).await;
    open(6).await;
    pause().await;
    for (wire, [_, second]) in slow.iter_mut().zip(halves) {
        wire.send(second).await;
    }
    slow.push(later);
    for mut wire in slow {
        assert_eq!(wire.rest().await.got, b"");
    }
    // Those whose header was whole are in the log, in the order in which they ended.
    let log = proxy.directory().join("stream.log");
    let read = || std::fs::read_to_string(&log).unwrap_or_default();
    eventually("four lines", async || read().lines().count() == 4).await;
    let named = "127.0.0.1 192.0.2.7\n".repeat(3);
    assert_eq!(read(), named + "127.0.0.1 192.0.2.8\n");
    for reading in [
        "while reading PROXY protocol",
        "while prereading client data",
    ] {
        let line =
            format!("client timed out (110: Connection timed out) {reading}, client: 127.0.0.1");
        proxy.log_contains(&line).await;
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_stream_does_not_believe_whom_an_untrusted_peer_names() {
    let server = origin::says("hello").await;
    let proxy = stream(&server, "").await;
    let response = proxy
        .exchange([VERSION_1, REQUEST.as_bytes()].concat())
        .await;
    assert_eq!(response.text(), "hello");
    let log = proxy.directory().join("stream.log");
    let read = || std::fs::read_to_string(&log).unwrap_or_default();
    eventually("a line", async || !read().is_empty()).await;
    assert_eq!(read(), "127.0.0.1 192.0.2.7\n");
}

#[tokio::test]
async fn a_stream_takes_no_byte_of_what_follows_the_longest_header() {
    let server = origin::says("hello").await;
    let proxy = stream(&server, "").await;
    let address = ["ffff"; 8].join(":");
    let longest = format!("PROXY UNKNOWN {address} {address} 65535 65535\r\n");
    assert_eq!(longest.len(), 107);
    for header in [longest.into_bytes(), version_2(0, &[0; 600])] {
        let response = proxy
            .exchange([&header[..], REQUEST.as_bytes()].concat())
            .await;
        assert_eq!(response.text(), "hello");
    }
}
