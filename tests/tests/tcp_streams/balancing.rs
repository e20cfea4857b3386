//! Which server a session goes to: the same policies, the same rules for the next one.

use super::*;

/// The names of the servers of so many sessions, one after the other.
async fn names(proxy: &Proxy, number: usize) -> String {
    let mut names = String::new();
    for _ in 0..number {
        names += &session(proxy).await.1;
    }
    names
}

#[tokio::test]
async fn turns_are_taken_by_weight() {
    let (a, b) = (echo("a").await, echo("b").await);
    let servers = format!("{}, {}", a.with("weight = 2"), b.with(""));
    let proxy = with_servers(&servers, "", "").await;
    assert_eq!(names(&proxy, 6).await, "abaaba");
}

#[tokio::test]
async fn least_conn_counts_sessions_that_are_open() {
    let (a, b) = (echo("a").await, echo("b").await);
    let proxy = stream_to(&[&a, &b], "", "policy = \"least_conn\"").await;
    let (held, name) = session(&proxy).await;
    let other = if name == "a" { "b" } else { "a" };
    assert_eq!(names(&proxy, 1).await, other);
    let other_server = if name == "a" { &b } else { &a };
    for _ in 0..3 {
        // The one before has to be counted out first.
        other_server.has_open(0).await;
        eventually("its lease to end", async || {
            proxy.server(other_server.address()).await["in_flight"] == 0
        })
        .await;
        assert_eq!(names(&proxy, 1).await, other);
    }
    let server = if name == "a" { &a } else { &b };
    assert_eq!(proxy.server(server.address()).await["in_flight"], 1);
    drop(held);
    eventually("the lease to end", async || {
        proxy.server(server.address()).await["in_flight"] == 0
    })
    .await;
}

#[tokio::test]
async fn a_hash_of_the_clients_address_keeps_it_at_its_server() {
    let (a, b, c) = (echo("a").await, echo("b").await, echo("c").await);
    for policy in [
        "policy = { plugin = \"hash\", key = \"$remote_addr\", consistent = true }",
        "policy = \"ip_hash\"",
    ] {
        let proxy = stream_to(&[&a, &b, &c], "", policy).await;
        let names = names(&proxy, 6).await;
        assert_eq!(names, names[..1].repeat(6), "{policy}");
    }
}

#[tokio::test]
async fn a_server_that_refuses_is_passed_over_and_taken_out() {
    let (gone, a) = (origin::refuses(), echo("a").await);
    let proxy = stream_to(&[&gone, &a], "", "").await;
    assert_eq!(names(&proxy, 4).await, "aaaa");
    let message = "connect() failed (111: Connection refused) while connecting to upstream, client: 127.0.0.1, server: ";
    let upstream = format!("upstream: \"{}\"", gone.address());
    proxy.log_contains(message).await;
    proxy.log_contains(&upstream).await;
    let disabled =
        "upstream server temporarily disabled while connecting to upstream, client: 127.0.0.1";
    proxy.log_contains(disabled).await;
    let log = proxy.log();
    assert_eq!(log.matches(message).count(), 1, "{log}");
}

#[tokio::test]
async fn a_server_that_does_not_accept_is_passed_over_after_connect_timeout() {
    let (hangs, a) = (origin::hangs_at_connect(), echo("a").await);
    let proxy = stream_to(&[&hangs, &a], "", "connect_timeout = \"1s\"").await;
    assert_eq!(names(&proxy, 1).await, "a");
    proxy
        .log_contains("upstream timed out (110: Connection timed out) while connecting to upstream")
        .await;
}

#[tokio::test]
async fn next_upstream_and_its_tries_say_how_many_are_asked() {
    let (gone, also_gone, a) = (origin::refuses(), origin::refuses(), echo("a").await);
    let log = "access_log = { path = \"stream.log\", format = \"$status $upstream_addr\" }";
    for rule in [
        "next_upstream = \"off\"",
        "next_upstream_tries = 1",
        "next_upstream = [\"timeout\"]",
    ] {
        let proxy = stream_to(&[&gone, &a], log, rule).await;
        let mut wire = Wire::connect(proxy.address()).await.unwrap();
        assert_eq!(wire.rest().await.got, b"", "{rule}");
        let lines = log_lines(&proxy, "stream.log", 1).await;
        assert_eq!(lines, [format!("502 {}", gone.address())], "{rule}");
    }
    let proxy = stream_to(&[&gone, &also_gone, &a], log, "next_upstream_tries = 3").await;
    drop(session(&proxy).await);
    let lines = log_lines(&proxy, "stream.log", 1).await;
    let tried = [&gone, &also_gone, &a].map(|server| server.address().to_owned());
    assert_eq!(lines, [format!("200 {}", tried.join(", "))]);
}

#[tokio::test]
async fn without_a_server_left_the_connection_is_closed() {
    let (gone, also_gone) = (origin::refuses(), origin::refuses());
    let log = "access_log = { path = \"stream.log\", format = \"$status $upstream_addr\" }";
    let proxy = stream_to(&[&gone, &also_gone], log, "").await;
    for _ in 0..2 {
        let mut wire = Wire::connect(proxy.address()).await.unwrap();
        assert_eq!(wire.rest().await.got, b"");
    }
    proxy
        .log_contains("no live upstreams while connecting to upstream, client: 127.0.0.1")
        .await;
    let lines = log_lines(&proxy, "stream.log", 2).await;
    assert_eq!(lines[1], "502 backend");
}

#[tokio::test]
async fn max_conns_bounds_the_sessions_of_a_server() {
    let (a, b) = (echo("a").await, echo("b").await);
    let servers = format!("{}, {}", a.with("max_conns = 1"), b.with("backup = true"));
    let proxy = with_servers(&servers, "", "").await;
    let (_held, first) = session(&proxy).await;
    assert_eq!(
        (first.as_str(), names(&proxy, 2).await.as_str()),
        ("a", "bb")
    );
}

#[tokio::test]
async fn an_upstream_serves_streams_and_routes_alike() {
    let server = origin::says("hello").await;
    let file = format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\naccess_log = false\n[[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"backend\"\n\
         [upstream.backend]\nservers = [\"{}\"]\n[[route]]\nproxy = \"backend\"\n",
        server.address()
    );
    let proxy = proxy::run(&file, &[]).await;
    assert_eq!(proxy.get("/").await.text(), "hello");
    let through = waypost_tests::client::get_with(proxy.listener(1), "/raw", "").await;
    assert_eq!(through.text(), "hello");
    // The request is passed on unchanged.
    assert_eq!(server.requests()[1].header("X-Forwarded-For"), "");
}

#[tokio::test]
async fn turns_are_those_of_the_whole_process() {
    let (a, b, c) = (echo("a").await, echo("b").await, echo("c").await);
    let servers = [&a, &b, &c].map(|server| format!("\"{}\"", server.address()));
    let file = format!(
        "[server]\nworkers = 4\n[[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"backend\"\n\
         [upstream.backend]\nservers = [{}]\n",
        servers.join(", ")
    );
    let proxy = proxy::run(&file, &[]).await;
    // The kernel spreads them over the workers by their ports.
    assert_eq!(names(&proxy, 30).await, "abc".repeat(10));
}

#[tokio::test]
async fn of_two_at_random_the_less_busy_is_taken() {
    let (a, b) = (echo("a").await, echo("b").await);
    let two = "policy = { plugin = \"random\", two = \"least_conn\" }";
    let proxy = stream_to(&[&a, &b], "", two).await;
    let (_held, name) = session(&proxy).await;
    let (server, other) = if name == "a" { (&b, "b") } else { (&a, "a") };
    for _ in 0..5 {
        eventually("its lease to end", async || {
            proxy.server(server.address()).await["in_flight"] == 0
        })
        .await;
        assert_eq!(names(&proxy, 1).await, other);
    }
}

#[tokio::test]
async fn nobody_else_is_asked_after_next_upstream_timeout() {
    let (hangs, a) = (origin::hangs_at_connect(), echo("a").await);
    let log = "access_log = { path = \"stream.log\", format = \"$status $upstream_addr\" }";
    for (limit, expected) in [
        ("100ms", format!("502 {}", hangs.address())),
        ("20s", format!("200 {}, {}", hangs.address(), a.address())),
    ] {
        let rules = format!("connect_timeout = \"1s\"\nnext_upstream_timeout = \"{limit}\"");
        let proxy = stream_to(&[&hangs, &a], log, &rules).await;
        let mut wire = Wire::connect(proxy.address()).await.unwrap();
        let _ = wire.until(b"\n").await;
        drop(wire);
        assert_eq!(log_lines(&proxy, "stream.log", 1).await, [expected]);
    }
}
