//! Consul: blocking queries, as they are documented, and what becomes of the index.

use serde_json::Value;
use waypost_tests::sources::Consul;
use waypost_tests::{Load, Origin, eventually, origin};

use super::{is_refused, listing, served, serves, settled, source};

fn instance(origin: &Origin) -> Value {
    Consul::instance(origin.address(), 1, "passing")
}

fn from(consul: &Consul, more: &str) -> String {
    format!(
        "consul = \"http://{}\", service = \"web\"{more}",
        consul.address()
    )
}

/// The addresses served, whatever their order.
async fn serves_all(proxy: &waypost_tests::Proxy, origins: &[&Origin]) {
    let mut expected: Vec<&str> = origins.iter().map(|origin| origin.address()).collect();
    expected.sort_unstable();
    eventually("the instances", async || served(proxy).await == expected).await;
    settled(proxy).await;
}

#[tokio::test]
async fn instances_that_come_and_go_under_load_cost_no_request() {
    let (a, b, c) = (
        origin::named().await,
        origin::named().await,
        origin::named().await,
    );
    let consul = Consul::start(&[instance(&a), instance(&b)]).await;
    let proxy = listing(&from(&consul, ""), "").await;
    serves_all(&proxy, &[&a, &b]).await;
    let load = Load::start(proxy.address(), 4);
    for now in [&[&b, &c][..], &[&c], &[&a, &c]] {
        let instances: Vec<Value> = now.iter().map(|origin| instance(origin)).collect();
        consul.has(&instances);
        serves_all(&proxy, now).await;
    }
    let report = load.stop().await;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    // Each query but the first one waited for what it brought.
    let queries = consul.queries();
    assert!(queries[0].starts_with("GET /v1/health/service/web?passing=true&index=0&wait=60s "));
    assert!(queries[1].contains("index=10&"), "{}", queries[1]);
    assert!(queries.len() <= 5, "{queries:?}");
    eventually("the query that waits", async || {
        let shown = source(&proxy).await;
        shown["next_ms"].is_null() && shown["kind"] == "consul"
    })
    .await;
}

#[tokio::test]
async fn weights_tags_checks_and_tokens_are_consuls() {
    let (a, b, c) = (
        origin::named().await,
        origin::named().await,
        origin::named().await,
    );
    let instances = [
        Consul::instance(a.address(), 5, "passing"),
        Consul::instance(b.address(), 5, "warning"),
        Consul::instance(c.address(), 5, "critical"),
    ];
    let consul = Consul::start(&instances).await;
    let directory = tempfile::TempDir::new().unwrap();
    let token = directory.path().join("token");
    std::fs::write(&token, "s3cret\n").unwrap();
    let more = format!(
        ", tag = \"v 1\", datacenter = \"dc2\", token_file = \"{}\"",
        token.display()
    );
    let proxy = listing(&from(&consul, &more), "").await;
    serves(&proxy, &[&a]).await;
    assert_eq!(proxy.server(a.address()).await["weight"], 5);
    let query = consul.queries().remove(0);
    assert!(query.contains("passing=true&tag=v%201&dc=dc2&"), "{query}");
    assert!(
        query
            .to_ascii_lowercase()
            .contains("\r\nx-consul-token: s3cret\r\n"),
        "{query}"
    );
    let proxy = listing(&from(&consul, ", passing = false"), "").await;
    serves_all(&proxy, &[&a, &b]).await;
    assert_eq!(proxy.server(b.address()).await["weight"], 1);
}

#[tokio::test]
async fn an_index_that_goes_backwards_begins_anew() {
    let (a, b, c) = (
        origin::named().await,
        origin::named().await,
        origin::named().await,
    );
    let consul = Consul::start(&[instance(&a)]).await;
    let proxy = listing(&from(&consul, ""), "").await;
    consul.was_asked(2).await;
    consul.is_restored(&[instance(&b)], 3);
    serves(&proxy, &[&b]).await;
    consul.was_asked(4).await;
    let queries = consul.queries();
    assert!(queries[2].contains("index=0&"), "{}", queries[2]);
    assert!(queries[3].contains("index=3&"), "{}", queries[3]);
    // Without a state there is no index: what is asked for waits nevertheless.
    consul.is_restored(&[instance(&c)], 0);
    serves(&proxy, &[&c]).await;
    consul.was_asked(6).await;
    assert!(consul.queries()[5].contains("index=1&"));
}

#[tokio::test]
async fn an_index_that_moves_on_alone_changes_nothing() {
    let a = origin::named().await;
    let consul = Consul::start(&[instance(&a)]).await;
    let proxy = listing(&from(&consul, ""), "").await;
    let generation = async || proxy.shows("/status").await["generation"].clone();
    consul.was_asked(2).await;
    let before = generation().await;
    consul.moves_on();
    consul.was_asked(3).await;
    serves(&proxy, &[&a]).await;
    assert_eq!(generation().await, before);
}

#[tokio::test]
async fn an_agent_that_dies_changes_nothing_and_one_that_comes_back_is_asked() {
    let (a, b) = (origin::named().await, origin::named().await);
    let mut consul = Consul::start(&[instance(&a)]).await;
    let proxy = listing(&from(&consul, ""), "").await;
    serves(&proxy, &[&a]).await;
    let load = Load::start(proxy.address(), 2);
    consul.was_asked(2).await;
    consul.dies().await;
    is_refused(&proxy, "").await;
    let address = consul.address().to_owned();
    drop(consul);
    let consul = Consul::start_at(&address, &[]).await;
    // An agent that knows nothing yet is not believed.
    is_refused(&proxy, "it lists no server").await;
    serves(&proxy, &[&a]).await;
    consul.has(&[instance(&b)]);
    serves(&proxy, &[&b]).await;
    let report = load.stop().await;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
}
