//! A reload ends no connection on either side, unless its listener or its server is gone.

use super::*;

#[tokio::test]
async fn idle_and_busy_connections_stay_on_both_sides() {
    let gate = Gate::closed();
    let origin = holding(Answer::ok("done"), &gate).await;
    let proxy = proxy::to([&origin]).server(ONE).more(ADMIN).start().await;
    let mut idle = proxy.client().await;
    kept(&mut idle, "/").await;
    let mut busy = waiting(proxy.address(), &origin).await;
    let mut fresh = proxy.client().await;
    assert_eq!(origin.connections(), 1, "the idle one is reused");
    // Once with the upstream as it was, twice with another one.
    for (part, replacement) in [
        ("[[route]]", "[[route]]\nclient_max_body_size = \"2m\""),
        (" }", ", weight = 3 }"),
        ("weight = 3", "weight = 4"),
    ] {
        proxy.edit(part, replacement);
        proxy.reload().await;
    }
    gate.open();
    let response = busy.response().await;
    assert_eq!(
        (response.text().as_str(), response.headers.get("Connection")),
        ("done", None)
    );
    for client in [&mut idle, &mut busy, &mut fresh] {
        assert_eq!(kept(client, "/").await, "at once");
    }
    assert_eq!(origin.connections(), 1, "no connection was opened or lost");
}

#[tokio::test]
async fn kept_connections_to_a_server_that_is_gone_are_closed() {
    let gate = Gate::closed();
    let (gone, stays) = (
        holding(Answer::ok("done"), &gate).await,
        origin::says("stays").await,
    );
    let proxy = proxy::to([&gone, &stays])
        .server(ONE)
        .more(ADMIN)
        .start()
        .await;
    let mut busy = waiting(proxy.address(), &gone).await;
    proxy.get("/").await; // stays
    proxy.get("/").await; // gone, on a second connection
    gone.has_open(2).await;
    proxy.edit(&gone.with(""), "");
    proxy.edit("  ,\n", "");
    proxy.reload().await;
    gone.has_open(1).await;
    gate.open();
    assert_eq!(busy.response().await.text(), "done");
    // It was busy during the reload; now no request can use it.
    gone.has_open(0).await;
    assert_eq!((stays.open(), stays.connections()), (1, 1));
}
