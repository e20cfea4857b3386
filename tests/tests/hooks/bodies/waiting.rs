//! Hooks that wait in calls about a body, by `tests/guests/asker`.

use waypost_tests::{Answer, Gate, Http2, Proxy, Response, origin, proxy};

use crate::hooks::waiting::{WAYS, at_route};

/// Sends a body with these header lines.
async fn post(proxy: &Proxy, headers: &str, body: &str) -> Response {
    let mut client = proxy.client().await;
    let length = body.len();
    client
        .send(format!(
            "POST / HTTP/1.1\r\nHost: test\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
        ))
        .await;
    client.response().await
}

#[tokio::test]
async fn a_hook_asks_an_upstream_about_a_body_that_it_has_seen_as_a_whole() {
    let (app, other) = (origin::says("app").await, origin::says("other").await);
    let setup = at_route(proxy::to([&app]), &other.with(""), "");
    let proxy = setup.start().await;
    for way in WAYS {
        let headers = format!("{way}X-Ask: get other /1\r\nX-Ask-Body: get other /2 | sleep 1\r\n");
        let answer = post(&proxy, &headers, "of a body").await;
        let told = answer.headers.all("x-asked");
        assert_eq!(told, ["200 other", "200 other", "slept"], "{way}");
        assert_eq!(app.requests().pop().unwrap().body, b"of a body");
    }
    let targets: Vec<_> = (other.requests().iter())
        .map(|request| request.target.clone())
        .collect();
    assert_eq!(targets, ["/1", "/2", "/1", "/2"]);
    proxy.log_contains("asker sees 9 bytes").await;
}

#[tokio::test]
async fn in_a_piece_of_a_body_nothing_is_asked_and_nothing_waited_for() {
    let (app, other) = (origin::says("app").await, origin::says("other").await);
    let setup = at_route(proxy::to([&app]), &other.with(""), "");
    let proxy = setup.start().await;
    for way in WAYS {
        let headers = format!("{way}X-Want: chunks\r\nX-Ask-Body: get other /\r\n");
        let answer = post(&proxy, &headers, "piece").await;
        let told = answer.headers.all("x-asked");
        let is_told_why = told[0].ends_with("nothing may be asked here");
        assert_eq!(is_told_why, way.is_empty(), "{told:?}");
        assert!(told[0].starts_with("error: "), "{told:?}");
    }
    assert!(other.requests().is_empty());
    let headers = "X-Want: chunks\r\nX-Ask-Body: sleep 60000\r\n";
    assert_eq!(post(&proxy, headers, "piece").await.status, 500);
    proxy
        .log_contains("calls about the whole body of a request only")
        .await;
}

#[tokio::test]
async fn a_call_about_a_body_that_waits_holds_up_nobody_and_ends_with_its_client() {
    let gate = Gate::closed();
    let held = gate.clone();
    let app = origin::says("app").await;
    let other = origin::answers(move |_| Answer::ok("held").when(&held)).await;
    let setup = at_route(proxy::to([&app]).server("workers = 1"), &other.with(""), "");
    let proxy = setup.start().await;
    let mut leaves = proxy.client().await;
    let request = "POST / HTTP/1.1\r\nHost: test\r\nX-Ask-Body: get other /left\r\n\
                   Content-Length: 4\r\n\r\nbody";
    leaves.send(request).await;
    other.received(1).await;
    let mut http2 = Http2::connect(proxy.address()).await;
    assert_eq!(http2.get("/").await.status, 200);
    assert_eq!(proxy.get("/").await.text(), "app");
    drop(leaves);
    other.has_open(0).await;
    gate.open();
    assert_eq!(app.requests().len(), 2);
}
