//! When every server is out of rotation: a 502 at once, as nginx has it, or the one that failed
//! least recently after all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use waypost_tests::{Answer, Client, Gate, Origin, Proxy, origin, proxy};

/// An origin that closes without an answer until it is told to answer.
async fn ill(body: &'static str) -> (Origin, Arc<AtomicBool>) {
    let well = Arc::new(AtomicBool::new(false));
    let health = well.clone();
    let origin = origin::answers(move |_| match health.load(Ordering::SeqCst) {
        true => Answer::ok(body),
        false => Answer::raw("").then_close(),
    })
    .await;
    (origin, well)
}

const FAILS: &str = "max_fails = 1, fail_timeout = \"1h\"";

async fn before(servers: &[String], upstream: &str) -> Proxy {
    proxy::to(servers.iter().cloned())
        .server("workers = 1")
        .upstream(upstream)
        .start()
        .await
}

#[tokio::test]
async fn by_default_nobody_is_asked_while_all_are_out_of_rotation() {
    let ((a, a_well), (b, b_well)) = (ill("a").await, ill("b").await);
    let proxy = before(&[a.with(FAILS), b.with(FAILS)], "").await;
    assert_eq!(proxy.get("/").await.status, 502);
    a_well.store(true, Ordering::SeqCst);
    b_well.store(true, Ordering::SeqCst);
    assert_eq!(proxy.get("/").await.status, 502);
    assert_eq!((a.requests().len(), b.requests().len()), (1, 1));
    proxy.log_contains("no live upstreams").await;
}

#[tokio::test]
async fn with_last_resort_one_is_asked_and_its_success_puts_it_back() {
    let ((a, a_well), (b, b_well)) = (ill("a").await, ill("b").await);
    let proxy = before(&[a.with(FAILS), b.with(FAILS)], "last_resort = true").await;
    assert_eq!(proxy.get("/").await.status, 502);
    b_well.store(true, Ordering::SeqCst);
    assert_eq!(proxy.get("/").await.text(), "b");
    let asked = a.requests().len();
    for _ in 0..6 {
        assert_eq!(proxy.get("/").await.text(), "b");
    }
    assert_eq!(a.requests().len(), asked, "b is in rotation, a is not");
    // What fails again is as it was.
    b_well.store(false, Ordering::SeqCst);
    a_well.store(true, Ordering::SeqCst);
    assert_eq!(proxy.get("/").await.text(), "a");
}

/// One hangs, and the other one is in its penalty for a failure of long ago.
#[tokio::test]
async fn the_next_one_may_be_one_that_is_out_of_rotation() {
    let (a, a_well) = ill("a").await;
    let hangs = origin::hangs_at_connect();
    let lines = "last_resort = true\nconnect_timeout = \"300ms\"";
    let proxy = before(&[a.with(FAILS), hangs.with("max_fails = 0")], lines).await;
    assert_eq!(proxy.get("/").await.status, 504);
    a_well.store(true, Ordering::SeqCst);
    for _ in 0..4 {
        let began = Instant::now();
        assert_eq!(proxy.get("/").await.text(), "a");
        assert!(began.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn each_is_asked_once_by_one_request_and_then_no_more() {
    let origins = [ill("a").await.0, ill("b").await.0, ill("c").await.0];
    let servers: Vec<String> = origins.iter().map(|origin| origin.with(FAILS)).collect();
    let proxy = before(&servers, "last_resort = true").await;
    for number in 1..=3 {
        assert_eq!(proxy.get("/").await.status, 502);
        let asked = origins.each_ref().map(|origin| origin.requests().len());
        assert_eq!(asked, [number; 3]);
    }
}

#[tokio::test]
async fn backups_come_before_a_last_resort_and_are_one_themselves() {
    let ((a, a_well), (backup, backup_well)) = (ill("a").await, ill("backup").await);
    backup_well.store(true, Ordering::SeqCst);
    let servers = [
        a.with(FAILS),
        backup.with(&format!("{FAILS}, backup = true")),
    ];
    let proxy = before(&servers, "last_resort = true").await;
    assert_eq!(proxy.get("/").await.text(), "backup");
    a_well.store(true, Ordering::SeqCst);
    assert_eq!(proxy.get("/").await.text(), "backup", "it is in rotation");
    a_well.store(false, Ordering::SeqCst);
    backup_well.store(false, Ordering::SeqCst);
    assert_eq!(proxy.get("/").await.status, 502);
    backup_well.store(true, Ordering::SeqCst);
    assert_eq!(proxy.get("/").await.text(), "backup");
}

#[tokio::test]
async fn what_is_full_or_down_is_no_last_resort() {
    let gate = Gate::closed();
    let held = gate.clone();
    let full = origin::answers(move |_| Answer::ok("full").when(&held)).await;
    let down = origin::says("down").await;
    let servers = [full.with("max_conns = 1"), down.with("down = true")];
    let proxy = before(&servers, "last_resort = true").await;
    let mut first: Client = proxy.client().await;
    first.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
    full.received(1).await;
    assert_eq!(proxy.get("/").await.status, 502);
    assert!(down.requests().is_empty());
    gate.open();
    assert_eq!(first.response().await.text(), "full");
}

#[tokio::test]
async fn a_policy_hears_of_a_last_resort_as_of_any_other_choice() {
    let ((a, _), (b, b_well)) = (ill("a").await, ill("b").await);
    let servers = [
        a.with(&format!("{FAILS}, route = \"a\"")),
        b.with(&format!("{FAILS}, route = \"b\"")),
    ];
    let lines = "last_resort = true\npolicy = { plugin = \"sticky\", cookie = { name = \"to\" } }";
    let proxy = before(&servers, lines).await;
    assert_eq!(proxy.get("/").await.status, 502);
    b_well.store(true, Ordering::SeqCst);
    let response = proxy.get("/").await;
    assert_eq!(response.text(), "b");
    assert!(
        response.header("Set-Cookie").starts_with("to="),
        "{response:?}"
    );
}
