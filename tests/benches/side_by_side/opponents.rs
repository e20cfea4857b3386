//! The configurations of the others: what Waypost's says, in their words, set up for speed.

use std::path::Path;

use crate::scenario::{Back, Front, Hooks, Opponent, Scenario, TINY};
use crate::setup::{nginx_config, write};

/// What starts an opponent, whose configuration is in `folder` then. `ports`: where it is loaded,
/// and where it answers plain HTTP/1.1, which may be the same.
///
/// A program is found by its name, or where `ENVOY_BIN` (and the like) says.
pub(crate) fn command(
    scenario: &Scenario,
    folder: &Path,
    origins: [u16; 3],
    ports: [u16; 2],
) -> Vec<String> {
    let name = scenario.opponent.name();
    let program = std::env::var(format!("{}_BIN", name.to_uppercase()));
    let program = program.unwrap_or_else(|_| name.to_owned());
    let (port, kept) = (ports[0], scenario.idle_connections());
    match scenario.opponent {
        Opponent::Nginx | Opponent::NginxLua => {
            let (modules, http) = nginx(scenario, folder, origins, ports);
            let file = nginx_config(folder, name, modules, scenario.room(), &http);
            words(&["nginx", "-c", &file])
        }
        Opponent::Without => unreachable!("Waypost has its configuration elsewhere"),
        Opponent::Haproxy => {
            let file = write(folder, "haproxy.cfg", &haproxy(origins, port));
            words(&[&program, "-db", "-f", &file])
        }
        Opponent::Envoy => {
            let file = write(folder, "envoy.yaml", &envoy(origins, port));
            let how = ["-c", &file, "--concurrency", "1", "--disable-hot-restart"];
            words(&[&[&program[..]], &how[..]].concat())
        }
        Opponent::Caddy => {
            let file = write(folder, "caddy.json", &caddy(origins, port, kept));
            go(folder, &[&program, "run", "--config", &file])
        }
        Opponent::Traefik => {
            let routes = write(folder, "routes.yaml", &traefik_routes(origins));
            let file = write(folder, "traefik.yaml", &traefik(port, kept, &routes));
            go(folder, &[&program, &format!("--configFile={file}")])
        }
    }
}

/// A program in Go: it has threads for all cores unless told, and may keep files at home.
fn go(folder: &Path, command: &[&str]) -> Vec<String> {
    let home = format!("HOME={}", folder.display());
    let apart = ["-u", "XDG_DATA_HOME", "-u", "XDG_CONFIG_HOME"];
    words(&[&["env"], &apart[..], &[&home, "GOMAXPROCS=1"], command].concat())
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

fn haproxy(origins: [u16; 3], port: u16) -> String {
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

/// What Envoy counts for each request, and tells other Envoys in headers, can be left out; its bounds
/// on what is under way to an upstream are raised from 1,024.
fn envoy(origins: [u16; 3], port: u16) -> String {
    let address = |port: u16| {
        format!("address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}")
    };
    let servers = origins.map(|port| format!("{{ endpoint: {{ {} }} }}", address(port)));
    format!(
        r#"
static_resources:
  listeners:
  - {listen}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: front
          generate_request_id: false
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{{ match: {{ prefix: "/" }}, route: {{ cluster: backend, timeout: 60s }} }}]
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
              dynamic_stats: false
              suppress_envoy_headers: true
  clusters:
  - name: backend
    type: STATIC
    lb_policy: ROUND_ROBIN
    circuit_breakers:
      thresholds: [{{ max_connections: 10000, max_pending_requests: 10000, max_requests: 10000 }}]
    load_assignment:
      cluster_name: backend
      endpoints: [{{ lb_endpoints: [{servers}] }}]
"#,
        listen = address(port),
        servers = servers.join(", "),
    )
}

/// `kept`: idle connections to each server.
fn caddy(origins: [u16; 3], port: u16, kept: u32) -> String {
    let servers = origins.map(|port| format!(r#"{{"dial": "127.0.0.1:{port}"}}"#));
    let servers = servers.join(", ");
    let proxy = format!(
        r#"{{
            "handler": "reverse_proxy",
            "load_balancing": {{"selection_policy": {{"policy": "round_robin"}}}},
            "transport": {{
                "protocol": "http", "compression": false,
                "keep_alive": {{"max_idle_conns_per_host": {kept}}}
            }},
            "upstreams": [{servers}]
        }}"#
    );
    let server = format!(
        r#"{{
            "listen": ["127.0.0.1:{port}"], "protocols": ["h1"],
            "automatic_https": {{"disable": true}},
            "routes": [{{"handle": [{proxy}]}}]
        }}"#
    );
    format!(
        r#"{{
            "admin": {{"disabled": true, "config": {{"persist": false}}}},
            "apps": {{"http": {{"servers": {{"front": {server}}}}}}}
        }}"#
    )
}

/// `kept`: idle connections to each server. `routes`: the file of [`traefik_routes`]. `fastProxy` is
/// experimental, and there for speed.
fn traefik(port: u16, kept: u32, routes: &str) -> String {
    format!(
        r#"
global: {{ checkNewVersion: false, sendAnonymousUsage: false }}
log: {{ level: ERROR }}
entryPoints: {{ front: {{ address: "127.0.0.1:{port}" }} }}
providers: {{ file: {{ filename: "{routes}", watch: false }} }}
serversTransport: {{ maxIdleConnsPerHost: {kept} }}
experimental: {{ fastProxy: {{}} }}
"#
    )
}

fn traefik_routes(origins: [u16; 3]) -> String {
    let servers = origins.map(|port| format!(r#"{{ url: "http://127.0.0.1:{port}" }}"#));
    let servers = servers.join(", ");
    format!(
        r#"
http:
  routers: {{ all: {{ rule: "PathPrefix(`/`)", service: backend }} }}
  services: {{ backend: {{ loadBalancer: {{ servers: [{servers}] }} }} }}
"#
    )
}

/// The modules that it loads, and what stands in `http`. `ports`: where it is loaded, and where it
/// answers plain HTTP/1.1, which may be the same.
fn nginx(
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
