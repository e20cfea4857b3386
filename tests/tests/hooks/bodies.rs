//! Bodies that hooks see and replace. `tests/guests/body_probe` does as its settings or the request
//! tell it.

mod requests; // of requests: as a whole, and piece by piece
mod responses; // of answers
mod faults; // hooks that fail or misbehave in a body
mod stages; // several hooks, exchanges and codings at a time
mod bounds; // what is too large
mod flow; // slow and large ones, memory
mod body_limit; // sizes by type
mod substitute; // text in answers
mod verify_signature; // webhooks
mod waiting; // upstreams that are asked about them

use waypost_tests::proxy::Setup;
use waypost_tests::{Proxy, Response, plugin};

use super::GRANTS;

/// The probe as the hook `probe`, with more lines of its table.
fn hook(lines: &str) -> String {
    format!("[hook.probe]\nplugin = \"body_probe\"\n{lines}\n")
}

/// The probe's plugin.
fn plugin_table() -> String {
    let file = plugin("body_probe", "wasm32-unknown-unknown");
    let limits = "max_faults = 0\nbudget = 100\nlimits = { deadline = \"1s\", memory = \"64m\" }";
    format!(
        "[plugin.body_probe]\nfile = \"{}\"\n{GRANTS}\n{limits}\n",
        file.display()
    )
}

/// Has the route's requests ask the probe, which has these lines of settings.
fn probed(setup: Setup, lines: &str) -> Setup {
    let setup = setup.route("hooks = [\"probe\"]");
    setup.more(&hook(lines)).more(&plugin_table())
}

/// A request with a body of known length, and more header lines.
fn posting(target: &str, lines: &str, body: &str) -> String {
    format!(
        "POST {target} HTTP/1.1\r\nHost: test\r\nContent-Length: {}\r\n{lines}\r\n{body}",
        body.len()
    )
}

/// As [`posting`], in chunks, and with trailer lines.
fn chunking(target: &str, lines: &str, chunks: &[&str], trailers: &str) -> String {
    let chunks = chunks.iter();
    let chunks = chunks.map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len()));
    let chunks: String = chunks.collect();
    format!(
        "POST {target} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n{lines}\r\n\
         {chunks}0\r\n{trailers}\r\n"
    )
}

/// A request on a connection of its own, whose probe is told to do this.
async fn post(proxy: &Proxy, told: &str, body: &str) -> Response {
    let lines = format!("X-Probe-Request: {told}\r\n");
    proxy.exchange(posting("/", &lines, body)).await
}

/// A GET on a connection of its own, whose probe is told to do this with the answer.
async fn get(proxy: &Proxy, target: &str, told: &str) -> Response {
    let lines = format!("X-Probe-Response: {told}\r\n");
    proxy.get_with(target, &lines).await
}
