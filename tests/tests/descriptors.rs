//! Too few file descriptors: what is being served goes on, what is new waits, and nobody burns the CPU meanwhile.

use std::time::Duration;

use waypost_tests::{Answer, Client, Gate, Http2, Proxy, eventually, not_yet, origin, proxy};

#[tokio::test]
async fn connections_beyond_the_limit_wait_and_are_served_later() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin])
        .server("workers = 1")
        .through_shell("ulimit -n 64; exec \"$@\"");
    let mut proxy = proxy.start().await;

    // Twice as many as there can be descriptors; the kernel completes them all, the proxy takes what it can.
    let mut clients = Vec::new();
    for _ in 0..120 {
        let mut client = proxy.client().await;
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
        clients.push(client);
    }
    // The first ones are served, again and again.
    let mut first: Vec<Client> = clients.drain(..10).collect();
    for client in &mut first {
        assert_eq!(client.response().await.text(), "hello");
    }
    for client in &mut first {
        for _ in 0..3 {
            assert_eq!(client.get("/").await.text(), "hello");
        }
    }
    assert!(proxy.descriptors() <= 64);
    does_not_spin(&mut proxy).await;

    // Each one that leaves makes room for one that waits.
    drop(first);
    for mut client in clients {
        assert_eq!(client.response().await.text(), "hello");
    }
    assert_eq!(proxy.get("/").await.text(), "hello");
    eventually("the descriptors to be given back", async || {
        proxy.descriptors() < 50
    })
    .await;
}

#[tokio::test]
async fn busy_connections_keep_their_upstream_side() {
    // Each exchange needs a second descriptor, and all wait at the origin at the same time.
    let origin = origin::answers(|_| Answer::ok("hello").after(Duration::from_millis(100))).await;
    let proxy = proxy::to([&origin])
        .server("workers = 1")
        .through_shell("ulimit -n 64; exec \"$@\"");
    let proxy = proxy.start().await;
    let mut clients = Vec::new();
    for _ in 0..100 {
        let mut client = proxy.client().await;
        client
            .send("GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
            .await;
        clients.push(client);
    }
    for mut client in clients {
        let response = client.response().await;
        assert_eq!(
            (response.status, response.text().as_str()),
            (200, "hello"),
            "{}",
            proxy.log()
        );
    }
}

/// What is idle in one worker cannot make room for another one.
#[tokio::test]
async fn idle_connections_to_servers_take_half_of_what_there_is_at_most() {
    let gate = Gate::closed();
    let held = gate.clone();
    let origin = origin::answers(move |_| Answer::ok("held").when(&held)).await;
    let proxy = proxy::to([&origin])
        .server("workers = 1")
        .through_shell("ulimit -n 64; exec \"$@\"")
        .start()
        .await;
    let mut client = Http2::connect(proxy.address()).await;
    let mut streams = Vec::new();
    for _ in 0..12 {
        let request = client.request("GET", "/", &[]);
        streams.push(client.open(request, true).await);
    }
    origin.received(12).await;
    gate.open();
    for mut stream in streams {
        assert_eq!(stream.response().await.text(), "held");
    }
    origin.has_open(6).await;
    assert_eq!(client.get("/").await.text(), "held");
    assert_eq!(origin.connections(), 12, "one that was kept serves");
}

/// Streams of HTTP/2 may need more connections to servers than there are descriptors, idle ones included.
#[tokio::test]
async fn streams_that_find_no_descriptor_are_told_so_and_nobody_else_notices() {
    let gate = Gate::closed();
    let held = gate.clone();
    let origin = origin::answers(move |_| Answer::ok("held").when(&held)).await;
    let other = origin::says("other").await;
    let more = format!(
        "[upstream.other]\nservers = [\"{}\"]\n[[route]]\npath = \"/other\"\nproxy = \"other\"\n\
         [[route]]\npath = \"/fixed\"\nreturn = {{ status = 200, body = \"fixed\" }}",
        other.address()
    );
    let mut proxy = proxy::to([&origin])
        .server("workers = 1")
        .more(&more)
        .through_shell("ulimit -n 64; exec \"$@\"")
        .start()
        .await;
    // Idle connections take no room from who needs it.
    let mut first = Http2::connect(proxy.address()).await;
    let mut streams = Vec::new();
    for _ in 0..6 {
        let request = first.request("GET", "/other", &[]);
        streams.push(first.open(request, true).await);
    }
    for mut stream in streams.drain(..) {
        assert_eq!(stream.response().await.text(), "other");
    }
    let mut clients = vec![first];
    for _ in 0..2 {
        clients.push(Http2::connect(proxy.address()).await);
    }
    for client in &mut clients {
        for _ in 0..40 {
            let request = client.request("GET", "/", &[]);
            streams.push(client.open(request, true).await);
        }
    }
    proxy
        .log_contains("too many connections to upstreams while connecting to upstream")
        .await;
    // Others are accepted, and served what needs no server.
    for _ in 0..5 {
        assert_eq!(proxy.get("/fixed").await.text(), "fixed");
    }
    let refused = proxy.get("/other").await;
    assert_eq!(refused.status, 503);
    assert!(proxy.descriptors() <= 64);
    assert!(!proxy.log().contains("accept() failed"), "{}", proxy.log());
    does_not_spin(&mut proxy).await;

    gate.open();
    let mut answered = 0;
    for mut stream in streams {
        let response = stream.response().await;
        match response.status {
            200 => answered += 1,
            status => assert_eq!(status, 503),
        }
    }
    assert!(answered >= 10, "{answered} of 120 were answered");
    assert_eq!(proxy.get("/other").await.text(), "other");
}

#[tokio::test]
async fn max_connections_bounds_what_is_taken() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin])
        .server("workers = 1\nmax_connections = 3")
        .start()
        .await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        let mut client = proxy.client().await;
        assert_eq!(client.get("/").await.text(), "hello");
        clients.push(client);
    }
    let mut waiting = proxy.client().await;
    waiting.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
    not_yet("a fourth connection", waiting.response()).await;
    clients.pop();
    assert_eq!(waiting.response().await.text(), "hello");
}

/// Comes to rest, once what was under way is done: half a second in which it uses a tenth of a core at the most. One
/// that spins never does, unless the machine leaves it less than that.
async fn does_not_spin(proxy: &mut Proxy) {
    eventually("the processor to be left alone", async || {
        let before = proxy.process().cpu_time();
        tokio::time::sleep(Duration::from_millis(500)).await;
        proxy.process().cpu_time() - before <= Duration::from_millis(50)
    })
    .await;
}
