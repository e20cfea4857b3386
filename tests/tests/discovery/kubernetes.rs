//! Kubernetes: EndpointSlices, listed and watched as it is documented.

use tempfile::TempDir;
use waypost_tests::sources::Kubernetes;
use waypost_tests::tls::Authority;
use waypost_tests::{Load, Origin, Proxy, eventually, origin};

use super::{is_refused, listing, served, settled};

/// An API server and what a proxy has to know to ask it.
struct Cluster {
    api: Kubernetes,
    directory: TempDir,
}

impl Cluster {
    async fn start() -> Cluster {
        let authority = Authority::new("cluster authority");
        let certificate = authority.certificate(&["127.0.0.1"]);
        let api = Kubernetes::start(certificate.server(), "first").await;
        let directory = TempDir::new().unwrap();
        std::fs::write(directory.path().join("ca.pem"), authority.pem()).unwrap();
        std::fs::write(directory.path().join("token"), "first").unwrap();
        Cluster { api, directory }
    }

    async fn proxy(&self, more: &str) -> Proxy {
        let source = format!(
            "kubernetes = \"web\", namespace = \"shop\", api = \"https://127.0.0.1:{}\", \
             ca = \"{1}/ca.pem\", token_file = \"{1}/token\"{more}",
            self.api.port(),
            self.directory.path().display()
        );
        listing(&source, "").await
    }
}

/// The addresses served, whatever their order.
async fn serves(proxy: &Proxy, origins: &[&Origin]) {
    let mut expected: Vec<&str> = origins.iter().map(|origin| origin.address()).collect();
    expected.sort_unstable();
    eventually("the endpoints", async || served(proxy).await == expected).await;
    settled(proxy).await;
}

fn ready(name: &str, origin: &Origin) -> serde_json::Value {
    Kubernetes::slice(name, &[(origin.address(), "ready")])
}

#[tokio::test]
async fn endpoints_that_come_and_go_under_load_cost_no_request() {
    let (a, b) = (origin::named().await, origin::named().await);
    let cluster = Cluster::start().await;
    cluster.api.applies(ready("web-1", &a));
    let proxy = cluster.proxy(", port = \"http\"").await;
    serves(&proxy, &[&a]).await;
    let label = proxy.shows("/upstreams/backend").await;
    assert_eq!(label["source"]["kind"], "kubernetes");
    let load = Load::start(proxy.address(), 4);
    cluster.api.applies(ready("web-2", &b));
    serves(&proxy, &[&a, &b]).await;
    // A pod that terminates gets no new request, its service another one.
    let terminating = Kubernetes::slice("web-1", &[(a.address(), "terminating")]);
    cluster.api.applies(terminating);
    serves(&proxy, &[&b]).await;
    a.has_open(0).await;
    cluster.api.deletes("web-1");
    cluster.api.applies(ready("web-1", &a));
    serves(&proxy, &[&a, &b]).await;
    let report = load.stop().await;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
    assert_eq!(cluster.api.requests().len(), 2, "a list and a watch");
}

#[tokio::test]
async fn a_watch_that_has_ended_goes_on_from_the_last_bookmark() {
    let (a, b) = (origin::named().await, origin::named().await);
    let cluster = Cluster::start().await;
    cluster.api.applies(ready("web-1", &a));
    let proxy = cluster.proxy("").await;
    serves(&proxy, &[&a]).await;
    cluster.api.was_asked("watch=true", 1).await;
    cluster.api.sends_a_bookmark();
    cluster.api.applies(ready("web-2", &b));
    serves(&proxy, &[&a, &b]).await;
    cluster.api.sends_a_bookmark();
    // Nothing tells that it has come but the next watch.
    waypost_tests::pause().await;
    cluster.api.ends_watches();
    cluster.api.was_asked("watch=true", 2).await;
    let last = cluster.api.requests().pop().unwrap();
    assert!(last.contains("allowWatchBookmarks=true"), "{last}");
    assert!(last.contains("resourceVersion=2104 "), "{last}");
    cluster.api.deletes("web-1");
    serves(&proxy, &[&b]).await;
}

#[tokio::test]
async fn a_version_that_is_forgotten_has_all_listed_anew() {
    let (a, b) = (origin::named().await, origin::named().await);
    let cluster = Cluster::start().await;
    cluster.api.applies(ready("web-1", &a));
    let proxy = cluster.proxy("").await;
    serves(&proxy, &[&a]).await;
    cluster.api.was_asked("watch=true", 1).await;
    let load = Load::start(proxy.address(), 2);
    cluster.api.forgets();
    // Which it does not hear of by a watch.
    cluster.api.was_asked("watch=true", 2).await;
    cluster.api.applies(ready("web-2", &b));
    cluster.api.was_asked("watch=true", 3).await;
    serves(&proxy, &[&a, &b]).await;
    let lists = cluster.api.requests();
    let lists = lists.iter().filter(|head| !head.contains("watch=true"));
    assert_eq!(lists.count(), 2);
    let report = load.stop().await;
    assert!(report.errors.is_empty(), "{:?}", report.errors);
}

#[tokio::test]
async fn a_token_that_is_replaced_is_read_again() {
    let (a, b) = (origin::named().await, origin::named().await);
    let cluster = Cluster::start().await;
    cluster.api.applies(ready("web-1", &a));
    let proxy = cluster.proxy("").await;
    serves(&proxy, &[&a]).await;
    cluster.api.was_asked("watch=true", 1).await;
    cluster.api.wants("second");
    cluster.api.ends_watches();
    is_refused(&proxy, "it answers 401").await;
    serves(&proxy, &[&a]).await;
    std::fs::write(cluster.directory.path().join("token"), "second").unwrap();
    cluster.api.applies(ready("web-1", &b));
    serves(&proxy, &[&b]).await;
}

#[tokio::test]
async fn a_service_without_endpoints_or_without_the_port_changes_nothing() {
    let a = origin::named().await;
    let cluster = Cluster::start().await;
    cluster.api.applies(ready("web-1", &a));
    let proxy = cluster.proxy(", port = \"http\"").await;
    serves(&proxy, &[&a]).await;
    cluster.api.deletes("web-1");
    is_refused(&proxy, "it lists no server").await;
    assert_eq!(proxy.get("/").await.text(), a.address());
    let other = cluster.proxy(", port = \"metrics\"").await;
    cluster.api.applies(ready("web-1", &a));
    is_refused(&other, "no port `metrics`: it has `http`").await;
}
