//! Clients that come back resume their sessions.

use std::sync::Arc;

use super::*;
use rustls::ClientConfig;

/// Whether a connection resumed a session. Reads an answer: tickets of TLS 1.3 come after the
/// handshake.
async fn resumes(proxy: &Proxy, config: &Arc<ClientConfig>) -> bool {
    let mut client = tls::connect(proxy.address(), config.clone(), "a.example")
        .await
        .unwrap();
    assert_eq!(client.get("/").await.text(), "hello");
    client.wire.handshake().unwrap().resumed
}

#[tokio::test]
async fn a_session_is_resumed_whichever_worker_it_began_with() {
    let (authority, _origin, proxy) = simple().await;
    for version in [&TLS12, &TLS13] {
        let config = Arc::new(authority.trusting_at(&[version]));
        assert!(!resumes(&proxy, &config).await);
        // Of two workers, each takes some of these.
        for _ in 0..12 {
            assert!(resumes(&proxy, &config).await, "{version:?}");
        }
    }
}

#[tokio::test]
async fn sessions_are_kept_for_clients_when_there_are_no_tickets() {
    let authority = Authority::new("Specs");
    let origin = origin::says("hello").await;
    let own = authority.certificate(&["a.example"]);
    for (more, resumed) in [
        ("session_tickets = false", true),
        ("session_tickets = false, session_cache = 0", false),
    ] {
        let proxy = with(&origin, &own, more).start().await;
        for version in [&TLS12, &TLS13] {
            let config = Arc::new(authority.trusting_at(&[version]));
            assert!(!resumes(&proxy, &config).await);
            for _ in 0..6 {
                assert_eq!(
                    resumes(&proxy, &config).await,
                    resumed,
                    "{more} {version:?}"
                );
            }
        }
    }
}

#[tokio::test]
async fn sessions_survive_a_reload_unless_clients_have_to_show_something_else() {
    let authority = Authority::new("Specs");
    let origin = origin::says("hello").await;
    for tickets in [true, false] {
        let own = authority.certificate(&["a.example"]);
        let more = format!("session_tickets = {tickets}, client_certificate = \"off\"");
        let setup = with(&origin, &own, &more).more(ADMIN);
        file(&setup, "ca.pem", &authority.pem());
        let proxy = setup.start().await;
        let config = Arc::new(authority.trusting());
        resumes(&proxy, &config).await;
        proxy.edit("workers = 2", "workers = 2\nkeepalive_timeout = \"7s\"");
        proxy.reload().await;
        assert!(resumes(&proxy, &config).await, "tickets: {tickets}");
        let own = authority.trusting_as(&authority.client_certificate("alice"));
        let own = Arc::new(own);
        for (before, after, config) in [
            ("\"off\"", "\"optional\", client_ca = \"ca.pem\"", &config),
            // A client without a certificate is asked for it again.
            ("\"optional\"", "\"require\"", &own),
        ] {
            resumes(&proxy, config).await;
            proxy.edit(before, after);
            proxy.reload().await;
            assert!(
                !resumes(&proxy, config).await,
                "tickets: {tickets}, {after}"
            );
            assert!(resumes(&proxy, config).await, "tickets: {tickets}, {after}");
        }
    }
}

#[tokio::test]
async fn a_session_ends_with_its_timeout() {
    let authority = Authority::new("Specs");
    let origin = origin::says("hello").await;
    let own = authority.certificate(&["a.example"]);
    let proxy = with(&origin, &own, "session_timeout = \"1s\"")
        .start()
        .await;
    let config = Arc::new(authority.trusting_at(&[&TLS12]));
    resumes(&proxy, &config).await;
    // Sessions are dated in whole seconds.
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    assert!(!resumes(&proxy, &config).await);
}

#[tokio::test]
async fn a_session_of_a_version_that_is_no_longer_spoken_is_of_no_use() {
    let authority = Authority::new("Specs");
    let origin = origin::says("hello").await;
    let own = authority.certificate(&["a.example"]);
    let proxy = with(&origin, &own, "min_version = \"1.2\"")
        .more(ADMIN)
        .start()
        .await;
    let config = Arc::new(authority.trusting_at(&[&TLS12]));
    assert!(!resumes(&proxy, &config).await);
    assert!(resumes(&proxy, &config).await);
    proxy.edit("min_version = \"1.2\"", "min_version = \"1.3\"");
    proxy.reload().await;
    let refused = tls::connect(proxy.address(), config, "a.example").await;
    assert!(refused.is_err());
}
