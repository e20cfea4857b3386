//! One process takes over from another, or is handed its sockets by systemd; and how a process goes
//! once it is not wanted any more. Clients notice nothing but a `Connection: close`.

mod upgrades; // by the next binary
mod activation; // from systemd
mod drains; // without a successor

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use waypost_tests::admin::{ADMIN, Held, Successor, request};
use waypost_tests::client::get_with;
use waypost_tests::proxy::Setup;
use waypost_tests::tls::Authority;
use waypost_tests::{
    Answer, Client, Gate, Load, Origin, Proxy, Wire, eventually, in_time, origin, pause, proxy,
};

/// A listener on a unix socket.
const FRONT: &str = "[[listen]]\naddress = \"unix:{dir}/front.sock\"\n";
/// What systemd does: one socket, at descriptor 3.
const ACTIVATED: &str = "LISTEN_FDS=1 LISTEN_PID=$$ exec \"$@\" 3<&0 0</dev/null";

/// An origin that answers `/held` once the gate is open, and everything else at once.
async fn holding(gate: &Gate) -> Origin {
    let gate = gate.clone();
    origin::answers(move |request| match request.target.as_str() {
        "/held" => Answer::ok("done").when(&gate),
        _ => Answer::ok("at once"),
    })
    .await
}

/// A client whose request has arrived at the origin.
async fn waiting(proxy: &Proxy, origin: &Origin) -> Client {
    let arrived = origin.requests().len();
    let mut client = proxy.client().await;
    client.send("GET /held HTTP/1.1\r\nHost: t\r\n\r\n").await;
    origin.received(arrived + 1).await;
    client
}

/// Asks the admin API for another process, which must serve.
async fn upgraded(proxy: &Proxy) -> Successor {
    let response = proxy.admin("POST", "/upgrade", "").await;
    assert_eq!(response.status, 200, "{}", response.text());
    let pid = response.json()["pid"].as_u64().expect("a process id");
    Successor::of(u32::try_from(pid).expect("a process id"))
}

/// The process that answers at the admin address.
async fn pid(proxy: &Proxy) -> u32 {
    let pid = proxy.shows("/status").await["pid"].as_u64();
    u32::try_from(pid.expect("a process id")).expect("a process id")
}
