//! Hundreds of reloads under load: no error, no closed connection, no memory.

use waypost_tests::Load;
use waypost_tests::names::Scripted;

use super::*;

/// Memory in KiB that a process may gain within two batches of reloads: what the allocator keeps,
/// and the kernel's own rounding. Of what is lost with each reload that is 20 KiB, and a generation
/// has more.
const GAIN: u64 = 2 << 10;
/// Reloads after which memory is looked at.
const BATCH: usize = 50;

/// Two files that differ in all that a reload can change, the listener of the load aside.
fn two_files(origins: &[Origin; 3]) -> [String; 2] {
    let [a, b, c] = origins;
    let file = |servers: [String; 2], upstream: &str, more: &str| {
        format!(
            "[server]\nworkers = 2\naccess_log = false\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
             keepalive_requests = 1000000\n[upstream.backend]\nservers = [{}]\n{upstream}\n[[route]]\nproxy = \"backend\"\n{more}\n{ADMIN}",
            servers.join(", ")
        )
    };
    [
        file(
            [a.with(""), b.with("weight = 2")],
            "policy = \"least_conn\"",
            "response_headers = { set = { X-A = \"a\" } }",
        ),
        file(
            [b.with(""), c.with("weight = 3")],
            "policy = { plugin = \"hash\", key = \"$request_id\", consistent = true }\nkeepalive = 9",
            &format!(
                "{FRONT}[upstream.other]\nservers = [\"127.0.0.1:1\"]\n\
                 [[route]]\npath = \"/other\"\nproxy = \"other\""
            ),
        ),
    ]
}

#[tokio::test]
async fn hundreds_of_reloads_cost_no_request_no_connection_and_no_memory() {
    let origins = [
        origin::named().await,
        origin::named().await,
        origin::named().await,
    ];
    let files = two_files(&origins);
    let mut proxy = proxy::run(&files[0], &[]).await;
    let load = Load::start(proxy.address(), 8);
    let (mut memory, mut descriptors) = (Vec::new(), 0);
    // What is lost grows with every batch. On a busy machine a generation may live a little longer
    // than the next, and its memory is there for another batch; hence as many of them as it takes
    // until one brings nothing.
    let settled = |memory: &[u64]| matches!(memory, [.., a, _, c] if *c < a + GAIN);
    while memory.len() < 4 || !settled(&memory) {
        assert!(memory.len() < 12, "KiB in use: {memory:?}");
        for round in 1..=BATCH {
            proxy.write(&files[round % 2]);
            proxy.reload().await;
        }
        if memory.is_empty() {
            descriptors = proxy.descriptors();
        }
        memory.push(proxy.process().memory());
    }
    let report = load.stop().await;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    assert_eq!(report.connections, 8, "no connection was closed");
    for origin in &origins {
        assert!(report.bodies.iter().any(|body| body == origin.address()));
    }
    let generations = 1 + BATCH * memory.len();
    assert_eq!(proxy.shows("/status").await["generation"], generations);
    eventually("the descriptors to be given back", async || {
        proxy.descriptors() <= descriptors + 8
    })
    .await;
}

#[tokio::test]
async fn a_storm_of_hups_ends_with_the_last_file_in_force() {
    let origins = [
        origin::named().await,
        origin::named().await,
        origin::named().await,
    ];
    let files = two_files(&origins);
    let proxy = proxy::run(&files[0], &[]).await;
    let load = Load::start(proxy.address(), 8);
    for round in 0..200 {
        proxy.write(&files[round % 2]);
        proxy.signal(Signal::HUP);
        // Not all of them while the first is being served; how many there are at a time is left to
        // the machine.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let socket = proxy.directory().join("front.sock");
    eventually("the last file to be in force", async || socket.exists()).await;
    proxy.write(&files[0]);
    proxy.reload().await;
    assert!(!socket.exists());
    let report = load.stop().await;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    assert_eq!(report.connections, 8, "no connection was closed");
    let reloads = proxy.shows("/status").await["reloads"].clone();
    assert_eq!(reloads["failed"], 0, "{reloads}");
}

/// A name that is not answered for keeps a reload waiting; those that are asked for meanwhile are
/// one.
#[tokio::test]
async fn reloads_that_wait_for_another_one_are_one() {
    let dns = Scripted::silent().await;
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin]).more(ADMIN).start().await;
    let before = std::fs::read_to_string(proxy.file()).expect("the file is ours");
    proxy.append(&format!(
        "[upstream.slow]\nservers = [\"slow.test:80\"]\nresolve = \"once\"\n\
         resolver = {{ addresses = [\"{}\"], timeout = \"3s\" }}",
        dns.address()
    ));
    proxy.signal(Signal::HUP);
    dns.is_asked(1).await;
    for _ in 0..20 {
        proxy.signal(Signal::HUP);
        // The kernel makes one of signals that come at once.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    proxy.log_contains("reload refused").await;
    proxy.write(&before);
    proxy.reload().await;
    let refused = proxy.log().matches("reload refused").count();
    assert!(refused <= 2, "{refused}");
}
