//! `compression` and `gunzip`, of listeners and of routes.

use super::TEXTS;
use crate::config::key::{Default, Key, Table, ValueKind};

/// What stands in `[server]`, `[[listen]]` and `[[route]]`.
pub(in crate::config) const COMPRESSION: ValueKind =
    ValueKind::Either(&[ValueKind::Boolean, ValueKind::Table(&COMPRESSION_TABLE)]);

pub(in crate::config) const CODINGS: &[&str] = &["zstd", "br", "gzip"];

/// Media types that are compressed without being asked for.
pub(crate) const COMPRESSED_TYPES: &[&str] = &[
    "text/*",
    "application/json",
    "application/*+json",
    "application/javascript",
    "application/x-javascript",
    "application/xml",
    "application/*+xml",
    "application/wasm",
    "application/x-ndjson",
    "application/vnd.ms-fontobject",
    "font/otf",
    "font/ttf",
    "image/bmp",
    "image/svg+xml",
    "image/vnd.microsoft.icon",
    "image/x-icon",
];

pub(in crate::config) static COMPRESSION_TABLE: Table = Table {
    title: "compression",
    doc: "Which answers are compressed, and how; `true` is the same as a table with nothing in it. Of answers that are \
          compressed already, that are a part of something (206) or that say `Cache-Control: no-transform`, none is. See \
          [compression.md](compression.md).",
    groups: &[&[
        Key::new(
            "codings",
            ValueKind::List(&ValueKind::Word(CODINGS)),
            "What is offered (`gzip`, `brotli`, `zstd`). The client chooses; of those that it likes as much, the first is taken.",
        )
        .or(Default::Words(CODINGS)),
        Key::new(
            "types",
            TEXTS,
            "Media types that are worth it (`gzip_types`); `*` stands for anything, once in each.",
        )
        .or(Default::Words(COMPRESSED_TYPES)),
        Key::new(
            "min_length",
            ValueKind::Size {
                min: 0,
                max: 1 << 30,
            },
            "Bodies that are known to be shorter are left as they are (`gzip_min_length`, 20).",
        )
        .or(Default::Text("1k")),
        Key::new(
            "gzip_level",
            ValueKind::Integer { min: 1, max: 9 },
            "From the quickest to the smallest (`gzip_comp_level`, 1).",
        )
        .or(Default::Integer(5)),
        Key::new(
            "brotli_level",
            ValueKind::Integer { min: 1, max: 9 },
            "From the quickest to the smallest (`brotli_comp_level`, 6). Higher ones are for files that are compressed once.",
        )
        .or(Default::Integer(4)),
        Key::new(
            "zstd_level",
            ValueKind::Integer { min: 1, max: 9 },
            "From the quickest to the smallest (`zstd_comp_level`, 1).",
        )
        .or(Default::Integer(3)),
    ]],
    open: false,
};
