//! Hooks of sessions: there is no HTTP to ask about.

use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;
use waypost_tests::{Origin, Proxy, Wire, child, eventually, origin, proxy, waypost};

use super::probe;

/// A server that says hello, and sends back each line that it gets.
async fn greets() -> Origin {
    origin::speaks(|mut wire, _| async move {
        if wire.try_send("hello\n").await.is_err() {
            return;
        }
        while let Ok(line) = wire.until(b"\n").await {
            if wire.try_send(line).await.is_err() {
                return;
            }
        }
    })
    .await
}

/// A stream whose sessions ask hooks that obey these commands.
async fn stream(server: &Origin, commands: &str, more: &str) -> Proxy {
    let file = format!(
        "[server]\nworkers = 1\n[[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"backend\"\n\
         access_log = {{ path = \"stream.log\", format = \"$status $hook_tenant\" }}\n\
         hooks = [{{ plugin = \"probe\", ledger = true, request = [{commands}]{more} }}]\n\
         [upstream.backend]\nservers = [\"{}\"]\n{}",
        server.address(),
        probe()
    );
    proxy::run(&file, &[]).await
}

async fn is_logged(proxy: &Proxy, lines: &str) {
    let path = proxy.directory().join("stream.log");
    let read = || std::fs::read_to_string(&path).unwrap_or_default();
    eventually(lines, async || read() == lines).await;
}

async fn session(proxy: &Proxy) -> Wire {
    let mut wire = Wire::connect(proxy.address()).await.expect("it listens");
    assert_eq!(wire.until(b"\n").await.expect("a greeting"), b"hello\n");
    wire
}

#[tokio::test]
async fn a_session_is_let_through_with_attributes_and_its_end_is_told() {
    let server = greets().await;
    let proxy = stream(&server, "\"attribute tenant acme\"", "").await;
    let mut wire = session(&proxy).await;
    wire.send("four\n").await;
    assert_eq!(wire.until(b"\n").await.expect("an echo"), b"four\n");
    assert!(!proxy.log().contains("ended"), "{}", proxy.log());
    drop(wire);
    is_logged(&proxy, "200 acme\n").await;
    proxy.log_contains(" 0 whole 11 5").await;
    assert_eq!(proxy.log().matches("ended").count(), 1, "{}", proxy.log());
}

#[tokio::test]
async fn a_hook_that_answers_closes_the_connection() {
    let server = greets().await;
    let commands = "\"attribute tenant acme\", \"answer 403 no\"";
    let proxy = stream(&server, commands, "").await;
    let mut wire = Wire::connect(proxy.address()).await.expect("it listens");
    assert_eq!(wire.rest().await.got, b"");
    is_logged(&proxy, "403 acme\n").await;
    proxy.log_contains(" 0 cut 0 0").await;
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_hook_that_fails_closes_the_connection_or_is_passed_over() {
    let server = greets().await;
    let proxy = stream(&server, "\"trap\"", "").await;
    let mut wire = Wire::connect(proxy.address()).await.expect("it listens");
    assert_eq!(wire.rest().await.got, b"");
    is_logged(&proxy, "500 -\n").await;
    proxy.log_contains("of plugin `probe` failed: ").await;
    let proxy = stream(&server, "\"trap\"", ", on_error = \"skip\"").await;
    drop(session(&proxy).await);
    is_logged(&proxy, "200 -\n").await;
}

#[tokio::test]
async fn a_session_is_delayed() {
    let server = greets().await;
    let proxy = stream(&server, "\"delay 500\"", "").await;
    let began = Instant::now();
    drop(session(&proxy).await);
    assert!(began.elapsed() >= Duration::from_millis(500));
}

#[tokio::test]
async fn a_client_that_leaves_while_its_session_is_delayed_ends_it() {
    let server = greets().await;
    let proxy = stream(&server, "\"delay 3600000\", \"say delayed\"", "").await;
    let wire = Wire::connect(proxy.address()).await.expect("it listens");
    proxy.log_contains("probe says delayed").await;
    drop(wire);
    is_logged(&proxy, "499 -\n").await;
    proxy.log_contains(" 0 cut 0 0").await;
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_hook_that_is_about_requests_is_refused_at_its_line() {
    let directory = TempDir::new().expect("there is room for a directory");
    let config = directory.path().join("waypost.toml");
    let text = "[[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"backend\"\n\
                hooks = [{ plugin = \"limit_req\", key = \"$remote_addr\", rate = \"1r/s\" }]\n\
                [upstream.backend]\nservers = [\"127.0.0.1:9\"]\n";
    std::fs::write(&config, text).expect("the directory is ours");
    for command in ["run", "check"] {
        let mut waypost = Command::new(waypost());
        waypost.arg(command).arg("-c").arg(&config);
        let (code, out, err) = child::run(waypost);
        let said = out + &err;
        assert_eq!(code, 1, "{command} said:\n{said}");
        assert!(said.contains("waypost.toml:4:"), "{said}");
        assert!(
            said.contains("`limit_req` is about requests, and a stream has none"),
            "{said}"
        );
    }
}
