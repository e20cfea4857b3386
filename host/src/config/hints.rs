//! The way out for what is written at the wrong place, in another language, or as nginx has it.

use super::declared::ROOT;
use super::key::{Table, ValueKind};
use super::problem::{listing, suggestion};
use super::{nginx, reference};

/// Keys that are worth a list where it may not be what is wanted.
const FEW: usize = 6;

/// For a key that a table does not have.
pub(super) fn unknown_key(key: &str, table: &'static Table) -> String {
    let known: Vec<_> = table.keys().filter(|key| key.available()).collect();
    let near = suggestion(key, known.iter().map(|key| key.name), "known keys");
    if let Some(free) = known.iter().find(|free| holds_any_name(&free.kind))
        && !near.starts_with("did you mean")
    {
        // A header's name beside `set`, where it belongs in it.
        let (set, value) = (free.name, "...");
        return format!("write it within `{set}`: `{set} = {{ {key} = \"{value}\" }}`");
    }
    if let Some(hint) = nginx::hint(key) {
        return hint;
    }
    let elsewhere = elsewhere(key, table);
    if !elsewhere.is_empty() {
        let belongs = format!("`{key}` belongs in {}", listing(&elsewhere));
        let names: Vec<&str> = known.iter().map(|key| key.name).collect();
        return match names.len() <= FEW {
            true => format!("{belongs}; known keys: {}", listing(&names)),
            false => belongs,
        };
    }
    near
}

/// Whether it is a table of names that the user chooses, with a text for each.
fn holds_any_name(kind: &ValueKind) -> bool {
    matches!(kind, ValueKind::Named(ValueKind::Text))
}

/// The titles of other tables that have a key.
fn elsewhere(key: &str, table: &'static Table) -> Vec<&'static str> {
    if let Some(of_root) = ROOT.key(key).filter(|of_root| of_root.available()) {
        return title(&of_root.kind).into_iter().collect();
    }
    let others = reference::tables().into_iter();
    let others = others.filter(|other| !std::ptr::eq(*other, table));
    let have = others.filter(|other| other.key(key).is_some_and(|key| key.available()));
    have.map(|other| other.title).collect()
}

/// How a table is begun.
fn title(kind: &ValueKind) -> Option<&'static str> {
    match kind {
        ValueKind::Table(table) => Some(table.title),
        ValueKind::List(of) | ValueKind::Named(of) => title(of),
        _ => None,
    }
}

/// For another value where a table is wanted: how one is written.
pub(super) fn table_form(name: &str, kind: &ValueKind) -> Option<String> {
    match kind {
        ValueKind::Named(ValueKind::Table(table)) => Some(format!(
            "write `{}`, each with its name in its header",
            table.title
        )),
        ValueKind::Table(table) => {
            let keys = table.keys().filter(|key| key.available()).take(2);
            let keys = keys.map(|key| match key.kind {
                ValueKind::Text => format!("{} = \"...\"", key.name),
                _ => format!("{} = ...", key.name),
            });
            let keys: Vec<String> = keys.collect();
            Some(format!("write it as `{name} = {{ {} }}`", keys.join(", ")))
        }
        _ => None,
    }
}

/// For a text that is not TOML. `message`: what the parser says of it.
pub(super) fn not_toml(text: &str, message: &str) -> Option<&'static str> {
    if message.contains("escape") {
        return Some(
            "a backslash in double quotes begins an escape: write a regular expression in single quotes, `'~ \\.php$'`",
        );
    }
    let mut lines = text.lines().map(str::trim);
    let is_block = |line: &str| {
        line.ends_with('{') && !line.contains(['=', '"', '\'']) || line.ends_with("};")
    };
    let is_directive =
        |line: &str| line.ends_with(';') && !line.starts_with('#') && !line.contains('=');
    if lines
        .clone()
        .any(|line| is_block(line) || is_directive(line))
    {
        return Some(
            "this looks like a configuration of nginx: Waypost's is TOML, and docs/coming-from-nginx.md has one beside the other",
        );
    }
    let is_yaml = |line: &str| {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let key = line
            .split_once(':')
            .map(|(key, rest)| (key, rest.trim_start()));
        key.is_some_and(|(key, rest)| {
            !key.is_empty() && key.chars().all(word) && !rest.contains('=')
        })
    };
    lines
        .any(is_yaml)
        .then_some("this looks like YAML: Waypost's configuration is TOML, with `key = value`")
}

#[cfg(test)]
mod tests {
    use super::super::declared::{HEADERS, LISTEN, ROUTE, SERVER, UPSTREAM};
    use super::*;

    #[test]
    fn nginxs_words_are_told_in_ours() {
        for (key, table, part) in [
            ("proxy_set_header", &ROUTE, "`request_headers = { set = {"),
            ("proxy_connect_timeout", &UPSTREAM, "`connect_timeout` in"),
            ("proxy_cache", &ROUTE, "is not there"),
            ("proxy_cache_valid", &ROUTE, "is not there"),
            ("location", &SERVER, "`[[route]]` with `path`"),
            ("server_name", &LISTEN, "`host` in `[[route]]`"),
            ("ssl_certificate", &LISTEN, "`certificate` and `key`"),
            ("limit_req", &ROUTE, "is not there"),
            ("gzip_types", &SERVER, "is not there"),
            ("sendfile", &SERVER, "needs no key"),
            ("upgrade", &ROUTE, "known keys"),
        ] {
            let hint = unknown_key(key, table);
            assert!(hint.contains(part), "{key}: {hint}");
        }
    }

    #[test]
    fn what_belongs_elsewhere_is_told_where() {
        assert_eq!(
            unknown_key("connect_timeout", &ROUTE),
            "`connect_timeout` belongs in `[upstream.NAME]`"
        );
        assert_eq!(
            unknown_key("admin", &SERVER),
            "`admin` belongs in `[admin]`"
        );
        assert_eq!(
            unknown_key("listen", &SERVER),
            "`listen` belongs in `[[listen]]`"
        );
        assert_eq!(
            unknown_key("X-Frame-Options", &HEADERS),
            "write it within `set`: `set = { X-Frame-Options = \"...\" }`"
        );
        assert_eq!(unknown_key("adress", &LISTEN), "did you mean `address`?");
    }

    #[test]
    fn another_language_is_recognised() {
        let nginx = "server {\n    listen 80;\n}\n";
        let yaml = "listen:\n  - address: 1.2.3.4\n";
        for (text, part) in [(nginx, "nginx"), (yaml, "YAML")] {
            let hint = not_toml(text, "key with no value").unwrap_or_default();
            assert!(hint.contains(part), "{hint}");
        }
        assert_eq!(not_toml("address = 127.0.0.1:80\n", "expected"), None);
        let escape = not_toml("path = \"\\.\"", "missing escaped value");
        assert!(escape.is_some_and(|hint| hint.contains("single quotes")));
    }
}
