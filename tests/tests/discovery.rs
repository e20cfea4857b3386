//! Servers that are listed elsewhere: in a file, by a URL, in etcd, in Consul, in Kubernetes. What
//! sources do meanwhile, vanish, hang or lie, costs no request.

mod file; // watched
mod http; // polled
mod etcd; // a real one
mod consul; // one of ours
mod kubernetes; // one of ours
mod sources; // what holds for all of them
mod served; // alone is kept, handed on, and asked for
mod refused; // by policies, at a start
mod commands; // to servers that are listed

use std::path::Path;

use serde_json::Value;
use waypost_tests::admin::ADMIN;
use waypost_tests::{Origin, Proxy, eventually, proxy};

/// A proxy whose servers come from there; `more` are further lines of its upstream.
async fn listing(source: &str, more: &str) -> Proxy {
    let lines = format!("servers_from = {{ {source} }}\n{more}");
    let setup = proxy::to([] as [&Origin; 0]).upstream(&lines);
    setup.more(ADMIN).start().await
}

/// A list of origins as JSON.
fn list(origins: &[&Origin]) -> String {
    let addresses: Vec<&str> = origins.iter().map(|origin| origin.address()).collect();
    serde_json::json!({ "servers": addresses }).to_string()
}

/// A list of one origin and a backup, which the policy `hash` does not take.
fn with_backup(primary: &Origin, backup: &Origin) -> String {
    let backup = serde_json::json!({ "address": backup.address(), "backup": true });
    serde_json::json!([primary.address(), backup]).to_string()
}

/// Replaces a file as deployments do: a reader has the one before, or this one.
fn replace(directory: &Path, name: &str, text: &str) {
    let new = directory.join(format!("{name}.next"));
    std::fs::write(&new, text).expect("the directory is ours");
    std::fs::rename(new, directory.join(name)).expect("the directory is ours");
}

/// What `waypost upstream list` has of the upstream's source.
async fn source(proxy: &Proxy) -> Value {
    proxy.shows("/upstreams/backend").await["source"].clone()
}

/// The addresses that it has, in its order.
async fn served(proxy: &Proxy) -> Vec<String> {
    let upstream = proxy.shows("/upstreams/backend").await;
    let servers = upstream["servers"].as_array().expect("a list");
    let address = |server: &Value| Some(server["address"].as_str()?.to_owned());
    servers.iter().filter_map(address).collect()
}

async fn serves(proxy: &Proxy, origins: &[&Origin]) {
    let expected: Vec<&str> = origins.iter().map(|origin| origin.address()).collect();
    eventually("the servers that are listed", async || {
        served(proxy).await == expected
    })
    .await;
    settled(proxy).await;
}

/// Waits until all workers serve what is shown: a change that is asked for now, here one that comes to
/// nothing, is made after those before it.
async fn settled(proxy: &Proxy) {
    let nobody = "/upstreams/backend/servers/nobody";
    let change = proxy.admin("PATCH", nobody, "{\"weight\": 1}").await;
    assert_eq!(change.status, 404);
}

/// Waits until the source is shown with an error that contains `part`.
async fn is_refused(proxy: &Proxy, part: &str) {
    eventually(&format!("an error with {part:?}"), async || {
        let error = source(proxy).await["error"].clone();
        error.as_str().is_some_and(|error| error.contains(part))
    })
    .await;
}
