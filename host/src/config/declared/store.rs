//! `[store]`: what plugins share.

use super::super::key::{Default, Key, Table, ValueKind};

const MIB: u64 = 1 << 20;

pub(in crate::config) static STORE: Table = Table {
    title: "[store]",
    doc: "Counters and values that all instances of a plugin share, in all workers and through \
          reloads: see `docs/store.md`. Plugins use it that have the grant `store`, and stock plugins \
          where their settings say `store = true`.",
    groups: &[&[Key::new(
        "size",
        ValueKind::Size {
            min: 64 << 10,
            max: MIB << 20,
        },
        "Bytes that the entries of each plugin may take. What has no room is refused: nothing is \
         dropped before its time.",
    )
    .or(Default::Text("32m"))]],
    open: false,
};
