//! What is compared: what is asked for, over which protocols, how servers are chosen, and which
//! proxy is measured beside Waypost.

use crate::site::Site;

/// One comparison.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) opponent: Opponent,
    pub(crate) path: &'static str,
    pub(crate) access_log: bool,
    /// For Waypost: the value of `policy`.
    pub(crate) policy: &'static str,
    /// For nginx: the directive in `upstream`.
    pub(crate) directive: &'static str,
    pub(crate) hooks: Hooks,
    pub(crate) site: Site,
    pub(crate) front: Front,
    pub(crate) back: Back,
    pub(crate) traffic: Traffic,
}

impl Scenario {
    /// Idle connections to the origins that a proxy keeps: as many as it may use at once, so that
    /// it does not open new ones all the time.
    pub(crate) fn idle_connections(&self) -> u32 {
        match self.traffic {
            Traffic::Wrk { connections, .. } => connections.max(64),
            Traffic::Handshakes { .. } => 64,
            Traffic::Streams(_) | Traffic::Calls(_) => 1024,
            Traffic::Paced(_, Pace::AtOnce(requests)) => requests,
            Traffic::Paced(connections, Pace::PerSecond(_)) => connections,
        }
    }

    /// Open files that a proxy needs, and the generator; none where few do.
    pub(crate) fn open_files(&self) -> Option<u32> {
        match self.traffic {
            Traffic::Paced(connections @ 1000.., _) => Some(connections + 4096),
            _ => None,
        }
    }

    /// Connections of all kinds that a proxy has room for, where it has to be told.
    pub(crate) fn room(&self) -> u32 {
        self.open_files().unwrap_or(8192)
    }
}

/// What is decided about a request before it is balanced.
#[derive(Clone, Copy)]
pub(crate) struct Hooks {
    /// For Waypost: what is declared, and `hooks` of the route. `COMPONENT` stands for the file of
    /// the plugin `bench_hook`.
    pub(crate) declared: &'static str,
    pub(crate) used: &'static str,
    /// For nginx: in `http`, and in `location`.
    pub(crate) http: &'static str,
    pub(crate) location: &'static str,
}

pub(crate) const NO_HOOKS: Hooks = Hooks {
    declared: "",
    used: "",
    http: "",
    location: "",
};

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Opponent {
    Nginx,
    /// Waypost itself, without the hooks, as a bare proxy.
    Without,
    Haproxy,
    NginxLua,
    Envoy,
    Caddy,
    Traefik,
}

impl Opponent {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Opponent::Nginx => "nginx",
            Opponent::Without => "waypost without",
            Opponent::Haproxy => "haproxy",
            Opponent::NginxLua => "nginx-lua",
            Opponent::Envoy => "envoy",
            Opponent::Caddy => "caddy",
            Opponent::Traefik => "traefik",
        }
    }
}

/// What clients speak.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Front {
    Http1,
    /// TLS 1.3, with an ECDSA certificate (P-256) and X25519.
    Tls,
    /// The same, with HTTP/2 by ALPN.
    TlsHttp2,
    /// HTTP/2 by prior knowledge.
    Http2,
}

impl Front {
    pub(crate) fn has_tls(self) -> bool {
        matches!(self, Front::Tls | Front::TlsHttp2)
    }
}

/// What the origins speak. nginx has HTTP/2 to servers as `grpc_pass` only, which takes ordinary
/// requests as well.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Back {
    Http1,
    Http2,
    /// Servers of gRPC.
    Calls,
    /// HTTP/1.1, of servers that have requests wait.
    Silent,
}

/// The load generator.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Traffic {
    /// `wrk` with so many clients, which keep their connections or connect anew for each request.
    Wrk { connections: u32, anew: bool },
    /// `h2load` with 8 connections of so many streams.
    Streams(&'static str),
    /// The same, with calls of gRPC: a message each way.
    Calls(&'static str),
    /// A connection after the other, each for one small answer of the proxy's own; sessions resumed
    /// or not.
    Handshakes { resumed: bool },
    /// A generator of our own with so many connections, which take turns.
    Paced(u32, Pace),
}

/// When a request is sent.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Pace {
    /// As soon as fewer than so many wait for an answer.
    AtOnce(u32),
    /// Evenly, so many a second, at times that are fixed beforehand.
    PerSecond(u32),
}

const fn wrk(connections: u32) -> Traffic {
    Traffic::Wrk {
        connections,
        anew: false,
    }
}

/// What most scenarios are loaded with.
const WRK: Traffic = wrk(32);
const ANEW: Traffic = Traffic::Wrk {
    connections: 32,
    anew: true,
};

const TURNS: &str = "\"round_robin\"";

const fn plain(name: &'static str, opponent: Opponent, path: &'static str) -> Scenario {
    Scenario {
        name,
        opponent,
        path,
        access_log: false,
        policy: TURNS,
        directive: "",
        hooks: NO_HOOKS,
        site: Site::Proxy,
        front: Front::Http1,
        back: Back::Http1,
        traffic: WRK,
    }
}

const fn load(name: &'static str, opponent: Opponent, traffic: Traffic) -> Scenario {
    Scenario {
        traffic,
        ..plain(name, opponent, "/small")
    }
}

/// Small answers for [`crate::latency`].
pub(crate) const fn latency(traffic: Traffic) -> Scenario {
    load("latency", Opponent::Nginx, traffic)
}

const fn policy(name: &'static str, policy: &'static str, directive: &'static str) -> Scenario {
    Scenario {
        policy,
        directive,
        ..plain(name, Opponent::Nginx, "/small")
    }
}

const fn hooks(name: &'static str, opponent: Opponent, hooks: Hooks) -> Scenario {
    Scenario {
        hooks,
        ..plain(name, opponent, "/small")
    }
}

const BENCH_HOOK: &str = "[plugin.bench_hook]\nfile = \"COMPONENT\"\nbudget = 100\ngrants = [\"request\", \"changes\"]\n";
const NO_OP: Hooks = Hooks {
    declared: BENCH_HOOK,
    used: r#"["bench_hook"]"#,
    ..NO_HOOKS
};
/// Turns requests away that have a header with this value.
const HEADER: Hooks = Hooks {
    declared: BENCH_HOOK,
    used: r#"[{ plugin = "bench_hook", header = "x-bench", refuse = "no" }]"#,
    http: "",
    location: "access_by_lua_block { if ngx.req.get_headers()['x-bench'] == 'no' then return ngx.exit(403) end }",
};
const LIMIT: Hooks = Hooks {
    declared: "[hook.limit]\nplugin = \"limit_req\"\nkey = \"$binary_remote_addr\"\nrate = \"1000000r/s\"\n",
    used: r#"[{ use = "limit", burst = 1000000, nodelay = true }]"#,
    http: "limit_req_zone $binary_remote_addr zone=limit:10m rate=1000000r/s;",
    location: "limit_req zone=limit burst=1000000 nodelay;",
};
/// What Waypost tells servers of a client, as most people have nginx tell it too.
const NAMED: Hooks = Hooks {
    location: "proxy_set_header Host $http_host; proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme; proxy_set_header X-Forwarded-Host $http_host;",
    ..NO_HOOKS
};
const ACCESS: Hooks = Hooks {
    used: r#"[{ plugin = "access", rules = ["deny 10.0.0.1", "allow 127.0.0.0/8", "deny all"] }]"#,
    location: "deny 10.0.0.1; allow 127.0.0.0/8; deny all;",
    ..NO_HOOKS
};
const REWRITE: Hooks = Hooks {
    used: r#"[{ plugin = "rewrite", rules = ["^/old/(.*)$ /new/$1 break", "^/sm(.*)$ /sm$1 break"] }]"#,
    location: "rewrite ^/old/(.*)$ /new/$1 break; rewrite ^/sm(.*)$ /sm$1 break;",
    ..NO_HOOKS
};
const FIVE: Hooks = Hooks {
    declared: LIMIT.declared,
    used: r#"["request_id", { plugin = "access", rules = ["deny 10.0.0.1", "allow 127.0.0.0/8", "deny all"] }, { use = "limit", burst = 1000000, nodelay = true }, { plugin = "cors", origins = ["https://app.example"] }, { plugin = "split", key = "$remote_addr", parts = [{ share = "10%", value = "b" }, { share = "*", value = "a" }] }]"#,
    ..NO_HOOKS
};

const fn site(name: &'static str, opponent: Opponent, path: &'static str, site: Site) -> Scenario {
    Scenario {
        site,
        ..plain(name, opponent, path)
    }
}

const FILES: Site = Site::Files {
    open_file_cache: false,
};
const CACHED: Site = Site::Files {
    open_file_cache: true,
};

const fn wire(
    name: &'static str,
    path: &'static str,
    front: Front,
    back: Back,
    traffic: Traffic,
) -> Scenario {
    Scenario {
        front,
        back,
        traffic,
        ..plain(name, Opponent::Nginx, path)
    }
}

/// A call's path.
const CALL: &str = "/bench.Bytes/Unary";
/// 20 KB that are compressed.
pub(crate) const JSON: &str = "/list.json";
/// So that there is a query to take a variable from.
const QUERY: &str = "/small?page=2";
/// What the proxies answer by themselves.
pub(crate) const TINY: &str = "/tiny";

pub(crate) const SCENARIOS: [Scenario; 54] = [
    plain("small", Opponent::Nginx, "/small"),
    hooks("small, the client named", Opponent::Nginx, NAMED),
    Scenario {
        access_log: true,
        ..plain("small, access log", Opponent::Nginx, "/small")
    },
    plain("10 KB", Opponent::Nginx, "/10k"),
    plain("1 MB", Opponent::Nginx, "/1m"),
    plain("small", Opponent::Haproxy, "/small"),
    plain("10 KB", Opponent::Haproxy, "/10k"),
    plain("1 MB", Opponent::Haproxy, "/1m"),
    plain("small", Opponent::Envoy, "/small"),
    plain("10 KB", Opponent::Envoy, "/10k"),
    plain("1 MB", Opponent::Envoy, "/1m"),
    plain("small", Opponent::Caddy, "/small"),
    plain("10 KB", Opponent::Caddy, "/10k"),
    plain("1 MB", Opponent::Caddy, "/1m"),
    plain("small", Opponent::Traefik, "/small"),
    plain("10 KB", Opponent::Traefik, "/10k"),
    plain("1 MB", Opponent::Traefik, "/1m"),
    plain("small", Opponent::NginxLua, "/small"),
    load("a connection per request", Opponent::Nginx, ANEW),
    load("a connection per request", Opponent::Haproxy, ANEW),
    load("8 connections", Opponent::Nginx, wrk(8)),
    load("64 connections", Opponent::Nginx, wrk(64)),
    load("512 connections", Opponent::Nginx, wrk(512)),
    load(
        "10,000 connections",
        Opponent::Nginx,
        Traffic::Paced(10_000, Pace::AtOnce(512)),
    ),
    policy("least_conn", "\"least_conn\"", "least_conn;"),
    policy("ip_hash", "\"ip_hash\"", "ip_hash;"),
    Scenario {
        path: "/small?N",
        ..policy(
            "hash consistent",
            r#"{ plugin = "hash", key = "$request_uri", consistent = true }"#,
            "hash $request_uri consistent;",
        )
    },
    policy(
        "random two",
        r#"{ plugin = "random", two = "least_conn" }"#,
        "random two least_conn;",
    ),
    hooks("hook: nothing", Opponent::Without, NO_OP),
    hooks("hook: reads a header", Opponent::Without, HEADER),
    hooks("hook: reads a header", Opponent::NginxLua, HEADER),
    hooks("hook: limit_req", Opponent::Without, LIMIT),
    hooks("hook: limit_req", Opponent::Nginx, LIMIT),
    hooks("hook: access", Opponent::Nginx, ACCESS),
    hooks("hook: rewrite", Opponent::Nginx, REWRITE),
    hooks("hook: access", Opponent::Without, ACCESS),
    hooks("hooks: five stock ones", Opponent::Without, FIVE),
    wire(
        "TLS full handshakes",
        TINY,
        Front::Tls,
        Back::Http1,
        Traffic::Handshakes { resumed: false },
    ),
    wire(
        "TLS resumed handshakes",
        TINY,
        Front::Tls,
        Back::Http1,
        Traffic::Handshakes { resumed: true },
    ),
    wire("TLS small", "/small", Front::Tls, Back::Http1, WRK),
    wire("TLS 1 MB", "/1m", Front::Tls, Back::Http1, WRK),
    wire(
        "TLS h2 small, 100 streams",
        "/small",
        Front::TlsHttp2,
        Back::Http1,
        Traffic::Streams("100"),
    ),
    wire(
        "h2 to servers, small",
        "/small",
        Front::Http1,
        Back::Http2,
        WRK,
    ),
    wire(
        "gRPC unary",
        CALL,
        Front::Http2,
        Back::Calls,
        Traffic::Calls("32"),
    ),
    site("files, 1 KB", Opponent::Nginx, "/1k", FILES),
    site(
        "files, 1 KB, open_file_cache",
        Opponent::Nginx,
        "/1k",
        CACHED,
    ),
    site("files, 1 MB", Opponent::Nginx, "/1m", FILES),
    site(
        "files, 1 MB, open_file_cache",
        Opponent::Nginx,
        "/1m",
        CACHED,
    ),
    site(
        "gzip of JSON, level 1",
        Opponent::Nginx,
        JSON,
        Site::Gzip { level: 1 },
    ),
    site(
        "gzip of JSON, level 6",
        Opponent::Nginx,
        JSON,
        Site::Gzip { level: 6 },
    ),
    site("2,000 routes", Opponent::Without, "/small", Site::Routes),
    site("2,000 routes", Opponent::Nginx, "/small", Site::Routes),
    site("ten variables", Opponent::Without, QUERY, Site::Variables),
    site("ten variables", Opponent::Nginx, QUERY, Site::Variables),
];
