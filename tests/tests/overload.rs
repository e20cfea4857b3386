//! More load than servers take: requests wait for their turn, and whatever has a bound keeps to it.

mod queue; // first come first served
mod changes; // servers, configurations and plugins that change while requests wait
mod sessions; // of streams
mod retry_budget; // how often another server is asked
mod limits; // what an upstream may have at all
mod clients; // what one client may have

use std::sync::Arc;

use waypost_tests::admin::ADMIN;
use waypost_tests::http2::Stream;
use waypost_tests::proxy::Setup;
use waypost_tests::{Answer, Client, Gate, Http2, Origin, Proxy, eventually, origin, proxy};

const SERVERS: &str = "/upstreams/backend/servers";

/// An origin that answers `/3` with `3` once the gate of that number is open, and all other targets
/// at once.
async fn gated(gates: usize) -> (Origin, Arc<Vec<Gate>>) {
    let gates: Arc<Vec<Gate>> = Arc::new((0..gates).map(|_| Gate::closed()).collect());
    let held = gates.clone();
    let origin = origin::answers(move |request| {
        let name = request.target.trim_start_matches('/').to_owned();
        let gate = name.parse().ok().and_then(|number: usize| held.get(number));
        match gate {
            Some(gate) => Answer::ok(&name).when(gate),
            None => Answer::ok(&name),
        }
    })
    .await;
    (origin, gates)
}

/// Nothing is found by looking once a second: all that these specs wait for is told.
const WITHOUT_LOOKS: &str = "look:1000000";

/// A proxy to servers whose requests may wait.
fn to(servers: impl IntoIterator<Item = String>) -> Setup {
    with_faults(servers, "")
}

fn with_faults(servers: impl IntoIterator<Item = String>, faults: &str) -> Setup {
    let shell = format!("WAYPOST_FAULTS={WITHOUT_LOOKS},{faults} exec \"$@\"");
    proxy::to(servers).through_shell(&shell)
}

/// A proxy to a server that takes one request at a time.
fn one_at_a_time(origin: &Origin, queue: &str) -> Setup {
    to([origin.with("max_conns = 1")])
        .upstream(&format!("queue = {queue}"))
        .more(ADMIN)
}

/// Sends a request, without waiting for an answer.
async fn begin(proxy: &Proxy, target: impl std::fmt::Display) -> Client {
    let mut client = proxy.client().await;
    let request = format!("GET /{target} HTTP/1.1\r\nHost: t\r\n\r\n");
    client.send(request).await;
    client
}

/// A stream with a request that is whole.
async fn open(http2: &mut Http2, target: &str) -> Stream {
    let request = http2.request("GET", target, &[]);
    http2.open(request, true).await
}

async fn load(proxy: &Proxy) -> serde_json::Value {
    proxy.shows("/upstreams/backend").await["load"].take()
}

/// How many requests the bound of this name has refused.
async fn refused(proxy: &Proxy, bound: &str) -> u64 {
    let count = load(proxy).await["refused"][bound].as_u64();
    count.unwrap_or_else(|| panic!("no bound {bound}"))
}

/// Waits until so many requests wait.
async fn waiting(proxy: &Proxy, number: usize) {
    eventually(&format!("{number} requests to wait"), async || {
        load(proxy).await["waiting"] == number
    })
    .await;
}

/// Nothing waits and nothing is in progress.
async fn is_at_rest(proxy: &Proxy) {
    eventually("all to be over", async || {
        let load = load(proxy).await;
        load["waiting"] == 0 && load["requests"] == 0
    })
    .await;
}

fn targets(origin: &Origin) -> Vec<String> {
    let requests = origin.requests().into_iter();
    requests.map(|request| request.target).collect()
}
