//! `limit_conn`: requests in progress, or connections of a stream, by key.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use waypost_tests::admin::ADMIN;
use waypost_tests::{
    Answer, Client, Gate, Http2, Origin, Proxy, Wire, eventually, origin, plugin, proxy,
};

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

/// The plugin from a file, as another version.
fn version(number: u8) -> Vec<u8> {
    let file = plugin("limit_conn", "wasm32-unknown-unknown");
    let mut bytes = std::fs::read(file).expect("cargo has built it");
    bytes.extend([0, 2, 1, number]);
    bytes
}

async fn load(proxy: &Proxy, component: &[u8]) {
    let loaded = proxy.load_plugin("mine", component).await;
    assert_eq!(loaded.status, 200, "{}", loaded.text());
}

/// A route with so many requests for each user.
fn place(path: &str, connections: u32) -> String {
    format!(
        "[[route]]\npath = \"{path}\"\nproxy = \"backend\"\n\
         hooks = [{{ use = \"users\", connections = {connections} }}]"
    )
}

/// Asks for a target until it is told to stop; the statuses that came.
async fn asks(mut client: Client, target: String, stop: Arc<AtomicBool>) -> Vec<u16> {
    let mut statuses = Vec::new();
    while !stop.load(Relaxed) {
        statuses.push(client.get(&target).await.status);
    }
    statuses
}

#[tokio::test]
async fn counts_stay_right_through_swaps_and_reloads_at_full_load() {
    let gate = Gate::closed();
    let origin = holds(&gate).await;
    let setup = proxy::to([&origin])
        .listen("keepalive_requests = 1000000")
        // Requests are held for as long as all of this takes.
        .upstream("read_timeout = \"1h\"")
        .route("hooks = [{ use = \"users\", connections = 2, status = 500 }]")
        .more(&ZONE.replace("\"limit_conn\"", "\"mine\""))
        .more(&place("/busy/", 4))
        .more(&place("/one/", 1))
        .more(
            "[plugin.mine]\nfile = \"mine.wasm\"\nbudget = 100\nlimits = { deadline = \"1s\" }\n\
             grants = [\"request\", \"exchange\", \"changes\"]",
        )
        .more(ADMIN);
    std::fs::write(setup.directory().join("mine.wasm"), version(0)).unwrap();
    let proxy = setup.start().await;
    let mut full = [held(&proxy, "full").await, held(&proxy, "full").await];
    origin.received(2).await;

    let stop = Arc::new(AtomicBool::new(false));
    let beyond = asks(proxy.client().await, "/?user=full".to_owned(), stop.clone());
    let beyond = tokio::spawn(beyond);
    let mut within = Vec::new();
    for number in 0..8 {
        // Two for each user, and two whose ends may still be on their way.
        let target = format!("/busy/?user=u{}", number / 2);
        let asks = asks(proxy.client().await, target, stop.clone());
        within.push(tokio::spawn(asks));
    }
    for number in 1..=3_u8 {
        load(&proxy, &version(number)).await;
        let (before, after) = (499 + u16::from(number), 500 + u16::from(number));
        assert_eq!(status(&proxy, "full").await, before, "after a swap");
        proxy.edit(&format!("status = {before}"), &format!("status = {after}"));
        proxy.reload().await;
        assert_eq!(status(&proxy, "full").await, after, "after a reload");
    }
    stop.store(true, Relaxed);
    let beyond = beyond.await.expect("no panic");
    let passed = beyond.iter().filter(|status| **status == 200).count();
    assert_eq!(passed, 0, "of {} beyond the limit", beyond.len());
    for client in within {
        let statuses = client.await.expect("no panic");
        let rejected = statuses.iter().filter(|status| **status != 200).count();
        assert_eq!(rejected, 0, "of {} within the limit", statuses.len());
    }

    gate.open();
    for client in &mut full {
        assert_eq!(client.response().await.status, 200);
    }
    for user in ["full", "u0", "u1", "u2", "u3"] {
        eventually(&format!("no request of {user} to be counted"), async || {
            let target = format!("/one/?user={user}");
            proxy.get(&target).await.status == 200
        })
        .await;
    }
}
