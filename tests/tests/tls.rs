//! TLS with clients and with servers.

mod names; // which certificate is shown
mod resumption; // clients that come back
mod clients; // client certificates
mod files; // certificates that are renewed, or broken
mod https; // plain HTTP on the wrong port, redirects, HSTS
mod hostile; // handshakes that do not go well
mod silent; // clients that never read their answers
mod upstream; // servers that speak TLS
mod believed; // and which of them we believe
mod introduced; // behind a balancer that sends a PROXY header
mod peers; // OpenSSL, curl and nginx at the other end

use rustls::version::{TLS12, TLS13};
use waypost_tests::admin::ADMIN;
use waypost_tests::proxy::Setup;
use waypost_tests::tls::{self, Authority, Certificate, Kind, openssl};
use waypost_tests::{Answer, Origin, Proxy, origin, proxy};

/// A proxy before an origin, with a certificate `own`.
fn with(origin: &Origin, own: &Certificate, more: &str) -> Setup {
    let setup = proxy::to([origin]);
    own.write(setup.directory(), "own");
    let comma = if more.is_empty() { "" } else { ", " };
    setup.listen(&format!(
        "tls = {{ certificate = \"own.pem\", key = \"own.key\"{comma}{more} }}"
    ))
}

/// An authority, and a proxy with a certificate of it for `a.example`.
async fn simple() -> (Authority, Origin, Proxy) {
    let (authority, origin) = (Authority::new("Specs"), origin::says("hello").await);
    let own = authority.certificate(&["a.example"]);
    let proxy = with(&origin, &own, "").start().await;
    (authority, origin, proxy)
}

/// The port of an address.
fn port(address: &str) -> &str {
    address.rsplit_once(':').unwrap().1
}

/// Files for a peer, of which `ca.pem` is the authority's.
struct Files(tempfile::TempDir);

impl Files {
    fn with(authority: &Authority) -> Files {
        let files = Files(tempfile::tempdir().unwrap());
        std::fs::write(files.path("ca.pem"), authority.pem()).unwrap();
        files
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).display().to_string()
    }
}

/// A file beside the configuration.
fn file(setup: &Setup, name: &str, content: &str) {
    std::fs::write(setup.directory().join(name), content).expect("the directory is ours");
}

#[tokio::test]
async fn a_request_over_tls_is_carried_and_the_server_learns_that_it_came_so() {
    let (authority, origin, proxy) = simple().await;
    for version in [&TLS12, &TLS13] {
        let config = authority.trusting_at(&[version]);
        let mut client = tls::connect(proxy.address(), config, "a.example")
            .await
            .unwrap();
        let shaken = client.wire.handshake().unwrap();
        assert_eq!(shaken.version, format!("{:?}", version.version));
        // Again on the same connection, and with a body that takes several records.
        assert_eq!(client.get("/").await.text(), "hello");
        let body = "b".repeat(100_000);
        let head = format!(
            "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        client.send(head + &body).await;
        assert_eq!(client.response().await.text(), "hello");
        let requests = origin.requests();
        let [.., get, post] = requests.as_slice() else {
            panic!("two requests")
        };
        assert_eq!(get.header("X-Forwarded-Proto"), "https");
        assert_eq!(post.body.len(), body.len());
    }
}

#[tokio::test]
async fn a_large_answer_arrives_whole() {
    let authority = Authority::new("Specs");
    let body: String = (0..200_000).map(|number| format!("{number} ")).collect();
    let sent = body.clone();
    let origin = origin::answers(move |_| Answer::ok(&sent)).await;
    let own = authority.certificate(&["a.example"]);
    let proxy = with(&origin, &own, "").start().await;
    let response = tls::get(proxy.address(), authority.trusting(), "a.example", "/").await;
    assert!(response.text() == body, "{} bytes", response.body.len());
}

#[tokio::test]
async fn every_usual_kind_of_key_is_taken() {
    let authority = Authority::new("Specs");
    let origin = origin::says("hello").await;
    for (kind, convert) in [
        (Kind::Ecdsa, None),
        (Kind::Ed25519, None),
        (Kind::Rsa, None),
        (Kind::Rsa, Some(["rsa", "-traditional"].as_slice())), // PKCS#1
        (Kind::Ecdsa, Some(["ec"].as_slice())),                // SEC1
    ] {
        let mut own = authority.certificate_with(kind, &["a.example"], |_| {});
        if let Some(convert) = convert {
            if !tls::installed("openssl") {
                continue;
            }
            let directory = tempfile::tempdir().unwrap();
            let path = own.write(directory.path(), "own").with_extension("key");
            let path = path.display().to_string();
            own.key = openssl(&[convert, &["-in", &path]].concat());
            assert!(!own.key.contains("BEGIN PRIVATE KEY"), "{}", own.key);
        }
        let proxy = with(&origin, &own, "").start().await;
        let response = tls::get(proxy.address(), authority.trusting(), "a.example", "/").await;
        assert_eq!(response.text(), "hello", "{kind:?} {convert:?}");
    }
}

#[tokio::test]
async fn what_is_known_of_a_connection_can_be_passed_on_and_logged() {
    let authority = Authority::new("Specs");
    let origin = origin::says("hello").await;
    let own = authority.certificate(&["a.example"]);
    let proxy = with(&origin, &own, "")
        .server("access_log = { path = \"stdout\", format = \"logged: $scheme $https $ssl_protocol $server_port\" }")
        .route(
            "request_headers = { set = { \"X-All\" = \"$ssl_protocol $ssl_cipher $ssl_server_name $ssl_session_reused \
             $ssl_client_verify $ssl_alpn_protocol\", \"X-None\" = \"$ssl_client_s_dn$ssl_client_serial\" } }",
        )
        .start()
        .await;
    let mut config = authority.trusting_at(&[&TLS12]);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    tls::get(proxy.address(), config, "a.example", "/").await;
    let request = origin.request();
    let known = "TLSv1.2 ECDHE-ECDSA-AES256-GCM-SHA384 a.example . NONE http/1.1";
    assert_eq!(request.header("X-All"), known);
    assert_eq!(request.headers.get("X-None"), None);
    let port = proxy.address().rsplit_once(':').unwrap().1;
    proxy
        .stdout()
        .contains(&format!("logged: https on TLSv1.2 {port}\n"))
        .await;
}

#[tokio::test]
async fn http2_is_offered_unless_the_listener_says_no() {
    let authority = Authority::new("Specs");
    let origin = origin::says("hello").await;
    let own = authority.certificate(&["a.example"]);
    for (lines, chosen) in [("", "h2"), ("http2 = false", "http/1.1")] {
        let proxy = with(&origin, &own, "").listen(lines).start().await;
        let mut config = authority.trusting();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let client = tls::connect(proxy.address(), config, "a.example")
            .await
            .unwrap();
        assert_eq!(
            client.wire.handshake().unwrap().alpn.as_deref(),
            Some(chosen)
        );
    }
}

#[tokio::test]
async fn versions_and_ciphers_that_the_listener_does_not_name_are_not_spoken() {
    let authority = Authority::new("Specs");
    let origin = origin::says("hello").await;
    let own = authority.certificate(&["a.example"]);
    let speaks = async |more: &str, version| {
        let proxy = with(&origin, &own, more).start().await;
        let config = authority.trusting_at(&[version]);
        tls::connect(proxy.address(), config, "a.example")
            .await
            .is_ok()
    };
    assert!(!speaks("min_version = \"1.3\"", &TLS12).await);
    assert!(speaks("min_version = \"1.3\"", &TLS13).await);
    assert!(!speaks("max_version = \"1.2\"", &TLS13).await);
    // The certificate is of ECDSA.
    assert!(!speaks("ciphers = [\"ECDHE-RSA-AES128-GCM-SHA256\"]", &TLS12).await);
    assert!(speaks("ciphers = [\"ECDHE-RSA-AES128-GCM-SHA256\"]", &TLS13).await);
    assert!(speaks("ciphers = [\"ECDHE-ECDSA-CHACHA20-POLY1305\"]", &TLS12).await);
}
