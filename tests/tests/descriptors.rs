//! Too few file descriptors: what is being served goes on, new connections wait, and the proxy does
//! not spin meanwhile.

use std::net::Ipv4Addr;
use std::time::Duration;

use waypost_tests::admin::ADMIN;
use waypost_tests::{Answer, Gate, Http2, Proxy, eventually, not_yet, origin, proxy};

#[tokio::test]
async fn clients_beyond_the_limit_are_served_in_the_place_of_idle_ones() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin])
        .server("workers = 1")
        .through_shell("ulimit -n 65; exec \"$@\"");
    let mut proxy = proxy.start().await;

    // Twice as many as there can be descriptors, and none of them leaves.
    let mut clients = Vec::new();
    for _ in 0..120 {
        let mut client = proxy.client().await;
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
        clients.push(client);
    }
    for client in &mut clients {
        assert_eq!(client.response().await.text(), "hello");
    }
    assert!(proxy.descriptors() <= 65);
    assert!(!proxy.log().contains("accept() failed"), "{}", proxy.log());
    // The last ones are still connected.
    for client in &mut clients[112..] {
        assert_eq!(client.get("/").await.text(), "hello");
    }
    does_not_spin(&mut proxy).await;

    drop(clients);
    assert_eq!(proxy.get("/").await.text(), "hello");
    eventually("the descriptors to be given back", async || {
        proxy.descriptors() < 50
    })
    .await;
}

/// Idle clients need one descriptor each, not two.
#[tokio::test]
async fn idle_clients_have_what_connections_to_servers_do_not_need() {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin])
        .server("workers = 2")
        .through_shell("ulimit -n 300; exec \"$@\"")
        .more(ADMIN)
        .start()
        .await;
    let mut clients = Vec::new();
    for _ in 0..600 {
        let mut client = proxy.client().await;
        assert_eq!(client.get("/").await.text(), "hello");
        clients.push(client);
    }
    let connections = proxy.shows("/status").await["connections"].as_u64();
    assert!(connections > Some(180), "{connections:?} of 300");
    // And there are descriptors for connections to servers when these clients ask again.
    for client in clients.iter_mut().rev().take(100) {
        assert_eq!(client.get("/").await.text(), "hello");
    }
}

#[tokio::test]
async fn busy_connections_keep_their_upstream_side() {
    // Each exchange needs a second descriptor, and all wait at the origin at the same time.
    let origin = origin::answers(|_| Answer::ok("hello").after(Duration::from_millis(100))).await;
    let proxy = proxy::to([&origin])
        .server("workers = 1")
        .through_shell("ulimit -n 65; exec \"$@\"");
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
async fn idle_connections_to_servers_take_half_of_what_clients_leave_at_most() {
    let gate = Gate::closed();
    let held = gate.clone();
    let origin = origin::answers(move |_| Answer::ok("held").when(&held)).await;
    let proxy = proxy::to([&origin])
        .server("workers = 1")
        .through_shell("ulimit -n 65; exec \"$@\"")
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
    // Of 65 descriptors 42 are set aside, and one is the client's.
    origin.has_open(11).await;
    assert_eq!(client.get("/").await.text(), "held");
    assert_eq!(origin.connections(), 12, "one that was kept serves");
}

/// Streams of HTTP/2 may need more connections to servers than there are descriptors, idle ones
/// included.
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
        .through_shell("ulimit -n 65; exec \"$@\"")
        .start()
        .await;
    // An idle connection is closed when a stream needs its descriptor.
    let mut first = Http2::connect(proxy.address()).await;
    let mut streams = Vec::new();
    for _ in 0..6 {
        let request = first.request("GET", "/other", &[]);
        streams.push(first.open(request, true).await);
    }
    for mut stream in streams.drain(..) {
        assert_eq!(stream.response().await.text(), "other");
    }
    // Of two clients, for one of them could not have so many: this one has less than its share, and
    // wants more when the other one has taken what was left.
    for _ in 0..8 {
        let request = first.request("GET", "/", &[]);
        streams.push(first.open(request, true).await);
    }
    origin.received(8).await;
    let from = Ipv4Addr::new(127, 0, 0, 2);
    let mut second = Http2::connect_from(from, proxy.address()).await;
    for _ in 0..50 {
        let request = second.request("GET", "/", &[]);
        streams.push(second.open(request, true).await);
    }
    origin.received(18).await;
    for _ in 0..42 {
        let request = first.request("GET", "/", &[]);
        streams.push(first.open(request, true).await);
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
    assert!(proxy.descriptors() <= 65);
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
    assert!(answered >= 10, "{answered} of 100 were answered");
    assert_eq!(proxy.get("/other").await.text(), "other");
}

#[tokio::test]
async fn max_connections_bounds_how_many_are_served() {
    let gate = Gate::closed();
    let held = gate.clone();
    let origin = origin::answers(move |_| Answer::ok("hello").when(&held)).await;
    let proxy = proxy::to([&origin])
        .server("workers = 1\nmax_connections = 3")
        .start()
        .await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = proxy.client().await;
        client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
        clients.push(client);
    }
    origin.received(3).await;
    not_yet("a fourth request", origin.received(4)).await;
    gate.open();
    for client in &mut clients {
        assert_eq!(client.response().await.text(), "hello");
    }
}

/// Comes to rest, once what was under way is done: half a second in which it uses a tenth of a core
/// at the most. One that spins never does, unless the machine leaves it less than that.
async fn does_not_spin(proxy: &mut Proxy) {
    eventually("the processor to be left alone", async || {
        let before = proxy.process().cpu_time();
        tokio::time::sleep(Duration::from_millis(500)).await;
        proxy.process().cpu_time() - before <= Duration::from_millis(50)
    })
    .await;
}
