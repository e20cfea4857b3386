//! Hooks that wait for passwords to be checked.

use std::time::Duration;

use waypost_tests::{Http2, in_time, origin, proxy};

use super::{asked, at_route, begun, begun_stream, probe};

/// Hashes of `secret`: one that is quick to check, and one that takes long.
pub(super) const QUICK: &str = "$6$rounds=1000$saltsalt$LAV5VE5Y7w1d73x1mFNspYWUpazfmwv2SoepNXNKJ/otop/Zok96Hr8Q13LEv0DRY/x8v0/crpIjl8NJSAqXV/";
pub(super) const SLOW: &str = "$6$rounds=1000000$saltsalt$ODu5qzWG85BfQpbzNPR6U1evaVuYTh8pE0A4vdPbMrzjA/u63ymSQmHeQ6qvWlHugcXmrX4zNCPJIHwcIrg1w0";

#[tokio::test]
async fn a_hook_waits_for_its_check_and_decides_then() {
    let origin = origin::says("hello").await;
    let proxy = at_route(proxy::to([&origin])).start().await;
    assert_eq!(
        asked(&proxy, "/", &format!("check {QUICK} secret"))
            .await
            .text(),
        "hello"
    );
    let response = asked(&proxy, "/", &format!("check {QUICK} guess")).await;
    assert_eq!(
        (response.status, response.text().as_str()),
        (401, "wrong\n")
    );
    // What it wants changed is changed, before the check and behind it; another check may follow.
    let lines = super::told(&format!("check {QUICK} secret | set X-Before 1"))
        + &format!("X-Probe-Checked: set X-Behind 1 | check {QUICK} guess\r\n");
    assert_eq!(proxy.get_with("/", &lines).await.status, 401);
    let lines = super::told(&format!("check {QUICK} secret | set X-Before 1"))
        + "X-Probe-Checked: set X-Behind 1\r\n";
    assert_eq!(proxy.get_with("/", &lines).await.text(), "hello");
    let request = origin.requests().pop().expect("it was asked");
    assert_eq!(
        (request.header("X-Before"), request.header("X-Behind")),
        ("1", "1")
    );
}

#[tokio::test]
async fn other_requests_of_the_worker_are_served_while_a_check_runs() {
    let origin = origin::says("hello").await;
    let proxy = at_route(proxy::to([&origin]))
        .server("workers = 1")
        .start()
        .await;
    let slow = format!("check {SLOW} secret");
    let mut http2 = Http2::connect(proxy.address()).await;
    let mut streams = Vec::new();
    for _ in 0..4 {
        streams.push(begun_stream(&mut http2, "/", &slow).await);
    }
    let mut waiting = tokio::spawn(async move {
        for mut stream in streams {
            assert_eq!(stream.response().await.text(), "hello");
        }
    });
    for _ in 0..10 {
        assert_eq!(proxy.get("/").await.text(), "hello");
    }
    assert!(
        !waiting.is_finished(),
        "four checks were quicker than ten requests"
    );
    in_time("the checks", &mut waiting).await.unwrap();
}

#[tokio::test]
async fn a_client_that_leaves_while_its_check_runs_is_logged_as_499_and_the_hook_hears_of_it() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin])
        .server("access_log = { path = \"access.log\", format = \"$status\" }")
        .route("hooks = [{ plugin = \"probe\", ledger = true }]")
        .more(&probe())
        .start()
        .await;
    let clients = [
        begun(&proxy, "/", &format!("check {SLOW} secret | say one")).await,
        begun(&proxy, "/", &format!("check {SLOW} secret | say two")).await,
    ];
    proxy.log_contains("probe says one").await;
    proxy.log_contains("probe says two").await;
    drop(clients);
    proxy
        .stderr()
        .wait_until("both ends", |log| log.matches(" 499 cut 0 0").count() == 2)
        .await;
    let path = proxy.directory().join("access.log");
    waypost_tests::eventually("the log", async || {
        std::fs::read_to_string(&path).unwrap_or_default() == "499\n499\n"
    })
    .await;
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn a_check_that_cannot_be_done_fails_the_hook() {
    let origin = origin::says("hello").await;
    let skip = "[[route]]\npath = \"/skip\"\nproxy = \"backend\"\nhooks = [{ plugin = \"probe\", on_error = \"skip\" }]\n";
    let proxy = at_route(proxy::to([&origin])).more(skip).start().await;
    for (target, status) in [("/", 500), ("/skip", 200)] {
        let response = asked(&proxy, target, "check $9$unknown secret").await;
        assert_eq!(response.status, status, "{target}");
    }
    proxy
        .log_contains("the hash is not one that can be checked")
        .await;
    // It is no fault of the plugin's: its instance stays.
    assert_eq!(proxy.get("/").await.text(), "hello");
}

#[tokio::test]
async fn an_instance_that_began_a_check_is_the_one_that_hears_of_it() {
    let origin = origin::says("hello").await;
    let proxy = at_route(proxy::to([&origin]))
        .server("workers = 1")
        .start()
        .await;
    let slow = begun(&proxy, "/", &format!("check {SLOW} secret | say waits")).await;
    proxy.log_contains("probe says waits").await;
    assert_eq!(asked(&proxy, "/", "trap").await.status, 500);
    // The next one serves before the check is done, and knows nothing of it.
    waypost_tests::eventually("the next instance", async || {
        proxy.get("/").await.status == 200
    })
    .await;
    let mut slow = slow;
    let response = tokio::time::timeout(Duration::from_secs(20), slow.response()).await;
    assert_eq!(response.expect("it ends").status, 500);
    assert!(
        !proxy.log().contains("failed in `on-check`"),
        "{}",
        proxy.log()
    );
}
