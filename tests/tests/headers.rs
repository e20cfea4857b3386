//! What servers learn about the client, which proxies are trusted, and what a configuration
//! changes.

use waypost_tests::client::get_with;
use waypost_tests::{Answer, Request, origin, proxy};

mod answers; // what is said of those of answers
mod folded; // names that CGI programs take for another
mod reported; // what else proxies say of a client

/// The request as the origin got it, when sent with these lines.
async fn sent(server: &str, route: &str, lines: &str) -> Request {
    let origin = origin::says("served").await;
    let proxy = proxy::to([&origin])
        .server(server)
        .route(route)
        .start()
        .await;
    let request = format!(
        "GET /path?query HTTP/1.1\r\nHost: example.org:8080\r\n{lines}Connection: close\r\n\r\n"
    );
    assert_eq!(proxy.exchange(request).await.status, 200);
    origin.request()
}

const TRUST: &str = "trusted_proxies = [\"127.0.0.0/8\", \"10.0.0.0/8\"]";

#[tokio::test]
async fn servers_learn_client_scheme_and_host() {
    let request = sent("", "", "").await;
    assert_eq!(request.header("X-Forwarded-For"), "127.0.0.1");
    assert_eq!(request.header("X-Real-IP"), "127.0.0.1");
    assert_eq!(request.header("X-Forwarded-Proto"), "http");
    assert_eq!(request.header("X-Forwarded-Host"), "example.org:8080");
    assert_eq!(request.header("Host"), "example.org:8080");
}

#[tokio::test]
async fn what_an_untrusted_client_claims_is_replaced() {
    let lines = "X-Forwarded-For: 1.1.1.1\r\nX-Forwarded-For: 2.2.2.2\r\nX-Real-IP: 3.3.3.3\r\nX-Forwarded-Proto: https\r\n\
                 X-Forwarded-Host: evil.example\r\n";
    let request = sent("", "", lines).await;
    assert_eq!(request.header("X-Forwarded-For"), "127.0.0.1");
    assert_eq!(request.header("X-Real-IP"), "127.0.0.1");
    assert_eq!(request.header("X-Forwarded-Proto"), "http");
    assert_eq!(request.header("X-Forwarded-Host"), "example.org:8080");
}

#[tokio::test]
async fn what_a_trusted_proxy_reports_is_extended() {
    let lines = "X-Forwarded-For: 203.0.113.7\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: shop.example\r\n";
    let request = sent(TRUST, "", lines).await;
    assert_eq!(request.header("X-Forwarded-For"), "203.0.113.7, 127.0.0.1");
    assert_eq!(request.header("X-Real-IP"), "203.0.113.7");
    assert_eq!(request.header("X-Forwarded-Proto"), "https");
    assert_eq!(request.header("X-Forwarded-Host"), "shop.example");
}

#[tokio::test]
async fn the_client_is_the_last_address_that_is_no_trusted_proxy() {
    let show = "request_headers = { set = { X-Client = \"$remote_addr\" } }";
    let lines = "X-Forwarded-For: 198.51.100.1, 203.0.113.7, 10.1.2.3\r\n";
    let request = sent(TRUST, show, lines).await;
    assert_eq!(
        (request.header("X-Client"), request.header("X-Real-IP")),
        ("203.0.113.7", "203.0.113.7")
    );
}

#[tokio::test]
async fn a_trusted_proxy_may_name_the_client_in_x_real_ip() {
    let show = "request_headers = { set = { X-Client = \"$remote_addr\" } }";
    assert_eq!(
        sent(TRUST, show, "X-Real-IP: 203.0.113.7\r\n")
            .await
            .header("X-Client"),
        "203.0.113.7"
    );
    assert_eq!(
        sent(TRUST, show, "X-Real-IP: 2001:db8::1\r\n")
            .await
            .header("X-Client"),
        "2001:db8::1"
    );
    assert_eq!(
        sent(TRUST, show, "X-Real-IP: nonsense\r\n")
            .await
            .header("X-Client"),
        "127.0.0.1"
    );
    assert_eq!(
        sent("", show, "X-Real-IP: 203.0.113.7\r\n")
            .await
            .header("X-Client"),
        "127.0.0.1"
    );
}

#[tokio::test]
async fn request_headers_can_be_set_added_and_removed() {
    let route = "request_headers = { set = { Host = \"$host\", X-Path = \"$uri?$args\", X-Old = \"new\", X-Gone = \"\" }, \
                 add = { X-More = \"two\" }, remove = [\"X-Secret\", \"X-Forwarded-Host\"] }";
    let lines =
        "X-Old: 1\r\nX-Old: 2\r\nX-Gone: x\r\nX-More: one\r\nx-secret: x\r\nX-Kept: kept\r\n";
    let request = sent("", route, lines).await;
    assert_eq!(request.headers.all("Host"), ["example.org"]);
    assert_eq!(request.headers.all("X-Path"), ["/path?query"]);
    assert_eq!(request.headers.all("X-Old"), ["new"]);
    assert_eq!(request.headers.all("X-Gone"), [""; 0]);
    assert_eq!(request.headers.all("X-More"), ["one", "two"]);
    assert_eq!(request.headers.all("X-Secret"), [""; 0]);
    assert_eq!(request.headers.all("X-Forwarded-Host"), [""; 0]);
    assert_eq!(request.headers.all("X-Kept"), ["kept"]);
}

#[tokio::test]
async fn of_each_request_header_the_nearest_place_that_names_it_counts() {
    let origin = origin::says("served").await;
    let proxy = proxy::to([&origin])
        .server(
            "request_headers = { set = { Host = \"server\", X-B = \"server\" }, \
             add = { X-D = [\"server\", \"again\"] }, remove = [\"X-C\"] }",
        )
        .listen("request_headers = { set = { X-B = \"listener\" } }")
        .route("request_headers = { set = { Host = \"route\" }, add = { x-d = \"route\" } }")
        .more(
            "[[route]]\npath = \"/plain\"\nproxy = \"backend\"\n\
             [[route]]\npath = \"/bare\"\nproxy = \"backend\"\n\
             request_headers = { remove = [\"*\"] }\n\
             [[listen]]\naddress = \"127.0.0.1:0\"\nrequest_headers = { set = { x-b = \"\" } }\n",
        )
        .start()
        .await;
    let lines = "X-B: client\r\nX-C: client\r\nX-D: client\r\nX-E: client\r\n";
    let last = || origin.requests().pop().expect("it got one");
    get_with(proxy.address(), "/", lines).await;
    let request = last();
    assert_eq!(request.header("Host"), "route");
    assert_eq!(request.headers.all("X-B"), ["listener"]);
    assert_eq!(request.headers.all("X-C"), [""; 0]);
    assert_eq!(request.headers.all("X-D"), ["client", "route"]);
    get_with(proxy.address(), "/plain", lines).await;
    let request = last();
    assert_eq!(request.header("Host"), "server");
    assert_eq!(request.headers.all("X-D"), ["client", "server", "again"]);
    assert_eq!(request.headers.all("X-E"), ["client"]);
    get_with(proxy.address(), "/bare", lines).await;
    let request = last();
    assert_eq!(request.headers.all("X-B"), ["listener"]);
    assert_eq!(request.headers.all("X-E"), [""; 0]);
    get_with(proxy.listener(1), "/plain", lines).await;
    assert_eq!(last().headers.all("X-B"), [""; 0]);
}

#[tokio::test]
async fn response_headers_can_be_set_added_and_removed() {
    let origin = origin::answers(|_| {
        Answer::ok("served")
            .header("X-Old", "1")
            .header("X-Old", "2")
            .header("X-Secret", "x")
            .header("Set-Cookie", "a=1")
    })
    .await;
    let route = "response_headers = { set = { X-Old = \"new\", X-Server = \"$upstream_addr\" }, \
                 add = { Set-Cookie = \"b=2\" }, remove = [\"x-secret\"] }";
    let proxy = proxy::to([&origin]).route(route).start().await;
    let response = proxy.get("/").await;
    assert_eq!(response.headers.all("X-Old"), ["new"]);
    assert_eq!(response.headers.all("X-Server"), [origin.address()]);
    assert_eq!(response.headers.all("X-Secret"), [""; 0]);
    assert_eq!(response.headers.all("Set-Cookie"), ["a=1", "b=2"]);
}

#[tokio::test]
async fn an_answer_given_here_knows_its_status() {
    let file = "[server]\naccess_log = false\n[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\n\
                return = { status = 418, body = \"status $status\" }\n\
                response_headers = { set = { X-Status = \"$status\" } }\n";
    let response = proxy::run(file, &[]).await.get("/").await;
    assert_eq!((response.status, &*response.text()), (418, "status 418"));
    assert_eq!(response.header("X-Status"), "418");
}

#[tokio::test]
async fn a_variable_cannot_carry_a_line_break_into_a_header() {
    let origin = origin::says("served").await;
    let route = "response_headers = { set = { X-Path = \"$uri\" } }\nrequest_headers = { set = { X-Path = \"$uri\" } }";
    let proxy = proxy::to([&origin]).route(route).start().await;
    let response = proxy.get("/a%0d%0aX-Evil:%201").await;
    assert_eq!(response.headers.get("X-Evil"), None);
    for request in origin.requests() {
        assert_eq!(request.headers.get("X-Evil"), None);
    }
}

#[tokio::test]
async fn other_headers_go_through_in_order_and_as_written() {
    let origin = origin::answers(|_| {
        Answer::ok("served")
            .header("sEt-CoOkIe", "a=1; Path=/")
            .header("Set-Cookie", "b=2")
            .header("X-Empty", "")
    })
    .await;
    let proxy = proxy::to([&origin]).start().await;
    let request = "GET / HTTP/1.1\r\nHost: t\r\nCookie: a=1\r\naCCept: x/y\r\nX-Multi: 1\r\nX-Multi: 2\r\n\r\n";
    let response = proxy.exchange(request).await;
    assert_eq!(response.headers.all("Set-Cookie"), ["a=1; Path=/", "b=2"]);
    assert_eq!(response.headers.get("X-Empty"), Some(""));
    let request = origin.request();
    assert_eq!(request.headers.all("X-Multi"), ["1", "2"]);
    assert_eq!(
        (request.header("Cookie"), request.header("Accept")),
        ("a=1", "x/y")
    );
}
