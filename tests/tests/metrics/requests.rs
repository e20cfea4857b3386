//! Requests by route, method and status; how long they took; what endpoints were asked for them.

use waypost_tests::admin::ADMIN;
use waypost_tests::{Answer, Origin, Proxy, origin, proxy};

/// A status that the path names, with a body of five bytes.
async fn statuses() -> Origin {
    origin::answers(|request| {
        let status = request.target.trim_start_matches('/').parse();
        Answer::status(status.unwrap_or(200), "12345")
    })
    .await
}

async fn with_routes(origin: &Origin, further: &str) -> Proxy {
    proxy::to([origin])
        .more(&format!(
            "[[route]]\npath = \"= /here\"\nreturn = {{ status = 204 }}\n\
             [[route]]\nhost = \"a.example\"\nname = \"named\"\nreturn = {{ status = 302, location = \"/\" }}\n\
             [[route]]\nhost = \"b.example\"\npath = \"~ ^/x\"\nreturn = {{ status = 200 }}\n{further}{ADMIN}"
        ))
        .start()
        .await
}

#[tokio::test]
async fn requests_count_by_route_method_and_status_once_they_have_ended() {
    let origin = statuses().await;
    let proxy = with_routes(&origin, "").await;
    let mut client = proxy.client().await;
    for (method, target, host, status) in [
        ("GET", "/200", "x", 200),
        ("GET", "/201", "x", 201),
        ("DELETE", "/404", "x", 404),
        ("BREW", "/503", "x", 503),
        ("GET", "/here", "x", 204),
        ("OPTIONS", "/y", "a.example", 302),
        ("PATCH", "/x", "b.example", 200),
        ("PUT", "/y", "b.example", 404),
    ] {
        let request = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        client.send(request).await;
        assert_eq!(client.response().await.status, status, "{target}");
    }
    assert_eq!(proxy.exchange("bad\r\n\r\n").await.status, 400);
    let all = |metrics: &waypost_tests::Metrics| metrics.sum("waypost_requests_total") == 9.0;
    let metrics = proxy.counts("nine requests", all).await;
    let expected = [
        (r#"{route="/",method="DELETE",code="4xx"}"#, 1.0),
        (r#"{route="/",method="GET",code="2xx"}"#, 2.0),
        (r#"{route="/",method="other",code="5xx"}"#, 1.0),
        (r#"{route="= /here",method="GET",code="2xx"}"#, 1.0),
        (
            r#"{route="b.example ~ ^/x",method="PATCH",code="2xx"}"#,
            1.0,
        ),
        (r#"{route="named",method="OPTIONS",code="3xx"}"#, 1.0),
        (r#"{route="none",method="PUT",code="4xx"}"#, 1.0),
        (r#"{route="none",method="other",code="4xx"}"#, 1.0),
    ];
    let told = metrics.all("waypost_requests_total");
    let expected =
        expected.map(|(labels, count)| (format!("waypost_requests_total{labels}"), count));
    let told: Vec<_> = told
        .into_iter()
        .map(|(sample, count)| (sample.to_owned(), count))
        .collect();
    assert_eq!(told, expected);
    let buckets = |route: &str| {
        let labels = format!("{{route=\"{route}\",le=\"+Inf\"}}");
        metrics.value(&format!("waypost_request_duration_seconds_bucket{labels}"))
    };
    assert_eq!(["/", "named", "none"].map(buckets), [4.0, 1.0, 2.0]);
    assert_eq!(metrics.value("waypost_connections_accepted_total"), 2.0);
}

#[tokio::test]
async fn what_endpoints_were_asked_counts_by_endpoint_and_status_with_the_bytes() {
    let origin = statuses().await;
    let proxy = with_routes(&origin, "").await;
    let mut client = proxy.client().await;
    let body = "POST /200 HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
    client.send(body).await;
    assert_eq!(client.response().await.status, 200);
    assert_eq!(client.get("/500").await.status, 500);
    assert_eq!(client.get("/here").await.status, 204);
    let both = r#"waypost_requests_total{route="= /here",method="GET",code="2xx"}"#;
    let metrics = proxy
        .counts("all", |metrics| metrics.value(both) == 1.0)
        .await;
    let of = |name: &str, labels: &str| metrics.value(&format!("waypost_{name}{{{labels}}}"));
    let endpoint = format!(r#"upstream="backend",endpoint="{}""#, origin.address());
    for code in ["2xx", "5xx"] {
        let labels = format!(r#"{endpoint},code="{code}""#);
        assert_eq!(of("upstream_requests_total", &labels), 1.0, "{code}");
    }
    assert_eq!(metrics.sum("waypost_upstream_requests_total"), 2.0);
    let upstream = r#"upstream="backend""#;
    assert_eq!(of("upstream_header_duration_seconds_count", upstream), 2.0);
    let request = origin.requests()[0].raw_head.len() + 3;
    let other = origin.requests()[1].raw_head.len();
    assert_eq!(
        of("upstream_sent_bytes_total", upstream),
        (request + other) as f64
    );
    assert!(of("upstream_received_bytes_total", upstream) > 10.0);
    assert_eq!(of("request_body_bytes_total", r#"route="/""#), 3.0);
    let sent = of("response_bytes_total", r#"route="/""#);
    assert!(sent > 10.0 && sent < 1000.0, "{sent}");
}
