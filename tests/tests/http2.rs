//! HTTP/2 on both sides: with peers that behave, with those that do not, and with programs of
//! others.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use waypost_tests::admin::ADMIN;
use waypost_tests::http2::{self, Frame, Outcome, Raw, Reason, block, flag, kind, setting};
use waypost_tests::proxy::{Server, Setup};
use waypost_tests::{
    Answer, Gate, Http2, Origin, Proxy, eventually, in_time, origin, outlast, pause, proxy,
};

mod downstream; // requests in, responses out
mod heads; // what becomes of header fields, and which are refused
mod bodies; // where a body ends is never a guess, in either version
mod frames; // frames that no peer should send
mod limits; // bounds on what a connection may ask for
mod floods; // of frames that carry nothing
mod waits; // deadlines of a connection and of each stream
mod ends; // of connections, with streams under way
mod upstream; // to servers that speak it
mod dials; // new connections to them
mod upstream_faults; // to servers that do so badly
mod shared; // many exchanges on one connection to a server
mod leases; // on endpoints, however a stream ends
mod unlike; // what one version can say and the other cannot
mod peers; // curl, h2load, nginx
mod secure; // the same over TLS, and a browser

/// A route that is answered without a server.
const FIXED: &str = "[[route]]\npath = \"/fixed\"\nreturn = { status = 200, body = \"fixed\" }";

/// A proxy before an origin that answers `hello` to everybody.
async fn hello() -> (Origin, Proxy) {
    let origin = origin::says("hello").await;
    let proxy = proxy::to([&origin]).start().await;
    (origin, proxy)
}

/// A proxy of one worker before servers of HTTP/2, with these lines in its upstream.
fn before<S: Server>(servers: impl IntoIterator<Item = S>, lines: &str) -> Setup {
    proxy::to(servers)
        .server("workers = 1")
        .upstream(&format!("http2 = true\n{lines}"))
}

/// An HTTP/1.1 origin that holds its answers.
async fn held() -> (Origin, Gate) {
    let gate = Gate::closed();
    let held = gate.clone();
    let origin = origin::answers(move |_| Answer::ok("done").when(&held)).await;
    (origin, gate)
}

/// What is answered to requests with a body that are all sent before one is answered, in
/// alphabetical order.
async fn posted_at_once(client: &mut Http2, count: usize) -> Vec<String> {
    let mut streams = Vec::new();
    for _ in 0..count {
        let mut stream = client.begin("POST", "/", &[]).await;
        stream.send("body", true);
        streams.push(stream);
    }
    let mut answers = Vec::new();
    for stream in &mut streams {
        answers.push(stream.response().await.text());
    }
    answers.sort();
    answers
}
