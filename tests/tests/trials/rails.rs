//! A canary that does worse than the version before comes back by itself, and the log says by which
//! rail.

use std::time::Duration;

use waypost_tests::{Answer, Proxy, eventually, origin};

use super::{balanced, first, get_as, hooked, last, mine, origins, tried, turns};
use crate::{hooks, misbehaving};

/// Clients send requests until the trial is over; the line of the log that tells why.
async fn is_withdrawn(proxy: &Proxy, rail: &str) -> String {
    let (mut client, mut statuses) = (0, Vec::new());
    eventually("the end of the trial", async || {
        for _ in 0..30 {
            statuses.push(get_as(proxy, client).await.status);
            client = (client + 1) % 500;
        }
        mine(proxy).await["trial"].is_null()
    })
    .await;
    if !rail.starts_with("errors") {
        assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    }
    let log = proxy.log();
    let mut lines = log.lines().filter(|line| line.contains("withdrawn"));
    let line = lines.next().expect("the log tells of it").to_owned();
    assert_eq!(lines.next(), None, "one line");
    assert!(line.contains(rail), "{line}");
    let shown = mine(proxy).await;
    assert_eq!(shown["version"], 1);
    let history = shown["history"].as_array().unwrap();
    let withdrawn = |event: &&serde_json::Value| event["event"] == "withdrawn";
    let event = history.iter().find(withdrawn).expect("it is listed");
    assert!(event["detail"].as_str().unwrap().contains(rail), "{event}");
    line
}

#[tokio::test]
async fn a_canary_that_faults() {
    let origins = origins(2).await;
    let proxy = balanced(&last(), "max_faults = 0", &origins).await;
    let faulty = misbehaving::in_mode("traps_on_every_second_call");
    tried(
        &proxy,
        "canary?share=30%25&after=20&imbalance=off&latency=off",
        &faulty,
    )
    .await;
    is_withdrawn(&proxy, "faults in").await;
}

/// It does not get as far as the number of exchanges after which rails count.
#[tokio::test]
async fn a_canary_that_is_quarantined() {
    let origins = origins(2).await;
    let proxy = balanced(&last(), "max_faults = 1", &origins).await;
    let faulty = misbehaving::in_mode("traps_on_every_second_call");
    tried(&proxy, "canary?share=30%25&after=1000000", &faulty).await;
    is_withdrawn(&proxy, "is quarantined").await;
}

#[tokio::test]
async fn a_canary_of_a_hook_that_answers_with_errors() {
    let origin = origin::says("hello").await;
    let proxy = hooked(&hooks::in_mode("plain"), &origin).await;
    tried(
        &proxy,
        "canary?share=30%25&after=20",
        &hooks::in_mode("answers"),
    )
    .await;
    let line = is_withdrawn(&proxy, "errors 100.00% of").await;
    assert!(line.contains("and 0.00% of"), "both figures: {line}");
}

#[tokio::test]
async fn a_canary_that_chooses_a_server_that_fails() {
    let broken = origin::answers(|_| Answer::status(500, "")).await;
    let origins = [broken, origin::named().await];
    let proxy = balanced(&last(), "", &origins).await;
    tried(
        &proxy,
        "canary?share=30%25&after=20&imbalance=off",
        &first(),
    )
    .await;
    is_withdrawn(&proxy, "errors 100.00% of").await;
}

#[tokio::test]
async fn a_canary_that_is_slow() {
    let origins = [
        origin::answers(|_| Answer::ok("slow").after(Duration::from_millis(40))).await,
        origin::named().await,
    ];
    let proxy = balanced(&last(), "", &origins).await;
    tried(
        &proxy,
        "canary?share=30%25&after=20&imbalance=off",
        &first(),
    )
    .await;
    let line = is_withdrawn(&proxy, "latency ").await;
    assert!(
        line.contains("of the version before"),
        "both figures: {line}"
    );
}

#[tokio::test]
async fn a_canary_that_takes_one_server_only() {
    let origins = origins(3).await;
    let proxy = balanced(&turns(1), "", &origins).await;
    tried(&proxy, "canary?share=30%25&after=20&latency=off", &last()).await;
    is_withdrawn(&proxy, "imbalance 3.00 of").await;
}

#[tokio::test]
async fn not_a_canary_that_does_as_well() {
    let origins = origins(3).await;
    let proxy = balanced(&turns(1), "", &origins).await;
    tried(&proxy, "canary?share=50%25&after=1&latency=off", &turns(2)).await;
    for client in 0..300 {
        assert_eq!(get_as(&proxy, client).await.status, 200);
    }
    let shown = mine(&proxy).await;
    assert_eq!(shown["trial"]["manner"], "canary", "{shown}");
    assert!(!proxy.log().contains("withdrawn"));
}
