//! `[[route]]` and what a route does.

use super::component::COMPONENT;
use super::compression::COMPRESSION;
use super::files::FILES;
use super::hook::HOOKS;
use super::log::LOG;
use super::proxied::{
    ADD_PREFIX, COOKIES_KEY, PROXY_REDIRECT, REQUEST_BODY, REQUEST_METHOD, STRIP_PREFIX,
};
use super::traces::TRACES_THERE;
use super::upstream::{BODY_BUFFER, NEXT_UPSTREAM};
use super::{BODY_SIZE, COUNT, TEXT_OR_TEXTS, TEXTS, TIME, WAIT};
use crate::config::key::{Default, Key, Table, ValueKind};

pub(in crate::config) static ROUTE: Table = Table {
    title: "[[route]]",
    doc: "What is done with the requests of a host and a path. Needs one of `proxy`, `files`, `component`, `return`, `stub_status`, `metrics` and `probe`.",
    groups: &[&[
        Key::new(
            "listen",
            TEXT_OR_TEXTS,
            "Addresses of the listeners that it serves. Without it: all.",
        ),
        Key::new(
            "host",
            TEXT_OR_TEXTS,
            "As `server_name`: `example.com`, `*.example.com`, `.example.com` (both of them), `www.example.*`, or \
             `~regex`. Without it: any host that no other route names.",
        ),
        Key::new(
            "path",
            ValueKind::Text,
            "As `location`: `/prefix`, `= /exact`, `^~ /prefix` (before any regex), `~ regex`, `~* regex` (any case).",
        )
        .or(Default::Text("/")),
        Key::new(
            "when",
            ValueKind::Table(&WHEN),
            "What has to hold beside host and path (`if`, `limit_except`). Of several routes with the same host and \
             path, the first counts whose `when` holds; where none does, the next less specific path.",
        ),
        Key::new(
            "proxy",
            ValueKind::Text,
            "Where requests go: an upstream's name, `http://name/uri/` to replace the part that `path` matched, or \
             `http://127.0.0.1:3000` for a server that needs no upstream. With variables in place of the name, \
             `http://$arg_app.internal:8080`, requests name it, as far as `proxy_allow` has it. A URI with variables is the \
             whole of what is asked for.",
        ),
        Key::new(
            "proxy_allow",
            TEXTS,
            "What variables in `proxy` may name: `app`, `*.internal`, `.internal` (that name too), addresses and networks, \
             `10.0.0.0/8`, or an `[upstream.NAME]`. The port is that of `proxy`, unless the item has one: `app:8080`, \
             `[fd00::/8]:8080`, `*.internal:*` for all.",
        ),
        STRIP_PREFIX,
        ADD_PREFIX,
        PROXY_REDIRECT,
        COOKIES_KEY,
        Key::new(
            "files",
            FILES,
            "The directory whose files are the answer, or a table of it (`root`, `alias`, `try_files`).",
        ),
        Key::new(
            "component",
            COMPONENT,
            "The WebAssembly component that answers (`wasi:http/proxy`): the name of a `[plugin.NAME]`, a file, or a table \
             with more to say.",
        ),
        Key::new("return", ValueKind::Table(&RETURN), "An answer given here."),
        Key::new(
            "stub_status",
            ValueKind::Boolean,
            "`true`: the answer is the counts of connections and requests of the whole process, in nginx's text. Let the \
             hook `access` say who may ask.",
        ),
        Key::new(
            "metrics",
            ValueKind::Boolean,
            "`true`: the answer is all that is counted, in the text that Prometheus reads, as `GET /metrics` of `[admin]` \
             tells it. See `docs/metrics.md`. Let the hook `access` say who may ask.",
        ),
        Key::new(
            "probe",
            ValueKind::Word(&["live", "ready"]),
            "For load balancers and Kubernetes: `\"live\"` answers 200 as long as the process serves, `\"ready\"` 503 from \
             the moment on that it is told to drain (see `shutdown_delay`). Such a route has no access log unless it \
             names one.",
        ),
        Key::new(
            "request_headers",
            ValueKind::Table(&HEADERS),
            "Changes to the request header on its way to the upstream, beside those of `[server]` and `[[listen]]` for \
             other headers. `remove = [\"*\"]` drops all that the client has sent (`proxy_pass_request_headers off`).",
        ),
        REQUEST_METHOD,
        REQUEST_BODY,
        Key::new(
            "response_headers",
        RESPONSE_HEADER_TABLES,
            "Changes to the response header on its way to the client, beside those of `[server]` and `[[listen]]` \
             for other headers.",
        ),
        Key::new(
            "expires",
            EXPIRES,
            "As in `[[listen]]`, for this route alone.",
        ),
        Key::new("access_log", LOG, "As in `[[listen]]`, for this route alone."),
        Key::new(
            "traces",
            TRACES_THERE,
            "As in `[[listen]]`, for this route alone. A request that is led to another one stays as its first route has it.",
        ),
        Key::new(
            "client_max_body_size",
            BODY_SIZE,
            "As in `[[listen]]`, for this route alone. Zero is unlimited.",
        ),
        Key::new(
            "compression",
            COMPRESSION,
            "As in `[[listen]]`, for this route alone.",
        ),
        Key::new(
            "gunzip",
            ValueKind::Boolean,
            "As in `[[listen]]`, for this route alone.",
        ),
        Key::new(
            "connect_timeout",
            WAIT,
            "As in `[upstream.NAME]`, for this route alone; likewise the seven keys behind it.",
        ),
        Key::new("send_timeout", WAIT, "As in `[upstream.NAME]`: to the server."),
        Key::new("read_timeout", WAIT, "As in `[upstream.NAME]`."),
        Key::new("half_close_timeout", TIME, "As in `[upstream.NAME]`."),
        Key::new("next_upstream", NEXT_UPSTREAM, "As in `[upstream.NAME]`."),
        Key::new("next_upstream_tries", COUNT, "As in `[upstream.NAME]`."),
        Key::new("next_upstream_timeout", TIME, "As in `[upstream.NAME]`."),
        Key::new(
            "body_buffer_size",
            BODY_BUFFER,
            "As in `[upstream.NAME]`. Where a `component` answers: what is read of a body before it is called, 16k without this.",
        ),
        Key::new(
            "client_body_timeout",
            WAIT,
            "As in `[[listen]]`, for this route alone.",
        ),
        Key::new(
            "client_send_timeout",
            WAIT,
            "As `send_timeout` in `[[listen]]`, for this route alone.",
        ),
        ERROR_PAGES,
        Key::new(
            "intercept_errors",
            ValueKind::Boolean,
            "As in `[[listen]]`, for this route alone.",
        ),
        Key::new(
            "accel_redirect",
            ValueKind::Boolean,
            "Whether its servers may have another route of the listener answer, internal ones included \
             (`X-Accel-Redirect`).",
        )
        .or(Default::Boolean(false)),
        Key::new(
            "hooks",
            HOOKS,
            "Hooks that are asked for its requests, in their order, behind those of `[server]` \
             and `[[listen]]`.",
        ),
        Key::new(
            "inherit_hooks",
            ValueKind::Boolean,
            "Whether the hooks of `[server]` and `[[listen]]` are asked as well.",
        )
        .or(Default::Boolean(true)),
        Key::new(
            "name",
            ValueKind::Text,
            "By which hooks, `error_pages`, and the `fallback` of `files`, lead to it: of `a-z`, `0-9`, `_` and `-`, \
             64 bytes at most.",
        ),
        Key::new(
            "internal",
            ValueKind::Boolean,
            "Not found by host and path (`internal`): only hooks, `error_pages`, and the `fallback` of `files`, lead to \
             it, by its `name`; and servers with `accel_redirect`, by name or `path`.",
        )
        .or(Default::Boolean(false)),
    ]],
    open: false,
};

pub(in crate::config) static WHEN: Table = Table {
    title: "when",
    doc: "What has to hold for a request to take the route: all of it. A value is a text that it has to be, `\"~regex\"` \
          or `\"~*regex\"` (any case), `\"*\"` (anything but empty) or `\"\"` (empty or not there); with `!` before it, what it \
          must not be, and with `=` a text whatever it begins with. Of a list, it has to be one of those without `!`, and \
          none of those with it.",
    groups: &[REQUEST_CONDITIONS],
    open: false,
};

/// What can be asked of a request.
pub(super) const REQUEST_CONDITIONS: &[Key] = &[
    Key::new(
        "method",
        TEXT_OR_TEXTS,
        "The method is one of these (`limit_except`).",
    ),
    Key::new(
        "header",
        ValueKind::Named(&TEXT_OR_TEXTS),
        "Headers of the request, by name.",
    ),
    Key::new(
        "query",
        ValueKind::Named(&TEXT_OR_TEXTS),
        "Arguments of the query, by name (`$arg_NAME`), as they were received.",
    ),
    Key::new(
        "cookie",
        ValueKind::Named(&TEXT_OR_TEXTS),
        "Cookies, by name.",
    ),
    Key::new(
        "variable",
        ValueKind::Named(&TEXT_OR_TEXTS),
        "Any other variable, by its name without `$`.",
    ),
    Key::new(
        "client",
        TEXT_OR_TEXTS,
        "The client's address is in one of these networks, and in none with `!` before it (`allow`, `deny`).",
    ),
];

pub(in crate::config) static RETURN: Table = Table {
    title: "return",
    doc: "An answer given without asking an upstream.",
    groups: &[&[
        Key::new(
            "status",
            ValueKind::Integer { min: 200, max: 599 },
            "Without it: 302 where there is a `location`, else 200. With a `location`: 301, 302, 303, 307 or 308. \
             444 closes the connection without an answer.",
        ),
        Key::new(
            "location",
            ValueKind::Text,
            "Where to go instead; may have variables. Where these leave it empty, or bring in a control \
             character, the answer is a 500, and the error log says so.",
        ),
        Key::new(
            "body",
            ValueKind::Text,
            "The answer's text; may have variables.",
        ),
        Key::new(
            "content_type",
            ValueKind::Text,
            "`Content-Type` of the body.",
        )
        .or(Default::Text("text/plain")),
    ]],
    open: false,
};

static A_PAGE: ValueKind = ValueKind::Table(&ERROR_PAGE);

/// Of `[server]`, of a listener, of a route.
pub(super) const ERROR_PAGES: Key = Key::new(
    "error_pages",
    ValueKind::Named(&A_PAGE),
    "What clients get for errors, by status (`error_page`): a table with keys such as `404`, `\"502 503 504\"` or `5xx`. \
     A route's come before its listener's, and those before `[server]`'s.",
);

pub(in crate::config) static ERROR_PAGE: Table = Table {
    title: "error_pages",
    doc: "What clients get for some errors: one of `file`, `body`, `location` and `route`.",
    groups: &[&[
        Key::new(
            "file",
            ValueKind::Text,
            "A file, of 1 MiB at most; it is kept in memory, and read again when it changes.",
        ),
        Key::new("body", ValueKind::Text, "A text; may have variables."),
        Key::new(
            "location",
            ValueKind::Text,
            "Where to go instead; may have variables.",
        ),
        Key::new(
            "route",
            ValueKind::Text,
            "The name of a route that answers instead, its hooks included, if nothing of the request's body was read. \
             Malformed requests get the short answer.",
        ),
        Key::new(
            "status",
            ValueKind::Integer { min: 200, max: 599 },
            "The answer's status (`error_page 404 =200 ...`). Without it: the error's, with `location` 302, with `route` \
             that of the route's answer.",
        ),
        Key::new(
            "content_type",
            ValueKind::Text,
            "`Content-Type` of a `file` or `body`. Without it: `text/plain` for a text, and by the file's ending \
             `application/json`, `text/plain` or `text/html`.",
        ),
    ]],
    open: false,
};

/// One table, or several for different statuses.
pub(super) const RESPONSE_HEADER_TABLES: ValueKind = ValueKind::Either(&[
    ValueKind::Table(&RESPONSE_HEADERS),
    ValueKind::List(&ValueKind::Table(&RESPONSE_HEADERS)),
]);

/// `false`, or how long.
pub(super) const EXPIRES: ValueKind = ValueKind::Either(&[ValueKind::Off, ValueKind::Text]);

pub(in crate::config) static HEADERS: Table = Table {
    title: "request_headers",
    doc: "Changes to a header: first `remove`, then `set`, then `add`. Values may have variables. What frames a message \
          (`Content-Length`, `Transfer-Encoding`, `Connection`...) cannot be changed.",
    groups: &[HEADER_CHANGES],
    open: false,
};

pub(in crate::config) static RESPONSE_HEADERS: Table = Table {
    title: "response_headers",
    doc: "As `request_headers`. See [headers.md](headers.md).",
    groups: &[
        HEADER_CHANGES,
        &[Key::new(
            "statuses",
            ValueKind::List(&ValueKind::Either(&[
                ValueKind::Integer { min: 200, max: 599 },
                ValueKind::Text,
            ])),
            "Answers that the changes are made to: `[200, \"3xx\"]`. Without it: all, as `add_header` with `always`.",
        )],
    ],
    open: false,
};

static HEADER_CHANGES: &[Key] = &[
    Key::new("remove", TEXTS, "Names of headers to remove.").or(Default::Words(&[])),
    Key::new(
        "set",
        ValueKind::Named(&ValueKind::Text),
        "Replaces all values of a header by one. An empty value removes the header.",
    ),
    Key::new(
        "add",
        ValueKind::Named(&TEXT_OR_TEXTS),
        "Adds a value, or several, beside those there. An empty one adds nothing.",
    ),
];
