//! The harness of the specs: a small language for peers that say exactly these bytes, and for
//! proxies before them.
//!
//! No HTTP library stands between a spec and the wire, since what such a library tidies up is what
//! the specs are about. Every wait is bounded by [`PATIENCE`] and ends in a panic that tells what
//! was awaited; nothing sleeps where an event can be awaited. What has to happen before a timeout
//! has ten times as long as it needs: see [`pause`]. Ports are always chosen by the kernel, so that
//! specs run side by side.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a harness reports a broken setup by panicking: that fails the spec"
)]

mod binary; // find or build `waypost`
mod installed; // what the machine has
pub mod child; // a child process, its output, its end
pub mod client; // the downstream side, byte by byte
pub mod load; // clients that keep a proxy busy
pub mod nginx; // a real nginx, to compare with
mod answer; // what an origin does with a request
pub mod origin; // the upstream side, well-behaved or not
pub mod proxy; // Waypost itself
pub mod admin; // the same, as its operator sees it
pub mod metrics; // what it has counted
pub mod names; // name servers, real ones and one that lies
pub mod sources; // those that list servers: a real etcd, and two that behave as documented
pub mod redis; // what several processes share
pub mod tls; // certificates, and a client that speaks TLS
pub mod acme; // an authority that issues them as it is told
pub mod pebble; // a real one
pub mod http2; // the same protocol on either side, by h2 or by hand
pub mod grpc; // calls, by tonic
pub mod websocket; // the answer to its handshake
pub mod peers; // programs of others
pub mod languages; // plugins that are not in Rust
pub mod wire; // one connection; reads heads and bodies for both sides

use std::time::Duration;

pub use answer::{Answer, Gate};
pub use binary::{plugin, waypost};
pub use child::{Child, Output};
pub use client::{Client, Response};
pub use http2::Http2;
pub use installed::io_uring_is_allowed;
pub use load::Load;
pub use metrics::Metrics;
pub use nginx::Nginx;
pub use origin::{Origin, Request};
pub use proxy::Proxy;
pub use wire::{Fields, Wire};

/// The longest that anything is waited for. Far above what a loaded machine needs; only failures
/// take that long.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Waits for a future, and panics with `what` when it takes longer than [`PATIENCE`].
pub async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {PATIENCE:?} in vain for {what}"),
    }
}

/// Asks again until the answer is yes. For state that cannot be waited for, such as `/proc` or a
/// file.
pub async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    in_time(what, async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// Lets 100 ms pass: a tenth of the timeout of a second that specs set where something has to
/// happen before it. Such a spec fails only on a machine that is ten times late.
pub async fn pause() {
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// Lets a timeout pass, and a tenth more. Never fails on a slow machine: a sleep is not cut short.
pub async fn outlast(timeout: Duration) {
    tokio::time::sleep(timeout + timeout / 10).await;
}

/// What must not happen for as long as something else stands in its way: waits for a moment in
/// vain, and panics with `what` otherwise. A slow machine may hide a fault from it, but cannot make
/// it fail.
pub async fn not_yet<T>(what: &str, future: impl Future<Output = T>) {
    let early = tokio::time::timeout(Duration::from_millis(300), future).await;
    assert!(early.is_err(), "too early: {what}");
}
