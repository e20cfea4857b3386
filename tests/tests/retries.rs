//! When another server is asked: nginx's `proxy_next_upstream`.

use std::time::{Duration, Instant};

use waypost_tests::{Answer, Origin, Proxy, origin, proxy};

/// Answers everything with this status.
async fn status(status: u16) -> Origin {
    origin::answers(move |_| Answer::status(status, status.to_string())).await
}

async fn good() -> Origin {
    origin::says("good").await
}

/// What a GET gets from a server that behaves like this, with a good one beside it.
async fn asked(answer: Answer, next: &str) -> (u16, String) {
    let bad = origin::answers(move |_| answer.clone()).await;
    let good = good().await;
    let lines = format!("next_upstream = {next}\nread_timeout = \"1s\"");
    let proxy = proxy::to([&bad, &good]).upstream(&lines).start().await;
    let response = proxy.get("/").await;
    assert_eq!(bad.requests().len(), 1);
    (response.status, response.text())
}

async fn moves_on(answer: Answer, next: &str) {
    assert_eq!(
        asked(answer, next).await,
        (200, "good".to_owned()),
        "{next}"
    );
}

async fn stays(answer: Answer, next: &str, status: u16) {
    assert_eq!(asked(answer, next).await.0, status, "{next}");
}

#[tokio::test]
async fn by_default_errors_and_timeouts_move_on() {
    let (refuses, good) = (origin::refuses(), good().await);
    let closes = origin::answers(|_| Answer::raw("").then_close()).await;
    let hangs = origin::answers(|_| Answer::raw("").then_hang()).await;
    let proxy = proxy::to([&refuses, &closes, &hangs, &good])
        .upstream("read_timeout = \"1s\"")
        .start()
        .await;
    assert_eq!(proxy.get("/").await.text(), "good");
    assert_eq!((closes.requests().len(), hangs.requests().len()), (1, 1));
}

#[tokio::test]
async fn by_default_statuses_and_invalid_headers_do_not_move_on() {
    let default = "[\"error\", \"timeout\"]";
    stays(Answer::status(503, "busy"), default, 503).await;
    stays(Answer::status(500, ""), default, 500).await;
    stays(Answer::status(404, ""), default, 404).await;
    stays(Answer::raw("garbage\r\n\r\n").then_close(), default, 502).await;
}

#[tokio::test]
async fn each_condition_moves_on() {
    for status in [403, 404, 429, 500, 502, 503, 504] {
        moves_on(
            Answer::status(status, "no"),
            &format!("[\"http_{status}\"]"),
        )
        .await;
    }
    moves_on(
        Answer::raw("garbage\r\n\r\n").then_close(),
        "[\"invalid_header\"]",
    )
    .await;
    moves_on(Answer::raw("").then_close(), "[\"error\"]").await;
    moves_on(Answer::raw("").then_hang(), "[\"timeout\"]").await;
}

#[tokio::test]
async fn a_condition_that_is_not_listed_does_not_move_on() {
    stays(Answer::raw("").then_close(), "[\"timeout\"]", 502).await;
    stays(Answer::raw("").then_hang(), "[\"error\"]", 504).await;
    stays(Answer::status(503, ""), "[\"http_502\"]", 503).await;
}

#[tokio::test]
async fn off_never_moves_on() {
    stays(Answer::raw("").then_close(), "\"off\"", 502).await;
}

#[tokio::test]
async fn the_last_server_s_own_error_is_passed_on() {
    let (a, b) = (status(503).await, status(500).await);
    let proxy = proxy::to([&a, &b])
        .upstream("next_upstream = [\"http_503\", \"http_500\"]")
        .start()
        .await;
    let response = proxy.get("/").await;
    assert_eq!((response.status, response.text().as_str()), (500, "500"));
    assert_eq!((a.requests().len(), b.requests().len()), (1, 1));
}

#[tokio::test]
async fn tries_bound_the_attempts_with_the_first_included() {
    let origins = [
        status(503).await,
        status(503).await,
        status(503).await,
        status(503).await,
    ];
    let lines = "next_upstream = [\"http_503\"]\nnext_upstream_tries = 3";
    let proxy = proxy::to(&origins).upstream(lines).start().await;
    assert_eq!(proxy.get("/").await.status, 503);
    assert_eq!(
        origins
            .iter()
            .map(|origin| origin.requests().len())
            .sum::<usize>(),
        3
    );
}

#[tokio::test]
async fn no_new_attempt_starts_after_the_timeout() {
    let closes = origin::answers(|_| Answer::raw("").then_close()).await;
    let slow = || origin::answers(|_| Answer::raw("").then_hang());
    let origins = [closes, slow().await, slow().await, slow().await];
    let lines = "read_timeout = \"1s\"\nnext_upstream_timeout = \"900ms\"";
    let proxy = proxy::to(&origins).upstream(lines).start().await;
    let started = Instant::now();
    assert_eq!(proxy.get("/").await.status, 504);
    // The second starts at once and may run on; a third would start after a second.
    assert_eq!(
        origins
            .iter()
            .map(|origin| origin.requests().len())
            .sum::<usize>(),
        2
    );
    assert!(
        started.elapsed() >= Duration::from_millis(900),
        "{:?}",
        started.elapsed()
    );
}

/// A POST, PUT... with a small body.
async fn send(proxy: &Proxy, method: &str) -> u16 {
    let request = format!(
        "{method} / HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Length: 4\r\n\r\nbody"
    );
    proxy.exchange(request).await.status
}

#[tokio::test]
async fn what_may_have_had_an_effect_is_not_repeated() {
    for (method, expected) in [
        ("POST", 502),
        ("PATCH", 502),
        ("LOCK", 502),
        ("PUT", 200),
        ("DELETE", 200),
    ] {
        let (bad, good) = (
            origin::answers(|_| Answer::raw("").then_close()).await,
            good().await,
        );
        let proxy = proxy::to([&bad, &good]).start().await;
        assert_eq!(send(&proxy, method).await, expected, "{method}");
        assert_eq!(
            good.requests().len(),
            usize::from(expected == 200),
            "{method}"
        );
    }
}

#[tokio::test]
async fn non_idempotent_allows_to_repeat_it() {
    let (bad, good) = (
        origin::answers(|_| Answer::raw("").then_close()).await,
        good().await,
    );
    let lines = "next_upstream = [\"error\", \"non_idempotent\"]";
    let proxy = proxy::to([&bad, &good]).upstream(lines).start().await;
    assert_eq!(send(&proxy, "POST").await, 200);
    assert_eq!(good.request().body, b"body");
}

#[tokio::test]
async fn what_was_never_sent_is_repeated_whatever_it_is() {
    let (bad, good) = (origin::refuses(), good().await);
    let proxy = proxy::to([&bad, &good]).start().await;
    assert_eq!(send(&proxy, "POST").await, 200);
    assert_eq!(good.request().body, b"body");
}

#[tokio::test]
async fn a_kept_body_is_sent_again_whole() {
    let bad = origin::answers(|_| Answer::status(503, "")).await;
    let good = origin::answers(|request| Answer::ok(&request.body)).await;
    let proxy = proxy::to([&bad, &good])
        .upstream("next_upstream = [\"http_503\"]")
        .start()
        .await;
    let body = "x".repeat(10_000);
    let request = format!(
        "PUT / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    assert_eq!(proxy.exchange(request).await.text(), body);
    assert_eq!(bad.request().body, body.as_bytes());
}

#[tokio::test]
async fn a_body_too_large_to_keep_is_not_sent_twice() {
    let bad = origin::answers(|_| Answer::status(503, "busy")).await;
    let good = good().await;
    let lines = "next_upstream = [\"http_503\"]\nbody_buffer_size = \"1k\"";
    let proxy = proxy::to([&bad, &good]).upstream(lines).start().await;
    let body = "x".repeat(100_000);
    let request = format!(
        "PUT / HTTP/1.1\r\nHost: t\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let response = proxy.exchange(request).await;
    assert_eq!((response.status, response.text().as_str()), (503, "busy"));
    assert!(good.requests().is_empty());
}

#[tokio::test]
async fn nothing_moves_on_once_the_client_has_a_header() {
    let half = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf";
    let (bad, good) = (
        origin::answers(move |_| Answer::raw(half).then_close()).await,
        good().await,
    );
    let proxy = proxy::to([&bad, &good]).start().await;
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
    assert!(!client.cut_response().await.complete);
    assert!(good.requests().is_empty());
}

#[tokio::test]
async fn all_servers_failing_gives_the_status_of_the_last_failure() {
    let (refuses, hangs) = (
        origin::refuses(),
        origin::answers(|_| Answer::raw("").then_hang()).await,
    );
    let proxy = proxy::to([&refuses, &hangs])
        .upstream("read_timeout = \"1s\"")
        .start()
        .await;
    assert_eq!(proxy.get("/").await.status, 504);
    let proxy = proxy::to([&hangs, &refuses])
        .upstream("read_timeout = \"1s\"")
        .start()
        .await;
    assert_eq!(proxy.get("/").await.status, 502);
}

#[tokio::test]
async fn no_live_upstreams_gives_502_and_says_so() {
    let (a, b) = (origin::refuses(), origin::refuses());
    let proxy = proxy::to([&a, &b]).start().await;
    assert_eq!(proxy.get("/").await.status, 502);
    proxy
        .log_contains("upstream server temporarily disabled")
        .await;
    assert_eq!(proxy.get("/").await.status, 502);
    proxy
        .log_contains("no live upstreams while connecting to upstream")
        .await;
}

#[tokio::test]
async fn a_failing_server_is_disabled_and_comes_back() {
    let address = origin::reserved();
    let other = origin::says("other").await;
    let servers = [
        format!("{{ address = \"{address}\", fail_timeout = \"2s\" }}"),
        other.with(""),
    ];
    let proxy = proxy::to(servers).start().await;
    for _ in 0..4 {
        assert_eq!(proxy.get("/").await.text(), "other");
    }
    let back = origin::answers_at(&address, |_| Answer::ok("back")).await;
    waypost_tests::eventually("the server to be asked again", async || {
        proxy.get("/").await.text() == "back"
    })
    .await;
    assert_eq!(proxy.log().matches("temporarily disabled").count(), 1);
    assert_eq!(back.requests().len(), 1);
}

#[tokio::test]
async fn backups_serve_when_no_primary_can() {
    let (bad, backup) = (origin::refuses(), origin::says("backup").await);
    let proxy = proxy::to([bad.with(""), backup.with("backup = true")])
        .start()
        .await;
    assert_eq!(proxy.get("/").await.text(), "backup");
    assert_eq!(proxy.get("/").await.text(), "backup");
}

#[tokio::test]
async fn backups_rest_while_a_primary_serves() {
    let (good, backup) = (good().await, origin::says("backup").await);
    let proxy = proxy::to([good.with(""), backup.with("backup = true")])
        .start()
        .await;
    for _ in 0..6 {
        assert_eq!(proxy.get("/").await.text(), "good");
    }
}

#[tokio::test]
async fn a_server_at_max_conns_is_passed_over() {
    let gate = waypost_tests::Gate::closed();
    let held = gate.clone();
    let small = origin::answers(move |_| Answer::ok("small").when(&held)).await;
    let large = origin::says("large").await;
    let proxy = proxy::to([small.with("max_conns = 1"), large.with("")])
        .start()
        .await;
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
    small.received(1).await;
    for _ in 0..4 {
        assert_eq!(proxy.get("/").await.text(), "large");
    }
    gate.open();
    assert_eq!(client.response().await.text(), "small");
}

/// nginx refuses `backup` with some of its methods; here backups are a group of their own, which
/// any policy balances.
#[tokio::test]
async fn backups_serve_behind_any_policy() {
    for policy in [
        "\"round_robin\"",
        "\"ip_hash\"",
        "\"random\"",
        "{ plugin = \"hash\", key = \"$uri\" }",
    ] {
        let (gone, backup) = (origin::refuses(), origin::says("backup").await);
        let servers = [gone.with(""), backup.with("backup = true")];
        let setup = proxy::to(servers).upstream(&format!("policy = {policy}"));
        let proxy = setup.start().await;
        assert_eq!(proxy.get("/").await.text(), "backup", "{policy}");
    }
}
