//! The configuration, and the proxy that has it.

use std::sync::Arc;

use rustls::ClientConfig;
use tempfile::TempDir;
use waypost_tests::proxy::{self, Proxy};
use waypost_tests::tls::Authority;
use waypost_tests::{Origin, plugin};

use super::servers::Servers;

/// A policy of one's own, which is loaded anew again and again.
pub(crate) const PLUGIN: &str = "spill";

pub(crate) struct Site {
    pub(crate) proxy: Proxy,
    pub(crate) trust: Arc<ClientConfig>,
    /// The component behind [`PLUGIN`].
    pub(crate) component: Vec<u8>,
    /// The file as it was at the start.
    pub(crate) file: String,
    /// The certificate's.
    _folder: TempDir,
}

impl Site {
    pub(crate) async fn start(servers: &Servers) -> Site {
        let authority = Authority::new("soak");
        let certificate = authority.certificate(&["soak.test"]);
        let folder = TempDir::new().expect("there is room for a directory");
        let built = plugin(PLUGIN, "wasm32-unknown-unknown");
        let list = |addresses: Vec<&str>| {
            let lines = addresses.iter().map(|address| format!("  {address:?},\n"));
            lines.collect::<String>()
        };
        let written = certificate.write(folder.path(), "soak");
        let file = FILE
            .replace("{frail}", &list(servers.frail().collect()))
            .replace(
                "{steady}",
                &list(servers.steady.iter().map(Origin::address).collect()),
            )
            .replace("{lines}", servers.lines.address())
            .replace("{calls}", servers.calls.address())
            .replace("{names}", &servers.names.address())
            .replace("{component}", &built.display().to_string())
            .replace("{certificate}", &written.display().to_string());
        let proxy = proxy::run(&file, &[]).await;
        // With its own directory in it.
        let file = std::fs::read_to_string(proxy.file()).expect("it is there");
        Site {
            proxy,
            trust: Arc::new(authority.trusting()),
            component: std::fs::read(built).expect("cargo has just built it"),
            file,
            _folder: folder,
        }
    }
}

/// What it says of balancing is nginx's default, with timeouts that one can wait for.
const FILE: &str = r#"
[server]
workers = 2
access_log = { path = "{dir}/access.log", sample = "1%" }
resolver = { addresses = ["{names}"], max_ttl = "1s" }

[admin]
address = "unix:{dir}/admin.sock"

[[listen]]
address = "127.0.0.1:0"
client_header_timeout = "5s"
client_body_timeout = "5s"

[[listen]]
address = "127.0.0.1:0"
client_header_timeout = "5s"
tls = { certificate = "{certificate}.pem", key = "{certificate}.key" }

[[stream]]
address = "127.0.0.1:0"
proxy = "lines"

[plugin.spill]
file = "{component}"

[upstream.frail]
policy = { plugin = "spill", busy = 4 }
keepalive = 32
connect_timeout = "500ms"
read_timeout = "500ms"
next_upstream = ["error", "timeout"]
last_resort = true
servers = [
{frail}]

[upstream.steady]
keepalive = 32
health_check = { path = "/health", interval = "1s" }
servers = [
{steady}]

[upstream.named]
policy = "least_conn"
keepalive = 8
servers = ["soak.internal:7070"]

[upstream.lines]
servers = ["{lines}"]

[upstream.calls]
http2 = true
servers = ["{calls}"]

[[route]]
path = "/"
proxy = "frail"

[[route]]
path = "/steady/"
proxy = "steady"
compression = true

[[route]]
path = "/hooked/"
proxy = "steady"
hooks = [
  { plugin = "forward_auth", upstream = "steady", path = "/verify" },
  { plugin = "substitute", replace = [{ text = "this", by = "that" }] },
  { plugin = "limit_req", key = "$binary_remote_addr", rate = "1000000r/s", burst = 1000, nodelay = true },
]

[[route]]
path = "/named/"
proxy = "named"

[[route]]
path = "/bytes."
proxy = "calls"
"#;
