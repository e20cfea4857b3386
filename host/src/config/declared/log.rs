//! `access_log` and `error_log`, of listeners, routes and streams.

use super::TEXT_OR_TEXTS;
use super::route::REQUEST_CONDITIONS;
use crate::config::key::{Default, Key, Table, ValueKind};

const A_LOG: ValueKind = ValueKind::Either(&[ValueKind::Text, ValueKind::Table(&ACCESS_LOG)]);
const A_LOG_OF_STREAM: ValueKind =
    ValueKind::Either(&[ValueKind::Text, ValueKind::Table(&STREAM_LOG)]);

pub(super) const LOG: ValueKind = ValueKind::Either(&[
    ValueKind::Off,
    ValueKind::Text,
    ValueKind::Table(&ACCESS_LOG),
    ValueKind::List(&A_LOG),
]);
pub(super) const LOG_OF_STREAM: ValueKind = ValueKind::Either(&[
    ValueKind::Off,
    ValueKind::Text,
    ValueKind::Table(&STREAM_LOG),
    ValueKind::List(&A_LOG_OF_STREAM),
]);

/// What one log is, whatever it is about.
const PATH: Key =
    Key::new("path", ValueKind::Text, "A file, `stdout` or `stderr`.").or(Default::Text("stdout"));

const HOW: &[Key] = &[
    Key::new(
        "fields",
        ValueKind::Named(&ValueKind::Text),
        "In place of `format`: each line is a JSON object of these members, in this order: \
         `{ time = \"$time_iso8601\", status = \"$status\" }`. A variable alone that is a figure is a number, or `null`; \
         all others are strings.",
    ),
    Key::new(
        "escape",
        ValueKind::Word(&["default", "json", "none"]),
        "With a `format` of your own, what becomes of values: `\"default\"` writes `\\xXX` for what is not printable, and \
         `-` for what is not there; `\"json\"` escapes as within a JSON string, `\"none\"` not at all, and both write \
         nothing for what is not there (`escape=`).",
    )
    .or(Default::Text("default")),
    Key::new(
        "sample",
        ValueKind::Text,
        "The share of those that have a line, as `\"1%\"`, drawn for each, with two decimals at most. Several logs \
         agree: what is among 1% in one is among 10% in another.",
    )
    .or(Default::Text("100%")),
    Key::new(
        "buffer",
        ValueKind::Size {
            min: 0,
            max: 1 << 20,
        },
        "Bytes of one worker's lines at which they are written (`buffer=`). Zero: each at once.",
    )
    .or(Default::Text("32k")),
    Key::new(
        "flush",
        ValueKind::Duration {
            min: 1_000,
            max: super::DAY,
        },
        "Age at which they are, however few they are, counted by the second (`flush=`).",
    )
    .or(Default::Text("1s")),
];

pub(in crate::config) static ACCESS_LOG: Table = Table {
    title: "access_log",
    doc: "A path alone is the same as a table with only that `path`. Lines are written in batches: \
          a request's line is in the file within two seconds of its end, unless `flush` says otherwise, \
          and those of different workers are not in order.",
    groups: &[
        &[
            PATH,
            Key::new(
                "format",
                ValueKind::Text,
                "`combined`, `upstream` (that, and behind it the time of the request, and the server, the status and the time \
                 of each attempt), `json`, or a format of your own with nginx's variables: `\"$remote_addr $status\"`.",
            )
            .or(Default::Text("combined")),
            Key::new(
                "when",
                ValueKind::Table(&LOG_WHEN),
                "What has to hold for a request to have a line (`if=`): `{ status = [\"4xx\", \"5xx\"] }`.",
            ),
        ],
        HOW,
    ],
    open: false,
};

pub(in crate::config) static STREAM_LOG: Table = Table {
    title: "access_log of a stream",
    doc: "A path alone is the same as a table with only that `path`. Lines are written as those of \
          requests are.",
    groups: &[
        &[
            PATH,
            Key::new(
                "format",
                ValueKind::Text,
                "`json`, or a format of your own with the variables of streams: see `docs/streams.md`.",
            )
            .or(Default::Text(STREAM_LOG_FORMAT)),
            Key::new(
                "when",
                ValueKind::Table(&STREAM_LOG_WHEN),
                "What has to hold for a session to have a line (`if=`): `{ status = \"5xx\" }`.",
            ),
        ],
        HOW,
    ],
    open: false,
};

/// nginx has none by default; this is the one that its documentation begins with.
pub(in crate::config) const STREAM_LOG_FORMAT: &str = "$remote_addr [$time_local] $protocol $status $bytes_sent $bytes_received $session_time \"$upstream_addr\"";

const A_STATUS: ValueKind =
    ValueKind::Either(&[ValueKind::Text, ValueKind::Integer { min: 100, max: 599 }]);
const STATUS: Key = Key::new(
    "status",
    ValueKind::Either(&[
        ValueKind::Text,
        ValueKind::Integer { min: 100, max: 599 },
        ValueKind::List(&A_STATUS),
    ]),
    "The status is one of these: `404`, `\"5xx\"`.",
);

pub(in crate::config) static LOG_WHEN: Table = Table {
    title: "when of a log",
    doc: "What has to hold for a request to have a line: all of it, once it has ended. As in `when` of a route, `!` \
          before a value says what it must not be.",
    groups: &[
        &[
            STATUS,
            Key::new(
                "path",
                TEXT_OR_TEXTS,
                "The path is one of these, as in `path` of a route: `/prefix`, `= /exact`, `~ regex`, `~* regex`; \
                 `\"!/health\"` for all others.",
            ),
        ],
        REQUEST_CONDITIONS,
    ],
    open: false,
};

pub(in crate::config) static STREAM_LOG_WHEN: Table = Table {
    title: "when of a stream's log",
    doc: "What has to hold for a session to have a line: all of it, once it has ended.",
    groups: &[&[
        STATUS,
        Key::new(
            "variable",
            ValueKind::Named(&TEXT_OR_TEXTS),
            "Variables of streams, by name without `$`, as in `when` of a route.",
        ),
        Key::new(
            "client",
            TEXT_OR_TEXTS,
            "The client's address is in one of these networks, and in none with `!` before it.",
        ),
    ]],
    open: false,
};

pub(in crate::config) static ERROR_LOG: Table = Table {
    title: "error_log",
    doc: "A path alone is the same as a table with only that `path`.",
    groups: &[&[
        Key::new("path", ValueKind::Text, "A file, `stdout` or `stderr`.")
            .or(Default::Text("stderr")),
        Key::new(
            "level",
            ValueKind::Word(&["error", "warn", "info", "debug"]),
            "The least important level that is logged (nginx: `error`).",
        )
        .or(Default::Text("info")),
    ]],
    open: false,
};
