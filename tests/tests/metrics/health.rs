//! Servers that are probed, and those that are out for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use waypost_tests::admin::ADMIN;
use waypost_tests::{Answer, Metrics, origin, proxy};

#[tokio::test]
async fn a_server_that_fails_its_check_is_out_for_it_until_it_passes() {
    let is_ill = Arc::new(AtomicBool::new(true));
    let ill = is_ill.clone();
    let origin = origin::answers(move |_| match ill.load(Relaxed) {
        true => Answer::status(503, ""),
        false => Answer::ok("well"),
    })
    .await;
    let other = origin::says("hello").await;
    let check = "health_check = { path = \"/\", interval = \"100ms\", jitter = \"0s\", fall = 1, rise = 1 }";
    let proxy = proxy::to([&origin, &other])
        .upstream(check)
        .more(ADMIN)
        .start()
        .await;
    let address = origin.address();
    let labels = format!(r#"upstream="backend",endpoint="{address}""#);
    let out = format!(r#"waypost_endpoint_out{{{labels},reason="unhealthy"}}"#);
    let in_rotation = format!("waypost_endpoint_in_rotation{{{labels}}}");
    let probes = |metrics: &Metrics, outcome: &str| {
        let probes = "waypost_endpoint_health_checks_total";
        metrics.value(&format!(r#"{probes}{{{labels},outcome="{outcome}"}}"#))
    };
    let is_out = |metrics: &Metrics| metrics.value(&out) == 1.0;
    let metrics = proxy.counts("it is out", is_out).await;
    assert_eq!(metrics.value(&in_rotation), 0.0);
    assert!(probes(&metrics, "failed") >= 1.0);
    assert_eq!(probes(&metrics, "passed"), 0.0);
    is_ill.store(false, Relaxed);
    let is_back = |metrics: &Metrics| metrics.value(&in_rotation) == 1.0;
    let metrics = proxy.counts("it is back", is_back).await;
    assert!(!metrics.has(&out));
    assert!(probes(&metrics, "passed") >= 1.0);
}
