//! Every key of the file. One word per thing, nginx's names and defaults (1.29.7) unless a line says otherwise.

use super::key::{Default, Key, Kind, Table};

const SECOND: u64 = 1_000;
const DAY: u64 = 86_400 * SECOND;

/// A wait that may not be zero. A year is far beyond use and far from overflowing a clock.
const WAIT: Kind = Kind::Duration {
    min: 1,
    max: 365 * DAY,
};
/// A duration whose zero has a meaning.
const TIME: Kind = Kind::Duration {
    min: 0,
    max: 365 * DAY,
};
const BODY_SIZE: Kind = Kind::Size {
    min: 0,
    max: i64::MAX as u64,
};
const HEADER_SIZE: Kind = Kind::Size {
    min: 1 << 10,
    max: 1 << 20,
};
const COUNT: Kind = Kind::Integer {
    min: 0,
    max: u32::MAX as i64,
};
const POSITIVE: Kind = Kind::Integer {
    min: 1,
    max: u32::MAX as i64,
};
const TEXTS: Kind = Kind::List(&Kind::Text);
const TEXT_OR_TEXTS: Kind = Kind::Either(&[Kind::Text, TEXTS]);
const LOG: Kind = Kind::Either(&[Kind::Off, Kind::Text, Kind::Table(&ACCESS_LOG)]);

pub(super) const STOCK_POLICIES: [&str; 6] = [
    "round_robin",
    "least_conn",
    "ip_hash",
    "hash",
    "random",
    "sticky",
];

/// The file as a whole.
pub(super) static ROOT: Table = Table {
    title: "top level",
    doc: "",
    groups: &[&[
        Key::new(
            "include",
            TEXT_OR_TEXTS,
            "Further files, relative to this one: `[\"conf.d/*.toml\"]`. `*` and `?` stand in file names only, and \
             what they match is read in alphabetical order. Lists are appended and tables united.",
        ),
        Key::new("server", Kind::Table(&SERVER), ""),
        Key::new("listen", Kind::List(&Kind::Table(&LISTEN)), ""),
        Key::new("upstream", Kind::Named(&Kind::Table(&UPSTREAM)), ""),
        Key::new("route", Kind::List(&Kind::Table(&ROUTE)), ""),
        Key::new("plugin", Kind::Named(&Kind::Table(&PLUGIN)), ""),
        Key::later("admin"),
    ]],
    open: false,
};

pub(super) static SERVER: Table = Table {
    title: "[server]",
    doc: "What holds for the whole process. The keys of `[[listen]]` marked as shared may stand here as well, and are \
          then the defaults of every listener.",
    groups: &[
        &[
            Key::new(
                "workers",
                Kind::Either(&[Kind::Word(&["auto"]), Kind::Integer { min: 1, max: 1024 }]),
                "Worker threads, each with its own event loop. `\"auto\"` is one per core.",
            )
            .or(Default::Text("auto")),
            Key::new(
                "max_connections",
                Kind::Either(&[Kind::Word(&["auto"]), Kind::Integer { min: 1, max: u32::MAX as i64 }]),
                "Connections from clients in all; more wait in the backlog. `\"auto\"` is as many as the limit on open \
                 files leaves room for.",
            )
            .or(Default::Text("auto")),
            Key::new(
                "trusted_proxies",
                TEXTS,
                "Addresses and networks whose `X-Forwarded-For` and `X-Real-IP` are believed (`set_real_ip_from`).",
            )
            .or(Default::Words(&[])),
            Key::new(
                "error_log",
                Kind::Either(&[Kind::Text, Kind::Table(&ERROR_LOG)]),
                "Where errors are logged: a path, or a table.",
            ),
            Key::new(
                "shutdown_timeout",
                TIME,
                "How long a graceful stop waits for requests under way (`worker_shutdown_timeout`). Zero waits \
                 without end.",
            )
            .or(Default::Text("0s")),
        ],
        LISTENER_SHARED,
    ],
    open: false,
};

pub(super) static LISTEN: Table = Table {
    title: "[[listen]]",
    doc: "An address that clients connect to, and the bounds on them. At least one is needed.",
    groups: &[
        &[
            Key::new(
                "address",
                Kind::Text,
                "`127.0.0.1:8080`, `[::1]:8080`, `*:8080` or `8080` for all IPv4 addresses, `unix:/run/x.sock`. \
                 The default port is 80.",
            )
            .required(),
            Key::later("tls"),
            Key::later("proxy_protocol"),
            Key::later("http2"),
            Key::later("http3"),
        ],
        LISTENER_SHARED,
    ],
    open: false,
};

/// Keys of `[[listen]]` whose defaults `[server]` may set.
pub(super) static LISTENER_SHARED: &[Key] = &[
    Key::new(
        "access_log",
        LOG,
        "Where requests are logged: a path, a table, or `false`. Without it, lines in the `combined` format go to the \
         standard output.",
    ),
    Key::new(
        "backlog",
        Kind::Integer {
            min: 1,
            max: 65_535,
        },
        "Pending connections that the kernel keeps (`listen ... backlog`).",
    )
    .or(Default::Integer(511)),
    Key::new(
        "keepalive_timeout",
        TIME,
        "Idle time until a kept connection is closed. Zero turns keepalive off.",
    )
    .or(Default::Text("75s")),
    Key::new(
        "keepalive_requests",
        POSITIVE,
        "Requests on one connection.",
    )
    .or(Default::Integer(1000)),
    Key::new(
        "keepalive_time",
        WAIT,
        "Age at which a connection is closed after its current request.",
    )
    .or(Default::Text("1h")),
    Key::new(
        "client_header_timeout",
        WAIT,
        "Time for the whole request header.",
    )
    .or(Default::Text("60s")),
    Key::new(
        "client_body_timeout",
        WAIT,
        "Time between two reads of a request body.",
    )
    .or(Default::Text("60s")),
    Key::new(
        "send_timeout",
        WAIT,
        "Time between two writes to the client.",
    )
    .or(Default::Text("60s")),
    Key::new(
        "client_max_body_size",
        BODY_SIZE,
        "Largest request body. Zero is unlimited.",
    )
    .or(Default::Text("1m")),
    Key::new(
        "client_header_size",
        HEADER_SIZE,
        "Largest request line and header fields together (`large_client_header_buffers 4 8k`).",
    )
    .or(Default::Text("32k")),
    Key::new(
        "max_headers",
        Kind::Integer {
            min: 1,
            max: 65_535,
        },
        "Header fields in one request.",
    )
    .or(Default::Integer(1000)),
];

pub(super) static ACCESS_LOG: Table = Table {
    title: "access_log",
    doc: "A path alone is the same as a table with only that `path`.",
    groups: &[&[
        Key::new("path", Kind::Text, "A file, `stdout` or `stderr`.").or(Default::Text("stdout")),
        Key::new(
            "format",
            Kind::Text,
            "`combined`, `json`, or a format of your own with nginx's variables: `\"$remote_addr $status\"`.",
        )
        .or(Default::Text("combined")),
    ]],
    open: false,
};

pub(super) static ERROR_LOG: Table = Table {
    title: "error_log",
    doc: "A path alone is the same as a table with only that `path`.",
    groups: &[&[
        Key::new("path", Kind::Text, "A file, `stdout` or `stderr`.").or(Default::Text("stderr")),
        Key::new(
            "level",
            Kind::Word(&["error", "warn", "info", "debug"]),
            "The least important level that is logged (nginx: `error`).",
        )
        .or(Default::Text("info")),
    ]],
    open: false,
};

pub(super) static UPSTREAM: Table = Table {
    title: "[upstream.NAME]",
    doc: "A group of servers and how to use them.",
    groups: &[&[
        Key::new(
            "servers",
            Kind::List(&Kind::Either(&[Kind::Text, Kind::Table(&UPSTREAM_SERVER)])),
            "Addresses, or tables with an `address` and more. Names are resolved once, when the configuration is read; \
             each of their addresses takes part.",
        )
        .required(),
        Key::new(
            "policy",
            Kind::Either(&[Kind::Text, Kind::Table(&POLICY)]),
            "What chooses the server: `round_robin`, `least_conn`, `ip_hash`, `hash`, `random`, `sticky` or the name of a \
             `[plugin.NAME]`; a table where it takes settings.",
        )
        .or(Default::Text("round_robin")),
        Key::new(
            "keepalive",
            Kind::Integer { min: 0, max: 65_535 },
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
            "next_upstream",
            Kind::Either(&[Kind::Word(&["off"]), Kind::List(&Kind::Word(&NEXT_CONDITIONS))]),
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
            "body_buffer_size",
            Kind::Size { min: 0, max: 64 << 20 },
            "Bytes of a request body kept for another attempt (`client_body_buffer_size`). A larger body is streamed.",
        )
        .or(Default::Text("16k")),
        Key::new(
            "response_header_size",
            HEADER_SIZE,
            "Largest status line and header fields together (nginx: `proxy_buffer_size`, 4 KiB).",
        )
        .or(Default::Text("32k")),
        Key::later("tls"),
        Key::later("health_check"),
    ]],
    open: false,
};

pub(super) const NEXT_CONDITIONS: [&str; 11] = [
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

pub(super) static UPSTREAM_SERVER: Table = Table {
    title: "servers",
    doc: "One of an upstream's `servers`. An address alone is the same as a table with only that `address`.",
    groups: &[&[
        Key::new(
            "address",
            Kind::Text,
            "`10.0.0.1:3000`, `[2001:db8::1]:3000`, `app.example:3000`, `unix:/run/app.sock`. The default port is 80.",
        )
        .required(),
        Key::new("weight", Kind::Integer { min: 1, max: 65_535 }, "Share of the requests.")
            .or(Default::Integer(1)),
        Key::new("max_fails", COUNT, "Failures that take it out of rotation. Zero: none ever do.")
            .or(Default::Integer(1)),
        Key::new(
            "fail_timeout",
            TIME,
            "In which failures add up, and for which it stays out of rotation. Whole seconds.",
        )
        .or(Default::Text("10s")),
        Key::new("max_conns", COUNT, "Requests in progress at most, in all workers. Zero is unlimited.")
            .or(Default::Integer(0)),
        Key::new(
            "backup",
            Kind::Boolean,
            "Only asked when no other server is left. Not with `hash`, `ip_hash` and `random`.",
        )
        .or(Default::Boolean(false)),
        Key::new("down", Kind::Boolean, "Out of rotation, but keeps its place in a hash.")
            .or(Default::Boolean(false)),
        Key::new("route", Kind::Text, "The value that names this server, for `sticky`.")
            .or(Default::Text("")),
    ]],
    open: false,
};

pub(super) static POLICY: Table = Table {
    title: "policy",
    doc: "A policy and its settings. A name alone is the same as a table with only that `plugin`. All other keys are the \
          policy's own settings, and it checks them.",
    groups: &[&[Key::new("plugin", Kind::Text, "The policy's name.").required()]],
    open: true,
};

pub(super) static ROUTE: Table = Table {
    title: "[[route]]",
    doc: "What is done with the requests of a host and a path. Needs `proxy` or `return`, not both.",
    groups: &[&[
        Key::new(
            "listen",
            TEXT_OR_TEXTS,
            "Addresses of the listeners that it serves. Without it: all.",
        ),
        Key::new(
            "host",
            TEXT_OR_TEXTS,
            "As `server_name`: `example.com`, `*.example.com`, `.example.com` (both of them), `www.example.*`, or \
             `~regex`. Without it: any host that no other route names.",
        ),
        Key::new(
            "path",
            Kind::Text,
            "As `location`: `/prefix`, `= /exact`, `^~ /prefix` (before any regex), `~ regex`, `~* regex` (any case).",
        )
        .or(Default::Text("/")),
        Key::new(
            "proxy",
            Kind::Text,
            "Where requests go: an upstream's name, `http://name/uri/` to replace the part that `path` matched, or \
             `http://127.0.0.1:3000` for a server that needs no upstream.",
        ),
        Key::new("return", Kind::Table(&RETURN), "An answer given here."),
        Key::new(
            "request_headers",
            Kind::Table(&HEADERS),
            "Changes to the request header on its way to the upstream.",
        ),
        Key::new(
            "response_headers",
            Kind::Table(&HEADERS),
            "Changes to the response header on its way to the client.",
        ),
        Key::new("access_log", LOG, "As in `[[listen]]`, for this route alone."),
        Key::new(
            "client_max_body_size",
            BODY_SIZE,
            "As in `[[listen]]`, for this route alone. Zero is unlimited.",
        ),
        Key::later("hooks"),
    ]],
    open: false,
};

pub(super) static RETURN: Table = Table {
    title: "return",
    doc: "An answer given without asking an upstream.",
    groups: &[&[
        Key::new(
            "status",
            Kind::Integer { min: 200, max: 599 },
            "Without it: 302 where there is a `location`, else 200. With a `location`: 301, 302, 303, 307 or 308.",
        ),
        Key::new(
            "location",
            Kind::Text,
            "Where to go instead; may have variables.",
        ),
        Key::new("body", Kind::Text, "The answer's text; may have variables."),
        Key::new("content_type", Kind::Text, "`Content-Type` of the body.")
            .or(Default::Text("text/plain")),
    ]],
    open: false,
};

pub(super) static HEADERS: Table = Table {
    title: "request_headers and response_headers",
    doc: "Changes to a header: first `remove`, then `set`, then `add`. Values may have variables. What frames a message \
          (`Content-Length`, `Transfer-Encoding`, `Connection`...) cannot be changed.",
    groups: &[&[
        Key::new("remove", TEXTS, "Names of headers to remove.").or(Default::Words(&[])),
        Key::new(
            "set",
            Kind::Named(&Kind::Text),
            "Replaces all values of a header by one. An empty value removes the header.",
        ),
        Key::new(
            "add",
            Kind::Named(&TEXT_OR_TEXTS),
            "Adds a value, or several, beside those there. An empty one adds nothing.",
        ),
    ]],
    open: false,
};

pub(super) static PLUGIN: Table = Table {
    title: "[plugin.NAME]",
    doc: "A policy of your own. The stock ones need no entry.",
    groups: &[&[
        Key::new("file", Kind::Text, "The component, relative to this file.").required(),
        Key::new(
            "fallback",
            Kind::Text,
            "The policy that answers when this one fails.",
        )
        .or(Default::Text("round_robin")),
        Key::new("limits", Kind::Table(&LIMITS), "Bounds on one instance."),
        Key::later("watch"),
    ]],
    open: false,
};

pub(super) static LIMITS: Table = Table {
    title: "limits",
    doc: "",
    groups: &[&[
        Key::new(
            "memory",
            Kind::Size {
                min: 64 << 10,
                max: 4 << 30,
            },
            "Linear memory.",
        )
        .or(Default::Text("16m")),
        Key::new(
            "deadline",
            Kind::Duration {
                min: 1,
                max: 60 * SECOND,
            },
            "For one call, in steps of a millisecond.",
        )
        .or(Default::Text("5ms")),
    ]],
    open: false,
};
