//! Routes that components answer, by the world `wasi:http/proxy` of WASI 0.2. Most specs have
//! `tests/guests/web_probe` for one, which does what the path of a request says.

mod answers; // what clients get
mod changes; // other versions, while requests come in
mod failures; // what components do instead of answering
mod requests; // what components get
mod toolchains; // what others make runs as it is

use waypost_tests::admin::ADMIN;
use waypost_tests::{Proxy, plugin, proxy};

/// The probe, as `[plugin.probe]`, with lines more in its entry.
fn probe(entry: &str) -> String {
    let file = plugin("web_probe", "wasm32-unknown-unknown");
    format!("[plugin.probe]\nfile = \"{}\"\n{entry}\n", file.display())
}

/// A proxy of which every request is the probe's. `route`: lines more in its route; `more`: further
/// tables.
async fn answered_by_probe(entry: &str, route: &str, more: &str) -> Proxy {
    let component = match route.contains("component =") {
        true => "",
        false => "component = \"probe\"\n",
    };
    let text = format!(
        "{ADMIN}[server]\nworkers = 1\naccess_log = {{ path = \"access.log\", format = \"$status $body_bytes_sent\" }}\n\
         [[listen]]\naddress = \"127.0.0.1:0\"\n[[route]]\n{component}{route}\n{}\n{more}",
        probe(entry)
    );
    proxy::run(&text, &[]).await
}

/// What the access log says so far.
fn logged(proxy: &Proxy) -> String {
    std::fs::read_to_string(proxy.directory().join("access.log")).unwrap_or_default()
}
