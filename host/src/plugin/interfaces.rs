//! Which interfaces a plugin may import, by whose leave, and which versions of them this host has.

use crate::config::model::Grants;

use super::error::PluginError;
use super::untrusted::Untrusted;

/// The package of the contract, and the version that this host has.
pub(super) const PACKAGE: &str = "waypost:plugin";
pub(super) const VERSION: &str = "0.2.0";

/// What a plugin may import, in words.
pub(super) const IMPORTS: &str = "`waypost:plugin` 0.2 (nginx, fleet, upstream, clock, metrics, log, \
                                  and request, connection, variables, response, exchange, attempt, changes, bodies, checks, files, store, upstream-requests where granted) and \
                                  `wasi` 0.2 (io, cli, clocks, random; its files, sockets and http reach nothing)";

/// The versions that this host has, by package: any patch of them will do.
const VERSIONS: &[(&str, &str)] = &[("waypost:plugin/", "0.2"), ("wasi:", "0.2")];

/// Interfaces that every plugin may import. The WASI reaches nothing.
const FREE: &[&str] = &[
    "waypost:plugin/types",
    "waypost:plugin/nginx",
    "waypost:plugin/fleet",
    "waypost:plugin/upstream",
    "waypost:plugin/clock",
    "waypost:plugin/metrics",
    "waypost:plugin/log",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/stderr",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:cli/terminal-stderr",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:random/random",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
];

/// What plugins share.
pub(super) const STORE: &str = "waypost:plugin/store";
const REQUESTS: &str = "waypost:plugin/upstream-requests";

/// The packages of WASI 0.2: of what is not in [`FREE`] of them, there is only a
/// [stub](super::stubs).
const WASI: &[&str] = &[
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:filesystem/",
    "wasi:http/",
    "wasi:io/",
    "wasi:random/",
    "wasi:sockets/",
];

/// Those that an entry's `grants` names, with the word for each.
const GRANTED: &[(&str, &str)] = &[
    ("waypost:plugin/request", "request"),
    ("waypost:plugin/connection", "request"),
    ("waypost:plugin/variables", "request"),
    ("waypost:plugin/response", "response"),
    ("waypost:plugin/exchange", "exchange"),
    ("waypost:plugin/attempt", "exchange"),
    ("waypost:plugin/changes", "changes"),
    ("waypost:plugin/bodies", "bodies"),
    ("waypost:plugin/checks", "checks"),
    ("waypost:plugin/files", "files"),
    (STORE, "store"),
    (REQUESTS, "http"),
];

/// What asks upstreams, and the word that grants it. Toolchains import it whether or not it is used:
/// without that word it is a [stub](super::stubs).
const OUTGOING: (&str, &str) = ("wasi:http/outgoing-handler", "http");

/// What asks upstreams and waits for them.
pub(super) const ASKING: [&str; 2] = [REQUESTS, OUTGOING.0];

/// The words of `grants` that a plugin with these imports needs, in the order of the reference.
pub fn grants_needed<'a>(imports: impl Iterator<Item = &'a str>) -> Vec<&'static str> {
    let imports: Vec<&str> = imports.map(|import| split(import).0).collect();
    let needed = GRANTED
        .iter()
        .chain([&OUTGOING])
        .filter(|(interface, _)| imports.contains(interface));
    let mut words: Vec<&str> = needed.map(|(_, grant)| *grant).collect();
    words.dedup();
    words
}

/// Whether every plugin is given an interface.
pub(super) fn is_free(interface: &str) -> bool {
    FREE.contains(&interface)
}

/// Whether a plugin may import all of these.
pub(super) fn check_imports(
    plugin: &str,
    imports: &[String],
    grants: &Grants,
) -> Result<(), PluginError> {
    for import in imports {
        let (interface, version) = split(import);
        let known = is_free(interface)
            || WASI.iter().any(|package| interface.starts_with(package))
            || GRANTED.iter().any(|(name, _)| *name == interface);
        if !known {
            return Err(PluginError::Import {
                plugin: plugin.to_owned(),
                import: Untrusted::name(import),
            });
        }
        if !fits(interface, version) {
            return Err(version_error(plugin, "imports", import));
        }
    }
    let granted = |grant: &str| match grant {
        "request" => grants.request,
        "response" => grants.response,
        "exchange" => grants.exchange,
        "changes" => grants.changes,
        "bodies" => grants.bodies,
        "checks" => grants.checks,
        "files" => grants.files,
        "http" => grants.http,
        _ => grants.store,
    };
    let missing = |import: &&String| {
        GRANTED
            .iter()
            .any(|(name, grant)| *name == split(import).0 && !granted(grant))
    };
    let missing: Vec<Untrusted> = imports
        .iter()
        .filter(missing)
        .map(Untrusted::name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let needed = grants_needed(imports.iter().map(String::as_str));
    let mut words: Vec<&str> = GRANTED.iter().map(|(_, grant)| *grant).collect();
    words.dedup();
    Err(PluginError::Grant {
        plugin: plugin.to_owned(),
        imports: missing,
        grants: words
            .into_iter()
            .filter(|grant| granted(grant) || needed.contains(grant))
            .collect(),
        uses: Vec::new(), // its exports are not looked at here
    })
}

/// The refusal of an interface that is known, in a version that is not.
pub(super) fn version_error(plugin: &str, verb: &'static str, found: &str) -> PluginError {
    let (interface, _) = split(found);
    PluginError::Version {
        plugin: plugin.to_owned(),
        verb,
        found: Untrusted::name(found),
        wanted: format!("{interface}@{}", wanted(interface)),
    }
}

/// `waypost:plugin/fleet` and `0.2.0`, of `waypost:plugin/fleet@0.2.0`. The version is empty where
/// there is none.
pub(super) fn split(name: &str) -> (&str, &str) {
    name.split_once('@').unwrap_or((name, ""))
}

fn fits(interface: &str, version: &str) -> bool {
    let rest = version.strip_prefix(wanted(interface));
    // 0.2 and 0.2.7, but neither 0.20.0 nor a preview such as 0.2.0-rc.1.
    rest.is_some_and(|rest| (rest.is_empty() || rest.starts_with('.')) && !rest.contains('-'))
}

fn wanted(interface: &str) -> &'static str {
    let package = VERSIONS
        .iter()
        .find(|(package, _)| interface.starts_with(package));
    package.map_or("", |(_, version)| version)
}
