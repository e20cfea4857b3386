//! `component`: the WebAssembly component that answers a route's requests.

use super::TEXTS;
use crate::config::key::{Default, Key, Table, ValueKind};

/// A component alone, or all that can be said to it.
pub(super) const COMPONENT: ValueKind =
    ValueKind::Either(&[ValueKind::Text, ValueKind::Table(&COMPONENT_TABLE)]);

pub(in crate::config) static COMPONENT_TABLE: Table = Table {
    title: "component",
    doc: "A component of the world `wasi:http/proxy` 0.2 answers the requests. A text alone is `plugin` where there is a \
          `[plugin.NAME]` of that name, and else `file`.",
    groups: &[&[
        Key::new("plugin", ValueKind::Text, "The name of a `[plugin.NAME]`."),
        Key::new(
            "file",
            ValueKind::Text,
            "The component's file, relative to this file. It is a plugin with nothing else said of it, whose name is the \
             file's without its ending.",
        ),
        Key::new(
            "upstreams",
            TEXTS,
            "The upstreams that it may ask (`wasi:http/outgoing-handler`): `http://NAME/path`. It reaches nothing else.",
        )
        .or(Default::Words(&[])),
        Key::new(
            "environment",
            ValueKind::Named(&ValueKind::Text),
            "What it finds in its environment (`wasi:cli/environment`): `{ GREETING = \"hello\" }`.",
        ),
        Key::new(
            "reuse",
            ValueKind::Boolean,
            "An instance answers one request after the other, and what the program keeps in memory stays. `false`: each \
             request has an instance of its own, as programs may count on.",
        )
        .or(Default::Boolean(false)),
    ]],
    open: false,
};
