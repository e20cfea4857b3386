//! TLS, names, plugins, reloads, the process itself.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use waypost_tests::admin::ADMIN;
use waypost_tests::tls::{self, Authority};
use waypost_tests::{Metrics, origin, proxy};

#[tokio::test]
async fn handshakes_are_told_by_version_and_certificates_with_their_ends() {
    let (authority, origin) = (Authority::new("Specs"), origin::says("hello").await);
    let setup = proxy::to([&origin]);
    let own = authority.certificate(&["a.example"]);
    let file = own.write(setup.directory(), "own");
    let proxy = setup
        .listen("tls = { certificate = \"own.pem\", key = \"own.key\" }")
        .more(ADMIN)
        .start()
        .await;
    let config = Arc::new(authority.trusting());
    for _ in 0..2 {
        let client = tls::connect(proxy.address(), config.clone(), "a.example").await;
        assert_eq!(client.unwrap().get("/").await.text(), "hello");
    }
    // One that does not believe the certificate.
    let stranger = Arc::new(Authority::new("Strangers").trusting());
    let refused = tls::connect(proxy.address(), stranger, "a.example").await;
    assert!(refused.is_err());
    let failed = |metrics: &Metrics| metrics.value("waypost_tls_handshakes_failed_total") == 1.0;
    let metrics = proxy.counts("a handshake that failed", failed).await;
    for resumed in ["false", "true"] {
        let sample =
            format!(r#"waypost_tls_handshakes_total{{version="1.3",resumed="{resumed}"}}"#);
        assert_eq!(metrics.value(&sample), 1.0, "{resumed}");
    }
    let ends = metrics.all("waypost_tls_certificate_not_after_timestamp_seconds");
    let [(sample, end)] = ends[..] else {
        panic!("{ends:?}");
    };
    let file = file.with_extension("pem");
    assert!(sample.contains(&file.display().to_string()), "{sample}");
    let pem = std::fs::read(file).unwrap();
    let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).unwrap();
    let not_after = pem.parse_x509().unwrap().validity().not_after;
    assert_eq!(end, not_after.timestamp() as f64);
}

#[tokio::test]
async fn calls_of_plugins_and_their_faults_are_told_by_version() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin])
        .upstream("policy = \"least_conn\"")
        .route("hooks = [\"request_id\"]")
        .more(ADMIN)
        .start()
        .await;
    for _ in 0..5 {
        assert_eq!(proxy.get("/").await.text(), "hello");
    }
    let of = |metrics: &Metrics, name: &str, plugin: &str, more: &str| {
        let beginning = format!("waypost_plugin_{name}{{plugin=\"{plugin}\",version=\"");
        let samples = metrics.all(&beginning).into_iter();
        let samples = samples.filter(|(sample, _)| sample.contains(more));
        samples.map(|(_, value)| value).sum::<f64>()
    };
    let called = |metrics: &Metrics| {
        ["least_conn", "request_id"]
            .iter()
            .all(|plugin| of(metrics, "calls_total", plugin, "") >= 5.0)
    };
    let metrics = proxy.counts("the plugins were called", called).await;
    assert_eq!(of(&metrics, "info", "least_conn", "hash=\""), 1.0);
    assert_eq!(of(&metrics, "faults_total", "least_conn", "trap"), 0.0);
    assert!(of(&metrics, "instances", "least_conn", "") >= 1.0);
    assert!(of(&metrics, "memory_bytes", "request_id", "") > 0.0);
    assert!(of(&metrics, "timed_calls_total", "least_conn", "") >= 1.0);
    assert!(of(&metrics, "timed_seconds_total", "least_conn", "") > 0.0);
    assert_eq!(of(&metrics, "quarantined", "least_conn", ""), 0.0);
}

#[tokio::test]
async fn reloads_are_told_by_their_outcome_and_the_process_by_what_it_takes() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin]).more(ADMIN).start().await;
    let before = proxy.metrics().await;
    assert_eq!(before.value("waypost_config_last_reload_succeeded"), 1.0);
    assert_eq!(before.value("waypost_workers"), 2.0);
    let version = format!(
        "waypost_build_info{{version=\"{}\"}}",
        env!("CARGO_PKG_VERSION")
    );
    assert!(before.has(&version));
    proxy.edit("proxy = ", "proxxy = ");
    assert_ne!(proxy.admin("POST", "/reload", "").await.status, 200);
    let refused = proxy.metrics().await;
    assert_eq!(refused.value("waypost_config_last_reload_succeeded"), 0.0);
    proxy.edit("proxxy = ", "read_timeout = \"3s\"\nproxy = ");
    proxy.reload().await;
    let after = proxy.metrics().await;
    assert_eq!(after.value("waypost_config_last_reload_succeeded"), 1.0);
    for outcome in ["succeeded", "failed"] {
        let reloads = format!(r#"waypost_config_reloads_total{{outcome="{outcome}"}}"#);
        assert_eq!(after.value(&reloads), 1.0, "{outcome}");
    }
    let generation = |metrics: &Metrics| metrics.value("waypost_config_generation");
    assert!(generation(&after) > generation(&before));
    assert_eq!(after.fallen_since(&before), [""; 0]);
    assert!(after.value("process_cpu_seconds_total") > 0.0);
    assert!(after.value("process_resident_memory_bytes") > f64::from(1 << 20));
    assert!(after.value("process_open_fds") < after.value("process_max_fds"));
    let started = Duration::from_secs_f64(after.value("process_start_time_seconds"));
    let age = SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap()
        .saturating_sub(started);
    assert!(age < waypost_tests::PATIENCE * 10, "{age:?}");
}

#[tokio::test]
async fn names_are_told_by_whether_they_have_an_answer() {
    let origin = origin::says("hello").await;
    let port = origin.address().rsplit(':').next().unwrap().to_owned();
    let proxy = proxy::to([format!("\"localhost:{port}\"")])
        .more(ADMIN)
        .start()
        .await;
    assert_eq!(proxy.get("/").await.text(), "hello");
    let answered = |metrics: &Metrics| {
        metrics.value(r#"waypost_dns_lookups_total{outcome="found"}"#) >= 1.0
            && metrics.value(r#"waypost_dns_names{state="answered"}"#) == 1.0
    };
    let metrics = proxy.counts("the name has an answer", answered).await;
    assert_eq!(metrics.value("waypost_dns_names_without_address"), 0.0);
}
