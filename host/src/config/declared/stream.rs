//! `[[stream]]`: nginx's stream module.

use super::WAIT;
use super::hook::HOOKS;
use super::log::LOG_OF_STREAM;
use super::tls::TLS;
use super::traces::TRACES_OF_STREAM;
use crate::config::key::{Default, Key, Table, ValueKind};

pub(in crate::config) static STREAM: Table = Table {
    title: "[[stream]]",
    doc: "An address whose connections are balanced as they are, whatever protocol they speak (nginx: `server` in \
          `stream`). See `docs/streams.md`.",
    groups: &[&[
        Key::new(
            "address",
            ValueKind::Text,
            "As in `[[listen]]`, with its port: `127.0.0.1:5432`, `unix:/run/x.sock`.",
        )
        .required(),
        Key::new(
            "proxy",
            ValueKind::Text,
            "Where connections go (`proxy_pass`): an upstream's name, or the address of a server that needs no upstream, \
             with its port.",
        )
        .required(),
        Key::new(
            "sni",
            ValueKind::List(&ValueKind::Table(&SNI)),
            "Other upstreams for TLS connections that name one of these hosts (`ssl_preread`). TLS is passed on untouched, \
             unless `tls` ends it here; all other connections go to `proxy`.",
        ),
        Key::new(
            "tls",
            ValueKind::Table(&TLS),
            "TLS ends here (`listen ... ssl`), and the servers get what was inside. The keys are those of `[[listen]]`.",
        ),
        Key::new(
            "idle_timeout",
            WAIT,
            "Time without a byte in either direction until a session is closed (`proxy_timeout`).",
        )
        .or(Default::Text("10m")),
        Key::new(
            "preread_timeout",
            WAIT,
            "Time for what a client says before its connection is passed on: a PROXY header, and the names that `sni` asks \
             for (`proxy_protocol_timeout`, `preread_timeout`).",
        )
        .or(Default::Text("30s")),
        Key::new(
            "proxy_protocol",
            ValueKind::Boolean,
            "As in `[[listen]]`.",
        )
        .or(Default::Boolean(false)),
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
            "access_log",
            LOG_OF_STREAM,
            "Where sessions are logged once they end: a path, a table, a list of both for several logs, or `false`.",
        )
        .or(Default::Boolean(false)),
        Key::new(
            "hooks",
            HOOKS,
            "Hooks that are asked for its connections, in their order. There is no HTTP to ask \
             about, and those of `[server]` are for listeners alone.",
        ),
        Key::new(
            "traces",
            TRACES_OF_STREAM,
            "Whether its sessions are traced, each as one span, or a table with the `sample` of them. Without it, as \
             `[traces]` says.",
        ),
        Key::later("udp", "streams are TCP"),
    ]],
    open: false,
};

pub(in crate::config) static SNI: Table = Table {
    title: "[[stream.sni]]",
    doc: "Where TLS connections to some host go.",
    groups: &[&[
        Key::new(
            "host",
            ValueKind::Text,
            "`a.example`, or `*.example.com` for all names below it. An exact name comes first, then the longest.",
        )
        .required(),
        Key::new("proxy", ValueKind::Text, "As in `[[stream]]`.").required(),
    ]],
    open: false,
};
