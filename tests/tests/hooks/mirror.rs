//! `mirror`: copies of requests for another upstream.

use waypost_tests::{Answer, Gate, Origin, Proxy, eventually, origin, proxy};

async fn with(app: &Origin, copies: &Origin, settings: &str) -> Proxy {
    proxy::to([app])
        .server("workers = 1")
        .route(&format!(
            "hooks = [{{ plugin = \"mirror\", upstream = \"copies\"{settings} }}]"
        ))
        .more(&format!(
            "[upstream.copies]\nservers = [{}]\n",
            copies.with("")
        ))
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
