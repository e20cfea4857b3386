//! The protocol as a real authority has it: pebble.

use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use super::*;
use waypost_tests::client;
use waypost_tests::pebble::{Pebble, installed};

/// As [`file`], where pebble looks for what it wants to see. `listen`: of the listener without TLS.
fn at(pebble: &Pebble, acme: &str, listen: &str, store: &TempDir) -> String {
    let (plain, tls, store) = (&pebble.http, &pebble.tls, store.path().display());
    let settings = pebble.settings();
    let comma = if acme.is_empty() { "" } else { ", " };
    format!(
        "[server]\nworkers = 2\naccess_log = false\n\
         [[listen]]\naddress = \"{plain}\"\n{listen}\n\
         [[listen]]\naddress = \"{tls}\"\n\
         tls = {{ acme = {{ store = \"{store}\", {settings}{comma}{acme} }} }}\n\
         [[route]]\nhost = [\"a.test\", \"b.test\"]\nreturn = {{ status = 200, body = \"hello\" }}\n\
         {ADMIN}"
    )
}

#[tokio::test]
async fn a_first_certificate_is_had_by_http_01_before_hooks_routes_and_redirects() {
    if !installed() {
        return;
    }
    let (pebble, store) = (Pebble::start(json!({})).await, store());
    let acme = "email = \"ops@example.com\", challenges = [\"http-01\"]";
    let file = at(&pebble, acme, "redirect_to_https = true", &store);
    let proxy = proxy::run(&file, &[]).await;
    for name in ["a.test", "b.test"] {
        let of = is_valid(&proxy, name).await;
        assert_eq!(of["names"], json!([name]));
        assert!(of["issuer"].as_str().unwrap().contains("Pebble"), "{of}");
        let response = tls::get(&pebble.tls, pebble.trusting().await, name, "/").await;
        assert_eq!(response.text(), "hello");
    }
    // What is no token under way is a request as any other.
    let target = "/.well-known/acme-challenge/nothing";
    let other = client::get_with(&pebble.http, target, "").await;
    assert_eq!(other.status, 301);
    let mut found = vec![store.path().to_owned()];
    while let Some(path) = found.pop() {
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).unwrap();
            found.extend(entries.map(|entry| entry.unwrap().path()));
            // The store itself is ours.
            assert!(mode == 0o700 || path == store.path(), "{}", path.display());
        } else {
            assert_eq!(mode, 0o600, "{}", path.display());
        }
    }
    let tokens = std::fs::read_dir(store.path().join("http-01")).unwrap();
    assert_eq!(tokens.count(), 0);
}

#[tokio::test]
async fn a_first_certificate_is_had_by_tls_alpn_01_without_any_other_listener() {
    if !installed() {
        return;
    }
    let (pebble, store) = (Pebble::start(json!({})).await, store());
    let (tls, settings) = (&pebble.tls, pebble.settings());
    let file = format!(
        "[server]\nworkers = 2\naccess_log = false\n[[listen]]\naddress = \"{tls}\"\n\
         tls = {{ client_certificate = \"off\", acme = {{ store = \"{}\", {settings} }} }}\n\
         [[route]]\nhost = \"a.test\"\nreturn = {{ status = 200, body = \"hello\" }}\n{ADMIN}",
        store.path().display()
    );
    let proxy = proxy::run(&file, &[]).await;
    is_valid(&proxy, "a.test").await;
    let response = tls::get(tls, pebble.trusting().await, "a.test", "/").await;
    assert_eq!(response.text(), "hello");
    let mut validating = pebble.trusting().await;
    validating.alpn_protocols = vec![b"acme-tls/1".to_vec()];
    assert!(tls::connect(tls, validating, "a.test").await.is_err());
    proxy
        .log_contains("no validation of a.test by acme-tls/1 is under way")
        .await;
}

#[tokio::test]
async fn a_stream_has_certificates_as_a_listener_has() {
    if !installed() {
        return;
    }
    let (pebble, store) = (Pebble::start(json!({})).await, store());
    let origin = waypost_tests::origin::says("behind").await;
    let (tls, settings) = (&pebble.tls, pebble.settings());
    let file = format!(
        "[server]\nworkers = 2\naccess_log = false\n[[stream]]\naddress = \"{tls}\"\n\
         proxy = \"{}\"\n\
         tls = {{ acme = {{ domains = [\"a.test\"], store = \"{}\", {settings} }} }}\n{ADMIN}",
        origin.address(),
        store.path().display()
    );
    let proxy = proxy::run(&file, &[]).await;
    is_valid(&proxy, "a.test").await;
    let response = tls::get(tls, pebble.trusting().await, "a.test", "/").await;
    assert_eq!(response.text(), "behind");
}

#[tokio::test]
async fn an_authority_that_wants_an_account_named_is_told_it() {
    if !installed() {
        return;
    }
    let key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let more = json!({"externalAccountBindingRequired": true,
        "externalAccountMACKeys": {"kid-1": key}});
    let (pebble, store) = (Pebble::start(more).await, store());
    let proxy = proxy::run(&at(&pebble, "", "", &store), &[]).await;
    let of = shown(&proxy, "a.test", "a failure", |of| of["state"] == "failing").await;
    let error = of["ordered"]["last_error"].as_str().unwrap();
    assert!(error.contains("say `eab = { kid"), "{error}");
    // The settings have changed: what failed is tried at once.
    let eab = format!(", eab = {{ kid = \"kid-1\", key = \"{key}\" }} }} }}\n[[route]]");
    proxy.edit(" } }\n[[route]]", &eab);
    proxy.reload().await;
    is_valid(&proxy, "a.test").await;
    assert!(!proxy.log().contains(key));
}

#[tokio::test]
async fn certificates_are_exchanged_while_clients_shake_hands() {
    if !installed() {
        return;
    }
    let (pebble, store) = (Pebble::start(json!({})).await, store());
    let proxy = proxy::run(&at(&pebble, "", "", &store), &[]).await;
    is_valid(&proxy, "a.test").await;
    let trusting = std::sync::Arc::new(pebble.trusting().await);
    let before = is_valid(&proxy, "a.test").await;
    let is_over = std::cell::Cell::new(false);
    let renewing = async {
        for _ in 0..3 {
            let renewed = proxy.admin("POST", "/certificates/a.test/renew", "").await;
            assert_eq!(renewed.status, 200, "{}", renewed.text());
        }
        is_over.set(true);
    };
    let mut shaken = 0;
    let shaking = async {
        while !is_over.get() {
            let response = tls::get(&pebble.tls, trusting.clone(), "a.test", "/").await;
            assert_eq!(response.text(), "hello");
            shaken += 1;
        }
    };
    tokio::join!(renewing, shaking);
    assert!(shaken > 0);
    let after = is_valid(&proxy, "a.test").await;
    assert!(after["not_after"].as_str() >= before["not_after"].as_str());
    let metrics = proxy.metrics().await;
    assert_eq!(
        metrics.value("waypost_certificate_orders_total{outcome=\"issued\"}"),
        5.0
    );
    let failed = metrics.value("waypost_tls_handshakes_failed_total");
    assert_eq!(failed, 0.0, "{}", proxy.log());
}
