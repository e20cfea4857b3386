//! Servers that answer worse than the others are ejected for a while.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use waypost_tests::{Load, origin};

use super::*;

/// A server that answers with the status, and after the milliseconds, that are set.
async fn patient(name: &'static str) -> (Origin, Arc<AtomicU16>, Arc<AtomicU64>) {
    let (status, delay) = (Arc::new(AtomicU16::new(200)), Arc::new(AtomicU64::new(0)));
    let told = (status.clone(), delay.clone());
    let origin = origin::answers(move |_| {
        let delay = Duration::from_millis(told.1.load(Relaxed));
        Answer::status(told.0.load(Relaxed), name).after(delay)
    });
    (origin.await, status, delay)
}

const EJECT: &str =
    "interval = \"200ms\", min_attempts = 5, ejection_time = \"1s\", max_ejection_time = \"1h\"";

/// Sends requests until a server is in rotation, or out of it.
async fn until(proxy: &Proxy, server: &Origin, is_in: bool) {
    let load = Load::start(proxy.address(), 4);
    is_in_rotation(proxy, server, is_in).await;
    load.stop().await;
}

#[tokio::test]
async fn a_server_that_fails_half_of_its_requests_is_ejected_and_comes_back() {
    let (a, status, _) = patient("a").await;
    let ((b, ..), (c, ..)) = (patient("b").await, patient("c").await);
    let proxy = before(&[&a, &b, &c], &format!("outliers = {{ {EJECT} }}")).await;
    status.store(500, Relaxed);
    until(&proxy, &a, false).await;
    let shown = proxy.server(a.address()).await;
    assert_eq!(
        (&shown["health"], &shown["why"][0]["reason"]),
        (&0.into(), &"ejected".into())
    );
    let detail = shown["why"][0]["detail"].as_str().unwrap().to_owned();
    assert!(detail.ends_with("attempts failed"), "{detail}");
    assert!(shown["why"][0]["next_ms"].as_u64() <= Some(1000), "{shown}");
    let names = format!("upstream: \"backend\", server: \"{}\"", a.address());
    proxy
        .log_contains(&format!(
            "upstream server ejected for 1s: {detail}, {names}"
        ))
        .await;
    // It is still as bad when it comes back, and stays out for longer.
    until(&proxy, &a, true).await;
    proxy
        .log_contains(&format!(
            "upstream server is back from its ejection, {names}"
        ))
        .await;
    until(&proxy, &a, false).await;
    proxy.log_contains("upstream server ejected for 2s: ").await;
    assert_eq!(answers(&proxy, 6).await, ["b", "c"]);
    status.store(200, Relaxed);
    until(&proxy, &a, true).await;
    assert_eq!(answers(&proxy, 6).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_server_that_is_many_times_slower_than_its_peers_is_ejected() {
    let (a, _, delay) = patient("a").await;
    let ((b, ..), (c, ..)) = (patient("b").await, patient("c").await);
    let rules = format!("outliers = {{ {EJECT}, error_rate = 0, latency = 20 }}");
    let proxy = before(&[&a, &b, &c], &rules).await;
    delay.store(1000, Relaxed);
    let load = Load::start(proxy.address(), 40);
    proxy
        .log_contains("upstream server ejected for 1s: it answers in ")
        .await;
    load.stop().await;
    let ejected: Vec<String> = proxy
        .log()
        .lines()
        .filter(|line| line.contains("ejected"))
        .map(str::to_owned)
        .collect();
    assert!(
        ejected.iter().all(|line| line.contains(a.address())),
        "{ejected:?}"
    );
}

#[tokio::test]
async fn only_a_share_of_the_servers_is_ejected_and_never_one_that_is_alone() {
    let ((a, a_status, _), (b, b_status, _)) = (patient("a").await, patient("b").await);
    a_status.store(500, Relaxed);
    b_status.store(500, Relaxed);
    let long = EJECT.replace("\"1s\"", "\"1m\"");
    let proxy = before(&[&a, &b], &format!("outliers = {{ {long} }}")).await;
    let load = Load::start(proxy.address(), 4);
    proxy.log_contains("upstream server ejected for 60s").await;
    let (served_a, served_b) = (a.requests().len(), b.requests().len());
    let is_out =
        async |origin: &Origin| proxy.server(origin.address()).await["in_rotation"] == false;
    let (left, served) = match is_out(&a).await {
        true => (&b, served_b),
        false => (&a, served_a),
    };
    left.received(served + 200).await;
    assert_eq!(
        proxy.log().matches("ejected for").count(),
        1,
        "{}",
        proxy.log()
    );
    load.stop().await;
    let alone = before(
        &[&a],
        &format!("outliers = {{ {long}, max_ejected = 100 }}"),
    )
    .await;
    let load = Load::start(alone.address(), 4);
    let served = a.requests().len();
    a.received(served + 200).await;
    load.stop().await;
    assert_eq!(alone.server(a.address()).await["in_rotation"], true);
}

#[tokio::test]
async fn a_reload_without_outliers_ends_their_ejection() {
    let (a, status, _) = patient("a").await;
    let (b, ..) = patient("b").await;
    status.store(500, Relaxed);
    let long = EJECT.replace("\"1s\"", "\"1h\"");
    let proxy = before(&[&a, &b], &format!("outliers = {{ {long} }}")).await;
    until(&proxy, &a, false).await;
    proxy.edit("outliers", "keepalive = 3\noutliers");
    proxy.reload().await;
    assert_eq!(
        proxy.server(a.address()).await["in_rotation"],
        false,
        "it goes on"
    );
    status.store(200, Relaxed);
    proxy.edit("outliers", "# outliers");
    proxy.reload().await;
    is_in_rotation(&proxy, &a, true).await;
    assert_eq!(answers(&proxy, 4).await, ["a", "b"]);
}

#[tokio::test]
async fn a_server_that_is_drained_while_it_is_ejected_comes_back_all_the_same() {
    let (a, status, _) = patient("a").await;
    let (b, ..) = patient("b").await;
    status.store(500, Relaxed);
    let proxy = before(&[&a, &b], &format!("outliers = {{ {EJECT} }}")).await;
    until(&proxy, &a, false).await;
    status.store(200, Relaxed);
    let server = format!("/upstreams/backend/servers/{}", a.address());
    for down in [true, false] {
        let body = format!("{{\"down\": {down}}}");
        assert_eq!(proxy.admin("PATCH", &server, &body).await.status, 200);
        // Longer than an interval.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    until(&proxy, &a, true).await;
    assert_eq!(answers(&proxy, 4).await, ["a", "b"]);
}

/// Its peers are others then; its ejection ends all the same, and nothing spins.
#[tokio::test]
async fn a_server_that_becomes_a_backup_while_it_is_ejected_comes_back_all_the_same() {
    let (a, status, _) = patient("a").await;
    let ((b, ..), (c, ..)) = (patient("b").await, patient("c").await);
    status.store(500, Relaxed);
    let servers = [a.with("backup = false"), format!("\"{}\"", b.address())];
    let servers = servers.into_iter().chain([c.with("backup = true")]);
    let outliers = format!("outliers = {{ {EJECT} }}");
    let setup = proxy::to(servers).upstream(&outliers).more(ADMIN);
    let proxy = setup.start().await;
    until(&proxy, &a, false).await;
    status.store(200, Relaxed);
    // The group that it was ejected from goes on without it, and then its new group is gone.
    for (from, to) in [
        ("backup = false", "backup = true"),
        ("backup = true", "backup = false"),
    ] {
        proxy.edit(from, to);
        proxy.reload().await;
    }
    until(&proxy, &a, true).await;
    let names = format!("upstream: \"backend\", server: \"{}\"", a.address());
    proxy
        .log_contains(&format!(
            "upstream server is back from its ejection, {names}"
        ))
        .await;
}
