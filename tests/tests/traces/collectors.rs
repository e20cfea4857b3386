//! Collectors that are down, slow, silent or mad: no request is slower for them, or lost.

use waypost_tests::admin::ADMIN;
use waypost_tests::{Answer, Metrics, Origin, Proxy, origin, proxy};

const REQUESTS: usize = 50;

/// A proxy whose spans go there, and which answers by itself.
async fn to(collector: &Origin, lines: &str) -> Proxy {
    let file = format!(
        "[server]\nworkers = 1\naccess_log = false\n{ADMIN}\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
         [[route]]\nreturn = {{ status = 204 }}\n[traces]\nendpoint = \"http://{}\"\n{lines}",
        collector.address()
    );
    proxy::run(&file, &[]).await
}

fn spans(metrics: &Metrics, outcome: &str) -> f64 {
    metrics.value(&format!(
        "waypost_trace_spans_total{{outcome=\"{outcome}\"}}"
    ))
}

/// All requests are answered.
async fn answered(proxy: &Proxy) {
    let mut client = proxy.client().await;
    for _ in 0..REQUESTS {
        assert_eq!(client.get("/").await.status, 204);
    }
}

#[tokio::test]
async fn spans_beyond_the_queue_are_dropped_and_counted_whatever_the_collector_does() {
    let collectors = [
        origin::refuses(),
        origin::hangs_at_connect(),
        origin::answers(|_| Answer::raw("").then_hang()).await,
        origin::answers(|_| Answer::raw("garbage\r\n\r\n").then_close()).await,
        origin::answers(|_| Answer::status(503, "busy").header("Retry-After", "30")).await,
    ];
    for (number, collector) in collectors.iter().enumerate() {
        let proxy = to(collector, "queue = 10\ntimeout = \"200ms\"").await;
        answered(&proxy).await;
        let metrics = proxy
            .counts("all but ten are dropped", |metrics| {
                spans(metrics, "dropped") == (REQUESTS - 10) as f64
            })
            .await;
        assert_eq!(spans(&metrics, "exported"), 0.0, "{number}");
        proxy
            .counts("a failure", |metrics| {
                metrics.value("waypost_trace_export_failures_total") >= 1.0
            })
            .await;
        proxy.log_contains("does not take spans").await;
        // Told once, however often it is tried.
        let told = proxy.log().matches("does not take spans").count();
        assert_eq!(told, 1, "{number}: {}", proxy.log());
    }
}

#[tokio::test]
async fn what_a_collector_refuses_is_not_sent_again() {
    for status in [400, 401, 302] {
        let collector = origin::answers(move |_| Answer::status(status, "no")).await;
        let proxy = to(&collector, "").await;
        proxy.get("/").await;
        proxy
            .counts("it is refused", |metrics| spans(metrics, "refused") == 1.0)
            .await;
        proxy.log_contains(&format!("it answers {status}")).await;
        assert_eq!(collector.requests().len(), 1);
    }
}

#[tokio::test]
async fn an_answer_without_an_end_is_not_read_to_it() {
    let collector = origin::speaks(|mut wire, _| async move {
        if wire.head().await.is_err() {
            return;
        }
        wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
            .await;
        let part = vec![0; 1 << 20];
        while wire.try_send(&part).await.is_ok() {}
    })
    .await;
    let proxy = to(&collector, "").await;
    proxy.get("/").await;
    proxy
        .counts("it counts as taken", |metrics| {
            spans(metrics, "exported") == 1.0
        })
        .await;
    collector.has_open(0).await;
}

/// A status is what says that spans were taken; what is behind it may come or not.
#[tokio::test]
async fn an_answer_that_stops_behind_its_status_counts_as_taken() {
    for body in [
        "Content-Length: 10\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
    ] {
        let answer = format!("HTTP/1.1 206 Partial Content\r\n{body}");
        let collector = origin::answers(move |_| Answer::raw(answer.clone()).then_hang()).await;
        let proxy = to(&collector, "timeout = \"1h\"").await;
        proxy.get("/").await;
        let metrics = proxy
            .counts("it counts as taken", |metrics| {
                spans(metrics, "exported") == 1.0
            })
            .await;
        assert_eq!(metrics.value("waypost_trace_export_failures_total"), 0.0);
        assert_eq!(collector.requests().len(), 1, "{body}");
        collector.has_open(0).await;
    }
}

/// What is said there makes no sense to either side, and tells nobody why.
#[tokio::test]
async fn the_usual_port_of_the_other_protocol_is_named_where_it_may_be_the_reason() {
    for (port, protocol, usual) in [(4317, "http", "grpc"), (4318, "grpc", "http")] {
        let file = format!(
            "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nreturn = {{ status = 204 }}\n\
             [traces]\nendpoint = \"http://127.9.8.7:{port}\"\nprotocol = \"{protocol}\"\n"
        );
        let said = format!("port {port} is usually that of `protocol = \"{usual}\"`");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("waypost.toml");
        std::fs::write(&path, &file).unwrap();
        let mut check = std::process::Command::new(waypost_tests::waypost());
        check.arg("check").arg("-c").arg(path);
        let (code, out, error) = waypost_tests::child::run(check);
        assert_eq!(code, 0, "{error}");
        assert!(out.contains(&said) || error.contains(&said), "{out}{error}");
        let proxy = proxy::run(&file, &[]).await;
        proxy.get("/").await;
        proxy.log_contains("does not take spans").await;
        proxy.log_contains(&said).await;
    }
    let collector = origin::refuses();
    let proxy = to(&collector, "").await;
    proxy.get("/").await;
    proxy.log_contains("does not take spans").await;
    assert!(!proxy.log().contains("usually"), "{}", proxy.log());
}

#[tokio::test]
async fn a_silent_collector_does_not_keep_the_process_from_ending() {
    let silent = origin::answers(|_| Answer::raw("").then_hang()).await;
    let mut proxy = to(&silent, "").await;
    proxy.get("/").await;
    silent.received(1).await;
    proxy.signal(rustix::process::Signal::TERM);
    proxy.process().ended().await;
}
