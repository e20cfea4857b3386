//! `limit_conn`: requests in progress, or connections of a stream, by key.

use waypost_tests::admin::ADMIN;
use waypost_tests::{Answer, Client, Gate, Http2, Origin, Proxy, Wire, eventually, origin, proxy};

const ZONE: &str = "[hook.users]\nplugin = \"limit_conn\"\nkey = \"$arg_user\"\nzone = \"users\"\n";

/// A proxy of an origin that holds `/held`, with so many requests for each user.
async fn limited(origin: &Origin, connections: u32) -> Proxy {
    let hook = format!("hooks = [{{ use = \"users\", connections = {connections} }}]");
    let setup = proxy::to([origin])
        .listen("keepalive_requests = 1000000")
        .route(&hook);
    setup.more(ZONE).more(ADMIN).start().await
}

/// An origin that answers once the gate is open where the target begins with `/held`.
async fn holds(gate: &Gate) -> Origin {
    let held = gate.clone();
    origin::answers(move |request| match request.target.starts_with("/held") {
        true => Answer::ok("held").when(&held),
        false => Answer::ok("hello"),
    })
    .await
}

async fn held(proxy: &Proxy, user: &str) -> Client {
    let mut client = proxy.client().await;
    let request = format!("GET /held?user={user} HTTP/1.1\r\nHost: test\r\n\r\n");
    client.send(request).await;
    client
}

async fn status(proxy: &Proxy, user: &str) -> u16 {
    proxy.get(&format!("/?user={user}")).await.status
}

#[tokio::test]
async fn a_key_has_so_many_requests_in_progress_over_all_workers() {
    let gate = Gate::closed();
    let origin = holds(&gate).await;
    let proxy = limited(&origin, 3).await;
    let mut clients = Vec::new();
    for number in 1..=3 {
        clients.push(held(&proxy, "a").await);
        origin.received(number).await;
    }
    for _ in 0..8 {
        let response = proxy.get("/?user=a").await;
        assert_eq!(response.status, 503);
        assert_eq!(status(&proxy, "b").await, 200);
    }
    proxy
        .log_contains("limiting connections by zone \"users\"")
        .await;
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response().await.status, 200);
    }
    eventually("the requests to be over", async || {
        status(&proxy, "a").await == 200
    })
    .await;
}

#[tokio::test]
async fn a_client_that_leaves_gives_its_place_back() {
    let gate = Gate::closed();
    let origin = holds(&gate).await;
    let proxy = limited(&origin, 1).await;
    let client = held(&proxy, "a").await;
    origin.received(1).await;
    assert_eq!(status(&proxy, "a").await, 503);
    drop(client);
    eventually("the place to be free", async || {
        status(&proxy, "a").await == 200
    })
    .await;
}

#[tokio::test]
async fn each_stream_of_http2_is_a_request_of_its_own() {
    let gate = Gate::closed();
    let origin = holds(&gate).await;
    let hook = "hooks = [{ use = \"users\", connections = 2, status = 429 }]";
    let setup = proxy::to([&origin]).listen("http2 = true").route(hook);
    let proxy = setup.more(ZONE).start().await;
    let mut client = Http2::connect(proxy.address()).await;
    let request = client.request("GET", "/held?user=a", &[]);
    let mut first = client.open(request.clone(), true).await;
    let mut second = client.open(request, true).await;
    origin.received(2).await;
    assert_eq!(client.get("/held?user=a").await.status, 429);
    gate.open();
    assert_eq!(first.response().await.status, 200);
    assert_eq!(second.response().await.status, 200);
}

#[tokio::test]
async fn connections_of_a_stream_count_until_they_end() {
    let origin = origin::speaks(|mut wire, _| async move {
        while let Ok(line) = wire.until(b"\n").await {
            if wire.try_send(line).await.is_err() {
                return;
            }
        }
    })
    .await;
    let file = format!(
        "[server]\nworkers = 2\naccess_log = false\n[[stream]]\naddress = \"127.0.0.1:0\"\n\
         proxy = \"{}\"\nhooks = [{{ use = \"clients\", connections = 2 }}]\n\
         [hook.clients]\nplugin = \"limit_conn\"\nkey = \"$binary_remote_addr\"\n",
        origin.address()
    );
    let proxy = proxy::run(&file, &[]).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut wire = Wire::connect(proxy.address()).await.expect("it listens");
        wire.send("there?\n").await;
        assert_eq!(wire.until(b"\n").await.expect("an echo"), b"there?\n");
        open.push(wire);
    }
    let mut third = Wire::connect(proxy.address()).await.expect("it listens");
    let _ = third.try_send("there?\n").await;
    assert!(third.until(b"\n").await.is_err());
    proxy
        .log_contains("limiting connections by zone \"limit_conn\"")
        .await;
    open.pop();
    eventually("a place to be free", async || {
        let mut wire = Wire::connect(proxy.address()).await.expect("it listens");
        wire.try_send("there?\n").await.is_ok() && wire.until(b"\n").await.is_ok()
    })
    .await;
}
