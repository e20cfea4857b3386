//! Servers that speak TLS: verified unless the configuration says that nobody need be.

use super::*;
use waypost_tests::Origin;

/// An origin that says "hello" with this certificate.
async fn secure(own: &Certificate) -> Origin {
    origin::answers_with(own.server(), |_| Answer::ok("hello")).await
}

/// A proxy before servers that are spoken to with TLS; `ca.pem` is the authority's.
fn before(authority: &Authority, servers: &[String], tls: &str) -> Setup {
    let setup = proxy::to(servers.iter().map(|server| format!("\"{server}\"")));
    file(&setup, "ca.pem", &authority.pem());
    setup.upstream(tls)
}

fn port(origin: &Origin) -> &str {
    origin.address().rsplit_once(':').unwrap().1
}

#[tokio::test]
async fn a_server_is_asked_for_by_name_and_verified() {
    let authority = Authority::new("Specs");
    let origin = secure(&authority.certificate(&["localhost", "127.0.0.1"])).await;
    for (host, asked) in [
        ("localhost", Some("localhost".to_owned())),
        ("127.0.0.1", None),
    ] {
        let server = format!("https://{host}:{}", port(&origin));
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
async fn a_server_that_cannot_be_verified_is_not_spoken_to() {
    let authority = Authority::new("Specs");
    let stranger = Authority::new("Strangers");
    let expired = authority.certificate_with(Kind::Ecdsa, &["localhost"], |params| {
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    });
    for (own, why) in [
        (
            stranger.certificate(&["localhost"]),
            "upstream SSL certificate verify error: (20:unable to get local issuer certificate)",
        ),
        (
            expired,
            "upstream SSL certificate verify error: (10:certificate has expired)",
        ),
        (
            authority.certificate(&["other.example"]),
            "upstream SSL certificate does not match \"localhost\"",
        ),
        (
            authority.certificate(&[]),
            "upstream SSL certificate does not match \"localhost\" (it has no subjectAltName)",
        ),
    ] {
        let origin = secure(&own).await;
        let server = format!("https://localhost:{}", port(&origin));
        let proxy = before(&authority, &[server], "tls = { ca = \"ca.pem\" }")
            .start()
            .await;
        assert_eq!(proxy.get("/").await.status, 502, "{why}");
        proxy
            .log_contains(&format!(
                "{why} while SSL handshaking to upstream, client: "
            ))
            .await;
        proxy.log_contains(", upstream: \"https://127.0.0.1:").await;
        assert!(origin.requests().is_empty());
    }
}

#[tokio::test]
async fn a_certificate_that_a_server_signed_itself_is_believed_if_it_is_the_one_in_the_file() {
    let plain = Certificate::self_signed(&["localhost"], |_| {});
    // As `openssl req -x509` makes them: an authority of its own.
    let authority = Certificate::self_signed(&["localhost"], |params| {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    });
    let expired = Certificate::self_signed(&["localhost"], |params| {
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    });
    let of_others = Certificate::self_signed(&["other.example"], |_| {});
    for (own, trusted, why) in [
        (&plain, &plain, None),
        (&authority, &authority, None),
        (
            &plain,
            &authority,
            // They call themselves the same.
            Some("verify error: (7:certificate signature failure)"),
        ),
        (
            &expired,
            &expired,
            Some("verify error: (10:certificate has expired)"),
        ),
        (&of_others, &of_others, Some("does not match \"localhost\"")),
    ] {
        let origin = secure(own).await;
        let setup = proxy::to([format!("\"https://localhost:{}\"", port(&origin))]);
        file(&setup, "ca.pem", &trusted.chain);
        let proxy = setup.upstream("tls = { ca = \"ca.pem\" }").start().await;
        let response = proxy.get("/").await;
        match why {
            None => assert_eq!(response.text(), "hello"),
            Some(why) => {
                assert_eq!(response.status, 502, "{why}");
                proxy
                    .log_contains(&format!("upstream SSL certificate {why}"))
                    .await;
            }
        }
    }
}

#[tokio::test]
async fn a_server_without_the_key_of_its_certificate_is_not_spoken_to() {
    let authority = Authority::new("Specs");
    let own = authority.certificate(&["127.0.0.1"]);
    let other = authority.certificate(&["127.0.0.1"]);
    let origin =
        origin::answers_with(own.server_with_key_of(&other), |_| Answer::ok("hello")).await;
    let server = [format!("https://{}", origin.address())];
    for trusted in [authority.pem(), own.chain] {
        let setup = before(&authority, &server, "tls = { ca = \"ca.pem\" }");
        file(&setup, "ca.pem", &trusted);
        assert_eq!(setup.start().await.get("/").await.status, 502);
    }
    assert!(origin.requests().is_empty());
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
async fn a_server_whose_certificate_was_revoked_is_not_spoken_to() {
    let authority = Authority::new("Specs");
    let numbered = |serial: u64| {
        authority.certificate_with(Kind::Ecdsa, &["127.0.0.1"], |params| {
            params.serial_number = Some(serial.into());
        })
    };
    let (good, bad) = (secure(&numbered(7)).await, secure(&numbered(8)).await);
    let tls = "tls = { ca = \"ca.pem\", crl = \"crl.pem\" }";
    for (origin, why) in [(&good, None), (&bad, Some("(23:certificate revoked)"))] {
        let setup = before(&authority, &[format!("https://{}", origin.address())], tls);
        file(&setup, "crl.pem", &authority.crl(&[8], (2100, 1, 1)));
        let proxy = setup.start().await;
        let response = proxy.get("/").await;
        match why {
            None => assert_eq!(response.text(), "hello"),
            Some(why) => {
                assert_eq!(response.status, 502);
                proxy.log_contains(why).await;
            }
        }
    }
    // To stand in the file of `ca` is no way around it.
    let own = numbered(8);
    let origin = secure(&own).await;
    let setup = before(&authority, &[format!("https://{}", origin.address())], tls);
    file(&setup, "ca.pem", &(authority.pem() + &own.chain));
    file(&setup, "crl.pem", &authority.crl(&[8], (2100, 1, 1)));
    assert_eq!(setup.start().await.get("/").await.status, 502);
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
            "SSL_do_handshake() failed (received corrupt message of type InvalidContentType)",
        ),
    ] {
        let server = [format!("https://{}", origin.address())];
        let lines = "tls = { ca = \"ca.pem\" }\nconnect_timeout = \"300ms\"";
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
async fn a_session_that_nobody_verified_is_not_resumed_by_who_verifies() {
    let origin = secure(&Certificate::self_signed(&["127.0.0.1"], |_| {})).await;
    let authority = Authority::new("Specs");
    let address = origin.address();
    let other = format!(
        "[upstream.other]\ntls = {{ ca = \"ca.pem\" }}\nservers = [\"{address}\"]\nkeepalive = 0\n\
         [[route]]\npath = \"/verified\"\nproxy = \"other\"\n"
    );
    let lines = "tls = { verify = false }\nkeepalive = 0";
    let proxy = before(&authority, &[format!("https://{address}")], lines)
        .more(&other)
        .start()
        .await;
    for _ in 0..4 {
        assert_eq!(proxy.get("/").await.text(), "hello");
    }
    assert!(origin.requests()[3].tls.as_ref().unwrap().resumed);
    assert_eq!(proxy.get("/verified").await.status, 502);
}

#[tokio::test]
async fn a_stream_asks_its_servers_for_no_protocol() {
    let authority = Authority::new("Specs");
    let mut theirs = authority.certificate(&["127.0.0.1"]).server();
    // It refuses whoever wants something else (RFC 7301 section 3.2).
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
        "tls = { ca = \"ca.pem\" }\nconnect_timeout = \"300ms\"",
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
async fn the_name_can_be_said_and_verification_be_turned_off() {
    let authority = Authority::new("Specs");
    let origin = secure(&authority.certificate(&["app.example"])).await;
    let server = [format!("https://{}", origin.address())];
    let named = "tls = { ca = \"ca.pem\", server_name = \"app.example\" }";
    let proxy = before(&authority, &server, named).start().await;
    assert_eq!(proxy.get("/").await.text(), "hello");
    assert_eq!(
        origin.request().tls.unwrap().server_name.as_deref(),
        Some("app.example")
    );
    let proxy = before(&authority, &server, "tls = { verify = false }")
        .start()
        .await;
    assert_eq!(proxy.get("/").await.text(), "hello");
    proxy
        .log_contains("warning: `verify = false`: servers are not verified")
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
async fn a_route_can_name_a_server_and_the_systems_authorities_are_trusted() {
    let authority = Authority::new("Specs");
    let origin = secure(&authority.certificate(&["localhost"])).await;
    let route = format!(
        "[[route]]\npath = \"/direct/\"\nproxy = \"https://localhost:{}/there/\"\n",
        port(&origin)
    );
    let setup = proxy::to(["\"127.0.0.1:9\"".to_owned()]).more(&route);
    let setup = setup.more(ADMIN);
    file(&setup, "system.pem", &authority.pem());
    let proxy = setup
        .through_shell("SSL_CERT_FILE=system.pem exec \"$@\"")
        .start()
        .await;
    assert_eq!(proxy.get("/direct/x").await.text(), "hello");
    assert_eq!(origin.request().target, "/there/x");
    // They are read again with the configuration.
    let others = Authority::new("Others").pem();
    std::fs::write(proxy.directory().join("system.pem"), others).unwrap();
    proxy.reload().await;
    assert_eq!(proxy.get("/direct/x").await.status, 502);
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
            // The end of the connection alone is no word of the server's: anyone on the way can bring it about.
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

#[tokio::test]
async fn no_connection_from_before_is_used_once_servers_are_spoken_to_otherwise() {
    let authority = Authority::new("Specs");
    let origin = secure(&authority.certificate(&["other.example"])).await;
    let server = [format!("https://{}", origin.address())];
    let proxy = before(&authority, &server, "tls = { verify = false }")
        .more(ADMIN)
        .start()
        .await;
    for _ in 0..6 {
        assert_eq!(proxy.get("/").await.text(), "hello");
    }
    // The same files, or other ones: what is said of them counts as well.
    for (before, after, status) in [
        ("verify = false", "ca = \"ca.pem\"", 502),
        (
            "\"ca.pem\"",
            "\"ca.pem\", server_name = \"other.example\"",
            200,
        ),
        ("other.example", "another.example", 502),
    ] {
        proxy.edit(before, after);
        proxy.reload().await;
        for _ in 0..6 {
            assert_eq!(proxy.get("/").await.status, status, "{after}");
        }
    }
}
