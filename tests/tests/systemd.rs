//! What systemd is told.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use rustix::process::Signal;
use waypost_tests::{PATIENCE, origin, proxy};

fn received(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 1024];
    let length = socket.recv(&mut buffer).expect("systemd is told in time");
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}

#[tokio::test]
async fn a_service_says_when_it_serves_and_when_it_is_about_to_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket
        .set_read_timeout(Some(PATIENCE.max(Duration::from_secs(1))))
        .unwrap();
    let origin = origin::says("hello").await;
    let line = format!("NOTIFY_SOCKET='{}' exec \"$@\"", path.display());
    let mut proxy = proxy::to([&origin]).through_shell(&line).start().await;
    let id = proxy.process().id();
    assert_eq!(received(&socket), format!("READY=1\nMAINPID={id}\n"));
    proxy.signal(Signal::QUIT);
    assert_eq!(received(&socket), "STOPPING=1\n");
    proxy.process().ended().await;
}
