//! What else a client may say of the way that its request came: believed of trusted proxies alone.

use tempfile::TempDir;
use waypost_tests::client::get_with;
use waypost_tests::{Http2, Origin, origin, proxy};

/// Names by which proxies report, beside those that we write ourselves.
const REPORTS: [&str; 8] = [
    "Forwarded",
    "X-Forwarded",
    "X-Forwarded-Port",
    "X-Forwarded-Ssl",
    "X-Forwarded-Scheme",
    "X-Forwarded-Prefix",
    "X-Forwarded-Server",
    "x-forwarded-anything",
];

fn lines() -> String {
    REPORTS.map(|name| format!("{name}: claimed\r\n")).concat()
}

#[tokio::test]
async fn reports_of_a_stranger_do_not_reach_servers() {
    let origin = origin::says("served").await;
    let proxy = proxy::to([&origin]).start().await;
    proxy.get_with("/", &lines()).await;
    let names = REPORTS.map(str::to_ascii_lowercase);
    let fields = names.each_ref().map(|name| (name.as_str(), "claimed"));
    let mut client = Http2::connect(proxy.address()).await;
    client.ask("GET", "/", &fields).await;
    for request in origin.requests() {
        for name in REPORTS {
            assert_eq!(request.headers.get(name), None, "{name}");
        }
    }
    assert_eq!(origin.requests().len(), 2);
}

#[tokio::test]
async fn reports_of_a_trusted_proxy_pass() {
    let origin = origin::says("served").await;
    let trust = "trusted_proxies = [\"127.0.0.0/8\"]";
    let proxy = proxy::to([&origin]).server(trust).start().await;
    proxy.get_with("/", &lines()).await;
    for name in REPORTS {
        assert_eq!(origin.request().header(name), "claimed", "{name}");
    }
}

#[tokio::test]
async fn a_route_may_report_what_it_knows() {
    let origin = origin::says("served").await;
    let route =
        "request_headers = { set = { X-Forwarded-Port = \"443\", Forwarded = \"proto=https\" } }";
    let proxy = proxy::to([&origin]).route(route).start().await;
    proxy.get_with("/", &lines()).await;
    let request = origin.request();
    assert_eq!(request.headers.all("X-Forwarded-Port"), ["443"]);
    assert_eq!(request.headers.all("Forwarded"), ["proto=https"]);
}

/// An origin that got one request, sent through a unix socket.
async fn through_a_socket(trust: &str, lines: &str) -> Origin {
    let origin = origin::says("served").await;
    let directory = TempDir::new().expect("there is room for a directory");
    let address = format!("unix:{}", directory.path().join("front.sock").display());
    let proxy = proxy::to([&origin])
        .server(trust)
        .listen(&format!("address = \"{address}\""));
    let proxy = proxy.start().await;
    assert_eq!(get_with(proxy.address(), "/", lines).await.status, 200);
    origin
}

#[tokio::test]
async fn behind_a_trusted_unix_socket_the_chain_of_addresses_goes_on() {
    let trust = "trusted_proxies = [\"unix:\", \"10.0.0.0/8\"]";
    let lines = "X-Forwarded-For: 203.0.113.7, 10.0.0.1\r\nX-Forwarded-Proto: https\r\n";
    let request = through_a_socket(trust, lines).await.request();
    // The socket's own end has no address that could be appended.
    assert_eq!(request.header("X-Forwarded-For"), "203.0.113.7, 10.0.0.1");
    assert_eq!(request.header("X-Real-IP"), "203.0.113.7");
    assert_eq!(request.header("X-Forwarded-Proto"), "https");

    let lines = "X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-For: 10.0.0.1\r\n";
    let request = through_a_socket(trust, lines).await.request();
    assert_eq!(request.header("X-Forwarded-For"), "203.0.113.7, 10.0.0.1");

    let request = through_a_socket(trust, "X-Real-IP: 203.0.113.7\r\n").await;
    let request = request.request();
    assert_eq!(request.header("X-Real-IP"), "203.0.113.7");
    assert_eq!(request.headers.get("X-Forwarded-For"), None);
}

#[tokio::test]
async fn behind_a_unix_socket_that_is_not_trusted_no_address_is_known() {
    let lines = "X-Forwarded-For: 203.0.113.7\r\nX-Real-IP: 203.0.113.7\r\n";
    let request = through_a_socket("", lines).await.request();
    assert_eq!(request.headers.get("X-Forwarded-For"), None);
    assert_eq!(request.headers.get("X-Real-IP"), None);
}
