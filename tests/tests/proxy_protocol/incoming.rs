//! Headers that we get, from peers that may send them.

use super::*;

#[tokio::test]
async fn the_named_client_is_the_client_in_everything() {
    let origin = origin::says("hello").await;
    let proxy = proxy_to(&origin, TRUST).await;
    for header in [
        VERSION_1.to_vec(),
        version_2(1, b""),
        version_2(1, b"\x04\0\x01x"),
    ] {
        let mut wire = Wire::connect(proxy.address()).await.unwrap();
        let port = wire.local_port().to_string();
        wire.send([&header[..], REQUEST.as_bytes()].concat()).await;
        let head = wire.head().await.unwrap();
        for (name, expected) in [
            ("X-remote-addr", "192.0.2.7"),
            ("X-remote-port", "4000"),
            ("X-realip-remote-addr", "127.0.0.1"),
            ("X-realip-remote-port", &port),
            ("X-proxy-protocol-addr", "192.0.2.7"),
            ("X-proxy-protocol-port", "4000"),
            ("X-proxy-protocol-server-addr", "198.51.100.9"),
            ("X-proxy-protocol-server-port", "443"),
        ] {
            assert_eq!(head.fields.get(name), Some(expected), "{name}");
        }
        let request = origin.requests().pop().unwrap();
        assert_eq!(request.header("X-Forwarded-For"), "192.0.2.7");
        assert_eq!(request.header("X-Real-IP"), "192.0.2.7");
    }
}

#[tokio::test]
async fn the_header_may_come_byte_by_byte_and_the_request_right_behind() {
    let origin = origin::says("hello").await;
    let proxy = proxy_to(&origin, TRUST).await;
    for header in [VERSION_1.to_vec(), version_2(1, &[0; 300])] {
        let mut wire = Wire::connect(proxy.address()).await.unwrap();
        for byte in &header {
            wire.send([*byte]).await;
        }
        wire.send(REQUEST).await;
        let head = wire.head().await.unwrap();
        assert_eq!(head.fields.get("X-remote-addr"), Some("192.0.2.7"));
    }
}

#[tokio::test]
async fn a_header_holds_for_all_requests_of_its_connection() {
    let origin = origin::says("hello").await;
    let proxy = proxy_to(&origin, TRUST).await;
    let mut client = proxy.client().await;
    client.send(VERSION_1).await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.header("X-remote-addr"), "192.0.2.7");
    }
}

#[tokio::test]
async fn ip_hash_goes_by_the_named_client() {
    let origins = [
        origin::says("a").await,
        origin::says("b").await,
        origin::says("c").await,
    ];
    let servers: Vec<String> = origins.iter().map(|origin| origin.with("")).collect();
    let plain = proxy::to(servers.clone()).upstream("policy = \"ip_hash\"");
    let told = proxy::to(servers).upstream("policy = \"ip_hash\"");
    let (plain, told) = (
        plain.server(TRUST).start().await,
        told.server(TRUST)
            .listen("proxy_protocol = true")
            .start()
            .await,
    );
    let mut seen = std::collections::BTreeSet::new();
    for number in 1..=20 {
        let address = format!("203.0.{number}.1");
        let by_field = plain
            .get_with("/", &format!("X-Forwarded-For: {address}\r\n"))
            .await;
        let header = format!("PROXY TCP4 {address} 127.0.0.1 1 80\r\n{REQUEST}");
        let by_header = told.exchange(header).await;
        assert_eq!(by_field.text(), by_header.text(), "{address}");
        seen.insert(by_header.text());
    }
    assert_eq!(seen.len(), 3, "no two of them went apart: {seen:?}");
}

#[tokio::test]
async fn a_header_that_names_nobody_leaves_the_connections_own_address() {
    let origin = origin::says("hello").await;
    let proxy = proxy_to(&origin, TRUST).await;
    let unspecified = [SIGNATURE, &[0x21, 0, 0, 0]].concat();
    for header in [
        b"PROXY UNKNOWN\r\n".to_vec(),
        version_2(0, b""),
        unspecified,
    ] {
        let response = proxy
            .exchange([&header[..], REQUEST.as_bytes()].concat())
            .await;
        assert_eq!(response.header("X-remote-addr"), "127.0.0.1");
        assert_eq!(response.headers.get("X-proxy-protocol-addr"), None);
    }
}

#[tokio::test]
async fn whoever_connects_to_a_unix_socket_can_be_trusted() {
    let origin = origin::says("hello").await;
    for (trust, expected) in [
        ("trusted_proxies = [\"unix:\"]", "192.0.2.7"),
        (TRUST, "unix:"),
    ] {
        let proxy = proxy::to([&origin])
            .server(trust)
            .listen("proxy_protocol = true\naddress = \"unix:{dir}/front.sock\"")
            .route(
                "response_headers = { set = { X-Client = \"$remote_addr $realip_remote_addr\" } }",
            )
            .start()
            .await;
        let response = proxy
            .exchange([VERSION_1, REQUEST.as_bytes()].concat())
            .await;
        assert_eq!(
            response.header("X-Client"),
            format!("{expected} unix:"),
            "{trust}"
        );
    }
    // The same trust goes for what a request says.
    let proxy = proxy::to([&origin])
        .server("trusted_proxies = [\"unix:\"]")
        .listen("address = \"unix:{dir}/front.sock\"")
        .route("response_headers = { set = { X-Client = \"$remote_addr\" } }")
        .start()
        .await;
    let response = proxy.get_with("/", "X-Forwarded-For: 192.0.2.9\r\n").await;
    assert_eq!(response.header("X-Client"), "192.0.2.9");
}

#[tokio::test]
async fn streams_take_headers_too() {
    let server = origin::speaks(|mut wire, _| async move {
        let said = wire.until(b"\n").await.unwrap();
        wire.send(said).await;
    })
    .await;
    let file = format!(
        "[server]\n{TRUST}\n[[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"{}\"\nproxy_protocol = true\n\
         access_log = {{ path = \"stream.log\", format = \"$remote_addr $realip_remote_addr $proxy_protocol_server_port\" }}\n",
        server.address()
    );
    let proxy = proxy::run(&file, &[]).await;
    for header in [VERSION_1.to_vec(), version_2(1, b"")] {
        let mut wire = Wire::connect(proxy.address()).await.unwrap();
        wire.send([&header[..], b"data\n"].concat()).await;
        assert_eq!(
            wire.rest().await.got,
            b"data\n",
            "nothing but the header is taken"
        );
    }
    let log = proxy.directory().join("stream.log");
    let read = || std::fs::read_to_string(&log).unwrap_or_default();
    eventually("both sessions in the log", async || {
        read().lines().count() == 2
    })
    .await;
    assert_eq!(read(), "192.0.2.7 127.0.0.1 443\n".repeat(2));
}
