//! Policies of one's own: built with the SDK for either target they serve traffic, and however badly they behave, every
//! request is answered.

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

/// The example policy fills servers in order: whoever has two requests in progress is passed over.
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

/// With a policy that has this mode, requests are spread as the fallback spreads them, and the log says why.
async fn is_answered_by_the_fallback(mode: &str, reason: &str) {
    let origins = [
        origin::named().await,
        origin::named().await,
        origin::named().await,
    ];
    let file = plugin("misbehaving", "wasm32-unknown-unknown");
    let proxy = with(&file, &format!("mode = \"{mode}\""), &origins).await;
    for number in 0..30 {
        let response = proxy.get("/").await;
        assert_eq!(
            (response.status, response.text().as_str()),
            (200, origins[number % 3].address())
        );
    }
    proxy.log_contains(reason).await;
    assert!(
        reason.is_empty() || proxy.log().contains("mine"),
        "the log names no plugin:\n{}",
        proxy.log()
    );
}

#[tokio::test]
async fn a_policy_that_never_returns_is_stopped_and_the_fallback_answers() {
    is_answered_by_the_fallback("loops", "deadline").await;
}

#[tokio::test]
async fn a_policy_that_traps_is_replaced_and_the_fallback_answers() {
    is_answered_by_the_fallback("traps", "trap").await;
}

#[tokio::test]
async fn a_policy_that_wants_too_much_memory_is_replaced_and_the_fallback_answers() {
    is_answered_by_the_fallback("grows", "memory").await;
}

#[tokio::test]
async fn a_policy_that_names_an_impossible_endpoint_is_overruled_by_the_fallback() {
    is_answered_by_the_fallback("lies", "1000000").await;
}

#[tokio::test]
async fn a_policy_without_an_opinion_leaves_the_choice_to_the_fallback() {
    is_answered_by_the_fallback("abstains", "").await;
}

#[tokio::test]
async fn a_policy_that_never_returns_does_not_stop_the_requests_of_others() {
    let origins = [origin::named().await];
    let file = plugin("misbehaving", "wasm32-unknown-unknown");
    let bad = "policy = { plugin = \"mine\", mode = \"loops\" }";
    let more = format!(
        "[plugin.mine]\nfile = \"{}\"\n[upstream.bad]\n{bad}\nservers = [\"{address}\", \"{address}\"]\n\
         [[route]]\npath = \"/bad\"\nproxy = \"bad\"",
        file.display(),
        address = origins[0].address(),
    );
    let proxy = proxy::to(&origins).more(&more).start().await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = proxy.client().await;
        client.send("GET /bad HTTP/1.1\r\nHost: test\r\n\r\n").await;
        clients.push(client);
    }
    for _ in 0..20 {
        assert_eq!(proxy.get("/").await.status, 200);
    }
    for client in &mut clients {
        assert_eq!(client.response().await.status, 200);
    }
}

#[tokio::test]
async fn a_file_that_is_no_plugin_is_reported_before_anything_is_served() {
    let directory = tempfile::TempDir::new().expect("there is room for a directory");
    let file = directory.path().join("not.wasm");
    std::fs::write(&file, "not a plugin").expect("the directory is ours");
    let config = directory.path().join("waypost.toml");
    let text = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[plugin.mine]\nfile = \"{}\"\n[upstream.backend]\npolicy = \"mine\"\n\
         servers = [\"127.0.0.1:9\"]\n[[route]]\nproxy = \"backend\"\n",
        file.display()
    );
    std::fs::write(&config, text).expect("the directory is ours");
    let mut command = std::process::Command::new(waypost_tests::waypost());
    command.arg("run").arg("-c").arg(&config);
    let (code, out, err) = waypost_tests::child::run(command);
    assert_eq!(code, 1, "{out}{err}");
    assert!(err.contains("plugin `mine`"), "{err}");
}
