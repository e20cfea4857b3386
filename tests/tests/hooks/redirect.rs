//! `redirect`: one spelling of each URL.

use waypost_tests::{Proxy, origin, proxy};

async fn at_listener(settings: &str) -> Proxy {
    let origin = origin::says("page").await;
    proxy::to([&origin])
        .listen(&format!(
            "hooks = [{{ plugin = \"redirect\", {settings} }}]"
        ))
        .start()
        .await
}

/// Status and `Location` of the answer to a request for this host.
async fn sent(proxy: &Proxy, line: &str, host: &str) -> (u16, String) {
    let request = format!("{line}\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let answer = proxy.exchange(request).await;
    (answer.status, answer.header("Location").to_owned())
}

/// TLS ends at a balancer in front, which says so.
#[tokio::test]
async fn a_trusted_proxy_that_speaks_https_is_not_redirected_to_https() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin])
        .server("trusted_proxies = [\"127.0.0.1/32\"]")
        .route("hooks = [{ plugin = \"redirect\", scheme = \"https\" }]")
        .start()
        .await;
    let of = async |proto| {
        let line = format!("X-Forwarded-Proto: {proto}\r\n");
        proxy.get_with("/a", &line).await
    };
    assert_eq!(of("https").await.text(), "hello");
    let redirected = of("http").await;
    assert_eq!(redirected.header("Location"), "https://test/a");
}

#[tokio::test]
async fn a_client_is_sent_to_the_url_as_it_sees_it() {
    let proxy = at_listener("www = \"remove\", trailing_slash = \"add\"").await;
    let sent_to = |status: u16, url: &str| (status, url.to_owned());
    assert_eq!(
        sent(&proxy, "GET /a%20b?x=1 HTTP/1.1", "www.example.com:8080").await,
        sent_to(301, "http://example.com:8080/a%20b/?x=1")
    );
    assert_eq!(
        sent(
            &proxy,
            "GET http://www.example.com/ HTTP/1.1",
            "www.example.com"
        )
        .await,
        sent_to(301, "http://example.com/")
    );
    assert_eq!(
        sent(&proxy, "DELETE /docs HTTP/1.1", "example.com").await,
        sent_to(308, "http://example.com/docs/")
    );
    assert_eq!(
        sent(&proxy, "GET //evil.example HTTP/1.1", "example.com")
            .await
            .0,
        200,
        "the last segment looks like a file"
    );
    assert_eq!(
        sent(&proxy, "GET //evil HTTP/1.1", "example.com").await,
        sent_to(301, "http://example.com//evil/")
    );
    assert_eq!(
        sent(&proxy, "GET /docs/ HTTP/1.1", "example.com").await,
        sent_to(200, "")
    );
}

#[tokio::test]
async fn another_scheme_drops_the_port_and_a_request_without_a_host_is_refused() {
    let proxy = at_listener("scheme = \"https\", status = 302").await;
    assert_eq!(
        sent(&proxy, "POST /x?y HTTP/1.1", "example.com:8080").await,
        (302, "https://example.com/x?y".to_owned())
    );
    let answer = proxy.exchange("GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!((answer.status, answer.header("Location")), (400, ""));
}
