//! Unix sockets, on both sides.

use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use waypost_tests::client::get_with;
use waypost_tests::{child, origin, proxy, waypost};

#[tokio::test]
async fn a_server_can_be_a_unix_socket() {
    let directory = TempDir::new().expect("there is room for a directory");
    let origin = origin::says_on(&directory.path().join("app.sock"), "hello");
    let route = "response_headers = { set = { X-Server = \"$upstream_addr\" } }";
    let proxy = proxy::to([&origin]).route(route).start().await;
    for _ in 0..3 {
        let response = proxy.get("/").await;
        assert_eq!(
            (response.text().as_str(), response.header("X-Server")),
            ("hello", origin.address())
        );
    }
}

#[tokio::test]
async fn unix_and_tcp_servers_take_turns() {
    let directory = TempDir::new().expect("there is room for a directory");
    let unix = origin::says_on(&directory.path().join("app.sock"), "unix");
    let tcp = origin::says("tcp").await;
    let proxy = proxy::to([&unix, &tcp]).start().await;
    for expected in ["unix", "tcp", "unix", "tcp"] {
        assert_eq!(proxy.get("/").await.text(), expected);
    }
}

#[tokio::test]
async fn a_socket_file_that_is_not_there_is_a_failed_server() {
    let origin = origin::says("hello").await;
    let servers = [
        "{ address = \"unix:/nonexistent/app.sock\" }".to_owned(),
        origin.with(""),
    ];
    let proxy = proxy::to(servers).start().await;
    assert_eq!(proxy.get("/").await.text(), "hello");
    proxy
        .log_contains("failed (2: No such file or directory) while connecting to upstream")
        .await;
}

#[tokio::test]
async fn a_listener_can_be_a_unix_socket() {
    let origin = origin::says("hello").await;
    let directory = TempDir::new().expect("there is room for a directory");
    let path = directory.path().join("front.sock");
    let address = format!("unix:{}", path.display());
    let proxy = proxy::to([&origin])
        .listen(&format!("address = \"{address}\""))
        .start()
        .await;
    assert_eq!(proxy.address(), address);
    assert_eq!(get_with(&address, "/", "").await.text(), "hello");
    // A client without an IP address.
    let request = origin.request();
    assert!(
        request.header("X-Forwarded-For").is_empty()
            || request.header("X-Forwarded-For") == "unix:",
        "{request:?}"
    );
}

#[tokio::test]
async fn a_socket_file_left_behind_is_no_obstacle() {
    let origin = origin::says("hello").await;
    let directory = TempDir::new().expect("there is room for a directory");
    let address = format!("unix:{}", directory.path().join("front.sock").display());
    let listen = format!("address = \"{address}\"");
    // Dropping kills the process, which then cannot remove its file.
    drop(proxy::to([&origin]).listen(&listen).start().await);
    let _proxy = proxy::to([&origin]).listen(&listen).start().await;
    assert_eq!(get_with(&address, "/", "").await.text(), "hello");
}

/// What it says that cannot begin to listen at `path`, as a listener and as a stream.
fn refused(path: &Path) -> [String; 2] {
    ["[[listen]]", "[[stream]]\nproxy = \"127.0.0.1:1\""].map(|table| {
        let directory = TempDir::new().expect("there is room for a directory");
        let file = directory.path().join("waypost.toml");
        let text = format!("{table}\naddress = \"unix:{}\"\n", path.display());
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(waypost());
        command.arg("run").arg("-c").arg(&file);
        let (code, _, said) = child::run(command);
        assert_eq!(code, 1, "{said}");
        let here = format!("cannot listen on unix:{}: ", path.display());
        let why = said.split_once(&here).unwrap_or_else(|| panic!("{said}")).1;
        let (why, rest) = why.split_once('\n').expect("it has a place");
        assert!(
            rest.contains("waypost.toml:") && rest.contains("hint: "),
            "{said}"
        );
        why.to_owned()
    })
}

#[tokio::test]
async fn what_is_no_socket_is_left_alone() {
    let directory = TempDir::new().expect("there is room for a directory");
    let path = directory.path().join("front.sock");
    std::fs::write(&path, "dear").unwrap();
    for why in refused(&path) {
        assert_eq!(why, "there is a file that is no socket");
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "dear");
}

#[tokio::test]
async fn a_socket_that_is_in_use_is_left_alone_however_busy_it_is() {
    let directory = TempDir::new().expect("there is room for a directory");
    let path = directory.path().join("front.sock");
    let listener = UnixListener::bind(&path).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    for why in refused(&path) {
        assert_eq!(why, "another process listens there");
    }
    // By now its backlog is full.
    let mut waiting = Vec::new();
    loop {
        let client = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None);
        let client = client.unwrap();
        client.set_nonblocking(true).unwrap();
        match client.connect(&socket2::SockAddr::unix(&path).unwrap()) {
            Ok(()) => waiting.push(client),
            Err(_) => break,
        }
    }
    for why in refused(&path) {
        assert_eq!(why, "another process listens there");
    }
    listener.accept().unwrap();
    assert!(UnixStream::connect(&path).is_ok());

    let path = directory.path().join("log.sock");
    let datagrams = UnixDatagram::bind(&path).unwrap();
    refused(&path);
    UnixDatagram::unbound()
        .unwrap()
        .send_to(b"line", &path)
        .unwrap();
    assert_eq!(datagrams.recv(&mut [0; 8]).unwrap(), 4);
}
