//! What becomes of what servers say of themselves: `proxy_redirect` and `proxy_cookie_*`.

use super::Translator;
use super::conditions::check_regex;
use super::matching::Location;
use super::scope::Scope;
use super::target::Target;
use super::tree::Directive;
use super::writer::{Table, list, text};
use crate::config::COOKIE_FLAGS;
use crate::http::variable::Phase;

/// Regexes that every name of a cookie has something of.
const ANY_COOKIE: [&str; 4] = ["~", "~.", "~.*", "~^"];

impl Translator<'_> {
    /// `proxy_redirect`. `uri`: what takes the place of the location's part.
    pub(super) fn redirects(
        &self,
        scope: &Scope<'_>,
        (target, uri): (&Target, Option<&str>),
        location: &Location,
        keys: &mut Table,
    ) {
        let accounts = self.accounts;
        let mut table = Table::new();
        let directives = scope.nearest("proxy_redirect");
        for directive in directives {
            match (directive.argument(0), directive.arguments.get(1)) {
                ("off", None) => {
                    keys.set("proxy_redirect", "false");
                    accounts.translated(directive, "`proxy_redirect = false`");
                    return;
                }
                ("default", None) if directives.len() == 1 => {
                    accounts.built_in(directive, "it is the default");
                }
                ("default", None) => match by_default(target, uri, location) {
                    Some((from, to)) => {
                        add(&mut table, &from, &to);
                        accounts.translated(directive, "`proxy_redirect` in `[[route]]`");
                    }
                    None => accounts.lost(directive, "say it as what is replaced by what"),
                },
                (_, Some(_)) => {
                    self.replacement_of(scope, directive, "proxy_redirect", &mut table);
                }
                _ => accounts.lost(directive, "it says nothing"),
            }
        }
        if !table.is_empty() {
            keys.set("proxy_redirect", table.inline());
        }
    }

    /// `proxy_cookie_domain`, `proxy_cookie_path` and `proxy_cookie_flags`, as `cookies`.
    pub(super) fn cookies(&self, scope: &Scope<'_>) -> Table {
        let mut cookies = Table::new();
        for (name, key) in [
            ("proxy_cookie_domain", "domain"),
            ("proxy_cookie_path", "path"),
        ] {
            let mut table = Table::new();
            for directive in scope.nearest(name) {
                match directive.arguments.len() {
                    2 if directive.argument(1).contains(';') => {
                        self.flags_in_path(scope, directive, &mut cookies);
                    }
                    2 => self.replacement_of(scope, directive, "cookies", &mut table),
                    _ => self.cookies_as_they_are(directive),
                }
            }
            if !table.is_empty() {
                cookies.set(key, table.inline());
            }
        }
        self.cookie_flags(scope, &mut cookies);
        cookies
    }

    /// `proxy_cookie_path / "/; Secure"`, as flags were given before nginx had them.
    fn flags_in_path(&self, scope: &Scope<'_>, directive: &Directive, cookies: &mut Table) {
        let lower = directive.argument(1).to_ascii_lowercase();
        let mut words = lower.split(';').map(str::trim);
        let is_root = directive.argument(0) == "/" && words.next() == Some("/");
        let flags: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
        let are_known = flags.iter().all(|flag| COOKIE_FLAGS.contains(flag));
        let is_alone = scope.nearest("proxy_cookie_flags").is_empty()
            && scope.nearest("proxy_cookie_path").len() == 1;
        if !(is_root && are_known && is_alone) {
            return self.accounts.lost(
                directive,
                "what stands behind a `;` is another attribute: `flags` in `cookies` has those",
            );
        }
        cookies.set("flags", list(flags.iter().map(|flag| text(flag))));
        self.accounts.changed(
            directive,
            "`flags` in `cookies`: for all cookies, whether they have a path or not",
        );
    }

    fn cookies_as_they_are(&self, directive: &Directive) {
        match directive.argument(0) {
            "off" => self
                .accounts
                .built_in(directive, "cookies are passed on as they are"),
            _ => self.accounts.lost(directive, "it says nothing"),
        }
    }

    /// Adds what a directive replaces, and by what. The first of several counts.
    fn replacement_of(
        &self,
        scope: &Scope<'_>,
        directive: &Directive,
        key: &str,
        table: &mut Table,
    ) {
        let (from, to) = (directive.argument(0), directive.argument(1));
        let said = match from.strip_prefix('~') {
            Some(pattern) => {
                let pattern = pattern.strip_prefix('*').unwrap_or(pattern);
                let to = check_regex(pattern).and_then(|()| self.replacement(scope, pattern, to));
                to.map(|to| (from.to_owned(), to))
            }
            None => {
                let words = |text| self.words.text(text, &scope.constants, Phase::Response);
                words(from).and_then(|from| Ok((from, words(to)?)))
            }
        };
        match said {
            Ok((from, _)) if from.is_empty() => {
                self.accounts.lost(directive, "it replaces nothing");
            }
            Ok((from, to)) => {
                add(table, &from, &to);
                let note = format!("`{key}` in `[[route]]`");
                self.accounts.translated(directive, note);
            }
            Err(why) => self.accounts.lost(directive, why),
        }
    }

    fn cookie_flags(&self, scope: &Scope<'_>, cookies: &mut Table) {
        let accounts = self.accounts;
        let mut table = Table::new();
        let mut is_over = false;
        for directive in scope.nearest("proxy_cookie_flags") {
            let Some((name, flags)) = directive.arguments.split_first() else {
                continue;
            };
            if flags.is_empty() {
                self.cookies_as_they_are(directive);
                continue;
            }
            if is_over {
                accounts.harmless(directive, "the one before is for all cookies");
                continue;
            }
            let lower: Vec<String> = flags.iter().map(|flag| flag.to_ascii_lowercase()).collect();
            let unknown = lower
                .iter()
                .find(|flag| !COOKIE_FLAGS.contains(&flag.as_str()));
            let regex = name.strip_prefix('~').map(check_regex);
            match (unknown, regex) {
                (Some(unknown), _) => accounts.lost(directive, format!("`{unknown}` is no flag")),
                (None, Some(Err(why))) => accounts.lost(directive, why),
                _ if name.contains('$') && !name.starts_with('~') => {
                    accounts.lost(directive, "names of cookies are fixed texts or regexes");
                }
                _ => {
                    is_over = ANY_COOKIE.contains(&name.as_str());
                    let name = if is_over { "*" } else { name };
                    let flags = list(lower.iter().map(|flag| text(flag)));
                    if table.get(&super::writer::key(name)).is_none() {
                        table.set(name, flags);
                    }
                    accounts.translated(directive, "`cookies` in `[[route]]`");
                }
            }
        }
        let all = super::writer::key("*");
        match (table.pairs().count(), table.get(&all)) {
            (0, _) => {}
            (1, Some(flags)) => cookies.set("flags", flags),
            _ => cookies.set("flags", table.inline()),
        }
    }
}

/// What nginx replaces by itself (`ngx_http_proxy_merge_loc_conf`).
fn by_default(target: &Target, uri: Option<&str>, location: &Location) -> Option<(String, String)> {
    let scheme = if target.is_tls { "https" } else { "http" };
    let front = format!("{scheme}://{}", target.server);
    match (uri, location) {
        (
            Some(uri),
            Location::Prefix(path) | Location::PrefixNoRegex(path) | Location::Exact(path),
        ) => {
            let colon = if target.server.starts_with("unix:") {
                ":"
            } else {
                ""
            };
            Some((format!("{front}{colon}{uri}"), path.clone()))
        }
        (None, _) => Some((format!("{front}/"), "/".to_owned())),
        _ => None,
    }
}

/// Adds an entry, unless one before says the same.
fn add(table: &mut Table, from: &str, to: &str) {
    if table.get(&super::writer::key(from)).is_none() {
        table.set(from, text(to));
    }
}
