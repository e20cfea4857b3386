//! What a server's health changes: who gets requests.

use std::sync::atomic::AtomicUsize;

use waypost_tests::{Gate, Load, origin, proxy};

use super::*;

#[tokio::test]
async fn a_server_that_fails_its_check_gets_no_requests_until_it_passes() {
    let ((a, _), (b, status)) = (ward("a").await, ward("b").await);
    let proxy = before(&[&a, &b], &checked("")).await;
    assert_eq!(answers(&proxy, 4).await, ["a", "b"]);
    status.store(503, Relaxed);
    is_in_rotation(&proxy, &b, false).await;
    assert_eq!(answers(&proxy, 8).await, ["a"]);
    let shown = proxy.server(b.address()).await;
    assert_eq!(shown["health"], 0);
    let why = &shown["why"][0];
    assert_eq!(
        (&why["reason"], &why["detail"]),
        (&"unhealthy".into(), &"unexpected status 503".into())
    );
    assert!(
        why["since_ms"].is_u64() && why["next_ms"].as_u64() <= Some(100),
        "{why}"
    );
    let names = format!("upstream: \"backend\", server: \"{}\"", b.address());
    proxy
        .log_contains(&format!(
            "upstream server is unhealthy: unexpected status 503, {names}"
        ))
        .await;
    status.store(200, Relaxed);
    is_in_rotation(&proxy, &b, true).await;
    assert_eq!(answers(&proxy, 4).await, ["a", "b"]);
    proxy
        .log_contains(&format!("upstream server is healthy: status 200, {names}"))
        .await;
    assert_eq!(
        proxy.server(b.address()).await["why"],
        serde_json::json!([])
    );
}

#[tokio::test]
async fn no_request_fails_while_a_server_says_that_it_goes_and_then_is_gone() {
    let ((a, _), (mut b, status)) = (ward("a").await, ward("b").await);
    let proxy = before(
        &[&a, &b],
        &format!("next_upstream = \"off\"\n{}", checked("")),
    )
    .await;
    let load = Load::start(proxy.address(), 8);
    b.received(50).await;
    status.store(503, Relaxed);
    is_in_rotation(&proxy, &b, false).await;
    // What was under way is done before it goes.
    eventually("it to be idle", async || {
        proxy.server(b.address()).await["in_flight"] == 0
    })
    .await;
    let before = a.requests().len();
    b.dies().await;
    a.received(before + 50).await;
    let report = load.stop().await;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    assert!(report.bodies.iter().any(|body| body == "b"));
}

#[tokio::test]
async fn rise_and_fall_are_counted_in_a_row_so_that_flapping_changes_nothing() {
    let flapping = |first: u16, second: u16| async move {
        let number = AtomicUsize::new(0);
        origin::answers(move |_| match number.fetch_add(1, Relaxed) % 2 {
            0 => Answer::status(first, ""),
            _ => Answer::status(second, ""),
        })
        .await
    };
    let (a, b) = (flapping(200, 500).await, flapping(500, 200).await);
    let lines = "health_check = { path = \"/health\", interval = \"100ms\", rise = 2, fall = 2";
    let up = before(&[&a, &b], &format!("{lines} }}")).await;
    is_probed(&a, 8).await;
    is_probed(&b, 8).await;
    for origin in [&a, &b] {
        assert_eq!(up.server(origin.address()).await["in_rotation"], true);
    }
    assert!(!up.log().contains("unhealthy"), "{}", up.log());
    drop(up);
    let down = before(&[&a, &b], &format!("{lines}, initial = \"down\" }}")).await;
    is_probed(&a, 8).await;
    assert_eq!(down.server(a.address()).await["in_rotation"], false);
    assert!(!down.log().contains("is healthy"), "{}", down.log());
}

#[tokio::test]
async fn a_new_server_may_have_to_pass_before_its_first_request() {
    let gate = Gate::closed();
    let held = gate.clone();
    let origin = origin::answers(move |request| match request.target.as_str() {
        "/health" => Answer::ok("well").when(&held),
        _ => Answer::ok("a"),
    })
    .await;
    let proxy = before(
        &[&origin],
        &checked(", initial = \"down\", timeout = \"1m\""),
    )
    .await;
    assert_eq!(proxy.get("/").await.status, 502);
    proxy.log_contains("no live upstreams").await;
    let why = &proxy.server(origin.address()).await["why"][0];
    assert_eq!(why["detail"], "it has not passed its health check yet");
    gate.open();
    is_in_rotation(&proxy, &origin, true).await;
    assert_eq!(proxy.get("/").await.text(), "a");
}

#[tokio::test]
async fn where_all_servers_fail_their_check_requests_are_a_502_at_once() {
    let ((a, a_status), (b, b_status)) = (ward("a").await, ward("b").await);
    let proxy = before(&[&a, &b], &checked("")).await;
    a_status.store(500, Relaxed);
    b_status.store(500, Relaxed);
    is_in_rotation(&proxy, &a, false).await;
    is_in_rotation(&proxy, &b, false).await;
    assert_eq!(answers(&proxy, 3).await, ["502"]);
    proxy.log_contains("no live upstreams").await;
    // What is told of one that is out is what was found last.
    a_status.store(418, Relaxed);
    eventually("the other reason", async || {
        let shown = proxy.server(a.address()).await;
        let detail = shown["why"][0]["detail"].as_str();
        detail.is_some_and(|detail| detail.contains("418"))
    })
    .await;
    b_status.store(200, Relaxed);
    is_in_rotation(&proxy, &b, true).await;
    assert_eq!(answers(&proxy, 3).await, ["b"]);
}

#[tokio::test]
async fn below_the_panic_threshold_all_servers_take_part_whatever_their_checks_say() {
    let ((a, a_status), (b, b_status), (c, _)) =
        (ward("a").await, ward("b").await, ward("c").await);
    let proxy = before(
        &[&a, &b, &c],
        &format!("panic_threshold = 50\n{}", checked("")),
    )
    .await;
    a_status.store(500, Relaxed);
    is_in_rotation(&proxy, &a, false).await;
    assert_eq!(
        answers(&proxy, 6).await,
        ["b", "c"],
        "two of three are well"
    );
    b_status.store(500, Relaxed);
    let begins = "1 of 3 servers are healthy, fewer than panic_threshold: health checks and ejections are ignored, \
                  upstream: \"backend\"";
    proxy.log_contains(begins).await;
    is_in_rotation(&proxy, &a, true).await;
    assert_eq!(answers(&proxy, 9).await, ["a", "b", "c"]);
    let shown = proxy.server(a.address()).await;
    assert_eq!(
        (&shown["why"][0]["reason"], &shown["why"][0]["ignored"]),
        (&"unhealthy".into(), &true.into())
    );
    assert!(shown["health"].as_u64() > Some(0), "{shown}");
    a_status.store(200, Relaxed);
    proxy
        .log_contains("2 of 3 servers are healthy: health checks and ejections count again")
        .await;
    assert_eq!(answers(&proxy, 6).await, ["a", "c"]);
    assert_eq!(
        proxy.log().matches("panic_threshold").count(),
        1,
        "{}",
        proxy.log()
    );
}

#[tokio::test]
async fn failures_of_requests_count_whatever_the_checks_say_and_the_other_way_around() {
    // Its checks go well, and its requests do not.
    let half = origin::answers(|request| match request.target.as_str() {
        "/health" => Answer::ok("well"),
        _ => Answer::raw("").then_close(),
    })
    .await;
    let (b, status) = ward("b").await;
    let servers = [
        half.with("max_fails = 1, fail_timeout = \"1h\""),
        b.with(""),
    ];
    let setup = proxy::to(servers).upstream(&format!("panic_threshold = 100\n{}", checked("")));
    let proxy = setup.more(ADMIN).start().await;
    assert_eq!(answers(&proxy, 4).await, ["b"]);
    is_in_rotation(&proxy, &half, false).await;
    let why = proxy.server(half.address()).await["why"][0].clone();
    assert_eq!(why["reason"], "failed");
    assert!(why["next_ms"].as_u64() > Some(3_000_000), "{why}");
    is_probed(&half, 3).await;
    assert_eq!(
        proxy.server(half.address()).await["in_rotation"],
        false,
        "a probe forgives nothing"
    );
    // Not even where checks are ignored does it take part.
    status.store(500, Relaxed);
    proxy.log_contains("1 of 2 servers are healthy").await;
    assert_eq!(answers(&proxy, 4).await, ["b"]);
}

#[tokio::test]
async fn a_last_resort_is_one_that_passes_its_check_if_there_is_one() {
    let fails = |name: &'static str| async move {
        let status = Arc::new(AtomicU16::new(200));
        let told = status.clone();
        let origin = origin::answers(move |request| match request.target.as_str() {
            "/health" => Answer::status(told.load(Relaxed), ""),
            "/fail" => Answer::raw("").then_close(),
            _ => Answer::ok(name),
        });
        (origin.await, status)
    };
    let ((a, a_status), (b, b_status)) = (fails("a").await, fails("b").await);
    let lines = "max_fails = 1, fail_timeout = \"1h\"";
    let upstream = format!("last_resort = true\n{}", checked(""));
    let setup = proxy::to([a.with(lines), b.with(lines)]).upstream(&upstream);
    let proxy = setup.server("workers = 1").more(ADMIN).start().await;
    a_status.store(500, Relaxed);
    is_in_rotation(&proxy, &a, false).await;
    // b fails out: it is asked all the same, as a is worse.
    assert_eq!(proxy.get("/fail").await.status, 502);
    assert_eq!(proxy.server(b.address()).await["in_rotation"], false);
    assert_eq!(proxy.get("/").await.text(), "b");
    b_status.store(500, Relaxed);
    is_in_rotation(&proxy, &b, false).await;
    // Where no one passes, one is asked nevertheless, and its answer changes no check.
    assert_eq!(proxy.get("/").await.status, 200);
    assert_eq!(proxy.server(a.address()).await["in_rotation"], false);
    assert_eq!(proxy.server(b.address()).await["in_rotation"], false);
}

#[tokio::test]
async fn backups_take_over_while_all_others_fail_their_checks() {
    let ((a, status), (backup, _)) = (ward("a").await, ward("backup").await);
    let servers = [a.with(""), backup.with("backup = true")];
    let setup = proxy::to(servers).upstream(&checked(""));
    let proxy = setup.more(ADMIN).start().await;
    assert_eq!(answers(&proxy, 3).await, ["a"]);
    status.store(500, Relaxed);
    is_in_rotation(&proxy, &a, false).await;
    assert_eq!(answers(&proxy, 3).await, ["backup"]);
    assert!(!probes(&backup).is_empty(), "it is probed as well");
}

#[tokio::test]
async fn a_server_that_is_back_starts_slowly_if_it_is_to() {
    let ((a, _), (b, status)) = (ward("a").await, ward("b").await);
    let servers = [a.with(""), b.with("slow_start = \"1h\"")];
    let setup = proxy::to(servers).upstream(&checked(""));
    let proxy = setup.more(ADMIN).start().await;
    assert_eq!(answers(&proxy, 6).await, ["a", "b"], "not at the start");
    status.store(500, Relaxed);
    is_in_rotation(&proxy, &b, false).await;
    assert_eq!(answers(&proxy, 2).await, ["a"]);
    status.store(200, Relaxed);
    is_in_rotation(&proxy, &b, true).await;
    let mut got = 0;
    for _ in 0..100 {
        got += usize::from(proxy.get("/").await.text() == "b");
    }
    assert!(got <= 3, "{got} of 100");
    let shown = proxy.server(b.address()).await;
    assert_eq!(shown["why"][0]["reason"], "starting", "{shown}");
}
