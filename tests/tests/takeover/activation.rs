//! Sockets that systemd made (`LISTEN_FDS`, sd_listen_fds(3)).

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
    // A client that connects before there is a process waits.
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
async fn a_stream_takes_a_socket_of_systemd_and_hands_it_on() {
    let origin = origin::says("hello").await;
    let (socket, address) = socket();
    let mut early = Client::connect(&address).await;
    early.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
    let mut proxy = proxy::to([&origin])
        .more(&format!(
            "[[stream]]\naddress = \"{address}\"\nproxy = \"backend\"\n"
        ))
        .more(ADMIN)
        .stdin(socket)
        .through_shell(ACTIVATED)
        .start()
        .await;
    assert_eq!(proxy.listener(1), address);
    assert_eq!(early.response().await.text(), "hello");
    // The request is passed on unchanged: it is a stream.
    assert_eq!(origin.requests()[0].header("X-Forwarded-For"), "");
    let successor = proxy.upgrade().await;
    // The session goes on where it is.
    assert_eq!(early.get("/").await.text(), "hello");
    assert_eq!(get_with(&address, "/", "").await.text(), "hello");
    assert!(proxy.process().runs(), "it waits for the session");
    drop(early);
    proxy.process().ended().await;
    assert_eq!(get_with(&address, "/", "").await.text(), "hello");
    assert_eq!(pid(&proxy).await, successor.pid);
}

#[tokio::test]
async fn the_file_of_a_unix_socket_of_systemd_stays_whoever_goes() {
    let origin = origin::says("hello").await;
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("front.sock");
    let address = format!("unix:{}", path.display());
    // systemd has it for as long as the unit is there.
    let socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    for table in ["[[listen]]", "[[stream]]\nproxy = \"backend\""] {
        let table = format!("{table}\naddress = \"{address}\"\n");
        let mut proxy = proxy::to([&origin])
            .more(&table)
            .more(ADMIN)
            .stdin(socket.try_clone().unwrap())
            .through_shell(ACTIVATED)
            .start()
            .await;
        assert_eq!(get_with(&address, "/", "").await.text(), "hello");
        // Through an upgrade, after which no process has it from systemd directly.
        let successor = proxy.upgrade().await;
        proxy.process().ended().await;
        assert_eq!(get_with(&address, "/", "").await.text(), "hello");
        // Through a reload without it.
        proxy.edit(&table, "");
        proxy.reload().await;
        assert!(path.exists(), "{table}");
        successor.signal(Signal::QUIT);
        successor.ended().await;

        // Through an upgrade to a configuration without it.
        let mut proxy = proxy::to([&origin])
            .more(&table)
            .more(ADMIN)
            .stdin(socket.try_clone().unwrap())
            .through_shell(ACTIVATED)
            .start()
            .await;
        proxy.edit(&table, "");
        proxy.upgrade().await;
        proxy.process().ended().await;
        assert!(path.exists(), "{table}");

        // And through the end of the last process that had it.
        let mut proxy = proxy::to([&origin])
            .more(&table)
            .stdin(socket.try_clone().unwrap())
            .through_shell(ACTIVATED)
            .start()
            .await;
        proxy.signal(Signal::QUIT);
        proxy.process().ended().await;
        assert!(path.exists(), "{table}");
    }
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
