//! `[server]` and `[[listen]]`.

use super::compression::COMPRESSION;
use super::hook::HOOKS;
use super::log::{ERROR_LOG, LOG};
use super::route::{ERROR_PAGES, EXPIRES, HEADERS, RESPONSE_HEADER_TABLES};
use super::tls::TLS;
use super::traces::TRACES_THERE;
use super::upstream::{RESOLVE, RESOLVER_KEY};
use super::{BODY_SIZE, HEADER_SIZE, POSITIVE, TEXTS, TIME, WAIT};
use crate::config::key::{Default, Key, Table, ValueKind};

pub(in crate::config) static SERVER: Table = Table {
    title: "[server]",
    doc: "What holds for the whole process. The keys of `[[listen]]` marked as shared may stand here as well, and are \
          then the defaults of every listener.",
    groups: &[
        &[
            Key::new(
                "workers",
                ValueKind::Either(&[ValueKind::Word(&["auto"]), ValueKind::Integer { min: 1, max: 1024 }]),
                "Worker threads, each with its own event loop. `\"auto\"` is one per core.",
            )
            .or(Default::Text("auto")),
            Key::new(
                "max_connections",
                ValueKind::Either(&[ValueKind::Word(&["auto"]), ValueKind::Integer { min: 1, max: u32::MAX as i64 }]),
                "Connections from clients in all. The next one takes the place of the one that has been idle for \
                 longest, or else of one that has not sent a whole request header within a second; it waits while all others \
                 are busy. `\"auto\"` is as many as the limit on open files leaves room for.",
            )
            .or(Default::Text("auto")),
            Key::new(
                "error_log",
                ValueKind::Either(&[ValueKind::Text, ValueKind::Table(&ERROR_LOG)]),
                "Where errors are logged: a path, or a table.",
            ),
            Key::new(
                "shutdown_timeout",
                TIME,
                "How long a graceful stop waits for requests under way (`worker_shutdown_timeout`). Zero waits \
                 without end.",
            )
            .or(Default::Text("0s")),
            Key::new(
                "shutdown_delay",
                TIME,
                "How long a process that is told to drain, by QUIT or `waypost drain`, still accepts and serves as before, \
                 while routes with `probe = \"ready\"` answer 503: for load balancers to see it. With one, TERM drains as \
                 QUIT does. `shutdown_timeout` begins behind it.",
            )
            .or(Default::Text("0s")),
            RESOLVE,
            RESOLVER_KEY,
            Key::new(
                "max_dynamic_upstreams",
                ValueKind::Integer { min: 1, max: 65_535 },
                "Names and addresses at a time that requests bring up by variables in `proxy`. The one that was not used \
                 for longest makes room for the next.",
            )
            .or(Default::Integer(256)),
            Key::new(
                "dynamic_idle_timeout",
                WAIT,
                "Time until one of them goes that no request names, counted by the second.",
            )
            .or(Default::Text("5m")),
            Key::new(
                "plugin_cache",
                ValueKind::Either(&[ValueKind::Off, ValueKind::Word(&["auto"]), ValueKind::Text]),
                "A directory, relative to this file, for compiled plugins: the next start need not compile them again. \
                 `\"auto\"` is `$CACHE_DIRECTORY`, else `$XDG_CACHE_HOME/waypost`, else `$HOME/.cache/waypost`.",
            )
            .or(Default::Text("auto")),
            Key::new(
                "io_uring",
                ValueKind::Boolean,
                "Whether small messages of many connections leave by one system call, io_uring's, where the kernel allows \
                 it: from Linux 6.1 on, and not in many containers. Otherwise each leaves by its own.",
            )
            .or(Default::Boolean(true)),
            Key::new(
                "hooks",
                HOOKS,
                "Hooks that are asked for the requests of every listener, in their order, before \
                 a route is chosen.",
            ),
        ],
        LISTENER_SHARED,
    ],
    open: false,
};

pub(in crate::config) static LISTEN: Table = Table {
    title: "[[listen]]",
    doc: "An address that clients connect to, and the bounds on them. At least one is needed, or a `[[stream]]`.",
    groups: &[
        &[
            Key::new(
                "address",
                ValueKind::Text,
                "`127.0.0.1:8080`, `[::1]:8080`, `*:8080`, `:8080` or `8080` for all IPv4 addresses, `[::]:8080` for all IPv6 addresses, \
                 `unix:/run/x.sock`. The default port is 80.",
            )
            .required(),
            Key::new(
                "tls",
                ValueKind::Table(&TLS),
                "Clients speak TLS: the certificates, and what is asked of clients.",
            ),
            Key::new(
                "hsts",
                ValueKind::Text,
                "With `tls`: `Strict-Transport-Security` on every answer, as a duration (`\"365d\"`) or in full \
                 (`\"max-age=31536000; includeSubDomains\"`). One that a server sends gives way.",
            ),
            Key::new(
                "redirect_to_https",
                ValueKind::Either(&[ValueKind::Boolean, ValueKind::Integer { min: 1, max: 65_535 }]),
                "Without `tls`: every request is sent to the same URL with `https`, on port 443 or the one given: with \
                 301, or 308 where the method must stay.",
            )
            .or(Default::Boolean(false)),
            Key::new(
                "proxy_protocol",
                ValueKind::Boolean,
                "Whether connections begin with a PROXY header, of version 1 or 2 (`listen ... proxy_protocol`). It must \
                 come within `client_header_timeout`; whom it names is believed of `trusted_proxies` only.",
            )
            .or(Default::Boolean(false)),
            Key::new(
                "http2",
                ValueKind::Either(&[ValueKind::Boolean, ValueKind::Table(&HTTP2)]),
                "Whether clients may speak HTTP/2, chosen by ALPN with `tls` and by its preface without; a table for its \
                 bounds (nginx: `http2`, off).",
            )
            .or(Default::Boolean(true)),
            Key::new(
                "hooks",
                HOOKS,
                "Hooks that are asked for its requests, in their order, behind those of \
                 `[server]` and before a route is chosen.",
            ),
            Key::new(
                "traces",
                TRACES_THERE,
                "Whether its requests are traced, or a table of how. Without it, as `[traces]` says.",
            ),
            Key::later("http3", "clients speak HTTP/2 meanwhile"),
        ],
        LISTENER_SHARED,
    ],
    open: false,
};

pub(in crate::config) static HTTP2: Table = Table {
    title: "http2",
    doc: "What one HTTP/2 connection from a client may ask for. `true` is the same as a table with nothing in it. The bounds \
          of `[[listen]]` hold for each of its requests; `client_header_size` also for the decoded header.",
    groups: &[&[
        Key::new(
            "max_concurrent_streams",
            POSITIVE,
            "Requests at once (`http2_max_concurrent_streams`). More are refused.",
        )
        .or(Default::Integer(128)),
        Key::new(
            "max_resets",
            POSITIVE,
            "Requests that may be reset at once. A tenth of it comes back each second, and one with each answer. \
             Past it the connection ends with ENHANCE_YOUR_CALM.",
        )
        .or(Default::Integer(200)),
        Key::new(
            "max_control_frames",
            POSITIVE,
            "Frames without content (SETTINGS, PING, PRIORITY, WINDOW_UPDATE, empty DATA) that may come at once. A tenth \
             of it comes back each second, and some with each request and with what is sent. Past it the connection ends \
             with ENHANCE_YOUR_CALM.",
        )
        .or(Default::Integer(1000)),
    ]],
    open: false,
};

/// Keys of `[[listen]]` whose defaults `[server]` may set.
pub(in crate::config) static LISTENER_SHARED: &[Key] = &[
    Key::new(
        "trusted_proxies",
        TEXTS,
        "Addresses and networks of proxies in front of this one: whom they name as the client, in `X-Forwarded-For`, \
         `X-Real-IP` or a PROXY header, is believed (`set_real_ip_from`). `\"unix:\"` is whoever connects to a unix socket. \
         Streams have those of `[server]`.",
    )
    .or(Default::Words(&[])),
    Key::new(
        "real_ip_header",
        ValueKind::Text,
        "The one header in which they name it, such as `CF-Connecting-IP`, or `\"proxy_protocol\"` for the PROXY header \
         alone. Without it: `X-Forwarded-For`, else `X-Real-IP`.",
    ),
    Key::new(
        "real_ip_recursive",
        ValueKind::Boolean,
        "Whether trusted proxies among the addresses that the header lists are passed over, from the last on (nginx: off); \
         else the last one is the client.",
    )
    .or(Default::Boolean(true)),
    ERROR_PAGES,
    Key::new(
        "intercept_errors",
        ValueKind::Boolean,
        "Whether errors that a server answers with get a page as well (`proxy_intercept_errors`).",
    )
    .or(Default::Boolean(false)),
    Key::new(
        "access_log",
        LOG,
        "Where requests are logged: a path, a table, a list of both for several logs, or `false`. Without it, lines in the \
         `combined` format go to the standard output.",
    ),
    Key::new(
        "backlog",
        ValueKind::Integer {
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
        ValueKind::Integer {
            min: 1,
            max: 65_535,
        },
        "Header fields in one request.",
    )
    .or(Default::Integer(1000)),
    Key::new(
        "underscores_in_headers",
        ValueKind::Boolean,
        "Whether headers with underscores in their names are kept, not dropped as if they were \
         not there (`underscores_in_headers`). Those of gRPC calls are kept in any case.",
    )
    .or(Default::Boolean(false)),
    Key::new(
        "request_headers",
        ValueKind::Table(&HEADERS),
        "Changes to the header of requests on their way to upstreams (`proxy_set_header`). Those of `[server]`, \
         `[[listen]]` and `[[route]]` are united: of each header, the nearest that names it counts.",
    ),
    Key::new(
        "response_headers",
        RESPONSE_HEADER_TABLES,
        "Changes to the header of every answer, errors of our own among them (`add_header`). Those of `[server]`, \
         `[[listen]]` and `[[route]]` are united: of each header, the nearest that names it counts.",
    ),
    Key::new(
        "expires",
        EXPIRES,
        "How long clients may keep an answer, as `Cache-Control` says it (`expires`): `\"30d\"`, `\"max\"` (ten years), \
         `\"no-cache\"` (they ask again each time; nginx's `\"epoch\"`), or `false` for what the server says. Errors are left \
         as they are.",
    ),
    Key::new(
        "compression",
        COMPRESSION,
        "Whether answers are compressed for clients that take it (`gzip`, `brotli`): `true`, or a table that says more.",
    )
    .or(Default::Boolean(false)),
    Key::new(
        "gunzip",
        ValueKind::Boolean,
        "Whether answers in gzip are decompressed for clients that do not take it (`gunzip`).",
    )
    .or(Default::Boolean(false)),
];
