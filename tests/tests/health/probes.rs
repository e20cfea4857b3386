//! What a server is asked, and what counts as well.

use std::time::Duration;

use waypost_tests::{Answer, Wire, origin, proxy};

use super::*;

#[tokio::test]
async fn a_probe_asks_what_the_configuration_says_on_a_connection_that_is_kept() {
    let (origin, _) = ward("a").await;
    let check =
        ", headers = { X-Check = \"yes\", User-Agent = \"probe/1\" }, host = \"app.example\"";
    let proxy = before(&[&origin], &checked(check)).await;
    is_probed(&origin, 3).await;
    let requests = probes(&origin);
    let first = &requests[0];
    assert_eq!(
        String::from_utf8_lossy(&first.raw_head),
        "GET /health HTTP/1.1\r\nHost: app.example\r\nX-Check: yes\r\nUser-Agent: probe/1\r\n\r\n"
    );
    assert!(
        requests
            .iter()
            .all(|probe| probe.raw_head == first.raw_head)
    );
    assert_eq!(origin.connections(), 1, "whatever the number of workers");
    let shown = comes_to(&proxy, origin.address(), "status 200").await;
    assert_eq!(shown["check"]["passed"], true);
    assert_eq!(
        (&shown["health"], &shown["why"]),
        (&100.into(), &serde_json::json!([]))
    );
}

#[tokio::test]
async fn a_probe_names_the_server_and_itself_where_nothing_is_said() {
    let (origin, _) = ward("a").await;
    let _proxy = before(&[&origin], &checked("")).await;
    is_probed(&origin, 1).await;
    let expected = format!(
        "GET /health HTTP/1.1\r\nHost: {}\r\nUser-Agent: waypost (health check)\r\n\r\n",
        origin.address()
    );
    assert_eq!(
        String::from_utf8_lossy(&probes(&origin)[0].raw_head),
        expected
    );
}

#[tokio::test]
async fn a_server_may_close_its_connection_behind_each_answer() {
    let announces =
        origin::answers(|_| Answer::ok("").header("Connection", "close").then_close()).await;
    let is_silent = origin::answers(|_| Answer::ok("").then_close()).await;
    let ends = origin::answers(|_| Answer::raw("HTTP/1.1 200 OK\r\n\r\nbody").then_close()).await;
    let is_old =
        origin::answers(|_| Answer::raw("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")).await;
    let servers = [&announces, &is_silent, &ends, &is_old];
    let proxy = before(&servers, &checked("")).await;
    for origin in servers {
        is_probed(origin, 5).await;
        let shown = proxy.server(origin.address()).await;
        assert_eq!(shown["in_rotation"], true, "{shown}");
    }
    let log = proxy.log();
    assert!(!log.contains("unhealthy"), "{log}");
}

/// It may close a connection at the moment in which another probe is on its way.
#[tokio::test]
async fn a_connection_that_ends_under_a_probe_has_it_sent_again_on_another_one() {
    let origin = origin::speaks(|mut wire, _| async move {
        if wire.head().await.is_ok() {
            drop(
                wire.try_send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                    .await,
            );
            drop(wire.head().await);
        }
    })
    .await;
    let proxy = before(&[&origin], &checked("")).await;
    eventually("several connections", async || origin.connections() >= 5).await;
    assert!(!proxy.log().contains("unhealthy"), "{}", proxy.log());
}

#[tokio::test]
async fn a_head_request_has_no_body_to_wait_for() {
    let origin = origin::answers(|request| match &*request.method {
        "HEAD" => Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n"),
        _ => Answer::status(500, ""),
    })
    .await;
    let proxy = before(&[&origin], &checked(", method = \"HEAD\"")).await;
    is_probed(&origin, 3).await;
    comes_to(&proxy, origin.address(), "status 200").await;
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn expected_are_these_codes_and_no_others() {
    let (origin, status) = ward("a").await;
    let check = ", expect_status = [\"2xx\", \"301\", \"500-502\"]";
    let proxy = before(&[&origin], &checked(check)).await;
    for (code, is_well) in [
        (204, true),
        (302, false),
        (301, true),
        (503, false),
        (502, true),
        (404, false),
        (299, true),
        (300, false),
    ] {
        status.store(code, Relaxed);
        let outcome = match is_well {
            true => format!("status {code}"),
            false => format!("unexpected status {code}"),
        };
        let shown = comes_to(&proxy, origin.address(), &outcome).await;
        assert_eq!(shown["check"]["passed"], is_well, "{shown}");
        is_in_rotation(&proxy, &origin, is_well).await;
    }
}

#[tokio::test]
async fn a_body_has_to_match_within_its_first_64_kib() {
    let body = |text: &str, at: usize| format!("{}{text}", " ".repeat(at)).into_bytes();
    let early = body("\"ok\": true", 100);
    let late = body("\"ok\": true", 64 << 10);
    let wrong = body("\"ok\": false", 100);
    let says = |body: Vec<u8>| origin::answers(move |_| Answer::ok(&body));
    let (early, late, wrong) = (says(early).await, says(late).await, says(wrong).await);
    let check = ", expect_body = '\"ok\":\\s*true'";
    let proxy = before(&[&early, &late, &wrong], &checked(check)).await;
    comes_to(&proxy, early.address(), "status 200").await;
    for ill in [&late, &wrong] {
        comes_to(
            &proxy,
            ill.address(),
            "the body does not match `expect_body`",
        )
        .await;
        is_in_rotation(&proxy, ill, false).await;
    }
}

/// An origin that does this with each connection, once it has read a request.
async fn does<F: Future<Output = ()> + Send + 'static>(
    act: impl Fn(Wire) -> F + Send + Sync + Clone + 'static,
) -> Origin {
    origin::speaks(move |mut wire, _| {
        let act = act.clone();
        async move {
            if wire.head().await.is_ok() {
                act(wire).await;
            }
        }
    })
    .await
}

/// Sends these bytes again and again, until nobody is there to take them.
async fn repeats(mut wire: Wire, first: &str, again: &str, pause: Duration) {
    let mut sent = wire.try_send(first).await;
    while sent.is_ok() {
        tokio::time::sleep(pause).await;
        sent = wire.try_send(again).await;
    }
}

#[tokio::test]
async fn whatever_a_server_does_with_a_probe_it_ends_in_time_and_the_list_tells_why() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\n";
    let slowly = Duration::from_millis(20);
    let hangs = does(async |mut wire| drop(wire.rest().await)).await;
    let drips = does(move |wire| repeats(wire, "", "H", slowly)).await;
    let drips_fields = does(move |wire| repeats(wire, HEAD, "A: b\r\n", slowly)).await;
    let drips_body = does(move |wire| {
        repeats(
            wire,
            "HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n",
            "x",
            slowly,
        )
    })
    .await;
    let no_end_of_head = does(|wire| async {
        repeats(wire, HEAD, &"A: b\r\n".repeat(1000), Duration::ZERO).await;
    })
    .await;
    let interim = does(|wire| async {
        let many = "HTTP/1.1 102 Wait\r\n\r\n".repeat(100);
        repeats(wire, "", &many, Duration::ZERO).await;
    })
    .await;
    let closes = does(async |wire| drop(wire)).await;
    let resets = does(async |wire| wire.reset()).await;
    let garbage = does(|wire| repeats(wire, "", "\0\x01garbage\n", Duration::ZERO)).await;
    let both = does(|wire| {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
        repeats(wire, head, "x", Duration::from_millis(1))
    })
    .await;
    let bad_chunk = does(|wire| {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n";
        repeats(wire, head, "x", Duration::from_millis(1))
    })
    .await;
    let switches = does(|wire| {
        repeats(
            wire,
            "HTTP/1.1 101 Switching\r\n\r\n",
            "x",
            Duration::from_millis(1),
        )
    })
    .await;
    let refuses = origin::refuses();
    let hangs_at_connect = origin::hangs_at_connect();
    let expected = [
        (&hangs, "no complete answer within 2s"),
        (&drips, "no complete answer within 2s"),
        (&drips_fields, "no complete answer within 2s"),
        (&drips_body, "no complete answer within 2s"),
        (&no_end_of_head, "upstream sent too big header"),
        (&interim, "upstream sent too many interim responses"),
        (&closes, "upstream prematurely closed connection"),
        (&resets, "recv() failed (104: Connection reset by peer)"),
        (&garbage, "upstream sent invalid header"),
        (&both, "upstream sent "),
        (&bad_chunk, "upstream sent invalid chunked response"),
        (
            &switches,
            "upstream switched protocols without being asked to",
        ),
        (&refuses, "connect() failed (111: Connection refused)"),
        (
            &hangs_at_connect,
            "upstream timed out (110: Connection timed out) while connecting",
        ),
    ];
    let servers: Vec<&Origin> = expected.iter().map(|(origin, _)| *origin).collect();
    let proxy = before(&servers, &checked(", timeout = \"2s\"")).await;
    for (origin, outcome) in expected {
        let shown = comes_to(&proxy, origin.address(), outcome).await;
        assert_eq!(shown["check"]["passed"], false);
        is_in_rotation(&proxy, origin, false).await;
        let name = origin.address();
        let told = |line: &str| {
            line.contains("upstream server is unhealthy: ")
                && line.contains(outcome)
                && line.contains(&format!("upstream: \"backend\", server: \"{name}\""))
        };
        eventually("the log to tell", async || proxy.log().lines().any(told)).await;
    }
    let log = proxy.log();
    assert_eq!(
        log.matches("is unhealthy").count(),
        expected.len(),
        "each once: {log}"
    );
    assert!(log.lines().all(|line| line.len() < 600), "{log}");
}

#[tokio::test]
async fn a_body_without_end_is_read_for_64_kib_and_costs_its_connection_alone() {
    let endless = does(|wire| {
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunk = "400\r\n".to_owned() + &"x".repeat(1024) + "\r\n";
        async move { repeats(wire, head, &chunk, Duration::ZERO).await }
    })
    .await;
    let proxy = before(&[&endless], &checked("")).await;
    comes_to(&proxy, endless.address(), "status 200").await;
    eventually("another connection", async || endless.connections() >= 3).await;
    assert_eq!(proxy.server(endless.address()).await["in_rotation"], true);
}

#[tokio::test]
async fn probes_may_go_to_a_port_of_their_own() {
    let (origin, status) = ward("a").await;
    let serves = origin::says("serves").await;
    let port = origin.address().rsplit(':').next().unwrap();
    let proxy = before(&[&serves], &checked(&format!(", port = {port}"))).await;
    is_probed(&origin, 2).await;
    assert_eq!(serves.requests().len(), 0);
    assert_eq!(proxy.get("/").await.text(), "serves");
    status.store(500, Relaxed);
    is_in_rotation(&proxy, &serves, false).await;
}

#[tokio::test]
async fn a_probe_speaks_for_no_client_in_a_proxy_header() {
    let origin = origin::speaks(|mut wire, _| async move {
        let header = wire.until(b"\r\n").await.unwrap_or_default();
        if wire.head().await.is_ok() {
            let status = if header == b"PROXY UNKNOWN\r\n" {
                200
            } else {
                400
            };
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
            drop(wire.try_send(answer).await);
            drop(wire.rest().await);
        }
    })
    .await;
    let upstream = format!("proxy_protocol = \"v1\"\n{}", checked(""));
    let proxy = before(&[&origin], &upstream).await;
    comes_to(&proxy, origin.address(), "status 200").await;
    eventually("a connection for each probe", async || {
        origin.connections() >= 3
    })
    .await;
    assert!(!proxy.log().contains("unhealthy"), "{}", proxy.log());
}

#[tokio::test]
async fn a_server_on_a_unix_socket_is_asked_there() {
    let directory = tempfile::tempdir().unwrap();
    let origin = origin::says_on(&directory.path().join("app.sock"), "a");
    let proxy = before(&[&origin], &checked("")).await;
    is_probed(&origin, 2).await;
    assert_eq!(probes(&origin)[0].header("Host"), "localhost");
    comes_to(&proxy, origin.address(), "status 200").await;
}

#[tokio::test]
async fn what_is_no_check_is_not_probed() {
    let (origin, _) = ward("a").await;
    let proxy = proxy::to([&origin]).more(ADMIN).start().await;
    for _ in 0..3 {
        assert_eq!(proxy.get("/").await.text(), "a");
    }
    assert_eq!(proxy.server(origin.address()).await["check"], Value::Null);
    assert_eq!(origin.requests().len(), 3);
}
