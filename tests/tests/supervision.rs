//! A part that dies is told of, counted and started again: nothing stays deaf.
//!
//! The faults are asked for by the environment, which only debug builds read.

use waypost_tests::admin::ADMIN;
use waypost_tests::{Client, Http2, Origin, Proxy, eventually, origin, proxy};

/// A proxy with workers and faults.
async fn with(origin: &Origin, workers: usize, faults: &str, panics: usize) -> Proxy {
    let file = format!(
        "[server]\nworkers = {workers}\n\
         access_log = {{ path = \"stdout\", format = \"line $request_uri $status.\" }}\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
         [upstream.backend]\nservers = [\"{}\"]\n[[route]]\nproxy = \"backend\"\n{ADMIN}",
        origin.address()
    );
    let proxy = proxy::run(&file, &[("WAYPOST_FAULTS", faults)]).await;
    proxy.panicking(panics)
}

async fn restarted(proxy: &Proxy, times: u64) {
    eventually("a worker to be replaced", async || {
        proxy.shows("/status").await["worker_restarts"] == times
    })
    .await;
}

/// Serves on all its workers' sockets: so many connections leave none out.
async fn serves(proxy: &Proxy) {
    let mut clients = Vec::new();
    for _ in 0..32 {
        let mut client = proxy.client().await;
        assert_eq!(client.get("/").await.text(), "hello");
        clients.push(client);
    }
}

#[tokio::test]
async fn an_exchange_that_panics_costs_its_connection_alone() {
    let origin = origin::says("hello").await;
    let proxy = with(&origin, 1, "exchange", 1).await;
    let mut other = proxy.client().await;
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
    client.closed().await;
    proxy
        .log_contains("internal error: thread worker-0 panicked at ")
        .await;
    assert_eq!(other.get("/").await.text(), "hello");
    let status = proxy.shows("/status").await;
    assert_eq!(
        (&status["panics"], &status["worker_restarts"]),
        (&1.into(), &0.into())
    );
    assert_eq!(status["connections"], 1);
}

#[tokio::test]
async fn an_exchange_that_panics_has_its_line_and_ends_its_lease() {
    let origin = origin::says("hello").await;
    let proxy = with(&origin, 1, "exchange:2", 2).await;
    let mut client = proxy.client().await;
    client.send("GET /one HTTP/1.1\r\nHost: t\r\n\r\n").await;
    client.closed().await;
    let mut client = Http2::connect(proxy.address()).await;
    let request = client.request("GET", "/two", &[]);
    let mut stream = client.open(request, true).await;
    assert!(stream.try_response().await.is_err());
    // Other streams of its connection go on.
    assert_eq!(client.get("/three").await.text(), "hello");
    for line in ["line /one 500.\n", "line /two 500.\n", "line /three 200.\n"] {
        proxy.stdout().contains(line).await;
    }
    assert_eq!(proxy.server(origin.address()).await["in_flight"], 0);
}

#[tokio::test]
async fn a_panic_while_an_exchange_that_panicked_is_ended_ends_nothing_else() {
    let origin = origin::says("hello").await;
    // A second panic that leaves a destructor would abort the process.
    for (faults, panics) in [("exchange,line", 2), ("exchange,lease,line", 3)] {
        let proxy = with(&origin, 1, faults, panics).await;
        let (mut other, mut client) = (proxy.client().await, proxy.client().await);
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
        client.closed().await;
        assert_eq!(other.get("/other").await.text(), "hello");
        let status = proxy.shows("/status").await;
        let counts = (&status["panics"], &status["worker_restarts"]);
        assert_eq!(counts, (&panics.into(), &0.into()));
        assert_eq!(proxy.server(origin.address()).await["in_flight"], 0);
    }
}

#[tokio::test]
async fn a_listener_whose_task_dies_is_accepted_on_again() {
    let origin = origin::says("hello").await;
    let proxy = with(&origin, 2, "accept", 1).await;
    drop(Client::connect(proxy.address()).await);
    restarted(&proxy, 1).await;
    serves(&proxy).await;
    assert_eq!(proxy.shows("/status").await["panics"], 1);
}

#[tokio::test]
async fn a_worker_without_housekeeping_is_replaced() {
    let origin = origin::says("hello").await;
    let proxy = with(&origin, 2, "housekeeping", 1).await;
    restarted(&proxy, 1).await;
    serves(&proxy).await;
}

#[tokio::test]
async fn a_worker_that_cannot_be_replaced_at_first_is_later() {
    let origin = origin::says("hello").await;
    let proxy = with(&origin, 1, "accept,respawn:2", 1).await;
    drop(Client::connect(proxy.address()).await);
    proxy
        .log_contains("worker 0 has died and cannot be replaced, which is tried again")
        .await;
    // A client that connects meanwhile waits, and is served.
    serves(&proxy).await;
    restarted(&proxy, 1).await;
}

#[tokio::test]
async fn a_listener_that_cannot_be_accepted_on_at_first_is_later() {
    let origin = origin::says("hello").await;
    let proxy = with(&origin, 1, "open:2", 0).await;
    proxy
        .log_contains("a worker cannot accept on a listener, which is tried again")
        .await;
    serves(&proxy).await;
    assert_eq!(proxy.shows("/status").await["worker_restarts"], 0);
}
