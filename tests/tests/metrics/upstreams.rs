//! What fails at upstreams, what is tried again, what waits and what is refused.

use waypost_tests::admin::ADMIN;
use waypost_tests::{Answer, Client, Gate, Metrics, Origin, Proxy, origin, proxy};

/// A figure of an endpoint of the upstream `backend`.
fn of(metrics: &Metrics, name: &str, origin: &Origin, more: &str) -> f64 {
    let address = origin.address();
    metrics.value(&format!(
        r#"waypost_{name}{{upstream="backend",endpoint="{address}"{more}}}"#
    ))
}

/// Waits until so many requests have ended.
async fn ended(proxy: &Proxy, requests: f64) -> Metrics {
    let what = format!("{requests} requests to have ended");
    let sum = |metrics: &Metrics| metrics.sum("waypost_requests_total");
    proxy
        .counts(&what, |metrics| sum(metrics) == requests)
        .await
}

#[tokio::test]
async fn failures_and_retries_are_told_with_their_reasons() {
    let refuses = origin::refuses();
    let errs = origin::answers(|_| Answer::status(503, "")).await;
    let well = origin::says("hello").await;
    let once = |origin: &Origin| origin.with("fail_timeout = \"1h\"");
    let proxy = proxy::to([once(&refuses), once(&errs), well.with("backup = true")])
        .route("next_upstream = [\"error\", \"http_503\"]")
        .more(ADMIN)
        .start()
        .await;
    assert_eq!(proxy.get("/").await.text(), "hello");
    let metrics = ended(&proxy, 1.0).await;
    let failed = |origin, reason: &str| {
        let reason = format!(r#",reason="{reason}""#);
        of(&metrics, "upstream_failures_total", origin, &reason)
    };
    assert_eq!(failed(&refuses, "connect"), 1.0);
    assert_eq!(failed(&errs, "status"), 1.0);
    assert_eq!(metrics.sum("waypost_upstream_failures_total"), 2.0);
    let attempts = |origin, code: &str| {
        let code = format!(r#",code="{code}""#);
        of(&metrics, "upstream_requests_total", origin, &code)
    };
    assert_eq!(attempts(&refuses, "none"), 1.0);
    assert_eq!(attempts(&errs, "5xx"), 1.0);
    assert_eq!(attempts(&well, "2xx"), 1.0);
    for reason in ["connect", "status"] {
        let retried =
            format!(r#"waypost_upstream_retries_total{{upstream="backend",reason="{reason}"}}"#);
        assert_eq!(metrics.value(&retried), 1.0, "{reason}");
    }
    for (origin, reason) in [(&refuses, "connect"), (&errs, "status")] {
        let reason = format!(r#",reason="{reason}""#);
        assert_eq!(of(&metrics, "endpoint_retries_total", origin, &reason), 1.0);
    }
    assert_eq!(metrics.sum("waypost_endpoint_retries_total"), 2.0);
    for origin in [&refuses, &errs] {
        assert_eq!(of(&metrics, "endpoint_in_rotation", origin, ""), 0.0);
        let why = r#",reason="failed""#;
        assert_eq!(of(&metrics, "endpoint_out", origin, why), 1.0);
    }
    assert_eq!(of(&metrics, "endpoint_in_rotation", &well, ""), 1.0);
    assert_eq!(of(&metrics, "endpoint_health_ratio", &well, ""), 1.0);
    assert!(of(&metrics, "endpoint_health_ratio", &errs, "") < 1.0);
    let endpoints = |state: &str| {
        metrics.value(&format!(
            r#"waypost_upstream_endpoints{{upstream="backend",state="{state}"}}"#
        ))
    };
    assert_eq!((endpoints("in_rotation"), endpoints("out")), (1.0, 2.0));
}

#[tokio::test]
async fn faults_are_told_by_kind_and_what_the_configuration_wants_is_none() {
    let (refuses, hangs) = (
        origin::refuses(),
        origin::answers(|_| Answer::raw("")).await,
    );
    let slow = format!(
        "[[route]]\npath = \"/slow\"\nproxy = \"http://{}\"\nread_timeout = \"10ms\"\n",
        hangs.address()
    );
    let proxy = proxy::to([&refuses])
        .more(&format!(
            "{slow}[[route]]\npath = \"/gone\"\nreturn = {{ status = 410 }}\n\
             [[route]]\nhost = \"b.example\"\npath = \"/b\"\nreturn = {{ status = 200 }}\n{ADMIN}"
        ))
        .start()
        .await;
    assert_eq!(proxy.get("/").await.status, 502);
    assert_eq!(proxy.get("/slow").await.status, 504);
    assert_eq!(proxy.get("/gone").await.status, 410);
    assert_eq!(proxy.exchange("bad\r\n\r\n").await.status, 400);
    let elsewhere = "GET / HTTP/1.1\r\nHost: b.example\r\nConnection: close\r\n\r\n";
    assert_eq!(proxy.exchange(elsewhere).await.status, 404);
    let metrics = ended(&proxy, 5.0).await;
    let told = metrics.all("waypost_faults_total");
    let kinds = [
        "bad_request",
        "no_route",
        "upstream_connect",
        "upstream_timeout",
    ];
    let expected = kinds.map(|kind| (format!("waypost_faults_total{{kind=\"{kind}\"}}"), 1.0));
    let told: Vec<_> = told
        .iter()
        .map(|(sample, count)| ((*sample).to_owned(), *count))
        .collect();
    assert_eq!(told, expected);
}

#[tokio::test]
async fn requests_that_wait_and_those_that_are_refused_are_told() {
    let gate = Gate::closed();
    let origin = origin::holds(&gate).await;
    let proxy = proxy::to([origin.with("max_conns = 1")])
        .upstream("queue = { size = 1, timeout = \"1h\" }")
        .more(ADMIN)
        .start()
        .await;
    let mut clients = Vec::new();
    for number in 0..2 {
        let mut client = Client::connect(proxy.address()).await;
        client.send("GET /held HTTP/1.1\r\nHost: a\r\n\r\n").await;
        origin.received(1).await;
        let waiting = |metrics: &Metrics| {
            metrics.value(r#"waypost_upstream_queue_requests{upstream="backend"}"#)
        };
        proxy
            .counts("it waits", |metrics| waiting(metrics) == f64::from(number))
            .await;
        clients.push(client);
    }
    assert_eq!(proxy.get("/").await.status, 502);
    let full = r#"waypost_upstream_rejected_total{upstream="backend",limit="queue_full"}"#;
    let metrics = proxy.metrics().await;
    assert_eq!(metrics.value(full), 1.0);
    assert_eq!(
        of(&metrics, "endpoint_out", &origin, r#",reason="full""#),
        1.0
    );
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response().await.text(), "held");
    }
    let metrics = ended(&proxy, 3.0).await;
    assert_eq!(metrics.sum("waypost_upstream_queue_requests"), 0.0);
    // Under another configuration of the upstream, too.
    proxy.edit("size = 1", "size = 2");
    proxy.reload().await;
    assert_eq!(proxy.metrics().await.value(full), 1.0);
}

#[tokio::test]
async fn connections_are_told_as_new_or_reused() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin])
        .server("workers = 1")
        .more(ADMIN)
        .start()
        .await;
    let mut client = proxy.client().await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.text(), "hello");
    }
    let metrics = ended(&proxy, 3.0).await;
    let used = |kind: &str| {
        metrics.value(&format!(
            r#"waypost_upstream_connections_used_total{{upstream="backend",kind="{kind}"}}"#
        ))
    };
    assert_eq!((used("new"), used("reused")), (1.0, 2.0));
    let open = r#"waypost_upstream_connections{upstream="backend"}"#;
    let idle = r#"waypost_upstream_idle_connections{upstream="backend"}"#;
    assert_eq!((metrics.value(open), metrics.value(idle)), (1.0, 1.0));
    // Another configuration of the upstream has it, and one without the server has not.
    proxy.edit("[[route]]", "[[route]]\nread_timeout = \"9s\"");
    proxy.edit(
        "[upstream.backend]",
        "[upstream.backend]\nkeepalive_requests = 7",
    );
    proxy.reload().await;
    assert_eq!(proxy.metrics().await.value(idle), 1.0);
    let other = origin::says("other").await;
    proxy.edit(origin.address(), other.address());
    proxy.reload().await;
    assert_eq!(proxy.metrics().await.value(idle), 0.0);
    // And an upstream that is gone has none.
    assert_eq!(client.get("/").await.text(), "other");
    let is_kept = |metrics: &Metrics| metrics.value(idle) == 1.0;
    proxy.counts("it is kept", is_kept).await;
    proxy.edit("backend", "renamed");
    proxy.reload().await;
    let is_gone = |metrics: &Metrics| metrics.value(idle) == 0.0;
    proxy.counts("it is gone", is_gone).await;
}
