//! Hooks: what they may change, answer, delay and reroute; what their faults cost; and that each
//! hears of every end. Most specs use `tests/guests/hook_probe`, which does as it is told.

mod limit_req; // requests within a rate
mod limit_conn; // requests in progress
mod order; // who is asked when
mod changes; // of requests and responses
mod answers; // instead of a server's
mod delays; // waited for side by side
mod failures; // of hooks, and what they cost others
mod endings; // each exchange that was asked about has one
mod hot_load; // hooks are swapped while requests run
mod streams; // hooks of sessions
mod passwords; // work that is waited for
mod bodies; // of requests and answers, seen and replaced
pub(crate) mod waiting; // upstreams that are
mod forward_auth; // a server that says who may come in
mod mirror; // copies for another upstream
mod operator; // what commands and the admin API show
mod access; // clients by address
mod basic_auth; // users and passwords
mod jwt; // signed tokens
mod cors; // pages of other origins
mod rewrite; // paths as nginx rewrites them
mod redirect; // one spelling of each URL
mod split; // clients in parts
mod request_id; // one id, everywhere
mod maintenance; // a page for a while
mod store; // what plugins share, here and in a Redis

use std::sync::OnceLock;

use waypost_tests::proxy::Setup;
use waypost_tests::{Client, Http2, Proxy, http2, plugin};

/// Everything that a plugin may be granted.
pub(super) const GRANTS: &str = "grants = [\"request\", \"response\", \"exchange\", \"changes\", \"bodies\", \"checks\", \"files\", \"store\"]";

/// The probe, as `[plugin.probe]`. Limits within which it does as it is told on a slow machine as
/// well, and faults that add up to nothing.
fn probe() -> String {
    let file = plugin("hook_probe", "wasm32-unknown-unknown");
    let limits = "max_faults = 0\nbudget = 100\nlimits = { deadline = \"1s\" }";
    format!(
        "[plugin.probe]\nfile = \"{}\"\n{GRANTS}\n{limits}\n",
        file.display()
    )
}

/// The probe's file, in this mode.
pub(super) fn in_mode(mode: &str) -> Vec<u8> {
    static BUILT: OnceLock<Vec<u8>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let file = plugin("hook_probe", "wasm32-unknown-unknown");
        std::fs::read(file).expect("cargo has just built it")
    });
    let mark = b"mode of the hook probe: ";
    let mut marks = (0..built.len()).filter(|&at| built[at..].starts_with(mark));
    let at = marks.next().expect("it has a mode") + mark.len();
    assert_eq!(marks.next(), None, "it has one mode");
    let mut bytes = built.clone();
    bytes[at..at + 8].copy_from_slice(format!("{mode:<8}").as_bytes());
    bytes
}

/// Has the route's requests ask the probe.
fn at_route(setup: Setup) -> Setup {
    setup.route("hooks = [\"probe\"]").more(&probe())
}

/// Has the listener's requests ask the probe.
fn at_listener(setup: Setup) -> Setup {
    setup.listen("hooks = [\"probe\"]").more(&probe())
}

/// The header line that tells the probe what to do.
fn told(commands: &str) -> String {
    format!("X-Probe: {commands}\r\n")
}

/// A request on a connection of its own, whose hook is told to do this.
async fn asked(proxy: &Proxy, target: &str, commands: &str) -> waypost_tests::Response {
    proxy.get_with(target, &told(commands)).await
}

/// Begins a request of HTTP/2 without a body whose hook is told to do this.
async fn begun_stream(http2: &mut Http2, target: &str, commands: &str) -> http2::Stream {
    let request = http2.request("GET", target, &[("x-probe", commands)]);
    http2.open(request, true).await
}

/// Begins a request whose hook is told to do this.
async fn begun(proxy: &Proxy, target: &str, commands: &str) -> Client {
    let mut client = proxy.client().await;
    let head = format!(
        "GET {target} HTTP/1.1\r\nHost: test\r\n{}\r\n",
        told(commands)
    );
    client.send(head).await;
    client
}
