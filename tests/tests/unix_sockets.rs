//! Unix sockets, on both sides.

use tempfile::TempDir;
use waypost_tests::client::get_with;
use waypost_tests::{origin, proxy};

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
