//! `servers_from` of `[upstream.NAME]`.

use super::{TTL, WAIT};
use crate::config::key::{Default, Key, Table, ValueKind};

pub(in crate::config) static SERVER_SOURCE: Table = Table {
    title: "servers_from",
    doc: "Where an upstream's servers are listed, beside its `servers`. It has one of `file`, `http`, `etcd`, `consul` and \
          `kubernetes`. See `docs/discovery.md`.",
    groups: &[&[
        Key::new(
            "file",
            ValueKind::Text,
            "A file that is watched: TOML with `servers` as they stand here, or JSON with the same where its name does not end \
             in `.toml`.",
        ),
        Key::new(
            "http",
            ValueKind::Text,
            "A URL whose answer is such JSON, asked for every `interval`. Redirects are not followed.",
        ),
        Key::new("interval", TTL, "Of `http`: how often it is asked for.").or(Default::Text("10s")),
        Key::new(
            "etcd",
            ValueKind::Text,
            "The URL of etcd, version 3.4 or later. The value of each key below `prefix` is a server.",
        ),
        Key::new("prefix", ValueKind::Text, "Of `etcd`: what the keys begin with."),
        Key::new(
            "consul",
            ValueKind::Text,
            "The URL of a Consul agent. Its healthy instances of a `service` are servers.",
        ),
        Key::new(
            "service",
            ValueKind::Text,
            "Of `consul`: the service's name.",
        ),
        Key::new("tag", ValueKind::Text, "Of `consul`: only instances with this tag."),
        Key::new(
            "passing",
            ValueKind::Boolean,
            "Of `consul`: only instances that pass all their checks. `false` takes those with warnings as well.",
        )
        .or(Default::Boolean(true)),
        Key::new(
            "datacenter",
            ValueKind::Text,
            "Of `consul`: another datacenter than that of the agent.",
        ),
        Key::new(
            "kubernetes",
            ValueKind::Text,
            "The name of a Kubernetes service, whose endpoints are servers.",
        ),
        Key::new(
            "namespace",
            ValueKind::Text,
            "Of `kubernetes`: the service's namespace. That of the pod, or else `default`.",
        ),
        Key::new(
            "port",
            ValueKind::Either(&[
                ValueKind::Text,
                ValueKind::Integer {
                    min: 1,
                    max: 65_535,
                },
            ]),
            "Of `kubernetes`: the port of the endpoints, by name or number. Not needed where there is only one.",
        ),
        Key::new(
            "api",
            ValueKind::Text,
            "Of `kubernetes`: the URL of the API server, with `token_file` and `ca`. In a pod they are known.",
        ),
        Key::new(
            "token_file",
            ValueKind::Text,
            "A file with the token to ask with, read anew with each request: `Authorization: Bearer`, for Consul \
             `X-Consul-Token`.",
        ),
        Key::new(
            "ca",
            ValueKind::Text,
            "PEM file of the authorities that an `https` URL is verified by; those of the system without it.",
        ),
        Key::new(
            "timeout",
            WAIT,
            "Time for a connection and an answer together.",
        )
        .or(Default::Text("10s")),
        Key::new(
            "allow_empty",
            ValueKind::Boolean,
            "Whether a list without servers counts. Otherwise the servers before it stay.",
        )
        .or(Default::Boolean(false)),
        Key::new(
            "keep",
            ValueKind::Text,
            "A file in which the last good list is kept, for a start at which there is no answer.",
        ),
    ]],
    open: false,
};
