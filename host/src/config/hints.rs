//! The way out for what is written at the wrong place, in another language, or as nginx has it.

use super::declared::ROOT;
use super::key::{Table, ValueKind};
use super::problem::{listing, suggestion};
use super::scalar::truth;
use super::{nginx, reference};

/// Keys that are worth a list where it may not be what is wanted.
const FEW: usize = 6;

/// A key of nginx, or of another table, in a table that has the same thing by another name: the
/// titles of the tables, the key, its name here, and what may be its value.
const HERE: &[(&[&str], &str, &str, &str)] = &[
    (
        &["[[listen]]", "[[stream]]", "[admin]"],
        "listen",
        "address",
        "127.0.0.1:8080",
    ),
    (&["[upstream.NAME]"], "server", "servers", "10.0.0.1:3000"),
    (&["servers"], "server", "address", "10.0.0.1:3000"),
    (
        &["[[route]]", "[[stream]]", "[[stream.sni]]"],
        "upstream",
        "proxy",
        "NAME",
    ),
    (
        &["[[stream]]", "[[stream.sni]]"],
        "proxy_pass",
        "proxy",
        "NAME",
    ),
    (&["[[stream.sni]]"], "server_name", "host", "a.example"),
    (
        &["when of a log", "when of a stream's log"],
        "statuses",
        "status",
        "5xx",
    ),
];

/// Keys that are of other things elsewhere, or that several keys stand for: the beginning of the
/// table's title, the key, and what to write.
const TOLD: &[(&str, &str, &str)] = &[
    (
        "access_log",
        "if",
        "here it is `when`, as `when = { status = [\"4xx\", \"5xx\"] }`; of a variable, `when = { \
         variable = { loggable = [\"!\", \"!0\"] } }`",
    ),
    (
        "access_log",
        "gzip",
        "logs are written as they are: leave it out, and let the rotation compress what it has \
         moved away (docs/logs.md)",
    ),
    ("health_check", "uri", "here it is `path`"),
    ("health_check", "passes", "here it is `rise`"),
    ("health_check", "fails", "here it is `fall`"),
    (
        "health_check",
        "mandatory",
        "here it is `initial = \"down\"`",
    ),
    ("limits", "max_requests", "here it is `requests`"),
    ("limits", "max_connections", "here it is `connections`"),
    (
        "compression",
        "level",
        "each coding has its own: `gzip_level`, `brotli_level`, `zstd_level`",
    ),
];

/// How a table, or what may stand in its place, is written, by its title, where two of its keys would
/// not tell.
const EXAMPLES: &[(&str, &str)] = &[
    ("access_log", "\"access.log\""),
    ("access_log of a stream", "\"access.log\""),
    ("compression", "{ codings = [\"gzip\"] }"),
    ("error_log", "{ level = \"error\" }"),
    ("files", "\"/srv/static\""),
    ("queue", "{ size = 100, timeout = \"10s\" }"),
    ("when", "{ method = \"POST\" }"),
    ("when of a log", "{ status = \"5xx\" }"),
    ("when of a stream's log", "{ status = \"5xx\" }"),
];

/// In a text that is a URL.
const URL: &str = "://";

/// A table that is hardly more than one text.
struct OfText {
    title: &'static str,
    /// Keys that may have such a text, and what it begins with, or ends with if that is an ending.
    keys: &'static [(&'static str, &'static str)],
    example: &'static str,
}

const OF_TEXT: &[OfText] = &[
    OfText {
        title: "servers_from",
        keys: &[("http", URL), ("file", "")],
        example: "servers.json",
    },
    OfText {
        title: "health_check",
        keys: &[("path", "/")],
        example: "/health",
    },
    OfText {
        title: "error_pages",
        keys: &[
            ("file", ".html"),
            ("location", "/"),
            ("location", URL),
            ("body", ""),
        ],
        example: "not here",
    },
];

/// For a key that a table does not have.
/// `value`: its value, where that is a string.
pub(super) fn unknown_key(key: &str, value: Option<&str>, table: &'static Table) -> String {
    let mut here = HERE.iter();
    let named = here.find(|(tables, name, ..)| *name == key && tables.contains(&table.title));
    if let Some((_, _, ours, example)) = named {
        let value = toml::Value::from(value.unwrap_or(example));
        let is_list = matches!(
            table.key(ours).map(|key| &key.kind),
            Some(ValueKind::List(_))
        );
        return match is_list {
            true => format!("here it is `{ours} = [{value}]`"),
            false => format!("here it is `{ours} = {value}`"),
        };
    }
    let known: Vec<_> = table.keys().filter(|key| key.available()).collect();
    let near = suggestion(key, known.iter().map(|key| key.name), "known keys");
    // A table that is there for names, as those of headers.
    let mut kinds = known.iter().map(|key| &key.kind);
    if kinds.all(|kind| matches!(kind, ValueKind::Named(_) | ValueKind::List(_)))
        && let Some(free) = known.iter().find(|free| holds_any_name(&free.kind))
        && !near.starts_with("did you mean")
    {
        // A header's name beside `set`, where it belongs in it.
        let (set, value) = (free.name, "...");
        return format!("write it within `{set}`: `{set} = {{ {key} = \"{value}\" }}`");
    }
    let mut told = TOLD.iter();
    let told = told.find(|(title, of, _)| *of == key && table.title.starts_with(title));
    if let Some((.., hint)) = told {
        return (*hint).to_owned();
    }
    if let Some(hint) = nginx::hint(key) {
        return hint;
    }
    let elsewhere = elsewhere(key, table);
    // One letter away from what may stand here: `hook` for `hooks`.
    let is_plural = known
        .iter()
        .any(|known| known.name.strip_suffix('s') == Some(key));
    if !elsewhere.is_empty() && !is_plural {
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

/// For another value where a table is wanted: how one is written. `text`: the value, where it is
/// one.
pub(super) fn table_form(name: &str, kind: &ValueKind, text: Option<&str>) -> Option<String> {
    match kind {
        ValueKind::Named(ValueKind::Table(table)) if !table.title.starts_with('[') => {
            let example = example(table, text)?;
            Some(format!("write it as `{name} = {{ 404 = {example} }}`"))
        }
        ValueKind::Named(ValueKind::Table(table)) => Some(format!(
            "write `{}`, each with its name in its header",
            table.title
        )),
        ValueKind::Table(table) => {
            let example = example(table, text).unwrap_or_else(|| {
                let keys = table.keys().filter(|key| key.available()).take(2);
                let keys = keys.map(|key| match key.kind {
                    ValueKind::Text => format!("{} = \"...\"", key.name),
                    _ => format!("{} = ...", key.name),
                });
                let keys: Vec<String> = keys.collect();
                format!("{{ {} }}", keys.join(", "))
            });
            Some(format!("write it as `{name} = {example}`"))
        }
        ValueKind::Either(kinds) => kinds.iter().find_map(|kind| match kind {
            ValueKind::Table(table) => {
                let example = example(table, text)?;
                Some(format!("write it as `{name} = {example}`"))
            }
            _ => None,
        }),
        _ => None,
    }
}

fn example(table: &Table, text: Option<&str>) -> Option<String> {
    let mut examples = EXAMPLES.iter();
    if let Some((_, example)) = examples.find(|(title, _)| *title == table.title) {
        return Some((*example).to_owned());
    }
    let of_text = OF_TEXT.iter().find(|each| each.title == table.title)?;
    let fitting = |text: &str| {
        let mut keys = of_text.keys.iter();
        keys.find(|(_, part)| match *part {
            URL => text.contains(URL),
            ending if ending.starts_with('.') => text.ends_with(ending) && !text.contains(URL),
            beginning => text.starts_with(beginning),
        })
    };
    let text = text
        .filter(|text| fitting(text).is_some())
        .unwrap_or(of_text.example);
    let (key, _) = fitting(text)?;
    Some(format!("{{ {key} = {} }}", toml::Value::from(text)))
}

/// For tables where there can be one only.
pub(super) fn one_table(table: &Table) -> String {
    let once = format!("write `{}` once, with one pair of brackets", table.title);
    match table.title {
        "[server]" => format!("nginx's `server` is `[[listen]]` and `[[route]]`; or {once}"),
        _ => once,
    }
}

/// For a text that is not TOML. `message`: what the parser says of it; `at`: the byte where.
pub(super) fn not_toml(text: &str, message: &str, at: usize) -> Option<String> {
    if message.contains("escape") {
        let hint = "a backslash in double quotes begins an escape: write a regular expression in \
                    single quotes, `'~ \\.php$'`";
        return Some(hint.to_owned());
    }
    let mut lines = text.lines().map(str::trim);
    if lines.clone().any(is_nginx) {
        let hint = "this looks like a configuration of nginx: Waypost's is TOML, and \
                    docs/coming-from-nginx.md has one beside the other";
        return Some(hint.to_owned());
    }
    let yaml = "this looks like YAML: Waypost's configuration is TOML, with `key = value`";
    unquoted(text, at).or_else(|| lines.any(is_yaml).then(|| yaml.to_owned()))
}

/// Whether a line begins or ends a block, or is a directive.
fn is_nginx(line: &str) -> bool {
    // The head of a block is words, that of a table in TOML has a `=`.
    let head = line.split_once('{').map_or("", |(head, _)| head.trim_end());
    let is_block = head.starts_with(|c: char| c.is_ascii_alphabetic())
        && !head.contains(['=', '"', '\'', '[', ','])
        || line.ends_with("};");
    let is_directive = line.ends_with(';') && !line.contains(" = ");
    !line.starts_with('#') && (is_block || is_directive)
}

fn is_yaml(line: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let key = line.split_once(':');
    key.is_some_and(|(key, rest)| !key.is_empty() && key.chars().all(word) && !rest.contains('='))
}

/// For a value that has no quotes, at the place where the parser stopped.
fn unquoted(text: &str, at: usize) -> Option<String> {
    let before = text.get(..at.min(text.len()))?;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = text.get(start..)?.lines().next()?;
    let here = at - start;
    let equals = line.get(..here)?.rfind('=')?;
    let (key, value) = (line.get(..equals)?.trim_end(), line.get(equals + 1..)?);
    let key = key.rsplit([' ', '{', ',']).next()?;
    let value = value.split([',', ']', '}', '#']).next()?.trim();
    if let Some(value) = value.strip_suffix(';') {
        return Some(format!(
            "lines of TOML end without `;`: `{key} = {}`",
            value.trim_end()
        ));
    }
    let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '[' | '{' | '=');
    if key.is_empty() || value.is_empty() || !value.chars().all(is_plain) {
        return None;
    }
    Some(match truth(value) {
        Some(truth) => format!("write `{key} = {truth}`"),
        None => format!("put it in quotes: `{key} = \"{value}\"`"),
    })
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
            ("limit_req", &ROUTE, "the zone's `[hook.NAME]` in `hooks`"),
            ("limit_req_zone", &SERVER, "a `[hook.NAME]` with"),
            ("auth_jwt_key_file", &ROUTE, "the hook `jwt`"),
            ("gzip_types", &SERVER, "`types` in `compression`"),
            ("gzip_disable", &SERVER, "is not there"),
            ("sendfile", &SERVER, "needs no key"),
            ("upgrade", &ROUTE, "known keys"),
        ] {
            let hint = unknown_key(key, None, table);
            assert!(hint.contains(part), "{key}: {hint}");
        }
    }

    #[test]
    fn what_belongs_elsewhere_is_told_where() {
        assert_eq!(
            unknown_key("connect_timeout", None, &ROUTE),
            "`connect_timeout` belongs in `[upstream.NAME]`, `[store]`"
        );
        assert_eq!(unknown_key("hook", None, &ROUTE), "did you mean `hooks`?");
        assert_eq!(
            unknown_key("admin", None, &SERVER),
            "`admin` belongs in `[admin]`"
        );
        assert_eq!(
            unknown_key("listen", None, &SERVER),
            "`listen` belongs in `[[listen]]`"
        );
        assert_eq!(
            unknown_key("X-Frame-Options", None, &HEADERS),
            "write it within `set`: `set = { X-Frame-Options = \"...\" }`"
        );
        assert_eq!(
            unknown_key("adress", None, &LISTEN),
            "did you mean `address`?"
        );
    }

    #[test]
    fn another_language_is_recognised() {
        let nginx = "server {\n    listen 80;\n}\n";
        let yaml = "listen:\n  - address: 1.2.3.4\n";
        for (text, part) in [(nginx, "nginx"), (yaml, "YAML")] {
            let hint = not_toml(text, "key with no value", 0).unwrap_or_default();
            assert!(hint.contains(part), "{hint}");
        }
        let one_line = "upstream b { server x weight=2; }";
        let hint = not_toml(one_line, "expected", 9).unwrap_or_default();
        assert!(hint.contains("nginx"), "{hint}");
        let escape = not_toml("path = \"\\.\"", "missing escaped value", 9);
        assert!(escape.is_some_and(|hint| hint.contains("single quotes")));
    }

    #[test]
    fn a_value_without_quotes_is_told_with_them() {
        for (text, hint) in [
            (
                "# a = b\naddress = 127.0.0.1:80 # c\n",
                "put it in quotes: `address = \"127.0.0.1:80\"`",
            ),
            ("http2 = on", "write `http2 = true`"),
            ("tls = { a = 1, verify = off }", "write `verify = false`"),
            (
                "workers = 4;",
                "lines of TOML end without `;`: `workers = 4`",
            ),
        ] {
            let at = text.rfind(['1', '4', 'o']).unwrap_or_default();
            assert_eq!(not_toml(text, "expected", at).as_deref(), Some(hint));
        }
        assert_eq!(not_toml("a = [1,,2]", "expected", 7), None);
    }

    #[test]
    fn what_has_another_name_in_a_table_is_told_by_it() {
        for (titles, key, ours, _) in HERE {
            for title in *titles {
                let tables = reference::tables();
                let table = tables.iter().find(|table| table.title == *title);
                let table = table.unwrap_or_else(|| panic!("no table {title}"));
                assert!(table.key(key).is_none(), "{title} has {key}");
                assert!(table.key(ours).is_some(), "{title} has no {ours}");
                let hint = unknown_key(key, Some("mine"), table);
                assert!(hint.contains(&format!("`{ours} = ")), "{hint}");
                assert!(hint.contains("\"mine\""), "{hint}");
            }
        }
    }
}
