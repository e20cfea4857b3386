//! What holds for the whole process: the outermost directives, and those of `http` that are said
//! once.

use super::report::Accounts;
use super::scope::Scope;
use super::tree::Directive;
use super::values;
use super::writer::{Table, list, text};
use crate::config::duration_text;

/// Writes the keys of `[server]` that the outermost directives have.
pub(super) fn process(root: &Scope<'_>, keys: &mut Table, accounts: &Accounts) {
    for directive in root.own("worker_processes") {
        match directive.argument(0) {
            "auto" => accounts.built_in(directive, "one worker per core is the default"),
            number if number.parse::<u16>().is_ok_and(|number| number > 0) => {
                keys.set("workers", number);
                accounts.translated(directive, "`workers` in `[server]`");
            }
            _ => accounts.lost(directive, "it is neither `auto` nor a number"),
        }
    }
    for events in root.own("events") {
        accounts.built_in(events, "each worker accepts on sockets of its own");
        for child in events.children() {
            match &*child.name {
                "worker_connections" => accounts.changed(
                    child,
                    "`max_connections` of `[server]` is for all workers together, and by default as \
                     many as the limit on open files leaves room for",
                ),
                _ => accounts.built_in(child, "each worker accepts on sockets of its own"),
            }
        }
    }
    for directive in root.own("worker_shutdown_timeout") {
        if let Some(time) = values::time(directive.argument(0)) {
            keys.set("shutdown_timeout", text(&duration_text(time)));
            accounts.translated(directive, "`shutdown_timeout` in `[server]`");
        }
    }
    for directive in root.own("user") {
        accounts.changed(
            directive,
            "start it as that user; systemd's `AmbientCapabilities=CAP_NET_BIND_SERVICE` lets it \
             have ports below 1024",
        );
    }
    for directive in root.own("env") {
        accounts.harmless(directive, "the configuration reads the environment itself");
    }
    for directive in root.own("load_module") {
        accounts.harmless(
            directive,
            "what it brings has its own directives, each told of below",
        );
    }
}

/// `error_log` of the process; those of contexts within go there as well.
pub(super) fn error_log(scopes: &[&Scope<'_>], keys: &mut Table, accounts: &Accounts) {
    for scope in scopes {
        for directive in scope.own("error_log") {
            if keys.get("error_log").is_some() {
                accounts.changed(
                    directive,
                    "the process has one error log, and all goes there",
                );
                continue;
            }
            let path = match directive.argument(0) {
                "/dev/stderr" => "stderr",
                "/dev/stdout" => "stdout",
                "/dev/null" => {
                    accounts.changed(directive, "errors are logged to the standard error");
                    continue;
                }
                path if path.starts_with("syslog:") || path.starts_with("memory:") => {
                    accounts.lost(directive, "an error log is a file, `stderr` or `stdout`");
                    continue;
                }
                path => path,
            };
            let level = match directive.argument(1) {
                "debug" => "debug",
                "info" | "notice" => "info",
                "warn" => "warn",
                _ => "error",
            };
            let mut table = Table::new().with("path", text(path));
            if level != "info" {
                table.set("level", text(level));
            }
            let value = match level {
                "info" => text(path),
                _ => table.inline(),
            };
            keys.set("error_log", value);
            accounts.translated(directive, "`error_log` in `[server]`");
        }
    }
}

/// `resolver` and `resolver_timeout` as a table; none where nothing is to be said.
pub(super) fn resolver(directives: &[&Directive]) -> Option<Table> {
    let mut table = Table::new();
    for directive in directives {
        if directive.name == "resolver_timeout" {
            let time = values::time(directive.argument(0))?;
            table.set("timeout", text(&duration_text(time)));
            continue;
        }
        let mut addresses = Vec::new();
        for argument in &directive.arguments {
            match argument.split_once('=') {
                None => addresses.push(text(argument)),
                Some(("valid", time)) => {
                    table.set("valid", text(&duration_text(values::time(time)?)));
                }
                Some(("ipv6", "off")) => table.set("ipv6", "false"),
                Some(_) => {}
            }
        }
        let mut whole = Table::new().with("addresses", list(addresses));
        for name in ["valid", "ipv6", "timeout"] {
            if let Some(value) = table.get(name) {
                whole.set(name, value);
            }
        }
        table = whole;
    }
    (!table.is_empty()).then_some(table)
}

/// `resolver` of a context, where names are resolved while requests are served. Elsewhere nginx
/// asks the machine's name servers, as is the default here.
pub(super) fn resolvers(scope: &Scope<'_>, are_used: bool, keys: &mut Table, accounts: &Accounts) {
    let mut directives: Vec<&Directive> = scope.nearest("resolver").to_vec();
    directives.extend(scope.nearest("resolver_timeout"));
    if !are_used {
        return;
    }
    let Some(table) = resolver(&directives) else {
        return;
    };
    let value = table.inline();
    match keys.get("resolver") {
        Some(known) if known != value => {
            for directive in directives {
                accounts.lost(
                    directive,
                    "another `resolver` is in `[server]` already: give this one to the upstreams \
                     that need it",
                );
            }
            return;
        }
        _ => keys.set("resolver", value),
    }
    for directive in directives {
        accounts.translated(directive, "`resolver` in `[server]`");
    }
}
