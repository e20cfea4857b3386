//! nginx's directives in Waypost's words: the hint for a key that is one of them, and the table in
//! the documentation.
//!
//! A user of nginx knows what `proxy_set_header` does and looks for its name here. One list, so
//! that `waypost check` and `docs/nginx-directives.md` say the same. It has every directive that
//! was met in 188 public configurations, and more.

use std::fmt::Write;

use super::problem::listing;
use super::reference;

/// What becomes of a directive.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Twin {
    /// The same thing has this form.
    Is(&'static str),
    /// It is so without a word; why.
    Automatic(&'static str),
    /// There is no such thing; what to do instead.
    NotThere(&'static str),
}

use Twin::{Automatic, Is, NotThere};

/// What a directive, or a family of them whose names begin alike (`js_*`), is here.
struct Directive {
    names: &'static [&'static str],
    twin: Twin,
}

/// The hint for an unknown key that is a directive of nginx.
pub(super) fn hint(key: &str) -> Option<String> {
    Some(match twin(key)? {
        Is(form) => format!("nginx's `{key}` is {form}"),
        Automatic(why) => format!("nginx's `{key}` needs no key: {why}"),
        NotThere(instead) => format!("nginx's `{key}` is not there: {instead}"),
    })
}

/// What becomes of the directive of this name; none for one that is not in the list, or that is a
/// key of the same name.
pub(crate) fn twin(key: &str) -> Option<Twin> {
    let all = GROUPS.iter().flat_map(|(_, directives)| directives.iter());
    let named = |directive: &&Directive| {
        directive
            .names
            .iter()
            .any(|name| match name.strip_suffix('*') {
                Some(family) => key.starts_with(family),
                None => *name == key,
            })
    };
    let mut found = all.filter(named);
    found.next().map(|directive| directive.twin)
}

/// Whether the list, or the keys of the same name, have a directive of this name.
pub(crate) fn is_directive(name: &str) -> bool {
    let tables = ["upstream", "server", "listen", "stream", "include"];
    let mut same = SAME_WORD.iter().flat_map(|names| names.iter());
    tables.contains(&name) || same.any(|same| *same == name) || twin(name).is_some()
}

/// The page of the documentation.
pub fn nginx_directives() -> String {
    let mut page = PREFACE.to_owned();
    let _ = write!(
        page,
        "\n## The same word\n\n| nginx | key in |\n|---|---|\n"
    );
    let _ = writeln!(
        page,
        "| `upstream`, `server`, `listen`, `stream`, `include` | tables of the file, and `servers` \
         of an upstream |"
    );
    for names in SAME_WORD {
        // Those that stand in the same tables share a row.
        let mut rows: Vec<(String, Vec<&str>)> = Vec::new();
        for name in *names {
            let places = places(name);
            match rows.iter_mut().find(|(known, _)| *known == places) {
                Some((_, names)) => names.push(name),
                None => rows.push((places, vec![name])),
            }
        }
        for (places, names) in rows {
            let _ = writeln!(page, "| {} | {places} |", listing(&names));
        }
    }
    for (title, directives) in GROUPS {
        let _ = write!(page, "\n## {title}\n\n| nginx | Waypost |\n|---|---|\n");
        for Directive { names, twin } in *directives {
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            let meaning = match twin {
                Is(form) => (*form).to_owned(),
                Automatic(why) => format!("needs no key: {why}"),
                NotThere(instead) => format!("**not there**: {instead}"),
            };
            // A bar within code would end the cell.
            let _ = writeln!(
                page,
                "| {} | {} |",
                names.join(", "),
                meaning.replace('|', "\\|")
            );
        }
    }
    page
}

const PREFACE: &str = "# nginx's directives in Waypost's words

What each directive is here, in the order of a configuration. `waypost check` says the same where one of them is used as a key.
A directive that is **not there** has no twin in this version; the row says what to do instead.
[Coming from nginx](coming-from-nginx.md) has whole lines side by side, and what differs on purpose.
This page is generated: `WAYPOST_BLESS=1 cargo test -p waypost --test host config_cases` writes it anew.
";

const fn is(names: &'static [&'static str], form: &'static str) -> Directive {
    Directive {
        names,
        twin: Is(form),
    }
}

const fn automatic(names: &'static [&'static str], why: &'static str) -> Directive {
    Directive {
        names,
        twin: Automatic(why),
    }
}

const fn not_there(names: &'static [&'static str], instead: &'static str) -> Directive {
    Directive {
        names,
        twin: NotThere(instead),
    }
}

const AN_NGINX: &str = "keep an nginx behind Waypost for it, as a server of an upstream";

static GROUPS: &[(&str, &[Directive])] = &[
    ("The process", PROCESS),
    ("Listeners and TLS", LISTENERS),
    ("Clients", CLIENTS),
    ("Routes", ROUTES),
    ("Proxying", PROXYING),
    ("Upstreams", UPSTREAMS),
    ("TLS to servers", TLS_TO_SERVERS),
    ("Headers", HEADERS),
    ("Logs and metrics", LOGS),
    ("TCP streams", STREAMS),
    ("Access and limits", ACCESS),
    ("Files, compression and caching", FILES),
    ("Other servers and languages", OTHERS),
];

static PROCESS: &[Directive] = &[
    is(&["worker_processes"], "`workers` in `[server]`"),
    is(
        &["worker_connections"],
        "`max_connections` in `[server]`, for all workers together",
    ),
    is(
        &["worker_shutdown_timeout"],
        "`shutdown_timeout` in `[server]`",
    ),
    automatic(
        &["worker_rlimit_nofile"],
        "the soft limit is raised to the hard one, `ulimit -Hn` or systemd's `LimitNOFILE`",
    ),
    automatic(
        &[
            "http",
            "events",
            "use",
            "multi_accept",
            "accept_mutex*",
            "lock_file",
        ],
        "the file has one level, and each worker accepts on sockets of its own",
    ),
    not_there(
        &["user"],
        "start it as that user; systemd's `AmbientCapabilities=CAP_NET_BIND_SERVICE` lets it have ports below 1024",
    ),
    automatic(
        &["daemon", "master_process", "pid"],
        "the process stays in the foreground, and systemd or `waypost status` know its id",
    ),
    automatic(
        &["load_module"],
        "what is not built in is a plugin: `[plugin.NAME]`",
    ),
    automatic(
        &[
            "sendfile*",
            "tcp_nopush",
            "tcp_nodelay",
            "aio*",
            "directio*",
            "worker_cpu_affinity",
            "worker_priority",
            "timer_resolution",
            "pcre_jit",
            "types_hash_*",
            "server_names_hash_*",
            "variables_hash_*",
            "map_hash_*",
            "connection_pool_size",
            "request_pool_size",
            "thread_pool",
            "worker_aio_requests",
            "epoll_events",
            "subrequest_output_buffer_size",
            "proxy_send_lowat",
            "proxy_downstream_buffer",
            "proxy_upstream_buffer",
        ],
        "there is nothing to tune",
    ),
    automatic(
        &["working_directory", "worker_rlimit_core"],
        "the folder and the limits are those that it is started with: systemd's `WorkingDirectory` \
         and `LimitCORE`",
    ),
    not_there(
        &["env"],
        "the environment is read by the configuration: `\"${env:NAME}\"`",
    ),
];

static LISTENERS: &[Directive] = &[
    is(
        &["ssl"],
        "`tls = { certificate = \"a.pem\", key = \"a.key\" }` in `[[listen]]`",
    ),
    is(
        &["ssl_certificate", "ssl_certificate_key"],
        "`certificate` and `key` in `tls` of `[[listen]]`",
    ),
    is(
        &["acme_certificate"],
        "`tls = { acme = { domains = [\"example.com\"], key_type = \"ecdsa\" } }` in `[[listen]]`, a certificate for each \
         domain; without `domains`, the hosts of its routes",
    ),
    is(
        &["acme_issuer", "uri"],
        "`directory` in `acme`: `letsencrypt`, `letsencrypt-staging`, or a URL",
    ),
    is(&["contact"], "`email` in `acme`"),
    is(&["challenge"], "`challenges` in `acme`"),
    is(&["external_account_key"], "`eab` in `acme`"),
    is(&["state_path"], "`store` in `acme`"),
    automatic(
        &["acme_shared_zone", "accept_terms_of_service", "account_key"],
        "keys and certificates are files of `store`, and whoever has `acme` agrees to the terms of the authority",
    ),
    not_there(
        &["preferred_chain", "profile"],
        "an authority's default chain and profile are what is had",
    ),
    is(
        &["ssl_protocols"],
        "`min_version` and `max_version` in `tls` (1.2 and 1.3 are there)",
    ),
    is(&["ssl_ciphers"], "`ciphers` in `tls`, a list"),
    automatic(
        &[
            "ssl_prefer_server_ciphers",
            "ssl_ecdh_curve",
            "ssl_dhparam",
            "ssl_buffer_size",
            "ssl_early_data",
            "ssl_conf_command",
        ],
        "the suites and curves are chosen by rustls, and early data is not accepted",
    ),
    automatic(
        &["ssl_certificate_cache", "ssl_object_cache_inheritable"],
        "certificates are read with the configuration, and again where their files change",
    ),
    not_there(
        &["ssl_certificate_compression", "ssl_key_log"],
        "certificates are sent as they are, and secrets are written nowhere",
    ),
    is(
        &["ssl_session_cache"],
        "`session_cache` in `tls`, in sessions",
    ),
    is(&["ssl_session_timeout"], "`session_timeout` in `tls`"),
    is(&["ssl_session_tickets"], "`session_tickets` in `tls`"),
    not_there(
        &["ssl_session_ticket_key"],
        "keys are made and changed by each process; resumption does not reach across machines",
    ),
    is(
        &["ssl_client_certificate", "ssl_trusted_certificate"],
        "`client_ca` in `tls`",
    ),
    is(
        &["ssl_verify_client"],
        "`client_certificate = \"require\"` or `\"optional\"` in `tls`",
    ),
    not_there(
        &["ssl_verify_depth", "ssl_password_file", "ssl_engine"],
        "chains are verified whole, and keys are read from files without a password",
    ),
    is(&["ssl_crl"], "`client_crl` in `tls`"),
    is(
        &["ssl_stapling_file"],
        "`ocsp` beside `certificate` in `tls`",
    ),
    not_there(
        &[
            "ssl_stapling",
            "ssl_stapling_verify",
            "ssl_stapling_responder",
            "ssl_ocsp*",
        ],
        "an answer is not fetched, but stapled from a file: `ocsp` beside `certificate`",
    ),
    is(
        &["ssl_reject_handshake"],
        "`unknown_names = \"refuse\"` in `tls`",
    ),
    is(&["ssl_handshake_timeout"], "`handshake_timeout` in `tls`"),
    is(
        &["http2", "http2_max_concurrent_streams"],
        "`http2` in `[[listen]]`, on by default",
    ),
    automatic(
        &["http2_*"],
        "HTTP/2's bounds are in `http2` of `[[listen]]`",
    ),
    not_there(
        &["http3*", "quic_*"],
        "HTTP/3 is not spoken yet: clients use HTTP/2",
    ),
    is(
        &["set_real_ip_from"],
        "`trusted_proxies` in `[server]` or `[[listen]]`",
    ),
    is(
        &["real_ip_header", "real_ip_recursive"],
        "keys of the same name in `[server]` or `[[listen]]`; without them `X-Forwarded-For`, else `X-Real-IP`, and recursive",
    ),
];

static CLIENTS: &[Directive] = &[
    is(
        &["client_header_buffer_size", "large_client_header_buffers"],
        "`client_header_size` in `[[listen]]`, for the whole header",
    ),
    is(
        &["client_body_buffer_size"],
        "`body_buffer_size` in `[upstream.NAME]` or a `[[route]]`",
    ),
    automatic(
        &[
            "client_body_in_file_only",
            "client_body_in_single_buffer",
            "client_body_temp_path",
        ],
        "bodies are never written to a disk",
    ),
    automatic(
        &["reset_timedout_connection", "lingering_*"],
        "a connection is closed so that the last answer arrives",
    ),
    automatic(
        &["keepalive_disable", "keepalive_min_timeout", "msie_*"],
        "every client that may keep its connection does",
    ),
    not_there(
        &["merge_slashes", "ignore_invalid_headers"],
        "several slashes are one for routing, and headers that are not valid are refused",
    ),
    not_there(
        &["limit_rate", "limit_rate_after"],
        "answers go as fast as their client reads",
    ),
    automatic(
        &[
            "chunked_transfer_encoding",
            "postpone_output",
            "output_buffers",
        ],
        "a body is framed as its client's version has it",
    ),
];

static ROUTES: &[Directive] = &[
    is(
        &["server_name"],
        "`host` in `[[route]]`: `host = \"example.com\"`, or a list",
    ),
    is(
        &["location"],
        "`[[route]]` with `path`: `path = \"/api/\"`, `\"= /x\"`, `\"^~ /x\"`, `'~ \\.php$'`",
    ),
    is(
        &["proxy_pass"],
        "`proxy` in `[[route]]`: `proxy = \"backend\"`, or `\"http://backend/part/\"` to replace the path's part; \
         with variables in place of the name, `proxy_allow` says what they may name",
    ),
    is(
        &["return"],
        "`return` in `[[route]]`: `return = { status = 301, location = \"https://$host$request_uri\" }`",
    ),
    is(&["default_server"], "a `[[route]]` without `host`"),
    is(
        &["rewrite", "break"],
        "the hook `rewrite` in `hooks`; without it, a prefix is taken off by `strip_prefix = true` or replaced by \
         `proxy = \"http://backend/new/\"`, and a redirect is a `return` with `location`",
    ),
    not_there(
        &["rewrite_log", "uninitialized_variable_warn"],
        "there is no such thing",
    ),
    is(
        &["if"],
        "`when` in `[[route]]`, by method, header, argument, cookie, variable or client: of several \
         routes of one path the first counts whose `when` holds, see docs/routes.md; rules of the \
         hook `rewrite` have a `when` of their own",
    ),
    is(
        &["map", "map_hash_bucket_size", "map_hash_max_size"],
        "`[variable.NAME]` with `from`, `map` and `default`; tables find their size themselves",
    ),
    is(&["geo"], "`[variable.NAME]` with `networks` and `default`"),
    is(
        &["split_clients"],
        "`[variable.NAME]` with `from`, `split` and `default`; the hook `split` leads a share of the \
         clients to another route or upstream, by the same hash",
    ),
    is(
        &["set"],
        "`[variable.NAME]` with `value`, one for each name; what differs by place is a `map`",
    ),
    not_there(
        &["geoip*"],
        "`[variable.NAME]` with `networks` has values by address, from a file of its own by `include`",
    ),
    not_there(
        &["set_*"],
        "values are made of others by `[variable.NAME]`, with `value` or `map`; what calculates is a \
         hook of your own",
    ),
    not_there(
        &[
            "ancient_browser",
            "ancient_browser_value",
            "modern_browser",
            "modern_browser_value",
        ],
        "`[variable.NAME]` with `from = \"$http_user_agent\"` and `map` tells clients apart",
    ),
    is(
        &["limit_except"],
        "`when = { method = [\"GET\", \"HEAD\"] }` in `[[route]]`, and a second one of the same path \
         behind it with `return = { status = 403 }`",
    ),
    is(
        &["error_page"],
        "`error_pages` in `[server]`, `[[listen]]` or `[[route]]`: `error_pages = { \"502 503\" = { file = \
         \"/srv/50x.html\" } }`, or a `body`, a `location` or the name of a `route`; see docs/error-pages.md",
    ),
    is(
        &["proxy_intercept_errors", "grpc_intercept_errors"],
        "`intercept_errors = true` in `[server]`, `[[listen]]` or `[[route]]`",
    ),
    automatic(
        &["recursive_error_pages"],
        "a route that answers in place of an error gets pages of its own for its errors, but no other route",
    ),
    is(
        &["internal", "named_location"],
        "`internal = true` and a `name` in `[[route]]`: only hooks, `error_pages`, the `fallback` of `files`, and \
         servers of a route with `accel_redirect = true`, lead to it; see docs/files.md",
    ),
    not_there(&["post_action"], "each request takes one route"),
    automatic(
        &[
            "server_name_in_redirect",
            "port_in_redirect",
            "absolute_redirect",
        ],
        "a `location` is sent as it is written",
    ),
    automatic(&["server_tokens"], "no answer names Waypost's version"),
    is(
        &["satisfy"],
        "`satisfy = \"any\"` among the settings of the hooks `access` and `basic_auth`",
    ),
];

static PROXYING: &[Directive] = &[
    is(
        &["proxy_set_header", "grpc_set_header"],
        "`request_headers = { set = { X-Tenant = \"$arg_t\" } }` in `[server]`, `[[listen]]` or `[[route]]`",
    ),
    automatic(
        &["proxy_http_version"],
        "requests are passed on in HTTP/1.1, or in HTTP/2 with `http2 = true` in the upstream",
    ),
    is(
        &["proxy_pass_request_headers"],
        "`request_headers = { remove = [\"*\"] }` in `[[route]]` for `off`; `on` is the default",
    ),
    is(
        &["proxy_pass_request_body"],
        "`request_body = false` in `[[route]]` for `off`; `on` is the default",
    ),
    is(
        &["proxy_set_body"],
        "`request_body` in `[[route]]`, a text, which may have variables",
    ),
    is(&["proxy_method"], "`request_method` in `[[route]]`"),
    is(
        &["proxy_connect_timeout", "grpc_connect_timeout"],
        "`connect_timeout` in `[upstream.NAME]` or a `[[route]]`",
    ),
    is(
        &["proxy_read_timeout", "grpc_read_timeout"],
        "`read_timeout` in `[upstream.NAME]` or a `[[route]]`",
    ),
    is(
        &["proxy_send_timeout", "grpc_send_timeout"],
        "`send_timeout` in `[upstream.NAME]` or a `[[route]]`",
    ),
    is(
        &["proxy_next_upstream", "grpc_next_upstream"],
        "`next_upstream = [\"error\", \"timeout\"]` in `[upstream.NAME]` or a `[[route]]`",
    ),
    is(
        &["proxy_next_upstream_tries", "grpc_next_upstream_tries"],
        "`next_upstream_tries` in `[upstream.NAME]` or a `[[route]]`",
    ),
    is(
        &["proxy_next_upstream_timeout", "grpc_next_upstream_timeout"],
        "`next_upstream_timeout` in `[upstream.NAME]` or a `[[route]]`",
    ),
    is(
        &["proxy_buffer_size", "grpc_buffer_size"],
        "`response_header_size` in `[upstream.NAME]`",
    ),
    automatic(
        &[
            "proxy_buffering",
            "proxy_buffers",
            "proxy_busy_buffers_size",
            "proxy_max_temp_file_size",
            "proxy_temp_*",
            "proxy_request_buffering",
            "proxy_store*",
        ],
        "answers are streamed, and requests too beyond `body_buffer_size` of the upstream; nothing is written to a disk",
    ),
    is(
        &["proxy_redirect"],
        "`proxy_redirect` in `[[route]]`, a table; `false` for `off`, and nginx's `default` without it",
    ),
    is(
        &["proxy_cookie_domain", "proxy_cookie_path"],
        "`cookies = { domain = { \"app.internal\" = \"example.com\" }, path = { \"/app/\" = \"/\" } }` in `[[route]]`",
    ),
    is(
        &["proxy_cookie_flags"],
        "`cookies = { flags = [\"secure\", \"samesite=lax\"] }` in `[[route]]`, or a table of such lists by name",
    ),
    is(
        &["proxy_hide_header", "grpc_hide_header"],
        "`response_headers = { remove = [\"X-Powered-By\"] }` in `[server]`, `[[listen]]` or `[[route]]`",
    ),
    automatic(
        &["proxy_pass_header", "grpc_pass_header"],
        "all headers of an answer are passed on but those of one connection",
    ),
    automatic(
        &["proxy_ignore_headers", "grpc_ignore_headers"],
        "headers of an answer change nothing here, but for `X-Accel-Redirect` in routes with \
         `accel_redirect = true`: without that key it is ignored as well",
    ),
    automatic(
        &["early_hints", "proxy_pass_trailers"],
        "interim answers and trailers are passed on",
    ),
    not_there(
        &["proxy_cache", "proxy_cache_*", "proxy_no_cache"],
        "answers are not kept: each request goes to a server; \
         `--without proxy_cache` of `waypost import` agrees to that",
    ),
    automatic(
        &["proxy_ignore_client_abort"],
        "a request ends with its client, except what its server has in hand already",
    ),
    not_there(
        &["proxy_bind", "grpc_bind"],
        "connections to servers have the address that the kernel chooses",
    ),
    not_there(
        &["proxy_limit_rate"],
        "answers are passed on as fast as their client reads",
    ),
    not_there(
        &["proxy_socket_keepalive", "grpc_socket_keepalive"],
        "TCP's own probes are not sent: `read_timeout` ends what is silent for long",
    ),
    not_there(
        &["proxy_force_ranges"],
        "servers get `Range`, and parts of an answer are theirs to send",
    ),
    is(
        &["grpc_pass"],
        "`proxy` in `[[route]]`, and `http2 = true` in the upstream",
    ),
    is(
        &["mirror"],
        "the hook `mirror` in `hooks`: `hooks = [{ plugin = \"mirror\", upstream = \"NAME\" }]`",
    ),
    is(
        &["mirror_request_body"],
        "`body_limit` of the hook `mirror`, as far as bodies are to be copied; without it, as `off`",
    ),
];

static UPSTREAMS: &[Directive] = &[
    is(
        &["least_conn"],
        "`policy = \"least_conn\"` in `[upstream.NAME]`",
    ),
    is(&["ip_hash"], "`policy = \"ip_hash\"` in `[upstream.NAME]`"),
    is(
        &["random"],
        "`policy = \"random\"` in `[upstream.NAME]`; for `random two` \
         `policy = { plugin = \"random\", two = \"least_conn\" }`",
    ),
    is(
        &["hash"],
        "`policy = { plugin = \"hash\", key = \"$request_uri\", consistent = true }` in `[upstream.NAME]`",
    ),
    is(
        &["sticky", "sticky_cookie_insert"],
        "`policy = { plugin = \"sticky\", cookie = { name = \"srv_id\" } }` in `[upstream.NAME]`; `route` and `learn` likewise",
    ),
    is(
        &["least_time"],
        "`policy = { plugin = \"least_time\", by = \"header\" }` in `[upstream.NAME]`",
    ),
    is(
        &["queue"],
        "`queue = { size = 100, timeout = \"60s\" }` in `[upstream.NAME]`",
    ),
    automatic(&["zone"], "workers share what they know of a server"),
    not_there(
        &["ntlm"],
        "connections to servers serve all clients: carry such servers in a `[[stream]]`, or let clients \
         authenticate by Kerberos",
    ),
    is(
        &["resolver"],
        "`resolver = { addresses = [\"10.0.0.53\"] }` in `[server]` or `[upstream.NAME]`; without it the name servers \
         of the machine are asked",
    ),
    is(
        &["resolver_timeout"],
        "`resolver = { timeout = \"30s\" }` in `[server]` or `[upstream.NAME]`",
    ),
    automatic(
        &["resolve"],
        "names of servers are resolved again; `resolve = \"once\"` turns that off",
    ),
    is(
        &["slow_start"],
        "`slow_start = \"30s\"` of a server; with any policy",
    ),
    is(
        &["service"],
        "`{ address = \"app.example\", service = \"http\" }` in `servers`",
    ),
    is(
        &["health_check", "check"],
        "`health_check = { path = \"/health\", interval = \"5s\", rise = 2, fall = 3 }` in `[upstream.NAME]`; `passes` is \
         `rise`, `fails` is `fall`, `mandatory` is `initial = \"down\"`",
    ),
    is(
        &["health_check_timeout", "check_http_send"],
        "`timeout`, and `method`, `path` and `headers`, of `health_check`",
    ),
    is(
        &["match", "check_http_expect_alive"],
        "`expect_status` and `expect_body` of `health_check`; `http_2xx` is `\"2xx\"`",
    ),
    is(
        &["state"],
        "`state = \"/var/lib/waypost/NAME.json\"` in `[upstream.NAME]`",
    ),
    not_there(
        &["status_zone", "upstream_conf", "api", "status"],
        "servers are seen and changed with `waypost upstream`",
    ),
];

static TLS_TO_SERVERS: &[Directive] = &[
    is(
        &["proxy_ssl", "grpc_ssl"],
        "`tls = true` in `[upstream.NAME]`, or `https://` before its servers",
    ),
    is(
        &[
            "proxy_ssl_trusted_certificate",
            "grpc_ssl_trusted_certificate",
        ],
        "`ca` in `tls` of `[upstream.NAME]`",
    ),
    is(
        &["proxy_ssl_name", "grpc_ssl_name"],
        "`server_name` in `tls` of `[upstream.NAME]`",
    ),
    is(
        &[
            "proxy_ssl_certificate",
            "proxy_ssl_certificate_key",
            "grpc_ssl_certificate",
            "grpc_ssl_certificate_key",
        ],
        "`certificate` and `key` in `tls` of `[upstream.NAME]`",
    ),
    is(
        &["proxy_ssl_verify", "grpc_ssl_verify"],
        "`verify` in `tls` of `[upstream.NAME]`: on, unless it is `false`",
    ),
    is(
        &["proxy_ssl_crl", "grpc_ssl_crl"],
        "`crl` in `tls` of `[upstream.NAME]`",
    ),
    is(
        &["proxy_ssl_protocols", "grpc_ssl_protocols"],
        "`min_version` in `tls` of `[upstream.NAME]`",
    ),
    automatic(
        &["proxy_ssl_server_name", "grpc_ssl_server_name"],
        "a server's name is sent wherever it has one",
    ),
    automatic(
        &["proxy_ssl_session_reuse", "grpc_ssl_session_reuse"],
        "sessions are resumed: `session_cache` in `tls` of `[upstream.NAME]`",
    ),
    not_there(
        &["proxy_ssl_*", "grpc_ssl_*"],
        "chains are verified whole, and the suites are rustls's",
    ),
];

static HEADERS: &[Directive] = &[
    is(
        &["add_header"],
        "`response_headers = { add = { X-Served-By = \"$upstream_addr\" } }` in `[server]`, `[[listen]]` or `[[route]]`, \
         for every status, as with `always`; without it, `statuses = [200, 201, 204, 206, 301, 302, 303, 304, 307, 308]`; \
         `hsts` in `[[listen]]`; the hook `cors` answers requests of other origins",
    ),
    automatic(
        &["add_header_inherit"],
        "of each header, the nearest `response_headers` that names it counts",
    ),
    not_there(&["add_trailer*"], "trailers are the server's"),
    not_there(
        &["userid*"],
        "no cookie is made for clients: a `Set-Cookie` with `$request_id` among `response_headers`, in \
         a route whose `when` asks for requests without it",
    ),
    is(
        &["expires"],
        "`expires` in `[server]`, `[[listen]]` or `[[route]]`: `\"30d\"`, `\"max\"`, `\"epoch\"`, `false`; it sets `Cache-Control`. \
         In `files`, for these alone",
    ),
    is(
        &["sub_filter*"],
        "the hook `substitute` in `hooks`: `hooks = [{ plugin = \"substitute\", replace = [{ text = \"a\", by = \"b\" }] }]`",
    ),
    not_there(
        &[
            "addition_types",
            "add_before_body",
            "add_after_body",
            "charset*",
            "source_charset",
            "override_charset",
            "ssi*",
            "xslt*",
            "xml_entities",
            "image_filter*",
        ],
        "bodies are not changed",
    ),
];

static LOGS: &[Directive] = &[
    is(
        &["log_format"],
        "`format` in `access_log`: `access_log = { path = \"access.log\", format = \"$remote_addr $status\" }`; \
         with `escape=json`, `escape = \"json\"` or `fields`: see docs/logs.md",
    ),
    not_there(
        &["log_not_found", "log_subrequest", "open_log_file_cache"],
        "each request has one line in each log, unless its `when` or `access_log = false` says otherwise",
    ),
    is(
        &["stub_status"],
        "`stub_status = true` in `[[route]]`, with the hook `access` for who may ask",
    ),
    not_there(
        &["prometheus*", "vhost_traffic_status*"],
        "`GET /metrics` of `[admin]`, or a route with `metrics = true`, tells what is counted: see docs/metrics.md",
    ),
    is(
        &["otel_exporter"],
        "`[traces]`: `endpoint = \"http://127.0.0.1:4317\"` and `protocol = \"grpc\"`; batches and intervals are as they are",
    ),
    is(&["otel_service_name"], "`service_name` in `[traces]`"),
    is(&["otel_resource_attr"], "`resource` in `[traces]`"),
    is(
        &["otel_trace"],
        "`traces` in `[[listen]]` and `[[route]]`: `traces = false`, or `{ sample = \"10%\" }`; on by default once there is \
         `[traces]`",
    ),
    is(
        &["otel_trace_context"],
        "`context` in `[traces]`, or in `traces` of `[[listen]]` and `[[route]]`",
    ),
    is(
        &["otel_span_attr"],
        "`attributes` likewise: `{ \"app.tenant\" = \"$http_x_tenant\" }`",
    ),
    not_there(
        &["otel_span_name"],
        "a span has the name of its route: give the `[[route]]` a `name`",
    ),
    not_there(
        &["opentracing*", "opentelemetry*"],
        "`[traces]` sends spans by OTLP: see docs/traces.md",
    ),
];

static STREAMS: &[Directive] = &[
    is(&["proxy_timeout"], "`idle_timeout` in `[[stream]]`"),
    is(
        &["proxy_half_close"],
        "`half_close_timeout` in `[upstream.NAME]`: how long the other direction may be silent, 0 for `off`",
    ),
    is(
        &["proxy_protocol_timeout"],
        "`preread_timeout` in `[[stream]]`",
    ),
    is(
        &["ssl_preread"],
        "`sni` in `[[stream]]`: `sni = [{ host = \"a.example\", proxy = \"a\" }]`",
    ),
    automatic(
        &["preread_buffer_size"],
        "a client's first bytes are read as far as they are needed",
    ),
    not_there(
        &["pass"],
        "a connection goes to a server: `proxy` with the address of the listener, and `proxy_protocol` \
         for the client's",
    ),
    not_there(
        &["ssl_alpn"],
        "a `[[stream]]` offers no protocol by ALPN: it does not know which one it carries",
    ),
    not_there(
        &["proxy_responses", "proxy_requests", "udp"],
        "streams are TCP; UDP is not carried yet",
    ),
    not_there(
        &[
            "proxy_upload_rate",
            "proxy_download_rate",
            "proxy_session_drop",
            "js_preread",
        ],
        "each direction ends by itself, and goes as fast as it can",
    ),
];

/// Directives that are keys of the same name.
const SAME_WORD: &[&[&str]] = &[
    &["access_log"],
    &["error_log"],
    &[
        "client_body_timeout",
        "client_header_timeout",
        "client_max_body_size",
        "keepalive_requests",
        "keepalive_time",
        "keepalive_timeout",
        "max_headers",
        "send_timeout",
        "underscores_in_headers",
    ],
    &["keepalive"],
    &[
        "weight",
        "max_fails",
        "fail_timeout",
        "max_conns",
        "backup",
        "down",
    ],
    &["proxy_protocol"],
    &["backlog"],
    &["preread_timeout"],
];

/// The tables that have a key, as the page writes them.
fn places(key: &str) -> String {
    let tables = reference::tables().into_iter();
    // A scorer's `weight` is another one.
    let tables = tables.filter(|table| table.title != "scorers");
    let have = tables.filter(|table| table.key(key).is_some_and(|key| key.available()));
    let titles: Vec<String> = have
        .map(|table| match table.title {
            "servers" => "each of an upstream's `servers`".to_owned(),
            title => format!("`{title}`"),
        })
        .collect();
    titles.join(", ")
}

static ACCESS: &[Directive] = &[
    is(
        &["limit_req_zone"],
        "a `[hook.NAME]` with `plugin = \"limit_req\"`, `key = \"$binary_remote_addr\"` and `rate \
         = \"10r/s\"`",
    ),
    is(
        &["limit_req*"],
        "the zone's `[hook.NAME]` in `hooks`: `hooks = [{ use = \"NAME\", burst = 20, nodelay = \
         true }]`",
    ),
    is(
        &["limit_conn_zone"],
        "a `[hook.NAME]` with `plugin = \"limit_conn\"` and `key = \"$binary_remote_addr\"`",
    ),
    is(
        &["limit_conn*"],
        "the zone's `[hook.NAME]` in `hooks`; `max_connections` in `[server]` is for all clients, \
         `max_conns` for a server",
    ),
    is(
        &["allow", "deny"],
        "the hook `access` in `hooks`: `hooks = [{ plugin = \"access\", rules = [\"allow \
         10.0.0.0/8\", \"deny all\"] }]`",
    ),
    is(&["auth_basic*"], "the hook `basic_auth` in `hooks`"),
    is(&["auth_jwt*"], "the hook `jwt` in `hooks`"),
    is(
        &["auth_request"],
        "the hook `forward_auth` in `hooks`: `hooks = [{ plugin = \"forward_auth\", upstream = \
         \"NAME\", path = \"/verify\" }]`",
    ),
    is(
        &["auth_request_set"],
        "`attributes`, `copy_to_request` and `copy_to_response` of the hook `forward_auth`",
    ),
    not_there(
        &["auth_delay"],
        "a refusal is not delayed: the hook `limit_req` bounds attempts",
    ),
    not_there(
        &[
            "secure_link*",
            "valid_referers",
            "referer_*",
            "modsecurity*",
        ],
        "a hook of your own can look at requests: `[plugin.NAME]`",
    ),
];

static FILES: &[Directive] = &[
    is(
        &["root"],
        "`files = { root = \"/srv/app\", strip_prefix = false }` in `[[route]]`; where `path` is `/`, \
         `files = \"/srv/app\"`",
    ),
    is(
        &["alias"],
        "`files = \"/srv/app\"` in `[[route]]`: the part that `path` matched is left out",
    ),
    is(
        &["index"],
        "`index` in `files`: `index = [\"index.html\", \"index.htm\"]`",
    ),
    is(
        &["try_files"],
        "`fallback` in `files`: a file, `fallback = \"/index.html\"`, the route of a name, \
         `fallback = \"@app\"`, or a status, `fallback = 404`; `suffixes = [\".html\"]` is `$uri.html`, `index = []` is \
         `$uri` without `$uri/`, and `file = \"/a.html\"` is one file for all",
    ),
    is(
        &["autoindex*"],
        "`autoindex` in `files`: `true`, `\"html\"` or `\"json\"`",
    ),
    is(
        &["disable_symlinks"],
        "`follow_links` in `files`; without it, links that lead out of the root are refused",
    ),
    is(
        &["types", "default_type"],
        "`types` and `default_type` in `files`; a `return` has `content_type`",
    ),
    is(
        &["open_file_cache*"],
        "`open_file_cache` in `files`, for how long: a second without a word",
    ),
    is(
        &["gzip_static", "brotli_static", "zstd_static"],
        "`precompressed` in `files`: `precompressed = [\"br\", \"zstd\", \"gzip\"]`",
    ),
    automatic(
        &["etag", "if_modified_since", "max_ranges"],
        "files have both validators, conditions are those of RFC 9110, and at most 64 ranges are sent",
    ),
    not_there(
        &[
            "random_index",
            "empty_gif",
            "dav_*",
            "min_delete_depth",
            "create_full_put_path",
            "mp4*",
            "flv",
            "hls*",
            "slice",
        ],
        "files are served as they are: keep an nginx behind Waypost for that, as a server of an upstream",
    ),
    is(
        &["gzip", "brotli", "zstd"],
        "`compression = true` in `[server]`, `[[listen]]` or `[[route]]`",
    ),
    is(
        &["gzip_types", "brotli_types", "zstd_types"],
        "`types` in `compression`, with a better default",
    ),
    is(
        &["gzip_min_length", "brotli_min_length", "zstd_min_length"],
        "`min_length` in `compression`",
    ),
    is(&["gzip_comp_level"], "`gzip_level` in `compression`"),
    is(&["brotli_comp_level"], "`brotli_level` in `compression`"),
    is(&["zstd_comp_level"], "`zstd_level` in `compression`"),
    is(
        &["gunzip"],
        "`gunzip = true` in `[server]`, `[[listen]]` or `[[route]]`",
    ),
    automatic(
        &[
            "gzip_vary",
            "gzip_proxied",
            "gzip_http_version",
            "gzip_buffers",
            "gunzip_buffers",
            "brotli_buffers",
            "brotli_window",
            "zstd_buffers",
            "gzip_hash",
            "gzip_no_buffer",
            "gzip_window",
            "postpone_gzipping",
        ],
        "`Vary` is always there, requests of other proxies are answered alike, and buffers are bounded",
    ),
    not_there(
        &["gzip_disable"],
        "every client that takes a coding gets it; a route may say `compression = false`",
    ),
    not_there(
        &["zstd_dict_file"],
        "answers are compressed without a dictionary, which browsers would have to ask for",
    ),
];

static OTHERS: &[Directive] = &[
    not_there(
        &[
            "fastcgi_*",
            "uwsgi_*",
            "scgi_*",
            "memcached_*",
            "redis*",
            "passenger_*",
        ],
        AN_NGINX,
    ),
    not_there(
        &[
            "js_*",
            "perl*",
            "lua_*",
            "content_by_lua*",
            "access_by_lua*",
            "balancer_by_lua*",
        ],
        "policies and hooks of your own are WebAssembly components, `[plugin.NAME]`; there are no \
         scripts",
    ),
    not_there(
        &["keyval", "keyval_zone", "zone_sync*"],
        "`[variable.NAME]` is changed with the configuration, by a reload",
    ),
    not_there(
        &["more_set_headers", "more_clear_headers"],
        "`response_headers = { set = { NAME = \"value\" }, remove = [\"NAME\"] }` in `[server]`, \
         `[[listen]]` or `[[route]]`",
    ),
    not_there(
        &["more_set_input_headers", "more_clear_input_headers"],
        "`request_headers = { set = { NAME = \"value\" }, remove = [\"NAME\"] }` in `[[route]]`",
    ),
    not_there(
        &[
            "mail",
            "imap_*",
            "pop3_*",
            "smtp_*",
            "auth_http*",
            "max_errors",
            "protocol",
            "proxy_buffer",
            "proxy_pass_error_message",
            "proxy_smtp_auth",
            "starttls",
            "xclient",
        ],
        "mail is carried as a `[[stream]]`, and not understood",
    ),
    not_there(
        &["google_perftools_profiles", "debug_*"],
        "there is no such thing",
    ),
];
