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

/// A certificate without extensions, as `openssl x509 -req` wrote them up to OpenSSL 3.1, and its
/// key.
const VERSION_1: (&str, &str) = (
    "-----BEGIN CERTIFICATE-----\n\
     MIIBIzCBywIUM72AS/x7rlXQFTanWqMUvlkvfpYwCgYIKoZIzj0EAwIwFDESMBAG\n\
     A1UEAwwJYS5leGFtcGxlMCAXDTI2MTEyODA2MjMxOFoYDzIxMjYxMTA0MDYyMzE4\n\
     WjAUMRIwEAYDVQQDDAlhLmV4YW1wbGUwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC\n\
     AARnP2dSNrsZ1eEEjhFBPu0EDW6aOrRnAq/ORu6vo695aw6zkiTiAqsTsMNwA/B/\n\
     SXirDMFREYlhMBcosOzijU3VMAoGCCqGSM49BAMCA0cAMEQCIGAJd7Zw83oXeDI+\n\
     z4dymE0WjktcPtY3d0jDSHDGp5clAiBrEwYsLRM8UsRHYlHH9/Vg2xZyPO9pmuuk\n\
     kCgDiGqQ6A==\n\
     -----END CERTIFICATE-----\n\n",
    "-----BEGIN PRIVATE KEY-----\n\
     MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgVd3xarLdL95e9ks0\n\
     5Y0ovoLeYmJ3rv7J3tjp2uS6r4+hRANCAARnP2dSNrsZ1eEEjhFBPu0EDW6aOrRn\n\
     Aq/ORu6vo695aw6zkiTiAqsTsMNwA/B/SXirDMFREYlhMBcosOzijU3V\n\
     -----END PRIVATE KEY-----\n\n",
);

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
            VERSION_1.0,
            VERSION_1.1,
            "\"own.pem\"",
            "the certificate `own.pem` is of X.509 version 1",
            "version 3",
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
            "the key `own.key` is encrypted",
            "openssl pkey",
        ),
        (
            PLAIN,
            &own.chain,
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----\n",
            "\"own.key\"",
            "the key `own.key` is encrypted",
            "openssl pkey",
        ),
        (
            PLAIN,
            &own.chain,
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            "\"own.key\"",
            "the key `own.key` cannot be used",
            "RSA from 2048 bits",
        ),
        (
            "{ certificate = \"own.pem\", key = \"own.key\", client_certificate = \"require\", client_ca = \"own.pem\", client_crl = \"more.pem\" }",
            &own.chain,
            &own.key,
            "\"more.pem\"",
            "there is no CRL in `more.pem`",
            "-----BEGIN X509 CRL-----",
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
fn all_that_is_wrong_is_reported_at_once() {
    let tls = "{ certificate = \"none.pem\", key = \"none.key\", client_certificate = \"require\", \
               client_ca = \"none.ca\", certificates = [{ certificate = \"more.pem\", key = \"more.key\" }] }";
    let (code, error) = checked(tls, &[]);
    assert_eq!(code, 1);
    for name in ["none.pem", "none.key", "none.ca", "more.pem", "more.key"] {
        assert!(error.contains(&format!("`{name}`")), "{name}: {error}");
    }
    assert!(error.contains("5 problems"), "{error}");
}

#[test]
fn a_list_of_revoked_certificates_that_has_expired_is_a_warning() {
    let authority = Authority::new("Specs");
    let own = authority.certificate(&["a.example"]);
    let tls = "{ certificate = \"own.pem\", key = \"own.key\", client_certificate = \"require\", \
               client_ca = \"ca.pem\", client_crl = \"crl.pem\" }";
    for (until, warning) in [
        ((2100, 1, 1), ""),
        (
            (2002, 1, 1),
            "warning: a CRL in `crl.pem` has expired on Jan  1 00:00:00 2002",
        ),
    ] {
        let files = [
            ("own.pem", own.chain.as_str()),
            ("own.key", &own.key),
            ("ca.pem", &authority.pem()),
            ("crl.pem", &authority.crl(&[1], until)),
        ];
        let (code, error) = checked(tls, &files);
        assert_eq!(code, 0, "{error}");
        assert!(error.starts_with(warning), "{error}");
        assert_eq!(error.contains("warning"), !warning.is_empty(), "{error}");
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

/// Waits until new connections are shown a certificate with this name.
async fn becomes(proxy: &Proxy, authority: &Authority, name: &str) {
    waypost_tests::eventually(name, async || shown(proxy, authority).await == name).await;
}

/// A proxy whose configuration names files in `live` that `lay` makes, and which are really at
/// `target`.
async fn linked(
    lay: impl FnOnce(&std::path::Path, &Certificate),
    target: &str,
) -> (Authority, Proxy) {
    let authority = Authority::new("Specs");
    let origin = origin::says("hello").await;
    let setup = proxy::to([&origin])
        .listen("tls = { certificate = \"live/own.pem\", key = \"live/own.key\" }");
    lay(setup.directory(), &authority.certificate(&["a.example"]));
    let proxy = setup.start().await;
    // What was read at the start is looked at once more when it is watched: with this change, that
    // is over.
    let first = authority.certificate(&["first.example"]);
    first.write(proxy.directory(), target);
    becomes(&proxy, &authority, "first.example").await;
    (authority, proxy)
}

fn directory(at: &std::path::Path, name: &str) -> std::path::PathBuf {
    let path = at.join(name);
    std::fs::create_dir(&path).unwrap();
    path
}

#[tokio::test]
async fn a_key_that_comes_before_its_certificate_is_waited_for() {
    let authority = Authority::new("Specs");
    let origin = origin::says("hello").await;
    let own = authority.certificate(&["a.example"]);
    let proxy = with(&origin, &own, "").start().await;
    let renewed = authority.certificate(&["renewed.example"]);
    std::fs::write(proxy.directory().join("own.key"), &renewed.key).unwrap();
    proxy
        .log_contains("certificates not loaded, those before go on")
        .await;
    proxy
        .log_contains("own.key` does not belong to the certificate")
        .await;
    assert_eq!(shown(&proxy, &authority).await, "a.example");
    // Half of it is not yet one.
    let (half, rest) = renewed.chain.split_at(renewed.chain.len() / 2);
    std::fs::write(proxy.directory().join("own.pem"), half).unwrap();
    proxy.log_contains("is not PEM").await;
    assert_eq!(shown(&proxy, &authority).await, "a.example");
    std::fs::write(proxy.directory().join("own.pem"), [half, rest].concat()).unwrap();
    becomes(&proxy, &authority, "renewed.example").await;
}

#[tokio::test]
async fn a_file_behind_links_is_watched_where_it_is() {
    use std::os::unix::fs::symlink;
    let (authority, proxy) = linked(
        |at, own| {
            let archive = directory(at, "archive");
            own.write(&archive, "own1");
            let live = directory(at, "live");
            for kind in ["pem", "key"] {
                let target = format!("../archive/own1.{kind}");
                symlink(target, live.join(format!("own.{kind}"))).unwrap();
            }
        },
        "archive/own1",
    )
    .await;
    let (archive, live) = (
        proxy.directory().join("archive"),
        proxy.directory().join("live"),
    );
    authority
        .certificate(&["b.example"])
        .write(&archive, "own1");
    becomes(&proxy, &authority, "b.example").await;
    // As certbot does: other files, and then other links.
    let switch = |name: &str| {
        for kind in ["pem", "key"] {
            symlink(format!("../archive/{name}.{kind}"), live.join("new")).unwrap();
            std::fs::rename(live.join("new"), live.join(format!("own.{kind}"))).unwrap();
        }
    };
    let next = authority.certificate(&["c.example"]);
    next.write(&archive, "own2");
    switch("own2");
    becomes(&proxy, &authority, "c.example").await;
    // The links are followed again, also where they lead to the same file.
    next.write(&archive, "own3");
    switch("own3");
    // Nothing tells that a switch which changes nothing was seen: one that is seen later finds the
    // next file, too.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    authority
        .certificate(&["d.example"])
        .write(&archive, "own3");
    becomes(&proxy, &authority, "d.example").await;
}

#[tokio::test]
async fn a_directory_that_is_exchanged_is_noticed() {
    use std::os::unix::fs::symlink;
    let (authority, proxy) = linked(
        |at, own| {
            own.write(&directory(at, "release-1"), "own");
            symlink("release-1", at.join("live")).unwrap();
        },
        "release-1/own",
    )
    .await;
    let at = proxy.directory().to_owned();
    let next = directory(&at, "release-2");
    authority.certificate(&["b.example"]).write(&next, "own");
    symlink("release-2", at.join("new")).unwrap();
    std::fs::rename(at.join("new"), at.join("live")).unwrap();
    becomes(&proxy, &authority, "b.example").await;
    // Deleted with all that is in it, it is awaited.
    std::fs::remove_dir_all(&next).unwrap();
    proxy.log_contains("cannot read the certificate").await;
    assert_eq!(shown(&proxy, &authority).await, "b.example");
    directory(&at, "release-2");
    authority.certificate(&["c.example"]).write(&next, "own");
    becomes(&proxy, &authority, "c.example").await;
    authority.certificate(&["d.example"]).write(&next, "own");
    becomes(&proxy, &authority, "d.example").await;
    // A new directory under the same name is noticed as well.
    let staged = directory(&at, "staged");
    authority.certificate(&["e.example"]).write(&staged, "own");
    std::fs::rename(&next, at.join("old")).unwrap();
    std::fs::rename(&staged, &next).unwrap();
    becomes(&proxy, &authority, "e.example").await;
    authority.certificate(&["f.example"]).write(&next, "own");
    becomes(&proxy, &authority, "f.example").await;
}
