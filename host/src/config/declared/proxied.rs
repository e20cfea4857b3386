//! The keys of a `[[route]]` that go with its `proxy`: what is sent in place of what the client has
//! sent, and what becomes of what the server says of itself.

use super::TEXT_OR_TEXTS;
use crate::config::key::{Key, Table, ValueKind};

pub(super) const STRIP_PREFIX: Key = Key::new(
    "strip_prefix",
    ValueKind::Either(&[ValueKind::Boolean, ValueKind::Text]),
    "What is taken off the front of the path on its way to the server: `true` for what `path` says, or a text such as \
     `\"/api\"`; whole segments only, so `/api` of `/api/x` and not of `/apix`. Redirects of the server get it back.",
);

pub(super) const ADD_PREFIX: Key = Key::new(
    "add_prefix",
    ValueKind::Text,
    "What is put before the path on its way to the server, behind what `strip_prefix` has taken off: `\"/v1\"`.",
);

pub(super) const PROXY_REDIRECT: Key = Key::new(
    "proxy_redirect",
    ValueKind::Either(&[ValueKind::Off, ValueKind::Named(&ValueKind::Text)]),
    "What becomes of a server's redirects: a table of beginnings of `Location` and `Refresh`, \
     and what takes their place; both may have variables. With `~regex` or `~*regex` (any case), the whole is replaced. The \
     first that fits counts. `false`: nothing. Without it, what `proxy` says becomes what `path` says.",
);

pub(super) const COOKIES_KEY: Key = Key::new(
    "cookies",
    ValueKind::Table(&COOKIES),
    "What becomes of the cookies that a server sets.",
);

pub(super) const REQUEST_METHOD: Key = Key::new(
    "request_method",
    ValueKind::Text,
    "The method that the server is asked with, whatever the client's is (`proxy_method`); a `HEAD` stays one.",
);

pub(super) const REQUEST_BODY: Key = Key::new(
    "request_body",
    ValueKind::Either(&[ValueKind::Off, ValueKind::Text]),
    "What the server gets in place of the client's body: `false` for none (`proxy_pass_request_body off`), or a text, \
     which may have variables (`proxy_set_body`). The client's is read and dropped.",
);

/// What `flags` of cookies may be.
pub(crate) const COOKIE_FLAGS: &[&str] = &[
    "secure",
    "nosecure",
    "httponly",
    "nohttponly",
    "samesite=strict",
    "samesite=lax",
    "samesite=none",
    "nosamesite",
];

pub(in crate::config) static COOKIES: Table = Table {
    title: "cookies",
    doc: "What becomes of the attributes of cookies that a server sets. What takes the place of something may have \
          variables; of several entries the first that fits counts. See [headers.md](headers.md).",
    groups: &[&[
        Key::new(
            "domain",
            ValueKind::Named(&ValueKind::Text),
            "Values of `Domain`, and what takes their place (`proxy_cookie_domain`): `{ \"app.internal\" = \
             \"example.com\" }`. A `~regex` fits where it finds something; the whole value is replaced. Case makes no \
             difference.",
        ),
        Key::new(
            "path",
            ValueKind::Named(&ValueKind::Text),
            "What `Path` begins with, and what takes its place (`proxy_cookie_path`): `{ \"/app/\" = \"/\" }`. With \
             `~regex` or `~*regex` (any case), the whole value is replaced.",
        ),
        Key::new(
            "flags",
            ValueKind::Either(&[
                ValueKind::Text,
                ValueKind::List(&ValueKind::Text),
                ValueKind::Named(&TEXT_OR_TEXTS),
            ]),
            "What cookies have besides (`proxy_cookie_flags`): a list for all of them, `[\"secure\", \"httponly\", \
             \"samesite=lax\"]`, or a table of lists by name, `~regex` or `*` for all others. `nosecure`, `nohttponly` and \
             `nosamesite` take it away.",
        ),
    ]],
    open: false,
};
