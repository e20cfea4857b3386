//! Client certificates. A client without the one that it needs gets a 400 page, as from nginx, not
//! a failed handshake.

use super::*;
use waypost_tests::{Client, Response};

async fn demanding(authority: &Authority, origin: &Origin, wanted: &str) -> Setup {
    let own = authority.certificate(&["a.example"]);
    let more = format!("client_certificate = \"{wanted}\", client_ca = \"ca.pem\"");
    let setup = with(origin, &own, &more);
    file(&setup, "ca.pem", &authority.pem());
    setup.more(ADMIN).route(
        "request_headers = { set = { \"X-Client\" = \"$ssl_client_verify|$ssl_client_s_dn|$ssl_client_i_dn\" } }",
    )
}

async fn as_client(proxy: &Proxy, authority: &Authority, own: Option<&Certificate>) -> Response {
    let config = match own {
        Some(own) => authority.trusting_as(own),
        None => authority.trusting(),
    };
    tls::get(proxy.address(), config, "a.example", "/").await
}

#[tokio::test]
async fn who_shows_a_valid_certificate_is_served_and_known_to_the_server() {
    let (authority, origin) = (Authority::new("Specs"), origin::says("hello").await);
    for wanted in ["require", "optional"] {
        let proxy = demanding(&authority, &origin, wanted).await.start().await;
        let own = authority.client_certificate("alice");
        assert_eq!(
            as_client(&proxy, &authority, Some(&own)).await.text(),
            "hello"
        );
        let requests = origin.requests();
        let client = requests.last().unwrap().header("X-Client");
        assert_eq!(client, r"SUCCESS|O=Specs\, Ltd.,CN=alice|CN=Specs");
    }
}

#[tokio::test]
async fn who_shows_none_is_told_so_where_one_is_required() {
    let (authority, origin) = (Authority::new("Specs"), origin::says("hello").await);
    let proxy = demanding(&authority, &origin, "require")
        .await
        .start()
        .await;
    let response = as_client(&proxy, &authority, None).await;
    assert_eq!(response.status, 400);
    assert!(
        response
            .text()
            .contains("No required SSL certificate was sent"),
        "{response:?}"
    );
    assert!(origin.requests().is_empty());

    let proxy = demanding(&authority, &origin, "optional")
        .await
        .start()
        .await;
    assert_eq!(as_client(&proxy, &authority, None).await.text(), "hello");
    assert_eq!(origin.request().header("X-Client"), "NONE||");
}

#[tokio::test]
async fn who_shows_a_bad_one_is_refused_either_way() {
    let (authority, origin) = (Authority::new("Specs"), origin::says("hello").await);
    let stranger = Authority::new("Strangers").client_certificate("mallory");
    let expired = authority.certificate_with(Kind::Ecdsa, &[], |params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    });
    let a_servers = authority.certificate(&["a.example"]);
    for wanted in ["require", "optional"] {
        let proxy = demanding(&authority, &origin, wanted).await.start().await;
        for (own, why) in [
            (&stranger, "unable to get local issuer certificate"),
            (&expired, "certificate has expired"),
            (&a_servers, "unsuitable certificate purpose"),
        ] {
            let response = as_client(&proxy, &authority, Some(own)).await;
            assert_eq!(response.status, 400, "{why}");
            assert!(
                response.text().contains("The SSL certificate error"),
                "{response:?}"
            );
            proxy
                .log_contains(&format!("client SSL certificate verify error: ({why})"))
                .await;
        }
    }
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn a_certificate_that_a_client_signed_itself_is_valid_if_it_is_in_the_file() {
    use rcgen::{BasicConstraints, IsCa};
    let (authority, origin) = (Authority::new("Specs"), origin::says("hello").await);
    let plain = Certificate::self_signed(&["alice"], |_| {});
    // As `openssl req -x509` makes them: an authority of its own.
    let its_own_authority = Certificate::self_signed(&["alice"], |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    let expired = Certificate::self_signed(&["alice"], |params| {
        params.not_after = rcgen::date_time_ymd(2001, 1, 1);
    });
    for (own, crl, status, why) in [
        (&plain, false, 200, ""),
        (&its_own_authority, false, 200, ""),
        (
            &its_own_authority,
            true,
            400,
            "verify error: (self-signed certificate)",
        ),
        (
            &expired,
            false,
            400,
            "verify error: (certificate has expired)",
        ),
    ] {
        let crl_key = if crl {
            ", client_crl = \"crl.pem\""
        } else {
            ""
        };
        let more = format!("client_certificate = \"require\", client_ca = \"ca.pem\"{crl_key}");
        let setup = with(&origin, &authority.certificate(&["a.example"]), &more);
        file(&setup, "ca.pem", &(authority.pem() + &own.chain));
        file(&setup, "crl.pem", &authority.crl(&[], (2100, 1, 1)));
        let proxy = setup.start().await;
        let response = as_client(&proxy, &authority, Some(own)).await;
        assert_eq!(response.status, status, "{why}");
        proxy.log_contains(why).await;
        let other = Certificate::self_signed(&["mallory"], |_| {});
        let response = as_client(&proxy, &authority, Some(&other)).await;
        assert_eq!(response.status, 400);
    }
}

#[tokio::test]
async fn a_certificate_is_worth_nothing_without_its_key() {
    let (authority, origin) = (Authority::new("Specs"), origin::says("hello").await);
    let proxy = demanding(&authority, &origin, "optional")
        .await
        .start()
        .await;
    let alice = authority.client_certificate("alice");
    let mallory = authority.client_certificate("mallory");
    for version in [&TLS12, &TLS13] {
        let mut config = authority.trusting_at(&[version]);
        let as_if = authority.trusting_as_if(&alice, &mallory);
        config.client_auth_cert_resolver = as_if.client_auth_cert_resolver;
        // With TLS 1.3 it learns of its failure after its own part of the handshake.
        if let Ok(mut client) = tls::connect(proxy.address(), config, "a.example").await {
            let asked = client
                .wire
                .try_send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
            let _ = asked.await;
            assert_eq!(client.wire.rest().await.got, b"", "{version:?}");
        }
    }
    proxy.log_contains("SSL_do_handshake() failed (").await;
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn a_resumed_session_is_judged_by_the_certificate_that_began_it() {
    let (authority, origin) = (Authority::new("Specs"), origin::says("hello").await);
    let proxy = demanding(&authority, &origin, "require")
        .await
        .start()
        .await;
    let config = std::sync::Arc::new(authority.trusting_as(&authority.client_certificate("alice")));
    for resumed in [false, true] {
        let mut client = tls::connect(proxy.address(), config.clone(), "a.example")
            .await
            .unwrap();
        assert_eq!(client.get("/").await.text(), "hello");
        assert_eq!(client.wire.handshake().unwrap().resumed, resumed);
    }
    let nobody = std::sync::Arc::new(authority.trusting());
    for _ in 0..2 {
        let response = tls::get(proxy.address(), nobody.clone(), "a.example", "/").await;
        assert_eq!(response.status, 400);
    }
}

#[tokio::test]
async fn a_connection_from_before_the_demand_is_held_to_it() {
    let (authority, origin) = (Authority::new("Specs"), origin::says("hello").await);
    let proxy = demanding(&authority, &origin, "optional")
        .await
        .start()
        .await;
    let connect = async |own: Option<&Certificate>| {
        let config = match own {
            Some(own) => authority.trusting_as(own),
            None => authority.trusting(),
        };
        tls::connect(proxy.address(), config, "a.example")
            .await
            .unwrap()
    };
    let get = async |client: &mut Client| client.get("/").await.status;
    let own = authority.client_certificate("alice");
    let (mut with, mut without) = (connect(Some(&own)).await, connect(None).await);
    assert_eq!((get(&mut with).await, get(&mut without).await), (200, 200));
    proxy.edit("\"optional\"", "\"require\"");
    proxy.reload().await;
    assert_eq!((get(&mut with).await, get(&mut without).await), (200, 400));
    without.closed().await;
}

#[tokio::test]
async fn a_request_for_the_host_of_another_certificate_is_sent_away() {
    let (authority, origin) = (Authority::new("Specs"), origin::says("hello").await);
    let own = authority.certificate(&["a.example", "also.example"]);
    let more = "client_certificate = \"require\", client_ca = \"ca.pem\", \
                certificates = [{ certificate = \"b.pem\", key = \"b.key\" }]";
    let setup = with(&origin, &own, more);
    file(&setup, "ca.pem", &authority.pem());
    authority
        .certificate(&["b.example"])
        .write(setup.directory(), "b");
    let proxy = setup.start().await;
    let config = authority.trusting_as(&authority.client_certificate("alice"));
    let mut nameless = authority.trusting_anyone();
    nameless.client_auth_cert_resolver = config.client_auth_cert_resolver.clone();
    let config = std::sync::Arc::new(config);
    for (host, status) in [
        ("a.example", 200),
        ("b.example", 421),
        ("also.example", 200),
    ] {
        let connected = tls::connect(proxy.address(), config.clone(), "a.example").await;
        let mut client = connected.unwrap();
        client
            .send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .await;
        assert_eq!(client.response().await.status, status, "{host}");
    }
    proxy
        .log_contains("server name different from the one that was negotiated")
        .await;
    // Without SNI, no name was negotiated: requests for every host are allowed.
    let connected = tls::connect(proxy.address(), nameless, "127.0.0.1").await;
    let mut client = connected.unwrap();
    for host in ["a.example", "b.example"] {
        client
            .send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .await;
        assert_eq!(client.response().await.status, 200, "{host}");
    }
}

fn numbered(authority: &Authority, serial: u64) -> Certificate {
    authority.certificate_with(Kind::Ecdsa, &[], |params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        params.serial_number = Some(serial.into());
    })
}

#[tokio::test]
async fn who_was_revoked_is_refused_from_the_next_request_on() {
    let (authority, origin) = (Authority::new("Specs"), origin::says("hello").await);
    let own = authority.certificate(&["a.example"]);
    let more = "client_certificate = \"require\", client_ca = \"ca.pem\", client_crl = \"crl.pem\"";
    let setup = with(&origin, &own, more);
    file(&setup, "ca.pem", &authority.pem());
    let crl = setup.directory().join("crl.pem");
    std::fs::write(&crl, authority.crl(&[8], (2100, 1, 1))).unwrap();
    let proxy = setup.start().await;
    let (alice, mallory) = (numbered(&authority, 7), numbered(&authority, 8));
    assert_eq!(
        as_client(&proxy, &authority, Some(&alice)).await.status,
        200
    );
    assert_eq!(
        as_client(&proxy, &authority, Some(&mallory)).await.status,
        400
    );
    proxy
        .log_contains("client SSL certificate verify error: (certificate revoked)")
        .await;
    let config = std::sync::Arc::new(authority.trusting_as(&alice));
    let connect = async || {
        let connected = tls::connect(proxy.address(), config.clone(), "a.example").await;
        connected.unwrap()
    };
    let mut before = connect().await;
    assert_eq!(before.get("/").await.status, 200);
    std::fs::write(&crl, authority.crl(&[7, 8], (2100, 1, 1))).unwrap();
    proxy.log_contains("certificates loaded again").await;
    assert_eq!(before.get("/").await.status, 400);
    let mut after = connect().await;
    assert_eq!(after.get("/").await.status, 400);
    assert!(!after.wire.handshake().unwrap().resumed);
    assert_eq!(origin.requests().len(), 2);
}

#[tokio::test]
async fn nobody_is_believed_whose_authority_has_no_list_or_an_old_one() {
    let (authority, origin) = (Authority::new("Specs"), origin::says("hello").await);
    let other = Authority::new("Others");
    for (crl, why) in [
        (
            other.crl(&[], (2100, 1, 1)),
            "unable to get certificate CRL",
        ),
        (authority.crl(&[], (2002, 1, 1)), "CRL has expired"),
    ] {
        let own = authority.certificate(&["a.example"]);
        let more =
            "client_certificate = \"optional\", client_ca = \"ca.pem\", client_crl = \"crl.pem\"";
        let setup = with(&origin, &own, more);
        file(&setup, "ca.pem", &(authority.pem() + &other.pem()));
        file(&setup, "crl.pem", &crl);
        let proxy = setup.start().await;
        let alice = numbered(&authority, 7);
        assert_eq!(
            as_client(&proxy, &authority, Some(&alice)).await.status,
            400
        );
        let line = format!("client SSL certificate verify error: ({why})");
        proxy.log_contains(&line).await;
        assert_eq!(as_client(&proxy, &authority, None).await.status, 200);
    }
}

#[tokio::test]
async fn another_authority_in_the_file_holds_for_sessions_and_connections_from_before() {
    let (authority, origin) = (Authority::new("Specs"), origin::says("hello").await);
    let proxy = demanding(&authority, &origin, "require")
        .await
        .start()
        .await;
    let config = std::sync::Arc::new(authority.trusting_as(&authority.client_certificate("alice")));
    let connect = async || {
        let connected = tls::connect(proxy.address(), config.clone(), "a.example").await;
        connected.unwrap()
    };
    let mut before = connect().await;
    assert_eq!(before.get("/").await.status, 200);
    let others = Authority::new("Others").pem();
    std::fs::write(proxy.directory().join("ca.pem"), others).unwrap();
    proxy.log_contains("certificates loaded again").await;
    assert_eq!(before.get("/").await.status, 400);
    let mut after = connect().await;
    assert_eq!(after.get("/").await.status, 400);
    assert!(!after.wire.handshake().unwrap().resumed);
}
