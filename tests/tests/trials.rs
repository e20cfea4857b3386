//! A version of a plugin is tried beside the one that serves: as a canary, for a share of clients,
//! and as a shadow, which changes nothing.

mod commands; // what operators are told
mod rails; // what ends a canary by itself
mod refused; // what cannot be tried
mod reloads; // trials of the configuration, and others through its changes
mod shadows; // versions that are asked as well

use serde_json::Value;
use waypost_tests::admin::ADMIN;
use waypost_tests::{Load, Origin, Proxy, Response, client, origin, plugin, proxy};

use super::hot_load::origins;
use super::leases::Books;
use super::{hooks, misbehaving};

/// A policy that takes the last server.
fn last() -> Vec<u8> {
    misbehaving::in_mode("behaves")
}

/// A policy that takes the first server.
fn first() -> Vec<u8> {
    misbehaving::in_mode("picks_what_was_tried")
}

/// `round_robin` as another version: with a section more that means nothing.
fn turns(number: u8) -> Vec<u8> {
    let file = plugin("round_robin", "wasm32-unknown-unknown");
    let mut bytes = std::fs::read(file).expect("cargo has built it");
    bytes.extend([0, 2, 1, number]);
    bytes
}

/// Clients are those whom a request names: every spec has as many as it wants.
const CLIENTS: &str = "trusted_proxies = [\"127.0.0.1\"]";

/// A proxy with a policy `mine` from `mine.wasm`.
async fn balanced(component: &[u8], entry: &str, origins: &[Origin]) -> Proxy {
    let setup = proxy::to(origins)
        .server(CLIENTS)
        .upstream("policy = \"mine\"");
    std::fs::write(setup.directory().join("mine.wasm"), component).unwrap();
    let grants = "grants = [\"request\", \"exchange\"]";
    let entry = format!("[plugin.mine]\nfile = \"mine.wasm\"\n{grants}\n{entry}");
    setup.more(&entry).more(ADMIN).start().await
}

const GRANTS: &str =
    "grants = [\"request\", \"response\", \"exchange\", \"changes\", \"checks\", \"files\"]";

/// A proxy with a hook of a plugin `mine` from `mine.wasm`.
async fn hooked(component: &[u8], origin: &Origin) -> Proxy {
    let setup = proxy::to([origin])
        .server(CLIENTS)
        .route("hooks = [\"mine\"]");
    std::fs::write(setup.directory().join("mine.wasm"), component).unwrap();
    let entry = format!("[plugin.mine]\nfile = \"mine.wasm\"\n{GRANTS}");
    setup.more(&entry).more(ADMIN).start().await
}

/// Sends a component to be tried: `canary?share=5%25`, `shadow`.
async fn tries(proxy: &Proxy, way: &str, component: &[u8]) -> Response {
    proxy.send_version("mine", way, component).await
}

/// As [`tries`], which must go well.
async fn tried(proxy: &Proxy, way: &str, component: &[u8]) {
    let answer = tries(proxy, way, component).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

async fn asks(proxy: &Proxy, what: &str) -> Response {
    proxy
        .admin("POST", &format!("/plugins/mine/{what}"), "")
        .await
}

async fn mine(proxy: &Proxy) -> Value {
    proxy.shows("/plugins/mine").await
}

async fn trial(proxy: &Proxy) -> Value {
    mine(proxy).await["trial"].take()
}

/// The request of a client.
async fn get_as(proxy: &Proxy, client: usize) -> Response {
    let [.., high, low] = client.to_be_bytes();
    let line = format!("X-Forwarded-For: 10.0.{high}.{low}\r\n");
    proxy.get_with("/", &line).await
}

/// Which of so many clients are served by a server.
async fn served_by(proxy: &Proxy, server: &str, clients: usize) -> Vec<usize> {
    let mut served = Vec::new();
    for client in 0..clients {
        if get_as(proxy, client).await.text() == server {
            served.push(client);
        }
    }
    served
}

#[tokio::test]
async fn a_canary_of_a_policy_picks_for_its_share_of_clients_and_each_stays_with_its_version() {
    let origins = origins(2).await;
    let proxy = balanced(&last(), "", &origins).await;
    assert_eq!(
        served_by(&proxy, origins[0].address(), 20).await,
        [] as [usize; 0]
    );
    tried(&proxy, "canary?share=25%25&imbalance=off", &first()).await;
    let of_canary = served_by(&proxy, origins[0].address(), 200).await;
    assert!((30..=70).contains(&of_canary.len()), "{}", of_canary.len());
    assert_eq!(
        served_by(&proxy, origins[0].address(), 200).await,
        of_canary
    );
    let shown = trial(&proxy).await;
    assert_eq!(
        (&shown["manner"], &shown["share"]),
        (&"canary".into(), &"25%".into())
    );
    assert_eq!(shown["candidate"]["exchanges"], 2 * of_canary.len());
    assert_eq!(shown["serving"]["exchanges"], 400 - 2 * of_canary.len());
    // Those that had it keep it when there are more of them.
    tried(&proxy, "canary?share=60%25&imbalance=off", &first()).await;
    let more = served_by(&proxy, origins[0].address(), 200).await;
    assert!(more.len() > of_canary.len());
    assert!(of_canary.iter().all(|client| more.contains(client)));
    assert_eq!(asks(&proxy, "withdraw").await.status, 200);
    assert_eq!(
        served_by(&proxy, origins[0].address(), 20).await,
        [] as [usize; 0]
    );
}

#[tokio::test]
async fn a_canary_of_a_hook_decides_for_its_share_of_clients() {
    let origin = origin::says("hello").await;
    let proxy = hooked(&hooks::in_mode("plain"), &origin).await;
    tried(&proxy, "canary?share=50%25", &hooks::in_mode("marks")).await;
    let mut marked = Vec::new();
    for round in 0..2 {
        for client in 0..60 {
            let answer = get_as(&proxy, client).await;
            let is_marked = answer.headers.all("X-Mode") == ["marks"];
            match round {
                0 => marked.push(is_marked),
                _ => assert_eq!(marked[client], is_marked, "client {client}"),
            }
        }
    }
    let count = marked.iter().filter(|marked| **marked).count();
    assert!((15..=45).contains(&count), "{count}");
    let counted = async || {
        let shown = trial(&proxy).await;
        let [one, other] = ["candidate", "serving"].map(|side| shown[side]["exchanges"].as_u64());
        (one.unwrap(), other.unwrap())
    };
    let expected = (2 * count as u64, 120 - 2 * count as u64);
    waypost_tests::eventually("all exchanges have ended", async || {
        counted().await == expected
    })
    .await;
}

#[tokio::test]
async fn promoting_under_load_loses_no_request_and_the_version_before_can_come_back() {
    let origins = origins(2).await;
    let proxy = balanced(&turns(1), "", &origins).await;
    let load = Load::start(proxy.address(), 4);
    for number in 2..6 {
        tried(
            &proxy,
            "canary?share=50%25&errors=off&latency=off",
            &turns(number),
        )
        .await;
        let before = mine(&proxy).await;
        let answer = asks(&proxy, "promote").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let now = answer.json();
        assert_eq!(now["hash"], before["trial"]["hash"]);
        assert_eq!(now["previous"]["hash"], before["hash"]);
        assert!(now["trial"].is_null());
    }
    let report = load.stop().await;
    assert_eq!(report.errors, [] as [&str; 0]);
    assert!(!report.answered.is_empty());
    assert_eq!(asks(&proxy, "rollback").await.json()["version"], 4);
}

#[tokio::test]
async fn turns_go_on_where_they_were_as_versions_are_tried_and_promoted() {
    let origins = origins(3).await;
    let proxy = balanced(&turns(1), "", &origins).await;
    for request in 0..18 {
        match request % 6 {
            1 => tried(&proxy, "shadow", &turns(20 + request)).await,
            3 => assert_eq!(asks(&proxy, "promote").await.status, 200),
            4 => tried(&proxy, "shadow", &turns(20 + request)).await,
            5 => assert_eq!(asks(&proxy, "withdraw").await.status, 200),
            _ => {}
        }
        let expected = origins[usize::from(request) % 3].address();
        assert_eq!(proxy.get("/").await.text(), expected, "request {request}");
    }
}

#[tokio::test]
async fn each_pick_of_either_version_ends_once_and_with_the_instance_that_picked() {
    let origins = origins(2).await;
    let ledger = |number: u8| {
        let file = plugin("ledger", "wasm32-unknown-unknown");
        let mut bytes = std::fs::read(file).expect("cargo has built it");
        bytes.extend([0, 2, 1, number]);
        bytes
    };
    let proxy = balanced(&ledger(1), "", &origins).await;
    let ask = async |clients| {
        for client in 0..clients {
            assert_eq!(get_as(&proxy, client).await.status, 200);
        }
    };
    ask(5).await;
    tried(
        &proxy,
        "canary?share=50%25&latency=off&imbalance=off",
        &ledger(2),
    )
    .await;
    ask(40).await;
    proxy.append("[upstream.other]\nservers = [\"127.0.0.1:1\"]\n");
    proxy.reload().await;
    ask(5).await;
    tried(&proxy, "shadow", &ledger(3)).await;
    ask(1).await;
    // They take turns from the same place, until one of them has had another turn.
    let shown = trial(&proxy).await;
    assert_eq!(
        (&shown["agreed"], &shown["differed"]),
        (&1.into(), &0.into()),
        "{shown}"
    );
    assert_eq!(asks(&proxy, "promote").await.status, 200);
    ask(5).await;
    let books = || Books::of(&proxy.log());
    // The log may be behind by a line.
    waypost_tests::eventually("the end of all picks", async || {
        let books = books();
        books.given == 61 && books.are_closed()
    })
    .await;
    let books = books();
    assert_eq!(
        (books.given, books.returned),
        (61, 61),
        "56 requests, one of them asked twice, and a rehearsal of each version that comes"
    );
    assert_eq!(books.unused, 0);
    assert!(books.open.len() >= 4, "instances: {:?}", books.open);
}

#[tokio::test]
async fn sessions_of_a_stream_are_tried_with_as_requests_are() {
    let origins = origins(2).await;
    let stream = "[[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"backend\"";
    let setup = proxy::to(&origins).upstream("policy = \"mine\"");
    std::fs::write(setup.directory().join("mine.wasm"), last()).unwrap();
    let grants = "grants = [\"request\", \"exchange\"]";
    let entry = format!("[plugin.mine]\nfile = \"mine.wasm\"\n{grants}\n{stream}");
    let proxy = setup.more(&entry).more(ADMIN).start().await;
    let status = proxy.shows("/status").await;
    let address = status["streams"][0]
        .as_str()
        .expect("there is one")
        .to_owned();
    let ask = async || {
        client::get_with(&address, "/", "Connection: close\r\n")
            .await
            .text()
    };
    assert_eq!(ask().await, origins[1].address());
    tried(&proxy, "shadow", &first()).await;
    assert_eq!(ask().await, origins[1].address());
    assert_eq!(trial(&proxy).await["differed"], 1);
    tried(&proxy, "canary?share=100%25", &first()).await;
    assert_eq!(ask().await, origins[0].address());
}

#[tokio::test]
async fn both_versions_hear_of_servers_that_come_and_go() {
    let mut origins = origins(3).await;
    let late = origins.remove(1);
    let proxy = balanced(&turns(1), "", &origins).await;
    tried(&proxy, "canary?share=50%25&imbalance=off", &turns(2)).await;
    let server = format!("{{\"address\": \"{}\"}}", late.address());
    let added = proxy
        .admin("POST", "/upstreams/backend/servers", &server)
        .await;
    assert_eq!(added.status, 200, "{}", added.text());
    let served = served_by(&proxy, late.address(), 60).await;
    assert!(
        (15..=25).contains(&served.len()),
        "a third of both: {}",
        served.len()
    );
    let path = format!(
        "/upstreams/backend/servers/{}",
        origins[0].address().replace(':', "%3A")
    );
    assert_eq!(proxy.admin("DELETE", &path, "").await.status, 200);
    assert_eq!(
        served_by(&proxy, origins[0].address(), 20).await,
        [] as [usize; 0]
    );
    let shown = trial(&proxy).await;
    assert!(
        shown["candidate"]["exchanges"].as_u64() > Some(20),
        "{shown}"
    );
}
