//! Bytes of a session, in both directions.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

#[tokio::test]
async fn bytes_go_both_ways_as_they_are() {
    let server = echo("a").await;
    let proxy = stream_to(&[&server], "", "").await;
    let (mut wire, name) = session(&proxy).await;
    assert_eq!(name, "a");
    // More than all buffers in between hold, and not text.
    let mut bytes: Vec<u8> = (0..1 << 20).map(|index: u32| (index % 251) as u8).collect();
    bytes
        .iter_mut()
        .for_each(|byte| *byte = if *byte == b'\n' { 255 } else { *byte });
    bytes.push(b'\n');
    wire.send(&bytes).await;
    assert!(
        wire.until(b"\n").await.unwrap() == bytes,
        "changed on the way"
    );
}

#[tokio::test]
async fn unix_sockets_serve_on_both_sides() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("server.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut reader, mut writer) = stream.split();
        tokio::io::copy(&mut reader, &mut writer).await.unwrap();
    });
    let file = format!(
        "[[stream]]\naddress = \"unix:{{dir}}/front.sock\"\nproxy = \"unix:{}\"\naccess_log = {{ path = \"stream.log\", \
         format = \"$remote_addr $upstream_addr\" }}\n",
        path.display()
    );
    let proxy = proxy::run(&file, &[]).await;
    let mut wire = Wire::connect(proxy.address()).await.unwrap();
    wire.send("there and back").await;
    wire.finish_sending().await;
    assert_eq!(wire.rest().await.got, b"there and back");
    server.await.unwrap();
    let lines = log_lines(&proxy, "stream.log", 1).await;
    assert_eq!(lines, [format!("unix: unix:{}", path.display())]);
}

#[tokio::test]
async fn ipv4_and_ipv6_have_a_port_each_as_in_nginx() {
    let (four, six) = (echo("4").await, echo("6").await);
    let free = waypost_tests::nginx::free_address();
    let port = free.rsplit(':').next().unwrap();
    let file = format!(
        "[[stream]]\naddress = \"{port}\"\nproxy = \"{}\"\n[[stream]]\naddress = \"[::]:{port}\"\nproxy = \"{}\"\n\
         access_log = {{ path = \"stream.log\", format = \"$remote_addr $server_addr\" }}\n",
        four.address(),
        six.address()
    );
    let proxy = proxy::run(&file, &[]).await;
    for (address, expected) in [
        (format!("127.0.0.1:{port}"), "4"),
        (format!("[::1]:{port}"), "6"),
    ] {
        assert_eq!(session_at(&address).await.1, expected);
    }
    assert_eq!(log_lines(&proxy, "stream.log", 1).await, ["::1 ::1"]);
}

#[tokio::test]
async fn a_side_that_does_not_read_makes_the_other_wait_and_costs_no_memory() {
    const SESSIONS: usize = 16;
    let sent = Arc::new(AtomicU64::new(0));
    for server_sends in [true, false] {
        let counted = sent.clone();
        let server = origin::speaks(move |wire, _| {
            let sent = counted.clone();
            async move {
                match server_sends {
                    true => send_without_end(wire, &sent).await,
                    false => {
                        std::future::pending::<()>().await;
                        drop(wire);
                    }
                }
            }
        })
        .await;
        let mut proxy = stream_to(&[&server], "", "half_close_timeout = \"500ms\"").await;
        let mut clients = Vec::new();
        // What any session needs, code above all, is there by now.
        drop(Wire::connect(proxy.address()).await.unwrap());
        in_flight(&proxy, &server, 0).await;
        let memory = proxy.process().memory();
        for _ in 0..SESSIONS {
            let wire = Wire::connect(proxy.address()).await.unwrap();
            match server_sends {
                true => clients.push(tokio::spawn(async move {
                    std::future::pending::<()>().await;
                    drop(wire);
                })),
                false => {
                    let sent = sent.clone();
                    clients.push(tokio::spawn(async move {
                        send_without_end(wire, &sent).await;
                    }));
                }
            }
        }
        // All that the kernel's socket buffers hold.
        let mut before = 0;
        eventually("all senders to be stopped", async || {
            // That nothing moves is seen by looking twice. A sender that was only slow has filled
            // less memory.
            tokio::time::sleep(Duration::from_millis(300)).await;
            let now = sent.load(Ordering::Relaxed);
            now > (1 << 20) && std::mem::replace(&mut before, now) == now
        })
        .await;
        let grown = proxy.process().memory().saturating_sub(memory);
        assert!(
            grown < SESSIONS as u64 * 512,
            "{grown} KiB for {SESSIONS} sessions"
        );
        clients.iter().for_each(tokio::task::JoinHandle::abort);
        sent.store(0, Ordering::Relaxed);
    }
}

/// Sends until the connection ends, and counts what was taken.
async fn send_without_end(mut wire: Wire, sent: &AtomicU64) {
    let piece = [b'x'; 16 << 10];
    while wire.try_send(piece).await.is_ok() {
        sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
    }
}
