//! A PROXY header before the handshake: a balancer in front of us passes TLS on, and names the
//! client.

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What a balancer says of a client at 192.0.2.7:4711, in both versions of the protocol.
fn headers() -> [Vec<u8>; 2] {
    let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".to_vec();
    v2.extend([192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 1, 0xbb]);
    [
        b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n".to_vec(),
        v2,
    ]
}

/// A balancer that begins each connection with a header, in one piece with the client's first
/// bytes.
async fn balancer(header: Vec<u8>, proxy: &Proxy) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, to) = (listener.local_addr().unwrap(), proxy.address().to_owned());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut first = header.clone();
            client.read_buf(&mut first).await.unwrap();
            let mut there = TcpStream::connect(&to).await.unwrap();
            there.write_all(&first).await.unwrap();
            // Either side may end it first, in any way.
            let _ = tokio::io::copy_bidirectional(&mut client, &mut there).await;
        }
    });
    address.to_string()
}

/// A proxy behind a balancer, with a certificate for two names.
async fn behind(authority: &Authority, origin: &Origin, trusted: &str, more: &str) -> Proxy {
    let setup = with(origin, &authority.certificate(&["a.example"]), more);
    file(&setup, "ca.pem", &authority.pem());
    authority
        .certificate(&["b.example"])
        .write(setup.directory(), "b");
    let client =
        "$remote_addr $realip_remote_addr $proxy_protocol_addr $ssl_server_name $ssl_client_verify";
    setup
        .listen("proxy_protocol = true")
        .server(&format!("trusted_proxies = [\"{trusted}\"]"))
        .route(&format!(
            "request_headers = {{ set = {{ \"X-Client\" = \"{client}\" }} }}"
        ))
        .start()
        .await
}

#[tokio::test]
async fn whom_the_header_names_and_what_the_client_asks_for_are_both_known() {
    let authority = Authority::new("Specs");
    let origin = origin::says("hello").await;
    let certificates = "certificates = [{ certificate = \"b.pem\", key = \"b.key\" }]";
    for (trusted, client) in [
        ("127.0.0.0/8", "192.0.2.7 127.0.0.1 192.0.2.7"),
        ("10.0.0.0/8", "127.0.0.1 127.0.0.1 192.0.2.7"),
    ] {
        let proxy = behind(&authority, &origin, trusted, certificates).await;
        for header in headers() {
            let address = balancer(header, &proxy).await;
            for (name, http2) in [("a.example", false), ("b.example", true)] {
                let mut config = authority.trusting();
                if http2 {
                    config.alpn_protocols = vec![b"h2".to_vec()];
                    let client = tls::connect(&address, config, name).await.unwrap();
                    let shaken = client.wire.handshake().unwrap();
                    assert_eq!(shaken.alpn.as_deref(), Some("h2"));
                    assert_eq!(shaken.peer_names, [name]);
                    continue;
                }
                let response = tls::get(&address, config, name, "/").await;
                assert_eq!(response.text(), "hello");
                let requests = origin.requests();
                let request = requests.last().unwrap();
                assert_eq!(request.header("X-Client"), format!("{client} {name} NONE"));
                assert_eq!(request.header("X-Forwarded-Proto"), "https");
            }
        }
    }
}

#[tokio::test]
async fn a_header_changes_nothing_about_who_must_show_a_certificate() {
    let authority = Authority::new("Specs");
    let origin = origin::says("hello").await;
    let more = "client_certificate = \"require\", client_ca = \"ca.pem\"";
    let proxy = behind(&authority, &origin, "127.0.0.0/8", more).await;
    for header in headers() {
        let address = balancer(header, &proxy).await;
        let nobody = tls::get(&address, authority.trusting(), "a.example", "/").await;
        assert_eq!(nobody.status, 400);
        let alice = authority.trusting_as(&authority.client_certificate("alice"));
        let response = tls::get(&address, alice, "a.example", "/").await;
        assert_eq!(response.text(), "hello");
    }
    proxy
        .log_contains("client sent no required SSL certificate")
        .await;
    proxy.log_contains("client: 192.0.2.7").await;
}

#[tokio::test]
async fn a_handshake_without_the_header_is_refused_and_so_is_a_header_within_it() {
    let authority = Authority::new("Specs");
    let origin = origin::says("hello").await;
    let proxy = behind(&authority, &origin, "127.0.0.0/8", "").await;
    let refused = tls::connect(proxy.address(), authority.trusting(), "a.example").await;
    assert!(refused.is_err());
    proxy.log_contains("broken header: ").await;
    // Inside of TLS, a header is a malformed request.
    let [v1, _] = headers();
    let address = balancer(v1.clone(), &proxy).await;
    let connected = tls::connect(&address, authority.trusting(), "a.example").await;
    let mut client = connected.unwrap();
    client.send([&v1[..], b"\r\n"].concat()).await;
    assert_eq!(client.response().await.status, 400);
    assert!(origin.requests().is_empty());
}
