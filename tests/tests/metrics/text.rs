//! The text, as scrapers ask for it and as Prometheus' own parsers read it.

use waypost_tests::admin::ADMIN;
use waypost_tests::{Metrics, origin, peers, proxy};

const OPEN_METRICS: &str = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5";

#[tokio::test]
async fn both_texts_are_what_the_parsers_of_prometheus_read() {
    let Some(python) = peers::python(&["prometheus_client"]) else {
        return;
    };
    let origin = origin::says("hello").await;
    let strange = "[[route]]\npath = '~ ^/\"quoted\"\\.html$'\nreturn = { status = 200 }\n";
    let proxy = proxy::to([&origin])
        .more(&format!("{strange}{ADMIN}"))
        .start()
        .await;
    assert_eq!(proxy.get("/").await.status, 200);
    assert_eq!(proxy.get("/%22quoted%22.html").await.status, 200);
    for (accept, format, content_type) in [
        ("", "prometheus", "text/plain; version=0.0.4; charset=utf-8"),
        (
            OPEN_METRICS,
            "openmetrics",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
    ] {
        let response = proxy.metrics_as(accept).await;
        assert_eq!(response.header("Content-Type"), content_type);
        let file = proxy.directory().join(format);
        std::fs::write(&file, &response.body).unwrap();
        let path = file.to_str().expect("a path that is text");
        let said = peers::run(&python, "prometheus.py", &[format, path]).await;
        let counts: Vec<usize> = said.split_whitespace().flat_map(str::parse).collect();
        assert!(counts[0] > 10 && counts[1] > 50, "{said}");
    }
}

#[tokio::test]
async fn a_route_tells_the_same_text() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin])
        .more(&format!(
            "[[route]]\npath = \"= /metrics\"\nmetrics = true\n{ADMIN}"
        ))
        .start()
        .await;
    let answer = proxy
        .get_with("/metrics", &format!("Accept: {OPEN_METRICS}\r\n"))
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("Content-Type"),
        "application/openmetrics-text; version=1.0.0; charset=utf-8"
    );
    assert!(answer.text().ends_with("# EOF\n"));
    let samples = |text: &str| {
        let text = text.replace("# EOF\n", "");
        let names = Metrics::of(&text);
        let names = names.all("").into_iter().map(|(name, _)| name.to_owned());
        // That of the route itself is there once it has been asked.
        names
            .filter(|name| !name.contains("requests_total"))
            .collect::<Vec<_>>()
    };
    let told = proxy.metrics_as("").await;
    assert_eq!(samples(&answer.text()), samples(&told.text()));
    let posted = proxy
        .exchange(
            "POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        )
        .await;
    assert_eq!((posted.status, posted.header("Allow")), (405, "GET, HEAD"));
}
