//! What is known of a server belongs to its address in its upstream, and outlives configurations.

use super::*;

#[tokio::test]
async fn a_disabled_server_stays_disabled() {
    let bad = origin::answers(|_| Answer::raw("").then_close()).await;
    let good = origin::says("good").await;
    let proxy = proxy::to([bad.with("weight = 1"), good.with("weight = 1")])
        .more(ADMIN)
        .start()
        .await;
    assert_eq!(proxy.get("/").await.text(), "good");
    assert_eq!(bad.requests().len(), 1, "it was asked first");
    proxy.edit(&good.with("weight = 1"), &good.with("weight = 9"));
    proxy.reload().await;
    let server = proxy.server(bad.address()).await;
    assert_eq!(
        (&server["fails"], &server["in_rotation"]),
        (&1.into(), &false.into())
    );
    for _ in 0..12 {
        assert_eq!(proxy.get("/").await.text(), "good");
    }
    assert_eq!(bad.requests().len(), 1);
    // Its place in the file is not what it is known by.
    let (first, second) = (bad.with("weight = 1"), good.with("weight = 9"));
    proxy.edit(
        &format!("  {first},\n  {second},\n"),
        &format!("  {second},\n  {first},\n"),
    );
    proxy.reload().await;
    for _ in 0..12 {
        assert_eq!(proxy.get("/").await.text(), "good");
    }
    assert_eq!(bad.requests().len(), 1);
}

#[tokio::test]
async fn the_load_of_a_server_is_known_to_the_new_configuration() {
    let gate = Gate::closed();
    let busy = holding(Answer::ok("done"), &gate).await;
    let free = origin::named().await;
    let proxy = proxy::to([&busy, &free])
        .upstream("policy = \"least_conn\"")
        .more(ADMIN)
        .start()
        .await;
    let mut client = waiting(proxy.address(), &busy).await;
    proxy.edit("policy", "keepalive = 5\npolicy");
    proxy.reload().await;
    for _ in 0..6 {
        assert_eq!(proxy.get("/").await.text(), free.address());
    }
    assert_eq!(proxy.server(busy.address()).await["in_flight"], 1);
    gate.open();
    client.response().await;
    assert_eq!(proxy.server(busy.address()).await["in_flight"], 0);
}

#[tokio::test]
async fn max_conns_counts_what_began_before() {
    let gate = Gate::closed();
    let full = holding(Answer::ok("done"), &gate).await;
    let free = origin::named().await;
    let servers = [full.with("max_conns = 9"), free.with("")];
    let proxy = proxy::to(servers).more(ADMIN).start().await;
    let mut client = waiting(proxy.address(), &full).await;
    proxy.edit("max_conns = 9", "max_conns = 1");
    proxy.reload().await;
    for _ in 0..4 {
        assert_eq!(proxy.get("/").await.text(), free.address());
    }
    gate.open();
    client.response().await;
    let answers = [proxy.get("/").await.text(), proxy.get("/").await.text()];
    assert!(answers.contains(&"at once".to_owned()), "{answers:?}");
}

#[tokio::test]
async fn a_failure_of_an_exchange_that_began_before_still_counts() {
    let gate = Gate::closed();
    let bad = holding(Answer::raw("").then_reset(), &gate).await;
    let good = origin::says("good").await;
    let servers = [bad.with(""), good.with("weight = 2")];
    let proxy = proxy::to(servers).server(ONE).more(ADMIN).start().await;
    let asked = async || {
        while proxy.get("/").await.text() == "good" {}
    };
    asked().await;
    let arrived = bad.requests().len();
    let mut client = proxy.client().await;
    while bad.requests().len() == arrived {
        client = proxy.client().await;
        client.send("GET /held HTTP/1.1\r\nHost: t\r\n\r\n").await;
        let before = good.requests().len();
        eventually("the request to arrive", async || {
            good.requests().len() + bad.requests().len() > before + arrived
        })
        .await;
    }
    proxy.edit("weight = 2", "weight = 1");
    proxy.reload().await;
    asked().await; // in rotation so far
    gate.open();
    assert_eq!(client.response().await.text(), "good");
    assert_eq!(proxy.server(bad.address()).await["in_rotation"], false);
    for _ in 0..6 {
        assert_eq!(proxy.get("/").await.text(), "good");
    }
}
