//! What systemd is told.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use waypost_tests::proxy::{self, Setup};
use waypost_tests::{PATIENCE, Proxy, origin};

/// A socket as systemd's, where a service says how it does.
fn listening(directory: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(directory.join("notify")).unwrap();
    socket
        .set_read_timeout(Some(PATIENCE.max(Duration::from_secs(1))))
        .unwrap();
    socket
}

fn received(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 1024];
    let length = socket.recv(&mut buffer).expect("systemd is told in time");
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

/// A proxy that systemd's socket is named to.
async fn served(setup: Setup, directory: &Path) -> Proxy {
    let line = format!("NOTIFY_SOCKET='{}/notify' exec \"$@\"", directory.display());
    setup.through_shell(&line).start().await
}

#[tokio::test]
async fn a_service_says_when_it_serves_and_when_it_is_about_to_end() {
    let directory = tempfile::tempdir().unwrap();
    let socket = listening(directory.path());
    let origin = origin::says("hello").await;
    let mut proxy = served(proxy::to([&origin]), directory.path()).await;
    let id = proxy.process().id();
    assert_eq!(received(&socket), format!("READY=1\nMAINPID={id}\n"));
    proxy.signal(Signal::QUIT);
    assert_eq!(received(&socket), "STOPPING=1\n");
    proxy.process().ended().await;
}

/// What systemd waits for from then on has both in it, the delay and the drain.
#[tokio::test]
async fn a_stop_with_a_delay_is_told_when_it_begins() {
    let directory = tempfile::tempdir().unwrap();
    let socket = listening(directory.path());
    let origin = origin::says("hello").await;
    let setup = proxy::to([&origin]).server("shutdown_delay = \"10m\"");
    let mut proxy = served(setup, directory.path()).await;
    assert!(received(&socket).starts_with("READY=1\n"));
    proxy.signal(Signal::QUIT);
    assert_eq!(received(&socket), "STOPPING=1\n");
    proxy
        .log_contains("no longer ready: draining in 600s")
        .await;
    proxy.signal(Signal::QUIT);
    proxy.process().ended().await;
    // And not once more.
    socket.set_nonblocking(true).unwrap();
    assert!(socket.recv(&mut [0; 64]).is_err());
}

#[tokio::test]
async fn the_watchdog_hears_of_the_process_until_a_worker_hangs() {
    let directory = tempfile::tempdir().unwrap();
    let socket = listening(directory.path());
    let origin = origin::says("hello").await;
    let line = format!(
        "export NOTIFY_SOCKET='{}/notify' WATCHDOG_USEC=100000 WATCHDOG_PID=$$ WAYPOST_FAULTS=hang; exec \"$@\"",
        directory.path().display()
    );
    let proxy = proxy::to([&origin]).through_shell(&line).start().await;
    assert!(received(&socket).starts_with("READY=1\n"));
    for _ in 0..3 {
        assert_eq!(received(&socket), "WATCHDOG=1\n");
    }
    let mut client = proxy.client().await;
    client.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n").await;
    proxy.log_contains("a fault was asked for at `hang`").await;
    // Ten times as long as it may be silent: what was on its way by then comes first.
    socket
        .set_read_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    let mut signs = 0;
    while socket.recv(&mut [0; 64]).is_ok() {
        signs += 1;
        assert!(signs < 10, "it says that it is well");
    }
}
