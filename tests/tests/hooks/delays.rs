//! Requests that hooks delay.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use waypost_tests::{Http2, eventually, http2, origin, proxy};

use super::passwords::SLOW;
use super::{asked, at_route, begun, begun_stream, probe};

/// A ledger at the route, and an access log of statuses.
async fn with_ledger(origin: &waypost_tests::Origin) -> waypost_tests::Proxy {
    proxy::to([origin])
        .server("workers = 1\naccess_log = { path = \"access.log\", format = \"$status\" }")
        .route("hooks = [{ plugin = \"probe\", ledger = true }]")
        .more(&probe())
        .start()
        .await
}

async fn is_logged(proxy: &waypost_tests::Proxy, lines: &str) {
    let path = proxy.directory().join("access.log");
    let read = || std::fs::read_to_string(&path).unwrap_or_default();
    eventually(lines, async || read() == lines).await;
}

#[tokio::test]
async fn delays_of_several_hooks_run_side_by_side() {
    let origin = origin::says("hello").await;
    let table = |delay: u32| format!("{{ use = \"slow\", request = [\"delay {delay}\"] }}");
    let hooks: Vec<String> = (0..20).map(|less| table(500 - less)).collect();
    let proxy = proxy::to([&origin])
        .route(&format!("hooks = [{}]", hooks.join(", ")))
        .more(&probe())
        .more("[hook.slow]\nplugin = \"probe\"\n")
        .start()
        .await;
    let began = Instant::now();
    assert_eq!(proxy.get("/").await.text(), "hello");
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(500), "{took:?}");
    assert!(
        took < Duration::from_secs(5),
        "one after the other: {took:?}"
    );
}

#[tokio::test]
async fn streams_of_http2_are_delayed_side_by_side() {
    let origin = origin::says("hello").await;
    let proxy = at_route(proxy::to([&origin])).start().await;
    let mut http2 = Http2::connect(proxy.address()).await;
    let began = Instant::now();
    let mut streams = Vec::new();
    for _ in 0..20 {
        streams.push(begun_stream(&mut http2, "/", "delay 500").await);
    }
    for mut stream in streams {
        assert_eq!(stream.response().await.text(), "hello");
    }
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(500), "{took:?}");
    assert!(
        took < Duration::from_secs(5),
        "one after the other: {took:?}"
    );
}

#[tokio::test]
async fn a_client_that_leaves_while_it_is_delayed_is_logged_as_499_and_the_hook_hears_of_it() {
    let origin = origin::says("hello").await;
    let proxy = with_ledger(&origin).await;
    let client = begun(&proxy, "/", "delay 3600000 | say delayed").await;
    proxy.log_contains("probe says delayed").await;
    drop(client);
    is_logged(&proxy, "499\n").await;
    proxy.log_contains(" 499 cut 0 0").await;
    let mut http2 = Http2::connect(proxy.address()).await;
    let mut stream = begun_stream(&mut http2, "/", "delay 3600000 | say again").await;
    proxy.log_contains("probe says again").await;
    stream.reset(http2::Reason::CANCEL);
    is_logged(&proxy, "499\n499\n").await;
    assert_eq!(http2.get("/").await.text(), "hello");
    assert_eq!(origin.requests().len(), 1);
}

#[tokio::test]
async fn a_stop_ends_a_request_that_is_delayed_and_a_drain_waits_for_it() {
    let origin = origin::says("hello").await;
    let mut proxy = with_ledger(&origin).await;
    let mut client = begun(&proxy, "/", "delay 3600000 | say delayed").await;
    proxy.log_contains("probe says delayed").await;
    proxy.signal(Signal::TERM);
    client.closed().await;
    proxy.process().ended_and_heard().await;
    is_logged(&proxy, "499\n").await;
    assert!(proxy.log().contains(" 499 cut 0 0"), "{}", proxy.log());

    let mut proxy = with_ledger(&origin).await;
    let mut client = begun(&proxy, "/", "delay 1000 | say delayed").await;
    proxy.log_contains("probe says delayed").await;
    proxy.signal(Signal::QUIT);
    assert_eq!(client.response().await.text(), "hello");
    proxy.process().ended_and_heard().await;
    assert!(proxy.log().contains(" 200 whole 5 0"), "{}", proxy.log());
}

#[tokio::test]
async fn a_delay_holds_although_the_route_is_found_anew() {
    let origin = origin::says("hello").await;
    let after = "[hook.after]\nplugin = \"probe\"\nname = \"after\"\n";
    let other = "[[route]]\npath = \"/b/\"\nreturn = { body = \"b\" }\n";
    let proxy = proxy::to([&origin])
        .route("hooks = [\"probe\", \"after\"]")
        .more(&probe())
        .more(after)
        .more(other)
        .start()
        .await;
    for (told, by) in [
        ("delay 500", "X-After: path /b/ | reroute\r\n"),
        ("delay 500 | path /b/ | reroute", ""),
    ] {
        let began = Instant::now();
        let lines = super::told(told) + by;
        assert_eq!(proxy.get_with("/", &lines).await.text(), "b");
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(500), "{took:?}");
    }
}

#[tokio::test]
async fn a_delay_counts_from_when_its_hook_was_asked() {
    let origin = origin::says("hello").await;
    let after = "[hook.after]\nplugin = \"probe\"\nname = \"after\"\nrequest = [\"wall\", \"delay 50\"]\nresponse = [\"wall\"]\n";
    let proxy = proxy::to([&origin])
        .route("hooks = [\"probe\", \"after\"]")
        .more(&probe())
        .more(after)
        .start()
        .await;
    // The check takes longer than the delay.
    let response = asked(&proxy, "/", &format!("check {SLOW} secret")).await;
    assert_eq!(response.text(), "hello");
    let walls = response.headers.all("X-After-Wall");
    let walls: Vec<u64> = walls.iter().map(|wall| wall.parse().unwrap()).collect();
    assert!(walls[1] >= walls[0] + 50, "{walls:?}");
}
