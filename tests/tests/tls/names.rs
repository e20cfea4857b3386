//! Which certificate is shown, by the name that a client asks for.

use super::*;

/// The names of the certificate that a client is shown.
async fn shown(proxy: &Proxy, authority: &Authority, name: &str) -> Vec<String> {
    // Whether it is made out for the name is not the question here.
    let config = authority.trusting_anyone();
    let client = tls::connect(proxy.address(), config, name).await.unwrap();
    client.wire.handshake().unwrap().peer_names
}

async fn several(more: &str) -> (Authority, Origin, Proxy) {
    let authority = Authority::new("Specs");
    let origin = origin::says("hello").await;
    let setup = with(
        &origin,
        &authority.certificate(&["a.example"]),
        &format!(
            "{more}certificates = [\
               {{ certificate = \"wild.pem\", key = \"wild.key\" }}, \
               {{ certificate = \"exact.pem\", key = \"exact.key\" }}, \
               {{ certificate = \"said.pem\", key = \"said.key\", names = [\"Other.example\"] }}]"
        ),
    );
    authority
        .certificate(&["*.b.example"])
        .write(setup.directory(), "wild");
    authority
        .certificate(&["x.b.example"])
        .write(setup.directory(), "exact");
    authority
        .certificate(&["said.example"])
        .write(setup.directory(), "said");
    let proxy = setup.start().await;
    (authority, origin, proxy)
}

#[tokio::test]
async fn an_exact_name_goes_before_a_wildcard_and_an_unknown_one_gets_the_first() {
    let (authority, _origin, proxy) = several("").await;
    for (asked, expected) in [
        ("a.example", "a.example"),
        ("x.b.example", "x.b.example"),
        ("X.B.Example", "x.b.example"),
        ("y.b.example", "*.b.example"),
        ("z.y.b.example", "a.example"),
        ("nobody.example", "a.example"),
        ("127.0.0.1", "a.example"), // is not sent as a name
        ("other.example", "said.example"),
        ("said.example", "a.example"),
    ] {
        assert_eq!(
            shown(&proxy, &authority, asked).await,
            [expected],
            "{asked}"
        );
    }
}

#[tokio::test]
async fn who_asks_for_an_unknown_name_can_be_refused() {
    let (authority, _origin, proxy) = several("unknown_names = \"refuse\", ").await;
    assert_eq!(shown(&proxy, &authority, "a.example").await, ["a.example"]);
    for name in ["nobody.example", "127.0.0.1"] {
        let refused = tls::connect(proxy.address(), authority.trusting(), name).await;
        let error = refused.map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("UnrecognisedName"), "{name}: {error}");
    }
    proxy
        .log_contains("no certificate for the name nobody.example")
        .await;
}

#[tokio::test]
async fn of_two_kinds_of_key_a_client_gets_the_one_that_it_can_check() {
    let authority = Authority::new("Specs");
    let origin = origin::says("hello").await;
    let setup = with(
        &origin,
        &authority.certificate_with(Kind::Ecdsa, &["a.example"], |_| {}),
        "certificates = [{ certificate = \"rsa.pem\", key = \"rsa.key\" }]",
    );
    let rsa = authority.certificate_with(Kind::Rsa, &["a.example"], |_| {});
    rsa.write(setup.directory(), "rsa");
    let proxy = setup
        .route("request_headers = { set = { \"X-Cipher\" = \"$ssl_cipher\" } }")
        .start()
        .await;
    for (suite, cipher) in [
        ("ECDHE_ECDSA", "ECDHE-ECDSA-AES256-GCM-SHA384"),
        ("ECDHE_RSA", "ECDHE-RSA-AES256-GCM-SHA384"),
    ] {
        let config = authority.trusting_by(suite);
        tls::get(proxy.address(), config, "a.example", "/").await;
        let requests = origin.requests();
        assert_eq!(requests.last().unwrap().header("X-Cipher"), cipher);
    }
}
