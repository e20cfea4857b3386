//! `sni`: where a connection goes is told by its ClientHello, which is passed on untouched.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

/// What a client says first that asks for this host; none asks for no host.
fn client_hello(host: Option<&str>) -> Vec<u8> {
    let name = match host {
        Some(host) => ServerName::try_from(host.to_owned()).unwrap(),
        // An address is not sent as a name (RFC 6066 section 3).
        None => ServerName::try_from("192.0.2.1").unwrap(),
    };
    let config = ClientConfig::builder()
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

/// A server that says its name, and how many bytes it got by then.
async fn taker(name: &'static str, length: usize) -> Origin {
    origin::speaks(move |mut wire, _| async move {
        if let Ok(got) = wire.exactly(length).await {
            let sum: u64 = got.iter().map(|byte| u64::from(*byte)).sum();
            let _ = wire.try_send(format!("{name} {sum}\n")).await;
        }
        wire.rest().await;
    })
    .await
}

/// A stream by name to three servers: `a.example`, `*.b.example` and all others.
async fn by_name(servers: [&Origin; 3], more: &str) -> Proxy {
    let [a, b, rest] = servers.map(|server| server.address().to_owned());
    let file = format!(
        "[[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"{rest}\"\n{more}\n\
         sni = [{{ host = \"a.example\", proxy = \"{a}\" }}, {{ host = \"*.b.example\", proxy = \"{b}\" }}]\n\
         access_log = {{ path = \"stream.log\", format = \"$status $ssl_preread_server_name $upstream_addr\" }}\n"
    );
    proxy::run(&file, &[]).await
}

async fn asked(proxy: &Proxy, pieces: impl IntoIterator<Item = &[u8]>) -> String {
    let mut wire = Wire::connect(proxy.address()).await.unwrap();
    for piece in pieces {
        wire.send(piece).await;
        tokio::task::yield_now().await;
    }
    line(&mut wire).await
}

#[tokio::test]
async fn the_named_host_chooses_the_upstream() {
    for (host, expected) in [
        (Some("a.example"), "a"),
        (Some("A.Example"), "a"),
        (Some("x.b.example"), "b"),
        (Some("y.x.b.example"), "b"),
        (Some("b.example"), "rest"),
        (Some("other.example"), "rest"),
        (None, "rest"),
    ] {
        let hello = client_hello(host);
        let sum: u64 = hello.iter().map(|byte| u64::from(*byte)).sum();
        let [a, b, rest] = ["a", "b", "rest"].map(|name| taker(name, hello.len()));
        let (a, b, rest) = (a.await, b.await, rest.await);
        let proxy = by_name([&a, &b, &rest], "").await;
        // At once, and byte by byte.
        let whole = asked(&proxy, [&hello[..]]).await;
        assert_eq!(whole, format!("{expected} {sum}"), "{host:?}");
        let pieces = asked(&proxy, hello.chunks(1)).await;
        assert_eq!(pieces, whole, "{host:?}");
    }
}

#[tokio::test]
async fn a_client_hello_in_several_records_is_understood() {
    let hello = client_hello(Some("a.example"));
    let (header, handshake) = hello.split_at(5);
    let mut records = Vec::new();
    for piece in handshake.chunks(37) {
        records.extend_from_slice(&header[..3]);
        records.extend_from_slice(&u16::try_from(piece.len()).unwrap().to_be_bytes());
        records.extend_from_slice(piece);
    }
    let (a, rest) = (taker("a", records.len()).await, taker("rest", 1).await);
    let proxy = by_name([&a, &rest, &rest], "").await;
    assert!(asked(&proxy, records.chunks(100)).await.starts_with("a "));
}

#[tokio::test]
async fn whatever_is_not_tls_goes_to_the_default() {
    let (a, rest) = (taker("a", 1).await, taker("rest", 8).await);
    let proxy = by_name([&a, &a, &rest], "").await;
    for bytes in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"\0\0\0\x08\x04\xd2\x16\x2f",   // how PostgreSQL asks for TLS
        b"\x16\x03\x01\0\x04\x02\0\0\0", // a handshake, but not of a client
        b"\x16\x03\x01\0\x08\x01\0\0\x04\0\0\0\0", // a ClientHello of four zeros
        b"\x80\x2e\x01\x03\x01\0\x15\0\0\0\x10", // of SSL 2.0
    ] {
        let answer = asked(&proxy, [bytes]).await;
        assert!(
            answer.starts_with("rest "),
            "{answer}: {}",
            bytes.escape_ascii()
        );
    }
}

#[tokio::test]
async fn a_client_that_does_not_say_enough_is_not_passed_on() {
    let rest = taker("rest", 1).await;
    let proxy = by_name([&rest, &rest, &rest], "preread_timeout = \"200ms\"").await;
    let hello = client_hello(Some("a.example"));
    for said in [&b""[..], &hello[..100]] {
        let mut wire = Wire::connect(proxy.address()).await.unwrap();
        wire.send(said).await;
        assert_eq!(wire.rest().await.got, b"");
    }
    proxy
        .log_contains("client timed out (110: Connection timed out) while prereading client data, client: 127.0.0.1")
        .await;
    assert_eq!(rest.connections(), 0);
    assert_eq!(log_lines(&proxy, "stream.log", 2).await[0], "200 - -");
}

#[tokio::test]
async fn a_client_hello_without_end_is_refused() {
    let rest = taker("rest", 1).await;
    let proxy = by_name([&rest, &rest, &rest], "").await;
    let mut wire = Wire::connect(proxy.address()).await.unwrap();
    // A handshake of 64 KiB in records of 1 KiB.
    let mut endless = Vec::new();
    for number in 0..20 {
        endless.extend_from_slice(b"\x16\x03\x01\x04\0");
        let start: &[u8] = if number == 0 { b"\x01\0\xff\xf0" } else { b"" };
        endless.extend_from_slice(start);
        endless.resize(endless.len() + 1024 - start.len(), 0);
    }
    let _ = wire.try_send(&endless).await;
    assert_eq!(wire.rest().await.got, b"");
    proxy
        .log_contains("preread buffer full while prereading client data")
        .await;
    assert_eq!(log_lines(&proxy, "stream.log", 1).await, ["400 - -"]);
    assert_eq!(rest.connections(), 0);
}

/// A TLS server of this name, which says it to every client.
async fn tls_server(name: &'static str) -> (String, rustls::pki_types::CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let _ = stream.write_all(name.as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    (address, certificate)
}

#[tokio::test]
async fn tls_goes_through_end_to_end() {
    let (a, certificate_of_a) = tls_server("a.example").await;
    let (b, certificate_of_b) = tls_server("b.example").await;
    let mut roots = RootCertStore::empty();
    roots.add(certificate_of_a).unwrap();
    roots.add(certificate_of_b).unwrap();
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let file = format!(
        "[[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"{a}\"\nsni = [{{ host = \"b.example\", proxy = \"{b}\" }}]\n"
    );
    let proxy = proxy::run(&file, &[]).await;
    for host in ["a.example", "b.example"] {
        let stream = TcpStream::connect(proxy.address()).await.unwrap();
        let name = ServerName::try_from(host).unwrap();
        let mut stream = connector.connect(name, stream).await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, host);
    }
}

/// A stream that ends TLS for these hosts, with a certificate of its own making, and trust in it.
async fn ends_tls(host: &str, stream: &str) -> (Proxy, tokio_rustls::TlsConnector) {
    let made = rcgen::generate_simple_self_signed([host.to_owned()]).unwrap();
    let directory = tempfile::TempDir::new().unwrap();
    let [certificate, key] = ["a.pem", "a.key"].map(|name| directory.path().join(name));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let mut config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    // What goes on inside is the servers' business.
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    let tls = format!(
        "tls = {{ certificate = \"{}\", key = \"{}\" }}",
        certificate.display(),
        key.display()
    );
    let file = format!("[[stream]]\naddress = \"127.0.0.1:0\"\n{tls}\n{stream}\n");
    let proxy = proxy::run(&file, &[]).await;
    (proxy, tokio_rustls::TlsConnector::from(Arc::new(config)))
}

#[tokio::test]
async fn tls_can_end_in_front_of_a_stream() {
    let (a, b) = (echo("plain a").await, echo("plain b").await);
    let stream = format!(
        "proxy = \"{}\"\nsni = [{{ host = \"b.example\", proxy = \"{}\" }}]\n\
         access_log = {{ path = \"stream.log\", format = \"$status $ssl_protocol $ssl_server_name\" }}",
        a.address(),
        b.address()
    );
    let (proxy, connector) = ends_tls("b.example", &stream).await;
    let tcp = TcpStream::connect(proxy.address()).await.unwrap();
    let name = ServerName::try_from("b.example").unwrap();
    let mut tls = connector.connect(name, tcp).await.unwrap();
    tls.write_all(b"to and fro\n").await.unwrap();
    let mut said = [0; 19];
    let answer = waypost_tests::in_time("an answer", tls.read_exact(&mut said));
    answer.await.unwrap();
    assert_eq!(&said, b"plain b\nto and fro\n");
    tls.shutdown().await.unwrap();
    let mut rest = Vec::new();
    tls.read_to_end(&mut rest).await.unwrap();
    let lines = log_lines(&proxy, "stream.log", 1).await;
    assert_eq!(lines, ["200 TLSv1.3 b.example"]);

    // A client that does not speak TLS is not passed on to servers that expect TLS to end here.
    let mut plain = Wire::connect(proxy.address()).await.unwrap();
    plain.send("hello\n").await;
    assert_eq!(plain.rest().await.got, b"");
    proxy
        .log_contains("client does not speak TLS while SSL handshaking, client: 127.0.0.1")
        .await;
    assert_eq!(a.connections(), 0);
}
