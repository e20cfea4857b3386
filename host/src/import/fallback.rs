//! What becomes of directives that nobody has translated: one that asks for nothing, one that needs
//! no key, or one that cannot be said. The table of all directives knows.

use super::idle::{self, Placed};
use super::report::{Accounts, Outcome, is_table};
use super::tree::{Directive, Tree};
use super::words::MAKERS;
use crate::config::{NginxTwin, is_nginx_directive, nginx_twin};

/// Keys of a listener, which nginx has for each `server` and most of them for each `location`.
pub(super) const OF_LISTENER: &[&str] = &[
    "client_header_timeout",
    "keepalive_timeout",
    "keepalive_requests",
    "keepalive_time",
    "send_timeout",
    "large_client_header_buffers",
    "underscores_in_headers",
    "max_headers",
];

/// Directives without which others do nothing: the beginnings of the others, and the one that
/// switches them on.
const SWITCHES: &[(&str, &str)] = &[
    ("gzip_", "gzip"),
    ("brotli_", "brotli"),
    ("zstd_", "zstd"),
    ("proxy_cache", "proxy_cache"),
    ("proxy_no_cache", "proxy_cache"),
    ("fastcgi_", "fastcgi_pass"),
    ("uwsgi_", "uwsgi_pass"),
    ("scgi_", "scgi_pass"),
    ("sub_filter_", "sub_filter"),
    ("charset_", "charset"),
    ("ssi_", "ssi"),
    ("mirror_", "mirror"),
    ("autoindex_", "autoindex"),
    ("mp4_", "mp4"),
    ("proxy_ssl_", "proxy_ssl"),
    ("proxy_intercept_errors", "error_page"),
    ("grpc_intercept_errors", "error_page"),
    ("recursive_error_pages", "error_page"),
    ("userid_", "userid"),
    ("source_charset", "charset"),
    ("override_charset", "charset"),
    ("ssl_", "ssl_certificate"),
];

/// Directives that do nothing where no place of a kind is: none with files, none that proxies.
pub(super) const OF_PLACES: &[&str] = &[
    "alias",
    "autoindex",
    "autoindex_exact_size",
    "autoindex_format",
    "autoindex_localtime",
    "brotli_static",
    "charset",
    "client_body_buffer_size",
    "client_body_timeout",
    "client_max_body_size",
    "default_type",
    "disable_symlinks",
    "error_page",
    "expires",
    "gunzip",
    "gzip_static",
    "index",
    "internal",
    "limit_conn_dry_run",
    "limit_conn_log_level",
    "limit_conn_status",
    "limit_req_dry_run",
    "limit_req_log_level",
    "limit_req_status",
    "proxy_connect_timeout",
    "proxy_hide_header",
    "proxy_next_upstream",
    "proxy_read_timeout",
    "proxy_redirect",
    "proxy_send_timeout",
    "proxy_set_header",
    "root",
    "try_files",
];

/// Directives that only concern files, or the start of a process, or what there is none of.
const HARMLESS: &[(&[&str], &str)] = &[
    (
        &[
            "etag",
            "if_modified_since",
            "types",
            "disable_symlinks",
            "max_ranges",
        ],
        "no file is served",
    ),
    (
        &[
            "open_file_cache",
            "open_file_cache_valid",
            "open_file_cache_min_uses",
            "open_file_cache_errors",
            "log_not_found",
            "read_ahead",
            "sendfile_max_chunk",
            "log_subrequest",
            "rewrite_log",
            "uninitialized_variable_warn",
            "open_log_file_cache",
            "debug_connection",
            "debug_points",
            "google_perftools_profiles",
            "status_zone",
            "default_type",
            "limit_rate_after",
            "types_hash_max_size",
            "types_hash_bucket_size",
        ],
        "it changes no answer",
    ),
    (
        &[
            "fastcgi_buffers",
            "fastcgi_buffer_size",
            "proxy_headers_hash_max_size",
            "proxy_headers_hash_bucket_size",
            "proxy_cache_path",
            "fastcgi_cache_path",
            "check_shm_size",
        ],
        "it is about buffers and tables of nginx",
    ),
    (
        &[
            "ancient_browser",
            "ancient_browser_value",
            "modern_browser",
            "modern_browser_value",
            "log_format",
        ],
        "nothing that is translated uses it",
    ),
];

/// Directives that are here what they are without a word where they are `off`.
const SWITCHED_OFF: &[&str] = &[
    "auth_request",
    "autoindex",
    "brotli",
    "expires",
    "gunzip",
    "gzip",
    "gzip_static",
    "grpc_intercept_errors",
    "mirror",
    "proxy_intercept_errors",
    "zstd",
];

/// Variables that do something by being set (`NGX_HTTP_VAR_CHANGEABLE`).
const NOT_ONES_OWN: &[&str] = &["$args", "$limit_rate"];

/// Directives that get an entry wherever they stand.
const ALWAYS_ACCOUNTED: &[&str] = &["include", "http", "stream", "events", "location", "types"];

/// What to do instead of a directive that is not there.
pub(super) fn instead_of(name: &str) -> Option<&'static str> {
    match nginx_twin(name) {
        Some(NginxTwin::NotThere(instead)) => Some(instead),
        _ => None,
    }
}

/// Whether it is known what a directive of this name does.
pub(super) fn is_known(name: &str, accounts: &Accounts) -> bool {
    accounts.was_asked(name)
        || is_nginx_directive(name)
        || ALWAYS_ACCOUNTED.contains(&name)
        || OF_LISTENER.contains(&name)
        || HARMLESS.iter().any(|(names, _)| names.contains(&name))
        || SWITCHES.iter().any(|(begin, _)| name.starts_with(begin))
}

/// Gives every directive that has none its entry.
pub(super) fn account(tree: &Tree, accounts: &Accounts) {
    let all = idle::placed(tree);
    let is_on = |name: &str| {
        let mut named = all.iter().filter(|placed| placed.directive.name == name);
        named.any(|placed| placed.directive.argument(0) != "off")
    };
    let switched: Vec<(&str, bool)> = SWITCHES
        .iter()
        .map(|(_, switch)| (*switch, is_on(switch)))
        .collect();
    for Placed { directive, idle } in &all {
        if let Some(why) = idle
            && accounts.of(directive.id).is_none()
        {
            accounts.harmless(directive, *why);
        }
        if is_table(&directive.name) && accounts.of(directive.id).is_none() {
            let used = match &*directive.name {
                "types" => "no text that is answered needs it",
                _ => "nothing that is translated uses it",
            };
            accounts.harmless(directive, used);
        }
        if accounts.of(directive.id).is_none() {
            let (outcome, note) = outcome(directive, &switched, accounts);
            accounts.note(directive, outcome, note);
        }
    }
}

fn outcome(
    directive: &Directive,
    switched: &[(&str, bool)],
    accounts: &Accounts,
) -> (Outcome, String) {
    let name = directive.name.as_str();
    let said = |outcome, note: &str| (outcome, note.to_owned());
    match name {
        "include" => {
            return match &directive.missing {
                Some(why) => (Outcome::Lost, format!("the file cannot be read: {why}")),
                None => said(Outcome::Harmless, "read: its directives are told of"),
            };
        }
        "http" | "stream" | "events" => return said(Outcome::BuiltIn, "the file has one level"),
        "add_header" | "expires" if directive.argument(0) == "off" => {
            return said(Outcome::Harmless, "off, as without it");
        }
        "chunked_transfer_encoding"
        | "merge_slashes"
        | "proxy_pass_request_body"
        | "proxy_pass_request_headers"
            if directive.argument(0) == "on" =>
        {
            return said(Outcome::BuiltIn, "on, as it is here");
        }
        "absolute_redirect" | "port_in_redirect" if directive.argument(0) == "off" => {
            return said(
                Outcome::Changed,
                "the redirect of a directory without its slash names the scheme, host and port that \
                 the client asked for",
            );
        }
        "proxy_socket_keepalive" | "grpc_socket_keepalive" if directive.argument(0) == "on" => {
            return said(
                Outcome::Changed,
                "TCP's own probes are not sent: `read_timeout` ends what is silent for long",
            );
        }
        name if MAKERS.contains(&name) => {
            return said(
                Outcome::Harmless,
                "it only makes a variable: where that is used, the report tells of it",
            );
        }
        "proxy_force_ranges" if directive.argument(0) == "on" => {
            return said(
                Outcome::Changed,
                "servers get `Range`, and parts are theirs to send: a client that asks for one \
                 takes a whole answer as well (RFC 9110 section 14.2)",
            );
        }
        "set" if !NOT_ONES_OWN.contains(&directive.argument(0)) => {
            return said(Outcome::Harmless, "nothing that is translated uses it");
        }
        "ignore_invalid_headers" => {
            return said(Outcome::Changed, "a header that is not valid is a 400");
        }
        _ => {}
    }
    if let Some((_, why)) = HARMLESS.iter().find(|(names, _)| names.contains(&name)) {
        return said(Outcome::Harmless, why);
    }
    if OF_LISTENER.contains(&name) {
        return said(
            Outcome::Changed,
            "it is said of a listener here: what the first `server` of its address says",
        );
    }
    let off = directive.arguments.len() == 1 && directive.argument(0) == "off";
    let twin = nginx_twin(name);
    let means_nothing = match twin {
        Some(NginxTwin::NotThere(_)) => name != "merge_slashes",
        _ => SWITCHED_OFF.contains(&name),
    };
    if off && means_nothing {
        return said(Outcome::Harmless, "off, as without it");
    }
    for ((beginning, switch), (_, is_on)) in SWITCHES.iter().zip(switched) {
        let is_lost = || matches!(nginx_twin(switch), Some(NginxTwin::NotThere(_)));
        if name.starts_with(beginning) && name != *switch && (!is_on || is_lost()) {
            return (
                Outcome::Harmless,
                format!("without `{switch}` it does nothing"),
            );
        }
    }
    if accounts.was_asked(name) {
        return said(Outcome::Harmless, "nothing that is translated uses it");
    }
    match twin {
        Some(NginxTwin::Automatic(why)) => said(Outcome::BuiltIn, why),
        Some(NginxTwin::NotThere(instead)) => said(Outcome::Lost, instead),
        Some(NginxTwin::Is(form)) => (
            Outcome::Lost,
            format!("not translated at this place; it is {form}"),
        ),
        None if is_nginx_directive(name) => said(
            Outcome::Lost,
            "not translated at this place; it has the same name here",
        ),
        None => said(
            Outcome::Lost,
            "unknown: nginx has no such directive of its own: a typing error, or one of a module",
        ),
    }
}
