//! Distribution is exact across workers.
//!
//! Each request comes on a connection of its own, so that the kernel spreads them over the workers.

use std::collections::BTreeMap;

use waypost_tests::admin::ADMIN;
use waypost_tests::{Answer, Client, Gate, Load, Origin, Proxy, origin, plugin, proxy};

const FOUR: &str = "workers = 4";

async fn three() -> [Origin; 3] {
    [
        origin::named().await,
        origin::named().await,
        origin::named().await,
    ]
}

/// Which origins answered that many requests, one after another.
async fn answers(proxy: &Proxy, number: usize) -> Vec<String> {
    let mut answers = Vec::new();
    for _ in 0..number {
        answers.push(proxy.get("/").await.text());
    }
    answers
}

#[tokio::test]
async fn nine_requests_over_three_equal_servers_go_three_each() {
    let [a, b, c] = three().await;
    let proxy = proxy::to([&a, &b, &c]).server(FOUR).start().await;
    let mut counts = BTreeMap::new();
    for name in answers(&proxy, 9).await {
        *counts.entry(name).or_insert(0) += 1;
    }
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [3, 3, 3]);
}

#[tokio::test]
async fn equal_servers_take_turns_in_file_order() {
    let [a, b, c] = three().await;
    let proxy = proxy::to([&a, &b, &c]).server(FOUR).start().await;
    let turn = [a.address(), b.address(), c.address()];
    assert_eq!(answers(&proxy, 30).await, turn.repeat(10));
}

#[tokio::test]
async fn weights_five_one_one_are_interleaved_in_nginx_s_order() {
    let [a, b, c] = three().await;
    let servers = [
        a.with("weight = 5"),
        b.with("weight = 1"),
        c.with("weight = 1"),
    ];
    let proxy = proxy::to(servers).server(FOUR).start().await;
    let (a, b, c) = (a.address(), b.address(), c.address());
    assert_eq!(answers(&proxy, 21).await, [a, a, b, a, c, a, a].repeat(3));
}

#[tokio::test]
async fn least_conn_sees_the_load_of_all_workers() {
    let gate = Gate::closed();
    let mut origins = Vec::new();
    for name in ["a", "b", "c"] {
        let gate = gate.clone();
        origins.push(origin::answers(move |_| Answer::ok(name).when(&gate)).await);
    }
    let proxy = proxy::to(&origins)
        .server(FOUR)
        .upstream("policy = \"least_conn\"")
        .start()
        .await;
    // Twelve at once: a policy that counted only its own worker's requests would put more than four
    // on some server.
    let mut clients = Vec::new();
    for number in 1..=12 {
        let mut client = proxy.client().await;
        client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n").await;
        clients.push(client);
        let arrived = async || {
            origins
                .iter()
                .map(|origin| origin.requests().len())
                .sum::<usize>()
                == number
        };
        waypost_tests::eventually(&format!("request {number} at an origin"), arrived).await;
    }
    let loads: Vec<usize> = origins
        .iter()
        .map(|origin| origin.requests().len())
        .collect();
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response().await.status, 200);
    }
    assert_eq!(loads, [4, 4, 4]);
}

#[tokio::test]
async fn an_exchange_no_longer_counts_once_its_client_has_the_answer() {
    let (a, b) = (origin::named().await, origin::named().await);
    let proxy = proxy::to([&a, &b])
        .server(FOUR)
        .upstream("policy = \"least_conn\"")
        .start()
        .await;
    // If the last request, on another worker, were still counted, the next one would go to another
    // server than the one whose turn it is.
    assert_eq!(
        answers(&proxy, 400).await,
        [a.address(), b.address()].repeat(200)
    );
}

#[tokio::test]
async fn every_worker_serves() {
    let origin = origin::says("hello").await;
    let mut proxy = proxy::to([&origin]).server(FOUR).start().await;
    // Connections are spread by a hash of their ports; sixty-four leave no worker out, but for bad
    // luck of 1 in 10^7.
    let mut clients = Vec::new();
    for _ in 0..64 {
        let mut client = Client::connect(proxy.address()).await;
        assert_eq!(client.get("/").await.text(), "hello");
        clients.push(client);
    }
    // Each worker keeps one idle connection to the origin for its sequential requests.
    assert_eq!(origin.connections(), 4, "one kept connection per worker");
    assert!(proxy.process().runs());
}

/// Policies subtract the times of their calls.
#[tokio::test]
async fn time_never_goes_back_for_a_policy_that_all_workers_share() {
    let origin = origin::says("hello").await;
    let setup = proxy::to([&origin, &origin]);
    let file = setup.directory().join("clock.wasm");
    std::fs::copy(plugin("clock", "wasm32-unknown-unknown"), file).unwrap();
    let proxy = setup
        .server(FOUR)
        .upstream("policy = \"clock\"")
        .more("[plugin.clock]\nfile = \"clock.wasm\"\nfallback = \"round_robin\"")
        .more(ADMIN)
        .start()
        .await;
    let load = Load::start(proxy.address(), 32);
    for number in (200..=2000).step_by(200) {
        origin.received(number).await;
    }
    let report = load.stop().await;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    let plugin = proxy.shows("/plugins/clock").await;
    assert_eq!(plugin["traps"], 0, "{plugin}\n{}", proxy.log());
    assert!(plugin["calls"].as_u64() >= Some(2000), "{plugin}");
}
