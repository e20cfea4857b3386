//! What an upstream does with load that does not fit: `queue`, `limits`, `retry_budget`.

use super::{COUNT, WAIT};
use crate::config::key::{Default, Key, Table, ValueKind};

pub(super) const QUEUE_KEY: Key = Key::new(
    "queue",
    ValueKind::Table(&QUEUE),
    "Requests wait where every server that could be asked has `max_conns` in progress (`queue`). \
     Without it, such a request is a 502 at once.",
);

pub(super) const LIMITS_KEY: Key = Key::new(
    "limits",
    ValueKind::Table(&UPSTREAM_LIMITS),
    "How much may be in progress at all servers together.",
);

pub(super) const RETRY_BUDGET_KEY: Key = Key::new(
    "retry_budget",
    ValueKind::Table(&RETRY_BUDGET),
    "How many requests may be sent to another server after a failure. Without it, as many as \
     `next_upstream` and `next_upstream_tries` allow.",
);

pub(in crate::config) static QUEUE: Table = Table {
    title: "queue",
    doc: "Where requests wait for a server, first come first served in all workers. See \
          `docs/overload.md`.",
    groups: &[&[
        Key::new(
            "size",
            ValueKind::Integer {
                min: 1,
                max: 65_535,
            },
            "Requests that wait at most, in all workers. The next one is a 502.",
        )
        .required(),
        Key::new(
            "timeout",
            WAIT,
            "How long one waits at most; then it is a 502 (`timeout`).",
        )
        .or(Default::Text("60s")),
    ]],
    open: false,
};

pub(in crate::config) static UPSTREAM_LIMITS: Table = Table {
    title: "limits (upstream)",
    doc: "What may be in progress at an upstream, in all workers (Envoy: `circuit_breakers`). \
          Beyond, a request is a 503. See `docs/overload.md`.",
    groups: &[&[
        Key::new(
            "requests",
            COUNT,
            "Requests in progress at most, those that wait in the `queue` aside (Envoy: \
             `max_requests`). Zero is unlimited.",
        )
        .or(Default::Integer(0)),
        Key::new(
            "connections",
            COUNT,
            "Connections open at most, idle ones included (Envoy: `max_connections`). Zero is \
             unlimited.",
        )
        .or(Default::Integer(0)),
        Key::new(
            "client_share",
            ValueKind::Text,
            "Part of the requests in progress, and of the places in the `queue`, that one client \
             address may have, from `\"1%\"` on.",
        )
        .or(Default::Text("100%")),
    ]],
    open: false,
};

pub(in crate::config) static RETRY_BUDGET: Table = Table {
    title: "retry_budget",
    doc: "How many retries there may be, counted by each worker over ten seconds (Envoy: \
          `retry_budget`). See `docs/overload.md`.",
    groups: &[&[
        Key::new(
            "ratio",
            ValueKind::Text,
            "Retries at most, as a part of the requests (Envoy: `budget_percent`).",
        )
        .or(Default::Text("20%")),
        Key::new(
            "min_per_second",
            COUNT,
            "Retries per second that there may be in any case, in each worker.",
        )
        .or(Default::Integer(10)),
    ]],
    open: false,
};
