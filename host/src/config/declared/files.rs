//! `files`: what a route says of the directory that it answers with.

use super::{TEXT_OR_TEXTS, TEXTS, TIME, WAIT};
use crate::config::key::{Default, Key, Table, ValueKind};

/// A directory alone, or all that can be said of it.
pub(in crate::config) const FILES: ValueKind =
    ValueKind::Either(&[ValueKind::Text, ValueKind::Table(&FILES_TABLE)]);

pub(in crate::config) static FILES_TABLE: Table = Table {
    title: "files",
    doc: "Answers with the files of a directory, to GET and HEAD. `files = \"/srv/app\"` is the same as a table with \
          that `root`.",
    groups: &[&[
        Key::new(
            "root",
            ValueKind::Text,
            "The directory, relative to this file (`root`, `alias`). What a path asks for is never looked for outside \
             of it. It may be a link that changes.",
        )
        .required(),
        Key::new(
            "file",
            ValueKind::Text,
            "The one file below the root that is the answer, whatever the path is: `\"/index.html\"` (`alias` of a \
             file, `try_files /index.html =404`).",
        ),
        Key::new(
            "strip_prefix",
            ValueKind::Boolean,
            "The part that `path` matched is left out (`alias`): `/static/a.css` is `a.css` below the root of a route \
             with `path = \"/static/\"`. `false`: the whole path is looked for (`root`), as it always is where `path` \
             is a regex.",
        )
        .or(Default::Boolean(true)),
        Key::new(
            "index",
            TEXT_OR_TEXTS,
            "What stands for a directory, the first that is there (`index`). With an empty list, and without \
             `autoindex`, directories are not there (`try_files $uri =404`).",
        )
        .or(Default::Words(&["index.html"])),
        Key::new(
            "suffixes",
            TEXTS,
            "What is tried behind a name that is no file, before it is taken for a directory: `[\".html\"]` is `try_files \
             $uri $uri.html`, `[\"/index.html\"]` is `try_files $uri $uri/index.html`.",
        )
        .or(Default::Words(&[])),
        Key::new(
            "fallback",
            ValueKind::Either(&[ValueKind::Text, ValueKind::Integer { min: 400, max: 599 }]),
            "What is served where there is no file (`try_files`): another one below the root, `\"/index.html\"`; the \
             route of a name, `\"@app\"`; or a status. Without it: 404.",
        ),
        Key::new(
            "autoindex",
            ValueKind::Either(&[ValueKind::Boolean, ValueKind::Word(&["html", "json"])]),
            "Lists a directory without an index (`autoindex`, `autoindex_format`); `true` is `\"html\"`.",
        )
        .or(Default::Boolean(false)),
        Key::new(
            "expires",
            ValueKind::Either(&[ValueKind::Off, ValueKind::Text]),
            "How long clients may keep a file, as in `expires` of the route, before which it comes: `\"30d\"`, `\"max\"` (ten \
             years), `\"no-cache\"` (they ask each time whether it has changed), or `false`.",
        ),
        Key::new(
            "precompressed",
            TEXTS,
            "Codings of files that lie compressed beside the others, in the order in which they are preferred: \
             `\"br\"` (`.br`), `\"zstd\"` (`.zst`), `\"gzip\"` (`.gz`; `gzip_static`).",
        )
        .or(Default::Words(&[])),
        Key::new(
            "follow_links",
            ValueKind::Boolean,
            "Links may lead out of the root (`disable_symlinks off`). Those that stay below it are followed in any \
             case.",
        )
        .or(Default::Boolean(false)),
        Key::new(
            "hidden",
            ValueKind::Boolean,
            "Names that begin with a dot are served. Without it, `.well-known` alone is.",
        )
        .or(Default::Boolean(false)),
        Key::new(
            "types",
            ValueKind::Named(&ValueKind::Text),
            "Media types by the ending of a name, before those that are known: \
             `{ wasm = \"application/wasm\" }` (`types`).",
        ),
        Key::new(
            "default_type",
            ValueKind::Text,
            "The media type of endings that are not known (`default_type`).",
        )
        .or(Default::Text("application/octet-stream")),
        Key::new(
            "charset",
            ValueKind::Text,
            "Of types that are text (`charset`). Empty: none is named.",
        )
        .or(Default::Text("utf-8")),
        Key::new(
            "open_file_cache",
            TIME,
            "How long an open file is taken for what its name stands for (`open_file_cache_valid`). Zero: it is opened \
             for each request.",
        )
        .or(Default::Text("1s")),
        Key::new(
            "timeout",
            WAIT,
            "For opening a file, and for reading each piece of it: a file system that does not answer is a 504.",
        )
        .or(Default::Text("10s")),
    ]],
    open: false,
};
