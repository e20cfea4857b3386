//! One process takes over from another, or is handed its sockets by systemd; and how a process goes once it is not wanted any
//! more. Clients notice nothing but a `Connection: close`.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use waypost_tests::admin::{ADMIN, Successor, request};
use waypost_tests::client::get_with;
use waypost_tests::{Answer, Client, Gate, Load, Origin, Proxy, Wire, eventually, origin, proxy};

/// A listener on a unix socket.
const FRONT: &str = "[[listen]]\naddress = \"unix:{dir}/front.sock\"\n";
/// What systemd does: one socket, at descriptor 3.
const ACTIVATED: &str = "LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\" 3<&0 0</dev/null";

/// An origin that answers `/held` once the gate is open, and everything else at once.
async fn holding(gate: &Gate) -> Origin {
    let gate = gate.clone();
    origin::answers(move |request| match request.target.as_str() {
        "/held" => Answer::ok("done").when(&gate),
        _ => Answer::ok("at once"),
    })
    .await
}

/// A client whose request has arrived at the origin.
async fn waiting(proxy: &Proxy, origin: &Origin) -> Client {
    let arrived = origin.requests().len();
    let mut client = proxy.client().await;
    client.send("GET /held HTTP/1.1\r\nHost: t\r\n\r\n").await;
    origin.received(arrived + 1).await;
    client
}

/// Asks the admin API for another process, which must serve.
async fn upgraded(proxy: &Proxy) -> Successor {
    let response = proxy.admin("POST", "/upgrade", "").await;
    assert_eq!(response.status, 200, "{}", response.text());
    let pid = response.json()["pid"].as_u64().expect("a process id");
    Successor::of(u32::try_from(pid).expect("a process id"))
}

/// The process that answers at the admin address.
async fn pid(proxy: &Proxy) -> u32 {
    let pid = proxy.shows("/status").await["pid"].as_u64();
    u32::try_from(pid.expect("a process id")).expect("a process id")
}

mod upgrades {
    use super::*;

    #[tokio::test]
    async fn under_load_nobody_is_refused_and_nothing_fails() {
        let origin = origin::says("hello").await;
        let mut proxy = proxy::to([&origin]).more(ADMIN).more(FRONT).start().await;
        let loads = [
            Load::start(proxy.listener(0), 4),
            Load::start(proxy.listener(1), 2),
        ];
        // These come and go.
        let address = proxy.address().to_owned();
        let visitors = tokio::spawn(async move {
            loop {
                assert_eq!(get_with(&address, "/", "").await.text(), "hello");
            }
        });
        let mut pids = vec![proxy.process().id()];
        pids.push(proxy.upgrade().await.pid);
        assert_eq!(proxy.process().ended().await.code(), Some(0));
        assert_eq!(pid(&proxy).await, pids[1]);
        // And once more, from the one that took over.
        pids.push(upgraded(&proxy).await.pid);
        Successor::of(pids[1]).ended().await;
        assert_eq!(pid(&proxy).await, pids[2]);
        assert!(pids[0] != pids[1] && pids[1] != pids[2], "{pids:?}");

        let served = origin.requests().len();
        origin.received(served + 50).await;
        assert!(!visitors.is_finished(), "{:?}", visitors.await);
        visitors.abort();
        for load in loads {
            let report = load.stop().await;
            assert!(report.errors.is_empty(), "{:?}", report.errors);
            assert!(report.answered.len() > 20, "{}", report.answered.len());
        }
    }

    #[tokio::test]
    async fn every_listener_and_the_admin_socket_are_the_successor_s() {
        let origin = origin::says("hello").await;
        // Two of them asked for any port.
        let proxy = proxy::to([&origin])
            .more("[[listen]]\naddress = \"127.0.0.1:0\"\n")
            .more(
                "[[route]]\npath = \"/port\"\nreturn = { status = 200, body = \"$server_port\" }\n",
            )
            .more(FRONT)
            .more(ADMIN);
        let mut proxy = proxy.start().await;
        let before = proxy.shows("/status").await["listeners"].clone();
        let successor = upgraded(&proxy).await;
        proxy.process().ended().await;
        assert_eq!(pid(&proxy).await, successor.pid);
        assert_eq!(proxy.shows("/status").await["listeners"], before);
        for index in [0, 1] {
            let address = proxy.listener(index);
            let port = get_with(address, "/port", "").await.text();
            assert!(address.ends_with(&format!(":{port}")), "{address}: {port}");
        }
        assert_eq!(get_with(proxy.listener(2), "/", "").await.text(), "hello");
        // Nothing of it is left once that one stops.
        successor.signal(Signal::TERM);
        successor.ended().await;
        for socket in ["front.sock", "admin.sock"] {
            assert!(!proxy.directory().join(socket).exists(), "{socket}");
        }
        assert!(Wire::connect(proxy.address()).await.is_err());
    }

    #[tokio::test]
    async fn what_the_file_does_not_have_any_more_goes_with_the_old_process() {
        let origin = origin::says("hello").await;
        let mut proxy = proxy::to([&origin])
            .more(FRONT)
            .more("[[listen]]\naddress = \"127.0.0.2:0\"\n")
            .more(ADMIN)
            .start()
            .await;
        proxy.edit(FRONT, "");
        proxy.edit("[[listen]]\naddress = \"127.0.0.2:0\"\n", "");
        proxy.edit("admin.sock", "other.sock");
        proxy.upgrade().await;
        proxy.process().ended().await;
        for socket in ["front.sock", "admin.sock"] {
            assert!(!proxy.directory().join(socket).exists(), "{socket}");
        }
        assert!(proxy.directory().join("other.sock").exists());
        assert!(Wire::connect(proxy.listener(2)).await.is_err());
        assert_eq!(proxy.get("/").await.text(), "hello");
    }

    #[tokio::test]
    async fn the_old_process_ends_with_its_last_exchange() {
        let gate = Gate::closed();
        let origin = holding(&gate).await;
        let mut proxy = proxy::to([&origin]).more(ADMIN).start().await;
        let mut busy = waiting(&proxy, &origin).await;
        let mut idle = proxy.client().await;
        idle.get("/").await;
        let successor = proxy.upgrade().await;
        // A request on a connection of the old process is still answered.
        let last = idle.get("/").await;
        assert_eq!(
            (last.text().as_str(), last.header("Connection")),
            ("at once", "close")
        );
        assert_eq!(proxy.get("/").await.text(), "at once");
        assert!(proxy.process().runs(), "it waits for the exchange");
        gate.open();
        let response = busy.response().await;
        assert_eq!(
            (response.text().as_str(), response.header("Connection")),
            ("done", "close")
        );
        assert_eq!(proxy.process().ended().await.code(), Some(0));
        assert!(successor.runs());
    }

    #[tokio::test]
    async fn a_tunnel_stays_with_the_old_process_no_longer_than_shutdown_timeout() {
        let origin = origin::speaks(|mut wire, _| async move {
            let Ok(head) = wire.head().await else { return };
            if head.fields.get("Upgrade").is_none() {
                return wire
                    .send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
                    .await;
            }
            wire.send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n",
            )
            .await;
            while let Ok(line) = wire.until(b"\n").await {
                wire.send(line).await;
            }
        })
        .await;
        let mut proxy = proxy::to([&origin])
            .server("shutdown_timeout = \"1500ms\"")
            .start()
            .await;
        let mut client = proxy.client().await;
        client
            .send("GET / HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
            .await;
        assert_eq!(client.response_head().await.status, 101);
        proxy.upgrade().await;
        let since = Instant::now();
        assert_eq!(proxy.get("/").await.text(), "hello");
        client.send("still here\n").await;
        assert_eq!(client.wire.until(b"\n").await.unwrap(), b"still here\n");
        client.wire.rest().await;
        let lived = since.elapsed();
        assert!(lived > Duration::from_secs(1), "cut after {lived:?}");
        proxy.process().ended().await;
        assert!(
            since.elapsed() < Duration::from_secs(5),
            "{:?}",
            since.elapsed()
        );
        assert_eq!(proxy.get("/").await.text(), "hello");
    }

    #[tokio::test]
    async fn a_successor_that_cannot_serve_changes_nothing() {
        let origin = origin::says("hello").await;
        let mut proxy = proxy::to([&origin]).more(FRONT).more(ADMIN).start().await;
        let mut client = proxy.client().await;
        client.get("/").await;
        proxy.append("[[route]]\npath = \"/broken\"\nproxy = \"nobody\"");
        for _ in 0..2 {
            let response = proxy.admin("POST", "/upgrade", "").await;
            assert_eq!(response.status, 422, "{response:?}");
            assert!(response.json()["error"].is_string());
        }
        proxy
            .log_contains("the upgrade has failed, this process goes on")
            .await;
        proxy.log_contains("nobody").await; // the new one said why
        assert_eq!(pid(&proxy).await, proxy.process().id());
        assert_eq!(client.get("/").await.headers.get("Connection"), None);
        for index in [0, 1] {
            assert_eq!(
                get_with(proxy.listener(index), "/", "").await.text(),
                "hello"
            );
        }
        // The way is free again.
        proxy.edit("[[route]]\npath = \"/broken\"\nproxy = \"nobody\"", "");
        upgraded(&proxy).await;
        assert_eq!(proxy.get("/").await.text(), "hello");
    }

    #[tokio::test]
    async fn there_is_one_at_a_time() {
        let origin = origin::says("hello").await;
        let mut proxy = proxy::to([&origin]).more(ADMIN).start().await;
        let mut held = proxy.hold_file();
        let mut first = Client::connect(&proxy.admin_address()).await;
        first.send(request("POST", "/upgrade", "")).await;
        held.is_read().await;
        let second = proxy.admin("POST", "/upgrade", "").await;
        assert_eq!(second.status, 422, "{second:?}");
        assert!(second.text().contains("under way"), "{}", second.text());
        proxy.signal(Signal::USR2);
        eventually("both refusals", async || {
            proxy.log().matches("an upgrade is under way").count() == 2
        })
        .await;
        assert_eq!(proxy.get("/").await.text(), "hello");
        held.release();
        assert_eq!(first.response().await.status, 200);
        proxy.process().ended().await;
        assert_eq!(proxy.get("/").await.text(), "hello");
    }

    #[tokio::test]
    async fn there_is_none_from_a_process_that_is_about_to_end() {
        let gate = Gate::closed();
        let origin = holding(&gate).await;
        let mut proxy = proxy::to([&origin]).more(ADMIN).start().await;
        let mut client = waiting(&proxy, &origin).await;
        assert_eq!(proxy.admin("POST", "/drain", "").await.status, 202);
        let refused = proxy.admin("POST", "/upgrade", "").await;
        assert_eq!(refused.status, 422, "{refused:?}");
        assert!(
            refused.text().contains("about to end"),
            "{}",
            refused.text()
        );
        proxy.signal(Signal::USR2);
        eventually("the second refusal", async || {
            proxy.log().matches("no upgrade: ").count() == 2
        })
        .await;
        gate.open();
        client.response().await;
        proxy.process().ended().await;
        assert!(Wire::connect(proxy.address()).await.is_err());
    }

    #[tokio::test]
    async fn term_before_the_successor_serves_ends_both() {
        let origin = origin::says("hello").await;
        let mut proxy = proxy::to([&origin]).more(ADMIN).start().await;
        let mut held = proxy.hold_file();
        proxy.signal(Signal::USR2);
        held.is_read().await;
        proxy.signal(Signal::TERM);
        assert_eq!(proxy.process().ended().await.code(), Some(0));
        eventually("nobody to listen", async || {
            Wire::connect(proxy.address()).await.is_err()
        })
        .await;
    }

    #[tokio::test]
    async fn quit_before_the_successor_serves_makes_clients_wait_and_none_fail() {
        let origin = origin::says("hello").await;
        let mut proxy = proxy::to([&origin]).more(FRONT).more(ADMIN).start().await;
        let mut held = proxy.hold_file();
        proxy.signal(Signal::USR2);
        held.is_read().await;
        proxy.signal(Signal::QUIT);
        assert_eq!(proxy.process().ended().await.code(), Some(0));
        let mut clients = Vec::new();
        for index in [0, 1] {
            let mut client = Client::connect(proxy.listener(index)).await;
            client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
            clients.push(client);
        }
        held.release();
        for client in &mut clients {
            assert_eq!(client.response().await.text(), "hello");
        }
        assert_ne!(pid(&proxy).await, proxy.process().id());
    }

    #[tokio::test]
    async fn other_signals_do_not_disturb_a_successor_that_is_starting() {
        let origin = origin::says("hello").await;
        let mut proxy = proxy::to([&origin]).start().await;
        proxy.signal(Signal::USR2);
        let taken_over = " has taken over the listeners";
        while !proxy.log().contains(taken_over) && proxy.process().runs() {
            proxy.signal(Signal::USR1);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        proxy.log_contains(taken_over).await;
        assert_eq!(proxy.get("/").await.text(), "hello");
    }
}

mod activation {
    use super::*;

    /// A socket as systemd makes it, and its address.
    fn socket() -> (TcpListener, String) {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap().to_string();
        (socket, address)
    }

    #[tokio::test]
    async fn a_socket_that_systemd_made_is_served_by_all_workers_and_handed_on() {
        let origin = origin::says("hello").await;
        let (socket, address) = socket();
        // Whoever comes before there is a process waits.
        let mut early = Client::connect(&address).await;
        early.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
        let mut proxy = proxy::to([&origin])
            .listen(&format!("address = \"{address}\""))
            .more(ADMIN)
            .stdin(socket)
            .through_shell(ACTIVATED)
            .start()
            .await;
        assert_eq!(proxy.address(), address);
        assert_eq!(early.response().await.text(), "hello");
        for _ in 0..20 {
            assert_eq!(proxy.get("/").await.text(), "hello");
        }
        proxy.reload().await;
        assert_eq!(proxy.get("/").await.text(), "hello");
        let successor = proxy.upgrade().await;
        proxy.process().ended().await;
        assert_eq!(proxy.get("/").await.text(), "hello");
        assert_eq!(pid(&proxy).await, successor.pid);
    }

    #[tokio::test]
    async fn a_socket_that_no_listener_wants_is_warned_about_and_closed() {
        let origin = origin::says("hello").await;
        let (socket, address) = socket();
        let proxy = proxy::to([&origin])
            .stdin(socket)
            .through_shell(ACTIVATED)
            .start()
            .await;
        proxy
            .log_contains(&format!(
                "a listening socket was handed to this process that the configuration does not have: {address}"
            ))
            .await;
        assert_eq!(proxy.get("/").await.text(), "hello");
        assert!(Wire::connect(&address).await.is_err());
    }

    #[tokio::test]
    async fn sockets_for_another_process_are_none_of_ours() {
        let origin = origin::says("hello").await;
        let (socket, address) = socket();
        let proxy = proxy::to([&origin])
            .stdin(socket)
            .through_shell("LISTEN_FDS=1 LISTEN_PID=1 exec \"$@\" 3<&0 0</dev/null")
            .start()
            .await;
        assert_eq!(proxy.get("/").await.text(), "hello");
        assert!(!proxy.log().contains(&address), "{}", proxy.log());
    }

    #[tokio::test]
    async fn what_is_no_listening_socket_is_refused() {
        let shell = format!(
            "LISTEN_FDS=1 LISTEN_PID=$$ exec '{}' run -c waypost.toml 3</dev/null",
            waypost_tests::waypost().display()
        );
        let directory = tempfile::TempDir::new().unwrap();
        let file = "[[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\nreturn = { status = 204 }\n";
        std::fs::write(directory.path().join("waypost.toml"), file).unwrap();
        let mut command = std::process::Command::new("sh");
        command.arg("-c").arg(shell).current_dir(directory.path());
        let (code, _, said) = waypost_tests::child::run(command);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("descriptor"), "{said}");
    }
}

mod drains {
    use super::*;

    /// Has it drain, by a signal or through the API, and waits until it does.
    async fn drain(proxy: &Proxy, by_signal: bool) {
        match by_signal {
            true => proxy.signal(Signal::QUIT),
            false => assert_eq!(proxy.admin("POST", "/drain", "").await.status, 202),
        }
        eventually("the drain", async || {
            proxy.shows("/status").await["state"] == "draining"
        })
        .await;
    }

    #[tokio::test]
    async fn an_idle_connection_may_bring_one_more_request_within_about_a_second() {
        for by_signal in [true, false] {
            let origin = origin::says("hello").await;
            let mut proxy = proxy::to([&origin]).more(ADMIN).start().await;
            assert_eq!(proxy.shows("/status").await["state"], "serving");
            let (mut quiet, mut busy) = (proxy.client().await, proxy.client().await);
            for client in [&mut quiet, &mut busy] {
                assert_eq!(client.get("/").await.headers.get("Connection"), None);
            }
            drain(&proxy, by_signal).await;
            let since = Instant::now();
            tokio::time::sleep(Duration::from_millis(400)).await;
            let response = busy.get("/").await;
            assert_eq!(
                (response.text().as_str(), response.header("Connection")),
                ("hello", "close")
            );
            busy.closed().await;
            quiet.closed().await;
            let took = since.elapsed();
            assert!(took > Duration::from_millis(700), "closed after {took:?}");
            assert!(took < Duration::from_secs(3), "closed after {took:?}");
            assert_eq!(proxy.process().ended().await.code(), Some(0));
        }
    }

    #[tokio::test]
    async fn those_who_wait_to_be_accepted_are_served() {
        let origin = origin::says("hello").await;
        let mut proxy = proxy::to([&origin])
            .server("workers = 1\nmax_connections = 1")
            .more(FRONT)
            .more(ADMIN)
            .start()
            .await;
        let mut first = proxy.client().await;
        first.get("/").await;
        let mut waiting = Vec::new();
        for index in [0, 1, 0, 1] {
            let mut client = Client::connect(proxy.listener(index)).await;
            client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
            waiting.push(client);
        }
        drain(&proxy, true).await;
        for client in &mut waiting {
            assert_eq!(client.response().await.text(), "hello");
            client.closed().await;
        }
        assert_eq!(proxy.process().ended().await.code(), Some(0));
        assert!(!proxy.directory().join("front.sock").exists());
    }

    #[tokio::test]
    async fn nothing_is_changed_any_more() {
        let gate = Gate::closed();
        let origin = holding(&gate).await;
        let mut proxy = proxy::to([&origin]).more(ADMIN).start().await;
        let mut client = waiting(&proxy, &origin).await;
        drain(&proxy, true).await;
        for (method, path, body) in [
            ("POST", "/reload", ""),
            (
                "POST",
                "/upstreams/backend/servers",
                "{\"address\": \"127.0.0.1:1\"}",
            ),
        ] {
            let response = proxy.admin(method, path, body).await;
            assert_eq!(response.status, 409, "{response:?}");
        }
        // Twice is as good as once.
        drain(&proxy, true).await;
        drain(&proxy, false).await;
        gate.open();
        assert_eq!(client.response().await.text(), "done");
        assert_eq!(proxy.process().ended().await.code(), Some(0));
    }

    #[tokio::test]
    async fn a_reload_that_is_under_way_when_it_begins_is_given_up() {
        let gate = Gate::closed();
        let origin = holding(&gate).await;
        let mut proxy = proxy::to([&origin]).more(ADMIN).start().await;
        let mut client = waiting(&proxy, &origin).await;
        proxy.append(FRONT);
        let mut held = proxy.hold_file();
        let mut asker = Client::connect(&proxy.admin_address()).await;
        asker.send(request("POST", "/reload", "")).await;
        held.is_read().await;
        drain(&proxy, true).await;
        held.release();
        assert_eq!(asker.response().await.status, 409);
        assert!(!proxy.directory().join("front.sock").exists());
        assert!(Wire::connect(proxy.address()).await.is_err());
        gate.open();
        assert_eq!(client.response().await.text(), "done");
        assert_eq!(proxy.process().ended().await.code(), Some(0));
    }

    #[tokio::test]
    async fn stop_through_the_api_is_at_once_and_answered() {
        let gate = Gate::closed();
        let origin = holding(&gate).await;
        let mut proxy = proxy::to([&origin]).more(ADMIN).start().await;
        let mut client = waiting(&proxy, &origin).await;
        assert_eq!(proxy.admin("POST", "/stop", "").await.status, 202);
        assert_eq!(proxy.process().ended().await.code(), Some(0));
        client.wire.rest().await;
        assert!(!proxy.directory().join("admin.sock").exists());
    }
}
