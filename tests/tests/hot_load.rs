//! A policy is swapped while traffic flows, and no request fails: by its file, by a command, by a
//! reload. A version that does not work does not come into force, or does not stay in force.

mod beside; // of other changes

use std::path::Path;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;
use waypost_tests::admin::ADMIN;
use waypost_tests::{
    Load, Origin, Proxy, Response, child, eventually, origin, plugin, proxy, waypost,
};

/// What `ip_hash` needs.
const GRANTS: &str = "grants = [\"request\", \"exchange\"]";

/// A policy's file as another version: with a section more that means nothing.
fn version(package: &str, number: u8) -> Vec<u8> {
    let file = plugin(package, "wasm32-unknown-unknown");
    let mut bytes = std::fs::read(file).expect("cargo has built it");
    bytes.extend([0, 2, 1, number]);
    bytes
}

/// A proxy with a policy `mine` from `mine.wasm`, and an admin socket.
async fn with(component: &[u8], entry: &str, origins: &[Origin]) -> Proxy {
    let setup = proxy::to(origins)
        .listen("keepalive_requests = 1000000")
        .upstream("policy = \"mine\"");
    std::fs::write(setup.directory().join("mine.wasm"), component).unwrap();
    let entry = format!("[plugin.mine]\nfile = \"mine.wasm\"\n{entry}");
    setup.more(&entry).more(ADMIN).start().await
}

pub(super) async fn origins(count: usize) -> Vec<Origin> {
    let mut origins = Vec::new();
    for _ in 0..count {
        origins.push(origin::named().await);
    }
    origins
}

async fn mine(proxy: &Proxy) -> Value {
    proxy.shows("/plugins/mine").await
}

async fn rollback(proxy: &Proxy) -> Response {
    proxy.admin("POST", "/plugins/mine/rollback", "").await
}

async fn load(proxy: &Proxy, component: &[u8]) -> Response {
    proxy.load_plugin("mine", component).await
}

/// Replaces a file as deployments do.
fn replace(file: &Path, content: &[u8]) {
    let new = file.with_extension("new");
    std::fs::write(&new, content).unwrap();
    std::fs::rename(new, file).unwrap();
}

#[tokio::test]
async fn a_version_that_is_sent_to_the_admin_api_serves_the_next_request() {
    let origins = origins(2).await;
    let proxy = with(&version("round_robin", 1), GRANTS, &origins).await;
    assert_ne!(
        proxy.get("/").await.text(),
        proxy.get("/").await.text(),
        "they take turns"
    );
    let answer = load(&proxy, &version("ip_hash", 2)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let loaded = answer.json();
    assert_eq!(
        (loaded["version"].as_u64(), loaded["state"].as_str()),
        (Some(2), Some("live"))
    );
    assert_eq!(loaded["previous"]["version"], 1);
    let first = proxy.get("/").await.text();
    for _ in 0..5 {
        assert_eq!(proxy.get("/").await.text(), first, "one client, one server");
    }
}

#[tokio::test]
async fn a_watched_file_that_changes_is_loaded() {
    let origins = origins(2).await;
    let proxy = with(
        &version("round_robin", 1),
        "watch = true\ngrants = [\"request\", \"exchange\"]",
        &origins,
    )
    .await;
    replace(&proxy.directory().join("mine.wasm"), &version("ip_hash", 2));
    proxy.log_contains("plugin `mine` version 2 serves").await;
    // Written in place, as `cp` does.
    std::fs::write(
        proxy.directory().join("mine.wasm"),
        version("round_robin", 3),
    )
    .unwrap();
    proxy.log_contains("plugin `mine` version 3 serves").await;
    assert_ne!(proxy.get("/").await.text(), proxy.get("/").await.text());
}

#[tokio::test]
async fn a_file_that_is_not_watched_is_loaded_by_the_next_reload() {
    let origins = origins(2).await;
    let proxy = with(
        &version("round_robin", 1),
        "grants = [\"request\", \"exchange\"]",
        &origins,
    )
    .await;
    replace(&proxy.directory().join("mine.wasm"), &version("ip_hash", 2));
    assert_eq!(mine(&proxy).await["version"], 1);
    proxy.signal(Signal::HUP);
    proxy.log_contains("reloaded").await;
    assert_eq!(mine(&proxy).await["version"], 2);
    assert_eq!(proxy.get("/").await.text(), proxy.get("/").await.text());
}

#[tokio::test]
async fn a_version_that_was_loaded_by_hand_stays_through_reloads_until_its_file_changes() {
    let origins = origins(2).await;
    let proxy = with(&version("round_robin", 1), "", &origins).await;
    assert_eq!(load(&proxy, &version("round_robin", 2)).await.status, 200);
    proxy.reload().await;
    assert_eq!(mine(&proxy).await["version"], 2);
    replace(
        &proxy.directory().join("mine.wasm"),
        &version("round_robin", 3),
    );
    proxy.reload().await;
    assert_eq!(mine(&proxy).await["version"], 3);
}

#[tokio::test]
async fn turns_go_on_where_they_were_through_swaps_and_reloads() {
    let origins = origins(3).await;
    let proxy = with(&version("round_robin", 1), "", &origins).await;
    for request in 0..18 {
        match request % 4 {
            1 => assert_eq!(
                load(&proxy, &version("round_robin", request)).await.status,
                200
            ),
            3 => drop(proxy.reload().await),
            _ => {}
        }
        let expected = origins[usize::from(request) % 3].address();
        assert_eq!(proxy.get("/").await.text(), expected, "request {request}");
    }
}

#[tokio::test]
async fn a_version_that_cannot_serve_leaves_the_one_before_in_force_and_says_why() {
    let origins = origins(2).await;
    let proxy = with(&version("round_robin", 1), "", &origins).await;
    for (component, reason) in [
        (b"not a component".to_vec(), "no webassembly"),
        (version("hash", 1), "grants = [\"request\", \"exchange\"]"),
        (version("ip_hash", 1), "`waypost:plugin/attempt@0.2.0`"),
    ] {
        let answer = load(&proxy, &component).await;
        assert_eq!(answer.status, 422);
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains(reason), "{error}");
        let plugin = mine(&proxy).await;
        assert_eq!(
            (&plugin["version"], &plugin["state"]),
            (&1.into(), &"live".into())
        );
        assert_eq!(plugin["last_error"], error.as_str());
        assert_ne!(proxy.get("/").await.text(), proxy.get("/").await.text());
    }
    let unknown = proxy.load_plugin("nobody", b"").await;
    assert_eq!(unknown.status, 404);
    let stock = proxy
        .load_plugin("round_robin", &version("round_robin", 1))
        .await;
    assert_eq!(stock.status, 409);
}

#[tokio::test]
async fn a_rollback_returns_to_the_version_before() {
    let origins = origins(2).await;
    let proxy = with(
        &version("round_robin", 1),
        "grants = [\"request\", \"exchange\"]",
        &origins,
    )
    .await;
    let refused = rollback(&proxy).await;
    assert_eq!(refused.status, 409, "there is none");
    assert_eq!(load(&proxy, &version("ip_hash", 2)).await.status, 200);
    let answer = rollback(&proxy).await.json();
    assert_eq!(
        (&answer["version"], &answer["state"]),
        (&1.into(), &"rolled back".into())
    );
    assert_ne!(proxy.get("/").await.text(), proxy.get("/").await.text());
    // What the file held when it was last looked at is not loaded again.
    proxy.reload().await;
    assert_eq!(mine(&proxy).await["version"], 1);
}

#[tokio::test]
async fn what_is_loaded_twice_is_rolled_back_to_what_was_there_before_both() {
    let origins = origins(2).await;
    let grants = "grants = [\"request\", \"exchange\"]";
    let proxy = with(&version("round_robin", 1), grants, &origins).await;
    for _ in 0..2 {
        assert_eq!(load(&proxy, &version("ip_hash", 2)).await.status, 200);
    }
    assert_eq!(rollback(&proxy).await.json()["version"], 1);
    assert_ne!(proxy.get("/").await.text(), proxy.get("/").await.text());
}

/// Has the policy `ledger` trap until the log says so.
async fn trap_until(proxy: &Proxy, said: &str) {
    eventually(said, async || {
        let response = proxy.get_with("/", "X-Trap: now\r\n").await;
        assert_eq!(response.status, 200, "the fallback answers");
        proxy.log().contains(said)
    })
    .await;
}

#[tokio::test]
async fn a_version_that_fails_too_often_is_quarantined_and_the_one_before_returns() {
    let origins = origins(2).await;
    let entry = "grants = [\"request\", \"exchange\"]\nmax_faults = 3";
    let proxy = with(&version("round_robin", 1), entry, &origins).await;
    assert_eq!(load(&proxy, &version("ledger", 2)).await.status, 200);
    trap_until(&proxy, "rolled back from version 2 to 1").await;
    let plugin = mine(&proxy).await;
    assert_eq!(
        (&plugin["version"], &plugin["state"]),
        (&1.into(), &"rolled back".into())
    );
    assert!(
        proxy
            .log()
            .contains("plugin `mine` version 2 has failed too often")
    );
    let again = rollback(&proxy).await;
    assert_eq!(again.status, 409, "nobody wants that one back");
}

/// A version that no other run has compiled.
fn uncompiled(package: &str) -> Vec<u8> {
    let mut bytes = version(package, 1);
    bytes.extend([0, 9, 0]);
    bytes.extend(fastrand::u64(..).to_le_bytes());
    bytes
}

#[tokio::test]
async fn the_fallback_serves_while_a_plugin_is_compiled_if_its_entry_says_so() {
    let origins = origins(2).await;
    let entry = "start = \"fallback\"\nfallback = \"ip_hash\"";
    let proxy = with(&uncompiled("round_robin"), entry, &origins).await;
    assert_eq!(proxy.get("/").await.status, 200);
    proxy.log_contains("plugin `mine` version 1 serves").await;
    let log = proxy.log();
    let order = [
        "plugin `mine` is not compiled yet: `ip_hash` serves in its place",
        "compiling plugin `mine` (",
        "compiled plugin `mine` in ",
        "plugin `mine` version 1 serves",
    ]
    .map(|part| {
        log.find(part)
            .unwrap_or_else(|| panic!("no {part:?} in:\n{log}"))
    });
    assert!(order.is_sorted(), "{log}");
    let plugin = mine(&proxy).await;
    assert_eq!(plugin["state"], "live");
    assert_ne!(
        proxy.get("/").await.text(),
        proxy.get("/").await.text(),
        "turns"
    );
}

#[tokio::test]
async fn the_fallback_stays_where_a_plugin_turns_out_to_be_no_good() {
    let origins = origins(2).await;
    let entry = "start = \"fallback\"\nfallback = \"ip_hash\"";
    // Its entry does not grant what it imports, which is found out when it is compiled.
    let proxy = with(&uncompiled("sticky"), entry, &origins).await;
    proxy
        .log_contains("plugin `mine` cannot be used, its fallback serves")
        .await;
    assert_eq!(proxy.get("/").await.status, 200);
    let plugin = mine(&proxy).await;
    assert_eq!(plugin["state"], "refused", "{plugin}");
    assert_eq!(plugin["history"][0]["event"], "refused");
    // Another version may take its place.
    assert_eq!(load(&proxy, &version("round_robin", 2)).await.status, 200);
    assert_eq!(mine(&proxy).await["state"], "live");
}

#[tokio::test]
async fn what_happened_to_a_version_is_told_when_it_is_gone() {
    let origins = origins(2).await;
    let entry = "grants = [\"request\", \"exchange\"]\nmax_faults = 3";
    let proxy = with(&version("round_robin", 1), entry, &origins).await;
    assert_eq!(load(&proxy, b"no plugin").await.status, 422);
    assert_eq!(load(&proxy, &version("ledger", 2)).await.status, 200);
    trap_until(&proxy, "rolled back from version 3 to 1").await;

    let plugin = mine(&proxy).await;
    let history = plugin["history"].as_array().expect("a history");
    let events: Vec<(u64, &str)> = history
        .iter()
        .map(|each| {
            (
                each["version"].as_u64().unwrap(),
                each["event"].as_str().unwrap(),
            )
        })
        .collect();
    let expected = [
        (1, "serves"),
        (2, "refused"),
        (3, "serves"),
        (3, "trap"),
        (3, "quarantined"),
        (1, "rolled back"),
    ];
    assert_eq!(events, expected, "{plugin}");
    let trap = &history[3];
    assert!(trap["count"].as_u64() >= Some(3), "{trap}");
    assert!(
        trap["detail"].as_str().unwrap().contains("unreachable"),
        "{trap}"
    );
    assert!(trap["last"].as_str() >= trap["first"].as_str(), "{trap}");
    assert_eq!(plugin["last_error"], trap["detail"]);

    // The commands tell it too.
    let inspect = ["plugin", "inspect", "mine"].as_slice();
    for words in [["plugin", "list"].as_slice(), inspect] {
        let mut command = Command::new(waypost());
        command.args(words).arg("-c").arg(proxy.file());
        let (code, out, err) = child::run(command);
        assert_eq!(code, 0, "{err}");
        for part in ["version 3 trap: ", "unreachable", "version 3 quarantined"] {
            assert!(out.contains(part), "no {part:?} in:\n{out}");
        }
    }
}

#[tokio::test]
async fn without_a_version_before_the_fallback_stays_until_another_one_is_loaded() {
    let origins = origins(2).await;
    let entry = "grants = [\"request\", \"exchange\"]\nmax_faults = 3\nfallback = \"ip_hash\"";
    let proxy = with(&version("ledger", 1), entry, &origins).await;
    trap_until(&proxy, "has no version to return to").await;
    assert_eq!(mine(&proxy).await["state"], "quarantined");
    let calls = mine(&proxy).await["calls"].clone();
    let first = proxy.get("/").await.text();
    for _ in 0..4 {
        assert_eq!(proxy.get("/").await.text(), first, "ip_hash decides");
    }
    assert_eq!(
        mine(&proxy).await["calls"],
        calls,
        "it is not asked any more"
    );
    assert_eq!(load(&proxy, &version("round_robin", 2)).await.status, 200);
    assert_ne!(proxy.get("/").await.text(), proxy.get("/").await.text());
}

#[tokio::test]
async fn swaps_under_load_cost_no_request_and_no_memory() {
    let origins = origins(2).await;
    let mut proxy = with(&version("round_robin", 0), "", &origins).await;
    let load_clients = Load::start(proxy.address(), 4);
    let (mut idle, mut swaps) = (Vec::new(), 0);
    // A version that stayed would cost 0.2 MiB and more, so each batch would add 8 MiB. Caches and
    // the allocator take what they need in the first ones, and are content then.
    let mut before = resident(&mut proxy);
    loop {
        for _ in 0..40 {
            let number = 1 + swaps % 2; // two contents, so that most are compiled already
            assert_eq!(
                load(&proxy, &version("round_robin", number)).await.status,
                200
            );
            // An idle connection does not hold on to the version that it was last served by.
            let mut client = proxy.client().await;
            client.get("/").await;
            idle.push(client);
            swaps += 1;
        }
        let after = resident(&mut proxy);
        if after < before + (4 << 20) {
            break;
        }
        assert!(
            swaps < 240,
            "each forty versions take {} bytes",
            after - before
        );
        before = after;
    }
    let report = load_clients.stop().await;
    assert!(
        report.errors.is_empty(),
        "{:?}",
        &report.errors[..report.errors.len().min(3)]
    );
    assert!(
        report.answered.len() > swaps as usize,
        "hardly any load: {}",
        report.answered.len()
    );
    assert_eq!(report.connections, 4, "no connection was closed");
    let plugin = mine(&proxy).await;
    assert_eq!(plugin["version"], swaps + 1);
    let served = |origin: &Origin| origin.requests().len();
    let (a, b) = (served(&origins[0]), served(&origins[1]));
    assert!(
        a.abs_diff(b) <= 4 + swaps as usize,
        "turns are kept, but for those in the moment of a swap: {a} and {b}"
    );
}

/// Bytes of memory that the process has.
fn resident(proxy: &mut Proxy) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", proxy.process().id()));
    let status = status.expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    kib.and_then(|kib| kib.parse::<usize>().ok())
        .expect("the kernel tells")
        << 10
}

#[tokio::test]
async fn a_version_that_refuses_the_present_settings_does_not_take_over() {
    let origins = origins(2).await;
    let proxy = with(&version("round_robin", 1), GRANTS, &origins).await;
    let answer = load(&proxy, &version("hash", 2)).await;
    assert_eq!(answer.status, 422);
    let answer = answer.json();
    let error = answer["error"].as_str().unwrap();
    assert!(
        error.contains("`mine`") && error.contains("`key`"),
        "{error}"
    );
    let problem = answer["problems"][0].as_str().unwrap();
    assert!(problem.contains("waypost.toml:"), "no place: {problem}");
    assert_ne!(proxy.get("/").await.text(), proxy.get("/").await.text());
}

/// What the configuration has taken away since does not come back.
#[tokio::test]
async fn a_version_that_was_allowed_something_else_is_not_returned_to() {
    let origins = origins(2).await;
    let proxy = with(&version("round_robin", 1), "budget = 90", &origins).await;
    assert_eq!(load(&proxy, &version("round_robin", 2)).await.status, 200);
    proxy.edit("budget = 90", "budget = 10");
    proxy.reload().await;
    let before = mine(&proxy).await;
    assert_eq!(before["version"], 3);
    let refused = rollback(&proxy).await;
    assert_eq!(refused.status, 409, "{}", refused.text());
    assert!(refused.text().contains("was allowed something else"));
    assert_eq!(mine(&proxy).await["version"], 3);
}

#[tokio::test]
async fn what_is_served_no_more_leaves_no_instance_behind() {
    let origins = origins(2).await;
    let proxy = with(&version("round_robin", 1), "", &origins).await;
    for weight in 2..6 {
        let server = format!("/upstreams/backend/servers/{}", origins[0].address());
        let change = format!("{{\"weight\": {weight}}}");
        let answer = proxy.admin("PATCH", &server, &change).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        proxy.get("/").await;
    }
    eventually("the instances of before to go", async || {
        mine(&proxy).await["instances"] == 1
    })
    .await;
}
