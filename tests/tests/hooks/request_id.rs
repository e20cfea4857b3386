//! `request_id`: one id, everywhere.

use waypost_tests::{origin, proxy};

#[tokio::test]
async fn server_client_and_access_log_get_the_same_id() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin])
        .server("access_log = { format = \"$status id=$hook_request_id.\" }\nhooks = [\"ids\"]")
        .more("[hook.ids]\nplugin = \"request_id\"")
        .start()
        .await;
    let answer = proxy.get_with("/", "X-Request-ID: mine\r\n").await;
    let id = answer.header("X-Request-ID").to_owned();
    assert_eq!((id.len(), &id[14..15]), (36, "7"), "{id}");
    assert_eq!(origin.request().headers.all("X-Request-ID"), [id.as_str()]);
    proxy.stdout().contains(&format!("200 id={id}.")).await;
    let other = proxy.get("/").await;
    assert!(other.header("X-Request-ID") > id.as_str());
}

#[tokio::test]
async fn a_trusted_id_is_kept_also_where_no_server_answers() {
    let proxy = proxy::to([&origin::refuses()])
        .listen("hooks = [{ plugin = \"request_id\", trust = true }]")
        .start()
        .await;
    let answer = proxy.get_with("/", "X-Request-ID: edge-17\r\n").await;
    assert_eq!(
        (answer.status, answer.header("X-Request-ID")),
        (502, "edge-17")
    );
}

#[tokio::test]
async fn a_trace_goes_on_to_the_server() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin])
        .route("hooks = [{ plugin = \"request_id\", format = \"traceparent\", trust = true }]")
        .start()
        .await;
    let lines = format!("traceparent: 00-{TRACE}-00f067aa0ba902b7-01\r\ntracestate: a=1\r\n");
    let answer = proxy.get_with("/", &lines).await;
    let request = origin.request();
    let parent = request.header("traceparent");
    assert!(
        parent.starts_with(&format!("00-{TRACE}-")) && parent.ends_with("-01"),
        "{parent}"
    );
    assert!(!parent.contains("00f067aa0ba902b7"), "{parent}");
    assert_eq!(request.header("tracestate"), "a=1");
    assert_eq!(answer.header("X-Request-ID"), TRACE);
}
