//! `[store]`: what plugins share.

use super::WAIT;
use crate::config::key::{Default, Key, Table, ValueKind};

pub(in crate::config) static STORE: Table = Table {
    title: "[store]",
    doc: "Counters and values that all instances of a plugin share, in all workers and through \
          reloads: see `docs/store.md`. Plugins use it that have the grant `store`, and stock plugins \
          where their settings say `store = true`.",
    groups: &[&[
        Key::new(
            "size",
            ValueKind::Size {
                min: 64 << 10,
                max: 1 << 40,
            },
            "Bytes that the entries of each plugin may take, where they are in the process. What has \
             no room is refused: nothing is dropped before its time.",
        )
        .or(Default::Text("32m")),
        Key::new(
            "url",
            ValueKind::Text,
            "A Redis or Valkey that several processes share, in place of the process's own memory: \
             `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]`, `rediss://` with TLS, or \
             `unix:PATH`.",
        ),
        Key::new(
            "prefix",
            ValueKind::Text,
            "Of `url`: what all keys begin with. Processes that share nothing have one each.",
        )
        .or(Default::Text("waypost")),
        Key::new(
            "ca",
            ValueKind::Text,
            "Of `url`: PEM file of the authorities that `rediss://` is verified by; those of the \
             system without it.",
        ),
        Key::new(
            "timeout",
            WAIT,
            "Of `url`: how long an answer is waited for. The plugin decides what then.",
        )
        .or(Default::Text("100ms")),
        Key::new(
            "connect_timeout",
            WAIT,
            "Of `url`: time for a connection and a log-in. Meanwhile, and where there is none, \
             requests do not wait.",
        )
        .or(Default::Text("1s")),
    ]],
    open: false,
};
