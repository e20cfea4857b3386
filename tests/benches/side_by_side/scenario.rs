//! What is compared: what is asked for, over which protocols, how servers are chosen, and which
//! proxy is measured beside Waypost.

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
    pub(crate) front: Front,
    pub(crate) back: Back,
    pub(crate) traffic: Traffic,
}

impl Scenario {
    /// Idle connections to the origins that a proxy keeps: as many as it may use at once, so that
    /// it does not open new ones all the time.
    pub(crate) fn idle_connections(&self) -> u32 {
        match self.traffic {
            Traffic::Wrk | Traffic::Handshakes { .. } => 64,
            Traffic::Streams(_) | Traffic::Calls(_) => 1024,
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Opponent {
    Nginx,
    Haproxy,
    NginxLua,
}

impl Opponent {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Opponent::Nginx => "nginx",
            Opponent::Haproxy => "haproxy",
            Opponent::NginxLua => "nginx-lua",
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
}

/// The load generator.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Traffic {
    /// `wrk` with 32 connections.
    Wrk,
    /// `h2load` with 8 connections of so many streams.
    Streams(&'static str),
    /// The same, with calls of gRPC: a message each way.
    Calls(&'static str),
    /// A connection after the other, each for one small answer of the proxy's own; sessions resumed
    /// or not.
    Handshakes { resumed: bool },
}

const TURNS: &str = "\"round_robin\"";

const fn plain(name: &'static str, opponent: Opponent, path: &'static str) -> Scenario {
    Scenario {
        name,
        opponent,
        path,
        access_log: false,
        policy: TURNS,
        directive: "",
        front: Front::Http1,
        back: Back::Http1,
        traffic: Traffic::Wrk,
    }
}

const fn policy(name: &'static str, policy: &'static str, directive: &'static str) -> Scenario {
    Scenario {
        policy,
        directive,
        ..plain(name, Opponent::Nginx, "/small")
    }
}

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
/// What the proxies answer by themselves.
pub(crate) const TINY: &str = "/tiny";

pub(crate) const SCENARIOS: [Scenario; 18] = [
    plain("small", Opponent::Nginx, "/small"),
    Scenario {
        access_log: true,
        ..plain("small, access log", Opponent::Nginx, "/small")
    },
    plain("10 KB", Opponent::Nginx, "/10k"),
    plain("1 MB", Opponent::Nginx, "/1m"),
    plain("small", Opponent::Haproxy, "/small"),
    plain("1 MB", Opponent::Haproxy, "/1m"),
    plain("small", Opponent::NginxLua, "/small"),
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
    wire("TLS small", "/small", Front::Tls, Back::Http1, Traffic::Wrk),
    wire("TLS 1 MB", "/1m", Front::Tls, Back::Http1, Traffic::Wrk),
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
        Traffic::Wrk,
    ),
    wire(
        "gRPC unary",
        CALL,
        Front::Http2,
        Back::Calls,
        Traffic::Calls("32"),
    ),
];
