//! `[[stream]]`: connections are balanced, and carried as they are, in any protocol.

mod sessions; // bytes in both directions
mod ends; // either side closes, resets, leaves or is silent
mod log; // what is written of a session
mod balancing; // which server, and the next one
mod with_nginx; // the same choices as a real nginx
mod changes; // reloads, upgrades, drains, bounds
mod sni; // by the host that a TLS client names
mod tls; // TLS that ends here, TLS to servers

use std::time::Duration;

use waypost_tests::{Origin, Proxy, Wire, eventually, not_yet, origin, pause, proxy};

/// A server that says its name on a line, and then sends back each line that it gets.
async fn echo(name: &'static str) -> Origin {
    origin::speaks(move |mut wire, _| async move {
        if wire.try_send(format!("{name}\n")).await.is_err() {
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

/// A proxy whose only listener is a stream to these servers.
async fn stream_to(servers: &[&Origin], stream: &str, upstream: &str) -> Proxy {
    let addresses: Vec<String> = servers
        .iter()
        .map(|server| format!("\"{}\"", server.address()))
        .collect();
    with_servers(&addresses.join(", "), stream, upstream).await
}

/// As [`stream_to`], with the servers as the file has them. One worker, so that turns are taken in
/// the order of connections.
async fn with_servers(servers: &str, stream: &str, upstream: &str) -> Proxy {
    let file = format!(
        "[server]\nworkers = 1\n[[stream]]\naddress = \"127.0.0.1:0\"\nproxy = \"backend\"\n{stream}\n\
         [upstream.backend]\nservers = [{servers}]\n{upstream}\n\
         [admin]\naddress = \"unix:{{dir}}/admin.sock\"\n"
    );
    proxy::run(&file, &[]).await
}

/// A session, and the name that its server said.
async fn session(proxy: &Proxy) -> (Wire, String) {
    session_at(proxy.address()).await
}

async fn session_at(address: &str) -> (Wire, String) {
    let mut wire = Wire::connect(address).await.expect("it listens");
    let name = line(&mut wire).await;
    (wire, name)
}

async fn line(wire: &mut Wire) -> String {
    let line = wire.until(b"\n").await.expect("the session goes on");
    String::from_utf8(line).unwrap().trim_end().to_owned()
}

/// Whether bytes still go both ways.
async fn echoes(wire: &mut Wire) {
    wire.send("still there?\n").await;
    assert_eq!(line(wire).await, "still there?");
}

/// The lines of a log, once there are as many.
async fn log_lines(proxy: &Proxy, file: &str, number: usize) -> Vec<String> {
    let path = proxy.directory().join(file);
    let read = || std::fs::read_to_string(&path).unwrap_or_default();
    eventually(&format!("{number} lines in the log"), async || {
        read().lines().count() >= number
    })
    .await;
    read().lines().map(str::to_owned).collect()
}

/// Waits until that many sessions are at a server, or on their way to it.
async fn in_flight(proxy: &Proxy, server: &Origin, number: u32) {
    eventually(&format!("{number} attempts"), async || {
        proxy.server(server.address()).await["in_flight"] == number
    })
    .await;
}
