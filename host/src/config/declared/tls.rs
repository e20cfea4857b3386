//! TLS on either side.

use super::{ACME, COUNT, POSITIVE, SECOND, TEXTS, WAIT};
use crate::config::key::{Default, Key, Table, ValueKind};

const VERSION: ValueKind = ValueKind::Word(&["1.2", "1.3"]);

/// What is said of one certificate, in `tls` itself or in one of its `certificates`.
static CERTIFICATE_KEYS: &[Key] = &[
    Key::new(
        "certificate",
        ValueKind::Text,
        "PEM file, relative to this one, with the certificate and then the intermediate ones (`ssl_certificate`).",
    ),
    Key::new(
        "key",
        ValueKind::Text,
        "PEM file with its private key: RSA, ECDSA or Ed25519, in PKCS#8, PKCS#1 or SEC1 (`ssl_certificate_key`).",
    ),
    Key::new(
        "ocsp",
        ValueKind::Text,
        "DER file with an OCSP response, which is stapled (`ssl_stapling_file`).",
    ),
    Key::new(
        "names",
        TEXTS,
        "For whom it is shown: `example.com`, `*.example.com` (one label). Without them, for whom it is made out.",
    ),
];

pub(in crate::config) static TLS: Table = Table {
    title: "tls",
    doc: "TLS to clients: `tls = { certificate = \"a.pem\", key = \"a.key\" }`. See `docs/tls.md`.",
    groups: &[
        CERTIFICATE_KEYS,
        &[
            Key::new(
                "certificates",
                ValueKind::List(&ValueKind::Table(&CERTIFICATE)),
                "Further certificates, chosen by the name that a client asks for: exact before wildcard, else the first \
                 of all. Several of one name: the first whose key the client can check.",
            ),
            Key::new(
                "acme",
                ValueKind::Table(&ACME),
                "Certificates that are ordered and renewed by themselves (`acme_certificate`).",
            ),
            Key::new(
                "unknown_names",
                ValueKind::Word(&["default", "refuse"]),
                "A client that asks for a name without a certificate gets the first one, or the alert \
                 `unrecognized_name` (`ssl_reject_handshake`).",
            )
            .or(Default::Text("default")),
            Key::new("min_version", VERSION, "Oldest version spoken (`ssl_protocols`).")
                .or(Default::Text("1.2")),
            Key::new("max_version", VERSION, "Newest version spoken.").or(Default::Text("1.3")),
            Key::new(
                "ciphers",
                TEXTS,
                "Suites by OpenSSL's or IANA's names, best first (`ssl_ciphers`). A version of which none is named \
                 keeps all of its own.",
            ),
            Key::new(
                "session_tickets",
                ValueKind::Boolean,
                "Resumption by tickets, whose keys are changed every `session_timeout` (`ssl_session_tickets`).",
            )
            .or(Default::Boolean(true)),
            Key::new(
                "session_timeout",
                ValueKind::Duration { min: SECOND, max: 7 * super::DAY },
                "How long a session can be resumed (`ssl_session_timeout`). Whole seconds.",
            )
            .or(Default::Text("5m")),
            Key::new(
                "session_cache",
                ValueKind::Integer { min: 0, max: 10_000_000 },
                "Sessions kept for clients without tickets, in all workers (`ssl_session_cache`). Zero keeps none.",
            )
            .or(Default::Integer(10_000)),
            Key::new(
                "client_certificate",
                ValueKind::Word(&["off", "optional", "require"]),
                "Whether clients are asked for a certificate (`ssl_verify_client`). Whoever shows none where one is \
                 required, or an invalid one, gets 400.",
            )
            .or(Default::Text("off")),
            Key::new(
                "client_ca",
                ValueKind::Text,
                "PEM file with the authorities of client certificates (`ssl_client_certificate`).",
            ),
            Key::new(
                "client_crl",
                ValueKind::Text,
                "PEM file with the CRLs of all of them, intermediate ones included (`ssl_crl`). Where one is missing or \
                 has expired, no certificate of its issuer is valid.",
            ),
            Key::new(
                "handshake_timeout",
                WAIT,
                "Time for the whole handshake (nginx: `client_header_timeout`).",
            )
            .or(Default::Text("60s")),
            Key::new(
                "max_handshakes",
                POSITIVE,
                "Handshakes that are computed side by side, in all workers. More wait for their \
                 turn, within `handshake_timeout`; no turn is held while a client is waited for. \
                 See `docs/tls.md`.",
            )
            .or(Default::Integer(10_000)),
        ],
    ],
    open: false,
};

pub(in crate::config) static CERTIFICATE: Table = Table {
    title: "certificates",
    doc: "One of the `certificates` of a listener's `tls`.",
    groups: &[CERTIFICATE_KEYS],
    open: false,
};

pub(in crate::config) static UPSTREAM_TLS: Table = Table {
    title: "tls (upstream)",
    doc: "TLS to servers. `true` is the same as a table with nothing in it. See `docs/tls.md`.",
    groups: &[&[
        Key::new(
            "verify",
            ValueKind::Boolean,
            "Whether a server's certificate is checked (`proxy_ssl_verify`, off there). `false` lets anyone between \
             here and the server read and change everything.",
        )
        .or(Default::Boolean(true)),
        Key::new(
            "ca",
            ValueKind::Text,
            "PEM file with the authorities that are trusted (`proxy_ssl_trusted_certificate`). Without it, those that \
             the system trusts.",
        ),
        Key::new(
            "crl",
            ValueKind::Text,
            "PEM file with the CRLs of all authorities that servers' certificates come from (`proxy_ssl_crl`).",
        ),
        Key::new(
            "server_name",
            ValueKind::Text,
            "The name that is asked for and checked, in place of each server's host (`proxy_ssl_name`).",
        ),
        Key::new(
            "certificate",
            ValueKind::Text,
            "PEM file with our own certificate, for servers that ask for one (`proxy_ssl_certificate`).",
        ),
        Key::new("key", ValueKind::Text, "PEM file with its private key (`proxy_ssl_certificate_key`)."),
        Key::new("min_version", VERSION, "Oldest version spoken (`proxy_ssl_protocols`).")
            .or(Default::Text("1.2")),
        Key::new(
            "session_cache",
            COUNT,
            "Sessions kept to be resumed, in all workers (`proxy_ssl_session_reuse`). Zero keeps none.",
        )
        .or(Default::Integer(1000)),
    ]],
    open: false,
};
