//! `mirror`: copies of requests for another upstream.

use waypost_tests::admin::ADMIN;
use waypost_tests::{Answer, Gate, Http2, Origin, Proxy, eventually, origin, proxy};

async fn with(app: &Origin, copies: &Origin, settings: &str) -> Proxy {
    proxy::to([app])
        .server("workers = 1")
        .route(&format!(
            "client_max_body_size = \"8m\"\n\
             hooks = [{{ plugin = \"mirror\", upstream = \"copies\"{settings} }}]"
        ))
        .more(&format!(
            "[upstream.copies]\nservers = [{}]\n",
            copies.with("")
        ))
        .more(ADMIN)
        .start()
        .await
}

#[tokio::test]
async fn a_copy_is_like_its_request_and_its_answer_goes_nowhere() {
    let (app, copies) = (origin::says("app").await, origin::says("copy").await);
    let proxy = with(&app, &copies, ", set_headers = { X-Copy = \"$uri\" }").await;
    let mut client = proxy.client().await;
    for number in 1..=3 {
        client
            .send(format!(
                "POST /a?n={number} HTTP/1.1\r\nHost: site.example\r\nX-Test: 1\r\n\
                 Content-Length: 4\r\n\r\nbody"
            ))
            .await;
        assert_eq!(client.response().await.text(), "app");
        copies.received(number).await;
    }
    let copy = &copies.requests()[2];
    assert_eq!((&*copy.method, &*copy.target), ("POST", "/a?n=3"));
    assert_eq!(copy.header("Host"), "site.example");
    assert_eq!((copy.header("X-Test"), copy.header("X-Copy")), ("1", "/a"));
    assert!(copy.body.is_empty());
    assert_eq!(app.requests()[2].body, b"body");
    eventually("a connection that was kept", async || {
        let number = copies.requests().len() + 1;
        assert_eq!(proxy.get("/").await.text(), "app");
        copies.received(number).await;
        copies.connections() < number
    })
    .await;
}

#[tokio::test]
async fn an_upstream_that_hangs_or_is_gone_holds_up_nobody() {
    let gate = Gate::closed();
    let app = origin::says("app").await;
    let held = gate.clone();
    let hangs = origin::answers(move |_| Answer::ok("copy").when(&held)).await;
    let proxy = with(&app, &hangs, "").await;
    for _ in 0..50 {
        assert_eq!(proxy.get("/").await.text(), "app");
    }
    hangs.received(50).await;
    gate.open();
    let gone = origin::refuses();
    let proxy = with(&app, &gone, "").await;
    for _ in 0..5 {
        assert_eq!(proxy.get("/").await.text(), "app");
    }
    proxy
        .log_contains("connect() failed (111: Connection refused)")
        .await;
    proxy
        .log_contains("request of a hook: \"GET / HTTP/1.1\"")
        .await;
}

/// Sends a request of this head, and what follows it.
async fn send(proxy: &Proxy, head: &str, body: &[u8]) {
    let mut client = proxy.client().await;
    client
        .send(format!("{head}Host: site.example\r\n\r\n"))
        .await;
    client.send(body).await;
    assert_eq!(client.response().await.text(), "app");
}

#[tokio::test]
async fn a_copy_has_the_body_up_to_a_limit() {
    let (app, copies) = (origin::says("app").await, origin::says("copy").await);
    let proxy = with(&app, &copies, ", body_limit = \"1m\"").await;
    let large = vec![b'x'; 1 << 20];
    let length = large.len();
    let head =
        format!("PUT /large HTTP/1.1\r\nContent-Type: text/x\r\nContent-Length: {length}\r\n");
    send(&proxy, &head, &large).await;
    copies.received(1).await;
    let copy = copies.request();
    assert_eq!((&*copy.method, &*copy.target), ("PUT", "/large"));
    assert_eq!(copy.header("Content-Type"), "text/x");
    assert!(copy.body == large, "{} bytes", copy.body.len());
    let chunked = "POST /chunked HTTP/1.1\r\nTransfer-Encoding: chunked\r\n";
    send(&proxy, chunked, b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n").await;
    copies.received(2).await;
    assert_eq!(copies.requests()[1].body, b"abcde");
    let mut http2 = Http2::connect(proxy.address()).await;
    http2.post("/h2", b"of a stream").await;
    copies.received(3).await;
    assert_eq!(copies.requests()[2].body, b"of a stream");
    // Larger ones go on as they come, and are not copied.
    let larger = vec![b'y'; length + 1];
    let head = format!(
        "PUT /larger HTTP/1.1\r\nContent-Length: {}\r\n",
        larger.len()
    );
    send(&proxy, &head, &larger).await;
    assert_eq!(proxy.get("/behind").await.text(), "app");
    copies.received(4).await;
    assert_eq!(copies.requests()[3].target, "/behind");
    assert!(app.requests()[3].body == larger);
    let mirror = proxy.shows("/plugins/mirror").await;
    assert_eq!(mirror["counters"]["too_large"], 1, "{mirror}");
}

#[tokio::test]
async fn copies_whose_bodies_wait_have_a_bound_and_hold_up_nobody() {
    let gate = Gate::closed();
    let held = gate.clone();
    let app = origin::says("app").await;
    let hangs = origin::answers(move |_| Answer::ok("copy").when(&held)).await;
    let proxy = with(&app, &hangs, ", body_limit = \"8m\"").await;
    let large = vec![b'x'; 8 << 20];
    let head = format!("PUT / HTTP/1.1\r\nContent-Length: {}\r\n", large.len());
    for _ in 0..9 {
        send(&proxy, &head, &large).await;
    }
    // 64 MiB are under way.
    let too_many = "a request of a hook was not sent: too many requests at once, client: 127.0.0.1, \
                    upstream: \"copies\"";
    proxy.log_contains(too_many).await;
    gate.open();
}
