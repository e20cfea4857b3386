//! Limits, access rules, passwords: hooks of a route, in the order of nginx's phases.

use std::collections::HashMap;

use super::Translator;
use super::report::Accounts;
use super::scope::Scope;
use super::tree::Directive;
use super::values;
use super::variables::Constants;
use super::writer::{Block, Table, list, text};
use crate::http::variable::Phase;
use crate::stock;

const REQUESTS: &str = "limit_req";
const CONNECTIONS: &str = "limit_conn";

/// Zones, each a `[hook.NAME]`.
#[derive(Default)]
pub(super) struct Zones<'a> {
    /// By plugin and nginx's name; in the order of the file.
    zones: Vec<Zone<'a>>,
    by_name: HashMap<(&'static str, &'a str), usize>,
}

struct Zone<'a> {
    directive: &'a Directive,
    hook: String,
    plugin: &'static str,
    is_used: bool,
    /// What it counts by, at the places that use it.
    key: Option<Result<String, String>>,
}

impl<'a> Zones<'a> {
    /// Makes the zones of a context known.
    pub(super) fn declare(&mut self, scope: &Scope<'a>) {
        for (directive_name, plugin) in [
            ("limit_req_zone", REQUESTS),
            ("limit_conn_zone", CONNECTIONS),
        ] {
            for directive in scope.own(directive_name) {
                let zone = directive
                    .arguments
                    .iter()
                    .find_map(|each| each.strip_prefix("zone="));
                let name = zone
                    .unwrap_or_default()
                    .split(':')
                    .next()
                    .unwrap_or_default();
                let hook = self.free_name(name);
                self.by_name.insert((plugin, name), self.zones.len());
                self.zones.push(Zone {
                    directive,
                    hook,
                    plugin,
                    is_used: false,
                    key: None,
                });
            }
        }
    }

    fn free_name(&self, name: &str) -> String {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let clean: String = name
            .chars()
            .map(|c| if allowed(c) { c } else { '_' })
            .collect();
        let clean = clean.to_ascii_lowercase();
        let mut clean: String = clean.chars().take(56).collect();
        if clean.is_empty() || stock::NAMES.contains(&&*clean) {
            clean.push_str("_zone");
        }
        let mut free = clean.clone();
        let mut number = 2;
        while self.zones.iter().any(|zone| zone.hook == free) {
            free = format!("{clean}_{number}");
            number += 1;
        }
        free
    }

    fn find(&mut self, plugin: &'static str, name: &str) -> Option<String> {
        let index = *self.by_name.get(&(plugin, name))?;
        let zone = self.zones.get_mut(index)?;
        zone.is_used = true;
        Some(zone.hook.clone())
    }
}

impl<'a> Translator<'a> {
    /// The hooks of a route whose `return` comes first in nginx: none. Of all others: limits, then
    /// access rules, then a password, then what another server says (`ngx_http_core_module.h`: the
    /// phases).
    pub(super) fn guards(&mut self, scope: &Scope<'_>) -> Vec<String> {
        let mut hooks = self.limits(scope);
        hooks.extend(self.access(scope));
        hooks.extend(self.auth_request(scope));
        hooks.extend(self.mirrors(scope));
        hooks.extend(self.substitutions(scope));
        hooks
    }

    fn limits(&mut self, scope: &Scope<'_>) -> Vec<String> {
        let mut hooks = Vec::new();
        let uses = scope.nearest("limit_req");
        for directive in uses {
            let several = uses.len() > 1;
            hooks.extend(self.limit(scope, directive, REQUESTS, several));
        }
        for directive in scope.nearest("limit_conn") {
            hooks.extend(self.limit(scope, directive, CONNECTIONS, false));
        }
        hooks
    }

    fn limit(
        &mut self,
        scope: &Scope<'_>,
        directive: &Directive,
        plugin: &'static str,
        several: bool,
    ) -> Option<String> {
        let accounts = self.accounts;
        let arguments = &directive.arguments;
        let zone = match plugin {
            REQUESTS => arguments.iter().find_map(|each| each.strip_prefix("zone=")),
            _ => arguments.first().map(String::as_str),
        };
        let Some(hook) = self.zones.find(plugin, zone.unwrap_or_default()) else {
            accounts.lost(directive, "its zone is not declared");
            return None;
        };
        if let Some(Err(why)) = self.zone_key(&hook, &scope.constants) {
            accounts.lost(directive, why);
            return None;
        }
        let mut table = Table::new().with("use", text(&hook));
        if plugin == CONNECTIONS {
            table.set("connections", directive.argument(1));
        }
        for argument in arguments {
            match argument.split_once('=') {
                Some((name @ ("burst" | "delay"), number)) if number.parse::<u32>().is_ok() => {
                    table.set(name, number);
                }
                None if argument == "nodelay" => table.set("nodelay", "true"),
                _ => {}
            }
        }
        let companions: [(&'static str, &str); 3] = match plugin {
            REQUESTS => [
                ("limit_req_status", "status"),
                ("limit_req_dry_run", "dry_run"),
                ("limit_req_log_level", "log_level"),
            ],
            _ => [
                ("limit_conn_status", "status"),
                ("limit_conn_dry_run", "dry_run"),
                ("limit_conn_log_level", "log_level"),
            ],
        };
        for (name, key) in companions {
            let Some(companion) = scope.one(name) else {
                continue;
            };
            let value = companion.argument(0);
            let value = match (key, value) {
                ("status", "503") | ("dry_run", "off") | ("log_level", "error") => {
                    accounts.built_in(companion, "it is the default");
                    continue;
                }
                ("status", status) => status.to_owned(),
                ("dry_run", _) => "true".to_owned(),
                (_, level) => text(level),
            };
            table.set(key, value);
            accounts.translated(companion, format!("`{key}` beside the hook `{hook}`"));
        }
        match several {
            true => accounts.changed(
                directive,
                format!(
                    "the hook `{hook}`: each counts for itself, where nginx counts in no zone what \
                     one of them rejects"
                ),
            ),
            false => accounts.translated(directive, format!("the hook `{hook}` in `hooks`")),
        }
        Some(table.inline())
    }

    /// `allow` and `deny`, `auth_basic`, `satisfy`.
    pub(super) fn access(&mut self, scope: &Scope<'_>) -> Vec<String> {
        let accounts = self.accounts;
        let mut hooks = Vec::new();
        let rules = rules(scope);
        let password = scope
            .one("auth_basic")
            .filter(|auth| auth.argument(0) != "off");
        let any = scope.value("satisfy") == Some("any");
        if let Some(satisfy) = scope.one("satisfy") {
            match any && !rules.is_empty() && password.is_some() {
                true => accounts.translated(satisfy, "`satisfy = \"any\"` of the hooks"),
                false => accounts.harmless(satisfy, "all have to be satisfied by default"),
            }
        }
        // With one of both alone, that one decides.
        let any = any && password.is_some() && !rules.is_empty();
        let lets_all_in = |rules: &[&Directive]| rules.iter().all(|rule| rule.name == "allow");
        if !rules.is_empty() {
            let is_needed = !lets_all_in(&rules) || any;
            for rule in &rules {
                match is_needed {
                    true => accounts.translated(rule, "the hook `access` in `hooks`"),
                    false => accounts.harmless(rule, "everybody is let in"),
                }
            }
            if is_needed {
                let texts = rules
                    .iter()
                    .map(|rule| text(&format!("{} {}", rule.name, rule.argument(0))));
                let mut table = Table::new().with("plugin", text("access"));
                if any {
                    table.set("satisfy", text("any"));
                }
                table.set("rules", list(texts));
                hooks.push(table.inline());
            }
        }
        let Some(realm) = password else {
            if let Some(off) = scope.one("auth_basic") {
                accounts.translated(off, "no hook `basic_auth` there");
            }
            return hooks;
        };
        let Some(file) = scope.one("auth_basic_user_file") else {
            accounts.lost(realm, "there is no `auth_basic_user_file`");
            return hooks;
        };
        match self
            .words
            .setting(realm.argument(0), &scope.constants, Phase::Request)
        {
            Ok(realm_text) if !file.argument(0).contains('$') => {
                let mut table = Table::new()
                    .with("plugin", text("basic_auth"))
                    .with("realm", text(&realm_text));
                if any {
                    table.set("satisfy", text("any"));
                }
                table.set("users_file", text(file.argument(0)));
                hooks.push(table.inline());
                accounts.translated(realm, "the hook `basic_auth` in `hooks`");
                accounts.changed(
                    file,
                    "`users_file` of the hook `basic_auth`: hashes of crypt's DES, `$1$` and yescrypt \
                     are not there",
                );
            }
            Ok(_) => accounts.lost(file, "a file of users has a fixed name"),
            Err(why) => accounts.lost(realm, why),
        }
        hooks
    }

    /// Whether nobody is let in.
    pub(super) fn denies_all(&self, scope: &Scope<'_>) -> bool {
        let rules = rules(scope);
        let denies = |rule: &&Directive| rule.name == "deny" && rule.argument(0) == "all";
        rules.first().is_some_and(denies) && scope.value("satisfy") != Some("any")
    }

    /// `[hook.NAME]` for each zone that is used.
    pub(super) fn zone_blocks(&self) -> Vec<Block> {
        // Those of `http` are there when `stream` comes.
        let is_there = |zone: &&Zone<'_>| {
            let title = format!("[hook.{}]", zone.hook);
            self.out.hooks.iter().any(|known| known.title == title)
        };
        let used = self.zones.zones.iter().filter(|zone| zone.is_used);
        let used = used.filter(|zone| !is_there(zone));
        used.filter_map(|zone| self.zone_block(zone)).collect()
    }

    /// What a zone counts by at a place, which has to be the same at all of them: the first one where it
    /// can be said stays as it is.
    fn zone_key(&mut self, hook: &str, constants: &Constants) -> Option<Result<String, String>> {
        let at = self.zones.zones.iter().position(|zone| zone.hook == hook)?;
        let zone = self.zones.zones.get_mut(at)?;
        let key = self
            .words
            .setting(zone.directive.argument(0), constants, Phase::Request)
            .and_then(|key| match key.contains("$server_name") {
                true => Err(
                    "`$server_name` is the route's host here, which not every route has: \
                     `$host` is there for all"
                        .to_owned(),
                ),
                false => Ok(key),
            });
        Some(match (&zone.key, key) {
            (Some(Ok(known)), Ok(key)) if *known != key => Err(
                "what it counts by is something else at another place: a zone for each".to_owned(),
            ),
            (Some(Ok(_)), key) => key,
            (_, key) => {
                zone.key = Some(key.clone());
                key
            }
        })
    }

    fn zone_block(&self, zone: &Zone<'a>) -> Option<Block> {
        let (accounts, directive): (&Accounts, _) = (self.accounts, zone.directive);
        let mut block = Block::new(format!("[hook.{}]", zone.hook));
        block.range = Some((directive.id, directive.last));
        block.comments = super::comments::of_block(directive);
        block.keys.set("plugin", text(zone.plugin));
        match zone.key.as_ref()? {
            Ok(key) => block.keys.set("key", text(key)),
            Err(why) => {
                accounts.lost(directive, why.clone());
                return None;
            }
        }
        for argument in directive.arguments.iter().skip(1) {
            match argument.split_once('=') {
                Some(("zone", zone)) => {
                    let size = zone.split(':').nth(1).unwrap_or("10m");
                    let bytes = values::size(size).unwrap_or(10 << 20);
                    let bytes = bytes.clamp(32 << 10, 256 << 20);
                    if bytes != 10 << 20 {
                        block
                            .keys
                            .set("size", text(&crate::config::size_text(bytes)));
                    }
                }
                Some(("rate", rate)) => block.keys.set("rate", text(rate)),
                _ => accounts.lost(directive, format!("`{argument}` of a zone is not there")),
            }
        }
        accounts.translated(directive, format!("`[hook.{}]`", zone.hook));
        Some(block)
    }
}

/// The rules of a place where nobody is let in.
pub(super) fn denials<'s>(scope: &Scope<'s>) -> Vec<&'s Directive> {
    rules(scope)
}

/// `allow` and `deny` that hold at a place, in their order. The nearest context with either of them
/// counts.
fn rules<'s>(scope: &Scope<'s>) -> Vec<&'s Directive> {
    let mut rules: Vec<&Directive> = scope.own("allow").to_vec();
    rules.extend(scope.own("deny"));
    rules.sort_by_key(|rule| rule.id);
    match scope.outer() {
        Some(outer) if rules.is_empty() => self::rules(outer),
        _ => rules,
    }
}
