//! A policy that takes other endpoints in place (`member-changes` in the WIT) lives on while
//! servers come and go: it is told, each server keeps its index, and what began before ends at it.

use rustix::process::Signal;
use waypost_tests::admin::ADMIN;
use waypost_tests::proxy::Setup;
use waypost_tests::{
    Answer, Client, Gate, Load, Origin, Proxy, Response, eventually, origin, pause, plugin, proxy,
};

const SERVERS: &str = "/upstreams/backend/servers";
/// One instance for all workers, and one for each.
const EACH_SHARING: [&str; 2] = ["false", "true"];
/// An index that a compact list of a few servers never has.
const MANY: u64 = 64;

/// A proxy of one worker that balances these by the guest `roster`.
async fn balancing(servers: &[&Origin], per_worker: &str) -> Proxy {
    of_workers(1, servers, per_worker).start().await
}

fn of_workers(workers: usize, servers: &[&Origin], per_worker: &str) -> Setup {
    let setup = proxy::to(servers.iter().map(|server| server.with("max_fails = 0")));
    let file = plugin("roster", "wasm32-unknown-unknown");
    std::fs::copy(&file, setup.directory().join("roster.wasm")).unwrap();
    setup
        .server(&format!("workers = {workers}"))
        .upstream(&format!(
            "policy = {{ plugin = \"roster\", per_worker = {per_worker} }}\n\
             next_upstream = [\"error\", \"http_503\"]"
        ))
        .more(&format!(
            "{ADMIN}\n[plugin.roster]\nfile = \"roster.wasm\"\n\
             grants = [\"request\", \"exchange\"]"
        ))
}

async fn change(proxy: &Proxy, method: &str, path: &str, body: &str) {
    let response = proxy.admin(method, path, body).await;
    assert_eq!(response.status, 200, "{method} {path}: {}", response.text());
}

async fn add(proxy: &Proxy, server: &Origin) {
    let body = format!(
        "{{\"address\": \"{}\", \"max_fails\": 0}}",
        server.address()
    );
    change(proxy, "POST", SERVERS, &body).await;
}

async fn remove(proxy: &Proxy, server: &Origin) {
    change(
        proxy,
        "DELETE",
        &format!("{SERVERS}/{}", server.address()),
        "",
    )
    .await;
}

/// What the policy says with a response.
fn said(response: &Response, name: &str) -> u64 {
    let value = response.headers.get(name);
    value
        .and_then(|value| value.parse().ok())
        .unwrap_or_else(|| panic!("no {name} in {response:?}"))
}

/// The indexes that so many requests are sent to and what answers there, each once, in order.
async fn places(proxy: &Proxy, requests: usize) -> Vec<(u64, String)> {
    let mut places = Vec::new();
    for _ in 0..requests {
        let response = proxy.get("/").await;
        assert_eq!(response.status, 200, "{response:?}");
        places.push((said(&response, "X-Index"), response.text()));
    }
    places.sort();
    places.dedup();
    places
}

fn at(index: u64, server: &Origin) -> (u64, String) {
    (index, server.address().to_owned())
}

fn configured(proxy: &Proxy) -> usize {
    proxy.log().matches("roster is configured").count()
}

/// The leases that an instance has given, as it has written them down.
fn given(proxy: &Proxy, instance: u64) -> Vec<String> {
    let (log, entry) = (proxy.log(), format!("ledger {instance:x} gives "));
    let entries = log.lines().filter_map(|line| line.split_once(&entry));
    entries.map(|(_, lease)| lease.to_owned()).collect()
}

/// Instances of the policy that there are.
async fn instances(proxy: &Proxy) -> u64 {
    let shown = proxy.shows("/plugins").await;
    let plugins = shown["plugins"].as_array().expect("a list of plugins");
    let roster = plugins.iter().find(|plugin| plugin["name"] == "roster");
    roster.unwrap()["instances"].as_u64().unwrap()
}

/// An origin that names itself, at `/held` once the gate is open.
async fn holding(gate: &Gate) -> Origin {
    let held = gate.clone();
    origin::answers(move |request| match request.target.as_str() {
        "/held" => Answer::ok("held").when(&held),
        "/fails" => Answer::status(503, "not me").when(&held),
        _ => Answer::ok("fine"),
    })
    .await
}

async fn waiting(proxy: &Proxy, origin: &Origin, target: &str) -> Client {
    let arrived = origin.requests().len();
    let mut client = proxy.client().await;
    client
        .send(format!("GET {target} HTTP/1.1\r\nHost: t\r\n\r\n"))
        .await;
    origin.received(arrived + 1).await;
    client
}

#[tokio::test]
async fn an_instance_lives_on_and_servers_keep_their_indexes() {
    for per_worker in EACH_SHARING {
        let (a, b, c) = (
            origin::named().await,
            origin::named().await,
            origin::named().await,
        );
        let proxy = balancing(&[&a, &b], per_worker).await;
        let first = proxy.get("/").await;
        assert_eq!(said(&first, "X-Changes"), 0);
        let before = configured(&proxy);
        add(&proxy, &c).await;
        assert_eq!(places(&proxy, 6).await, [at(0, &a), at(1, &b), at(2, &c)]);
        remove(&proxy, &a).await;
        assert_eq!(places(&proxy, 6).await, [at(1, &b), at(2, &c)]);
        // What comes back is new: its index was another one's as far as the policy knows.
        add(&proxy, &a).await;
        assert_eq!(places(&proxy, 6).await, [at(1, &b), at(2, &c), at(3, &a)]);
        let last = proxy.get("/").await;
        assert_eq!(said(&last, "X-Changes"), 3, "per worker: {per_worker}");
        assert_eq!(said(&last, "X-Instance"), said(&first, "X-Instance"));
        assert_eq!(said(&last, "X-Heir"), 0, "nothing is handed over");
        assert_eq!(configured(&proxy), before, "per worker: {per_worker}");
    }
}

#[tokio::test]
async fn a_policy_is_told_the_order_of_the_file_and_the_status_shows_it() {
    let (a, b, c) = (
        origin::named().await,
        origin::named().await,
        origin::named().await,
    );
    let proxy = balancing(&[&a, &b], "false").await;
    let of_a = format!("\"{}\"", a.address());
    let text = std::fs::read_to_string(proxy.file()).unwrap();
    let line = text.lines().find(|line| line.contains(&of_a)).unwrap();
    let of_c = line.replace(a.address(), c.address());
    proxy.edit(line, &format!("{line}\n{of_c}"));
    proxy.reload().await;
    let told = format!(
        "roster has 0={} 2={} 1={}",
        a.address(),
        c.address(),
        b.address()
    );
    proxy.log_contains(&told).await;
    proxy.edit(line, "");
    proxy.reload().await;
    let shown = proxy.shows("/upstreams/backend").await;
    let servers = shown["servers"].as_array().unwrap();
    let addresses: Vec<_> = servers
        .iter()
        .map(|server| server["address"].as_str().unwrap())
        .collect();
    assert_eq!(addresses, [c.address(), b.address()]);
}

#[tokio::test]
async fn what_began_before_a_change_ends_at_the_same_instance() {
    for per_worker in EACH_SHARING {
        let gate = Gate::closed();
        let (a, b) = (holding(&gate).await, holding(&gate).await);
        let proxy = balancing(&[&a], per_worker).await;
        let mut held = waiting(&proxy, &a, "/held").await;
        add(&proxy, &b).await;
        remove(&proxy, &a).await;
        let meanwhile = proxy.get("/").await;
        assert_eq!(said(&meanwhile, "X-Ends"), 0);
        let instance = said(&meanwhile, "X-Instance");
        eventually("both leases to be written down", async || {
            given(&proxy, instance).len() == 2
        })
        .await;
        let leases = given(&proxy, instance);
        assert_ne!(leases[0], leases[1], "the first one is still open");
        gate.open();
        let response = held.response().await;
        assert_eq!(said(&response, "X-Instance"), instance);
        let mut picks = 2;
        eventually("all ends to be told", async || {
            let before = picks;
            picks += 1;
            said(&proxy.get("/").await, "X-Ends") == before
        })
        .await;
    }
}

/// A worker that finds the instance busy tells it later, though no request follows by which it would
/// come to that: those have other servers.
#[tokio::test]
async fn what_began_before_a_change_ends_at_an_instance_that_was_busy_as_well() {
    let gate = Gate::closed();
    let (a, b) = (holding(&gate).await, holding(&gate).await);
    let setup = of_workers(2, &[&a], "false");
    let proxy = setup
        .more("limits = { deadline = \"5s\" }\nbudget = 100")
        .start()
        .await;
    // So many that both workers have some.
    let mut held = Vec::new();
    for _ in 0..6 {
        held.push(waiting(&proxy, &a, "/held").await);
    }
    let mut picks = held.len() as u64 + 1;
    add(&proxy, &b).await;
    let busy = proxy.get_with("/", "X-Dawdle: 1000\r\n");
    let ends = async {
        // It may not have begun by then, on a machine that is busy: then nothing has to wait.
        pause().await;
        gate.open();
        for client in &mut held {
            assert_eq!(client.response().await.status, 200);
        }
    };
    tokio::join!(busy, ends);
    eventually("all ends to be told", async || {
        let response = proxy.get("/").await;
        let before = picks;
        picks += u64::from(response.headers.get("X-Ends").is_some());
        picks > before && said(&response, "X-Ends") == before
    })
    .await;
}

#[tokio::test]
async fn a_request_that_began_before_is_tried_again_with_the_servers_of_then() {
    for per_worker in EACH_SHARING {
        let gate = Gate::closed();
        let bad = holding(&gate).await;
        let (good, new) = (origin::named().await, origin::named().await);
        let proxy = balancing(&[&bad, &good], per_worker).await;
        let mut client = waiting(&proxy, &bad, "/fails").await;
        add(&proxy, &new).await;
        remove(&proxy, &bad).await;
        remove(&proxy, &good).await;
        assert_eq!(places(&proxy, 3).await, [at(2, &new)]);
        gate.open();
        let response = client.response().await;
        assert_eq!((response.status, said(&response, "X-Index")), (200, 1));
        assert_eq!(said(&response, "X-Changes"), 3);
        assert_eq!(response.text(), good.address());
    }
}

#[tokio::test]
async fn an_instance_that_fails_at_a_change_is_replaced_by_one_that_has_the_present_servers() {
    for per_worker in EACH_SHARING {
        let (a, b, c) = (
            origin::named().await,
            origin::named().await,
            origin::named().await,
        );
        let proxy = balancing(&[&a, &b, &c], per_worker).await;
        let first = proxy.get("/").await;
        remove(&proxy, &a).await;
        let of_b = format!("{SERVERS}/{}", b.address());
        change(&proxy, "PATCH", &of_b, "{\"weight\": 13}").await;
        eventually("the next instance", async || {
            let response = proxy.get("/").await;
            assert_eq!(response.status, 200, "the fallback serves");
            assert_ne!(response.text(), a.address(), "it is gone");
            response.headers.get("X-Instance").is_some()
        })
        .await;
        assert_eq!(places(&proxy, 6).await, [at(1, &b), at(2, &c)]);
        let next = proxy.get("/").await;
        assert_ne!(said(&next, "X-Instance"), said(&first, "X-Instance"));
        assert_eq!(said(&next, "X-Changes"), 0);
        assert_eq!(said(&next, "X-Heir"), 0, "the state may be the cause");
    }
}

#[tokio::test]
async fn where_most_indexes_are_of_servers_that_are_gone_a_fresh_instance_takes_over() {
    for per_worker in EACH_SHARING {
        let (a, b) = (origin::named().await, origin::named().await);
        let proxy = balancing(&[&a], per_worker).await;
        let first = proxy.get("/").await;
        let mut changes = 0;
        let last = loop {
            add(&proxy, &b).await;
            remove(&proxy, &b).await;
            changes += 2;
            let response = proxy.get("/").await;
            assert_eq!((response.status, said(&response, "X-Index")), (200, 0));
            if said(&response, "X-Instance") != said(&first, "X-Instance") {
                break response;
            }
            assert_eq!(said(&response, "X-Changes"), changes);
            assert!(changes < 2 * MANY, "it lives on for ever");
        };
        assert_eq!(changes, 2 * (MANY - 1));
        assert_eq!(
            said(&last, "X-Heir"),
            1,
            "it knows what the one before knew"
        );
        add(&proxy, &b).await;
        assert_eq!(places(&proxy, 4).await, [at(0, &a), at(2, &b)]);
    }
}

#[tokio::test]
async fn whatever_else_is_said_of_the_policy_has_a_fresh_instance_made() {
    let (a, b) = (origin::named().await, origin::named().await);
    let mut proxy = balancing(&[&a, &b], "false").await;
    let mut known = vec![said(&proxy.get("/").await, "X-Instance")];
    let of_b = format!("\"{}\"", b.address());
    let as_backup = format!("{of_b}, backup = true");
    for (from, to) in [
        ("false }", "true }"),
        ("true }", "true, fallback = \"random\" }"),
        (&of_b, &as_backup),
    ] {
        proxy.edit(from, to);
        proxy.reload().await;
        let response = proxy.get("/").await;
        assert_eq!(said(&response, "X-Changes"), 0, "{to}");
        let instance = said(&response, "X-Instance");
        assert!(!known.contains(&instance), "{to}");
        known.push(instance);
    }
    // By another `tls` servers are other ones, whatever their addresses.
    let tls = "[upstream.backend]\ntls = true\nconnect_timeout = \"100ms\"";
    proxy.edit("[upstream.backend]", tls);
    proxy.reload().await;
    assert_eq!(proxy.get("/").await.status, 504, "they speak none");
    proxy.signal(Signal::QUIT);
    proxy.process().ended().await;
    for instance in known {
        assert_eq!(given(&proxy, instance).len(), 1);
    }
}

#[tokio::test]
async fn two_hundred_changes_under_load_fail_no_request_and_leave_nothing_behind() {
    for per_worker in EACH_SHARING {
        let (a, b) = (origin::named().await, origin::named().await);
        let proxy = of_workers(2, &[&a], per_worker).start().await;
        let before = instances(&proxy).await;
        let load = Load::start(proxy.address(), 4);
        for _ in 0..100 {
            add(&proxy, &b).await;
            remove(&proxy, &b).await;
        }
        add(&proxy, &b).await;
        let report = load.stop().await;
        assert!(report.errors.is_empty(), "{:?}", report.errors);
        let indexes = places(&proxy, 8).await;
        assert_eq!(indexes.len(), 2, "{indexes:?}");
        assert!(indexes[1].0 < MANY, "{indexes:?}");
        eventually("instances to be freed", async || {
            instances(&proxy).await == before
        })
        .await;
    }
}
