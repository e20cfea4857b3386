//! A server with `slow_start` that comes into rotation beside others gets its share little by little.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use waypost_tests::admin::ADMIN;
use waypost_tests::{Answer, Origin, Proxy, eventually, origin, proxy};

const SERVERS: &str = "/upstreams/backend/servers";

/// How many of so many requests a server gets.
async fn share(proxy: &Proxy, server: &Origin, requests: usize) -> usize {
    let mut share = 0;
    for _ in 0..requests {
        let response = proxy.get("/").await;
        assert_eq!(response.status, 200, "{response:?}");
        share += usize::from(response.text() == server.address());
    }
    share
}

async fn add(proxy: &Proxy, server: &Origin, slow_start: &str) {
    let address = server.address();
    let body = format!("{{\"address\": \"{address}\", \"slow_start\": \"{slow_start}\"}}");
    let added = proxy.admin("POST", SERVERS, &body).await;
    assert_eq!(added.status, 200, "{}", added.text());
}

/// Within the seconds of this spec, an hour has hardly begun.
#[tokio::test]
async fn a_server_that_is_added_begins_with_nothing() {
    for policy in ["round_robin", "least_conn", "random", "ip_hash"] {
        let (old, new) = (origin::named().await, origin::named().await);
        let setup = proxy::to([&old]).upstream(&format!("policy = \"{policy}\""));
        let proxy = setup.more(ADMIN).start().await;
        add(&proxy, &new, "1h").await;
        let got = share(&proxy, &new, 100).await;
        assert!(got <= 3, "{policy}: {got} of 100");
        let shown = proxy.server(new.address()).await;
        assert!(shown["slow_start_s"].as_u64() > Some(3000), "{shown}");
        assert_eq!(shown["in_rotation"], true);
        // Nobody else is there: it takes all.
        let down = format!("{SERVERS}/{}", old.address());
        let drained = proxy.admin("PATCH", &down, "{\"down\": true}").await;
        assert_eq!(drained.status, 200);
        assert_eq!(share(&proxy, &new, 10).await, 10, "{policy}");
    }
}

#[tokio::test]
async fn in_the_end_it_has_its_whole_share() {
    let (old, new) = (origin::named().await, origin::named().await);
    let setup = proxy::to([&old]).server("workers = 1").more(ADMIN);
    let proxy = setup.start().await;
    add(&proxy, &new, "2s").await;
    eventually("the share to have grown", async || {
        share(&proxy, &new, 10).await == 5 && proxy.server(new.address()).await["slow_start_s"] == 0
    })
    .await;
    assert_eq!(share(&proxy, &new, 10).await, 5);
}

#[tokio::test]
async fn a_server_that_has_failed_and_one_that_is_resumed_begin_with_nothing() {
    let fails = Arc::new(AtomicBool::new(true));
    let (good, flag) = (origin::named().await, fails.clone());
    let weak = origin::answers(move |_| match flag.load(Relaxed) {
        true => Answer::status(503, "not me"),
        false => Answer::ok("weak"),
    })
    .await;
    let servers = [
        good.with("max_fails = 0"),
        weak.with("max_fails = 1, fail_timeout = \"1s\", slow_start = \"1h\""),
    ];
    let setup = proxy::to(servers).upstream("next_upstream = [\"http_503\"]");
    let proxy = setup.more(ADMIN).start().await;
    // At the start there is nothing that it could be spared.
    eventually("it to fail", async || {
        proxy.get("/").await;
        proxy.server(weak.address()).await["in_rotation"] == false
    })
    .await;
    fails.store(false, Relaxed);
    eventually("the attempt that puts it back", async || {
        proxy.get("/").await.text() == "weak"
    })
    .await;
    let mut got = 0;
    for _ in 0..100 {
        got += usize::from(proxy.get("/").await.text() == "weak");
    }
    assert!(got <= 3, "{got} of 100 behind a failure");
    // Without a `slow_start` of its own, the other one has its share at once.
    for down in [true, false] {
        let server = format!("{SERVERS}/{}", good.address());
        let body = format!("{{\"down\": {down}}}");
        assert_eq!(proxy.admin("PATCH", &server, &body).await.status, 200);
    }
    assert!(share(&proxy, &good, 20).await > 16);
}
