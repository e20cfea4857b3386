//! `acme` of a listener's `tls`.

use super::TEXTS;
use crate::config::key::{Default, Key, Table, ValueKind};
use crate::config::model::KeyType;

pub(in crate::config) static ACME: Table = Table {
    title: "acme",
    doc: "Certificates that are ordered and renewed by themselves (RFC 8555), one for each domain: \
          `tls = { acme = { email = \"ops@example.com\" } }`. Whoever has it agrees to the authority's terms. \
          See `docs/tls.md`.",
    groups: &[&[
        Key::new(
            "domains",
            TEXTS,
            "The names, each with a certificate of its own. Without them, each `host` of the listener's routes that is \
             a plain name. Wildcards cannot be had: they need DNS-01.",
        ),
        Key::new(
            "email",
            ValueKind::Text,
            "Where the authority may write to (`acme_issuer contact`).",
        ),
        Key::new(
            "directory",
            ValueKind::Text,
            "The authority: the URL of its directory, `\"letsencrypt\"` or `\"letsencrypt-staging\"`, whose \
             certificates nobody trusts and whose limits are wide: to try with.",
        )
        .or(Default::Text("letsencrypt")),
        Key::new(
            "store",
            ValueKind::Text,
            "A directory for keys and certificates, which several processes may share. Without it, `acme` below \
             `$STATE_DIRECTORY` (systemd's), or else beside this file.",
        ),
        Key::new(
            "challenges",
            ValueKind::List(&ValueKind::Word(&["http-01", "tls-alpn-01"])),
            "How a domain is shown to be ours, best first. Without it `http-01` where there is a listener without TLS, \
             then `tls-alpn-01`; the other way round where only the listener with TLS has its usual port.",
        ),
        Key::new(
            "key_type",
            ValueKind::Word(&KeyType::SPELLINGS),
            "The keys that certificates are made out for (`key` of `acme_certificate`). Another one is ordered for by \
             the reload, or start, that changes it.",
        )
        .or(Default::Text("ecdsa")),
        Key::new(
            "eab",
            ValueKind::Table(&EAB),
            "The account elsewhere that the authority wants named.",
        ),
        Key::new(
            "trusted_certificate",
            ValueKind::Text,
            "PEM file with the authorities that the directory's own certificate is verified by. Without it, those that \
             the system trusts.",
        ),
    ]],
    open: false,
};

pub(in crate::config) static EAB: Table = Table {
    title: "eab",
    doc: "External account binding (RFC 8555 section 7.3.4): what the authority gave you for it.",
    groups: &[&[
        Key::new("kid", ValueKind::Text, "The key's identifier.").required(),
        Key::new(
            "key",
            ValueKind::Text,
            "The key, in base64url: `\"${env:EAB_KEY}\"` keeps it out of the file.",
        )
        .required(),
    ]],
    open: false,
};
