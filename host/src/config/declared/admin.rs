//! `[admin]`.

use super::tls::TLS;
use crate::config::key::{Key, Table, ValueKind};
use crate::config::model::Role;

pub(in crate::config) static ADMIN: Table = Table {
    title: "[admin]",
    doc: "Where `waypost status`, `reload`, `plugin`, `upstream` and others reach a running process. Without it, nowhere. \
          Without `tokens`, whoever can connect may do all of it: see `docs/admin.md`.",
    groups: &[&[
        Key::new(
            "address",
            ValueKind::Text,
            "`unix:/run/waypost/admin.sock`, `127.0.0.1:9180` or `[::1]:9180`: a unix socket, or an address with its \
             port. One that is not loopback wants `tls` and `tokens`.",
        )
        .required(),
        Key::new(
            "tls",
            ValueKind::Table(&TLS),
            "Clients speak TLS, with the keys of a listener's `tls`.",
        ),
        Key::new(
            "tokens",
            ValueKind::List(&ValueKind::Table(&TOKEN)),
            "Over TCP, a client shows one of these (`Authorization: Bearer`). Over a unix socket its mode says who may.",
        ),
        Key::new(
            "audit",
            ValueKind::Text,
            "A file that gets a line of JSON for each action: who, from where, what, and what came of it. Without it, \
             they are lines of the error log.",
        ),
    ]],
    open: false,
};

pub(in crate::config) static TOKEN: Table = Table {
    title: "[[admin.tokens]]",
    doc: "A secret that a client of the admin API shows. `waypost token NAME` makes one, and prints the table.",
    groups: &[&[
        Key::new(
            "name",
            ValueKind::Text,
            "Whom it is given to: what the audit says.",
        )
        .required(),
        Key::new(
            "role",
            ValueKind::Word(Role::WORDS),
            "`read` sees everything and changes nothing, `operate` may do everything.",
        )
        .required(),
        Key::new(
            "sha256",
            ValueKind::Text,
            "The SHA-256 of the token, in 64 hexadecimal digits.",
        )
        .required(),
    ]],
    open: false,
};
