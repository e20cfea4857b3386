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
            "upstream SSL certificate does not match the name that was asked for",
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
    file(&setup, "system.pem", &authority.pem());
    let proxy = setup
        .through_shell("SSL_CERT_FILE=system.pem exec \"$@\"")
        .start()
        .await;
    assert_eq!(proxy.get("/direct/x").await.text(), "hello");
    assert_eq!(origin.request().target, "/there/x");
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
    proxy.edit("verify = false", "ca = \"ca.pem\"");
    proxy.reload().await;
    for _ in 0..6 {
        assert_eq!(proxy.get("/").await.status, 502);
    }
}
