//! Whether requests are wanted, as load balancers and Kubernetes ask: `probe` of a route, and the
//! time that they have to see it (`shutdown_delay`).

use rustix::process::Signal;
use waypost_tests::admin::ADMIN;
use waypost_tests::client::get_with;
use waypost_tests::{Client, Proxy, Response, Wire, eventually, proxy};

const PROBES: &str = "[[route]]\npath = \"= /healthz\"\nprobe = \"live\"\n\
                      [[route]]\npath = \"= /readyz\"\nprobe = \"ready\"\n\
                      [[route]]\nreturn = { status = 200, body = \"hello\" }\n";

async fn with(server: &str) -> Proxy {
    let file = format!(
        "[server]\nworkers = 1\n{server}[[listen]]\naddress = \"127.0.0.1:0\"\n{ADMIN}{PROBES}"
    );
    proxy::run(&file, &[]).await
}

/// What both say to a client that connects now.
async fn asked(proxy: &Proxy) -> [u16; 2] {
    let mut statuses = [0; 2];
    for (status, target) in statuses.iter_mut().zip(["/healthz", "/readyz"]) {
        *status = get_with(proxy.address(), target, "").await.status;
    }
    statuses
}

async fn is_not_ready(proxy: &Proxy) {
    eventually("it is not ready", async || asked(proxy).await == [200, 503]).await;
}

/// A connection on which a readiness probe is half sent.
async fn half_asked(proxy: &Proxy) -> Client {
    let mut client = proxy.client().await;
    client.send("GET /readyz HTTP/1.1\r\nHost: t\r\n").await;
    client.wire.was_read().await;
    client
}

/// The answer once it is sent as a whole.
async fn answer(mut client: Client) -> Response {
    client.send("\r\n").await;
    client.response().await
}

#[tokio::test]
async fn a_process_that_serves_is_live_and_ready_and_no_cache_may_keep_that() {
    let proxy = with("").await;
    for target in ["/healthz", "/readyz"] {
        let response = proxy.get(target).await;
        assert_eq!((response.status, &*response.text()), (200, "ok\n"));
        assert_eq!(response.header("Cache-Control"), "no-store");
        assert_eq!(response.header("Content-Type"), "text/plain");
        let head = format!("HEAD {target} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
        let mut client = proxy.client().await;
        client.send(head).await;
        assert_eq!(client.response_to_head().await.status, 200);
        let post = format!(
            "POST {target} HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(proxy.exchange(post).await.status, 405);
    }
    assert_eq!(proxy.shows("/status").await["state"], "serving");
}

#[tokio::test]
async fn a_probe_has_no_line_in_the_log_unless_its_route_names_one() {
    let logged = PROBES.replace(
        "probe = \"live\"\n",
        "probe = \"live\"\naccess_log = { path = \"probes.log\", buffer = 0 }\n",
    );
    let file = format!(
        "[server]\nworkers = 1\naccess_log = {{ path = \"access.log\", buffer = 0 }}\n\
         [[listen]]\naddress = \"127.0.0.1:0\"\n{logged}"
    );
    let proxy = proxy::run(&file, &[]).await;
    for target in ["/readyz", "/healthz", "/"] {
        proxy.get(target).await;
    }
    let log = |name: &str| {
        let text = std::fs::read_to_string(proxy.directory().join(name));
        text.unwrap_or_default()
    };
    eventually("both logs have a line", async || {
        log("access.log").ends_with('\n') && log("probes.log").ends_with('\n')
    })
    .await;
    assert!(log("probes.log").contains("GET /healthz "));
    let others = log("access.log");
    assert!(
        others.lines().count() == 1 && others.contains("GET / "),
        "{others}"
    );
}

#[tokio::test]
async fn load_balancers_see_that_it_is_not_ready_while_it_still_serves_whoever_connects() {
    let mut proxy = with("shutdown_delay = \"10m\"\n").await;
    assert_eq!(asked(&proxy).await, [200, 200]);
    proxy.signal(Signal::QUIT);
    is_not_ready(&proxy).await;
    let response = proxy.get("/readyz").await;
    assert_eq!(&*response.text(), "draining\n");
    assert_eq!(response.header("Cache-Control"), "no-store");
    assert_eq!(proxy.shows("/status").await["state"], "draining");
    // Connections are kept as before, and clients are served.
    let mut client = proxy.client().await;
    for _ in 0..3 {
        assert_eq!(client.get("/").await.text(), "hello");
    }
    let upgrade = proxy.admin("POST", "/upgrade", "").await;
    assert_eq!(upgrade.status, 422, "{}", upgrade.text());
    // Whoever cannot wait says so once more.
    proxy.signal(Signal::QUIT);
    assert_eq!(proxy.process().ended().await.code(), Some(0));
}

#[tokio::test]
async fn the_drain_begins_once_the_delay_is_over() {
    let mut proxy = with("shutdown_delay = \"300ms\"\n").await;
    let answer = proxy.admin("POST", "/drain", "").await;
    assert_eq!(
        (answer.status, answer.json()["delay_ms"].as_u64()),
        (202, Some(300))
    );
    proxy
        .log_contains("no longer ready: draining in 300ms")
        .await;
    proxy
        .log_contains("draining: finishing what is under way")
        .await;
    assert_eq!(proxy.process().ended().await.code(), Some(0));
}

#[tokio::test]
async fn with_a_delay_term_drains_as_quit_does_and_a_second_one_stops_at_once() {
    let mut proxy = with("shutdown_delay = \"10m\"\n").await;
    proxy.signal(Signal::TERM);
    is_not_ready(&proxy).await;
    assert_eq!(proxy.get("/").await.text(), "hello");
    proxy.signal(Signal::TERM);
    assert_eq!(proxy.process().ended().await.code(), Some(0));
    proxy.log_contains("stopping").await;
}

#[tokio::test]
async fn a_reload_while_it_waits_to_drain_brings_it_back_to_nobody() {
    let mut proxy = with("shutdown_delay = \"10m\"\n").await;
    proxy.signal(Signal::QUIT);
    is_not_ready(&proxy).await;
    proxy.signal(Signal::HUP);
    proxy.log_contains("reloaded: generation 2").await;
    assert_eq!(asked(&proxy).await, [200, 503]);
    proxy.signal(Signal::INT);
    assert_eq!(proxy.process().ended().await.code(), Some(0));
}

#[tokio::test]
async fn without_a_delay_a_probe_under_way_learns_of_the_drain() {
    let mut proxy = with("").await;
    let client = half_asked(&proxy).await;
    proxy.signal(Signal::QUIT);
    eventually("the listener to close", async || {
        Wire::connect(proxy.address()).await.is_err()
    })
    .await;
    let response = answer(client).await;
    assert_eq!(
        (response.status, response.header("Connection")),
        (503, "close")
    );
    assert_eq!(proxy.process().ended().await.code(), Some(0));
}

/// The address is served on: no load balancer is to turn away from it.
#[tokio::test]
async fn a_process_whose_listeners_another_one_has_taken_over_says_that_it_is_ready() {
    let mut proxy = with("shutdown_delay = \"10m\"\n").await;
    let client = half_asked(&proxy).await;
    proxy.upgrade().await;
    // Its drain may have begun by then, or begins now: whether the connection goes on is chance.
    assert_eq!(answer(client).await.status, 200);
    assert_eq!(proxy.process().ended().await.code(), Some(0));
    assert_eq!(asked(&proxy).await, [200, 200]);
}
