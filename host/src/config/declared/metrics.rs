//! `[metrics]`: what is counted for those who watch.

use super::TEXTS;
use crate::config::key::{Default, Key, Table, ValueKind};

pub(in crate::config) static METRICS: Table = Table {
    title: "[metrics]",
    doc: "What is counted for Prometheus, which `GET /metrics` of `[admin]` tells, or a route with `metrics = true`: see \
          `docs/metrics.md`. Counting is always on. All of this is fixed while the process lives.",
    groups: &[&[
        Key::new(
            "buckets",
            TEXTS,
            "Upper bounds of the buckets that times are counted in, ascending, 24 at most.",
        )
        .or(Default::Words(&[
            "5ms", "10ms", "25ms", "50ms", "100ms", "250ms", "500ms", "1s", "2500ms", "5s", "10s",
        ])),
        Key::new(
            "endpoints",
            ValueKind::Integer {
                min: 0,
                max: 1_000_000,
            },
            "Servers with figures of their own at most. Those beyond are counted together, as `other` of their upstream.",
        )
        .or(Default::Integer(1000)),
        Key::new(
            "named_upstreams",
            ValueKind::Integer {
                min: 0,
                max: 1_000_000,
            },
            "Upstreams that requests name (`proxy_allow`) with figures of their own at most. Those beyond are counted \
             together, as `other`.",
        )
        .or(Default::Integer(100)),
    ]],
    open: false,
};
