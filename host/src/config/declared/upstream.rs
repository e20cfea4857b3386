//! `[upstream.NAME]`, its servers and its policy.

use super::health::{HEALTH_CHECK, OUTLIERS};
use super::overload::{LIMITS_KEY, QUEUE_KEY, RETRY_BUDGET_KEY};
use super::source::SERVER_SOURCE;
use super::tls::UPSTREAM_TLS;
use super::{COUNT, HEADER_SIZE, PERCENT, POSITIVE, TEXTS, TIME, TTL, WAIT};
use crate::config::key::{Default, Key, Table, ValueKind};

pub(in crate::config) static UPSTREAM: Table = Table {
    title: "[upstream.NAME]",
    doc: "A group of servers and how to use them.",
    groups: &[&[
        Key::new(
            "servers",
            ValueKind::List(&ValueKind::Either(&[ValueKind::Text, ValueKind::Table(&UPSTREAM_SERVER)])),
            "Addresses, or tables with an `address` and more. Names are resolved again when their answers expire; each of \
             their addresses takes part. Needed where there is neither `servers_from` nor `state`.",
        ),
        Key::new(
            "policy",
            ValueKind::Either(&[ValueKind::Text, ValueKind::Table(&POLICY)]),
            concat!(
                "What chooses the server: ",
                env!("WAYPOST_STOCK_POLICIES"),
                "; a table where it takes settings.",
            ),
        )
        .or(Default::Text("round_robin")),
        Key::new(
            "servers_from",
            ValueKind::Table(&SERVER_SOURCE),
            "Where more servers are listed: a file, a URL, etcd, Consul or Kubernetes.",
        ),
        Key::new(
            "state",
            ValueKind::Text,
            "A file in which is kept what commands change of the servers (`state`). Once it is there, it has them, and \
             `servers` are only what it began with.",
        ),
        RESOLVE,
        RESOLVER_KEY,
        Key::new(
            "keepalive",
            ValueKind::Integer { min: 0, max: 65_535 },
            "Idle connections kept per worker. Zero turns keepalive off.",
        )
        .or(Default::Integer(32)),
        Key::new("keepalive_requests", POSITIVE, "Requests on one connection.")
            .or(Default::Integer(1000)),
        Key::new("keepalive_time", WAIT, "Age at which a connection is no longer reused.")
            .or(Default::Text("1h")),
        Key::new("keepalive_timeout", WAIT, "Idle time until a kept connection is closed.")
            .or(Default::Text("60s")),
        Key::new("connect_timeout", WAIT, "Time for a connection (`proxy_connect_timeout`).")
            .or(Default::Text("60s")),
        Key::new("send_timeout", WAIT, "Time between two writes (`proxy_send_timeout`).")
            .or(Default::Text("60s")),
        Key::new(
            "read_timeout",
            WAIT,
            "Time between two reads (`proxy_read_timeout`), also of a tunnel such as WebSocket.",
        )
        .or(Default::Text("60s")),
        Key::new(
            "half_close_timeout",
            TIME,
            "Silence until a session of a `[[stream]]` or a tunnel is closed in which one side has \
             ended its direction. Zero closes it at once, as nginx does (`proxy_half_close off`). \
             See `docs/streams.md`.",
        )
        .or(Default::Text("10s")),
        Key::new(
            "next_upstream",
            NEXT_UPSTREAM,
            "When another server is asked (`proxy_next_upstream`).",
        )
        .or(Default::Words(&["error", "timeout"])),
        Key::new(
            "next_upstream_tries",
            COUNT,
            "Attempts in all, the first included. Zero is as many as there are servers not `down`.",
        )
        .or(Default::Integer(0)),
        Key::new(
            "next_upstream_timeout",
            TIME,
            "No new attempt begins later than this after the first. Zero is no such bound.",
        )
        .or(Default::Text("0s")),
        Key::new(
            "last_resort",
            ValueKind::Boolean,
            "Whether a server is asked although it is out of rotation when no other is left: the one that failed least \
             recently. Without it, such a request is a 502 at once.",
        )
        .or(Default::Boolean(false)),
        QUEUE_KEY,
        LIMITS_KEY,
        RETRY_BUDGET_KEY,
        Key::new(
            "body_buffer_size",
            BODY_BUFFER,
            "Bytes of a request body kept for another attempt (`client_body_buffer_size`). A larger body is streamed.",
        )
        .or(Default::Text("16k")),
        Key::new(
            "response_header_size",
            HEADER_SIZE,
            "Largest status line and header fields together (nginx: `proxy_buffer_size`, 4 KiB).",
        )
        .or(Default::Text("32k")),
        Key::new(
            "tls",
            ValueKind::Either(&[ValueKind::Boolean, ValueKind::Table(&UPSTREAM_TLS)]),
            "Whether the servers speak TLS, on port 443 unless they say another. On where the addresses begin with \
             `https://`.",
        )
        .or(Default::Boolean(false)),
        Key::new(
            "proxy_protocol",
            ValueKind::Word(&["off", "v1", "v2"]),
            "Whether connections to the servers begin with a PROXY header that names the client, and which version \
             (`proxy_protocol`). Such a connection is not kept for another request.",
        )
        .or(Default::Text("off")),
        Key::new(
            "http2",
            ValueKind::Either(&[ValueKind::Boolean, ValueKind::Table(&UPSTREAM_HTTP2)]),
            "Whether the servers speak HTTP/2: by prior knowledge, over TLS by ALPN. Many requests share a connection then.",
        )
        .or(Default::Boolean(false)),
        Key::new(
            "health_check",
            ValueKind::Either(&[ValueKind::Boolean, ValueKind::Table(&HEALTH_CHECK)]),
            "Whether servers are asked from time to time if they are well (`health_check`). One that is not gets no \
             requests. See `docs/health.md`.",
        )
        .or(Default::Boolean(false)),
        Key::new(
            "outliers",
            ValueKind::Either(&[ValueKind::Boolean, ValueKind::Table(&OUTLIERS)]),
            "Whether servers get no requests for a while that answer worse than the others.",
        )
        .or(Default::Boolean(false)),
        Key::new(
            "panic_threshold",
            PERCENT,
            "Percent of the servers that are healthy, below which `health_check` and `outliers` are ignored, so that few \
             servers do not get the requests of all. Zero: never.",
        )
        .or(Default::Integer(0)),
    ]],
    open: false,
};

/// When names are resolved: of an upstream, and of `[server]` for all of them.
pub(super) const RESOLVE: Key = Key::new(
    "resolve",
    ValueKind::Word(&["again", "once"]),
    "Whether names of servers are resolved again when their answers expire, and when a connection fails. `\"once\"` is \
     nginx's way: when the configuration is read, and a name without an address is an error.",
)
.or(Default::Text("again"));

pub(super) const RESOLVER_KEY: Key = Key::new(
    "resolver",
    ValueKind::Table(&RESOLVER),
    "Whom names of servers are asked of, and how often.",
);

pub(in crate::config) static RESOLVER: Table = Table {
    title: "resolver",
    doc: "Whom names of servers are asked of, and how often. What an upstream does not say is as `[server]` has it.",
    groups: &[&[
        Key::new(
            "addresses",
            TEXTS,
            "Name servers, `10.0.0.53` or `[::1]:5353` (`resolver`). Without them, those that `/etc/resolv.conf` has, for \
             names that are not in `/etc/hosts`; its `search` and `ndots` count either way.",
        )
        .or(Default::Words(&[])),
        Key::new(
            "valid",
            TTL,
            "How long an answer holds, whatever it says itself (`valid`).",
        ),
        Key::new("min_ttl", TTL, "An answer holds for so long at least.").or(Default::Text("1s")),
        Key::new(
            "max_ttl",
            TTL,
            "An answer holds for so long at most: Docker's answers say 600 seconds, while a container may get another \
             address at any moment.",
        )
        .or(Default::Text("10s")),
        Key::new(
            "timeout",
            WAIT,
            "Time for the answer to one question, several attempts included (`resolver_timeout`, 30 s).",
        )
        .or(Default::Text("5s")),
        Key::new(
            "ipv6",
            ValueKind::Boolean,
            "Whether addresses of IPv6 are asked for (`ipv6`).",
        )
        .or(Default::Boolean(true)),
    ]],
    open: false,
};

/// The keys of an upstream that a route may say again, by the upstream's meanings.
pub(in crate::config) const PROXY_LIMITS: [&str; 8] = [
    "connect_timeout",
    "send_timeout",
    "read_timeout",
    "half_close_timeout",
    "body_buffer_size",
    "next_upstream",
    "next_upstream_tries",
    "next_upstream_timeout",
];

pub(in crate::config) static UPSTREAM_HTTP2: Table = Table {
    title: "http2",
    doc: "How connections to servers are shared. `true` is the same as a table with nothing in it.",
    groups: &[&[Key::new(
        "max_concurrent_streams",
        POSITIVE,
        "Requests at once on one connection, if the server allows as many. More open another connection.",
    )
    .or(Default::Integer(100))]],
    open: false,
};

pub(super) const NEXT_UPSTREAM: ValueKind = ValueKind::Either(&[
    ValueKind::Word(&["off"]),
    ValueKind::List(&ValueKind::Word(&NEXT_CONDITIONS)),
]);

pub(super) const BODY_BUFFER: ValueKind = ValueKind::Size {
    min: 0,
    max: 64 << 20,
};

pub(in crate::config) const NEXT_CONDITIONS: [&str; 11] = [
    "error",
    "timeout",
    "invalid_header",
    "http_500",
    "http_502",
    "http_503",
    "http_504",
    "http_403",
    "http_404",
    "http_429",
    "non_idempotent",
];

pub(in crate::config) static UPSTREAM_SERVER: Table = Table {
    title: "servers",
    doc: "One of an upstream's `servers`. An address alone is the same as a table with only that `address`.",
    groups: &[&[
        Key::new(
            "address",
            ValueKind::Text,
            "`10.0.0.1:3000`, `[2001:db8::1]:3000`, `app.example:3000`, `unix:/run/app.sock`, `https://app.example`. The \
             default port is 80, with TLS 443.",
        )
        .required(),
        Key::new(
            "service",
            ValueKind::Text,
            "The servers are those that DNS lists for this service of the name (SRV), with their ports and weights; those \
             of a higher priority number are backups (`service`). `\"http\"` is `_http._tcp`.",
        ),
        Key::new("weight", ValueKind::Integer { min: 1, max: 65_535 }, "Share of the requests.")
            .or(Default::Integer(1)),
        Key::new("max_fails", COUNT, "Failures that take it out of rotation. Zero: none ever do.")
            .or(Default::Integer(1)),
        Key::new(
            "fail_timeout",
            TIME,
            "In which failures add up, and for which it stays out of rotation. Whole seconds.",
        )
        .or(Default::Text("10s")),
        Key::new(
            "slow_start",
            TIME,
            "Time in which its share grows from nothing to its weight, once it is back in rotation, resumed, or new beside \
             others (`slow_start`). Whole seconds; zero is none.",
        )
        .or(Default::Text("0s")),
        Key::new("max_conns", COUNT, "Requests in progress at most, in all workers. Zero is unlimited.")
            .or(Default::Integer(0)),
        Key::new(
            "backup",
            ValueKind::Boolean,
            "Only asked when no other server is left; backups are balanced among themselves.",
        )
        .or(Default::Boolean(false)),
        Key::new("down", ValueKind::Boolean, "Out of rotation, but keeps its place in a hash.")
            .or(Default::Boolean(false)),
        Key::new("route", ValueKind::Text, "The value that names this server, for `sticky`.")
            .or(Default::Text("")),
        Key::new(
            "labels",
            ValueKind::Named(&ValueKind::Text),
            "Names and values of your choice, for plugins: `{ zone = \"a\" }`. At most 16; names \
             are of `a-z`, `0-9`, `_` and `-`, 64 bytes at most, values have 256 bytes at most.",
        ),
    ]],
    open: false,
};

pub(in crate::config) static POLICY: Table = Table {
    title: "policy",
    doc: "A policy and its settings. A name alone is the same as a table with only that `plugin`. All other keys are the \
          policy's own settings, and it checks them.",
    groups: &[&[
        Key::new("plugin", ValueKind::Text, "The policy's name.").required(),
        Key::new(
            "filters",
            ValueKind::List(&ValueKind::Either(&[
                ValueKind::Text,
                ValueKind::Table(&FILTER),
            ])),
            "What narrows the servers that it may choose from, in this order.",
        ),
        Key::new(
            "scorers",
            ValueKind::List(&ValueKind::Either(&[
                ValueKind::Text,
                ValueKind::Table(&SCORER),
            ])),
            "What ranks the servers that are left: it may choose from those with the highest sum.",
        ),
        Key::new(
            "fallback",
            ValueKind::Text,
            "The policy that answers when this one fails, in place of the one that \
             `[plugin.NAME]` says, or `refuse`. Without both it is `round_robin`.",
        ),
    ]],
    open: true,
};

pub(in crate::config) static FILTER: Table = Table {
    title: "filters",
    doc: "An item of a policy's `filters`. A name alone is the same as a table with only that \
          `plugin`. All other keys are the filter's own settings, and it checks them.",
    groups: &[&[Key::new(
        "plugin",
        ValueKind::Text,
        concat!("The filter: ", env!("WAYPOST_STOCK_FILTERS"), ".",),
    )
    .required()]],
    open: true,
};

pub(in crate::config) static SCORER: Table = Table {
    title: "scorers",
    doc: "An item of a policy's `scorers`. A name alone is the same as a table with only that \
          `plugin`. All other keys are the scorer's own settings, and it checks them.",
    groups: &[&[
        Key::new(
            "plugin",
            ValueKind::Text,
            concat!("The scorer: ", env!("WAYPOST_STOCK_SCORERS"), ".",),
        )
        .required(),
        Key::new(
            "weight",
            ValueKind::Integer { min: 1, max: 100 },
            "What its scores are multiplied by before those of all scorers are added.",
        )
        .or(Default::Integer(1)),
    ]],
    open: true,
};
