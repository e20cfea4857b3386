//! Sessions of streams: how they end, how long they last, what they carry.

use waypost_tests::admin::ADMIN;
use waypost_tests::{Metrics, Proxy, Wire, origin, proxy};

async fn stream_to(server: &str) -> Proxy {
    let file = format!(
        "[server]\nworkers = 2\n[[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"backend\"\n\
         [upstream.backend]\nservers = [\"{server}\"]\n{ADMIN}"
    );
    proxy::run(&file, &[]).await
}

#[tokio::test]
async fn a_session_is_in_flight_until_it_has_ended_with_its_bytes() {
    let origin = origin::speaks(|mut wire, _| async move {
        while let Ok(line) = wire.until(b"\n").await {
            wire.send(line).await;
        }
    })
    .await;
    let proxy = stream_to(origin.address()).await;
    let mut session = Wire::connect(proxy.address()).await.unwrap();
    session.send("hello\n").await;
    session.until(b"\n").await.unwrap();
    let stream = r#"stream="127.0.0.1:0""#;
    let in_flight = format!("waypost_stream_sessions_in_flight{{{stream}}}");
    assert_eq!(proxy.metrics().await.value(&in_flight), 1.0);
    drop(session);
    let over = |metrics: &Metrics| metrics.value(&in_flight) == 0.0;
    let metrics = proxy.counts("the session is over", over).await;
    let value =
        |name: &str, more: &str| metrics.value(&format!("waypost_stream_{name}{{{stream}{more}}}"));
    assert_eq!(value("sessions_total", r#",code="2xx""#), 1.0);
    assert_eq!(value("received_bytes_total", ""), 6.0);
    assert_eq!(value("sent_bytes_total", ""), 6.0);
    assert_eq!(value("session_duration_seconds_count", ""), 1.0);
    let attempts = metrics.all("waypost_upstream_requests_total");
    assert!(matches!(attempts[..], [(sample, 1.0)] if sample.contains("code=\"none\"")));
}

#[tokio::test]
async fn a_session_without_a_server_ends_with_an_error_and_its_reason() {
    let refuses = origin::refuses();
    let proxy = stream_to(refuses.address()).await;
    let mut session = Wire::connect(proxy.address()).await.unwrap();
    assert!(session.until(b"\n").await.is_err());
    let failed = r#"waypost_stream_sessions_total{stream="127.0.0.1:0",code="5xx"}"#;
    let is_over = |metrics: &Metrics| metrics.value(failed) == 1.0;
    let metrics = proxy.counts("the session is over", is_over).await;
    let failures = metrics.all("waypost_upstream_failures_total");
    assert!(matches!(failures[..], [(sample, 1.0)] if sample.contains("reason=\"connect\"")));
}
