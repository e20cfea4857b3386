//! `health_check` and `outliers` of an upstream.

use super::{COUNT, PERCENT, POSITIVE, TEXTS, TIME};
use crate::config::key::{Default, Key, Table, ValueKind};

/// Shorter ones would ask servers for little else.
const PERIOD: ValueKind = ValueKind::Duration {
    min: 100,
    max: 86_400_000,
};
/// A probe that takes longer is none that anyone waits for.
const PROBE: ValueKind = ValueKind::Duration {
    min: 10,
    max: 3_600_000,
};
/// Whole seconds are what the end of an ejection is shown in.
const EJECTION: ValueKind = ValueKind::Duration {
    min: 1_000,
    max: 86_400_000,
};

pub(in crate::config) static HEALTH_CHECK: Table = Table {
    title: "health_check",
    doc: "How servers are asked whether they are well: as they get requests, by TLS, HTTP/2 and with a PROXY header \
          where the upstream has these. `true` is the same as a table with nothing in it. Words in parentheses are \
          those of nginx Plus.",
    groups: &[&[
        Key::new(
            "protocol",
            ValueKind::Word(&["http", "grpc", "tcp"]),
            "A request; a call of `grpc.health.v1.Health/Check` (`type=grpc`), for which the upstream needs `http2`; or \
             a connection, with TLS its handshake.",
        )
        .or(Default::Text("http")),
        Key::new("method", ValueKind::Word(&["GET", "HEAD"]), "Of the request.")
            .or(Default::Text("GET")),
        Key::new("path", ValueKind::Text, "What is asked for, its query included (`uri`).")
            .or(Default::Text("/")),
        Key::new(
            "host",
            ValueKind::Text,
            "Its `Host`. Without it, the server as it is spelled in `servers`.",
        ),
        Key::new(
            "headers",
            ValueKind::Named(&ValueKind::Text),
            "Its further fields (`proxy_set_header`), by name.",
        ),
        Key::new(
            "expect_status",
            TEXTS,
            "Status codes of a server that is well, ranges and classes of them (`match`, `status`): `\"204\"`, \
             `\"200-299\"`, `\"2xx\"`.",
        )
        .or(Default::Words(&["2xx", "3xx"])),
        Key::new(
            "expect_body",
            ValueKind::Text,
            "A regular expression that the first 64 KiB of the body have to match (`match`, `body ~`, 256 KiB).",
        ),
        Key::new(
            "service",
            ValueKind::Text,
            "The service that a call asks about (`grpc_service`). Empty: the server as a whole.",
        )
        .or(Default::Text("")),
        Key::new(
            "interval",
            PERIOD,
            "From the beginning of one probe to that of the next (`interval`). The first ones are spread over it where \
             servers are many.",
        )
        .or(Default::Text("5s")),
        Key::new(
            "jitter",
            TIME,
            "Each pause is longer by a part of this, drawn anew each time (`jitter`).",
        )
        .or(Default::Text("0s")),
        Key::new(
            "timeout",
            PROBE,
            "For a probe as a whole: connection, handshake, request and answer (`health_check_timeout`).",
        )
        .or(Default::Text("2s")),
        Key::new(
            "rise",
            POSITIVE,
            "Probes that go well in a row until a server gets requests again (`passes`, 1).",
        )
        .or(Default::Integer(2)),
        Key::new(
            "fall",
            POSITIVE,
            "Probes that go wrong in a row until it gets no more (`fails`, 1).",
        )
        .or(Default::Integer(3)),
        Key::new(
            "port",
            ValueKind::Integer { min: 1, max: 65_535 },
            "Where probes go to, if not to the server's own port (`port`).",
        ),
        Key::new(
            "initial",
            ValueKind::Word(&["up", "down"]),
            "Whether a server that is new gets requests before its first probes (`mandatory` is `\"down\"`).",
        )
        .or(Default::Text("up")),
    ]],
    open: false,
};

pub(in crate::config) static OUTLIERS: Table = Table {
    title: "outliers",
    doc: "Which servers are ejected: they get no requests for a while. `true` is the same as a table with nothing in it. \
          Words in parentheses are those of Envoy's `outlier_detection`.",
    groups: &[&[
        Key::new("interval", PERIOD, "In which attempts are counted (`interval`).")
            .or(Default::Text("10s")),
        Key::new(
            "error_rate",
            PERCENT,
            "Percent of a server's attempts in an interval that fail or are answered with 5xx, from which on it is \
             ejected (`failure_percentage_threshold`, 85). Zero: never.",
        )
        .or(Default::Integer(50)),
        Key::new(
            "latency",
            COUNT,
            "A server is ejected whose time to the response header is so many times the median of its peers'. Zero: none \
             ever is.",
        )
        .or(Default::Integer(0)),
        Key::new(
            "min_attempts",
            POSITIVE,
            "A server with fewer attempts in an interval is not judged (`failure_percentage_request_volume`, 50).",
        )
        .or(Default::Integer(20)),
        Key::new(
            "ejection_time",
            EJECTION,
            "For the first ejection; twice that for the second in a row, and so on (`base_ejection_time`).",
        )
        .or(Default::Text("30s")),
        Key::new(
            "max_ejection_time",
            EJECTION,
            "For each ejection at most (`max_ejection_time`).",
        )
        .or(Default::Text("5m")),
        Key::new(
            "max_ejected",
            PERCENT,
            "Percent of the servers that may be ejected at a time; one may be in any case, where there are others \
             (`max_ejection_percent`, `always_eject_one_host`).",
        )
        .or(Default::Integer(10)),
    ]],
    open: false,
};
