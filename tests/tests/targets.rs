//! Which host a request is for: its target says it, or else its one `Host` (RFC 9110 section 7.2,
//! RFC 9112 section 3.2).

use waypost_tests::{Http2, Origin, Proxy, origin, proxy};

const SEEN: &str =
    "request_headers = { set = { X-Host = \"$host\", X-Http-Host = \"$http_host\" } }";

async fn started() -> (Origin, Proxy) {
    let origin = origin::says("served").await;
    let proxy = proxy::to([&origin]).route(SEEN).start().await;
    (origin, proxy)
}

#[tokio::test]
async fn the_host_of_an_absolute_target_takes_the_place_of_host() {
    let (origin, proxy) = started().await;
    let cases = [
        (
            "http://a.example:80/x?y",
            "a.example",
            "a.example:80",
            "/x?y",
        ),
        ("http://a.example/x", "a.example:80", "a.example", "/x"),
        ("http://a.example/x", "b.example", "a.example", "/x"),
        ("http://a.example:81", "a.example:82", "a.example:81", "/"),
        ("http://A.example?q", "a.example", "A.example", "/?q"),
        ("ws://a.example/chat", "a.example", "a.example", "/chat"),
        ("WSS://a.example:443/", "a.example", "a.example:443", "/"),
        (
            "https://[2001:db8::1]:8443/",
            "x",
            "[2001:db8::1]:8443",
            "/",
        ),
    ];
    for (number, (target, host, expected, path)) in cases.into_iter().enumerate() {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        assert_eq!(proxy.exchange(request).await.status, 200, "{target}");
        let request = &origin.requests()[number];
        assert_eq!(request.target, path, "{target}");
        assert_eq!(request.headers.all("Host"), [expected], "{target}");
        assert_eq!(request.header("X-Forwarded-Host"), expected, "{target}");
        // Variables tell of the same host that the route was found by.
        assert_eq!(request.header("X-Http-Host"), expected, "{target}");
        let port = expected
            .rfind(':')
            .filter(|at| !expected[*at..].contains(']'));
        let name = expected[..port.unwrap_or(expected.len())].to_ascii_lowercase();
        assert_eq!(request.header("X-Host"), name, "{target}");
    }
}

#[tokio::test]
async fn http_1_0_may_name_its_host_in_the_target_alone() {
    let (origin, proxy) = started().await;
    let request = "GET http://a.example:8080/x HTTP/1.0\r\n\r\n";
    assert_eq!(proxy.exchange(request).await.status, 200);
    let request = origin.request();
    assert_eq!(request.headers.all("Host"), ["a.example:8080"]);
    assert_eq!(request.header("X-Http-Host"), "a.example:8080");
}

#[tokio::test]
async fn the_route_is_that_of_the_target() {
    let file = "[server]\naccess_log = false\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
                [[route]]\nhost = \"a.example\"\nreturn = { body = \"a\" }\n\
                [[route]]\nhost = \"b.example\"\nreturn = { body = \"b\" }\n";
    let proxy = proxy::run(file, &[]).await;
    let request = "GET http://a.example/ HTTP/1.1\r\nHost: b.example\r\n\r\n";
    assert_eq!(proxy.exchange(request).await.text(), "a");
}

#[tokio::test]
async fn a_request_without_a_host_is_sent_with_one() {
    for route in [
        "",
        "request_headers = { set = { Host = \"$host\" } }",
        "request_headers = { set = { Host = \"$http_host\" } }",
    ] {
        let origin = origin::says("served").await;
        let proxy = proxy::to([&origin]).route(route).start().await;
        let response = proxy.exchange("GET / HTTP/1.0\r\n\r\n").await;
        assert_eq!(response.status, 200, "{route}");
        // Its server requires one, and not an empty one; nginx: `$proxy_host`.
        assert_eq!(origin.request().headers.all("Host"), ["backend"], "{route}");
    }
}

#[tokio::test]
async fn a_default_port_does_not_make_another_host_in_http_2() {
    for (authority, host, status) in [
        ("test:80", "test", 200),
        ("test", "test:80", 200),
        ("test", "TEST.", 200),
        ("test:8080", "test:8080", 200),
        ("test", "test:443", 400),
        ("test:8080", "test", 400),
        ("test", "other", 400),
        ("test", "", 400),
        ("test", "te st", 400),
    ] {
        let (origin, proxy) = started().await;
        let mut client = Http2::connect(proxy.address()).await;
        let request = http::Request::builder()
            .uri(format!("http://{authority}/"))
            .header("host", host)
            .body(())
            .unwrap();
        let response = client.open(request, true).await.response().await;
        assert_eq!(response.status, status, "{authority:?} and {host:?}");
        for request in origin.requests() {
            assert_eq!(request.headers.all("Host"), [authority]);
        }
    }
}
