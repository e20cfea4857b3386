//! Requests that wait for a server with room.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use waypost_tests::{Http2, in_time, not_yet};

use super::*;

/// Clients that ask one after the other, the first of whom is served; all others wait.
async fn crowd(proxy: &Proxy, origin: &Origin, size: usize) -> Vec<Client> {
    let mut clients = vec![begin(proxy, 0).await];
    origin.received(1).await;
    for number in 1..size {
        clients.push(begin(proxy, number).await);
        waiting(proxy, number).await;
    }
    clients
}

#[tokio::test]
async fn who_comes_first_is_served_first_whichever_worker_has_it() {
    const CLIENTS: usize = 12;
    let (origin, gates) = gated(CLIENTS).await;
    let proxy = one_at_a_time(&origin, "{ size = 100, timeout = \"1h\" }")
        .start()
        .await;
    let mut clients = crowd(&proxy, &origin, CLIENTS).await;
    for (number, client) in clients.iter_mut().enumerate() {
        origin.received(number + 1).await;
        assert_eq!(targets(&origin)[number], format!("/{number}"));
        gates[number].open();
        assert_eq!(client.response().await.text(), number.to_string());
    }
    assert_eq!(origin.requests().len(), CLIENTS);
    is_at_rest(&proxy).await;
    // Nobody waits any more: the next one is served at once.
    assert_eq!(proxy.get("/more").await.text(), "more");
}

/// Of HTTP/2, streams that are reset leave as well.
#[tokio::test]
async fn clients_that_leave_are_skipped_and_their_places_are_free() {
    let (origin, gates) = gated(1).await;
    let proxy = one_at_a_time(&origin, "{ size = 4, timeout = \"1h\" }")
        .start()
        .await;
    let mut first = begin(&proxy, 0).await;
    origin.received(1).await;
    let mut http2 = Http2::connect(proxy.address()).await;
    let mut stream = open(&mut http2, "/stream").await;
    waiting(&proxy, 1).await;
    let leaves = begin(&proxy, "leaves").await;
    waiting(&proxy, 2).await;
    let mut stays = begin(&proxy, "stays").await;
    waiting(&proxy, 3).await;
    let also_leaves = begin(&proxy, "also").await;
    waiting(&proxy, 4).await;
    assert_eq!(proxy.get("/too-many").await.status, 502);
    drop((leaves, also_leaves));
    waiting(&proxy, 2).await;
    stream.reset(h2::Reason::CANCEL);
    waiting(&proxy, 1).await;
    let mut last = begin(&proxy, "last").await;
    waiting(&proxy, 2).await;
    gates[0].open();
    for (client, text) in [
        (&mut first, "0"),
        (&mut stays, "stays"),
        (&mut last, "last"),
    ] {
        assert_eq!(client.response().await.text(), text);
    }
    assert_eq!(targets(&origin), ["/0", "/stays", "/last"]);
    is_at_rest(&proxy).await;
}

#[tokio::test]
async fn beyond_its_size_a_request_is_a_502_at_once() {
    let (origin, gates) = gated(1).await;
    let proxy = one_at_a_time(&origin, "{ size = 2, timeout = \"1h\" }")
        .start()
        .await;
    let mut first = begin(&proxy, 0).await;
    origin.received(1).await;
    let mut others = Vec::new();
    for number in 1..=2 {
        others.push(begin(&proxy, "waits").await);
        waiting(&proxy, number).await;
    }
    for _ in 0..3 {
        assert_eq!(proxy.get("/refused").await.status, 502);
    }
    proxy.log_contains("upstream queue is full (2 requests wait) while connecting to upstream, client: 127.0.0.1").await;
    assert_eq!(refused(&proxy, "queue_full").await, 3);
    gates[0].open();
    assert_eq!(first.response().await.text(), "0");
    for mut client in others {
        assert_eq!(client.response().await.text(), "waits");
    }
    assert!(!targets(&origin).contains(&"/refused".to_owned()));
}

#[tokio::test]
async fn beyond_its_timeout_a_request_is_a_502() {
    let (origin, gates) = gated(1).await;
    let queue = "{ size = 9, timeout = \"300ms\" }";
    let proxy = one_at_a_time(&origin, queue).start().await;
    let mut first = begin(&proxy, 0).await;
    origin.received(1).await;
    let began = Instant::now();
    let mut late = [begin(&proxy, "a").await, begin(&proxy, "b").await];
    for client in &mut late {
        assert_eq!(client.response().await.status, 502);
    }
    assert!(began.elapsed() >= Duration::from_millis(300));
    proxy
        .log_contains(
            "upstream timed out (110: Connection timed out) while waiting in upstream queue",
        )
        .await;
    assert_eq!(refused(&proxy, "queue_timeout").await, 2);
    // Their connections are of further use, and so is the server.
    gates[0].open();
    assert_eq!(first.response().await.text(), "0");
    assert_eq!(late[0].get("/again").await.text(), "again");
    is_at_rest(&proxy).await;
}

#[tokio::test]
async fn nobody_overtakes_those_who_wait() {
    let (origin, gates) = gated(1).await;
    let servers = [origin.with("max_conns = 1")];
    let setup = to(servers).upstream("queue = { size = 100, timeout = \"1h\" }");
    let proxy = setup.more(ADMIN).start().await;
    let mut first = begin(&proxy, 0).await;
    origin.received(1).await;
    let mut clients = Vec::new();
    for number in 0..5 {
        clients.push(begin(&proxy, format!("old{number}")).await);
        waiting(&proxy, number + 1).await;
    }
    gates[0].open();
    // They come while the others are being served.
    for number in 0..20 {
        clients.push(begin(&proxy, format!("new{number}")).await);
    }
    assert_eq!(first.response().await.status, 200);
    for client in &mut clients {
        assert_eq!(client.response().await.status, 200);
    }
    let old: Vec<String> = (0..5).map(|number| format!("/old{number}")).collect();
    assert_eq!(targets(&origin)[1..6], old);
}

/// Not in the moment either between a server's having room and the request's being woken for it.
#[tokio::test]
async fn a_client_that_has_sent_its_next_request_does_not_overtake_those_who_wait() {
    let (origin, gates) = gated(1).await;
    let proxy = one_at_a_time(&origin, "{ size = 100, timeout = \"1h\" }")
        .server("workers = 1")
        .start()
        .await;
    let mut first = begin(&proxy, 0).await;
    origin.received(1).await;
    first.send("GET /next HTTP/1.1\r\nHost: t\r\n\r\n").await;
    let mut waits = begin(&proxy, "waits").await;
    waiting(&proxy, 1).await;
    gates[0].open();
    for (client, name) in [(&mut first, "0"), (&mut waits, "waits")] {
        assert_eq!(client.response().await.text(), name);
    }
    assert_eq!(first.response().await.text(), "next");
    assert_eq!(targets(&origin), ["/0", "/waits", "/next"]);
}

#[tokio::test]
async fn streams_of_http2_wait_among_the_others() {
    let (origin, gates) = gated(6).await;
    let proxy = one_at_a_time(&origin, "{ size = 100, timeout = \"1h\" }")
        .start()
        .await;
    let mut http2 = Http2::connect(proxy.address()).await;
    let mut streams = Vec::new();
    let mut clients = Vec::new();
    for number in 0..6 {
        match number % 2 {
            0 => streams.push(open(&mut http2, &format!("/{number}")).await),
            _ => clients.push(begin(&proxy, number).await),
        }
        match number {
            0 => origin.received(1).await,
            _ => waiting(&proxy, number).await,
        }
    }
    gates.iter().for_each(Gate::open);
    for (number, stream) in streams.iter_mut().enumerate() {
        assert_eq!(stream.response().await.text(), (2 * number).to_string());
    }
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(client.response().await.text(), (2 * number + 1).to_string());
    }
    assert_eq!(targets(&origin), ["/0", "/1", "/2", "/3", "/4", "/5"]);
}

#[tokio::test]
async fn where_a_server_is_dead_and_none_is_full_nothing_waits() {
    let dead = origin::refuses();
    let other = origin::refuses();
    let servers = [&dead, &other].map(|server| server.with("max_conns = 5, fail_timeout = \"1h\""));
    let setup = to(servers).upstream("queue = { size = 9, timeout = \"1h\" }");
    let proxy = setup.more(ADMIN).start().await;
    for _ in 0..3 {
        assert_eq!(proxy.get("/").await.status, 502);
    }
    proxy.log_contains("no live upstreams").await;
    assert_eq!(refused(&proxy, "queue_full").await, 0);
}

/// What is waited for may never come: that is known as soon as the last server has failed.
#[tokio::test]
async fn those_who_wait_for_servers_that_die_are_told_so_at_once() {
    let gate = Gate::closed();
    let held = gate.clone();
    let dies = move |_: &waypost_tests::Request| Answer::raw("").when(&held).then_close();
    let (one, other) = (
        origin::answers(dies.clone()).await,
        origin::answers(dies).await,
    );
    let servers = [&one, &other].map(|server| server.with("max_conns = 1, fail_timeout = \"1h\""));
    let lines = "queue = { size = 9, timeout = \"1h\" }\nnext_upstream = \"off\"";
    let proxy = to(servers).upstream(lines).more(ADMIN).start().await;
    let mut clients = Vec::new();
    for number in 0..5 {
        clients.push(begin(&proxy, number).await);
        if number >= 2 {
            waiting(&proxy, number - 1).await;
        }
    }
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response().await.status, 502);
    }
    assert_eq!(one.requests().len() + other.requests().len(), 2);
    proxy.log_contains("no live upstreams").await;
    is_at_rest(&proxy).await;
}

/// The server that failed is tried; the other one is full.
#[tokio::test]
async fn a_retry_waits_as_well_and_keeps_nobody_from_what_it_cannot_use() {
    let fails = origin::answers(|request| match request.target.as_str() {
        "/good" => Answer::ok("good"),
        _ => Answer::status(503, "not me"),
    })
    .await;
    let (full, gates) = gated(1).await;
    let servers = [
        fails.with("max_fails = 0, max_conns = 1"),
        full.with("max_conns = 1"),
    ];
    let proxy = to(servers)
        .upstream("queue = { size = 9, timeout = \"1h\" }\nnext_upstream = [\"http_503\"]")
        .server("workers = 1")
        .more(ADMIN)
        .start()
        .await;
    // In turn: the second one is at the server that holds it.
    assert_eq!(proxy.get("/good").await.text(), "good");
    let mut first = begin(&proxy, 0).await;
    full.received(1).await;
    let mut retried = begin(&proxy, "retried").await;
    waiting(&proxy, 1).await;
    // There is room at the first server.
    assert_eq!(proxy.get("/good").await.text(), "good");
    not_yet("an answer", retried.response()).await;
    gates[0].open();
    assert_eq!(first.response().await.text(), "0");
    assert_eq!(retried.response().await.text(), "retried");
    is_at_rest(&proxy).await;
}

#[tokio::test]
async fn a_retry_waits_no_longer_than_retries_may_begin() {
    let fails = origin::answers(|_| Answer::status(503, "not me")).await;
    let (full, gates) = gated(1).await;
    let servers = [fails.with("max_fails = 0"), full.with("max_conns = 1")];
    let lines = "queue = { size = 9, timeout = \"1h\" }\nnext_upstream = [\"http_503\"]\n\
                 next_upstream_timeout = \"1s\"";
    let setup = to(servers).upstream(lines).server("workers = 1");
    let proxy = setup.more(ADMIN).start().await;
    // Whichever it is that goes to the server that holds it.
    let mut first = begin(&proxy, 0).await;
    full.received(1).await;
    let response = in_time("an answer", proxy.get("/retried")).await;
    assert_eq!(response.status, 502);
    assert_eq!(refused(&proxy, "queue_timeout").await, 1);
    gates[0].open();
    assert_eq!(first.response().await.text(), "0");
}

/// By time alone: nobody tells of it.
#[tokio::test]
async fn a_server_that_may_be_tried_again_serves_those_who_wait() {
    let well = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let health = well.clone();
    let weak = origin::answers(
        move |_| match health.load(std::sync::atomic::Ordering::SeqCst) {
            true => Answer::ok("weak"),
            false => Answer::status(503, "not me"),
        },
    )
    .await;
    let (full, _gates) = gated(1).await;
    let servers = [
        weak.with("max_fails = 1, fail_timeout = \"2s\", max_conns = 9"),
        full.with("max_conns = 1"),
    ];
    let lines = "queue = { size = 9, timeout = \"1h\" }\nnext_upstream = [\"http_503\"]";
    let setup = proxy::to(servers).upstream(lines).server("workers = 1");
    let proxy = setup.more(ADMIN).start().await;
    let _holds = begin(&proxy, 0).await;
    full.received(1).await;
    let mut waits = begin(&proxy, "waits").await;
    waiting(&proxy, 1).await;
    well.store(true, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(waits.response().await.text(), "weak");
}

#[tokio::test]
async fn without_a_queue_a_request_to_a_full_server_is_a_502_at_once() {
    let (origin, gates) = gated(1).await;
    let proxy = to([origin.with("max_conns = 1")]).start().await;
    let mut first = begin(&proxy, 0).await;
    origin.received(1).await;
    assert_eq!(proxy.get("/").await.status, 502);
    proxy.log_contains("no live upstreams").await;
    gates[0].open();
    assert_eq!(first.response().await.text(), "0");
}

#[tokio::test]
async fn a_process_that_drains_serves_those_who_wait() {
    let (origin, gates) = gated(1).await;
    let mut proxy = one_at_a_time(&origin, "{ size = 9, timeout = \"1h\" }")
        .start()
        .await;
    let mut clients = vec![begin(&proxy, 0).await];
    origin.received(1).await;
    for number in 1..4 {
        clients.push(begin(&proxy, format!("waits{number}")).await);
        waiting(&proxy, number).await;
    }
    proxy.signal(Signal::QUIT);
    proxy.log_contains("draining").await;
    gates[0].open();
    for client in &mut clients {
        assert_eq!(client.response().await.status, 200);
    }
    proxy.process().ended_and_heard().await;
}

#[tokio::test]
async fn a_process_that_stops_waits_for_nobody() {
    let (origin, _gates) = gated(1).await;
    let queue = "{ size = 9, timeout = \"1h\" }";
    let mut proxy = one_at_a_time(&origin, queue).start().await;
    let _first = begin(&proxy, 0).await;
    origin.received(1).await;
    let mut waits = begin(&proxy, "waits").await;
    waiting(&proxy, 1).await;
    proxy.signal(Signal::TERM);
    waits.closed().await;
    proxy.process().ended_and_heard().await;
}

/// Both begin to wait when they are read; a body that was read ahead is sent once it is their turn.
#[tokio::test]
async fn bodies_wait_with_their_requests() {
    let (origin, gates) = gated(1).await;
    let proxy = one_at_a_time(&origin, "{ size = 9, timeout = \"1h\" }")
        .start()
        .await;
    let mut first = begin(&proxy, 0).await;
    origin.received(1).await;
    let mut posts = proxy.client().await;
    let body = "x".repeat(1000);
    posts
        .send(format!(
            "POST /post HTTP/1.1\r\nHost: t\r\nContent-Length: 1000\r\n\r\n{body}"
        ))
        .await;
    waiting(&proxy, 1).await;
    let large = "y".repeat(100_000);
    let mut streams = proxy.client().await;
    streams
        .send(format!(
            "POST /large HTTP/1.1\r\nHost: t\r\nContent-Length: 100000\r\n\r\n{large}"
        ))
        .await;
    waiting(&proxy, 2).await;
    gates[0].open();
    assert_eq!(first.response().await.text(), "0");
    assert_eq!(posts.response().await.text(), "post");
    assert_eq!(streams.response().await.text(), "large");
    let bodies: Vec<usize> = origin
        .requests()
        .iter()
        .map(|request| request.body.len())
        .collect();
    assert_eq!(bodies, [0, 1000, 100_000]);
}

/// The place, the lease and the counts end with the task, however it ends.
#[tokio::test]
async fn a_request_that_panics_leaves_its_place_and_its_server_to_others() {
    for point in ["exchange", "queue"] {
        let (origin, gates) = gated(2).await;
        let setup = with_faults([origin.with("max_conns = 1")], point);
        let setup = setup
            .upstream("queue = { size = 9, timeout = \"1h\" }")
            .more(ADMIN);
        let proxy = setup.start().await.panicking(1);
        let clients = match point {
            // At its server.
            "exchange" => {
                begin(&proxy, "panics").await.closed().await;
                vec![begin(&proxy, 0).await]
            }
            // When its turn has come.
            _ => {
                let first = begin(&proxy, 0).await;
                origin.received(1).await;
                let mut panics = begin(&proxy, "panics").await;
                waiting(&proxy, 1).await;
                let next = begin(&proxy, 1).await;
                waiting(&proxy, 2).await;
                gates[0].open();
                panics.closed().await;
                vec![first, next]
            }
        };
        gates.iter().for_each(Gate::open);
        for mut client in clients {
            assert_eq!(client.response().await.status, 200, "{point}");
        }
        is_at_rest(&proxy).await;
        assert_eq!(proxy.get("/").await.status, 200);
    }
}
