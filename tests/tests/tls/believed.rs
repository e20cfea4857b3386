//! Which servers are trusted: those whose certificate verifies, unless the configuration turns
//! verification off.

use super::upstream::{before, secure};
use super::*;

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
        let server = format!("https://localhost:{}", port(origin.address()));
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
            Some("verify error: (18:self-signed certificate)"),
        ),
        (
            &expired,
            &expired,
            Some("verify error: (10:certificate has expired)"),
        ),
        (&of_others, &of_others, Some("does not match \"localhost\"")),
    ] {
        let origin = secure(own).await;
        let setup = proxy::to([format!("\"https://localhost:{}\"", port(origin.address()))]);
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
async fn a_self_signed_certificate_is_refused_in_openssls_words_with_the_key_that_would_trust_it() {
    let authority = Authority::new("Specs");
    // As `openssl req -x509` makes them: an authority of its own.
    let alone = Certificate::self_signed(&["localhost"], |params| {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    });
    let stranger = Authority::new("Strangers");
    let mut with_its_root = stranger.certificate(&["localhost"]);
    with_its_root.chain += &stranger.pem();
    let hint = "(to trust it, put it into the file of `ca`, and set no `crl`)";
    for (own, why) in [
        (&alone, format!("(18:self-signed certificate) {hint}")),
        (
            &with_its_root,
            format!("(19:self-signed certificate in certificate chain) {hint}"),
        ),
    ] {
        let origin = secure(own).await;
        let server = format!("https://localhost:{}", port(origin.address()));
        let proxy = before(&authority, &[server], "tls = { ca = \"ca.pem\" }")
            .start()
            .await;
        assert_eq!(proxy.get("/").await.status, 502, "{why}");
        let line = format!("verify error: {why} while SSL handshaking to upstream, client: ");
        proxy.log_contains(&line).await;
        assert!(origin.requests().is_empty());
    }
}

#[tokio::test]
async fn an_authoritys_certificate_in_a_servers_place_is_refused_in_words() {
    let authority = Authority::new("Specs");
    let own = authority.certificate_with(Kind::Ecdsa, &["localhost"], |params| {
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "Below");
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    });
    let origin = secure(&own).await;
    let server = format!("https://localhost:{}", port(origin.address()));
    let proxy = before(&authority, &[server], "tls = { ca = \"ca.pem\" }")
        .start()
        .await;
    assert_eq!(proxy.get("/").await.status, 502);
    let why = "verify error: (1:certificate of an authority, which is none for a server or client)";
    proxy.log_contains(why).await;
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls_is_said_not_to() {
    let origin = origin::speaks(|mut wire, _| async move {
        wire.send("HTTP/1.1 400 Bad Request\r\n\r\n").await;
    })
    .await;
    let server = format!("https://{}", origin.address());
    let proxy = before(
        &Authority::new("Specs"),
        &[server],
        "tls = { ca = \"ca.pem\" }",
    )
    .start()
    .await;
    assert_eq!(proxy.get("/").await.status, 502);
    let why = "SSL_do_handshake() failed (wrong version number: the server does not speak TLS)";
    let line = format!("{why} while SSL handshaking to upstream, client: ");
    proxy.log_contains(&line).await;
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
async fn a_route_can_name_a_server_and_the_systems_authorities_are_trusted() {
    let authority = Authority::new("Specs");
    let origin = secure(&authority.certificate(&["localhost"])).await;
    let route = format!(
        "[[route]]\npath = \"/direct/\"\nproxy = \"https://localhost:{}/there/\"\n",
        port(origin.address())
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
