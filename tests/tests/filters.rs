//! Filters and scorers of one's own, by the labels of servers: what a policy may choose from.

use std::collections::BTreeSet;

use waypost_tests::{Origin, Proxy, origin, plugin, proxy};

/// Four servers: zones a, a, b, b with the scores 1, 9, 9, 1.
async fn four() -> Vec<Origin> {
    let mut origins = Vec::new();
    for _ in 0..4 {
        origins.push(origin::named().await);
    }
    origins
}

/// A proxy whose upstream has this policy.
async fn with(origins: &[Origin], policy: &str) -> Proxy {
    let labels = [("a", 1), ("a", 9), ("b", 9), ("b", 1)];
    let servers = origins.iter().zip(labels).map(|(origin, (zone, score))| {
        origin.with(&format!(
            "labels = {{ zone = \"{zone}\", score = \"{score}\" }}, max_fails = 0"
        ))
    });
    let entry = |name: &str, package: &str| {
        let file = plugin(package, "wasm32-unknown-unknown");
        format!(
            "[plugin.{name}]\nfile = \"{}\"\ngrants = [\"request\"]\nmax_faults = 0\n",
            file.display()
        )
    };
    proxy::to(servers)
        .server("workers = 1")
        .upstream(&format!("policy = {policy}"))
        .more(&entry("by_label", "label_filter"))
        .more(&entry("by_score", "label_scorer"))
        .start()
        .await
}

/// Which of the servers answer ten requests with these header lines.
async fn answering(proxy: &Proxy, origins: &[Origin], lines: &str) -> BTreeSet<usize> {
    let mut answering = BTreeSet::new();
    for _ in 0..10 {
        let response = proxy.get_with("/", lines).await;
        assert_eq!(response.status, 200, "{response:?}");
        let of = |origin: &Origin| origin.address() == response.text();
        answering.insert(origins.iter().position(of).expect("one of ours"));
    }
    answering
}

const FILTERED: &str =
    "{ plugin = \"round_robin\", filters = [{ plugin = \"by_label\", label = \"zone\" }] }";

#[tokio::test]
async fn a_filter_leaves_the_servers_whose_label_a_request_asks_for() {
    let origins = four().await;
    let proxy = with(&origins, FILTERED).await;
    let zone = |zone: &str| format!("X-Label: {zone}\r\n");
    assert_eq!(answering(&proxy, &origins, &zone("a")).await, [0, 1].into());
    assert_eq!(answering(&proxy, &origins, &zone("b")).await, [2, 3].into());
    assert_eq!(answering(&proxy, &origins, "").await.len(), 4);
}

#[tokio::test]
async fn a_filter_that_leaves_nothing_refuses_unless_it_may_be_ignored() {
    let origins = four().await;
    let proxy = with(&origins, FILTERED).await;
    let response = proxy.get_with("/", "X-Label: c\r\n").await;
    assert_eq!(response.status, 503, "{response:?}");
    proxy.log_contains("a filter").await;
    let policy = FILTERED.replace("\"zone\"", "\"zone\", may_be_ignored = true");
    let proxy = with(&origins, &policy).await;
    let all = answering(&proxy, &origins, "X-Label: c\r\n").await;
    assert_eq!(all.len(), 4);
}

#[tokio::test]
async fn a_filter_that_fails_refuses_and_the_log_says_so() {
    let origins = four().await;
    let proxy = with(&origins, FILTERED).await;
    let response = proxy.get_with("/", "X-Label: trap\r\n").await;
    assert_eq!(response.status, 503, "{response:?}");
    proxy
        .log_contains("plugin `by_label` failed in `narrow`")
        .await;
}

#[tokio::test]
async fn a_scorer_leaves_the_best_servers_and_one_that_fails_ranks_nothing() {
    let origins = four().await;
    let scored =
        "{ plugin = \"round_robin\", scorers = [{ plugin = \"by_score\", label = \"score\" }] }";
    let proxy = with(&origins, scored).await;
    assert_eq!(answering(&proxy, &origins, "").await, [1, 2].into());
    let ranked = answering(&proxy, &origins, "X-Score: trap\r\n").await;
    assert_eq!(ranked.len(), 4, "{ranked:?}");
    proxy
        .log_contains("plugin `by_score` failed in `score`")
        .await;
}

#[tokio::test]
async fn filters_and_scorers_work_one_after_the_other() {
    let origins = four().await;
    let both = FILTERED.replace(
        "filters =",
        "scorers = [{ plugin = \"by_score\", label = \"score\" }], filters =",
    );
    let proxy = with(&origins, &both).await;
    let b = answering(&proxy, &origins, "X-Label: b\r\n").await;
    assert_eq!(b, [2].into());
}
