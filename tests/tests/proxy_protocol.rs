//! The PROXY protocol: the headers that we receive, and those that we send.

mod incoming; // headers that we get
mod hostile; // malformed headers, and peers that are not trusted
mod outgoing; // headers that we send
mod with_nginx; // a real nginx, before us and behind

use waypost_tests::admin::ADMIN;
use waypost_tests::{Answer, Origin, Proxy, Wire, eventually, origin, pause, proxy};

const TRUST: &str = "trusted_proxies = [\"127.0.0.0/8\"]";
const REQUEST: &str = "GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
/// What a header of version 2 begins with.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A proxy that wants PROXY headers, and tells in its answers what it made of them.
async fn proxy_to(origin: &Origin, server: &str) -> Proxy {
    let told = [
        "remote_addr",
        "remote_port",
        "realip_remote_addr",
        "realip_remote_port",
        "proxy_protocol_addr",
        "proxy_protocol_port",
        "proxy_protocol_server_addr",
        "proxy_protocol_server_port",
    ];
    let told: Vec<String> = told
        .iter()
        .map(|name| format!("X-{} = \"${name}\"", name.replace('_', "-")))
        .collect();
    proxy::to([origin])
        .server(server)
        .listen("proxy_protocol = true")
        .route(&format!(
            "response_headers = {{ set = {{ {} }} }}",
            told.join(", ")
        ))
        .start()
        .await
}

/// A header of version 2 for TCP over IPv4, from 192.0.2.7:4000 to 198.51.100.9:443, with these
/// bytes behind the addresses.
fn version_2(command: u8, behind: &[u8]) -> Vec<u8> {
    let length = u16::try_from(12 + behind.len()).unwrap();
    let mut header = [SIGNATURE, &[0x20 | command, 0x11], &length.to_be_bytes()].concat();
    header.extend_from_slice(&[192, 0, 2, 7, 198, 51, 100, 9, 0x0f, 0xa0, 0x01, 0xbb]);
    header.extend_from_slice(behind);
    header
}

const VERSION_1: &[u8] = b"PROXY TCP4 192.0.2.7 198.51.100.9 4000 443\r\n";
