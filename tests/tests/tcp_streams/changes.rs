//! Sessions through reloads, drains and bounds.

use rustix::process::Signal;

use super::*;

#[tokio::test]
async fn a_session_outlives_the_configuration_that_it_began_with() {
    let (a, b) = (echo("a").await, echo("b").await);
    let proxy = stream_to(&[&a], "", "").await;
    let (mut old, name) = session(&proxy).await;
    assert_eq!(name, "a");
    proxy.edit(a.address(), b.address());
    proxy.reload().await;
    let (mut new, name) = session(&proxy).await;
    assert_eq!(name, "b");
    echoes(&mut old).await;
    echoes(&mut new).await;
    assert_eq!((a.open(), b.open()), (1, 1));
}

#[tokio::test]
async fn a_stream_that_is_removed_finishes_its_sessions() {
    let server = echo("a").await;
    let more = "[[stream]]\naddress = \"127.0.0.2:0\"\nproxy = \"backend\"\n";
    let proxy = stream_to(&[&server], "", more).await;
    assert_eq!(
        proxy.shows("/status").await["streams"][1],
        proxy.listener(1)
    );
    let (mut held, _) = session_at(proxy.listener(1)).await;
    proxy.edit(more, "");
    proxy.reload().await;
    eventually("the stream to close", async || {
        Wire::connect(proxy.listener(1)).await.is_err()
    })
    .await;
    echoes(&mut held).await;
    let status = proxy.shows("/status").await;
    assert_eq!(status["streams"].as_array().unwrap().len(), 1);
    assert_eq!(status["connections"], 1);
}

#[tokio::test]
async fn an_address_can_change_from_stream_to_listener_and_back() {
    let server = echo("a").await;
    let directory = tempfile::TempDir::new().unwrap();
    let address = format!("unix:{}", directory.path().join("front.sock").display());
    let stream = format!("[[stream]]\naddress = \"{address}\"\nproxy = \"backend\"\n");
    let listen = format!(
        "[[listen]]\naddress = \"{address}\"\naccess_log = false\n[[route]]\nreturn = {{ body = \"http\" }}\n"
    );
    let proxy = stream_to(&[&server], "", &stream).await;
    let (mut held, _) = session_at(&address).await;

    proxy.edit(&stream, &listen);
    proxy.reload().await;
    let get = async || {
        waypost_tests::client::get_with(&address, "/", "")
            .await
            .text()
    };
    // A connection that waited in the backlog during the change may still be served as a session.
    eventually("requests to be served", async || get().await == "http").await;
    let mut kept = waypost_tests::Client::connect(&address).await;
    kept.get("/").await;
    echoes(&mut held).await;

    proxy.edit(&listen, &stream);
    proxy.reload().await;
    kept.closed().await;
    let (mut new, name) = session_at(&address).await;
    assert_eq!(name, "a");
    echoes(&mut new).await;
    echoes(&mut held).await;
}

#[tokio::test]
async fn a_session_stays_with_its_process_through_an_upgrade() {
    let (a, b) = (echo("a").await, echo("b").await);
    let more = "[[stream]]\naddress = \"unix:{dir}/front.sock\"\nproxy = \"backend\"\n";
    let mut proxy = stream_to(&[&a], "", more).await;
    let front = proxy.listener(1).to_owned();
    let mut held = Vec::new();
    for address in [proxy.address(), &front] {
        held.push(session_at(address).await.0);
    }
    proxy.edit(a.address(), b.address());
    proxy.upgrade().await;
    for address in [proxy.address(), &front] {
        // A connection that waited in the backlog during the upgrade may still be accepted by the
        // old process.
        eventually("the new process to take sessions", async || {
            session_at(address).await.1 == "b"
        })
        .await;
    }
    for wire in &mut held {
        echoes(wire).await;
    }
    assert!(proxy.process().runs(), "it waits for its sessions");
    drop(held);
    assert_eq!(proxy.process().ended().await.code(), Some(0));
    // The file is the successor's now.
    assert_eq!(session_at(&front).await.1, "b");
}

#[tokio::test]
async fn a_reload_changes_where_new_sessions_go_by_name_as_well() {
    let (a, b) = (echo("a").await, echo("b").await);
    let sni = "sni = [{ host = \"a.example\", proxy = \"backend\" }]";
    let proxy = stream_to(&[&a], sni, "").await;
    let mut old = Wire::connect(proxy.address()).await.unwrap();
    // No TLS: with the first byte it is known that there is no name.
    old.send("x\n").await;
    assert_eq!(line(&mut old).await, "a");
    // One whose first byte comes after the change began before it.
    let mut undecided = Wire::connect(proxy.address()).await.unwrap();
    eventually("both to be accepted", async || {
        proxy.shows("/status").await["connections"] == 2
    })
    .await;
    proxy.edit(a.address(), b.address());
    proxy.reload().await;
    undecided.send("x\n").await;
    assert_eq!(line(&mut undecided).await, "a");
    let mut new = Wire::connect(proxy.address()).await.unwrap();
    new.send("x\n").await;
    assert_eq!(line(&mut new).await, "b");
}

#[tokio::test]
async fn a_drain_waits_for_sessions() {
    let server = echo("a").await;
    let mut proxy = stream_to(&[&server], "", "").await;
    let (mut held, _) = session(&proxy).await;
    proxy.signal(Signal::QUIT);
    eventually("the stream to close", async || {
        Wire::connect(proxy.address()).await.is_err()
    })
    .await;
    echoes(&mut held).await;
    assert!(proxy.process().runs(), "it waits for the session");
    drop(held);
    assert_eq!(proxy.process().ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_drain_waits_no_longer_than_shutdown_timeout() {
    let server = echo("a").await;
    let file = format!(
        "[server]\nshutdown_timeout = \"200ms\"\n[[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"{}\"\n",
        server.address()
    );
    let mut proxy = proxy::run(&file, &[]).await;
    let (mut held, _) = session(&proxy).await;
    proxy.signal(Signal::QUIT);
    assert_eq!(proxy.process().ended().await.code(), Some(0));
    held.rest().await;
}

#[tokio::test]
async fn sessions_count_towards_max_connections() {
    let server = echo("a").await;
    let file = format!(
        "[server]\nworkers = 1\nmax_connections = 1\n[[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"{}\"\n",
        server.address()
    );
    let proxy = proxy::run(&file, &[]).await;
    let (held, _) = session(&proxy).await;
    let mut waiting = Wire::connect(proxy.address()).await.unwrap();
    not_yet("the second one waits in the backlog", line(&mut waiting)).await;
    assert_eq!(server.connections(), 1);
    drop(held);
    assert_eq!(line(&mut waiting).await, "a");
}

#[tokio::test]
async fn whoever_waits_at_a_stream_that_is_removed_is_still_served() {
    let server = echo("a").await;
    let more = format!(
        "[[stream]]\naddress = \"127.0.0.2:0\"\nproxy = \"{}\"\n",
        server.address()
    );
    let file = format!(
        "[server]\nworkers = 1\nmax_connections = 1\n[[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"{}\"\n{more}\
         [admin]\naddress = \"unix:{{dir}}/admin.sock\"\n",
        server.address()
    );
    let proxy = proxy::run(&file, &[]).await;
    let (_held, _) = session(&proxy).await;
    let mut waiting = Wire::connect(proxy.listener(1)).await.unwrap();
    not_yet("the bound is that of all listeners", line(&mut waiting)).await;
    assert_eq!(server.connections(), 1);
    proxy.edit(&more, "");
    proxy.reload().await;
    assert_eq!(line(&mut waiting).await, "a");
    echoes(&mut waiting).await;
}
