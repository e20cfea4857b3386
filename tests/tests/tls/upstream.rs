//! Servers that speak TLS, and what happens where they do not. Which servers are trusted is in
//! `believed`.

use super::*;
use waypost_tests::Origin;

/// An origin that says "hello" with this certificate.
pub(super) async fn secure(own: &Certificate) -> Origin {
    origin::answers_with(own.server(), |_| Answer::ok("hello")).await
}

/// A proxy before servers that are spoken to with TLS; `ca.pem` is the authority's.
pub(super) fn before(authority: &Authority, servers: &[String], tls: &str) -> Setup {
    let setup = proxy::to(servers.iter().map(|server| format!("\"{server}\"")));
    file(&setup, "ca.pem", &authority.pem());
    setup.upstream(tls)
}

#[tokio::test]
async fn a_server_is_asked_for_by_name_and_verified() {
    let authority = Authority::new("Specs");
    let origin = secure(&authority.certificate(&["localhost", "127.0.0.1"])).await;
    for (host, asked) in [
        ("localhost", Some("localhost".to_owned())),
        ("127.0.0.1", None),
    ] {
        let server = format!("https://{host}:{}", port(origin.address()));
        let proxy = before(&authority, &[server], "tls = { ca = \"ca.pem\" }")
            .start()
            .await;
        assert_eq!(proxy.get("/").await.text(), "hello", "{host}");
        let requests = origin.requests();
        let seen = requests.last().unwrap().tls.clone().unwrap();
        assert_eq!(seen.server_name, asked);
        assert_eq!(seen.alpn.as_deref(), None, "it has no preference");
    }
}

#[tokio::test]
async fn a_server_learns_whom_a_connection_is_for_before_the_handshake() {
    let authority = Authority::new("Specs");
    let own = authority.certificate(&["127.0.0.1"]).server();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(own));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = [format!("https://{}", listener.local_addr().unwrap())];
    let proxy = before(
        &authority,
        &server,
        "tls = { ca = \"ca.pem\" }\nproxy_protocol = \"v1\"",
    )
    .start()
    .await;
    let served = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut header = Vec::new();
        while !header.ends_with(b"\r\n") {
            header.push(stream.read_u8().await.unwrap());
        }
        let mut tls = acceptor.accept(stream).await.unwrap();
        tls.read_u8().await.unwrap();
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        tls.write_all(answer).await.unwrap();
        tls.flush().await.unwrap();
        let _ = tls.read_to_end(&mut Vec::new()).await;
        String::from_utf8(header).unwrap()
    });
    let response = proxy.get("/").await;
    assert_eq!(response.text(), "hello");
    let header = served.await.unwrap();
    assert!(
        header.starts_with("PROXY TCP4 127.0.0.1 127.0.0.1 "),
        "{header}"
    );
}

#[tokio::test]
async fn a_handshake_that_fails_is_told_in_nginxs_words() {
    let silent = origin::speaks(async |wire, _| {
        let _open = wire;
        std::future::pending::<()>().await;
    })
    .await;
    let leaves = origin::speaks(async |mut wire, _| {
        wire.finish_sending().await;
        wire.rest().await;
    })
    .await;
    let plain = origin::speaks(async |mut wire, _| {
        wire.send("HTTP/1.1 400 Bad Request\r\n\r\n").await;
        wire.rest().await;
    })
    .await;
    let authority = Authority::new("Specs");
    for (origin, status, words) in [
        (
            &silent,
            504,
            "upstream timed out (110: Connection timed out)",
        ),
        (&leaves, 502, "peer closed connection in SSL handshake"),
        (
            &plain,
            502,
            "SSL_do_handshake() failed (wrong version number: the server does not speak TLS)",
        ),
    ] {
        let server = [format!("https://{}", origin.address())];
        let lines = "tls = { ca = \"ca.pem\" }\nconnect_timeout = \"2s\"";
        let proxy = before(&authority, &server, lines).start().await;
        assert_eq!(proxy.get("/").await.status, status, "{words}");
        let line = format!("{words} while SSL handshaking to upstream, client: ");
        proxy.log_contains(&line).await;
    }
}

#[tokio::test]
async fn servers_that_are_added_by_command_are_spoken_to_with_tls() {
    let authority = Authority::new("Specs");
    let first = secure(&authority.certificate(&["127.0.0.1"])).await;
    let more = secure(&authority.certificate(&["127.0.0.1"])).await;
    let stranger = secure(&Authority::new("Strangers").certificate(&["127.0.0.1"])).await;
    let server = [format!("https://{}", first.address())];
    let proxy = before(&authority, &server, "tls = { ca = \"ca.pem\" }")
        .more(ADMIN)
        .start()
        .await;
    let add = async |address: &str| {
        let body = format!("{{\"address\": \"{address}\"}}");
        let added = proxy.admin("POST", "/upstreams/backend/servers", &body);
        let added = added.await;
        (added.status, added.text())
    };
    let remove = async |address: &str| {
        let path = format!("/upstreams/backend/servers/{address}");
        proxy.admin("DELETE", &path, "").await.status
    };
    assert_eq!(add(more.address()).await.0, 200);
    assert_eq!(remove(first.address()).await, 200);
    assert_eq!(proxy.get("/").await.text(), "hello");
    assert!(more.request().tls.is_some());
    // The same one by its URL.
    let url = format!("https://{}", first.address());
    assert_eq!(add(&url).await.0, 200);
    assert_eq!(remove(more.address()).await, 200);
    assert_eq!(proxy.get("/").await.text(), "hello");
    // It is verified as all others are.
    assert_eq!(add(stranger.address()).await.0, 200);
    assert_eq!(remove(first.address()).await, 200);
    assert_eq!(proxy.get("/").await.status, 502);
    assert!(stranger.requests().is_empty());
    let (status, text) = add("unix:/run/app.sock").await;
    assert_eq!(status, 422, "{text}");
    assert!(
        text.contains("has no name that its certificate could be verified by"),
        "{text}"
    );
    proxy.edit("\"ca.pem\"", "\"ca.pem\", server_name = \"app.example\"");
    proxy.reload().await;
    assert_eq!(add("unix:/run/app.sock").await.0, 200, "its name is known");
}

#[tokio::test]
async fn a_stream_asks_its_servers_for_no_protocol() {
    let authority = Authority::new("Specs");
    let mut theirs = authority.certificate(&["127.0.0.1"]).server();
    // It refuses clients that offer other protocols only (RFC 7301 section 3.2).
    theirs.alpn_protocols = vec![b"imap".to_vec()];
    let origin = origin::answers_with(theirs, |_| Answer::ok("hello")).await;
    let stream = "[[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"backend\"\n";
    let server = [format!("https://{}", origin.address())];
    let proxy = before(&authority, &server, "tls = { ca = \"ca.pem\" }")
        .more(stream)
        .start()
        .await;
    let response = waypost_tests::client::get_with(proxy.listener(1), "/", "").await;
    assert_eq!(response.text(), "hello");
    assert_eq!(proxy.get("/").await.status, 502, "HTTP asks for itself");
}

#[tokio::test]
async fn another_server_is_asked_where_a_handshake_fails() {
    let authority = Authority::new("Specs");
    let good = secure(&authority.certificate(&["127.0.0.1"])).await;
    let bad = secure(&authority.certificate(&["other.example"])).await;
    // It waits for the end of a request, and says nothing to a handshake.
    let plain = origin::says("plain").await;
    let servers = [&bad, &plain, &good].map(|origin| format!("https://{}", origin.address()));
    let proxy = before(
        &authority,
        &servers,
        "tls = { ca = \"ca.pem\" }\nconnect_timeout = \"2s\"",
    )
    .start()
    .await;
    for _ in 0..6 {
        assert_eq!(proxy.get("/").await.text(), "hello");
    }
    proxy
        .log_contains("upstream server temporarily disabled")
        .await;
}

#[tokio::test]
async fn we_show_our_own_certificate_to_servers_that_ask_for_one() {
    let authority = Authority::new("Specs");
    let own = authority.certificate(&["127.0.0.1"]);
    let origin = origin::answers_with(authority.demanding(&own), |_| Answer::ok("hello")).await;
    let server = [format!("https://{}", origin.address())];
    let setup = before(
        &authority,
        &server,
        "tls = { ca = \"ca.pem\", certificate = \"me.pem\", key = \"me.key\" }",
    );
    authority
        .client_certificate("proxy")
        .write(setup.directory(), "me");
    let proxy = setup.start().await;
    assert_eq!(proxy.get("/").await.text(), "hello");
    assert_eq!(origin.request().tls.unwrap().peer_certificates, 1);
}

#[tokio::test]
async fn sessions_with_a_server_are_resumed_by_all_workers() {
    let authority = Authority::new("Specs");
    let own = authority.certificate(&["127.0.0.1"]);
    let origin = secure(&own).await;
    let server = [format!("https://{}", origin.address())];
    let lines = "tls = { ca = \"ca.pem\" }\nkeepalive = 0";
    let proxy = before(&authority, &server, lines).start().await;
    for _ in 0..8 {
        assert_eq!(proxy.get("/").await.text(), "hello");
    }
    let resumed: Vec<bool> = origin
        .requests()
        .iter()
        .map(|request| request.tls.as_ref().unwrap().resumed)
        .collect();
    assert!(!resumed[0]);
    assert!(
        resumed[1..].iter().filter(|resumed| **resumed).count() >= 6,
        "{resumed:?}"
    );
}

#[tokio::test]
async fn a_body_whose_end_nobody_vouches_for_is_passed_on_as_cut_off() {
    let authority = Authority::new("Specs");
    let own = authority.certificate(&["127.0.0.1"]).server();
    let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(own));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = [format!("https://{}", listener.local_addr().unwrap())];
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        for parts in [true, false] {
            let (stream, _) = listener.accept().await.unwrap();
            let mut tls = acceptor.accept(stream).await.unwrap();
            tls.read_u8().await.unwrap();
            let answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello";
            tls.write_all(answer).await.unwrap();
            tls.flush().await.unwrap();
            let mut tcp = match parts {
                true => {
                    tls.shutdown().await.unwrap();
                    continue;
                }
                false => tls.into_inner().0,
            };
            // A FIN without `close_notify` is not authenticated: an attacker on the path can forge
            // it.
            tcp.shutdown().await.unwrap();
            let _ = tcp.read_to_end(&mut Vec::new()).await;
        }
    });
    let proxy = before(&authority, &server, "tls = { ca = \"ca.pem\" }")
        .start()
        .await;
    assert_eq!(proxy.get("/").await.text(), "hello");
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
    let cut = client.cut_response().await;
    assert_eq!((cut.text().as_str(), cut.complete), ("hello", false));
}
