//! What changes and goes wrong under load leaves nothing behind. A few seconds of it: an hour of that
//! and more is `benches/soak`.

use std::time::{Duration, Instant};

use waypost_tests::admin::ADMIN;
use waypost_tests::{Answer, Client, Load, Origin, Proxy, eventually, origin, plugin, proxy};

/// Memory in KiB that may be in use at the end beyond that of the beginning: what the allocator
/// takes for an unlucky round, which is more where the machine is busy.
const GAIN: u64 = 16 << 10;
/// Rounds until the allocator has taken what it needs, and rounds at the least after that.
const ROUNDS: (usize, usize) = (20, 10);

/// How long it goes on.
const SPAN: Duration = Duration::from_secs(5);

#[tokio::test]
async fn whatever_happens_for_long_leaves_nothing_behind() {
    let origins = [server().await, server().await];
    let files = [file(&origins, 1), file(&origins, 3)];
    let mut proxy = proxy::run(&files[0], &[]).await;
    // Compiled once; the rounds differ in what they load, not in what is compiled.
    let versions = [version(1), version(2)];
    let begun = Instant::now();
    let (mut memory, mut descriptors) = (Vec::new(), Vec::new());
    while memory.len() < ROUNDS.0 + ROUNDS.1 || begun.elapsed() < SPAN {
        let round = memory.len();
        let load = Load::start(proxy.address(), 8);
        proxy.write(&files[(round + 1) % 2]);
        proxy.reload().await;
        swap(&proxy, &versions[round % 2]).await;
        servers_come_and_go(&proxy, origins[0].address()).await;
        clients_break_off(&proxy).await;
        let report = load.stop().await;
        assert!(
            report.errors.is_empty(),
            "round {round}: {:?}",
            report.errors
        );
        assert_eq!(report.connections, 8, "round {round}: one was closed");
        eventually("all clients to be gone", async || {
            proxy.shows("/status").await["connections"] == 0
        })
        .await;
        memory.push(proxy.process().memory());
        descriptors.push(proxy.descriptors());
        println!(
            "round {round}: {} answers, {} KiB, {} descriptors",
            report.answered.len(),
            memory[round],
            descriptors[round]
        );
    }
    // The least of several: what is about to be given back is in the others.
    let least = |of: &[u64]| of.iter().min().copied().expect("there are rounds");
    let compared = &memory[ROUNDS.0..];
    let (first, last) = (
        least(&compared[..3]),
        least(&compared[compared.len() - 3..]),
    );
    assert!(last < first + GAIN, "KiB in use: {memory:?}");
    let fewest = |of: &[usize]| of.iter().min().copied().expect("there are rounds");
    let (first, last) = (
        fewest(&descriptors[..ROUNDS.0]),
        fewest(&descriptors[ROUNDS.0..]),
    );
    assert!(last <= first + 8, "descriptors: {descriptors:?}");
}

/// A server that answers in some of the ways that are none.
async fn server() -> Origin {
    origin::answers(|request| match request.target.as_str() {
        "/closes" => Answer::raw("").then_close(),
        "/half" => Answer::raw("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").then_reset(),
        "/large" => Answer::ok("x".repeat(200_000)),
        _ => Answer::ok("hello"),
    })
    .await
}

fn file(origins: &[Origin; 2], weight: u32) -> String {
    let [a, b] = origins;
    format!(
        "[server]\nworkers = 2\naccess_log = false\n[[listen]]\naddress = \"127.0.0.1:0\"\nkeepalive_requests = 1000000\n\
         [plugin.mine]\nfile = \"{}\"\n\
         [upstream.backend]\npolicy = \"mine\"\nservers = [{}, {}]\n[[route]]\nproxy = \"backend\"\n{ADMIN}",
        plugin("round_robin", "wasm32-unknown-unknown").display(),
        a.with("max_fails = 0"),
        b.with(&format!("max_fails = 0, weight = {weight}")),
    )
}

/// A policy, as another version: with a section more that means nothing.
fn version(number: u8) -> Vec<u8> {
    let file = plugin("round_robin", "wasm32-unknown-unknown");
    let policy = std::fs::read(file).expect("cargo has built it");
    [&policy[..], &[0, 2, 1, number]].concat()
}

async fn swap(proxy: &Proxy, version: &[u8]) {
    let answer = proxy.load_plugin("mine", version).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// A server is added, and removed again.
async fn servers_come_and_go(proxy: &Proxy, address: &str) {
    let (_, port) = address.rsplit_once(':').expect("an address has a port");
    let added = format!("127.0.0.2:{port}");
    let body = format!("{{\"address\": \"{added}\", \"down\": true}}");
    let answer = proxy
        .admin("POST", "/upstreams/backend/servers", &body)
        .await;
    assert!(answer.status < 300, "{}", answer.text());
    let path = format!("/upstreams/backend/servers/{added}");
    let answer = proxy.admin("DELETE", &path, "").await;
    assert!(answer.status < 300, "{}", answer.text());
}

/// Clients that leave in the middle, and those whose server does.
async fn clients_break_off(proxy: &Proxy) {
    for _ in 0..10 {
        for bytes in [
            "GET / HTTP/1.1\r\nHos",
            "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\nhalf",
            "GET /large HTTP/1.1\r\nHost: t\r\n\r\n",
            "BAD\r\n\r\n",
        ] {
            let mut client = proxy.client().await;
            client.send(bytes).await;
            client.wire.reset();
        }
        for target in ["/closes", "/half"] {
            let mut client = Client::connect(proxy.address()).await;
            client
                .send(format!(
                    "GET {target} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"
                ))
                .await;
            client.wire.rest().await;
        }
    }
}
