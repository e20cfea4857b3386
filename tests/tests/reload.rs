//! The configuration changes while requests are being served: nobody who talks to the proxy notices, and what it knows of its
//! servers stays.

use rustix::process::Signal;
use waypost_tests::admin::ADMIN;
use waypost_tests::{Answer, Client, Gate, Origin, Proxy, Wire, eventually, origin, proxy};

const ONE: &str = "workers = 1";
/// A route that answers by itself.
const NEW: &str = "[[route]]\npath = \"/new\"\nreturn = { status = 200, body = \"new\" }\n";

/// A listener on a unix socket.
const FRONT: &str = "[[listen]]\naddress = \"unix:{dir}/front.sock\"\n";

/// An origin that answers `/held` once the gate is open, and everything else at once; `what` it says, always.
async fn holding(what: Answer, gate: &Gate) -> Origin {
    let gate = gate.clone();
    origin::answers(move |request| match request.target.as_str() {
        "/held" => what.clone().when(&gate),
        _ => Answer::ok("at once"),
    })
    .await
}

/// A client whose request has arrived at the origin.
async fn waiting(address: &str, origin: &Origin) -> Client {
    let arrived = origin.requests().len();
    let mut client = Client::connect(address).await;
    client.send("GET /held HTTP/1.1\r\nHost: t\r\n\r\n").await;
    origin.received(arrived + 1).await;
    client
}

/// A GET on a kept connection, which must be kept.
async fn kept(client: &mut Client, target: &str) -> String {
    let response = client.get(target).await;
    assert_eq!(response.headers.get("Connection"), None, "{response:?}");
    response.text()
}

async fn refuses(address: &str) {
    eventually("the listener to close", async || {
        Wire::connect(address).await.is_err()
    })
    .await;
}

mod exchanges {
    use super::*;

    #[tokio::test]
    async fn the_next_request_on_a_connection_takes_the_new_route_and_server() {
        let (a, b) = (origin::says("a").await, origin::says("b").await);
        let proxy = proxy::to([&a]).more(ADMIN).start().await;
        let mut client = proxy.client().await;
        assert_eq!(kept(&mut client, "/").await, "a");
        assert_eq!(kept(&mut client, "/new").await, "a");
        proxy.edit(a.address(), b.address());
        proxy.append(NEW);
        proxy.reload().await;
        assert_eq!(kept(&mut client, "/").await, "b");
        assert_eq!(kept(&mut client, "/new").await, "new");
    }

    #[tokio::test]
    async fn hup_reloads() {
        let origin = origin::says("hello").await;
        let proxy = proxy::to([&origin]).start().await;
        let mut client = proxy.client().await;
        assert_eq!(kept(&mut client, "/new").await, "hello");
        proxy.append(NEW);
        proxy.signal(Signal::HUP);
        proxy.log_contains("reloaded: generation 2").await;
        assert_eq!(kept(&mut client, "/new").await, "new");
    }

    #[tokio::test]
    async fn an_exchange_under_way_finishes_as_it_began_even_if_its_upstream_and_route_are_gone() {
        let gate = Gate::closed();
        let origin = holding(Answer::ok("done"), &gate).await;
        let proxy = proxy::to([&origin])
            .route("response_headers = { set = { X-Route = \"old\" } }")
            .more(ADMIN)
            .start()
            .await;
        let mut client = waiting(proxy.address(), &origin).await;
        proxy.write(&format!(
            "[server]\nworkers = 2\n[[listen]]\naddress = \"127.0.0.1:0\"\n{NEW}{ADMIN}"
        ));
        proxy.reload().await;
        gate.open();
        let response = client.response().await;
        assert_eq!(
            (response.text().as_str(), response.header("X-Route")),
            ("done", "old")
        );
        assert_eq!(response.headers.get("Connection"), None);
        assert_eq!(kept(&mut client, "/new").await, "new");
        assert_eq!(client.get("/").await.status, 404);
        // Nothing is left of the upstream, its connections included.
        origin.has_open(0).await;
    }

    #[tokio::test]
    async fn an_exchange_under_way_is_retried_on_the_servers_that_it_began_with() {
        let gate = Gate::closed();
        let fails = holding(Answer::raw("").then_reset(), &gate).await;
        let (old, new) = (origin::says("old").await, origin::says("new").await);
        let proxy = proxy::to([&fails, &old]).more(ADMIN).start().await;
        let mut client = waiting(proxy.address(), &fails).await;
        proxy.edit(old.address(), new.address());
        proxy.reload().await;
        gate.open();
        assert_eq!(client.response().await.text(), "old");
        assert_eq!(kept(&mut client, "/").await, "new");
    }

    #[tokio::test]
    async fn a_tunnel_lives_through_reloads_and_counts_as_load() {
        let origin = origin::speaks(|mut wire, _| async move {
            let Ok(_) = wire.head().await else { return };
            wire.send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n",
            )
            .await;
            while let Ok(line) = wire.until(b"\n").await {
                wire.send(line).await;
            }
        })
        .await;
        let other = origin::says("other").await;
        let proxy = proxy::to([&origin]).more(ADMIN).start().await;
        let mut client = proxy.client().await;
        client
            .send("GET / HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
            .await;
        assert_eq!(client.response_head().await.status, 101);
        let mut echoes = async |line: &str| {
            client.send(line).await;
            assert_eq!(client.wire.until(b"\n").await.unwrap(), line.as_bytes());
        };
        echoes("before\n").await;
        proxy.edit("[[route]]", "keepalive = 7\n[[route]]");
        proxy.reload().await;
        echoes("upstream changed\n").await;
        assert_eq!(proxy.server(origin.address()).await["in_flight"], 1);
        proxy.edit(origin.address(), other.address());
        proxy.reload().await;
        echoes("server gone\n").await;
        assert_eq!(proxy.get("/").await.text(), "other");
        drop(client);
        origin.has_open(0).await;
    }
}

mod connections {
    use super::*;

    #[tokio::test]
    async fn idle_and_busy_connections_stay_on_both_sides() {
        let gate = Gate::closed();
        let origin = holding(Answer::ok("done"), &gate).await;
        let proxy = proxy::to([&origin]).server(ONE).more(ADMIN).start().await;
        let mut idle = proxy.client().await;
        kept(&mut idle, "/").await;
        let mut busy = waiting(proxy.address(), &origin).await;
        let mut fresh = proxy.client().await;
        assert_eq!(origin.connections(), 1, "the idle one is reused");
        // Once with the upstream as it was, twice with another one.
        for (part, replacement) in [
            ("[[route]]", "[[route]]\nclient_max_body_size = \"2m\""),
            (" }", ", weight = 3 }"),
            ("weight = 3", "weight = 4"),
        ] {
            proxy.edit(part, replacement);
            proxy.reload().await;
        }
        gate.open();
        let response = busy.response().await;
        assert_eq!(
            (response.text().as_str(), response.headers.get("Connection")),
            ("done", None)
        );
        for client in [&mut idle, &mut busy, &mut fresh] {
            assert_eq!(kept(client, "/").await, "at once");
        }
        assert_eq!(origin.connections(), 1, "no connection was opened or lost");
    }

    #[tokio::test]
    async fn kept_connections_to_a_server_that_is_gone_are_closed() {
        let gate = Gate::closed();
        let (gone, stays) = (
            holding(Answer::ok("done"), &gate).await,
            origin::says("stays").await,
        );
        let proxy = proxy::to([&gone, &stays])
            .server(ONE)
            .more(ADMIN)
            .start()
            .await;
        let mut busy = waiting(proxy.address(), &gone).await;
        proxy.get("/").await; // stays
        proxy.get("/").await; // gone, on a second connection
        gone.has_open(2).await;
        proxy.edit(&gone.with(""), "");
        proxy.edit("  ,\n", "");
        proxy.reload().await;
        gone.has_open(1).await;
        gate.open();
        assert_eq!(busy.response().await.text(), "done");
        // Busy meanwhile, and of no use to anybody now.
        gone.has_open(0).await;
        assert_eq!((stays.open(), stays.connections()), (1, 1));
    }
}

mod servers {
    use super::*;

    #[tokio::test]
    async fn a_disabled_server_stays_disabled() {
        let bad = origin::answers(|_| Answer::raw("").then_close()).await;
        let good = origin::says("good").await;
        let proxy = proxy::to([bad.with("weight = 1"), good.with("weight = 1")])
            .more(ADMIN)
            .start()
            .await;
        assert_eq!(proxy.get("/").await.text(), "good");
        assert_eq!(bad.requests().len(), 1, "it was asked first");
        proxy.edit(&good.with("weight = 1"), &good.with("weight = 9"));
        proxy.reload().await;
        let server = proxy.server(bad.address()).await;
        assert_eq!(
            (&server["fails"], &server["in_rotation"]),
            (&1.into(), &false.into())
        );
        for _ in 0..12 {
            assert_eq!(proxy.get("/").await.text(), "good");
        }
        assert_eq!(bad.requests().len(), 1);
        // Its place in the file is not what it is known by.
        let (first, second) = (bad.with("weight = 1"), good.with("weight = 9"));
        proxy.edit(
            &format!("  {first},\n  {second},\n"),
            &format!("  {second},\n  {first},\n"),
        );
        proxy.reload().await;
        for _ in 0..12 {
            assert_eq!(proxy.get("/").await.text(), "good");
        }
        assert_eq!(bad.requests().len(), 1);
    }

    #[tokio::test]
    async fn the_load_of_a_server_is_known_to_the_new_configuration() {
        let gate = Gate::closed();
        let busy = holding(Answer::ok("done"), &gate).await;
        let free = origin::named().await;
        let proxy = proxy::to([&busy, &free])
            .upstream("policy = \"least_conn\"")
            .more(ADMIN)
            .start()
            .await;
        let mut client = waiting(proxy.address(), &busy).await;
        proxy.edit("policy", "keepalive = 5\npolicy");
        proxy.reload().await;
        for _ in 0..6 {
            assert_eq!(proxy.get("/").await.text(), free.address());
        }
        assert_eq!(proxy.server(busy.address()).await["in_flight"], 1);
        gate.open();
        client.response().await;
        assert_eq!(proxy.server(busy.address()).await["in_flight"], 0);
    }

    #[tokio::test]
    async fn max_conns_counts_what_began_before() {
        let gate = Gate::closed();
        let full = holding(Answer::ok("done"), &gate).await;
        let free = origin::named().await;
        let servers = [full.with("max_conns = 9"), free.with("")];
        let proxy = proxy::to(servers).more(ADMIN).start().await;
        let mut client = waiting(proxy.address(), &full).await;
        proxy.edit("max_conns = 9", "max_conns = 1");
        proxy.reload().await;
        for _ in 0..4 {
            assert_eq!(proxy.get("/").await.text(), free.address());
        }
        gate.open();
        client.response().await;
        let answers = [proxy.get("/").await.text(), proxy.get("/").await.text()];
        assert!(answers.contains(&"at once".to_owned()), "{answers:?}");
    }

    #[tokio::test]
    async fn a_failure_of_an_exchange_that_began_before_still_counts() {
        let gate = Gate::closed();
        let bad = holding(Answer::raw("").then_reset(), &gate).await;
        let good = origin::says("good").await;
        let servers = [bad.with(""), good.with("weight = 2")];
        let proxy = proxy::to(servers).server(ONE).more(ADMIN).start().await;
        let asked = async || {
            while proxy.get("/").await.text() == "good" {}
        };
        asked().await;
        let arrived = bad.requests().len();
        let mut client = proxy.client().await;
        while bad.requests().len() == arrived {
            client = proxy.client().await;
            client.send("GET /held HTTP/1.1\r\nHost: t\r\n\r\n").await;
            let before = good.requests().len();
            eventually("the request to arrive", async || {
                good.requests().len() + bad.requests().len() > before + arrived
            })
            .await;
        }
        proxy.edit("weight = 2", "weight = 1");
        proxy.reload().await;
        asked().await; // in rotation so far
        gate.open();
        assert_eq!(client.response().await.text(), "good");
        assert_eq!(proxy.server(bad.address()).await["in_rotation"], false);
        for _ in 0..6 {
            assert_eq!(proxy.get("/").await.text(), "good");
        }
    }
}

mod refusals {
    use super::*;

    /// A reload that must be refused, and has changed nothing; the answer.
    async fn refused(proxy: &Proxy) -> waypost_tests::Response {
        let before = proxy.shows("/status").await;
        let response = proxy.admin("POST", "/reload", "").await;
        assert_eq!(response.status, 422, "{response:?}");
        let after = proxy.shows("/status").await;
        for key in ["generation", "listeners"] {
            assert_eq!(after[key], before[key]);
        }
        let failed = |status: &serde_json::Value| status["reloads"]["failed"].as_u64();
        assert_eq!(failed(&after), failed(&before).map(|failed| failed + 1));
        assert_eq!(after["reloads"]["last_error"], response.json()["error"]);
        response
    }

    #[tokio::test]
    async fn every_problem_is_told_at_its_line_and_nothing_has_changed() {
        let origin = origin::says("hello").await;
        let proxy = proxy::to([&origin]).more(ADMIN).start().await;
        let mut client = proxy.client().await;
        kept(&mut client, "/").await;
        proxy.append(&format!(
            "{NEW}[[route]]\npath = \"/a\"\nprox = \"backend\"\n[[route]]\npath = \"/b\"\nproxy = \"nobody\""
        ));
        let response = refused(&proxy).await.json();
        let text = std::fs::read_to_string(proxy.file()).unwrap();
        let line = |part: &str| {
            let before = text.split_once(part).unwrap().0;
            format!("waypost.toml:{}:", before.matches('\n').count() + 1)
        };
        let problems: Vec<String> = serde_json::from_value(response["problems"].clone()).unwrap();
        for part in ["prox = ", "\"nobody\""] {
            let place = line(part);
            assert!(
                problems.iter().any(|problem| problem.contains(&place)),
                "{part} is not at {place}: {problems:?}"
            );
            proxy.log_contains(&place).await;
        }
        proxy.log_contains("everything stays as it was").await;
        assert_eq!(kept(&mut client, "/new").await, "hello");

        let known = proxy.log().len();
        proxy.signal(Signal::HUP);
        let log = proxy.stderr();
        log.wait_until("the second refusal", |log| {
            log[known..].contains(&line("\"nobody\""))
        })
        .await;
        assert_eq!(kept(&mut client, "/new").await, "hello");
    }

    #[tokio::test]
    async fn an_address_that_is_taken() {
        let origin = origin::says("hello").await;
        let proxy = proxy::to([&origin]).more(ADMIN).start().await;
        let mut client = proxy.client().await;
        kept(&mut client, "/").await;
        let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = other.local_addr().unwrap().to_string();
        let socket = proxy.directory().join("front.sock");
        proxy.append(&format!("{NEW}{FRONT}[[listen]]\naddress = \"{taken}\""));
        let response = refused(&proxy).await;
        assert!(response.text().contains(&taken), "{}", response.text());
        assert!(!socket.exists(), "what was opened already is closed again");
        assert_eq!(kept(&mut client, "/new").await, "hello");
        drop(other);
        proxy.reload().await;
        assert!(socket.exists());
        assert_eq!(kept(&mut client, "/new").await, "new");
    }

    #[tokio::test]
    async fn settings_that_a_policy_refuses() {
        let origin = origin::says("hello").await;
        let proxy = proxy::to([&origin]).more(ADMIN).start().await;
        let socket = proxy.directory().join("front.sock");
        proxy.edit(
            "[[route]]",
            "policy = { plugin = \"random\", tow = \"least_conn\" }\n[[route]]",
        );
        proxy.append(&format!("{NEW}{FRONT}"));
        let response = refused(&proxy).await;
        assert!(response.text().contains("tow"), "{}", response.text());
        assert!(!socket.exists());
        assert_eq!(proxy.get("/new").await.text(), "hello");
    }

    #[tokio::test]
    async fn a_file_that_is_gone() {
        let origin = origin::says("hello").await;
        let proxy = proxy::to([&origin]).more(ADMIN).start().await;
        std::fs::remove_file(proxy.file()).unwrap();
        refused(&proxy).await;
        assert_eq!(proxy.get("/").await.text(), "hello");
    }
}

mod listeners {
    use super::*;

    const SECOND: &str = "[[listen]]\naddress = \"127.0.0.2:0\"\n";

    /// The address of a listener by its number.
    async fn address(proxy: &Proxy, index: usize) -> String {
        let status = proxy.shows("/status").await;
        status["listeners"][index].as_str().unwrap().to_owned()
    }

    #[tokio::test]
    async fn a_new_one_serves_and_a_removed_one_finishes_what_is_under_way() {
        let gate = Gate::closed();
        let origin = holding(Answer::ok("done"), &gate).await;
        let proxy = proxy::to([&origin]).more(ADMIN).start().await;
        let mut other = proxy.client().await;
        kept(&mut other, "/").await;

        proxy.append(SECOND);
        proxy.reload().await;
        let second = address(&proxy, 1).await;
        let mut idle = Client::connect(&second).await;
        kept(&mut idle, "/").await;
        let mut busy = waiting(&second, &origin).await;

        proxy.edit(SECOND, "");
        proxy.reload().await;
        refuses(&second).await;
        proxy
            .log_contains(&format!("no longer listening on {second}"))
            .await;
        gate.open();
        let response = busy.response().await;
        assert_eq!(
            (response.text().as_str(), response.header("Connection")),
            ("done", "close")
        );
        busy.closed().await;
        idle.closed().await;
        assert_eq!(kept(&mut other, "/").await, "at once");
        assert_eq!(address(&proxy, 0).await, proxy.address());
    }

    #[tokio::test]
    async fn a_request_that_meets_the_end_of_its_listener_is_answered() {
        let origin = origin::says("hello").await;
        let proxy = proxy::to([&origin]).more(ADMIN).more(SECOND).start().await;
        let second = proxy.listener(1);
        let mut kept_open = Client::connect(second).await;
        kept(&mut kept_open, "/").await;
        let mut fresh = Client::connect(second).await;
        eventually("both to be accepted", async || {
            proxy.shows("/status").await["connections"] == 2
        })
        .await;
        proxy.edit(SECOND, "");
        proxy.reload().await;
        for client in [&mut kept_open, &mut fresh] {
            let response = client.get("/").await;
            assert_eq!(
                (response.text().as_str(), response.header("Connection")),
                ("hello", "close")
            );
            client.closed().await;
        }
    }

    #[tokio::test]
    async fn those_who_wait_to_be_accepted_when_it_goes_are_served() {
        let origin = origin::says("hello").await;
        let proxy = proxy::to([&origin])
            .server("workers = 1\nmax_connections = 1")
            .more(ADMIN)
            .more(SECOND)
            .start()
            .await;
        let mut first = proxy.client().await;
        kept(&mut first, "/").await;
        // The bound is reached: these wait in the kernel.
        let mut waiting = Vec::new();
        for _ in 0..3 {
            let mut client = Client::connect(proxy.listener(1)).await;
            client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
            waiting.push(client);
        }
        proxy.edit(SECOND, "");
        proxy.reload().await;
        for client in &mut waiting {
            assert_eq!(client.response().await.text(), "hello");
            client.closed().await;
        }
        assert_eq!(kept(&mut first, "/").await, "hello");
    }

    #[tokio::test]
    async fn their_order_in_the_file_is_nothing_to_their_connections() {
        let origin = origin::says("hello").await;
        let first = "[[listen]]\naddress = \"127.0.0.1:0\"\n";
        let route =
            "[[route]]\nlisten = \"127.0.0.2:0\"\nreturn = { status = 200, body = \"second\" }\n";
        let proxy = proxy::to([&origin])
            .more(ADMIN)
            .more(SECOND)
            .more(route)
            .route("listen = \"127.0.0.1:0\"")
            .start()
            .await;
        let mut one = Client::connect(proxy.listener(0)).await;
        let mut two = Client::connect(proxy.listener(1)).await;
        assert_eq!(kept(&mut one, "/").await, "hello");
        assert_eq!(kept(&mut two, "/").await, "second");
        proxy.edit(SECOND, "");
        proxy.edit(first, &format!("{SECOND}{first}"));
        proxy.reload().await;
        assert_eq!(address(&proxy, 0).await, proxy.listener(1));
        assert_eq!(address(&proxy, 1).await, proxy.listener(0));
        assert_eq!(kept(&mut one, "/").await, "hello");
        assert_eq!(kept(&mut two, "/").await, "second");
        for (listener, says) in [(0, "hello"), (1, "second")] {
            let mut client = Client::connect(proxy.listener(listener)).await;
            assert_eq!(kept(&mut client, "/").await, says);
        }
    }

    #[tokio::test]
    async fn unix_sockets_come_and_go_with_their_files() {
        let origin = origin::says("hello").await;
        let proxy = proxy::to([&origin]).more(ADMIN).start().await;
        let path = proxy.directory().join("front.sock");
        let unix = format!("unix:{}", path.display());
        for _ in 0..2 {
            proxy.append(FRONT);
            proxy.reload().await;
            let mut client = Client::connect(&unix).await;
            assert_eq!(kept(&mut client, "/").await, "hello");
            proxy.edit(FRONT, "");
            proxy.reload().await;
            assert!(!path.exists());
            client.closed().await;
        }
        assert_eq!(proxy.get("/").await.text(), "hello");
    }

    #[tokio::test]
    async fn their_limits_hold_from_the_next_request_on() {
        let origin = origin::says("hello").await;
        let proxy = proxy::to([&origin])
            .listen("client_max_body_size = 10")
            .more(ADMIN)
            .start()
            .await;
        let mut client = proxy.client().await;
        kept(&mut client, "/").await;
        proxy.edit("client_max_body_size = 10", "client_max_body_size = 3");
        proxy.reload().await;
        client
            .send("POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello")
            .await;
        assert_eq!(client.response().await.status, 413);
    }
}

mod settings {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn the_access_log_of_the_next_request_is_the_new_one() {
        let origin = origin::says("hello").await;
        let proxy = proxy::to([&origin]).more(ADMIN).start().await;
        let mut client = proxy.client().await;
        kept(&mut client, "/before").await;
        proxy.edit(
            "access_log = false",
            "access_log = { path = \"access.log\", format = \"first $request_uri\" }",
        );
        proxy.reload().await;
        kept(&mut client, "/one").await;
        proxy.edit("first $request_uri", "second $request_uri");
        proxy.reload().await;
        kept(&mut client, "/two").await;
        let log = proxy.directory().join("access.log");
        let lines = || std::fs::read_to_string(&log).unwrap_or_default();
        eventually("both lines", async || lines().lines().count() == 2).await;
        assert_eq!(lines(), "first /one\nsecond /two\n");
    }

    #[tokio::test]
    async fn what_needs_a_new_process_is_warned_about_as_often_as_it_is_read_and_the_rest_applies()
    {
        let origin = origin::says("hello").await;
        let proxy = proxy::to([&origin]).more(ADMIN).start().await;
        proxy.edit(
            "workers = 2",
            "workers = 3\nerror_log = \"error.log\"\nplugin_cache = false",
        );
        proxy.edit("admin.sock", "other.sock");
        proxy.append(NEW);
        for _ in 0..2 {
            let warnings = proxy.reload().await;
            let about = |key: &str| {
                let key = format!("`{key}`");
                warnings.iter().filter(|line| line.contains(&key)).count()
            };
            for key in ["workers", "error_log", "plugin_cache", "[admin]"] {
                assert_eq!(about(key), 1, "{key}: {warnings:?}");
            }
            assert_eq!(warnings.len(), 4, "{warnings:?}");
        }
        proxy.log_contains("`workers` has changed").await;
        assert_eq!(proxy.get("/new").await.text(), "new");
        assert_eq!(proxy.shows("/status").await["workers"], 2);
    }

    #[tokio::test]
    async fn max_connections_holds_at_once() {
        let origin = origin::says("hello").await;
        let proxy = proxy::to([&origin])
            .server("workers = 1\nmax_connections = 1")
            .more(ADMIN)
            .start()
            .await;
        let mut first = proxy.client().await;
        kept(&mut first, "/").await;
        let mut second = proxy.client().await;
        second.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
        let early = tokio::time::timeout(Duration::from_millis(100), second.response()).await;
        assert!(early.is_err(), "a second connection was served");
        proxy.edit("max_connections = 1", "max_connections = 2");
        proxy.reload().await;
        assert_eq!(second.response().await.text(), "hello");
    }

    #[tokio::test]
    async fn the_error_log_s_level_holds_at_once() {
        let origin = origin::says("hello").await;
        let proxy = proxy::to([&origin])
            .server("error_log = { path = \"stderr\", level = \"info\" }")
            .more(ADMIN)
            .start()
            .await;
        let reopened = || proxy.log().matches("logs reopened").count();
        proxy.signal(Signal::USR1);
        eventually("the first line", async || reopened() == 1).await;
        proxy.edit("level = \"info\"", "level = \"error\"");
        proxy.reload().await;
        proxy.signal(Signal::USR1);
        // Signals come before what is asked after them.
        proxy.shows("/status").await;
        proxy.edit("level = \"error\"", "level = \"info\"");
        proxy.reload().await;
        proxy.signal(Signal::USR1);
        eventually("the last line", async || {
            proxy.log().ends_with("logs reopened\n")
        })
        .await;
        assert_eq!(reopened(), 2);
    }
}

mod storms {
    use std::time::Duration;

    use waypost_tests::Load;

    use super::*;

    /// Memory that a process may gain while it reloads: what the allocator keeps, and the kernel's own rounding.
    const GAIN: u64 = 6 << 10;

    /// Two files that differ in all that a reload can change, the listener of the load aside.
    fn two_files(origins: &[Origin; 3]) -> [String; 2] {
        let [a, b, c] = origins;
        let file = |servers: [String; 2], upstream: &str, more: &str| {
            format!(
                "[server]\nworkers = 2\naccess_log = false\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
                 [upstream.backend]\nservers = [{}]\n{upstream}\n[[route]]\nproxy = \"backend\"\n{more}\n{ADMIN}",
                servers.join(", ")
            )
        };
        [
            file(
                [a.with(""), b.with("weight = 2")],
                "policy = \"least_conn\"",
                "response_headers = { set = { X-A = \"a\" } }",
            ),
            file(
                [b.with(""), c.with("weight = 3")],
                "policy = { plugin = \"hash\", key = \"$request_id\", consistent = true }\nkeepalive = 9",
                &format!(
                    "{FRONT}[upstream.other]\nservers = [\"127.0.0.1:1\"]\n\
                     [[route]]\npath = \"/other\"\nproxy = \"other\""
                ),
            ),
        ]
    }

    #[tokio::test]
    async fn hundreds_of_reloads_cost_no_request_no_connection_and_no_memory() {
        let origins = [
            origin::named().await,
            origin::named().await,
            origin::named().await,
        ];
        let files = two_files(&origins);
        let mut proxy = proxy::run(&files[0], &[]).await;
        let load = Load::start(proxy.address(), 8);
        let (mut memory, mut descriptors) = (Vec::new(), Vec::new());
        for round in 1..=200 {
            proxy.write(&files[round % 2]);
            proxy.reload().await;
            if round % 50 == 0 {
                memory.push(proxy.process().memory());
                descriptors.push(proxy.descriptors());
            }
        }
        let report = load.stop().await;
        assert!(report.errors.is_empty(), "{:?}", report.errors);
        assert_eq!(report.connections, 8, "no connection was closed");
        assert!(report.answered.len() > 200, "{}", report.answered.len());
        for origin in &origins {
            assert!(report.bodies.iter().any(|body| body == origin.address()));
        }
        let [first, .., last] = memory[..] else {
            panic!("{memory:?}")
        };
        assert!(last < first + GAIN, "KiB in use: {memory:?}");
        let few = descriptors[0] + 8;
        assert!(
            descriptors.iter().all(|open| *open <= few),
            "{descriptors:?}"
        );
        assert_eq!(proxy.shows("/status").await["generation"], 201);
    }

    #[tokio::test]
    async fn a_storm_of_hups_ends_with_the_last_file_in_force() {
        let origins = [
            origin::named().await,
            origin::named().await,
            origin::named().await,
        ];
        let files = two_files(&origins);
        let proxy = proxy::run(&files[0], &[]).await;
        let load = Load::start(proxy.address(), 8);
        for round in 0..200 {
            proxy.write(&files[round % 2]);
            proxy.signal(Signal::HUP);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let socket = proxy.directory().join("front.sock");
        eventually("the last file to be in force", async || socket.exists()).await;
        proxy.write(&files[0]);
        proxy.reload().await;
        assert!(!socket.exists());
        let report = load.stop().await;
        assert!(report.errors.is_empty(), "{:?}", report.errors);
        assert_eq!(report.connections, 8, "no connection was closed");
        let reloads = proxy.shows("/status").await["reloads"].clone();
        assert_eq!(reloads["failed"], 0, "{reloads}");
    }
}

mod at_run_time {
    use super::*;

    const SERVERS: &str = "/upstreams/backend/servers";

    /// A change that must be made.
    async fn change(proxy: &Proxy, method: &str, path: &str, body: &str) {
        let response = proxy.admin(method, path, body).await;
        assert_eq!(response.status, 200, "{method} {path}: {}", response.text());
    }

    /// Who answers so many requests.
    async fn answers(proxy: &Proxy, number: usize) -> Vec<String> {
        let mut answers = Vec::new();
        for _ in 0..number {
            answers.push(proxy.get("/").await.text());
        }
        answers
    }

    fn of(answers: &[String], origin: &Origin) -> usize {
        answers
            .iter()
            .filter(|name| *name == origin.address())
            .count()
    }

    #[tokio::test]
    async fn servers_are_added_weighed_drained_and_removed_until_the_next_reload() {
        let (a, b) = (origin::named().await, origin::named().await);
        let proxy = proxy::to([&a]).more(ADMIN).start().await;
        let of_b = format!("{SERVERS}/{}", b.address());
        let mut kept_open = proxy.client().await;
        assert_eq!(kept(&mut kept_open, "/").await, a.address());

        let body = format!("{{\"address\": \"{}\"}}", b.address());
        change(&proxy, "POST", SERVERS, &body).await;
        assert_eq!(of(&answers(&proxy, 10).await, &b), 5);
        change(&proxy, "PATCH", &of_b, "{\"weight\": 4}").await;
        assert_eq!(of(&answers(&proxy, 10).await, &b), 8);
        change(&proxy, "PATCH", &of_b, "{\"down\": true}").await;
        assert_eq!(of(&answers(&proxy, 10).await, &b), 0);
        let server = proxy.server(b.address()).await;
        assert_eq!(
            (&server["down"], &server["weight"]),
            (&true.into(), &4.into())
        );
        change(&proxy, "PATCH", &of_b, "{\"down\": false}").await;
        assert_eq!(of(&answers(&proxy, 10).await, &b), 8);
        let of_a = format!("{SERVERS}/{}", a.address());
        change(&proxy, "DELETE", &of_a, "").await;
        assert_eq!(of(&answers(&proxy, 10).await, &b), 10);
        assert_eq!(kept(&mut kept_open, "/").await, b.address());

        proxy.reload().await;
        assert_eq!(of(&answers(&proxy, 10).await, &a), 10);
        assert_eq!(kept(&mut kept_open, "/").await, a.address());
    }

    #[tokio::test]
    async fn a_change_leaves_the_other_servers_as_they_were() {
        let gate = Gate::closed();
        let busy = holding(Answer::ok("done"), &gate).await;
        let bad = origin::answers(|_| Answer::raw("").then_close()).await;
        let third = origin::says("third").await;
        let proxy = proxy::to([&busy, &bad]).more(ADMIN).start().await;
        let mut client = waiting(proxy.address(), &busy).await;
        assert_eq!(proxy.get("/").await.text(), "at once");
        let body = format!("{{\"address\": \"{}\"}}", third.address());
        change(&proxy, "POST", SERVERS, &body).await;
        assert_eq!(proxy.server(busy.address()).await["in_flight"], 1);
        assert_eq!(proxy.server(bad.address()).await["in_rotation"], false);
        // A draining server finishes what it has.
        let of_busy = format!("{SERVERS}/{}", busy.address());
        change(&proxy, "PATCH", &of_busy, "{\"down\": true}").await;
        assert_eq!(proxy.get("/").await.text(), "third");
        gate.open();
        assert_eq!(client.response().await.text(), "done");
    }

    #[tokio::test]
    async fn what_cannot_be_changed_is_told_and_nothing_has_changed() {
        let origin = origin::says("hello").await;
        let proxy = proxy::to([&origin]).more(ADMIN).start().await;
        let known = format!("{SERVERS}/{}", origin.address());
        let itself = format!("{{\"address\": \"{}\"}}", origin.address());
        let unknown = format!("{SERVERS}/127.0.0.1:1");
        let cases = [
            (
                "POST",
                "/upstreams/nobody/servers",
                "{\"address\": \"127.0.0.1:1\"}",
                404,
            ),
            ("PATCH", &*unknown, "{\"weight\": 2}", 404),
            ("DELETE", &*unknown, "", 404),
            ("GET", "/upstreams/nobody", "", 404),
            ("POST", SERVERS, &*itself, 409),
            ("DELETE", &*known, "", 409),
            ("PATCH", &*known, "{\"weight\": 0}", 422),
            ("PATCH", &*known, "{\"weight\": 65536}", 422),
            ("PATCH", &*known, "{\"wieght\": 2}", 422),
            ("POST", SERVERS, "{}", 422),
            ("POST", SERVERS, "{\"address\": \"127.0.0.1:99999\"}", 422),
            (
                "POST",
                SERVERS,
                "{\"address\": \"127.0.0.1:1\", \"wieght\": 2}",
                422,
            ),
        ];
        let before = proxy.shows("/upstreams").await;
        for (method, path, body, status) in cases {
            let response = proxy.admin(method, path, body).await;
            let what = format!("{method} {path} {body}: {}", response.text());
            assert_eq!(response.status, status, "{what}");
            assert!(
                response.json()["error"]
                    .as_str()
                    .is_some_and(|error| !error.is_empty()),
                "{what}"
            );
        }
        assert_eq!(proxy.shows("/upstreams").await, before);
        assert_eq!(proxy.shows("/status").await["generation"], 1);
    }
}
