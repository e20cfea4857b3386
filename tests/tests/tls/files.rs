//! Certificates that are renewed while connections are open, and files that cannot be used.

use super::*;
use waypost_tests::{Client, child, waypost};

/// What `waypost check` says of a listener's `tls`, with these files beside the configuration.
fn checked(tls: &str, files: &[(&str, &str)]) -> (i32, String) {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::write(directory.path().join(name), content).unwrap();
    }
    let path = directory.path().join("waypost.toml");
    let text = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\ntls = {tls}\n[[route]]\nreturn = {{ status = 200 }}\n"
    );
    std::fs::write(&path, text).unwrap();
    let mut command = std::process::Command::new(waypost());
    command.args(["check", "-c"]).arg(&path);
    let (code, _, error) = child::run(command);
    let prefix = format!("{}/", directory.path().display());
    (code, error.replace(&prefix, ""))
}

const PLAIN: &str = "{ certificate = \"own.pem\", key = \"own.key\" }";

#[test]
fn a_file_that_cannot_be_used_is_reported_where_it_is_named() {
    let authority = Authority::new("Specs");
    let own = authority.certificate(&["a.example"]);
    let other = authority.certificate(&["a.example"]);
    let nobody = authority.certificate(&[]);
    for (tls, chain, key, place, message, hint) in [
        (
            PLAIN,
            own.chain.as_str(),
            other.key.as_str(),
            "\"own.key\"",
            "the key `own.key` does not belong to the certificate `own.pem`",
            "first certificate",
        ),
        (
            PLAIN,
            "",
            own.key.as_str(),
            "\"own.pem\"",
            "the certificate `own.pem` is empty",
            "",
        ),
        (
            PLAIN,
            "nonsense",
            &own.key,
            "\"own.pem\"",
            "there is no certificate in `own.pem`",
            "-----BEGIN CERTIFICATE-----",
        ),
        (
            PLAIN,
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            &own.key,
            "\"own.pem\"",
            "a certificate in `own.pem` is malformed",
            "",
        ),
        (
            PLAIN,
            &own.chain,
            &own.chain,
            "\"own.key\"",
            "there is no private key in `own.key`",
            "-----BEGIN PRIVATE KEY-----",
        ),
        (
            PLAIN,
            &own.chain,
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
            "\"own.key\"",
            "there is no private key in `own.key`",
            "openssl pkey",
        ),
        (
            "{ certificate = \"none.pem\", key = \"own.key\" }",
            &own.chain,
            &own.key,
            "\"none.pem\"",
            "cannot read the certificate `none.pem`",
            "no such file",
        ),
        (
            "{ certificate = \"own.pem\", key = \"own.key\", ocsp = \"own.pem\" }",
            &own.chain,
            &own.key,
            "\"own.pem\" }",
            "`own.pem` is not an OCSP response in DER",
            "openssl ocsp",
        ),
        (
            "{ certificates = [{ certificate = \"own.pem\", key = \"own.key\" }, { certificate = \"more.pem\", key = \"more.key\" }] }",
            &own.chain,
            &own.key,
            "\"more.pem\"",
            "the certificate `more.pem` is made out for no name",
            "names =",
        ),
    ] {
        let files = [
            ("own.pem", chain),
            ("own.key", key),
            ("more.pem", &nobody.chain),
            ("more.key", &nobody.key),
        ];
        let (code, error) = checked(tls, &files);
        let column = format!("tls = {tls}").find(place).unwrap() + 1;
        assert_eq!(code, 1, "{message}: {error}");
        assert!(
            error.contains(&format!("error: {message}")),
            "{message}: {error}"
        );
        assert!(
            error.contains(&format!("waypost.toml:3:{column} ")),
            "{message}: {error}"
        );
        assert!(error.contains(hint), "{message}: {error}");
    }
}

#[test]
fn an_expired_certificate_is_a_warning() {
    let authority = Authority::new("Specs");
    let own = authority.certificate_with(Kind::Ecdsa, &["a.example"], |params| {
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    });
    let files = [
        ("own.pem", own.chain.as_str()),
        ("own.key", own.key.as_str()),
    ];
    let (code, error) = checked(PLAIN, &files);
    assert_eq!(code, 0, "{error}");
    assert!(
        error.starts_with("warning: the certificate `own.pem` has expired on "),
        "{error}"
    );
}

/// The first name of the certificate that a new connection is shown.
async fn shown(proxy: &Proxy, authority: &Authority) -> String {
    let config = authority.trusting_anyone();
    let client = tls::connect(proxy.address(), config, "a.example")
        .await
        .unwrap();
    client.wire.handshake().unwrap().peer_names.remove(0)
}

#[tokio::test]
async fn a_certificate_that_is_renewed_is_shown_and_no_connection_is_lost() {
    let (authority, _origin, proxy) = simple().await;
    let config = authority.trusting();
    let mut before: Client = tls::connect(proxy.address(), config, "a.example")
        .await
        .unwrap();
    assert_eq!(before.get("/").await.text(), "hello");
    authority
        .certificate(&["renewed.example"])
        .write(proxy.directory(), "own");
    waypost_tests::eventually("the new certificate", async || {
        shown(&proxy, &authority).await == "renewed.example"
    })
    .await;
    assert_eq!(before.get("/").await.text(), "hello");
    proxy.log_contains("certificates loaded again").await;
}

#[tokio::test]
async fn a_broken_certificate_leaves_the_one_before_in_force_and_is_reported() {
    let authority = Authority::new("Specs");
    let origin = origin::says("hello").await;
    let own = authority.certificate(&["a.example"]);
    let proxy = with(&origin, &own, "").more(ADMIN).start().await;
    std::fs::write(proxy.directory().join("own.pem"), "broken").unwrap();
    proxy
        .log_contains("certificates not loaded, those before go on")
        .await;
    proxy.log_contains("there is no certificate in").await;
    assert_eq!(shown(&proxy, &authority).await, "a.example");
    let refused = proxy.admin("POST", "/reload", "").await;
    assert_ne!(refused.status, 200, "a reload is all or nothing");
    assert_eq!(shown(&proxy, &authority).await, "a.example");
    // What has nothing to do with it can still be changed.
    let server = format!("{{\"address\": \"{}\", \"weight\": 2}}", "127.0.0.1:9");
    let added = proxy
        .admin("POST", "/upstreams/backend/servers", &server)
        .await;
    assert_eq!(added.status, 200, "{added:?}");
    assert_eq!(shown(&proxy, &authority).await, "a.example");
}
