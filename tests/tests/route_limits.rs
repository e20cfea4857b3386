//! What a route says again of its upstream and its listener: timeouts, attempts, buffers. The
//! balancing state stays one.

use std::time::{Duration, Instant};

use waypost_tests::proxy::Setup;
use waypost_tests::{Answer, Gate, Origin, Proxy, origin, pause, proxy};

/// What has to be over long before a default of a minute is.
async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let done = work.await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(30), "{what}: {took:?}");
    done
}

/// Two routes to one upstream: `/` as it is, and `/own` with these lines.
fn with_own(setup: Setup, lines: &str) -> Setup {
    setup.more(&format!(
        "[[route]]\npath = \"/own\"\nproxy = \"backend\"\n{lines}\n"
    ))
}

async fn own(origin: &Origin, lines: &str) -> Proxy {
    with_own(proxy::to([origin]), lines).start().await
}

#[tokio::test]
async fn a_route_may_wait_for_another_time_than_its_upstream_says() {
    for (of_upstream, of_route, short, long) in
        [("60s", "300ms", "/own", "/"), ("300ms", "60s", "/", "/own")]
    {
        let gate = Gate::closed();
        let held = gate.clone();
        let origin = origin::answers(move |_| Answer::ok("late").when(&held)).await;
        let setup = proxy::to([origin.with("max_fails = 0")]);
        let setup = setup.upstream(&format!("read_timeout = \"{of_upstream}\""));
        let proxy = with_own(setup, &format!("read_timeout = \"{of_route}\""));
        let proxy = proxy.start().await;
        let mut waits = proxy.client().await;
        waits
            .send(format!("GET {long} HTTP/1.1\r\nHost: t\r\n\r\n"))
            .await;
        let given_up = soon("the answer", proxy.get(short)).await;
        assert_eq!(given_up.status, 504, "{of_route}");
        gate.open();
        assert_eq!(waits.response().await.status, 200, "{of_route}");
    }
}

#[tokio::test]
async fn a_connection_has_the_time_that_the_route_gives_it() {
    for http2 in ["", "http2 = true"] {
        let origin = origin::hangs_at_connect();
        let setup = proxy::to([origin.with("max_fails = 0")]).upstream(http2);
        let proxy = with_own(setup, "connect_timeout = \"300ms\"").start().await;
        let given_up = soon("a connection", proxy.get("/own")).await;
        assert_eq!(given_up.status, 504, "{http2}");
        proxy.log_contains("while connecting to upstream").await;
    }
}

#[tokio::test]
async fn a_route_says_when_another_server_is_asked() {
    let (refuses, good) = (origin::refuses(), origin::says("good").await);
    let servers = || [refuses.with("max_fails = 0"), good.with("max_fails = 0")];
    let one = "[[route]]\npath = \"/one\"\nproxy = \"backend\"\nnext_upstream_tries = 1\n";
    let setup = proxy::to(servers()).server("workers = 1").more(one);
    let proxy = with_own(setup, "next_upstream = \"off\"").start().await;
    let mut statuses = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..4 {
        for (path, statuses) in ["/", "/own", "/one"].into_iter().zip(&mut statuses) {
            statuses.push(proxy.get(path).await.status);
        }
    }
    assert_eq!(statuses[0], [200; 4], "as the upstream says");
    for statuses in &mut statuses[1..] {
        statuses.sort_unstable();
        statuses.dedup();
        assert_eq!(*statuses, [200, 502]);
    }
    // And the other way round.
    let setup = proxy::to(servers()).upstream("next_upstream = \"off\"");
    let proxy = with_own(setup, "next_upstream = [\"error\"]").start().await;
    for _ in 0..4 {
        assert_eq!(proxy.get("/own").await.status, 200);
    }
}

/// Turns are taken by the requests of all routes together.
#[tokio::test]
async fn the_balancing_state_is_one_for_all_routes() {
    let (a, b) = (origin::named().await, origin::named().await);
    let setup = proxy::to([&a, &b]).server("workers = 1");
    let proxy = with_own(setup, "read_timeout = \"1s\"").start().await;
    for _ in 0..4 {
        assert_ne!(proxy.get("/").await.text(), proxy.get("/own").await.text());
    }
}

#[tokio::test]
async fn a_route_says_how_much_of_a_body_is_read_ahead() {
    let origin = origin::answers(|_| Answer::ok("whole")).await;
    let proxy = own(&origin, "body_buffer_size = 0").await;
    let head = |path| format!("POST {path} HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nab");
    let (mut ahead, mut streamed) = (proxy.client().await, proxy.client().await);
    ahead.send(head("/")).await;
    streamed.send(head("/own")).await;
    // One that is read whole first asks for no connection before.
    origin.has_open(1).await;
    pause().await;
    assert_eq!(origin.connections(), 1);
    streamed.send("cd").await;
    assert_eq!(streamed.response().await.status, 200);
    ahead.send("cd").await;
    assert_eq!(ahead.response().await.status, 200);
}

#[tokio::test]
async fn a_client_has_the_time_that_the_route_gives_it() {
    let origin = origin::says("whole").await;
    let proxy = own(&origin, "client_body_timeout = \"300ms\"").await;
    let mut client = proxy.client().await;
    let head = "POST /own HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nab";
    client.send(head).await;
    assert_eq!(soon("the body", client.response()).await.status, 408);
    client.closed().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_given_up_when_the_route_says() {
    let origin = origin::answers(|_| Answer::ok(vec![b'x'; 30 << 20])).await;
    let proxy = own(&origin, "client_send_timeout = \"300ms\"").await;
    let mut client = proxy.client().await;
    client.send("GET /own HTTP/1.1\r\nHost: t\r\n\r\n").await;
    origin.received(1).await;
    soon("the client", proxy.log_contains("client timed out")).await;
    // The next request on another route has the listener's time again.
    assert_eq!(proxy.get("/").await.status, 200);
}
