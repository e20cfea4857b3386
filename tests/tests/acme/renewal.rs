//! Certificates are renewed before they end, when the authority says so, and when they are for other
//! domains.

use waypost_tests::not_yet;

use super::*;

#[tokio::test]
async fn a_certificate_is_renewed_when_a_third_of_its_life_is_left() {
    let (directory, store, gate) = (Directory::start().await, store(), Gate::closed());
    seed(&directory, store.path(), "a.test", (-61, 29));
    seed(&directory, store.path(), "b.test", (-50, 40));
    directory.does(Mode::Waits(gate));
    let acme = format!(
        "{}, domains = [\"a.test\", \"b.test\"]",
        directory.settings()
    );
    let proxy = proxy::run(&file(&acme, &store), &[]).await;
    // The one before is served meanwhile.
    let of = shown(&proxy, "a.test", "an order", |of| of["state"] == "ordering").await;
    assert!(
        (28..=29).contains(&of["days_left"].as_i64().unwrap()),
        "{of}"
    );
    let b = is_valid(&proxy, "b.test").await;
    assert!(
        (6..=10).contains(&(seconds_until(&b["ordered"]["next"]) / 86_400)),
        "{b}"
    );
    drop(proxy);
    directory.does(Mode::Issues);
    // In the store of before, an order is under way, which counts as a failure, and has to wait.
    let store = super::store();
    seed(&directory, store.path(), "a.test", (-61, 29));
    seed(&directory, store.path(), "b.test", (-50, 40));
    let proxy = proxy::run(&file(&acme, &store), &[]).await;
    let renewed = shown(&proxy, "a.test", "another one", |of| {
        of["days_left"].as_i64() >= Some(89) && of["state"] == "valid"
    })
    .await;
    assert!(
        seconds_until(&renewed["ordered"]["next"]) > 50 * 86_400,
        "{renewed}"
    );
    let ordered: Vec<String> = directory.orders().into_iter().map(|of| of.domain).collect();
    assert_eq!(ordered, ["a.test"]);
}

#[tokio::test]
async fn a_certificate_is_renewed_when_its_authority_says_so_and_it_is_told_which() {
    let (directory, store) = (Directory::start().await, store());
    // There has to be an account, which comes with the first order.
    let proxy = proxy::run(&file(&directory.settings(), &store), &[]).await;
    is_valid(&proxy, "a.test").await;
    assert!(directory.orders()[0].replaces.is_none());
    drop(proxy);
    directory.suggests("2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z");
    let proxy = proxy::run(&file(&directory.settings(), &store), &[]).await;
    directory.has_orders(2).await;
    let replaced = directory.orders()[1].replaces.clone().unwrap();
    let (authority, serial) = replaced.split_once('.').unwrap();
    assert!(!authority.is_empty() && !serial.is_empty(), "{replaced}");
    drop(proxy);
    directory.suggests("2090-01-01T00:00:00Z", "2090-01-02T00:00:00Z");
    let proxy = proxy::run(&file(&directory.settings(), &store), &[]).await;
    let late = |of: &Value| seconds_until(&of["ordered"]["next"]) / 86_400 == 82;
    shown(&proxy, "a.test", "not too late", late).await;
    let ordered = directory.orders().len();
    assert!(
        ordered <= 3,
        "{ordered} orders, of which the window of the past wants one each start"
    );
}

/// As of an authority that is wrong about all that it issues.
#[tokio::test]
async fn a_window_that_has_passed_whatever_is_issued_has_it_ordered_no_more_often_than_what_fails()
{
    let (directory, store) = (Directory::start().await, store());
    directory.suggests("2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z");
    let file = file(&directory.settings(), &store);
    for _ in 0..2 {
        let proxy = proxy::run(&file, &[]).await;
        directory.has_orders(2).await;
        let paused = |of: &Value| {
            let next = seconds_until(&of["ordered"]["next"]);
            of["state"] == "valid" && (1..=66).contains(&next)
        };
        shown(&proxy, "a.test", "a pause", paused).await;
        let ordered = eventually("a third", async || directory.orders().len() > 2);
        not_yet("it is ordered", ordered).await;
    }
    // Whoever asks for it is not kept waiting.
    let proxy = proxy::run(&file, &[]).await;
    let renewed = proxy.admin("POST", "/certificates/a.test/renew", "").await;
    assert_eq!(renewed.status, 200, "{}", renewed.text());
}

#[tokio::test]
async fn a_reload_orders_what_is_new_and_keeps_what_is_there() {
    let (directory, store) = (Directory::start().await, store());
    let proxy = proxy::run(&file(&directory.settings(), &store), &[]).await;
    is_valid(&proxy, "a.test").await;
    proxy.edit("host = [\"a.test\"]", "host = [\"a.test\", \"b.test\"]");
    proxy.reload().await;
    is_valid(&proxy, "b.test").await;
    proxy.edit("host = [\"a.test\", \"b.test\"]", "host = [\"b.test\"]");
    proxy.reload().await;
    shown(&proxy, "a.test", "no such certificate", Value::is_null).await;
    proxy.edit("host = [\"b.test\"]", "host = [\"a.test\", \"b.test\"]");
    proxy.reload().await;
    is_valid(&proxy, "a.test").await;
    for name in ["a.test", "b.test"] {
        let trusting = directory.authority.trusting();
        let response = tls::get(proxy.listener(1), trusting, name, "/").await;
        assert_eq!(response.text(), "hello");
    }
    let ordered: Vec<String> = directory.orders().into_iter().map(|of| of.domain).collect();
    assert_eq!(ordered, ["a.test", "b.test"]);
}
