//! What is said of answers, whoever gives them: how long they may be kept, whether they are
//! compressed, what takes the place of errors.

use super::Translator;
use super::scope::Scope;
use super::tree::Directive;
use super::values;
use super::writer::{Block, Headers, Table, list, text};
use crate::config::model::WITH_HEADERS;
use crate::config::{COMPRESSED_TYPES, duration_text, size_text};
use crate::http::variable::Phase;

/// Names of types that lists of `gzip_types` hand down, and that nobody sends, or that are compressed
/// by themselves.
const OBSOLETE: &[&str] = &[
    "application/font",
    "application/font-woff",
    "application/font-woff2",
    "application/opentype",
    "application/otf",
    "application/truetype",
    "application/ttf",
    "application/x-font",
    "application/x-font-opentype",
    "application/x-font-otf",
    "application/x-font-truetype",
    "application/x-font-ttf",
    "application/x-font-woff",
    "application/x-httpd-php",
    "application/xml+rss",
    "application/x-xml",
    "application/xml+atom",
    "font/eot",
    "font/opentype",
    "font/truetype",
    "font/woff",
    "font/woff2",
    "font/x-woff",
    "image/gif",
    "image/jpeg",
    "image/jpg",
    "image/png",
    "image/svg",
    "image/webp",
];

/// The bounds of a level of compression.
const LEVELS: std::ops::RangeInclusive<u8> = 1..=9;

impl Translator<'_> {
    /// Writes what a context says around an answer that is given here. `status`: its own, where that
    /// is known.
    pub(super) fn around_answer(
        &mut self,
        scope: &Scope<'_>,
        block: &mut Block,
        headers: Headers,
        status: Option<u16>,
    ) {
        block.set_headers("response_headers", headers);
        self.of_answers(scope, block, status);
        if let Some(log) = self.access_log(scope, Phase::Log) {
            block.keys.set("access_log", log);
        }
        if let Some(traces) = self.traces_of(scope) {
            block.keys.set("traces", traces);
        }
    }

    /// Writes what a context says of its answers. `status`: theirs, where that is known.
    pub(super) fn of_answers(&mut self, scope: &Scope<'_>, block: &mut Block, status: Option<u16>) {
        self.expires(scope, status, &mut block.keys);
        // What a route says itself is short.
        let is_said = block.keys.get("return").is_some();
        if let Some(value) = self.compression(scope).filter(|_| !is_said) {
            block.keys.set("compression", value);
        }
        if let Some(directive) = scope.one("gunzip") {
            match directive.argument(0) {
                "on" if block.get("proxy").is_none() => {
                    let why = "nothing here is compressed by a server";
                    self.accounts.harmless(directive, why);
                }
                "on" => {
                    block.keys.set("gunzip", "true");
                    self.accounts.translated(directive, "`gunzip`");
                }
                _ => self.accounts.harmless(directive, "off, as without it"),
            }
        }
        block.join_caching();
        // What has a text, or says where to go, is no error that could have a page.
        if block.refuses() != Some(None) {
            self.pages(scope, status, block);
        }
    }

    /// `expires` (`ngx_http_parse_expires`).
    fn expires(&self, scope: &Scope<'_>, status: Option<u16>, keys: &mut Table) {
        let accounts = self.accounts;
        let Some(directive) = scope.one("expires") else {
            return;
        };
        let (first, is_single) = (directive.argument(0), directive.arguments.len() == 1);
        let value = match first {
            "off" => return accounts.harmless(directive, "off, as without it"),
            _ if status.is_some_and(|status| !WITH_HEADERS.contains(&status)) => {
                return accounts.harmless(directive, "nginx leaves it out with this status");
            }
            "epoch" => Some("epoch".to_owned()),
            "max" => Some("max".to_owned()),
            _ if first.starts_with('-') => Some("epoch".to_owned()),
            _ if is_single => {
                let time = values::time(first.trim_start_matches('+'));
                time.map(duration_text)
            }
            _ => None,
        };
        match value {
            Some(value) => {
                keys.set("expires", text(&value));
                accounts.translated(directive, "`expires`, as `Cache-Control` alone");
            }
            None if first == "modified" => accounts.lost(
                directive,
                "`expires` counts from the answer: say how long it may be kept",
            ),
            None if first.starts_with('@') => accounts.lost(
                directive,
                "`expires` counts from the answer, not to a time of the day",
            ),
            None => accounts.lost(
                directive,
                "a time here is fixed: set `Cache-Control` in `response_headers`, which may have \
                 variables",
            ),
        }
    }

    /// `gzip`, `brotli` and their companions; none where nothing is compressed.
    fn compression(&self, scope: &Scope<'_>) -> Option<String> {
        let accounts = self.accounts;
        let is_on = |name| scope.is_on(name);
        let (gzip, brotli) = (is_on("gzip"), is_on("brotli"));
        for name in ["gzip", "brotli"] {
            if let Some(off) = scope.one(name).filter(|each| each.argument(0) == "off") {
                accounts.harmless(off, "off, as without it");
            }
        }
        if !gzip && !brotli {
            return None;
        }
        let mut table = Table::new();
        match (gzip, brotli) {
            (true, true) => {
                for name in ["gzip", "brotli"] {
                    for directive in scope.nearest(name) {
                        accounts.translated(directive, "`compression`");
                    }
                }
            }
            (true, false) => {
                for directive in scope.nearest("gzip") {
                    accounts.changed(directive, "`compression`, which offers brotli as well");
                }
            }
            (false, _) => {
                table.set("codings", "[\"br\"]");
                for directive in scope.nearest("brotli") {
                    accounts.translated(directive, "`compression`");
                }
            }
        }
        let mut types: Vec<&Directive> = Vec::new();
        let (mut levels, mut length) = (Vec::new(), None);
        for (is_on, prefix) in [
            (gzip, ["gzip_types", "gzip_comp_level", "gzip_min_length"]),
            (
                brotli,
                ["brotli_types", "brotli_comp_level", "brotli_min_length"],
            ),
        ] {
            if is_on {
                let [of_types, of_level, of_length] = prefix;
                types.extend(scope.one(of_types));
                levels.extend(scope.one(of_level));
                length = length.or(scope.one(of_length));
            }
        }
        self.compressed_types(&types, &mut table);
        if let Some(directive) = length {
            match values::size(directive.argument(0)) {
                Some(1024) => accounts.built_in(directive, "it is the default"),
                Some(bytes) => {
                    let value = match bytes % 1024 {
                        0 if bytes > 0 => text(&size_text(bytes)),
                        _ => bytes.to_string(),
                    };
                    table.set("min_length", value);
                    accounts.translated(directive, "`min_length` in `compression`");
                }
                None => accounts.lost(directive, "it is no size"),
            }
        }
        for directive in levels {
            let (key, default) = match directive.name.starts_with("gzip") {
                true => ("gzip_level", 5),
                false => ("brotli_level", 4),
            };
            match directive.argument(0).parse::<u8>() {
                Ok(level) if level == default => accounts.built_in(directive, "it is the default"),
                Ok(level) if LEVELS.contains(&level) => {
                    table.set(key, level.to_string());
                    accounts.translated(directive, format!("`{key}` in `compression`"));
                }
                Ok(0) => {
                    accounts.changed(
                        directive,
                        "the default level: without one nothing is gained",
                    );
                }
                Ok(_) => {
                    table.set(key, LEVELS.end().to_string());
                    accounts.changed(
                        directive,
                        "levels end at 9: higher ones are for files that are compressed once",
                    );
                }
                Err(_) => accounts.lost(directive, "it is no number"),
            }
        }
        self.around_compression(scope);
        Some(match table.is_empty() {
            true => "true".to_owned(),
            false => table.inline(),
        })
    }

    /// The media types that are compressed, where the default does not have them.
    fn compressed_types(&self, directives: &[&Directive], table: &mut Table) {
        let words = || directives.iter().flat_map(|types| &types.arguments);
        let is_known = |word: &String| {
            let word = word.to_ascii_lowercase();
            word.starts_with("text/")
                || word.ends_with("+json")
                || word.ends_with("+xml")
                || COMPRESSED_TYPES.contains(&&*word)
                || OBSOLETE.contains(&&*word)
        };
        let is_covered = words().all(is_known);
        for types in directives {
            match is_covered {
                true => self.accounts.changed(
                    types,
                    "`compression` is for texts, JSON, scripts and the like by default: for these, and \
                     some more",
                ),
                false => self
                    .accounts
                    .translated(types, "`types` in `compression`"),
            }
        }
        if is_covered {
            return;
        }
        let mut types = vec!["text/html".to_owned()];
        for word in words() {
            let word = match word.as_str() {
                "*" => "*/*".to_owned(),
                word => word.to_ascii_lowercase(),
            };
            if !types.contains(&word) {
                types.push(word);
            }
        }
        if types.iter().any(|word| word == "*/*") {
            types = vec!["*".to_owned()];
        }
        table.set("types", list(types.iter().map(|word| text(word))));
    }

    /// What else is said of compression.
    fn around_compression(&self, scope: &Scope<'_>) {
        let accounts = self.accounts;
        for (name, usual, why) in [
            ("gzip_vary", "on", "`Vary` is sent wherever it has to be"),
            (
                "gzip_proxied",
                "any",
                "answers to proxies are compressed as others",
            ),
            ("gzip_http_version", "1.1", "1.1 is the least version"),
        ] {
            for directive in scope.nearest(name) {
                match directive.argument(0) == usual {
                    true => accounts.built_in(directive, why),
                    false => accounts.changed(directive, why),
                }
            }
        }
        for name in [
            "gzip_disable",
            "gzip_buffers",
            "gzip_window",
            "gzip_hash",
            "gzip_no_buffer",
            "gzip_postpone",
            "brotli_buffers",
            "brotli_window",
        ] {
            for directive in scope.nearest(name) {
                accounts.harmless(
                    directive,
                    "no client in use needs it, and nothing is to be tuned",
                );
            }
        }
    }
}
