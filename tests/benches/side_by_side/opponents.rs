//! The configurations of nginx and HAProxy: what Waypost's says, in their words, set up for speed.

use std::path::Path;

use crate::scenario::{Back, Front, Hooks, Opponent, Scenario, TINY};

pub(crate) fn haproxy(origins: &[u16; 3], port: u16) -> String {
    let servers: String = (origins.iter().enumerate())
        .map(|(i, port)| format!("  server s{i} 127.0.0.1:{port}\n"))
        .collect();
    format!(
        "global\n  nbthread 1\n  maxconn 8000\n\
         defaults\n  mode http\n  http-reuse always\n  timeout client 60s\n  timeout server 60s\n  timeout connect 60s\n\
         frontend f\n  bind 127.0.0.1:{port}\n  default_backend b\n\
         backend b\n  balance roundrobin\n{servers}"
    )
}

/// The modules that it loads, and what stands in `http`. `ports`: where it is loaded, and where it
/// answers plain HTTP/1.1, which may be the same.
pub(crate) fn nginx(
    scenario: &Scenario,
    folder: &Path,
    origins: [u16; 3],
    [port, probe]: [u16; 2],
) -> (&'static str, String) {
    let path = folder.display();
    let Hooks { http, location, .. } = scenario.hooks;
    let lua = "load_module /usr/lib/nginx/modules/ndk_http_module.so;
        load_module /usr/lib/nginx/modules/ngx_http_lua_module.so;";
    let modules = match scenario.opponent {
        Opponent::NginxLua => lua,
        _ => "",
    };
    let by_lua = scenario.opponent == Opponent::NginxLua && location.is_empty();
    let (init, peers) = if by_lua {
        let ports = origins.map(|port| port.to_string()).join(", ");
        (
            format!(
                "init_by_lua_block {{ package.loaded.turns = {{ at = 0, ports = {{ {ports} }} }} }}"
            ),
            "server 0.0.0.1;
            balancer_by_lua_block {
                local balancer, turns = require 'ngx.balancer', require 'turns'
                turns.at = turns.at % 3 + 1
                balancer.set_current_peer('127.0.0.1', turns.ports[turns.at])
            }"
            .to_string(),
        )
    } else {
        let servers = origins.map(|port| format!("server 127.0.0.1:{port}; "));
        let peers = format!("{} {}", scenario.directive, servers.concat());
        (String::new(), peers)
    };
    let log = if scenario.access_log {
        format!("access_log {path}/nginx.log combined buffer=32k flush=1s;")
    } else {
        "access_log off;".into()
    };
    let listen = match scenario.front {
        Front::Http1 => "",
        Front::Tls => " ssl",
        Front::TlsHttp2 => " ssl http2",
        Front::Http2 => " http2",
    };
    let second = if probe == port {
        String::new()
    } else {
        format!("listen 127.0.0.1:{probe};")
    };
    let tls = if scenario.front.has_tls() {
        format!(
            "ssl_certificate {path}/cert.pem; ssl_certificate_key {path}/key.pem; ssl_protocols TLSv1.3;"
        )
    } else {
        String::new()
    };
    let kept = scenario.idle_connections();
    let pass = match scenario.back {
        Back::Http1 => {
            "proxy_pass http://backend;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_max_temp_file_size 0;"
        }
        Back::Silent => {
            "proxy_pass http://backend;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection $change;"
        }
        Back::Http2 | Back::Calls => "grpc_pass grpc://backend;",
    };
    let site = scenario
        .site
        .nginx(folder, port, &format!("{location} {pass}"));
    let http = format!(
        "{init} {log} {http} {declared}
        map $http_upgrade $change {{ default upgrade; '' ''; }}
        upstream backend {{ {peers} keepalive {kept}; keepalive_requests 1000000000; }}
        server {{
            listen 127.0.0.1:{port}{listen} default_server;
            {second}
            {tls}
            location = {TINY} {{ return 200 tiny; }}
            location / {{ {default} }}
        }}
        {servers}",
        declared = site.declared,
        default = site.default,
        servers = site.servers,
    );
    (modules, http)
}
