//! Plain HTTP where TLS is spoken, and the ways to it: redirects and HSTS.

use super::*;
use waypost_tests::{Nginx, client, nginx};

#[tokio::test]
async fn plain_http_on_a_tls_port_is_answered_as_nginx_does_and_closed() {
    let (authority, origin, proxy) = simple().await;
    let mut client = proxy.client().await;
    let response = client.get("/").await;
    assert_eq!(response.status, 400);
    assert_eq!(response.header("Content-Type"), "text/plain");
    let words = "The plain HTTP request was sent to HTTPS port";
    assert!(response.text().contains(words), "{response:?}");
    assert_eq!(response.headers.get("Strict-Transport-Security"), None);
    client.closed().await;
    assert!(origin.requests().is_empty());
    if !nginx::installed() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let own = authority
        .certificate(&["a.example"])
        .write(directory.path(), "own");
    let own = own.display();
    let there = Nginx::start_with_tls(
        &format!("ssl_certificate {own}.pem; ssl_certificate_key {own}.key;"),
        "",
    )
    .await;
    let theirs = client::get_with(there.address(), "/", "").await;
    assert_eq!(theirs.status, 400);
    assert!(theirs.text().contains(words), "{theirs:?}");
}

#[tokio::test]
async fn a_redirect_keeps_host_path_and_method() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin])
        .listen("redirect_to_https = true")
        .more("[[listen]]\naddress = \"127.0.0.1:0\"\nredirect_to_https = 8443\n")
        .start()
        .await;
    let ask = async |index: usize, request: &str| {
        let response = client::exchange(proxy.listener(index), request).await;
        (response.status, response.header("Location").to_owned())
    };
    for (request, status, location) in [
        (
            "GET /a%20b?c=d HTTP/1.1\r\nHost: a.example:8080\r\n",
            301,
            "/a%20b?c=d",
        ),
        ("HEAD / HTTP/1.1\r\nHost: A.example\r\n", 301, "/"),
        (
            "POST /form HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n",
            308,
            "/form",
        ),
        ("OPTIONS * HTTP/1.1\r\nHost: a.example\r\n", 308, "/"),
        (
            "GET http://a.example/x?y HTTP/1.1\r\nHost: a.example\r\n",
            301,
            "/x?y",
        ),
    ] {
        let request = format!("{request}Connection: close\r\n\r\n");
        let there = format!("https://a.example{location}");
        assert_eq!(ask(0, &request).await, (status, there));
        let there = format!("https://a.example:8443{location}");
        assert_eq!(ask(1, &request).await, (status, there));
    }
    assert_eq!(
        ask(
            0,
            "GET / HTTP/1.1\r\nHost: [::1]:80\r\nConnection: close\r\n\r\n"
        )
        .await
        .1,
        "https://[::1]/"
    );
    assert_eq!(
        ask(0, "GET / HTTP/1.0\r\n\r\n").await.0,
        400,
        "nobody knows where to"
    );
    assert!(origin.requests().is_empty());
}

#[tokio::test]
async fn hsts_is_on_every_answer_over_tls_once_and_on_no_other() {
    let authority = Authority::new("Specs");
    let origin =
        origin::answers(|_| Answer::ok("hello").header("Strict-Transport-Security", "max-age=1"))
            .await;
    let own = authority.certificate(&["a.example"]);
    let proxy = with(&origin, &own, "")
        .listen("hsts = \"365d\"")
        .more(
            "[[listen]]\naddress = \"127.0.0.1:0\"\n\
             [[route]]\npath = \"/here\"\nreturn = { status = 204 }\n\
             [[route]]\npath = \"/own\"\nreturn = { status = 204 }\n\
             response_headers = { set = { \"strict-transport-security\" = \"max-age=2\" } }\n\
             [[route]]\npath = \"/down\"\nproxy = \"http://127.0.0.1:9\"\n",
        )
        .start()
        .await;
    for (path, value) in [
        ("/", "max-age=31536000"),
        ("/here", "max-age=31536000"),
        ("/down", "max-age=31536000"),
        ("/own", "max-age=2"),
    ] {
        let response = tls::get(proxy.address(), authority.trusting(), "a.example", path).await;
        assert_eq!(
            response.header("Strict-Transport-Security"),
            value,
            "{path}"
        );
    }
    let plain = client::get_with(proxy.listener(1), "/here", "").await;
    assert_eq!(plain.headers.get("Strict-Transport-Security"), None);
}
