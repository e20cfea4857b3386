//! Another process takes over the listeners, most often that of a newer binary.

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
        .more("[[route]]\npath = \"/port\"\nreturn = { status = 200, body = \"$server_port\" }\n")
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
        .server("shutdown_timeout = \"2s\"")
        .start()
        .await;
    let mut client = proxy.client().await;
    client
        .send("GET / HTTP/1.1\r\nHost: t\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        .await;
    assert_eq!(client.response_head().await.status, 101);
    let since = Instant::now();
    proxy.upgrade().await;
    assert_eq!(proxy.get("/").await.text(), "hello");
    client.send("still here\n").await;
    assert_eq!(client.wire.until(b"\n").await.unwrap(), b"still here\n");
    client.wire.rest().await;
    let lived = since.elapsed();
    assert!(lived >= Duration::from_millis(1900), "cut after {lived:?}");
    proxy.process().ended().await;
    assert!(
        since.elapsed() < Duration::from_secs(20),
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
        let error = response.json()["error"].as_str().unwrap().to_owned();
        let check = format!("`waypost check -c {}`", proxy.file().display());
        assert!(error.contains(&check), "{error}");
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

/// The new process has read its configuration, and would not have it.
#[tokio::test]
async fn what_is_asked_for_meanwhile_is_refused() {
    let origin = origin::says("hello").await;
    let mut proxy = proxy::to([&origin]).more(ADMIN).start().await;
    let mut held = proxy.hold_file();
    proxy.signal(Signal::USR2);
    held.is_read().await;
    let server = format!("/upstreams/backend/servers/{}", origin.address());
    let refused = proxy.admin("PATCH", &server, "{\"weight\": 2}").await;
    assert_eq!(refused.status, 409, "{}", refused.text());
    let text = refused.text();
    assert!(text.contains("an upgrade is under way"), "{text}");
    held.release();
    assert_eq!(proxy.process().ended().await.code(), Some(0));
    eventually("the new process to take it", async || {
        proxy
            .admin("PATCH", &server, "{\"weight\": 2}")
            .await
            .status
            == 200
    })
    .await;
}

/// A proxy that is changing the weight of its server to 7, and does not end that before the file is
/// released; the client that waits for it.
async fn changing(origin: &Origin) -> (Proxy, Held, Client) {
    let setup = proxy::to([origin]).more(ADMIN);
    let state = setup.directory().join("state.json");
    let setup = setup
        .upstream(&format!("state = \"{}\"", state.display()))
        .through_shell("export WAYPOST_FAULTS=state; exec \"$@\"");
    let proxy = setup.start().await;
    let mut held = proxy.hold_at("state");
    let mut client = Client::connect(&proxy.admin_address()).await;
    let server = format!("/upstreams/backend/servers/{}", origin.address());
    client
        .send(request("PATCH", &server, "{\"weight\": 7}"))
        .await;
    held.is_read().await;
    (proxy, held, client)
}

const WAITS: &str = "another process starts once the changes under way are made";

/// The new process reads what it leaves behind.
#[tokio::test]
async fn a_change_that_is_under_way_is_made_before_the_new_process_starts() {
    let origin = origin::says("hello").await;
    let (mut proxy, held, mut change) = changing(&origin).await;
    let mut upgrade = Client::connect(&proxy.admin_address()).await;
    upgrade.send(request("POST", "/upgrade", "")).await;
    proxy.log_contains(WAITS).await;
    // Answered by who would have started the process by now.
    assert_eq!(proxy.admin("POST", "/upgrade", "").await.status, 422);
    assert!(!proxy.log().contains("starting another process"));
    held.release();
    assert_eq!(change.response().await.status, 200);
    assert_eq!(upgrade.response().await.status, 200);
    proxy.process().ended().await;
    assert_eq!(proxy.server(origin.address()).await["weight"], 7);
}

#[tokio::test]
async fn term_ends_an_upgrade_that_waits_for_a_change() {
    let origin = origin::says("hello").await;
    let (mut proxy, _held, _change) = changing(&origin).await;
    let mut upgrade = Client::connect(&proxy.admin_address()).await;
    upgrade.send(request("POST", "/upgrade", "")).await;
    proxy.log_contains(WAITS).await;
    proxy.signal(Signal::TERM);
    let refused = upgrade.response().await;
    assert_eq!(refused.status, 422, "{refused:?}");
    assert!(
        refused.text().contains("about to end"),
        "{}",
        refused.text()
    );
    assert_eq!(proxy.process().ended().await.code(), Some(0));
}

/// The kernel does not tell in which order two signals came.
#[tokio::test]
async fn quit_right_behind_usr2_is_part_of_the_upgrade() {
    let origin = origin::says("hello").await;
    let mut proxy = proxy::to([&origin]).more(ADMIN).start().await;
    proxy.signal(Signal::USR2);
    proxy.signal(Signal::QUIT);
    assert_eq!(proxy.process().ended().await.code(), Some(0));
    assert_eq!(proxy.get("/").await.text(), "hello");
    assert_ne!(pid(&proxy).await, proxy.process().id());
}

/// nginx's way, USR2 and then QUIT, by somebody who is quick.
#[tokio::test]
async fn quit_before_the_successor_serves_waits_for_it() {
    let origin = origin::says("hello").await;
    let mut proxy = proxy::to([&origin]).more(FRONT).more(ADMIN).start().await;
    let mut held = proxy.hold_file();
    proxy.signal(Signal::USR2);
    held.is_read().await;
    proxy.signal(Signal::QUIT);
    assert_eq!(proxy.admin("POST", "/drain", "").await.status, 202);
    proxy.log_contains("drains once the new one serves").await;
    assert_eq!(pid(&proxy).await, proxy.process().id());
    for index in [0, 1] {
        let answer = get_with(proxy.listener(index), "/", "").await;
        assert_eq!(answer.text(), "hello");
    }
    held.release();
    assert_eq!(proxy.process().ended().await.code(), Some(0));
    for index in [0, 1] {
        let answer = get_with(proxy.listener(index), "/", "").await;
        assert_eq!(answer.text(), "hello");
    }
    assert_ne!(pid(&proxy).await, proxy.process().id());
}

#[tokio::test]
async fn quit_before_a_successor_that_cannot_serve_leaves_the_old_process_serving() {
    let origin = origin::says("hello").await;
    let mut proxy = proxy::to([&origin]).more(ADMIN).start().await;
    proxy.append("[[route]]\npath = \"/broken\"\nproxy = \"nobody\"");
    let mut held = proxy.hold_file();
    proxy.signal(Signal::USR2);
    held.is_read().await;
    proxy.signal(Signal::QUIT);
    proxy.log_contains("drains once the new one serves").await;
    held.release();
    proxy
        .log_contains("the upgrade has failed, this process goes on")
        .await;
    assert_eq!(proxy.get("/").await.text(), "hello");
    assert_eq!(pid(&proxy).await, proxy.process().id());
    // And it may be told again.
    proxy.signal(Signal::QUIT);
    assert_eq!(proxy.process().ended().await.code(), Some(0));
}

#[tokio::test]
async fn the_program_is_the_one_at_the_path_by_now_and_may_be_slow_to_speak() {
    let origin = origin::says("hello").await;
    let mut proxy = proxy::to([&origin])
        .through_shell("ln \"$1\" program || cp \"$1\" program; shift; exec ./program \"$@\"")
        .start()
        .await;
    // Another signal comes while it speaks.
    let script = "#!/bin/sh\nprintf serv > /proc/self/fd/$WAYPOST_READY\nkill -USR1 $PPID\n\
                  sleep 0.3\nprintf 'ing\\n' > /proc/self/fd/$WAYPOST_READY\n";
    let new = proxy.directory().join("new");
    std::fs::write(&new, script).unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o755)).unwrap();
    // Never written to: it may be a link.
    std::fs::rename(new, proxy.directory().join("program")).unwrap();
    proxy.upgrade().await;
    assert!(proxy.log().contains("logs reopened"), "{}", proxy.log());
    assert_eq!(proxy.process().ended().await.code(), Some(0));
}
