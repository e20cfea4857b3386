//! How spans get to a collector: over HTTP and gRPC, with TLS, again where it is busy, and to another
//! one after a reload.

use waypost_tests::admin::ADMIN;
use waypost_tests::tls::Authority;
use waypost_tests::{origin, proxy};

use super::{Collector, attribute, only};

#[tokio::test]
async fn spans_go_over_grpc_as_well_and_a_busy_collector_gets_them_again() {
    let Some(collector) = Collector::start().await else {
        return;
    };
    let busy = "headers = { x-busy = \"once\" }";
    for (via, traces) in [
        ("grpc", collector.over_grpc(busy)),
        ("http", collector.over_http(busy)),
    ] {
        let file = format!(
            "[server]\nworkers = 1\naccess_log = false\n[admin]\naddress = \"unix:{{dir}}/admin.sock\"\n\
             [[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nreturn = {{ status = 204 }}\nname = \"empty-{via}\"\n{traces}"
        );
        let proxy = proxy::run(&file, &[]).await;
        assert_eq!(proxy.get("/").await.status, 204);
        let counted = "waypost_trace_spans_total{outcome=\"exported\"}";
        let metrics = proxy
            .counts("the span is exported", |metrics| {
                metrics.value(counted) == 1.0
            })
            .await;
        assert_eq!(metrics.value("waypost_trace_export_failures_total"), 1.0);
        let spans = collector.spans(1).await;
        let span = only(&spans, "via", via);
        assert_eq!(span["name"], format!("GET empty-{via}"));
        assert!(
            proxy.log().contains("does not take spans"),
            "{}",
            proxy.log()
        );
        proxy.log_contains("takes spans again").await;
    }
}

#[tokio::test]
async fn a_reload_sends_spans_to_another_collector_and_the_end_of_the_process_sends_the_last() {
    let (Some(first), Some(second)) = (Collector::start().await, Collector::start().await) else {
        return;
    };
    let origin = origin::says("hello").await;
    let mut proxy = proxy::to([&origin])
        .more(ADMIN)
        .more(&first.over_http(""))
        .start()
        .await;
    proxy.get("/first").await;
    first.spans(3).await;
    let file = std::fs::read_to_string(proxy.file()).unwrap();
    let start = file.find("[traces]").unwrap();
    std::fs::write(
        proxy.file(),
        format!("{}{}", &file[..start], second.over_http("")),
    )
    .unwrap();
    proxy.reload().await;
    proxy.get("/second").await;
    // It is younger than a batch may be.
    proxy.signal(rustix::process::Signal::TERM);
    let spans = second.spans(3).await;
    assert_eq!(
        attribute(only(&spans, "kind", "SERVER"), "url.path"),
        "/second"
    );
    assert_eq!(first.spans(3).await.len(), 3);
    proxy.process().ended().await;
}

#[tokio::test]
async fn a_collector_behind_tls_is_verified_over_http_and_over_grpc() {
    let Some(collector) = Collector::start().await else {
        return;
    };
    let (authority, stranger) = (Authority::new("Specs"), Authority::new("Others"));
    let own = authority.certificate(&["localhost"]);
    let addresses: Vec<&str> = collector.0.address().split(' ').collect();
    for (protocol, address, lines) in [
        ("http", addresses[0], ""),
        ("grpc", addresses[1], "http2 = true"),
    ] {
        // Another Waypost has the TLS of the collector.
        let before = proxy::to([format!("{{ address = \"{address}\" }}")]).upstream(lines);
        own.write(before.directory(), "own");
        let before = before
            .listen("tls = { certificate = \"own.pem\", key = \"own.key\" }")
            .start()
            .await;
        let port = before.address().rsplit(':').next().unwrap();
        for (believed, is_taken) in [(&stranger, false), (&authority, true)] {
            let file = format!(
                "[server]\nworkers = 1\naccess_log = false\n{ADMIN}\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
                 [[route]]\nreturn = {{ status = 204 }}\n[traces]\nendpoint = \"https://localhost:{port}\"\n\
                 protocol = \"{protocol}\"\nca = \"{{dir}}/ca.pem\"\n"
            );
            let directory = tempfile::tempdir().unwrap();
            let ca = directory.path().join("ca.pem");
            std::fs::write(&ca, believed.pem()).unwrap();
            let file = file.replace("{dir}/ca.pem", &ca.display().to_string());
            let proxy = proxy::run(&file, &[]).await;
            proxy.get("/").await;
            match is_taken {
                true => {
                    let counted = "waypost_trace_spans_total{outcome=\"exported\"}";
                    proxy
                        .counts("the span is exported", |metrics| {
                            metrics.value(counted) == 1.0
                        })
                        .await;
                }
                false => proxy.log_contains("the TLS handshake has failed").await,
            }
        }
    }
    let spans = collector.spans(2).await;
    only(&spans, "via", "http");
    only(&spans, "via", "grpc");
}
