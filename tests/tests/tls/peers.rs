//! Real peers at the other end: OpenSSL, curl and nginx.

use super::*;
use std::process::{Command, Stdio};
use waypost_tests::{Nginx, child, nginx};

/// What `openssl s_client` says of a connection on which `sent` is sent.
async fn s_client(address: &str, arguments: &[&str], sent: &str) -> String {
    let mut command = Command::new("sh");
    // It goes on reading until the other side ends the connection. Where it is to take commands of
    // its own, it only does so while the pipe is open.
    let (behind, commands) = match sent.contains("R\\n") {
        true => ("; sleep 1", ""),
        false => ("", "-ign_eof"),
    };
    let line = format!(
        "(printf '{sent}'{behind}) | timeout 20 openssl s_client {commands} -connect {address} \"$@\" 2>&1"
    );
    command
        .arg("-c")
        .arg(line)
        .arg("sh")
        .args(arguments)
        .stdin(Stdio::null());
    said_by(command).await.1
}

/// A command's end and output; the origin, which lives on this thread, goes on meanwhile.
async fn said_by(command: Command) -> (i32, String, String) {
    let said = tokio::task::spawn_blocking(move || child::run(command));
    said.await.unwrap()
}

const GET: &str = "GET / HTTP/1.1\\r\\nHost: a.example\\r\\nConnection: close\\r\\n\\r\\n";

#[tokio::test]
async fn openssl_speaks_both_versions_and_resumes() {
    if !tls::installed("openssl") {
        return;
    }
    let (authority, _origin, proxy) = simple().await;
    let files = Files::with(&authority);
    let (ca, session) = (files.path("ca.pem"), files.path("session"));
    for (version, said) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let common = [
            version,
            "-servername",
            "a.example",
            "-CAfile",
            &ca,
            "-verify_hostname",
            "a.example",
        ];
        let first = s_client(
            proxy.address(),
            &[&common[..], &["-sess_out", &session]].concat(),
            GET,
        )
        .await;
        assert!(
            first.contains("hello") && first.contains("Verification: OK"),
            "{first}"
        );
        assert!(first.contains(&format!("New, {said}")), "{first}");
        let again = s_client(
            proxy.address(),
            &[&common[..], &["-sess_in", &session]].concat(),
            GET,
        )
        .await;
        assert!(again.contains(&format!("Reused, {said}")), "{again}");
        assert!(again.contains("hello"), "{again}");
    }
    let old = s_client(
        proxy.address(),
        &["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"],
        GET,
    )
    .await;
    assert!(!old.contains("hello") && old.contains("alert"), "{old}");
}

#[tokio::test]
async fn renegotiation_is_refused() {
    if !tls::installed("openssl") {
        return;
    }
    let (_authority, origin, proxy) = simple().await;
    let said = s_client(
        proxy.address(),
        &["-tls1_2", "-msg"],
        "R\\nGET / HTTP/1.1\\r\\nHost: a.example\\r\\n\\r\\n",
    )
    .await;
    assert!(said.contains("RENEGOTIATING"), "{said}");
    assert!(said.contains("no_renegotiation"), "{said}");
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn renegotiation_in_the_middle_of_a_request_is_refused_at_once() {
    if !tls::installed("openssl") {
        return;
    }
    let (_authority, origin, proxy) = simple().await;
    // The request is never whole, so that nothing is written but the alert. s_client takes a line
    // that begins with `R`, and comes by itself, for a command.
    let said = s_client(
        proxy.address(),
        &["-tls1_2", "-msg"],
        "GET / HTTP/1.1\\r\\n'; sleep 1; printf 'R\\n'; sleep 2; printf '",
    )
    .await;
    assert!(said.contains("RENEGOTIATING"), "{said}");
    assert!(said.contains("no_renegotiation"), "{said}");
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn a_session_is_not_resumed_for_another_name_or_by_another_listener() {
    if !tls::installed("openssl") {
        return;
    }
    let authority = Authority::new("Specs");
    let origin = origin::says("hello").await;
    let own = authority.certificate(&["a.example", "b.example"]);
    let proxy = with(&origin, &own, "")
        .more("[[listen]]\naddress = \"127.0.0.1:0\"\ntls = { certificate = \"own.pem\", key = \"own.key\" }\n")
        .start()
        .await;
    let session = proxy.directory().join("session").display().to_string();
    for version in ["-tls1_2", "-tls1_3"] {
        let first = [version, "-servername", "a.example", "-sess_out", &session];
        let said = s_client(proxy.address(), &first, GET).await;
        assert!(said.contains("New, "), "{said}");
        for (listener, name, word) in [
            (0, "a.example", "Reused, "),
            (0, "b.example", "New, "),
            (1, "a.example", "New, "),
        ] {
            let again = [version, "-servername", name, "-sess_in", &session];
            let said = s_client(proxy.listener(listener), &again, GET).await;
            assert!(said.contains(word), "{version} {name} {said}");
            assert!(said.contains("hello"), "{said}");
        }
    }
}

#[tokio::test]
async fn an_ocsp_response_is_stapled_if_it_is_about_the_certificate() {
    if !tls::installed("openssl") {
        return;
    }
    let authority = Authority::new("Specs");
    let origin = origin::says("hello").await;
    let numbered = |serial: u64| {
        authority.certificate_with(Kind::Ecdsa, &["a.example"], |params| {
            params.serial_number = Some(serial.into());
        })
    };
    let setup = with(&origin, &numbered(7), "ocsp = \"own.ocsp\"");
    let path = |name: &str| setup.directory().join(name).display().to_string();
    file(&setup, "ca.pem", &authority.pem());
    file(&setup, "ca.key", &authority.key_pem());
    file(
        &setup,
        "index.txt",
        "V\t350101000000Z\t\t07\tunknown\t/CN=a\n",
    );
    let (ca, key, index) = (path("ca.pem"), path("ca.key"), path("index.txt"));
    let (own, response) = (path("own.pem"), path("own.ocsp"));
    openssl(&[
        "ocsp", "-index", &index, "-CA", &ca, "-rsigner", &ca, "-rkey", &key, "-issuer", &ca,
        "-cert", &own, "-respout", &response, "-ndays", "7",
    ]);
    let proxy = setup.start().await;
    let asked = ["-status", "-servername", "a.example", "-CAfile", &ca];
    let said = s_client(proxy.address(), &asked, GET).await;
    assert!(said.contains("OCSP Response Status: successful"), "{said}");
    assert!(said.contains("Cert Status: good"), "{said}");
    // The next certificate is shown without it until there is one for that, too.
    numbered(8).write(proxy.directory(), "own");
    proxy
        .log_contains("is not stapled: it is about another certificate")
        .await;
    proxy.log_contains("certificates loaded again").await;
    let said = s_client(proxy.address(), &asked, GET).await;
    assert!(said.contains("OCSP response: no response sent"), "{said}");
    assert!(said.contains("hello"), "{said}");
}

#[tokio::test]
async fn unknown_names_are_refused_as_by_nginx() {
    if !tls::installed("openssl") || !nginx::installed() {
        return;
    }
    let authority = Authority::new("Specs");
    let origin = origin::says("hello").await;
    let own = authority.certificate(&["a.example"]);
    let setup = with(&origin, &own, "unknown_names = \"refuse\"");
    let path = setup.directory().join("own").display().to_string();
    let proxy = setup.start().await;
    let there = Nginx::start_with_tls(
        &format!(
            "ssl_certificate {path}.pem; ssl_certificate_key {path}.key; ssl_reject_handshake on;"
        ),
        "",
    )
    .await;
    for address in [proxy.address(), there.address()] {
        let said = s_client(address, &["-servername", "other.example"], GET).await;
        assert!(said.contains("unrecognized name"), "{said}");
    }
}

#[tokio::test]
async fn curl_speaks_http2_over_tls() {
    if !tls::installed("curl") {
        return;
    }
    let (authority, _origin, proxy) = simple().await;
    let files = Files::with(&authority);
    let port = port(proxy.address());
    for (version, said) in [("--http2", "2 200 hello"), ("--http1.1", "1.1 200 hello")] {
        let mut command = Command::new("curl");
        command
            .args(["-sS", version, "--cacert"])
            .arg(files.path("ca.pem"))
            .args(["--resolve", &format!("a.example:{port}:127.0.0.1")])
            .args(["-w", "%{http_version} %{response_code} ", "-o", "-"])
            .arg(format!("https://a.example:{port}/"));
        let (code, out, error) = said_by(command).await;
        assert_eq!(code, 0, "{error}");
        let mut words: Vec<&str> = out.split_whitespace().collect();
        words.sort_unstable();
        let mut expected: Vec<&str> = said.split(' ').collect();
        expected.sort_unstable();
        assert_eq!(words.concat().len(), expected.concat().len(), "{out}");
        for word in said.split(' ') {
            assert!(out.contains(word), "{out}");
        }
    }
}

#[tokio::test]
async fn nginx_is_a_server_like_any_other() {
    if !nginx::installed() {
        return;
    }
    let authority = Authority::new("Specs");
    let directory = tempfile::tempdir().unwrap();
    let own = authority
        .certificate(&["localhost"])
        .write(directory.path(), "own");
    let own = own.display();
    let there = Nginx::start_with_tls(
        &format!("ssl_certificate {own}.pem; ssl_certificate_key {own}.key;"),
        "location / { return 200 \"$ssl_server_name $ssl_protocol $ssl_session_reused\"; }",
    )
    .await;
    let server = format!("https://localhost:{}", port(there.address()));
    let tls = "tls = { ca = \"ca.pem\" }\nkeepalive = 0";
    let proxy = upstream::before(&authority, &[server], tls).start().await;
    assert_eq!(proxy.get("/").await.text(), "localhost TLSv1.3 .");
    assert_eq!(proxy.get("/").await.text(), "localhost TLSv1.3 r");
}

/// A certificate whose subject only OpenSSL can write: `+` joins attributes into one part.
fn by_openssl(authority: &Authority, subject: &str) -> Certificate {
    let files = Files::with(authority);
    let [ca, ca_key, key, request, extensions] =
        ["ca.pem", "ca.key", "own.key", "own.csr", "own.ext"].map(|name| files.path(name));
    std::fs::write(&extensions, "extendedKeyUsage = clientAuth\n").unwrap();
    std::fs::write(&ca_key, authority.key_pem()).unwrap();
    let kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
    let rest = [
        "-nodes",
        "-keyout",
        &key,
        "-subj",
        subject,
        "-multivalue-rdn",
        "-out",
        &request,
    ];
    openssl(&[&["req"][..], &kind, &rest].concat());
    Certificate {
        chain: openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            &ca,
            "-CAkey",
            &ca_key,
            "-set_serial",
            "9",
            "-extfile",
            &extensions,
        ]),
        key: std::fs::read_to_string(&key).unwrap(),
    }
}

/// What a client's certificate says is written as nginx writes it.
#[tokio::test]
async fn a_clients_certificate_reads_as_in_nginx() {
    if !nginx::installed() {
        return;
    }
    let authority = Authority::new("Specs");
    let origin = origin::says("hello").await;
    let own = authority.certificate(&["a.example"]);
    let variables = "$ssl_client_verify $ssl_client_s_dn $ssl_client_i_dn $ssl_client_serial $ssl_client_fingerprint \
                     $ssl_client_escaped_cert $ssl_cipher $ssl_protocol $ssl_server_name";
    let more = "client_certificate = \"require\", client_ca = \"ca.pem\"";
    let setup = with(&origin, &own, more).more(&format!(
        "[[route]]\npath = \"/facts\"\nreturn = {{ status = 200, body = \"{variables}\" }}\n"
    ));
    file(&setup, "ca.pem", &authority.pem());
    let path = setup.directory().display().to_string();
    let proxy = setup.start().await;
    let there = Nginx::start_with_tls(
        &format!(
            "ssl_certificate {path}/own.pem; ssl_certificate_key {path}/own.key; \
             ssl_verify_client on; ssl_client_certificate {path}/ca.pem;"
        ),
        &format!("location /facts {{ return 200 \"{variables}\"; }}"),
    )
    .await;
    let alice = authority.certificate_with(Kind::Ecdsa, &[], |params| {
        use rcgen::DnType;
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        params
            .distinguished_name
            .push(DnType::CommonName, "alice + \"bob\" <x>; y\\z");
        params
            .distinguished_name
            .push(DnType::OrganizationName, "#M\u{fc}ller, Ltd. ");
        params
            .distinguished_name
            .push(DnType::OrganizationalUnitName, "unit");
        params.distinguished_name.push(DnType::CountryName, "DE");
        params.serial_number = Some(vec![0x0a, 0xff, 0x00].into());
    });
    let odd = authority.certificate_with(Kind::Ecdsa, &[], |params| {
        use rcgen::{DnType, DnValue};
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let mut push = |kind: &[u64], value: DnValue| {
            let kind = DnType::CustomDnType(kind.to_vec());
            params.distinguished_name.push(kind, value);
        };
        push(&[2, 5, 4, 17], "12345".into());
        push(
            &[2, 5, 4, 41],
            DnValue::BmpString("na\u{ef}ve".try_into().unwrap()),
        );
        push(
            &[2, 5, 4, 46],
            DnValue::TeletexString("tele".try_into().unwrap()),
        );
        push(
            &[2, 5, 4, 97],
            DnValue::Ia5String("VATDE-1".try_into().unwrap()),
        );
        push(&[1, 3, 6, 1, 4, 1, 99999, 1], "unknown".into());
        params.serial_number = Some(vec![0x80, 1].into());
    });
    let several = by_openssl(&authority, "/C=DE/O=Specs+OU=unit+CN=several");
    let ask = async |address: &str, own: Option<&Certificate>| {
        let config = match own {
            Some(own) => authority.trusting_as(own),
            None => authority.trusting(),
        };
        let response = tls::get(address, config, "a.example", "/facts").await;
        (response.status, response.text())
    };
    for own in [&alice, &odd, &several] {
        let theirs = ask(there.address(), Some(own)).await;
        assert!(theirs.1.starts_with("SUCCESS "), "{theirs:?}");
        assert_eq!(ask(proxy.address(), Some(own)).await, theirs);
    }
    let mallory = Authority::new("Strangers").client_certificate("mallory");
    for (own, words) in [
        (None, "No required SSL certificate was sent"),
        (Some(&mallory), "The SSL certificate error"),
    ] {
        for address in [proxy.address(), there.address()] {
            let (status, text) = ask(address, own).await;
            assert_eq!(status, 400);
            assert!(text.contains(words), "{text}");
        }
    }
}
