//! Policies of one's own: built with the SDK for either target they serve traffic.

use std::path::Path;

use waypost_tests::{Answer, Gate, Origin, Proxy, origin, plugin, proxy};

/// A proxy before these origins with a policy from a file.
async fn with(file: &Path, settings: &str, origins: &[Origin]) -> Proxy {
    let policy = format!("policy = {{ plugin = \"mine\", {settings} }}");
    let table = format!("[plugin.mine]\nfile = \"{}\"", file.display());
    proxy::to(origins)
        .upstream(&policy)
        .more(&table)
        .start()
        .await
}

/// The example policy fills servers in order: a server with two requests in progress is passed
/// over.
async fn the_example_serves(target: &str) {
    let gate = Gate::closed();
    let mut origins = Vec::new();
    for name in ["a", "b"] {
        let gate = gate.clone();
        origins.push(origin::answers(move |_| Answer::ok(name).when(&gate)).await);
    }
    let proxy = with(&plugin("spill", target), "busy = 2", &origins).await;
    let mut clients = Vec::new();
    for (a, b) in [(1, 0), (2, 0), (2, 1)] {
        let mut client = proxy.client().await;
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
        origins[0].received(a).await;
        origins[1].received(b).await;
        clients.push(client);
    }
    gate.open();
    for (client, server) in clients.iter_mut().zip(["a", "a", "b"]) {
        assert_eq!(client.response().await.text(), server);
    }
    assert_eq!(proxy.get("/").await.text(), "a");
}

#[tokio::test]
async fn the_example_policy_serves_without_wasi() {
    the_example_serves("wasm32-unknown-unknown").await;
}

#[tokio::test]
async fn the_example_policy_serves_with_wasi() {
    the_example_serves("wasm32-wasip2").await;
}
