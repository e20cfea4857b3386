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

#[tokio::test]
async fn a_silent_collector_does_not_keep_the_process_from_ending() {
    let silent = origin::answers(|_| Answer::raw("").then_hang()).await;
    let mut proxy = to(&silent, "").await;
    proxy.get("/").await;
    silent.received(1).await;
    proxy.signal(rustix::process::Signal::TERM);
    proxy.process().ended().await;
}
