//! Servers are asked whether they are well, and those that are not get no requests; neither do those
//! that answer worse than the others.

mod probes; // what is asked, and what counts as well
mod protocols; // TLS, HTTP/2, gRPC, connections alone
mod rotation; // what a server's health changes
mod changes; // while the configuration, the process or the servers change
mod outliers; // judged by their answers

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

use serde_json::Value;
use waypost_tests::admin::ADMIN;
use waypost_tests::{Answer, Origin, Proxy, Request, eventually, origin, proxy};

/// A check that turns with the first probe, and is soon done again.
const QUICK: &str = "interval = \"100ms\", rise = 1, fall = 1";

/// A server whose answer to `/health` has the status that is set; to all else it says its name.
async fn ward(name: &'static str) -> (Origin, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(200));
    let told = status.clone();
    let origin = origin::answers(move |request| match request.target.as_str() {
        "/health" => Answer::status(told.load(Relaxed), "health"),
        _ => Answer::ok(name),
    });
    (origin.await, status)
}

/// Lines of an upstream whose servers are asked for `/health`.
fn checked(more: &str) -> String {
    format!("health_check = {{ path = \"/health\", {QUICK}{more} }}")
}

/// A proxy before these servers, with lines for its upstream and an admin API.
async fn before(servers: &[&Origin], upstream: &str) -> Proxy {
    let setup = proxy::to(servers.iter().copied()).upstream(upstream);
    setup.more(ADMIN).start().await
}

/// Waits until a server is in rotation, or out of it.
async fn is_in_rotation(proxy: &Proxy, server: &Origin, is_in: bool) {
    let address = server.address();
    let what = format!("{address} to be in rotation: {is_in}");
    eventually(&what, async || {
        proxy.server(address).await["in_rotation"] == is_in
    })
    .await;
}

/// Waits until the last probe of a server came to this.
async fn comes_to(proxy: &Proxy, address: &str, outcome: &str) -> Value {
    let what = format!("the probe of {address} to come to: {outcome}");
    let check = async || proxy.server(address).await["check"].clone();
    eventually(&what, async || {
        let check = check().await;
        check["outcome"]
            .as_str()
            .is_some_and(|told| told.contains(outcome))
    })
    .await;
    proxy.server(address).await
}

/// The requests that were probes.
fn probes(origin: &Origin) -> Vec<Request> {
    let requests = origin.requests().into_iter();
    requests
        .filter(|request| request.target == "/health")
        .collect()
}

/// Waits for so many more probes of it.
async fn is_probed(origin: &Origin, times: usize) {
    let before = probes(origin).len();
    eventually("it to be probed", async || {
        probes(origin).len() >= before + times
    })
    .await;
}

/// The names that so many requests are answered with, each once, in alphabetical order.
async fn answers(proxy: &Proxy, requests: usize) -> Vec<String> {
    let mut names = Vec::new();
    for _ in 0..requests {
        let response = proxy.get("/").await;
        names.push(match response.status {
            200 => response.text(),
            status => status.to_string(),
        });
    }
    names.sort();
    names.dedup();
    names
}
